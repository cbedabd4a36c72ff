/* SPDX-License-Identifier: Apache-2.0 */
/* The facts of an earlier run of the job, applied in their order. Nothing is decided here. */
#include "replay.h"
#include "attempt.h"
#include "blame.h"
#include "effects.h"
#include "facts.h"
#include "gangs.h"
#include "nodes.h"
#include "open.h"
#include "output.h"
#include "refine.h"
#include "vertices.h"

#include <stdio.h>

static int replay_node(struct jm *jm, const char *word, const char *text)
{
	char *name = fact_unescape(text);

	node_replay(jm, name, !strcmp(word, "node-up"), !strcmp(word, "node-ended"));
	free(name);
	return 0;
}

static bool is_vertex(const struct jm *jm, unsigned vertex)
{
	return vertex < jm->graph->vertex_count && vertex_stage(jm, vertex)->kind != GRAPH_INPUT;
}

/* Attempts of a gang's members. */
static int replay_started(struct jm *jm, unsigned vertex, unsigned attempt)
{
	const struct graph_gang *g = &jm->graph->gangs[jm->graph->gang_of[vertex]];

	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t member = jm->graph->gang_members[g->first + i];
		const struct jm_vertex *v = &jm->vertices[member];

		if (v->state == JM_DONE || attempt <= v->highest)
			return DAG_EFORMAT;
		attempt_begin(jm, member, JM_NODE_NONE, attempt, ATTEMPT_STARTED);
	}
	return 0;
}

static int replay_committed(struct jm *jm, unsigned vertex, unsigned attempt, const char *rest)
{
	uint32_t gang_id = jm->graph->gang_of[vertex];
	const struct graph_gang *g = &jm->graph->gangs[gang_id];
	const struct jm_vertex *v = &jm->vertices[vertex];
	unsigned long long high, low, bytes, inputs, us;
	struct jm_outcome o = {0};
	unsigned node;
	int n = 0;

	if (sscanf(rest, "node=%u hash=%16llx%16llx bytes=%llu inputs=%16llx us=%llu%n", &node, &high, &low,
		    &bytes, &inputs, &us, &n) != 6 ||
		node >= jm->node_count)
		return DAG_EFORMAT;
	if (v->state == JM_DONE || attempt > v->highest || attempt <= v->fenced)
		return DAG_EFORMAT; /* committed twice, or never started */
	o = (struct jm_outcome){.hash_high = high,
		.hash_low = low,
		.bytes = bytes,
		.run_ns = (dag_instant)us * 1000,
		.closed_early = !strcmp(rest + n, " closed")};
	if (jm->gangs[gang_id].state != JM_RUNNING) {
		gang_unready(jm, gang_id);
		gang_set_running(jm, gang_id, g->count);
	}
	attempt_set(jm, vertex, attempt, node);
	gang_commit(jm, vertex, &o); /* where it gave other bytes, facts say what came of it */
	refine_look(jm);
	return 0;
}

static int replay_failed(struct jm *jm, unsigned vertex, const char *rest)
{
	struct jm_outcome o = {0};
	unsigned node;
	int n = 0;

	if (sscanf(rest, "node=%u error=%d signal=%d %n", &node, &o.error, &o.signal, &n) < 3 || !n ||
		node >= jm->node_count)
		return DAG_EFORMAT;
	o.text = rest + n;
	blame_remember(jm, vertex, node, &o);
	blame_failure(jm, vertex);
	return 0;
}

static int replay_reset(struct jm *jm, unsigned vertex, unsigned attempt)
{
	uint32_t gang = jm->graph->gang_of[vertex];
	const struct graph_gang *g = &jm->graph->gangs[gang];

	for (uint32_t i = 0; i < g->count; i++)
		attempt_pass(jm, jm->graph->gang_members[g->first + i], attempt);
	gang_reset(jm, gang, false);
	gang_try_ready(jm, gang);
	return 0;
}

static int replay_invalidated(struct jm *jm, unsigned vertex)
{
	if (jm->vertices[vertex].state != JM_DONE)
		return DAG_EFORMAT;
	blame_rerun(jm, vertex);
	return 0;
}

static int replay_adopted(struct jm *jm, unsigned vertex, unsigned attempt)
{
	const struct jm_vertex *v = &jm->vertices[vertex];

	if (v->state == JM_DONE || attempt <= v->fenced)
		return DAG_EFORMAT;
	attempt_begin(jm, vertex, JM_NODE_NONE, attempt, ATTEMPT_ADOPTED);
	return 0;
}

/* A speculative attempt, or a member that runs alone. */
static int replay_second(struct jm *jm, unsigned vertex, unsigned attempt, enum attempt_how how)
{
	const struct jm_vertex *v = &jm->vertices[vertex];

	if (v->state == JM_DONE || attempt <= v->highest)
		return DAG_EFORMAT;
	attempt_begin(jm, vertex, JM_NODE_NONE, attempt, how);
	return 0;
}

