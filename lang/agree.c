/* SPDX-License-Identifier: Apache-2.0 */
/* What sections say together: the words of a program, and the flow and the outputs that it stands in. */
#include "loader.h"

#include <stdio.h>

/* ---- ports that nobody serves ---- */

static bool reads(const struct graph_stage *s, uint32_t port)
{
	return s->kind != GRAPH_PROGRAM || !port || (port < s->in_room && s->in[port].declared);
}

static bool writes(const struct graph_stage *s, uint32_t port)
{
	return s->kind != GRAPH_PROGRAM || !port || (port < s->out_room && s->out[port].declared);
}

static void report(struct loader *l, struct graph_place place, const char *text)
{
	dag_diag_add(l->diag, place.file, place.line, place.column, "%s", text);
}

static void check_edge(struct loader *l, const struct graph_edge *e)
{
	const struct graph_stage *from = l->graph->stages[e->from], *to = l->graph->stages[e->to];
	char *text;

	if (!reads(to, e->to_port)) {
		text = base_format(
			"'%s' goes to input port %u of stage '%s', which nothing reads: a program "
			"has port 0 as its stdin, and this one names no {in.%u}. Name {in.%u} in it, "
			"or join its inputs before it in a stage {use: cat}",
			from->name, e->to_port, to->name, e->to_port, e->to_port);
		report(l, e->place, text);
		free(text);
	}
	if (!writes(from, e->from_port)) {
		text = base_format(
			"'%s' reads output port %u of stage '%s', which nothing writes: a program "
			"has port 0 as its stdout, and this one names no {out.%u}. Name {out.%u} in "
			"it, or take its stdout: '%s'",
			to->name, e->from_port, from->name, e->from_port, e->from_port, from->name);
		report(l, e->place, text);
		free(text);
	}
}

static void check_output(struct loader *l, const struct graph_output *o)
{
	const struct graph_stage *s = l->graph->stages[o->stage];
	char *text;

	if (writes(s, o->port))
		return;
	text = base_format(
		"the output takes port %u of stage '%s', which nothing writes: a program has port 0 as "
		"its stdout, and this one names no {out.%u}. Name {out.%u} in it, or take its stdout: "
		"'%s'",
		o->port, s->name, o->port, o->port, s->name);
	report(l, o->place, text);
	free(text);
}

void loader_agree(struct loader *l)
{
	for (size_t i = 0; i < l->graph->edge_count; i++)
		check_edge(l, l->graph->edges[i]);
	for (size_t i = 0; i < l->graph->output_count; i++)
		check_output(l, &l->graph->outputs[i]);
}
