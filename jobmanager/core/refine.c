/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is decided of the graph while the job runs (Dryad, EuroSys 2007, section 5.2): which producers are put
 * together, when they have ended and it is known where their data lies, and how many vertices a stage has,
 * when it is known how much there is to read. Each decision is a fact, is made once, and holds whatever is
 * lost later, so that a rerun reads what the first attempt read.
 *
 * Groups are given to the consumers in their order; consumers that are left over when all producers are in
 * groups, and those that a stage does not need, are left out: nobody runs them and nobody reads them.
 */
#include "refine.h"
#include "edges.h"
#include "effects.h"
#include "facts.h"
#include "gangs.h"
#include "groups.h"
#include "open.h"
#include "output.h"
#include "vertices.h"
#include "graph/edge.h"

#include <stdio.h>

/* ---- widths ---- */

static void make_last_groups(struct jm *jm, const struct graph_edge *e);

/* The vertices that are left out will not be waited for. */
static void tell_readers(struct jm *jm, const struct graph_stage *s, uint32_t left_out)
{
	for (const struct graph_edge *e = graph_out(jm->graph, s->first_out); e;
		e = graph_out(jm->graph, e->next_out)) {
		if (e->pattern == GRAPH_BIPARTITE)
			gangs_count_edge(jm, e, -(int64_t)left_out);
		else if (e->pattern == GRAPH_GROUPS && !jm->replaying)
			make_last_groups(jm, e);
	}
}

/* `root` has so many vertices, and so have those that are joined to it pointwise. */
static void settle(struct jm *jm, uint32_t root, uint32_t width)
{
	const struct graph *g = jm->graph;

	jm_fact(jm, "width %u %u", root, width);
	if (g->stages[root]->open)
		open_closed(jm);
	for (size_t i = 0; i < g->stage_count; i++) {
		uint32_t most = jm->stages[i].width;

		if (g->stages[i]->width_of != root)
			continue;
		jm->stages[i].settled = true;
		jm->stages[i].width = width;
		for (uint32_t v = width; v < most; v++)
			vertex_leave_out(jm, g->stages[i]->first_vertex + v);
	}
	for (size_t i = 0; i < g->stage_count; i++)
		if (g->stages[i]->width_of == root)
			tell_readers(jm, g->stages[i], g->stages[i]->width - width);
	for (uint32_t v = 0; v < width; v++)
		gang_try_ready(jm, g->gang_of[g->stages[root]->first_vertex + v]);
	if (!jm->replaying)
		outputs_settled(jm, root, width);
}

static void settle_by_data(struct jm *jm, uint32_t stage)
{
	const struct graph_stage *s = jm->graph->stages[stage];
	uint64_t bytes = 0, width;

	if (!s->width_by_data || jm->stages[stage].settled || jm->replaying)
		return;
	for (uint32_t p = 0; p < s->in_count; p++) {
		const struct graph_edge *e = jm->graph->edges[s->in[p].edge];

		if (jm->edges[e->id].missing)
			return;
		for (uint32_t i = 0; i < jm->stages[e->from].width; i++)
			bytes += jm->vertices[jm->graph->stages[e->from]->first_vertex + i].bytes;
	}
	width = DAG_MAX(bytes / s->width_per + (bytes % s->width_per > 0), 1ull);
	if (width > s->width)
		jm_note(jm,
			"stage '%s' would have %llu vertices for %llu bytes: it has %u, which read more each",
			s->name, (unsigned long long)width, (unsigned long long)bytes, s->width);
	settle(jm, stage, (uint32_t)DAG_MIN(width, (uint64_t)s->width));
}

