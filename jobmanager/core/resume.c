/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adoption: after the job manager was gone, what still runs goes on where every producer that it reads is the
 * committed one.
 */
#include "state.h"
#include "base/hash.h"

/* The newest attempt of the vertex that a node has; they are sorted. */
static struct jm_adoptable *newest_of(struct jm *jm, uint32_t vertex)
{
	size_t low = 0, high = jm->adoptable_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (jm->adoptable[mid].found.vertex < vertex)
			low = mid + 1;
		else
			high = mid;
	}
	return low < jm->adoptable_count && jm->adoptable[low].found.vertex == vertex ? &jm->adoptable[low]
										      : NULL;
}

struct reading {
	struct buffer pairs;
	uint32_t gang, limit;
	bool whole; /* every producer is committed, or in the gang and found */
};

static void note_producer(struct jm *jm, uint32_t producer, void *ctx)
{
	struct reading *r = ctx;
	const struct jm_vertex *v = &jm->vertices[producer];
	uint32_t pair[2] = {producer, v->attempt};
	struct jm_adoptable *a = NULL;

	if (v->state != JM_DONE) {
		a = jm->graph->gang_of[producer] == r->gang ? newest_of(jm, producer) : NULL;
		pair[1] = a ? a->found.attempt : 0;
		r->whole = r->whole && a && pair[1] <= r->limit;
	}
	buffer_append(&r->pairs, pair, sizeof(pair));
}

/* A running member must read what is committed or found; a committed one can have read no later attempt. */
static bool reads_what_counts(struct jm *jm, uint32_t vertex)
{
	const struct jm_vertex *v = &jm->vertices[vertex];
	struct jm_adoptable *a = v->state == JM_DONE ? NULL : newest_of(jm, vertex);
	struct reading r = {
		.gang = jm->graph->gang_of[vertex], .limit = a ? UINT32_MAX : v->attempt, .whole = true};
	bool same;

	if ((!a && v->state != JM_DONE) || !refine_is_decided(jm, vertex))
		return false;
	vertex_each_producer(jm, vertex, note_producer, &r);
	same = r.whole && (!a || hash_pairs((uint32_t *)r.pairs.data, r.pairs.len / (2 * sizeof(uint32_t))) ==
					  a->found.inputs);
	buffer_fini(&r.pairs);
	return same;
}

static bool can_adopt(struct jm *jm, uint32_t gang)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];

	for (uint32_t i = 0; i < g->count; i++)
		if (!reads_what_counts(jm, jm->graph->gang_members[g->first + i]))
			return false;
	return true;
}

static void adopt(struct jm *jm, uint32_t gang)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];

	if (jm->gangs[gang].state == JM_READY)
		unqueue_gang(jm, gang);
	jm->gangs[gang].state = JM_RUNNING;
	jm->gangs[gang].left = 0;
	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t vertex = jm->graph->gang_members[g->first + i];
		struct jm_vertex *v = &jm->vertices[vertex];
		const struct jm_adoptable *a = newest_of(jm, vertex);

		if (v->state == JM_DONE)
			continue;
		jm->gangs[gang].left++;
		v->node = a->node;
		v->attempt = a->found.attempt;
		v->highest = DAG_MAX(v->highest, v->attempt);
		v->started = jm->now;
		occupy_node(jm, v->node, vertex, +1);
		vertex_set_state(jm, vertex, JM_RUNNING);
		jm_fact(jm, "adopted %u %u node=%u", vertex, v->attempt, v->node);
	}
}

static int by_vertex(const void *a, const void *b)
{
	const struct jm_adoptable *x = a, *y = b;

	if (x->found.vertex != y->found.vertex)
		return x->found.vertex < y->found.vertex ? -1 : 1;
	return x->found.attempt > y->found.attempt ? -1 : x->found.attempt < y->found.attempt;
}

static bool is_not_held(const struct jm *jm, uint32_t vertex, const void *ctx)
{
	(void)ctx;
	return !jm->vertices[vertex].held;
}

void on_resumed(struct jm *jm)
{
	uint32_t adopted = 0, lost = 0, done = 0;

	jm->resuming = false;
	if (jm->adoptable_count)
		qsort(jm->adoptable, jm->adoptable_count, sizeof(*jm->adoptable), by_vertex);
	for (size_t i = 0; i < jm->adoptable_count; i++) {
		const struct jm_found *f = &jm->adoptable[i].found;
		struct jm_vertex *v = &jm->vertices[f->vertex];
		uint32_t gang = jm->graph->gang_of[f->vertex];

		/* Numbers go on above all that any node names. */
		v->highest = DAG_MAX(v->highest, f->attempt);
		if (v->state != JM_RUNNING && v->state != JM_DONE && can_adopt(jm, gang))
			adopt(jm, gang);
		if (v->state == JM_RUNNING && v->attempt == f->attempt && v->node == jm->adoptable[i].node)
			adopted++;
		else
			jm_kill(jm, jm->adoptable[i].node, f->vertex, f->attempt);
	}
	jm->adoptable_count = 0;
	/* Gangs of which some members had ended and the others are gone. */
	for (uint32_t gang = 0; gang < jm->graph->gang_count; gang++)
		if (jm->gangs[gang].state == JM_RUNNING) {
			const struct graph_gang *g = &jm->graph->gangs[gang];
			bool whole = true;

			for (uint32_t i = 0; i < g->count && whole; i++)
				whole = jm->vertices[jm->graph->gang_members[g->first + i]].state >=
					JM_RUNNING;
			if (!whole)
				gang_rerun(jm, gang);
		}
	rerun_lost(jm, is_not_held, NULL, &lost);
	for (uint32_t v = 0; v < jm->graph->vertex_count; v++)
		done += jm->vertices[v].state == JM_DONE && jm->vertices[v].node != JM_NODE_NONE;
	if (jm->ended)
		return;
	requeue_all(jm);
	jm_note(jm,
		"resumed: %u vertices are done, %u still run, %u run again because their outputs are gone",
		done, adopted, lost);
}
