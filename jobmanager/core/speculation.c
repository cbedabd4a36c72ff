/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule 5: a vertex that is slow beside its finished siblings gets a second attempt on another node; the first
 * to finish wins. What is slow is told by the median of the stage's committed attempts (Dryad, EuroSys 2007,
 * section 4.4), which is kept as a histogram, so that a commit costs the same whatever the stage's width.
 */
#include "speculation.h"
#include "attempt.h"
#include "effects.h"
#include "nodes.h"
#include "vertices.h"

#define SLOW_LEAST (1 * DAG_SECOND)
#define LOOK_EVERY (250 * DAG_MS)
#define SPECULATIONS_MAX 3 /* of a vertex, one at a time */
#define JM_TIMES 128

/* Four buckets for each power of two of microseconds. */
static uint32_t bucket_of(dag_instant run_ns)
{
	uint64_t us = (uint64_t)DAG_MAX(run_ns, (dag_instant)4000) / 1000;
	uint32_t log = 63 - (uint32_t)__builtin_clzll(us);

	return DAG_MIN(4 * log + (uint32_t)(us >> (log - 2) & 3), (uint32_t)JM_TIMES - 1);
}

/* The upper end of a bucket. */
static dag_instant bucket_time(uint32_t bucket)
{
	return (dag_instant)((uint64_t)(4 + bucket % 4 + 1) << (bucket / 4) >> 2) * 1000;
}

void speculation_note_time(struct jm *jm, uint32_t vertex, dag_instant run_ns)
{
	struct jm_stage *s = &jm->stages[jm->graph->vertex_stage[vertex]];

	if (s->width < 2)
		return; /* it has no siblings */
	if (!s->times)
		s->times = base_alloc(JM_TIMES * sizeof(*s->times));
	s->times[bucket_of(run_ns)]++;
}

static dag_instant median_time(const struct jm_stage *s)
{
	uint32_t n = 0, seen = 0, bucket = 0;

	for (uint32_t i = 0; i < JM_TIMES && s->times; i++)
		n += s->times[i];
	while (n && bucket + 1 < JM_TIMES && (seen += s->times[bucket]) * 2 < n)
		bucket++;
	return bucket_time(bucket);
}

struct jm_speculation *speculation_find(struct jm *jm, uint32_t vertex)
{
	for (size_t i = 0; i < jm->speculation_count; i++)
		if (jm->speculations[i].vertex == vertex)
			return &jm->speculations[i];
	return NULL;
}

struct jm_speculation speculation_swap(struct jm *jm, uint32_t vertex, uint32_t attempt, uint32_t node)
{
	struct jm_speculation *second = speculation_find(jm, vertex), old = *second;

	second->attempt = attempt;
	second->node = node;
	return old;
}

void speculation_drop(struct jm *jm, uint32_t vertex)
{
	struct jm_speculation *second = speculation_find(jm, vertex);

	jm_kill(jm, second->node, vertex, second->attempt);
	node_occupy(jm, second->node, vertex, -1);
	*second = jm->speculations[--jm->speculation_count];
	jm->vertices[vertex].has_speculation = false;
}

static bool may_speculate(const struct jm_stage *state, const struct graph_stage *s)
{
	return s->kind != GRAPH_INPUT && !s->no_copies && s->deterministic != GRAPH_NOT_DETERMINISTIC &&
	       state->running && state->done && state->done * 2 >= state->width;
}

/* False where there is no node for it. */
static bool start_speculation(struct jm *jm, uint32_t vertex)
{
	struct jm_vertex *v = &jm->vertices[vertex];
	uint32_t node = 0;

	/* What it reads may be lost meanwhile; the one that runs has read it. */
	if (!vertex_inputs_there(jm, vertex) || JM_ATTEMPT_NUMBER(v->highest) == JM_ATTEMPTS_MAX)
		return true;
	while (node < jm->node_count && (node == v->node || jm->nodes[node].used >= jm->nodes[node].granted ||
						!node_fits(jm, node, vertex)))
		node++;
	if (node == jm->node_count)
		return false;
	attempt_begin(jm, vertex, node, attempt_next(jm, jm->graph->gang_of[vertex]), ATTEMPT_SPECULATIVE);
	v->has_speculation = true;
	v->speculations++;
	*DAG_APPEND(jm->speculations, jm->speculation_count, jm->speculation_cap) =
		(struct jm_speculation){vertex, v->highest, node};
	jm_note(jm, "%s is slow beside its finished siblings; attempt %s runs on %s too",
		jm_attempt_name(jm, vertex), jm_attempt_text(jm, v->highest), jm->nodes[node].name);
	attempt_emit(jm, node, vertex, v->highest, 0, 1);
	return true;
}

/* Looks for slow vertices, when there is nothing else to start. */
void speculation_look(struct jm *jm)
{
	bool any = false;

	if (jm->ended || jm->publishing || jm->partial || jm->ready_count || jm->node_count < 2)
		return;
	for (size_t i = 0; i < jm->graph->stage_count && !any; i++)
		any = may_speculate(&jm->stages[i], jm->graph->stages[i]);
	if (!any)
		return;
	if (jm->now - jm->speculation_checked < LOOK_EVERY) {
		jm_wake(jm, jm->speculation_checked + LOOK_EVERY);
		return;
	}
	jm->speculation_checked = jm->now;
	jm_wake(jm, jm->now + LOOK_EVERY);
	for (size_t i = 0; i < jm->graph->stage_count; i++) {
		const struct graph_stage *s = jm->graph->stages[i];
		dag_instant slow = DAG_MAX(SLOW_LEAST, 2 * median_time(&jm->stages[i]));

		if (!may_speculate(&jm->stages[i], s))
			continue;
		for (uint32_t v = s->first_vertex; v < s->first_vertex + s->width; v++)
			if (jm->vertices[v].state == JM_RUNNING && !jm->vertices[v].has_speculation &&
				jm->vertices[v].speculations < SPECULATIONS_MAX &&
				jm->now - jm->vertices[v].started > slow &&
				jm->graph->gangs[jm->graph->gang_of[v]].count == 1 &&
				!start_speculation(jm, v))
				return;
	}
}

void speculation_fini(struct jm *jm)
{
	for (size_t i = 0; i < jm->graph->stage_count; i++)
		free(jm->stages[i].times);
	free(jm->speculations);
}
