/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An output must not be what the job is made of: the graph file or an input, however that is spelt: a link
 * may lead to it from any folder. Inputs may be hundreds of thousands, and outputs too, so inputs are found
 * by their inode, and of outputs those that are there.
 */
#include "output.h"

#include <sys/stat.h>

struct place {
	dev_t device;
	ino_t inode;
};

struct inputs {
	const struct graph *graph;
	struct place graph_file;         /* its inode is 0 where there is none */
	const struct graph_file **files; /* sorted by inode, when they are needed */
	size_t file_count;
};

static bool place_of(const char *path, struct place *ret)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	*ret = (struct place){st.st_dev, st.st_ino};
	return true;
}

static int compare_files(const void *a, const void *b)
{
	const struct graph_file *x = *(const struct graph_file *const *)a,
				*y = *(const struct graph_file *const *)b;

	return (x->inode > y->inode) - (x->inode < y->inode);
}

static void sort_files(struct inputs *in)
{
	size_t n = 0;

	for (size_t i = 0; i < in->graph->stage_count; i++)
		in->file_count += in->graph->stages[i]->input_file_count;
	in->files = base_alloc((in->file_count + 1) * sizeof(*in->files));
	for (size_t i = 0; i < in->graph->stage_count; i++)
		for (uint32_t f = 0; f < in->graph->stages[i]->input_file_count; f++)
			in->files[n++] = &in->graph->stages[i]->input_files[f];
	qsort(in->files, n, sizeof(*in->files), compare_files);
}

static bool is_input(struct inputs *in, const struct place *place)
{
	struct graph_file key = {.inode = place->inode}, *at = &key;
	const struct graph_file **found;
	struct place real;

	if (!in->files)
		sort_files(in);
	found = bsearch(&at, in->files, in->file_count, sizeof(*in->files), compare_files);
	return found && place_of((*found)->path, &real) && real.device == place->device &&
	       real.inode == place->inode;
}

static void check_file(
	struct inputs *in, const struct graph_output *o, const char *path, struct dag_diag *diag)
{
	struct place place;
	const char *what = NULL;

	if (!place_of(path, &place))
		return;
	if (in->graph_file.inode && in->graph_file.device == place.device &&
		in->graph_file.inode == place.inode)
		what = "the graph file";
	else if (is_input(in, &place))
		what = "an input of the job";
	if (what)
		dag_diag_add(diag, o->place.file, o->place.line, o->place.column,
			"the output '%s' would replace %s", path, what);
}

void outputs_check_inputs(const struct graph *graph, struct dag_diag *diag)
{
	struct inputs in = {.graph = graph};

	if (graph->file)
		place_of(graph->file, &in.graph_file);
	for (size_t i = 0; i < graph->output_count; i++) {
		const struct graph_output *o = &graph->outputs[i];
		uint32_t *there = NULL;
		size_t n = o->per_vertex ? output_there(o, graph->stages[o->stage]->width, &there) : 1;

		if (!strcmp(o->path, "-"))
			continue;
		for (size_t j = 0; j < n; j++) {
			char *path = graph_output_path(o, there ? there[j] : 0);

			check_file(&in, o, path, diag);
			free(path);
		}
		free(there);
	}
	free(in.files);
}
