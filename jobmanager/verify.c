/* SPDX-License-Identifier: Apache-2.0 */
#include "verify.h"
#include "base/prng.h"
#include "history.h"

#include <stdio.h>

struct commit {
	uint64_t low, high;
	bool known, closed; /* its readers had enough: such a hash says nothing */
};

struct verify {
	const struct journal_saved *saved;
	struct graph graph;
	struct jm *jm; /* as it was at the end: who read whom */
	bool *drawn, *skipped;
	struct commit *then, *now;
};

static void take_commit(const struct verify *v, struct commit *commits, const char *fact)
{
	unsigned long long high, low;
	unsigned vertex;

	if (sscanf(fact, "committed %u %*u node=%*s hash=%16llx%16llx", &vertex, &high, &low) == 3 &&
		vertex < v->graph.vertex_count)
		commits[vertex] = (struct commit){low, high, true, strstr(fact, " closed") != NULL};
}

void verify_new(struct verify **ret_verify, const struct graph *graph, const struct journal_saved *saved)
{
	struct verify *v = base_alloc(sizeof(*v));

	v->saved = saved;
	v->graph = *graph;
	v->graph.output_count = 0;
	v->drawn = base_alloc((graph->vertex_count + 1) * sizeof(*v->drawn));
	v->skipped = base_alloc((graph->vertex_count + 1) * sizeof(*v->skipped));
	memset(v->skipped, true, graph->vertex_count * sizeof(*v->skipped));
	v->then = base_alloc((graph->vertex_count + 1) * sizeof(*v->then));
	v->now = base_alloc((graph->vertex_count + 1) * sizeof(*v->now));
	for (size_t i = 0; i < saved->fact_count; i++)
		take_commit(v, v->then, saved->facts[i]);
	v->jm = history_replay(graph, saved);
	*ret_verify = v;
}

void verify_destroy(struct verify **verify)
{
	struct verify *v = *verify;

	if (!v)
		return;
	jm_destroy(&v->jm);
	free(v->drawn);
	free(v->skipped);
	free(v->then);
	free(v->now);
	free(v);
	*verify = NULL;
}

/* ---- the sample ---- */

static const struct graph_stage *stage_of(const struct verify *v, uint32_t vertex)
{
	return v->graph.stages[v->graph.vertex_stage[vertex]];
}

/* Vertices whose producers are still to be looked at: a job may be as deep as it has vertices. */
struct needed {
	uint32_t *vertices;
	size_t count, cap;
};

/* With its gang. */
static void add_needed(struct verify *v, struct needed *needed, uint32_t vertex)
{
	const struct graph_gang *gang = &v->graph.gangs[v->graph.gang_of[vertex]];

	if (!v->skipped[vertex])
		return;
	for (uint32_t i = 0; i < gang->count; i++) {
		uint32_t member = v->graph.gang_members[gang->first + i];

		v->skipped[member] = false;
		*DAG_APPEND(needed->vertices, needed->count, needed->cap) = member;
	}
}

/* With its gang, and all that those read. */
static void need(struct verify *v, uint32_t vertex)
{
	struct needed needed = {0};

	add_needed(v, &needed, vertex);
	while (needed.count) {
		uint32_t member = needed.vertices[--needed.count];
		const struct graph_stage *s = stage_of(v, member);

		for (uint32_t p = 0; p < s->in_count; p++) {
			const struct graph_edge *e =
				s->in[p].edge == GRAPH_NONE ? NULL : v->graph.edges[s->in[p].edge];
			uint32_t index = member - s->first_vertex;

			for (uint32_t j = 0; e && j < jm_producers(v->jm, e, index); j++)
				add_needed(v, &needed,
					v->graph.stages[e->from]->first_vertex +
						jm_producer(v->jm, e, index, j));
		}
	}
	free(needed.vertices);
}

static void draw(struct verify *v, uint32_t vertex)
{
	v->drawn[vertex] = true;
	need(v, vertex);
}

void verify_draw(struct verify *v, uint32_t per_mille, uint64_t seed)
{
	struct prng prng = {seed};

	for (size_t i = 0; i < v->graph.stage_count; i++) {
		const struct graph_stage *s = v->graph.stages[i];
		uint32_t left = 0, wanted;

		if (s->kind == GRAPH_INPUT)
			continue;
		for (uint32_t j = 0; j < s->width; j++)
			left += v->then[s->first_vertex + j].known;
		wanted = (uint32_t)(((uint64_t)left * per_mille + 999) / 1000);
		for (uint32_t j = 0; j < s->width && wanted; j++) {
			if (!v->then[s->first_vertex + j].known)
				continue;
			if (prng_below(&prng, left--) < wanted) {
				wanted--;
				draw(v, s->first_vertex + j);
			}
		}
	}
}

