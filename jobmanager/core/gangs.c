/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How gangs and vertices go from state to state, and what that means for those who read them: a commit, a
 * reset, a rerun, and upstream too where data is gone.
 */
#include "gangs.h"
#include "attempt.h"
#include "blame.h"
#include "chain.h"
#include "edges.h"
#include "effects.h"
#include "facts.h"
#include "groups.h"
#include "nodes.h"
#include "pipeline.h"
#include "queue.h"
#include "speculation.h"
#include "vertices.h"

void gangs_init(struct jm *jm)
{
	for (uint32_t gang = 0; gang < jm->graph->gang_count; gang++)
		jm->gangs[gang].broken_at = DAG_NEVER;
}

void gang_break(struct jm *jm, uint32_t reader, uint32_t producer)
{
	struct jm_gang *gang = &jm->gangs[jm->graph->gang_of[reader]];

	gang->broken_at = jm->now;
	gang->reader = reader;
	gang->producer = producer;
}

void gang_try_ready(struct jm *jm, uint32_t gang)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];

	if (jm->gangs[gang].state != JM_WAITING || jm->gangs[gang].paused)
		return;
	for (uint32_t i = 0; i < g->count; i++)
		if (!vertex_inputs_there(jm, jm->graph->gang_members[g->first + i]))
			return;
	gang_set_ready(jm, gang);
	for (uint32_t i = 0; i < g->count; i++)
		vertex_set_state(jm, jm->graph->gang_members[g->first + i], JM_READY);
	queue_put(jm, gang);
}

void gang_unready(struct jm *jm, uint32_t gang)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];

	if (jm->gangs[gang].state != JM_READY)
		return;
	queue_remove(jm, gang);
	gang_set_waiting(jm, gang);
	for (uint32_t i = 0; i < g->count; i++)
		vertex_set_state(jm, jm->graph->gang_members[g->first + i], JM_WAITING);
}

/* What follows from it is decided in refine.c, when the event's own work is done. */
static void note_arrival(struct jm *jm, const struct graph_edge *e, uint32_t producer)
{
	*DAG_APPEND(jm->arrivals, jm->arrival_count, jm->arrival_cap) = (struct jm_arrival){e->id, producer};
}

bool gangs_next_arrival(struct jm *jm, struct jm_arrival *ret)
{
	if (jm->arrival_next == jm->arrival_count) {
		jm->arrival_next = jm->arrival_count = 0;
		return false;
	}
	*ret = jm->arrivals[jm->arrival_next++];
	return true;
}

void gangs_count_edge(struct jm *jm, const struct graph_edge *e, int64_t more)
{
	const struct graph_stage *to = jm->graph->stages[e->to];
	bool there;

	if (!vertices_wait_for_edge(jm, e, more))
		return; /* no consumer's answer changed */
	there = !jm->edges[e->id].missing;
	if (there)
		note_arrival(jm, e, GRAPH_NONE);
	for (uint32_t c = 0; c < jm_width(jm, e->to); c++) {
		if (there)
			gang_try_ready(jm, jm->graph->gang_of[to->first_vertex + c]);
		else
			gang_unready(jm, jm->graph->gang_of[to->first_vertex + c]);
	}
}

static void tell_consumers(struct jm *jm, const struct graph_edge *e, uint32_t producer, bool done)
{
	for (uint32_t c = 0; c < jm_consumers(jm, e, producer); c++) {
		uint32_t consumer = jm->graph->stages[e->to]->first_vertex + jm_consumer(jm, e, producer, c);

		if (!vertex_wait(jm, consumer, done ? -1 : 1))
			chain_set(jm, consumer, false);
		if (done)
			gang_try_ready(jm, jm->graph->gang_of[consumer]);
		else
			gang_unready(jm, jm->graph->gang_of[consumer]);
	}
}

