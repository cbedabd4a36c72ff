/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages whose width is decided while the job runs: those that groups feed, those that go by data, and what
 * is joined to them pointwise, which has their width. In the graph they have the most that it can be.
 */
#include "finish.h"

static const struct graph_edge *in_edge(const struct graph *graph, const struct graph_stage *s, uint32_t port)
{
	return s->in[port].edge == GRAPH_NONE ? NULL : graph->edges[s->in[port].edge];
}

void graph_finish_open(struct graph *graph, struct dag_diag *diag)
{
	for (size_t i = 0; i < graph->edge_count; i++) {
		struct graph_edge *e = graph->edges[i];
		const struct graph_stage *from = graph->stages[e->from], *to = graph->stages[e->to];

		if ((from->open || to->open) && (e->channel == GRAPH_PIPE || e->channel == GRAPH_FIFO))
			graph_report(diag, e->place, "stage '%s' is open: its channels are always files",
				from->open ? from->name : to->name);
		if (!to->open)
			continue;
		if (from->kind == GRAPH_INPUT)
			graph_report(diag, e->place,
				"'%s' is an input of the job, and the stage '%s' is open: put a stage "
				"between",
				from->name, to->name);
		if (e->pattern != GRAPH_POINTWISE)
			graph_report(diag, e->place,
				"what a vertex of '%s' reads is said when it is added: write '%s >= %s'",
				to->name, from->name, to->name);
		e->pattern = GRAPH_ADDED;
	}
}

/* Which vertex's records are the last of the file, nobody knows before the stage is closed. */
static void check_outputs(const struct graph *graph, struct dag_diag *diag)
{
	for (size_t i = 0; i < graph->output_count; i++) {
		const struct graph_output *o = &graph->outputs[i];
		const struct graph_stage *s = graph->stages[o->stage];

		if (s->width_of != GRAPH_NONE && graph->stages[s->width_of]->open && !o->per_vertex)
			graph_report(diag, o->place,
				"stage '%s' is open: write a file for each of '%s', with {index}, or gather "
				"them in "
				"another stage",
				graph->stages[s->width_of]->name, s->name);
	}
}

bool graph_is_grouped(const struct graph *graph, const struct graph_stage *stage)
{
	for (uint32_t p = 0; p < stage->in_count; p++) {
		const struct graph_edge *e = in_edge(graph, stage, p);

		if (e && e->pattern == GRAPH_GROUPS)
			return true;
	}
	return false;
}

bool graph_width_of_groups(struct graph *graph, struct graph_stage *stage)
{
	for (uint32_t p = 0; p < stage->in_count; p++) {
		const struct graph_edge *e = in_edge(graph, stage, p);
		uint32_t width = e && e->pattern == GRAPH_GROUPS ? graph->stages[e->from]->width : 0;

		if (width)
			stage->width = (width + e->groups.least - 1) / e->groups.least;
	}
	return stage->width > 0;
}

void graph_width_by_data(struct graph *graph, struct graph_stage *stage, struct dag_diag *diag)
{
	for (uint32_t p = 0; p < stage->in_count; p++) {
		const struct graph_edge *e = in_edge(graph, stage, p);

		if (e && (e->pattern != GRAPH_BIPARTITE || graph->stages[e->from]->kind == GRAPH_INPUT))
			graph_report(diag, e->place,
				"the width of '%s' goes by data, so every edge into it must be '>>' from a "
				"stage",
				stage->name);
	}
	if (!stage->width)
		stage->width = GRAPH_RUNNING_WIDTH_MAX;
}

static bool reads_all(const struct graph_edge *e)
{
	return e->pattern == GRAPH_BIPARTITE && (e->partition.kind == GRAPH_BY_ALL || e->to_width == 1);
}

/* What decides the width itself: its edges come from what has ended. */
static void check_root(const struct graph *graph, const struct graph_stage *s, struct dag_diag *diag)
{
	bool grouped = graph_is_grouped(graph, s);

	for (uint32_t p = 0; p < s->in_count; p++) {
		const struct graph_edge *e = in_edge(graph, s, p);

		if (!e)
			continue;
		if (e->channel != GRAPH_AUTO && e->channel != GRAPH_FILE)
			graph_report(diag, e->place,
				"the width of '%s' is decided when what it reads has ended: its channel is "
				"always a file",
				s->name);
		if (e->pattern == GRAPH_GROUPS && graph->stages[e->from]->kind == GRAPH_INPUT)
			graph_report(diag, e->place, "'%s' is an input of the job: groups are of stages",
				graph->stages[e->from]->name);
		if (grouped && e->pattern != GRAPH_GROUPS && !reads_all(e))
			graph_report(diag, e->place,
				"groups feed '%s', so its other edges must be '>>' with {by: all}", s->name);
	}
}

static void check_reader(const struct graph *graph, const struct graph_edge *e, struct dag_diag *diag)
{
	const struct graph_stage *from = graph->stages[e->from], *to = graph->stages[e->to];

	if (e->pattern == GRAPH_NEIGHBOURS || e->pattern == GRAPH_LIST)
		graph_report(diag, e->place,
			"the width of '%s' is decided while the job runs: it can be read by '>=', '>>' and "
			"groups",
			from->name);
	if (e->pattern == GRAPH_POINTWISE && e->from_width != e->to_width)
		graph_report(diag, e->place,
			"the width of '%s' is decided while the job runs, so '%s' must have the same: leave "
			"its "
			"width out",
			from->name, to->name);
	if (e->pattern == GRAPH_BIPARTITE && (e->channel == GRAPH_PIPE || e->channel == GRAPH_FIFO))
		graph_report(diag, e->place,
			"the width of '%s' is decided while the job runs: '>>' from it goes by files only",
			from->name);
}

/* Which has the width of what it is joined to pointwise: all of them must be of one. */
static void check_follower(const struct graph *graph, const struct graph_stage *s, struct dag_diag *diag)
{
	for (uint32_t p = 0; p < s->in_count; p++) {
		const struct graph_edge *e = in_edge(graph, s, p);

		if (e && !reads_all(e) &&
			(e->pattern != GRAPH_POINTWISE || graph->stages[e->from]->width_of != s->width_of))
			graph_report(diag, e->place,
				"'%s' has the width of '%s', which is decided while the job runs; what '%s' "
				"writes "
				"would have no reader",
				s->name, graph->stages[s->width_of]->name, graph->stages[e->from]->name);
	}
}

void graph_finish_running(struct graph *graph, const uint32_t *order, struct dag_diag *diag)
{
	for (size_t i = 0; i < graph->stage_count; i++) {
		struct graph_stage *s = graph->stages[order[i]];
		bool root = s->width_by_data || s->open || graph_is_grouped(graph, s);

		s->width_of = root ? s->id : GRAPH_NONE;
		for (uint32_t p = 0; p < s->in_count; p++) {
			const struct graph_edge *e = in_edge(graph, s, p);

			if (!e || e->pattern == GRAPH_ADDED || graph->stages[e->from]->width_of == GRAPH_NONE)
				continue;
			check_reader(graph, e, diag);
			if (!root && e->pattern == GRAPH_POINTWISE)
				s->width_of = graph->stages[e->from]->width_of;
		}
		if (root && !s->open)
			check_root(graph, s, diag);
		else if (!root && s->width_of != GRAPH_NONE)
			check_follower(graph, s, diag);
	}
	check_outputs(graph, diag);
}