int verify_add(struct verify *v, const char *name)
{
	size_t len = strcspn(name, "[");
	bool any = false;
	unsigned index = 0;
	int end = 0;

	if (name[len] && (sscanf(name + len, "[%u]%n", &index, &end) != 1 || !end || name[len + (size_t)end]))
		return DAG_EINVAL;
	for (size_t i = 0; i < v->graph.stage_count; i++) {
		const struct graph_stage *s = v->graph.stages[i];

		if (strlen(s->name) != len || strncmp(s->name, name, len) || s->kind == GRAPH_INPUT)
			continue;
		if (index >= s->width)
			return DAG_EINVAL;
		for (uint32_t j = name[len] ? index : 0; j < (name[len] ? index + 1 : s->width); j++)
			if (v->then[s->first_vertex + j].known) {
				any = true;
				draw(v, s->first_vertex + j);
			}
		return any ? 0 : DAG_EMISSING;
	}
	return DAG_EINVAL;
}

/* ---- the run ---- */

const struct journal_saved *verify_saved(const struct verify *v)
{
	return v->saved;
}

const struct graph *verify_graph(const struct verify *v)
{
	return &v->graph;
}

const bool *verify_skipped(const struct verify *v)
{
	return v->skipped;
}

const struct jm *verify_then(const struct verify *v)
{
	return v->jm;
}

void verify_fact(struct verify *v, const char *fact)
{
	take_commit(v, v->now, fact);
}

/* ---- what came of it ---- */

static bool is_compared(const struct verify *v, uint32_t vertex)
{
	return v->then[vertex].known && v->now[vertex].known && !v->then[vertex].closed &&
	       !v->now[vertex].closed;
}

static bool differs(const struct verify *v, uint32_t vertex)
{
	return is_compared(v, vertex) &&
	       (v->then[vertex].low != v->now[vertex].low || v->then[vertex].high != v->now[vertex].high);
}

/* Other bytes went in, so it says nothing that others came out. */
static bool read_what_differs(const struct verify *v, uint32_t vertex)
{
	const struct graph_stage *s = stage_of(v, vertex);
	uint32_t index = vertex - s->first_vertex;

	for (uint32_t p = 0; p < s->in_count; p++) {
		const struct graph_edge *e =
			s->in[p].edge == GRAPH_NONE ? NULL : v->graph.edges[s->in[p].edge];

		for (uint32_t j = 0; e && j < jm_producers(v->jm, e, index); j++)
			if (differs(v,
				    v->graph.stages[e->from]->first_vertex + jm_producer(v->jm, e, index, j)))
				return true;
	}
	return false;
}

bool verify_report(const struct verify *v, const char *job)
{
	uint32_t drawn = 0, run = 0, compared = 0, different = 0, guilty = 0;

	for (uint32_t i = 0; i < v->graph.vertex_count; i++) {
		const struct graph_stage *s = stage_of(v, i);
		bool expected =
			     s->deterministic == GRAPH_NOT_DETERMINISTIC || s->deterministic == GRAPH_ACCEPT,
		     first = differs(v, i) && !read_what_differs(v, i);

		drawn += v->drawn[i];
		run += v->now[i].known;
		compared += is_compared(v, i);
		different += differs(v, i);
		guilty += first && !expected;
		if (first)
			printf("%s[%u] gave other bytes, and read the same: hash %016llx%016llx now, "
			       "%016llx%016llx then%s\n",
				s->name, graph_index(&v->graph, i), (unsigned long long)v->now[i].high,
				(unsigned long long)v->now[i].low, (unsigned long long)v->then[i].high,
				(unsigned long long)v->then[i].low,
				expected ? " (the stage is said not to be deterministic)" : "");
	}
	printf("job %s: %u %s drawn, %u run with all that %s from, %u compared: ", job, drawn,
		DAG_VERTICES(drawn), run, run == 1 ? "it reads" : "they read", compared);
	if (different)
		printf("%u gave other bytes than then\n", different);
	else
		printf("all gave the same bytes as then\n");
	return !guilty;
}
