/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes hold when they come up. After a node was gone, its sealed outputs count again and its running
 * work never; after the job manager was gone, what still runs is adopted where every producer that it reads
 * is the committed one.
 */
#include "state.h"
#include "base/hash.h"

void on_found(struct jm *jm, uint32_t node, const struct jm_found *found, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct jm_found *f = &found[i];
		struct jm_vertex *v;

		if (f->vertex >= jm->graph->vertex_count || vertex_stage(jm, f->vertex)->kind == GRAPH_INPUT)
			continue;
		v = &jm->vertices[f->vertex];
		if (v->state == JM_DONE && v->attempt == f->attempt && v->node == node && f->sealed &&
			(!v->hashed || (v->hash_low == f->hash_low && v->hash_high == f->hash_high)))
			v->held = true;
		else if (jm->resuming && v->state != JM_DONE && f->attempt > v->fenced)
			*DAG_APPEND(jm->adoptable, jm->adoptable_count, jm->adoptable_cap) =
				(struct jm_adoptable){*f, node};
		else
			jm_kill(jm, node, f->vertex, f->attempt);
	}
}

void forget_found(struct jm *jm, uint32_t node)
{
	for (size_t i = 0; i < jm->adoptable_count;)
		if (jm->adoptable[i].node == node)
			jm->adoptable[i] = jm->adoptable[--jm->adoptable_count];
		else
			i++;
	for (uint32_t v = 0; v < jm->graph->vertex_count; v++)
		if (jm->vertices[v].node == node)
			jm->vertices[v].held = false;
}

/* ---- adoption ---- */

static struct jm_adoptable *find_adoptable(struct jm *jm, uint32_t vertex, uint32_t attempt)
{
	for (size_t i = 0; i < jm->adoptable_count; i++)
		if (jm->adoptable[i].found.vertex == vertex && jm->adoptable[i].found.attempt == attempt &&
			jm->nodes[jm->adoptable[i].node].up)
			return &jm->adoptable[i];
	return NULL;
}

struct reading {
	struct buffer pairs;
	uint32_t gang, attempt;
	bool whole; /* every producer is committed, or in the gang */
};

static void note_producer(struct jm *jm, uint32_t producer, void *ctx)
{
	struct reading *r = ctx;
	uint32_t pair[2] = {producer, jm->vertices[producer].attempt};

	if (jm->graph->gang_of[producer] == r->gang && jm->vertices[producer].state != JM_DONE)
		pair[1] = r->attempt;
	else if (jm->vertices[producer].state != JM_DONE)
		r->whole = false;
	buffer_append(&r->pairs, pair, sizeof(pair));
}

static bool reads_what_counts(struct jm *jm, const struct jm_found *f)
{
	struct reading r = {.gang = jm->graph->gang_of[f->vertex], .attempt = f->attempt, .whole = true};
	bool same;

	vertex_each_producer(jm, f->vertex, note_producer, &r);
	same = r.whole &&
	       hash_pairs((uint32_t *)r.pairs.data, r.pairs.len / (2 * sizeof(uint32_t))) == f->inputs;
	buffer_fini(&r.pairs);
	return same;
}

/* All members that are not committed must have been found under one number, reading what counts. */
static bool can_adopt(struct jm *jm, uint32_t gang, uint32_t attempt)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];

	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t vertex = jm->graph->gang_members[g->first + i];
		const struct jm_vertex *v = &jm->vertices[vertex];
		struct jm_adoptable *a;

		if (v->state == JM_DONE) {
			if (v->attempt != attempt)
				return false;
			continue;
		}
		a = find_adoptable(jm, vertex, attempt);
		if (!a || !reads_what_counts(jm, &a->found))
			return false;
	}
	return true;
}

static void adopt(struct jm *jm, uint32_t gang, uint32_t attempt)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];

	if (jm->gangs[gang].state == JM_READY)
		unqueue_gang(jm, gang);
	jm->gangs[gang].state = JM_RUNNING;
	jm->gangs[gang].left = 0;
	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t vertex = jm->graph->gang_members[g->first + i];
		struct jm_vertex *v = &jm->vertices[vertex];

		if (v->state == JM_DONE)
			continue;
		jm->gangs[gang].left++;
		v->node = find_adoptable(jm, vertex, attempt)->node;
		v->attempt = attempt;
		v->highest = DAG_MAX(v->highest, attempt);
		v->started = jm->now;
		occupy_node(jm, v->node, vertex, +1);
		vertex_set_state(jm, vertex, JM_RUNNING);
		jm_fact(jm, "adopted %u %u node=%s", vertex, attempt, jm->nodes[v->node].name);
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
		if (v->state != JM_RUNNING && v->state != JM_DONE && can_adopt(jm, gang, f->attempt))
			adopt(jm, gang, f->attempt);
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