static int replay_skip(struct jm *jm, unsigned vertex, const char *rest)
{
	struct jm_record record = {0};
	unsigned long long number;
	int n = 0;

	if (sscanf(rest, "%u %u %llu %n", &record.port, &record.producer, &number, &n) < 3)
		return DAG_EFORMAT;
	record.number = number;
	blame_record(jm, vertex, &record, rest + n);
	return 0;
}

static int replay_died(struct jm *jm, unsigned vertex, const char *rest)
{
	unsigned node;

	if (sscanf(rest, "node=%u", &node) != 1 || node >= jm->node_count)
		return DAG_EFORMAT;
	blame_add_death(jm, vertex, node);
	return 0;
}

/* Facts about a vertex: WORD VERTEX ATTEMPT … */
static int replay_vertex(struct jm *jm, const char *word, const char *rest)
{
	unsigned vertex, attempt;
	int n = 0;

	if (sscanf(rest, "%u %u %n", &vertex, &attempt, &n) < 2 || !is_vertex(jm, vertex))
		return DAG_EFORMAT;
	rest += n;
	if (!strcmp(word, "started"))
		return replay_started(jm, vertex, attempt);
	if (!strcmp(word, "committed"))
		return replay_committed(jm, vertex, attempt, rest);
	if (!strcmp(word, "failed"))
		return replay_failed(jm, vertex, rest);
	if (!strcmp(word, "reset"))
		return replay_reset(jm, vertex, attempt);
	if (!strcmp(word, "invalidated"))
		return replay_invalidated(jm, vertex);
	if (!strcmp(word, "adopted"))
		return replay_adopted(jm, vertex, attempt);
	if (!strcmp(word, "alone"))
		return replay_second(jm, vertex, attempt, ATTEMPT_ALONE);
	if (!strcmp(word, "copied"))
		return replay_second(jm, vertex, attempt, ATTEMPT_SPECULATIVE);
	if (!strcmp(word, "died"))
		return replay_died(jm, vertex, rest);
	if (!strcmp(word, "skip"))
		return replay_skip(jm, vertex, rest);
	if (!strcmp(word, "misread")) {
		blame_reader(jm, vertex);
		return 0;
	}
	if (!strcmp(word, "quarantined"))
		return 0; /* for the file, which the shell writes */
	return !strcmp(word, "unread") || !strcmp(word, "failed-copy") ? 0 : DAG_EFORMAT;
}

int jm_replay(struct jm *jm, const char *fact)
{
	char word[32];
	const char *rest;
	int n = 0, r;

	jm->replaying = true;
	effects_drop(jm);
	if (sscanf(fact, "%31s%n", word, &n) != 1)
		return DAG_EFORMAT;
	rest = fact + n + (fact[n] == ' ');
	if (jm->fate >= JM_FATE_PUBLISHED && strcmp(word, "ended"))
		return DAG_EFORMAT; /* nothing happens after the end */
	if (!strcmp(word, "node-up") || !strcmp(word, "node-down") || !strcmp(word, "node-ended"))
		r = *rest ? replay_node(jm, word, rest) : DAG_EFORMAT;
	else if (!strcmp(word, "synced") || !strcmp(word, "refetched"))
		r = output_replay(jm, word, rest);
	else if (!strcmp(word, "grouped") || !strcmp(word, "width"))
		r = refine_replay(jm, word, rest);
	else if (!strcmp(word, "added"))
		r = open_replay(jm, rest);
	else if (!strcmp(word, "publishing")) {
		r = jm->vertices_left && jm->fate != JM_FATE_DECIDED ? DAG_EFORMAT : 0;
		jm->fate = JM_FATE_DECIDED;
	} else if (!strcmp(word, "published")) {
		r = jm->fate == JM_FATE_DECIDED ? 0 : DAG_EFORMAT;
		jm->fate = JM_FATE_PUBLISHED;
	} else if (!strcmp(word, "ended")) {
		r = 0;
		jm->fate = jm->fate == JM_FATE_PUBLISHED ? JM_FATE_PUBLISHED : JM_FATE_FAILED;
	} else
		r = replay_vertex(jm, word, rest);
	return r;
}

void replay_like(struct jm *jm, const struct jm *like)
{
	jm->replaying = true;
	refine_like(jm, like);
	jm->replaying = false;
}

void replay_over(struct jm *jm)
{
	jm->resuming = false;
}

void jm_replayed(struct jm *jm)
{
	jm->replaying = false;
	jm->resuming = true;
	effects_drop(jm);
	outputs_replayed(jm);
}

enum jm_fate jm_fate(const struct jm *jm)
{
	return jm->fate;
}
