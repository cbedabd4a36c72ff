/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short vertices that lie one behind the other are started together, each behind the one that it reads: their
 * host runs them in turn, and nobody waits for a round trip between them. Each has its own attempt, output
 * and commit. One that is chained becomes like any other when its producer is committed; where that fails or
 * is made anew, those behind it wait again, uncharged.
 */
#include "state.h"
#include "graph/edge.h"

#define CHAIN_MAX 64 /* vertices that are started together */

static bool may_lead(const struct jm *jm, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);

	return s->kind == GRAPH_PLUGIN && !s->isolate && is_short(jm, vertex) &&
	       jm->graph->gangs[jm->graph->gang_of[vertex]].count == 1;
}

/* All that it reads is there, except for one vertex that runs. */
static bool may_follow(const struct jm *jm, uint32_t vertex, uint32_t node)
{
	const struct jm_vertex *v = &jm->vertices[vertex];
	const struct graph_stage *s = vertex_stage(jm, vertex);

	if (v->state != JM_WAITING || v->skipped || v->missing != 1 || v->avoid == node + 1 ||
		!may_lead(jm, vertex) || !node_fits(jm, node, vertex))
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

void chain_start(struct jm *jm, uint32_t vertex)
{
	uint32_t node = jm->vertices[vertex].node;

	for (uint32_t i = 1; i < CHAIN_MAX && may_lead(jm, vertex); i++) {
		vertex = find_follower(jm, vertex);
		if (vertex == GRAPH_NONE)
			return;
		jm->vertices[vertex].chained = true;
		start_single(jm, vertex, node);
	}
}

static void reset_chained(struct jm *jm, uint32_t consumer, void *ctx)
{
	(void)ctx;
	if (jm->vertices[consumer].chained)
		gang_reset(jm, jm->graph->gang_of[consumer], true);
}

void chain_reset(struct jm *jm, uint32_t vertex)
{
	vertex_each_consumer(jm, vertex, reset_chained, NULL);
}
