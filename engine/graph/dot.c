/* SPDX-License-Identifier: Apache-2.0 */
/* Graphviz output; names are quoted, since a stage may be called anything that the graph file allows. */
#include "dot.h"
#include "edge.h"

static void quote(struct buffer *b, const char *text)
{
	buffer_append(b, "\"", 1);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buffer_append(b, "\\", 1);
		buffer_append(b, text, 1);
	}
	buffer_append(b, "\"", 1);
}

void graph_write_dot(const struct graph *graph, struct buffer *b)
{
	static const char *const shapes[] = {"folder", "box", "component"};

	buffer_format(b, "digraph ");
	quote(b, graph->name);
	buffer_format(b, " {\n\trankdir=LR;\n\tnode [fontname=\"sans-serif\"];\n");
	for (size_t i = 0; i < graph->stage_count; i++) {
		const struct graph_stage *s = graph->stages[i];
		char *label = base_format("%s ×%u", s->name, s->width);

		buffer_format(b, "\ts%zu [shape=%s, label=", i, shapes[s->kind]);
		quote(b, label);
		buffer_format(b, "];\n");
		free(label);
	}
	for (size_t i = 0; i < graph->edge_count; i++) {
		const struct graph_edge *e = graph->edges[i];

		buffer_format(b, "\ts%u -> s%u [label=\"%s%s%s%s\"%s];\n", e->from, e->to,
			graph->stages[e->from]->kind == GRAPH_INPUT ? "" : graph_channel_name(e->channel),
			e->elastic ? " (elastic)" : "", e->codec ? ", " : "",
			e->codec ? graph_codec_name(e->codec) : "",
			edge_is_complete(e) ? ", style=bold" : "");
	}
	for (size_t i = 0; i < graph->output_count; i++) {
		buffer_format(b, "\to%zu [shape=note, label=", i);
		quote(b, graph->outputs[i].path);
		buffer_format(b, "];\n\ts%u -> o%zu;\n", graph->outputs[i].stage, i);
	}
	buffer_format(b, "}\n");
}
