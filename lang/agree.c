/* SPDX-License-Identifier: Apache-2.0 */
/* What sections say together: the words of a program, and the flow and the outputs that it stands in. */
#include "loader.h"
#include "graph/words.h"

#include <stdio.h>
#include <unistd.h>

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

/* The edge before this one that joins the same two, or NULL. */
static const struct graph_edge *find_same(const struct graph *graph, const struct graph_edge *e)
{
	for (uint32_t i = 0; i < e->id; i++) {
		const struct graph_edge *other = graph->edges[i];

		if (other->from == e->from && other->from_port == e->from_port && other->to == e->to)
			return other;
	}
	return NULL;
}

static void check_edge(struct loader *l, const struct graph_edge *e)
{
	const struct graph_stage *from = l->graph->stages[e->from], *to = l->graph->stages[e->to];
	/* Of many thousand errors nobody sees those behind the first, nor waits for them. */
	const struct graph_edge *same =
		l->diag->dropped || reads(to, e->to_port) ? NULL : find_same(l->graph, e);
	char *text;

	/* What goes round is told as such. */
	if (e->from == e->to && !to->open)
		return;
	if (same) {
		text = base_format("'%s' is joined to '%s' already, in line %d: one of the two is too much",
			from->name, to->name, same->place.line);
		report(l, e->place, text);
		free(text);
	} else if (!reads(to, e->to_port)) {
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

/* An output port that a program writes to by its word, and that nobody takes, is a name that went wrong. */
static void check_outs(struct loader *l, const struct graph_stage *s)
{
	char *text;

	for (uint32_t p = 1; s->kind == GRAPH_PROGRAM && p < s->out_count; p++) {
		if (!s->out[p].declared || s->out[p].used)
			continue;
		text = base_format(
			"stage '%s' names {out.%u}, and nothing takes what is written there: join "
			"'%s.%u' to a stage in the flow, name it under outputs, or write to /dev/null",
			s->name, p, s->name, p);
		report(l, s->place, text);
		free(text);
	}
}

/* ---- what the system takes of a program ---- */

/* The kernel's MAX_ARG_STRLEN: a string that a program is given, with its end. */
#define STRING_MAX (128u << 10)
/* Bytes of a named pipe's path in a vertex's folder: in.0.12345 */
#define PORT_PATH_LEN(producers) (6u + (uint32_t)snprintf(NULL, 0, "%u", producers))

/* The most producers that one vertex reads through this port. */
static uint64_t most_producers(const struct graph *graph, const struct graph_stage *s, uint32_t port)
{
	const struct graph_edge *e =
		port < s->in_count && s->in[port].edge != GRAPH_NONE ? graph->edges[s->in[port].edge] : NULL;
	uint64_t most = 0;

	if (!e || e->pattern == GRAPH_ADDED)
		return 0;
	if (s->width_by_data)
		return (uint64_t)e->from_width * e->parts;
	if (e->pattern == GRAPH_GROUPS)
		return e->groups.most;
	if (e->pattern == GRAPH_POINTWISE)
		return DAG_MAX(e->from_width / DAG_MAX(e->to_width, 1u), 1u);
	if (e->pattern == GRAPH_NEIGHBOURS)
		return DAG_MIN(2ull * e->k + 1, e->from_width);
	if (e->pattern == GRAPH_BIPARTITE)
		return e->from_width;
	for (uint32_t i = 0, first = 0; i < e->list_count; i++) {
		if (e->list[i].consumer != e->list[first].consumer)
			first = i;
		most = DAG_MAX(most, i - first + 1ull);
	}
	return most;
}

/* What a text has when its words are replaced: bytes, and strings where it is a word for several. */
static void measure(const struct graph *graph, const struct graph_stage *s, const char *text,
	uint64_t *ret_bytes, uint64_t *ret_strings, uint32_t *ret_port)
{
	bool whole = false;
	struct word w;

	*ret_bytes = 0;
	*ret_strings = 1;
	for (const char *c = text; *c;) {
		size_t len = words_next(c, &w);

		whole = c == text && !c[len] && w.each;
		c += len;
		if (w.kind == WORD_TEXT) {
			*ret_bytes += w.len;
		} else if (w.each) {
			uint64_t n = most_producers(graph, s, w.port);

			*ret_port = w.port;
			*ret_bytes += n * PORT_PATH_LEN((uint32_t)n);
			*ret_strings = whole ? DAG_MAX(n, 1ull) : 1;
		} else {
			*ret_bytes += 10;
		}
	}
}

static void refuse_size(struct loader *l, const struct graph_stage *s, const char *what, uint64_t bytes,
	uint64_t most, uint32_t port)
{
	char *way = port == GRAPH_NONE ? base_strdup("write it to a file, and ship that: files: [script.sh]")
				       : base_format("take {in.%u.list}, a file with a path a line", port);
	char *text = base_format("%s of stage '%s' has %llu bytes%s, and the system takes %llu: %s", what,
		s->name, (unsigned long long)bytes,
		port == GRAPH_NONE ? "" : " with the paths of all its producers", (unsigned long long)most,
		way);

	report(l, s->place, text);
	free(text);
	free(way);
}

/* What a program is given must fit what execve takes; that the vertices find out would be late. */
static void check_sizes(struct loader *l, const struct graph_stage *s)
{
	uint64_t most = (uint64_t)DAG_MAX(sysconf(_SC_ARG_MAX), 131072L), total = 4096;
	uint32_t wide = GRAPH_NONE;
	size_t errors = l->diag->count;

	for (uint32_t i = 0; i < s->argc + s->env_count; i++) {
		const struct graph_pair *env = i < s->argc ? NULL : &s->env[i - s->argc];
		uint64_t bytes, strings;
		uint32_t port = GRAPH_NONE;
		char *what = env ? base_format("env '%s'", env->name)
			     : s->argc > 1 && i == words_script(s->argv, s->argc)
				     ? base_strdup("the script")
				     : base_format("argument %u of the program", i);

		measure(l->graph, s, env ? env->value : s->argv[i], &bytes, &strings, &port);
		bytes += env ? strlen(env->name) + 1 : 0;
		if (strings == 1 && bytes >= STRING_MAX)
			refuse_size(l, s, what, bytes, STRING_MAX - 1, port);
		wide = port != GRAPH_NONE ? port : wide;
		total += bytes + strings * (1 + sizeof(char *));
		free(what);
	}
	if (total > most && l->diag->count == errors)
		refuse_size(l, s, "the command", total, most, wide);
}

void loader_check_sizes(struct loader *l)
{
	for (size_t i = 0; i < l->graph->stage_count; i++)
		if (l->graph->stages[i]->kind == GRAPH_PROGRAM)
			check_sizes(l, l->graph->stages[i]);
}

void loader_agree(struct loader *l)
{
	for (size_t i = 0; i < l->graph->edge_count; i++)
		check_edge(l, l->graph->edges[i]);
	for (size_t i = 0; i < l->graph->output_count; i++)
		check_output(l, &l->graph->outputs[i]);
}

void loader_check_outs(struct loader *l)
{
	for (size_t i = 0; i < l->graph->stage_count; i++)
		check_outs(l, l->graph->stages[i]);
}