/* Tells the consumers over waited-for edges that `vertex` is DONE (+) or not any more (−). */
static void count_for_consumers(struct jm *jm, uint32_t vertex, bool done)
{
	const struct graph *g = jm->graph;
	const struct graph_stage *s = vertex_stage(jm, vertex);
	uint32_t index = vertex - s->first_vertex;

	for (const struct graph_edge *e = graph_out(g, s->first_out); e; e = graph_out(g, e->next_out)) {
		if (!edges_is_waited_for(e))
			continue;
		if (e->pattern == GRAPH_BIPARTITE) {
			gangs_count_edge(jm, e, done ? -1 : 1);
			continue;
		}
		if (edges_is_ungrouped(jm, e, index) && done)
			note_arrival(jm, e, index);
		else if (edges_is_ungrouped(jm, e, index))
			groups_take_back(jm, e, index);
		else
			tell_consumers(jm, e, index, done);
	}
}

bool gang_commit(struct jm *jm, uint32_t vertex, const struct jm_outcome *o)
{
	struct jm_vertex *v = &jm->vertices[vertex];
	struct jm_stage *s = &jm->stages[jm->graph->vertex_stage[vertex]];
	bool differs =
		v->hashed && !o->closed_early && (v->hash_low != o->hash_low || v->hash_high != o->hash_high);

	if (v->has_speculation)
		speculation_drop(jm, vertex);
	if (!jm->replaying)
		attempt_release(jm, vertex);
	node_committed(jm, v->node);
	v->bytes = o->bytes;
	v->hash_low = o->hash_low;
	v->hash_high = o->hash_high;
	v->hashed = !o->closed_early;
	blame_committed(jm, vertex);
	speculation_note_time(jm, vertex, o->run_ns);
	s->bytes_in += o->bytes_in;
	s->bytes_out += o->bytes_out;
	s->records_in += o->records_in;
	s->records_out += o->records_out;
	s->run_ns += o->run_ns;
	fact_committed(jm, vertex, o);
	for (size_t i = 0; i < o->skipped_count; i++)
		blame_note_skipped(jm, vertex, &o->skipped[i]);
	vertex_set_state(jm, vertex, JM_DONE);
	if (pipeline_note(jm, jm->graph->vertex_stage[vertex], o->run_ns))
		nodes_update_open(jm);
	gang_count_done(jm, jm->graph->gang_of[vertex]);
	count_for_consumers(jm, vertex, true);
	return differs;
}

void gang_reset(struct jm *jm, uint32_t gang_id, bool kill)
{
	const struct graph_gang *g = &jm->graph->gangs[gang_id];
	struct jm_gang *gang = &jm->gangs[gang_id];
	uint32_t highest = 0;

	gang_unready(jm, gang_id);
	for (uint32_t i = 0; i < g->count; i++)
		highest = DAG_MAX(highest, jm->vertices[jm->graph->gang_members[g->first + i]].highest);
	if (highest && gang->state != JM_WAITING) {
		jm_fact(jm, "reset %u %u", jm->graph->gang_members[g->first], highest);
		for (uint32_t i = 0; i < g->count; i++)
			attempt_pass(jm, jm->graph->gang_members[g->first + i], highest);
	}
	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t vertex = jm->graph->gang_members[g->first + i];
		const struct jm_vertex *v = &jm->vertices[vertex];
		bool was_done = v->state == JM_DONE;

		if (v->has_speculation)
			speculation_drop(jm, vertex);
		if (v->state == JM_RUNNING) {
			attempt_release(jm, vertex);
			gang_reset_followers(jm, vertex);
		}
		chain_set(jm, vertex, false);
		if ((v->state == JM_RUNNING || was_done) && v->node != JM_NODE_NONE && kill)
			jm_kill(jm, v->node, vertex, v->attempt);
		attempt_fence(jm, vertex);
		vertex_set_state(jm, vertex, JM_WAITING);
		if (was_done)
			count_for_consumers(jm, vertex, false);
	}
	gang_set_waiting(jm, gang_id);
	gang->broken_at = DAG_NEVER;
	if (JM_ATTEMPT_NUMBER(highest) >= JM_ATTEMPTS_MAX && JM_ATTEMPT_EPOCH(highest) == jm->epoch)
		jm_end(jm, DAG_ELIMIT, "%s was started %u times, and no number is left for another attempt",
			jm_attempt_name(jm, jm->graph->gang_members[g->first]), JM_ATTEMPTS_MAX);
}

