/* SPDX-License-Identifier: Apache-2.0 */
/* Building a graph: stages, edges and outputs as they are added, nothing derived yet (see finish.c). */
#include "graph.h"

#include <stdio.h>

void graph_new(struct graph **ret_graph, const char *name, const char *file)
{
	struct graph *graph = base_alloc(sizeof(*graph));

	graph->name = arena_strdup(&graph->arena, name);
	graph->file = file ? arena_strdup(&graph->arena, file) : NULL;
	*ret_graph = graph;
}

void graph_destroy(struct graph **graph)
{
	struct graph *g = *graph;

	if (!g)
		return;
	HASH_CLEAR(hh, g->by_name);
	free(g->stages);
	free(g->edges);
	free(g->outputs);
	arena_fini(&g->arena);
	free(g);
	*graph = NULL;
}

static struct graph_port *grow_ports(struct graph *graph, struct graph_port *ports, uint32_t *room,
	uint32_t count, struct graph_format format)
{
	uint32_t more = DAG_MIN(DAG_MAX(count, 2 * *room), (uint32_t)GRAPH_PORTS_MAX);
	struct graph_port *grown;

	if (count <= *room)
		return ports;
	grown = arena_alloc(&graph->arena, more * sizeof(*grown));
	if (*room)
		memcpy(grown, ports, *room * sizeof(*grown));
	for (uint32_t i = *room; i < more; i++)
		grown[i] = (struct graph_port){.format = format, .edge = GRAPH_NONE};
	*room = more;
	return grown;
}

void graph_need_ports(struct graph *graph, struct graph_stage *stage, uint32_t in, uint32_t out)
{
	DAG_ASSERT(in <= GRAPH_PORTS_MAX && out <= GRAPH_PORTS_MAX);
	stage->in = grow_ports(graph, stage->in, &stage->in_room, in, (struct graph_format){0});
	stage->out = grow_ports(graph, stage->out, &stage->out_room, out, stage->format);
}

struct graph_stage *graph_add_stage(struct graph *graph, enum graph_stage_kind kind, const char *name)
{
	struct graph_stage *stage = arena_alloc(&graph->arena, sizeof(*stage));

	stage->id = (uint32_t)graph->stage_count;
	stage->kind = kind;
	stage->name = arena_strdup(&graph->arena, name);
	stage->retries = 5;
	stage->first_out = stage->last_out = GRAPH_NONE;
	stage->width_of = stage->copies_for = GRAPH_NONE;
	if (kind == GRAPH_INPUT) {
		stage->out_count = 1;
		graph_need_ports(graph, stage, 0, 1);
	}
	*DAG_APPEND(graph->stages, graph->stage_count, graph->stage_cap) = stage;
	HASH_ADD_KEYPTR(hh, graph->by_name, stage->name, strlen(stage->name), stage);
	return stage;
}

struct graph_edge *graph_add_edge(struct graph *graph, uint32_t from, uint32_t from_port, uint32_t to,
	uint32_t to_port, enum graph_pattern pattern)
{
	struct graph_edge *edge = arena_alloc(&graph->arena, sizeof(*edge));
	struct graph_stage *stage;

	DAG_ASSERT(from < graph->stage_count && to < graph->stage_count);
	DAG_ASSERT(from_port < GRAPH_PORTS_MAX && to_port < GRAPH_PORTS_MAX);
	edge->id = (uint32_t)graph->edge_count;
	edge->from = from;
	edge->from_port = from_port;
	edge->to = to;
	edge->to_port = to_port;
	edge->pattern = pattern;
	edge->next_out = GRAPH_NONE;
	edge->groups = (struct graph_groups){
		GRAPH_GROUP_NODE, GRAPH_GROUP_LEAST, GRAPH_GROUP_MOST, GRAPH_GROUP_BYTES};
	stage = graph->stages[from];
	*(stage->first_out == GRAPH_NONE ? &stage->first_out : &graph->edges[stage->last_out]->next_out) =
		edge->id;
	stage->last_out = edge->id;
	*DAG_APPEND(graph->edges, graph->edge_count, graph->edge_cap) = edge;
	return edge;
}

struct graph_output *graph_add_output(struct graph *graph, uint32_t stage, uint32_t port, const char *path)
{
	struct graph_output *output = DAG_APPEND(graph->outputs, graph->output_count, graph->output_cap);
	const char *index = strstr(path, "{index}");

	output->stage = stage;
	output->port = port;
	output->path = arena_strdup(&graph->arena, path);
	output->per_vertex = index != NULL;
	output->index_at = index ? (uint32_t)(index - path) : GRAPH_NONE;
	return output;
}

char *graph_output_path(const struct graph_output *output, uint32_t index)
{
	const char *path = output->path;

	if (!output->per_vertex)
		return base_strdup(path);
	return base_format(
		"%.*s%u%s", (int)output->index_at, path, index, path + output->index_at + strlen("{index}"));
}

struct graph_stage *graph_find_stage(const struct graph *graph, const char *name)
{
	struct graph_stage *stage;

	HASH_FIND(hh, graph->by_name, name, strlen(name), stage);
	return stage;
}

const char *graph_format_name(struct graph_format format, char buf[32])
{
	static const char *const names[] = {"lines", "kv", "fixed", "bytes", "any"};

	if (format.kind == DAG_FORMAT_FIXED)
		snprintf(buf, 32, "fixed: %u", format.size);
	else
		snprintf(buf, 32, "%s", names[format.kind]);
	return buf;
}

const char *graph_codec_name(enum graph_codec codec)
{
	static const char *const names[] = {"none", "lz4", "zstd", "auto"};

	return names[codec];
}

const char *graph_channel_name(enum graph_channel channel)
{
	static const char *const names[] = {"auto", "file", "pipe", "fifo"};

	return names[channel];
}
