/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule 4's better half: a member of a gang that only reads pipes and feeds none runs again alone, in an
 * attempt that reads the others' attempts from their first blocks. Whether those are still held only their
 * daemons know; where they are not, the new attempt cannot read, and the whole gang starts again.
 */
#include "alone.h"
#include "attempt.h"
#include "effects.h"
#include "nodes.h"
#include "pause.h"
#include "vertices.h"

struct producers {
	uint32_t gang;
	bool whole; /* all are there, or being made */
};

static void look_at_producer(struct jm *jm, uint32_t producer, void *ctx)
{
	struct producers *p = ctx;
	const struct jm_vertex *v = &jm->vertices[producer];
	bool running = v->state == JM_RUNNING && jm->graph->gang_of[producer] == p->gang;

	p->whole = p->whole && (v->state == JM_DONE || running) && jm->nodes[v->node].up;
}

static bool reads_pipes_and_feeds_none(const struct jm *jm, const struct graph_stage *s)
{
	bool reads = false;

	for (size_t i = 0; i < jm->graph->edge_count; i++) {
		const struct graph_edge *e = jm->graph->edges[i];

		if (e->channel == GRAPH_FILE)
			continue;
		if (e->from == s->id || (e->to == s->id && e->channel == GRAPH_FIFO))
			return false;
		reads = reads || e->to == s->id;
	}
	return reads;
}

/* A node that has room, another than where it failed if there is one; JM_NODE_NONE. */
static uint32_t find_node(struct jm *jm, uint32_t vertex)
{
	uint32_t old = jm->vertices[vertex].node, count = (uint32_t)jm->node_count, found = JM_NODE_NONE;

	node_occupy(jm, old, vertex, -1);
	for (uint32_t i = 1; i <= count && found == JM_NODE_NONE; i++)
		if (node_fits(jm, (old + i) % count, vertex))
			found = (old + i) % count;
	node_occupy(jm, old, vertex, +1);
	return found;
}

bool alone_reads(const struct jm *jm, uint32_t vertex, uint32_t other)
{
	return jm->graph->gang_of[vertex] == jm->graph->gang_of[other] &&
	       jm->vertices[vertex].attempt > jm->vertices[other].attempt;
}

bool alone_run(struct jm *jm, uint32_t vertex, dag_instant pause)
{
	const struct jm_vertex *v = &jm->vertices[vertex];
	uint32_t gang = jm->graph->gang_of[vertex], node;
	struct producers p = {gang, true};

	if (v->state != JM_RUNNING || jm->graph->gangs[gang].count == 1 ||
		jm->gangs[gang].broken_at != DAG_NEVER || JM_ATTEMPT_NUMBER(v->highest) == JM_ATTEMPTS_MAX ||
		!reads_pipes_and_feeds_none(jm, vertex_stage(jm, vertex)))
		return false;
	vertex_each_producer(jm, vertex, look_at_producer, &p);
	node = p.whole ? find_node(jm, vertex) : JM_NODE_NONE;
	if (node == JM_NODE_NONE)
		return false;
	jm_kill(jm, v->node, vertex, v->attempt);
	attempt_release(jm, vertex);
	attempt_begin(jm, vertex, node, attempt_next(jm, gang), ATTEMPT_ALONE);
	if (pause)
		pause_start(jm, vertex, pause);
	else
		attempt_emit(jm, node, vertex, v->attempt, 0, 1);
	return true;
}
