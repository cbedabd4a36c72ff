/* SPDX-License-Identifier: Apache-2.0 */
/* Formats along the edges; which partitioning each edge has; and the streams that a stage stores for them. */
#include "finish.h"
#include "edge.h"

static void check_format(const struct graph *graph, const struct graph_edge *e, struct dag_diag *diag)
{
	const struct graph_stage *from = graph->stages[e->from], *to = graph->stages[e->to];
	struct graph_format written = graph_edge_format(graph, e);
	struct graph_format *read = &graph->stages[e->to]->in[e->to_port].format;
	bool unsaid = from->kind != GRAPH_PLUGIN && !from->format_said;
	char a[32], b[32];

	if (read->kind == DAG_FORMAT_ANY || to->kind == GRAPH_PROGRAM) {
		*read = written;
		return;
	}
	if (written.kind != read->kind || (written.kind == DAG_FORMAT_FIXED && written.size != read->size))
		graph_report(diag, e->place, "'%s' writes %s, but port %u of '%s' reads %s%s%s", from->name,
			graph_format_name(written, a), e->to_port, to->name, graph_format_name(*read, b),
			unsaid ? "; say what it writes by a format at " : "", unsaid ? from->name : "");
}

static const char *partition_word(enum graph_partition_kind kind)
{
	return kind == GRAPH_BY_HASH ? "hash" : kind == GRAPH_BY_PART ? "part" : "round-robin";
}

/* Who says how to part records, and joins vertices whole, has forgotten the pattern. */
static void refuse_moot(const struct graph *graph, const struct graph_edge *e, struct dag_diag *diag)
{
	const struct graph_stage *from = graph->stages[e->from], *to = graph->stages[e->to];

	if (!e->partition_said || e->partition.kind == GRAPH_BY_ALL || e->pattern == GRAPH_BIPARTITE ||
		(to->width == 1 && e->pattern != GRAPH_GROUPS))
		return;
	graph_report(diag, e->place,
		"{by: %s} parts nothing between '%s' and '%s', since each vertex of '%s' reads whole "
		"vertices "
		"of '%s': say pattern: \">>\", or leave the partition out",
		partition_word(e->partition.kind), from->name, to->name, to->name, from->name);
}

/* The key of a key-value record is what stands before the first tab. */
static bool is_key_of_kv(const struct graph_partition *p)
{
	return p->key == GRAPH_NONE || !p->key || (p->key == 1 && (!p->delimiter || p->delimiter == '\t'));
}

static void settle_partition(const struct graph *graph, struct graph_edge *e, struct dag_diag *diag)
{
	const struct graph_stage *from = graph->stages[e->from], *to = graph->stages[e->to];
	struct graph_format format = from->out[e->from_port].format;
	uint32_t parts = graph_wanted_parts(e);

	e->parts = parts;
	if (parts == 1) {
		refuse_moot(graph, e, diag);
		/* Said, it stays another stream than that of the bytes as they were written. */
		if (e->partition.kind == GRAPH_BY_DEFAULT || e->partition.kind == GRAPH_BY_ALL ||
			(e->partition.kind != GRAPH_BY_PART && !graph_is_as_written(format)))
			e->partition = (struct graph_partition){GRAPH_BY_ALL, 0, 0};
		return;
	}
	if (e->partition.kind == GRAPH_BY_DEFAULT && format.kind == DAG_FORMAT_KV)
		e->partition.kind = GRAPH_BY_HASH;
	if (e->partition.kind == GRAPH_BY_DEFAULT) {
		graph_report(diag, e->place,
			"'%s' to '%s' (width %u) needs a partition: {by: hash, key: 1}, {by: round-robin}, "
			"{by: all} or "
			"{by: part}",
			from->name, to->name, to->width);
		return;
	}
	if (e->partition.kind == GRAPH_BY_ALL)
		e->parts = 1;
	else if (format.kind == DAG_FORMAT_BYTES)
		graph_report(diag, e->place,
			"'%s' writes bytes, which have no records to partition; only {by: all} is possible",
			from->name);
	else if (parts > GRAPH_PARTS_MAX)
		graph_report(diag, e->place, "'%s' to '%s': %u parts; the limit is %u", from->name, to->name,
			parts, GRAPH_PARTS_MAX);
	if (e->partition.kind == GRAPH_BY_HASH && format.kind != DAG_FORMAT_KV &&
		e->partition.key == GRAPH_NONE)
		graph_report(diag, e->place, "{by: hash} over %s needs a key: {by: hash, key: 1}",
			format.kind == DAG_FORMAT_FIXED ? "fixed records" : "lines");
	if (format.kind == DAG_FORMAT_KV && e->partition.kind == GRAPH_BY_HASH &&
		!is_key_of_kv(&e->partition))
		graph_report(diag, e->place,
			"'%s' writes key-value records, which {by: hash} parts by their keys, not by field "
			"%u: "
			"leave key out, or let a stage before write another key",
			from->name, e->partition.key);
	if (format.kind == DAG_FORMAT_KV)
		e->partition.key = 0;
}

