/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of an attempt: of a gang, of a single vertex, of a member that runs again, of a speculative one.
 */
#include "attempt.h"
#include "effects.h"
#include "facts.h"
#include "nodes.h"
#include "queue.h"
#include "spread.h"
#include "vertices.h"

/* All members of one start have one number, above all that they had before. */
uint32_t attempt_next(const struct jm *jm, uint32_t gang)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];
	uint32_t attempt = JM_ATTEMPT(jm->epoch, 0);

	for (uint32_t i = 0; i < g->count; i++)
		attempt = DAG_MAX(attempt, jm->vertices[jm->graph->gang_members[g->first + i]].highest);
	return attempt + 1;
}

void attempt_release(struct jm *jm, uint32_t vertex)
{
	if (jm->vertices[vertex].node != JM_NODE_NONE)
		node_occupy(jm, jm->vertices[vertex].node, vertex, -1);
}

/* Words of the journal; the start of a gang is one fact for all of it. */
static const char *const words[] = {
	[ATTEMPT_ALONE] = "alone", [ATTEMPT_SPECULATIVE] = "copied", [ATTEMPT_ADOPTED] = "adopted"};

void attempt_begin(struct jm *jm, uint32_t vertex, uint32_t node, uint32_t number, enum attempt_how how)
{
	struct jm_vertex *v = &jm->vertices[vertex];

	if (how == ATTEMPT_ALONE)
		v->fenced = v->highest;
	if (how != ATTEMPT_SPECULATIVE)
		v->attempt = number;
	v->highest = DAG_MAX(v->highest, number);
	if (how != ATTEMPT_ADOPTED)
		jm->stages[jm->graph->vertex_stage[vertex]].attempts++;
	if (jm->replaying)
		return;
	if (how != ATTEMPT_SPECULATIVE) {
		v->node = node;
		v->started = jm->now;
		vertex_set_state(jm, vertex, JM_RUNNING);
	}
	node_occupy(jm, node, vertex, +1);
	if (words[how])
		jm_fact(jm, "%s %u %u node=%u", words[how], vertex, number, node);
}

void attempts_init(struct jm *jm)
{
	for (uint32_t v = 0; v < jm->graph->vertex_count; v++)
		jm->vertices[v].node = JM_NODE_NONE;
}

void attempt_set(struct jm *jm, uint32_t vertex, uint32_t number, uint32_t node)
{
	jm->vertices[vertex].attempt = number;
	jm->vertices[vertex].node = node;
}

void attempt_pass(struct jm *jm, uint32_t vertex, uint32_t number)
{
	jm->vertices[vertex].highest = DAG_MAX(jm->vertices[vertex].highest, number);
}

void attempt_fence(struct jm *jm, uint32_t vertex)
{
	jm->vertices[vertex].fenced = jm->vertices[vertex].highest;
	jm->vertices[vertex].node = JM_NODE_NONE;
}

void attempt_take_back(struct jm *jm, uint32_t vertex)
{
	jm->stages[jm->graph->vertex_stage[vertex]].attempts--;
}

void attempt_emit(
	struct jm *jm, uint32_t node, uint32_t vertex, uint32_t attempt, uint32_t group, uint32_t group_size)
{
	struct jm_effect *e = jm_emit_attempt(jm, JM_START, node, vertex, attempt);

	e->shares = graph_vertex_shares(jm->graph, vertex);
	e->group = group;
	e->group_size = group_size;
}

static void emit_member(struct jm *jm, uint32_t vertex, uint32_t group, uint32_t group_size)
{
	attempt_emit(jm, jm->vertices[vertex].node, vertex, jm->vertices[vertex].attempt, group, group_size);
}

void attempt_start_late(struct jm *jm, uint32_t vertex)
{
	jm->vertices[vertex].started = jm->now;
	emit_member(jm, vertex, 0, 1);
}

static void emit_groups(struct jm *jm, uint32_t gang, const uint32_t *group)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];

	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t size = 0;
		bool first = true;

		for (uint32_t j = 0; group[i] && j < g->count; j++) {
			size += group[j] == group[i];
			first = first && (j >= i || group[j] != group[i]);
		}
		if (!group[i])
			emit_member(jm, jm->graph->gang_members[g->first + i], 0, 1);
		/* The members of a group follow each other, as the daemon expects them. */
		for (uint32_t j = i; group[i] && first && j < g->count; j++)
			if (group[j] == group[i])
				emit_member(jm, jm->graph->gang_members[g->first + j], group[i], size);
	}
}

void attempt_start_single(struct jm *jm, uint32_t vertex, uint32_t node)
{
	uint32_t gang = jm->graph->gang_of[vertex], attempt = attempt_next(jm, gang);

	gang_set_running(jm, gang, 1);
	attempt_begin(jm, vertex, node, attempt, ATTEMPT_STARTED);
	fact_started(jm, vertex, attempt, node, 1);
	emit_member(jm, vertex, 0, 1);
}

bool attempt_start_gang(struct jm *jm, uint32_t gang, uint32_t node)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];
	uint32_t attempt, *group = arena_alloc(&jm->texts, g->count * sizeof(*group)),
			  *chosen = arena_alloc(&jm->texts, g->count * sizeof(*chosen));

	*chosen = node;
	if (g->count > 1 && !spread_gang(jm, gang, node, group, chosen))
		return false;
	attempt = attempt_next(jm, gang);
	queue_remove(jm, gang);
	gang_set_running(jm, gang, g->count);
	for (uint32_t i = 0; i < g->count; i++)
		attempt_begin(jm, jm->graph->gang_members[g->first + i], chosen[i], attempt, ATTEMPT_STARTED);
	fact_started(jm, jm->graph->gang_members[g->first], attempt, chosen[0], g->count);
	emit_groups(jm, gang, group);
	return true;
}