static void reset_chained(struct jm *jm, uint32_t consumer, void *ctx)
{
	(void)ctx;
	if (jm->vertices[consumer].chained)
		gang_reset(jm, jm->graph->gang_of[consumer], true);
}

void gang_reset_followers(struct jm *jm, uint32_t vertex)
{
	vertex_each_consumer(jm, vertex, reset_chained, NULL);
}

void gang_promote_speculation(struct jm *jm, uint32_t vertex)
{
	struct jm_vertex *v = &jm->vertices[vertex];
	struct jm_speculation second = speculation_swap(jm, vertex, v->attempt, v->node);

	attempt_set(jm, vertex, second.attempt, second.node);
	gang_reset_followers(jm, vertex); /* that read the other one */
	speculation_drop(jm, vertex);
}

/* Gangs that run again, and producers of theirs that are gone: a job may be as deep as it has vertices. */
struct rerun {
	struct jm_list producers, gangs;
};

static void note_if_gone(struct jm *jm, uint32_t producer, void *ctx)
{
	const struct jm_vertex *p = &jm->vertices[producer];

	if (p->state == JM_DONE && !jm->nodes[p->node].up)
		jm_list_append(&((struct rerun *)ctx)->producers, producer);
}

static void reset_for_rerun(struct jm *jm, uint32_t gang, struct rerun *r)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];
	size_t first = r->producers.count, last;

	if (vertex_is_idle(jm, jm->graph->gang_members[g->first]))
		return;
	gang_reset(jm, gang, true);
	for (uint32_t i = 0; i < g->count && !jm->replaying; i++)
		vertex_each_producer(jm, jm->graph->gang_members[g->first + i], note_if_gone, r);
	/* The first of them is the next one that is looked at. */
	for (last = r->producers.count; first + 1 < last; first++) {
		uint32_t producer = r->producers.items[first];

		r->producers.items[first] = r->producers.items[--last];
		r->producers.items[last] = producer;
	}
	jm_list_append(&r->gangs, gang);
}

/* False where that has happened too often. */
static bool note_invalid(struct jm *jm, uint32_t vertex, const char *why)
{
	if (blame_rerun(jm, vertex) > JM_RERUNS_MAX) {
		jm_end(jm, DAG_EMISSING, "%s: its output was lost %u times, the last time because %s",
			jm_attempt_name(jm, vertex), JM_RERUNS_MAX + 1, why);
		return false;
	}
	jm_fact(jm, "invalidated %u %u %s", vertex, jm->vertices[vertex].attempt, why);
	jm_note_like(jm, vertex, why, "%s runs again: %s", jm_attempt_name(jm, vertex), why);
	return true;
}

void gang_rerun(struct jm *jm, uint32_t gang)
{
	struct rerun r = {0};

	reset_for_rerun(jm, gang, &r);
	while (r.producers.count && !jm->ended) {
		uint32_t producer = r.producers.items[--r.producers.count];
		const struct jm_vertex *p = &jm->vertices[producer];

		if (p->state == JM_DONE && !jm->nodes[p->node].up && !vertex_is_idle(jm, producer) &&
			note_invalid(jm, producer, "its node is gone"))
			reset_for_rerun(jm, jm->graph->gang_of[producer], &r);
	}
	while (r.gangs.count)
		gang_try_ready(jm, r.gangs.items[--r.gangs.count]);
	free(r.producers.items);
	free(r.gangs.items);
}

void gang_invalidate(struct jm *jm, uint32_t vertex, const char *why)
{
	if (jm->vertices[vertex].state == JM_DONE && !vertex_is_idle(jm, vertex) &&
		note_invalid(jm, vertex, why))
		gang_rerun(jm, jm->graph->gang_of[vertex]);
}

void gang_invalidate_if_gone(struct jm *jm, uint32_t producer, void *ctx)
{
	(void)ctx;
	if (!jm->ended && jm->vertices[producer].state == JM_DONE &&
		!jm->nodes[jm->vertices[producer].node].up)
		gang_invalidate(jm, producer, "its node is gone");
}

void gangs_fini(struct jm *jm)
{
	free(jm->arrivals);
}