/* ---- groups ---- */

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void make_group(struct jm *jm, const struct graph_edge *e, const uint32_t *producers, size_t n)
{
	struct jm_groups *g = jm->edges[e->id].groups;
	const struct graph_stage *from = jm->graph->stages[e->from], *to = jm->graph->stages[e->to];
	uint32_t consumer = g->count++, *members = g->members + g->first[consumer];
	uint32_t vertex = to->first_vertex + consumer;
	struct buffer fact = {0};

	memcpy(members, producers, n * sizeof(*members));
	qsort(members, n, sizeof(*members), by_number);
	g->first[consumer + 1] = g->first[consumer] + (uint32_t)n;
	vertex_wait(jm, vertex, -1); /* for its group */
	for (size_t i = 0; i < n; i++) {
		g->of[members[i]] = consumer;
		vertex_wait(jm, vertex, jm->vertices[from->first_vertex + members[i]].state != JM_DONE);
		if (!jm->replaying)
			buffer_format(&fact, " %u", members[i]);
	}
	jm_fact(jm, "grouped %u %u%.*s", e->id, consumer, (int)fact.len, (char *)fact.data);
	buffer_fini(&fact);
	gang_try_ready(jm, jm->graph->gang_of[vertex]);
}

/* Whether the other consumers can take the rest, `most` each. */
static bool may_close(const struct jm *jm, const struct graph_edge *e, size_t n)
{
	const struct jm_groups *g = jm->edges[e->id].groups;
	uint64_t rest = jm->stages[e->from].width - g->first[g->count] - n;

	return (uint64_t)(e->to_width - g->count - 1) * e->groups.most >= rest;
}

/* Makes groups of a list; fewer than `least` stay in it. */
static void close_list(struct jm *jm, const struct graph_edge *e, struct jm_list *list, uint32_t least)
{
	size_t done = 0, n;

	for (; list->count - done >= least; done += n) {
		n = DAG_MIN(list->count - done, (size_t)e->groups.most);
		if (!may_close(jm, e, n))
			break;
		make_group(jm, e, list->items + done, n);
	}
	if (!done)
		return;
	jm->edges[e->id].groups->waiting -= (uint32_t)done;
	for (size_t i = 0; i < done; i++)
		list->bytes -= groups_bytes(jm, e, list->items[i]);
	list->count -= done;
	memmove(list->items, list->items + done, list->count * sizeof(*list->items));
}

/* Lists of fewer than `least` go up to their rack's, or into one for all. */
static void close_lists(struct jm *jm, const struct graph_edge *e, bool to_racks, struct jm_list *rest)
{
	struct jm_groups *g = jm->edges[e->id].groups;

	for (uint32_t key = 0; key < g->list_count; key++) {
		uint32_t up = to_racks ? groups_key(jm, GRAPH_GROUP_RACK, key) : key;
		struct jm_list *list = &g->lists[key];

		close_list(jm, e, list, e->groups.least);
		if (to_racks && up == key)
			continue;
		for (size_t i = 0; i < list->count; i++)
			groups_add(jm, e, to_racks ? &g->lists[up] : rest, list->items[i]);
		list->count = 0;
		list->bytes = 0;
	}
}

static void make_last_groups(struct jm *jm, const struct graph_edge *e)
{
	struct jm_groups *g = jm->edges[e->id].groups;
	uint32_t width = jm->stages[e->from].width;
	struct jm_list rest = {0};

	if (!jm->stages[e->from].settled || jm->stages[e->to].settled ||
		g->first[g->count] + g->waiting < width)
		return;
	if (e->groups.by == GRAPH_GROUP_NODE)
		close_lists(jm, e, true, NULL);
	close_lists(jm, e, false, &rest);
	for (size_t at = 0; at < rest.count; at += e->groups.most)
		make_group(jm, e, rest.items + at, DAG_MIN(rest.count - at, (size_t)e->groups.most));
	free(rest.items);
	g->waiting = 0;
	settle(jm, e->to, g->count);
}

/* A committed producer that is in no group. */
static void take(struct jm *jm, const struct graph_edge *e, uint32_t producer)
{
	struct jm_groups *g = jm->edges[e->id].groups;
	const struct jm_vertex *v = &jm->vertices[jm->graph->stages[e->from]->first_vertex + producer];
	uint64_t bytes = e->groups.bytes;
	struct jm_list *list = groups_list(g, groups_key(jm, e->groups.by, v->node));

	if (!jm->replaying && list->bytes + v->bytes > bytes)
		close_list(jm, e, list, 1);
	groups_add(jm, e, list, producer);
	g->waiting++;
	if (jm->replaying)
		return;
	if (list->count >= e->groups.most || list->bytes >= bytes / 8 * 7 || v->bytes > bytes / 2)
		close_list(jm, e, list, 1);
	make_last_groups(jm, e);
}

