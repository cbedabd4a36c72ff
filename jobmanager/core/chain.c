/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short vertices that lie one behind the other are started together, each behind the one that it reads: their
 * host runs them in turn, and nobody waits for a round trip between them. Each has its own attempt, output
 * and commit. One that is chained becomes like any other when its producer is committed; where that fails or
 * is made anew, those behind it wait again, uncharged.
 *
 * A chain goes out in pieces. Where nobody else waits for the node, several are on their way, and for each
 * that has ended another is started, so that the host need not wait for us either.
 */
#include "chain.h"
#include "attempt.h"
#include "edges.h"
#include "nodes.h"
#include "pipeline.h"
#include "vertices.h"
#include "graph/edge.h"

#define CHAIN_PIECE 64 /* vertices that are started together */
#define CHAIN_PIECES 7 /* on their way at a time */

static bool may_lead(const struct jm *jm, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);

	return s->kind == GRAPH_PLUGIN && !s->isolate && pipeline_is_short(jm, vertex) &&
	       jm->graph->gangs[jm->graph->gang_of[vertex]].count == 1;
}

/* All that it reads is there, except for one vertex that runs. */
static bool may_follow(const struct jm *jm, uint32_t vertex, uint32_t node)
{
	const struct jm_vertex *v = &jm->vertices[vertex];
	const struct graph_stage *s = vertex_stage(jm, vertex);

	if (v->state != JM_WAITING || v->skipped || jm->gangs[jm->graph->gang_of[vertex]].paused ||
		v->missing != 1 || v->avoid == node + 1 || !may_lead(jm, vertex) ||
		!node_fits(jm, node, vertex))
		return false;
	for (uint32_t p = 0; p < s->in_count; p++)
		if (s->in[p].edge != GRAPH_NONE && jm->edges[s->in[p].edge].missing)
			return false;
	return true;
}

static bool is_single(const struct graph_edge *e)
{
	return e->pattern == GRAPH_POINTWISE && e->channel == GRAPH_FILE && e->from_width == e->to_width;
}

/* The vertex that can be started behind this one; GRAPH_NONE. */
static uint32_t find_follower(const struct jm *jm, uint32_t vertex)
{
	const struct graph *g = jm->graph;
	const struct graph_stage *s = vertex_stage(jm, vertex);

	for (const struct graph_edge *e = graph_out(g, s->first_out); e; e = graph_out(g, e->next_out)) {
		uint32_t consumer = g->stages[e->to]->first_vertex + (vertex - s->first_vertex);

		if (is_single(e) && may_follow(jm, consumer, jm->vertices[vertex].node))
			return consumer;
	}
	return GRAPH_NONE;
}

void chain_set(struct jm *jm, uint32_t vertex, bool chained)
{
	struct jm_vertex *v = &jm->vertices[vertex];

	if (v->chained == chained)
		return;
	v->chained = chained;
	node_chain(jm, v->node, vertex, chained ? +1 : -1);
}

uint32_t chain_start(struct jm *jm, uint32_t vertex)
{
	uint32_t first = vertex, node = jm->vertices[vertex].node;

	for (uint32_t i = 0; i < CHAIN_PIECE && may_lead(jm, vertex); i++) {
		uint32_t next = find_follower(jm, vertex);

		if (next == GRAPH_NONE)
			break;
		attempt_start_single(jm, next, node);
		jm->vertices[next].piece_end = 0;
		chain_set(jm, next, true);
		vertex = next;
	}
	jm->vertices[first].piece_end = vertex == first ? 0 : vertex + 1;
	return vertex;
}

/* All that was started on the node runs at once, and nothing else could. */
static bool runs_at_once(const struct jm *jm, const struct jm_node *node)
{
	return !jm->ready_count && node->used - node->chained <= node->granted;
}

void chain_committed(struct jm *jm, uint32_t vertex)
{
	uint32_t last = vertex, pieces = 0;

	for (uint32_t end; (end = jm->vertices[last].piece_end) && jm->vertices[end - 1].state == JM_RUNNING;
		last = end - 1)
		pieces++;
	if (!pieces || jm->ended || !runs_at_once(jm, &jm->nodes[jm->vertices[last].node]))
		return;
	for (; pieces < CHAIN_PIECES; pieces++)
		last = chain_start(jm, last);
}
