/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adoption: after the job manager was gone, what still runs goes on where every producer that it reads is the
 * committed one.
 */
#include "resume.h"
#include "attempt.h"
#include "effects.h"
#include "failure.h"
#include "found.h"
#include "gangs.h"
#include "queue.h"
#include "vertices.h"
#include "base/hash.h"

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
	const struct jm_adoptable *a = NULL;

	if (v->state != JM_DONE) {
		a = jm->graph->gang_of[producer] == r->gang ? found_newest(jm, producer) : NULL;
		pair[1] = a ? a->found.attempt : 0;
		r->whole = r->whole && a && pair[1] <= r->limit;
	}
	buffer_append(&r->pairs, pair, sizeof(pair));
}

/* A running member must read what is committed or found; a committed one can have read no later attempt. */
static bool reads_what_counts(struct jm *jm, uint32_t vertex)
{
	const struct jm_vertex *v = &jm->vertices[vertex];
	const struct jm_adoptable *a = v->state == JM_DONE ? NULL : found_newest(jm, vertex);
	struct reading r = {
		.gang = jm->graph->gang_of[vertex], .limit = a ? UINT32_MAX : v->attempt, .whole = true};
	bool same;

	if ((!a && v->state != JM_DONE) || !vertex_is_decided(jm, vertex))
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
	uint32_t left = 0;

	if (jm->gangs[gang].state == JM_READY)
		queue_remove(jm, gang);
	for (uint32_t i = 0; i < g->count; i++)
		left += jm->vertices[jm->graph->gang_members[g->first + i]].state != JM_DONE;
	gang_set_running(jm, gang, left);
	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t vertex = jm->graph->gang_members[g->first + i];
		const struct jm_adoptable *a = found_newest(jm, vertex);

		if (jm->vertices[vertex].state != JM_DONE)
			attempt_begin(jm, vertex, a->node, a->found.attempt, ATTEMPT_ADOPTED);
	}
}

static bool is_not_held(const struct jm *jm, uint32_t vertex, const void *ctx)
{
	(void)ctx;
	return !jm->vertices[vertex].held;
}

void resume_adopt(struct jm *jm)
{
	uint32_t adopted = 0, lost = 0, done = 0;

	found_sort(jm);
	for (size_t i = 0; i < jm->adoptable_count; i++) {
		const struct jm_found *f = &jm->adoptable[i].found;
		const struct jm_vertex *v = &jm->vertices[f->vertex];
		uint32_t gang = jm->graph->gang_of[f->vertex];

		/* Numbers go on above all that any node names. */
		attempt_pass(jm, f->vertex, f->attempt);
		if (v->state != JM_RUNNING && v->state != JM_DONE && can_adopt(jm, gang))
			adopt(jm, gang);
		if (v->state == JM_RUNNING && v->attempt == f->attempt && v->node == jm->adoptable[i].node)
			adopted++;
		else
			jm_kill(jm, jm->adoptable[i].node, f->vertex, f->attempt);
	}
	found_clear(jm);
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
	failure_rerun_lost(jm, is_not_held, NULL, &lost);
	for (uint32_t v = 0; v < jm->graph->vertex_count; v++)
		done += jm->vertices[v].state == JM_DONE && jm->vertices[v].node != JM_NODE_NONE;
	if (jm->ended)
		return;
	queues_refill(jm);
	jm_note(jm, "resumed: %u %s done, %u still run, %u run again because their outputs are gone", done,
		done == 1 ? "vertex is" : "vertices are", adopted, lost);
}
