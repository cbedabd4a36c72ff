/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An output must not be what the job is made of: the graph file or an input, however that is spelt. Inputs
 * may be hundreds of thousands, and outputs too, so files are only looked at in folders that inputs are in.
 */
#include "output.h"

#include <sys/stat.h>

struct place {
	dev_t device;
	ino_t inode;
};

struct inputs {
	const struct graph *graph;
	struct place *folders;
	size_t folder_count, folder_cap;
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

/* Files of one folder mostly stand together. */
static void find_folders(struct inputs *in)
{
	char *before = base_strdup("");

	for (size_t i = 0; i < in->graph->stage_count; i++) {
		const struct graph_stage *s = in->graph->stages[i];

		in->file_count += s->input_file_count;
		for (uint32_t f = 0; f < s->input_file_count; f++) {
			const char *path = s->input_files[f].path, *slash = strrchr(path, '/');
			size_t len = slash ? (size_t)(slash - path) : 0;
			struct place place;

			if (!slash || (strlen(before) == len && !strncmp(before, path, len)))
				continue;
			free(before);
			before = base_strndup(path, len);
			if (place_of(len ? before : "/", &place))
				*DAG_APPEND(in->folders, in->folder_count, in->folder_cap) = place;
		}
	}
	free(before);
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

static bool has_inputs(const struct inputs *in, const char *path)
{
	char *folder = output_folder(path);
	struct place place = {0};
	bool has = false;

	if (place_of(folder, &place))
		for (size_t i = 0; i < in->folder_count && !has; i++)
			has = in->folders[i].device == place.device && in->folders[i].inode == place.inode;
	free(folder);
	return has;
}

static void check_file(
	struct inputs *in, const struct graph_output *o, const char *path, struct dag_diag *diag)
{
	struct place place, graph;
	const char *what = NULL;

	if (!place_of(path, &place))
		return;
	if (in->graph->file && place_of(in->graph->file, &graph) && graph.device == place.device &&
		graph.inode == place.inode)
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

	find_folders(&in);
	for (size_t i = 0; i < graph->output_count; i++) {
		const struct graph_output *o = &graph->outputs[i];
		uint32_t n = o->per_vertex ? graph->stages[o->stage]->width : 1;

		if (!strcmp(o->path, "-") || (o->per_vertex && !has_inputs(&in, o->path)))
			continue;
		for (uint32_t j = 0; j < n; j++) {
			char *path = graph_output_path(o, j);

			check_file(&in, o, path, diag);
			free(path);
		}
	}
	free(in.folders);
	free(in.files);
}
