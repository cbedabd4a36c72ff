/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vertices and gangs. What a vertex waits for is a counter of its own for edges with few producers, and one
 * counter for the whole of a complete edge, so that a shuffle of any size costs constant work an event.
 */
#include "vertices.h"
#include "edges.h"
#include "graph/edge.h"

const struct graph_stage *vertex_stage(const struct jm *jm, uint32_t vertex)
{
	return jm->graph->stages[jm->graph->vertex_stage[vertex]];
}

/* An input of the job, or one that is not to be run. */
bool vertex_is_idle(const struct jm *jm, uint32_t vertex)
{
	return vertex_stage(jm, vertex)->kind == GRAPH_INPUT || jm->vertices[vertex].skipped;
}

void vertices_init(struct jm *jm, const bool *skipped)
{
	const struct graph *g = jm->graph;

	for (uint32_t v = 0; v < g->vertex_count; v++) {
		jm->vertices[v].skipped = skipped && skipped[v];
		jm->vertices[v].state = vertex_is_idle(jm, v) ? JM_DONE : JM_WAITING;
		*(vertex_is_idle(jm, v) ? &jm->stages[g->vertex_stage[v]].done
					: &jm->stages[g->vertex_stage[v]].waiting) += 1;
		jm->vertices_left += !vertex_is_idle(jm, v);
	}
	for (size_t i = 0; i < g->stage_count; i++) /* that it is added is waited for as a producer is */
		for (uint32_t c = 0; g->stages[i]->open && c < g->stages[i]->width; c++)
			jm->vertices[g->stages[i]->first_vertex + c].missing = 1;
	for (size_t i = 0; i < g->edge_count; i++) {
		const struct graph_edge *e = g->edges[i];
		const struct graph_stage *to = g->stages[e->to];

		if (g->stages[e->from]->kind == GRAPH_INPUT || e->pattern == GRAPH_ADDED ||
			!edges_is_waited_for(e))
			continue;
		if (e->pattern == GRAPH_BIPARTITE) {
			jm->edges[i].missing = e->from_width;
			continue;
		}
		for (uint32_t c = 0; c < e->to_width; c++) /* a group is waited for as one producer is */
			jm->vertices[to->first_vertex + c].missing +=
				e->pattern == GRAPH_GROUPS ? 1 : edge_producers(e, c);
	}
	for (uint32_t gang = 0; gang < g->gang_count; gang++) {
		jm->gangs[gang].state =
			vertex_is_idle(jm, g->gang_members[g->gangs[gang].first]) ? JM_DONE : JM_WAITING;
	}
}

void vertex_set_state(struct jm *jm, uint32_t vertex, enum jm_state state)
{
	struct jm_vertex *v = &jm->vertices[vertex];
	struct jm_stage *s = &jm->stages[jm->graph->vertex_stage[vertex]];
	uint32_t *counts[] = {&s->waiting, &s->ready, &s->running, &s->done};

	--*counts[v->state];
	++*counts[state];
	if (v->state == JM_DONE)
		jm->vertices_left++;
	if (state == JM_DONE)
		jm->vertices_left--;
	v->state = (uint8_t)state;
	v->released = false;
}

bool vertex_inputs_there(const struct jm *jm, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);

	if (jm->vertices[vertex].missing || (s->width_by_data && !jm->stages[s->id].settled))
		return false;
	for (uint32_t p = 0; p < s->in_count; p++)
		if (s->in[p].edge != GRAPH_NONE && jm->edges[s->in[p].edge].missing)
			return false;
	return true;
}

void vertex_each_producer(
	struct jm *jm, uint32_t vertex, void (*f)(struct jm *jm, uint32_t producer, void *ctx), void *ctx)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);

	for (uint32_t p = 0; p < s->in_count; p++) {
		const struct graph_edge *e =
			s->in[p].edge == GRAPH_NONE ? NULL : jm->graph->edges[s->in[p].edge];
		const struct graph_stage *from = e ? jm->graph->stages[e->from] : NULL;
		uint32_t index = vertex - s->first_vertex;

		if (!e || from->kind == GRAPH_INPUT)
			continue;
		for (uint32_t i = 0; i < jm_producers(jm, e, index); i++)
			f(jm, from->first_vertex + jm_producer(jm, e, index, i), ctx);
	}
}

void vertex_each_consumer(
	struct jm *jm, uint32_t vertex, void (*f)(struct jm *jm, uint32_t consumer, void *ctx), void *ctx)
{
	const struct graph *g = jm->graph;
	const struct graph_stage *s = vertex_stage(jm, vertex);
	uint32_t index = vertex - s->first_vertex;

	for (const struct graph_edge *e = graph_out(g, s->first_out); e; e = graph_out(g, e->next_out))
		for (uint32_t c = 0; c < jm_consumers(jm, e, index); c++)
			f(jm, g->stages[e->to]->first_vertex + jm_consumer(jm, e, index, c), ctx);
}

bool vertex_is_decided(const struct jm *jm, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);
	uint32_t index = vertex - s->first_vertex;

	for (uint32_t p = 0; p < s->in_count; p++) {
		const struct jm_groups *g =
			s->in[p].edge == GRAPH_NONE ? NULL : jm->edges[s->in[p].edge].groups;

		if (g && index >= g->count)
			return false;
	}
	return (!s->open || index < jm->stages[s->id].added) &&
	       (!s->width_by_data || jm->stages[s->id].settled);
}

uint32_t vertex_wait(struct jm *jm, uint32_t vertex, int more)
{
	return jm->vertices[vertex].missing += (uint32_t)more;
}

bool vertices_wait_for_edge(struct jm *jm, const struct graph_edge *e, int64_t more)
{
	uint32_t before = jm->edges[e->id].missing, now = (uint32_t)(before + more);

	jm->edges[e->id].missing = now;
	return !before != !now;
}

void vertex_leave_out(struct jm *jm, uint32_t vertex)
{
	struct jm_vertex *v = &jm->vertices[vertex];
	struct jm_stage *s = &jm->stages[jm->graph->vertex_stage[vertex]];

	v->missing = 0;
	v->skipped = true;
	jm->vertices_left -= v->state != JM_DONE;
	*(v->state == JM_DONE ? &s->done : &s->waiting) -= 1;
	v->state = JM_DONE;
	jm->gangs[jm->graph->gang_of[vertex]].state = JM_DONE;
}

void vertex_release(struct jm *jm, uint32_t vertex)
{
	jm->vertices[vertex].released = true;
}

void gang_set_waiting(struct jm *jm, uint32_t gang)
{
	jm->gangs[gang].state = JM_WAITING;
	jm->gangs[gang].left = 0;
}

void gang_set_ready(struct jm *jm, uint32_t gang)
{
	jm->gangs[gang].state = JM_READY;
}

void gang_set_running(struct jm *jm, uint32_t gang, uint32_t left)
{
	jm->gangs[gang].state = JM_RUNNING;
	jm->gangs[gang].left = left;
}

void gang_count_done(struct jm *jm, uint32_t gang)
{
	if (--jm->gangs[gang].left == 0)
		jm->gangs[gang].state = JM_DONE;
}

bool gang_is_large(const struct jm *jm, uint32_t gang)
{
	return jm->graph->gangs[gang].count > 1 || graph_gang_shares(jm->graph, gang) > GRAPH_CPU_SHARES;
}