void refine_look(struct jm *jm)
{
	struct jm_arrival a;

	while (gangs_next_arrival(jm, &a))
		if (a.producer == GRAPH_NONE)
			settle_by_data(jm, jm->graph->edges[a.edge]->to);
		else
			take(jm, jm->graph->edges[a.edge], a.producer);
}

/* How many vertices an open stage has is known now. */
int refine_close(struct jm *jm, uint32_t stage)
{
	if (stage >= jm->graph->stage_count || !jm->graph->stages[stage]->open)
		return DAG_EINVAL;
	if (!jm->stages[stage].settled)
		settle(jm, stage, jm->stages[stage].added);
	refine_look(jm);
	return 0;
}

/* ---- facts of an earlier run ---- */

static int replay_group(struct jm *jm, const char *rest)
{
	unsigned edge, consumer;
	uint32_t producer;
	const struct graph_edge *e;
	struct jm_groups *g;
	uint32_t *producers;
	size_t count = 0;
	int n = 0, r = DAG_EFORMAT;

	if (sscanf(rest, "%u %u%n", &edge, &consumer, &n) != 2 || edge >= jm->graph->edge_count)
		return DAG_EFORMAT;
	e = jm->graph->edges[edge];
	g = jm->edges[edge].groups;
	if (!g || consumer != g->count || consumer >= e->to_width)
		return DAG_EFORMAT;
	producers = base_alloc(e->from_width * sizeof(*producers));
	for (rest += n; fact_number(&rest, &producer);) {
		if (producer >= e->from_width || g->of[producer] != GRAPH_NONE || count == e->from_width)
			goto out;
		producers[count++] = producer;
	}
	if (!count || g->first[g->count] + count > e->from_width)
		goto out;
	for (size_t i = 0; i < count; i++)
		groups_take_back(jm, e, producers[i]);
	make_group(jm, e, producers, count);
	r = 0;
out:
	free(producers);
	return r;
}

int refine_replay(struct jm *jm, const char *word, const char *rest)
{
	unsigned stage, width;

	if (!strcmp(word, "grouped"))
		return replay_group(jm, rest);
	if (sscanf(rest, "%u %u", &stage, &width) != 2 || stage >= jm->graph->stage_count ||
		jm->graph->stages[stage]->width_of != stage || jm->stages[stage].settled ||
		(!width && jm->graph->stages[stage]->width_by_data) ||
		width > jm->graph->stages[stage]->width)
		return DAG_EFORMAT;
	settle(jm, stage, width);
	refine_look(jm);
	return 0;
}

void refine_like(struct jm *jm, const struct jm *like)
{
	open_like(jm, like);
	for (size_t i = 0; i < jm->graph->edge_count; i++) {
		const struct jm_groups *g = like->edges[i].groups;

		for (uint32_t c = 0; g && c < g->count; c++)
			make_group(jm, jm->graph->edges[i], g->members + g->first[c],
				g->first[c + 1] - g->first[c]);
	}
	for (uint32_t i = 0; i < jm->graph->stage_count; i++)
		if (like->stages[i].settled && jm->graph->stages[i]->width_of == i)
			settle(jm, i, like->stages[i].width);
		else if (jm->graph->stages[i]->open) /* it was never closed */
			settle(jm, i, like->stages[i].added);
	refine_look(jm);
}

/* ---- the whole ---- */

void refine_init(struct jm *jm)
{
	open_init(jm);
	for (size_t i = 0; i < jm->graph->stage_count; i++) {
		jm->stages[i].width = jm->graph->stages[i]->width;
		jm->stages[i].settled = jm->graph->stages[i]->width_of == GRAPH_NONE;
	}
	groups_init(jm);
}

void refine_fini(struct jm *jm)
{
	open_fini(jm);
	groups_fini(jm);
}
