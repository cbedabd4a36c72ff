/* SPDX-License-Identifier: Apache-2.0 */
/* Two outputs of a job that are one file, however they are spelt: seen before anything runs. */
#include "output.h"

struct name {
	char *path;
	const struct graph_output *output;
};

/* Names of one output that are looked at. A wider one is looked at when it is published. */
#define NAMES_MAX 1000000u

static int compare_names(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	int order = strcmp(x->path, y->path);

	return order ? order : (x->output > y->output) - (x->output < y->output);
}

/* The names of an output with {index}, in its folder as the kernel knows it. */
static size_t add_names(const struct graph_output *o, uint32_t width, struct name *names)
{
	char *real = output_canonical(o->path);
	struct graph_output there = *o;
	uint32_t n = DAG_MIN(width, NAMES_MAX);

	there.path = real;
	there.index_at = (uint32_t)(strlen(real) - (strlen(o->path) - o->index_at));
	for (uint32_t i = 0; i < n; i++)
		names[i] = (struct name){graph_output_path(&there, i), o};
	free(real);
	return n;
}

void outputs_check_twins(const struct graph *graph, struct dag_diag *diag)
{
	size_t room = 1, n = 0;
	struct name *names;

	for (size_t i = 0; i < graph->output_count; i++)
		room += graph->outputs[i].per_vertex
				? DAG_MIN(graph->stages[graph->outputs[i].stage]->width, NAMES_MAX)
				: 1;
	if (graph->output_count < 2)
		return;
	names = base_alloc(room * sizeof(*names));
	for (size_t i = 0; i < graph->output_count; i++) {
		const struct graph_output *o = &graph->outputs[i];
		char *path = o->per_vertex || output_is_stream(o->path) ? NULL : output_follow(o->path);

		if (o->per_vertex)
			n += add_names(o, graph->stages[o->stage]->width, names + n);
		else if (path)
			names[n++] = (struct name){path, o};
	}
	qsort(names, n, sizeof(*names), compare_names);
	for (size_t i = 1; i < n; i++) {
		const struct graph_output *a = names[i - 1].output, *b = names[i].output;

		if (a != b && !strcmp(names[i - 1].path, names[i].path))
			dag_diag_add(diag, b->place.file, b->place.line, b->place.column,
				"two outputs are one file, '%s': this one of '%s', and that of '%s' in line "
				"%d",
				names[i].path, graph->stages[b->stage]->name, graph->stages[a->stage]->name,
				a->place.line);
	}
	for (size_t i = 0; i < n; i++)
		free(names[i].path);
	free(names);
}