static bool same_partition(const struct graph_partition *a, const struct graph_partition *b)
{
	return a->kind == b->kind && a->key == b->key && a->delimiter == b->delimiter;
}

/* The stream of `stage` with this port, partition, channel and codec, added where there is none yet. */
static uint32_t find_stream(struct graph *graph, struct graph_stage *stage, struct graph_stream wanted)
{
	struct graph_stream *grown;

	for (uint32_t i = 0; i < stage->stream_count; i++) {
		struct graph_stream *s = &stage->streams[i];

		if (s->port == wanted.port && s->parts == wanted.parts && s->channel == wanted.channel &&
			s->codec == wanted.codec && same_partition(&s->partition, &wanted.partition))
			return i;
	}
	grown = arena_alloc(&graph->arena, (stage->stream_count + 1) * sizeof(*grown));
	if (stage->stream_count)
		memcpy(grown, stage->streams, stage->stream_count * sizeof(*grown));
	grown[stage->stream_count] = wanted;
	stage->streams = grown;
	return stage->stream_count++;
}

static void settle_edge(struct graph *graph, struct graph_edge *e, struct dag_diag *diag)
{
	struct graph_stage *from = graph->stages[e->from];
	const struct graph_stage *to = graph->stages[e->to];

	check_format(graph, e, diag);
	settle_partition(graph, e, diag);
	if (e->channel == GRAPH_AUTO)
		e->channel = GRAPH_FILE;
	if (from->kind == GRAPH_INPUT) {
		if (e->channel != GRAPH_FILE)
			graph_report(diag, e->place,
				"'%s' is an input of the job: its channel is always a file", from->name);
		if (e->codec)
			graph_report(diag, e->place,
				"'%s' is an input of the job, which is read as it is: leave compress out",
				from->name);
		return;
	}
	if (e->codec && e->channel == GRAPH_FIFO)
		graph_report(diag, e->place,
			"the fifo from '%s' to '%s' never leaves memory: leave compress out, or take a pipe",
			from->name, to->name);
	e->stream = find_stream(graph, from,
		(struct graph_stream){e->from_port, e->parts, e->partition, e->channel, false, e->codec});
}

/* What an entry's outputs of any format are: as its first input; as written, where one of them is. */
static struct graph_format passed_format(const struct graph_stage *s)
{
	struct graph_format format = {0};
	bool found = false;

	for (uint32_t p = 0; p < s->in_count; p++)
		if (s->in[p].edge != GRAPH_NONE && (!found || graph_is_as_written(s->in[p].format))) {
			if (!found || format.kind == DAG_FORMAT_LINES)
				format = s->in[p].format;
			found = true;
		}
	return format;
}

/* Several inputs of one kind are told apart by nobody: their records must be alike. */
static void check_inputs(const struct graph *graph, const struct graph_stage *s, struct dag_diag *diag)
{
	for (uint32_t p = 1; s->more_inputs && p < s->in_count; p++) {
		struct graph_format first = s->in[0].format, format = s->in[p].format;
		char names[2][32];

		if (s->in[0].edge == GRAPH_NONE || s->in[p].edge == GRAPH_NONE ||
			(first.kind == format.kind &&
				(first.kind != DAG_FORMAT_FIXED || first.size == format.size)))
			continue;
		graph_report(diag, graph->edges[s->in[p].edge]->place,
			"stage '%s' reads %s from '%s' and %s from '%s': give both one format", s->name,
			graph_format_name(first, names[0]),
			graph->stages[graph->edges[s->in[0].edge]->from]->name,
			graph_format_name(format, names[1]),
			graph->stages[graph->edges[s->in[p].edge]->from]->name);
		return;
	}
}

void graph_finish_streams(struct graph *graph, const uint32_t *order, struct dag_diag *diag)
{
	graph_finish_formats(graph);
	for (size_t i = 0; i < graph->stage_count; i++) {
		struct graph_stage *s = graph->stages[order[i]];

		/* Producers come first in `order`, so the formats of this stage's inputs are settled. */
		check_inputs(graph, s, diag);
		for (uint32_t p = 0; p < s->out_count; p++)
			if (s->out[p].format.kind == DAG_FORMAT_ANY)
				s->out[p].format = passed_format(s);
		for (struct graph_edge *e = graph_out(graph, s->first_out); e;
			e = graph_out(graph, e->next_out))
			settle_edge(graph, e, diag);
	}
	for (size_t i = 0; i < graph->stage_count; i++) {
		struct graph_stage *s = graph->stages[i];

		for (uint32_t p = 0; s->open && p < s->out_count; p++) {
			s->out[p].used = true;
			s->out[p].stream = find_stream(graph, s,
				(struct graph_stream){
					p, 1, {GRAPH_BY_ALL, 0, 0}, GRAPH_FILE, false, GRAPH_CODEC_NONE});
		}
	}
	for (size_t i = 0; i < graph->output_count; i++) {
		struct graph_output *o = &graph->outputs[i];

		o->stream = find_stream(graph, graph->stages[o->stage],
			(struct graph_stream){
				o->port, 1, {GRAPH_BY_ALL, 0, 0}, GRAPH_FILE, false, GRAPH_CODEC_NONE});
	}
}
