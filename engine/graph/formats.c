/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What inputs and programs bring where their format was not said. It is bytes, which nobody looks into,
 * unless somebody needs records: a partition, a plugin that reads lines, a split. Then it is lines, for all
 * who read the same output, and for what merely passes them on: such a plugin joins its inputs and its
 * outputs. So the need for records spreads from output to output, each of which is visited once.
 */
#include "finish.h"

struct spread {
	struct graph *graph;
	struct graph_stage **passing; /* that need records, and whose neighbours wait to be told */
	size_t count, cap;
};

uint32_t graph_wanted_parts(const struct graph_edge *e)
{
	if (e->pattern == GRAPH_BIPARTITE)
		return e->to_width;
	if (e->pattern == GRAPH_POINTWISE && e->to_width > e->from_width)
		return e->to_width / e->from_width;
	return 1;
}

static bool is_unsaid(const struct graph_stage *s)
{
	return s->kind != GRAPH_PLUGIN && !s->format_said;
}

/* A plugin that passes on what this port brings, whatever it is. */
static bool passes(const struct graph_stage *s, uint32_t port)
{
	return s->kind == GRAPH_PLUGIN && s->passes_bytes && s->in[port].format.kind == DAG_FORMAT_ANY;
}

/* A word that parts the records counts where there is one part, too: with other widths there are more. */
static bool is_partitioned(const struct graph_edge *e)
{
	if (e->partition.kind == GRAPH_BY_ALL)
		return false;
	return e->partition.kind != GRAPH_BY_DEFAULT || graph_wanted_parts(e) > 1;
}

/* For itself: what passes it on may need them all the same. */
static bool needs_records(const struct graph *graph, const struct graph_edge *e)
{
	const struct graph_stage *to = graph->stages[e->to];

	if (is_partitioned(e))
		return true;
	return to->kind == GRAPH_PLUGIN && to->in[e->to_port].format.kind != DAG_FORMAT_BYTES &&
	       !passes(to, e->to_port);
}

static void need_in(struct spread *s, struct graph_stage *stage)
{
	if (stage->needs_records)
		return;
	stage->needs_records = true;
	*DAG_APPEND(s->passing, s->count, s->cap) = stage;
}

/* The records of an output are needed. */
static void need_out(struct spread *s, struct graph_stage *stage, uint32_t port)
{
	struct graph_format *format = &stage->out[port].format;

	if (stage->kind == GRAPH_PLUGIN && stage->passes_bytes && format->kind == DAG_FORMAT_ANY)
		need_in(s, stage);
	if (!is_unsaid(stage) || stage->kind == GRAPH_INPUT || format->kind == DAG_FORMAT_LINES)
		return;
	*format = (struct graph_format){DAG_FORMAT_LINES, GRAPH_AS_WRITTEN};
	for (const struct graph_edge *e = graph_out(s->graph, stage->first_out); e;
		e = graph_out(s->graph, e->next_out))
		if (e->from_port == port && passes(s->graph->stages[e->to], e->to_port))
			need_in(s, s->graph->stages[e->to]);
}

/* What it reads must be lines too, and what passes on what it writes passes on lines. */
static void spread_from(struct spread *s, const struct graph_stage *stage)
{
	for (uint32_t p = 0; p < stage->in_count; p++)
		if (stage->in[p].edge != GRAPH_NONE) {
			const struct graph_edge *e = s->graph->edges[stage->in[p].edge];

			need_out(s, s->graph->stages[e->from], e->from_port);
		}
	for (const struct graph_edge *e = graph_out(s->graph, stage->first_out); e;
		e = graph_out(s->graph, e->next_out))
		if (stage->out[e->from_port].format.kind == DAG_FORMAT_ANY &&
			passes(s->graph->stages[e->to], e->to_port))
			need_in(s, s->graph->stages[e->to]);
}

/* Records that come whether anybody needs them or not. */
static bool brings_records(const struct graph *graph, const struct graph_edge *e)
{
	const struct graph_stage *from = graph->stages[e->from];
	enum dag_format_kind kind = from->out[e->from_port].format.kind;

	return kind == DAG_FORMAT_ANY ? !from->passes_bytes : kind != DAG_FORMAT_BYTES;
}

struct graph_format graph_edge_format(const struct graph *graph, const struct graph_edge *e)
{
	const struct graph_stage *from = graph->stages[e->from], *to = graph->stages[e->to];

	if (from->kind != GRAPH_INPUT || !is_unsaid(from) || from->split)
		return from->out[e->from_port].format;
	if (needs_records(graph, e) || (to->kind == GRAPH_PLUGIN && to->needs_records))
		return (struct graph_format){DAG_FORMAT_LINES, GRAPH_AS_WRITTEN};
	return (struct graph_format){DAG_FORMAT_BYTES, 0};
}

void graph_finish_formats(struct graph *graph)
{
	struct spread s = {.graph = graph};

	for (size_t i = 0; i < graph->stage_count; i++) {
		struct graph_stage *stage = graph->stages[i];

		for (uint32_t p = 0; is_unsaid(stage) && p < stage->out_count; p++)
			stage->out[p].format =
				stage->split ? (struct graph_format){DAG_FORMAT_LINES, GRAPH_AS_WRITTEN}
					     : (struct graph_format){DAG_FORMAT_BYTES, 0};
	}
	for (size_t i = 0; i < graph->edge_count; i++) {
		const struct graph_edge *e = graph->edges[i];

		if (needs_records(graph, e))
			need_out(&s, graph->stages[e->from], e->from_port);
		if (passes(graph->stages[e->to], e->to_port) && brings_records(graph, e))
			need_in(&s, graph->stages[e->to]);
	}
	while (s.count)
		spread_from(&s, s.passing[--s.count]);
	free(s.passing);
	for (size_t i = 0; i < graph->edge_count; i++) {
		struct graph_stage *from = graph->stages[graph->edges[i]->from];

		/* What is cut into records for one of its readers. */
		if (from->kind == GRAPH_INPUT && is_unsaid(from) &&
			graph_edge_format(graph, graph->edges[i]).kind == DAG_FORMAT_LINES)
			from->out[0].format = (struct graph_format){DAG_FORMAT_LINES, GRAPH_AS_WRITTEN};
	}
}
