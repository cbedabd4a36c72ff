/* SPDX-License-Identifier: Apache-2.0 */
/* Two outputs of a job that are one file, however they are spelt: seen before anything runs. */
#include "output.h"

#include <sys/stat.h>

struct name {
	char *path;
	const struct graph_output *output;
};

/* Names of one output that are looked at. A wider one is looked at when it is published. */
#define NAMES_MAX 1000000u

/* What is in a folder comes right behind its name: '/' is before all other bytes. */
static int compare_paths(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	if (*a == '/' && *b)
		return -1;
	if (*b == '/' && *a)
		return 1;
	return (unsigned char)*a - (unsigned char)*b;
}

static int compare_names(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	int order = compare_paths(x->path, y->path);

	return order ? order : (x->output > y->output) - (x->output < y->output);
}

/* The names of an output with {index}, in its folder as the kernel knows it, and where links lead. */
static size_t add_names(const struct graph_output *o, uint32_t width, struct name *names, bool *ret_linked)
{
	char *real = output_canonical(o->path);
	struct graph_output there = *o;
	uint32_t n = DAG_MIN(width, NAMES_MAX), *present;
	struct stat st;
	size_t count;

	there.path = real;
	there.index_at = (uint32_t)(strlen(real) - (strlen(o->path) - o->index_at));
	for (uint32_t i = 0; i < n; i++)
		names[i] = (struct name){graph_output_path(&there, i), o};
	count = output_there(&there, n, &present);
	for (size_t i = 0; i < count; i++) {
		char **one = &names[present[i]].path, *end;

		if (lstat(*one, &st) == 0 && S_ISLNK(st.st_mode) && (end = output_follow(*one))) {
			free(*one);
			*one = end;
			*ret_linked = true;
		}
	}
	free(present);
	free(real);
	return n;
}

/* Neighbours in the order of their names. */
static void compare_two(
	const struct graph *graph, const struct name *x, const struct name *y, struct dag_diag *diag)
{
	const struct graph_output *a = x->output, *b = y->output;
	const char *stage = graph->stages[b->stage]->name;
	size_t len = strlen(x->path);

	if (strncmp(x->path, y->path, len) || (y->path[len] && y->path[len] != '/'))
		return;
	if (y->path[len])
		dag_diag_add(diag, b->place.file, b->place.line, b->place.column,
			"the output '%s' of '%s' lies in a folder whose name is that of an output, of "
			"'%s' in line %d",
			y->path, stage, graph->stages[a->stage]->name, a->place.line);
	else if (a == b)
		dag_diag_add(diag, b->place.file, b->place.line, b->place.column,
			"two files of the output of '%s' are one, as links lead both to '%s'", stage,
			y->path);
	else
		dag_diag_add(diag, b->place.file, b->place.line, b->place.column,
			"two outputs are one file, '%s': this one of '%s', and that of '%s' in line %d",
			y->path, stage, graph->stages[a->stage]->name, a->place.line);
}

static void check_twins(const struct graph *graph, struct dag_diag *diag)
{
	size_t room = 1, n = 0;
	bool linked = false;
	struct name *names;

	for (size_t i = 0; i < graph->output_count; i++)
		room += graph->outputs[i].per_vertex
				? DAG_MIN(graph->stages[graph->outputs[i].stage]->width, NAMES_MAX)
				: 1;
	names = base_alloc(room * sizeof(*names));
	for (size_t i = 0; i < graph->output_count; i++) {
		const struct graph_output *o = &graph->outputs[i];
		char *path = o->per_vertex || output_is_stream(o->path) ? NULL : output_follow(o->path);

		if (o->per_vertex)
			n += add_names(o, graph->stages[o->stage]->width, names + n, &linked);
		else if (path)
			names[n++] = (struct name){path, o};
	}
	if (graph->output_count > 1 || linked)
		qsort(names, n, sizeof(*names), compare_names);
	for (size_t i = 1; i < n; i++)
		compare_two(graph, &names[i - 1], &names[i], diag);
	for (size_t i = 0; i < n; i++)
		free(names[i].path);
	free(names);
}

/* What can be said before anything runs; the real test is the file that outputs_prepare makes. */
int manager_check_outputs(const struct graph *graph, struct dag_diag *diag)
{
	size_t errors = diag->count;

	outputs_check_paths(graph, diag);
	outputs_check_inputs(graph, diag);
	check_twins(graph, diag);
	return diag->count > errors ? DAG_EINVAL : 0;
}
