/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipelined starts: short vertices are started ahead of the slots, so that a round trip is not paid for each.
 * How many, that is told by how long the vertices of a stage ran, or those of stages that run the same entry.
 */
#include "pipeline.h"
#include "vertices.h"

/* Stages that run the same entry, and so probably take about as long. */
struct jm_kind {
	const struct graph_stage *stage; /* one of them */
	uint32_t done, ahead;
	dag_instant run_ns;
};

/* Another program is another kind: nobody knows what its arguments make of it. */
static bool is_of_kind(const struct jm_kind *k, const struct graph_stage *s)
{
	return s->kind == GRAPH_PLUGIN && k->stage->kind == GRAPH_PLUGIN &&
	       !strcmp(k->stage->entry, s->entry) && !strcmp(k->stage->plugin, s->plugin);
}

void pipeline_init(struct jm *jm)
{
	for (size_t i = 0; i < jm->graph->stage_count; i++) {
		const struct graph_stage *s = jm->graph->stages[i];
		size_t k = s->kind == GRAPH_PLUGIN ? 0 : jm->kind_count;

		if (s->like != i) {
			jm->stages[i].kind = jm->stages[s->like].kind;
			continue;
		}
		while (k < jm->kind_count && !is_of_kind(&jm->kinds[k], s))
			k++;
		if (k == jm->kind_count)
			*DAG_APPEND(jm->kinds, jm->kind_count, jm->kind_cap) = (struct jm_kind){.stage = s};
		jm->stages[i].kind = (uint32_t)k;
	}
}

/* A power of two, so that it seldom changes; 0 where too few have run. */
static uint32_t ahead_of(uint32_t done, dag_instant run_ns)
{
	uint64_t mean = done >= 4 ? DAG_MAX((uint64_t)run_ns / done, 1ull) : UINT64_MAX;
	uint32_t n = JM_AHEAD;

	if (mean > JM_SHORT)
		return 0;
	while (n < JM_AHEAD_MAX && n * 2 * mean <= JM_AHEAD_TIME)
		n *= 2;
	return n;
}

static uint32_t stage_ahead(const struct jm *jm, const struct jm_stage *s)
{
	return s->done >= 4 ? s->ahead : jm->kinds[s->kind].ahead;
}

static bool update_ahead_most(struct jm *jm)
{
	uint32_t most = 0;

	for (size_t i = 0; i < jm->graph->stage_count; i++)
		most = DAG_MAX(most, jm->stages[i].ahead);
	for (size_t i = 0; i < jm->kind_count; i++)
		most = DAG_MAX(most, jm->kinds[i].ahead);
	if (most == jm->ahead_most)
		return false;
	jm->ahead_most = most;
	return true;
}

bool pipeline_note(struct jm *jm, uint32_t stage, dag_instant run_ns)
{
	struct jm_stage *s = &jm->stages[stage];
	struct jm_kind *kind = &jm->kinds[s->kind];
	uint32_t ahead = ahead_of(s->done, s->run_ns), was = DAG_MAX(s->ahead, kind->ahead), now;

	kind->done++;
	kind->run_ns += run_ns;
	s->ahead = ahead;
	kind->ahead = ahead_of(kind->done, kind->run_ns);
	now = DAG_MAX(s->ahead, kind->ahead);
	return (now > jm->ahead_most || (now < was && was == jm->ahead_most)) && update_ahead_most(jm);
}

/* Short vertices are started ahead of the slots, so that a round trip is not paid for each. */
uint32_t pipeline_ahead(const struct jm *jm, const struct graph_stage *stage, uint32_t gang)
{
	return jm->graph->gangs[gang].count > 1 ? 0 : stage_ahead(jm, &jm->stages[stage->id]);
}

bool pipeline_is_short(const struct jm *jm, uint32_t vertex)
{
	return stage_ahead(jm, &jm->stages[jm->graph->vertex_stage[vertex]]) > 0;
}

void pipeline_fini(struct jm *jm)
{
	free(jm->kinds);
}
