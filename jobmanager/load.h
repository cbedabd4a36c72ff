/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_LOAD_H
#define JOBMANAGER_LOAD_H
/* A graph file with its parameters, its plugins and the program that hosts them. Zero-initialised is empty.
 */
#include "lang/graph_file.h"
#include "plugins.h"

struct load {
	const char *path; /* "-": the graph is `text` */
	char *text;
	size_t text_len;
	struct graph_file_param *params;
	size_t param_count, param_cap;
	const char **plugin_paths; /* folders to look for plugins in, before others */
	size_t plugin_path_count, plugin_path_cap;
	char *host_program;
	char *stdin_path; /* where stdin was kept for an input "-" */
	struct plugins *plugins;
	struct graph *graph;
	struct dag_diag *notes; /* what may be meant otherwise goes there; or NULL */
};

/* NAME=VALUE, which must outlive the struct; DAG_EINVAL for what is not. */
int load_param(struct load *load, const char *text);
/* The graph, made anew where there was one; all that is wrong goes to diag. */
int load_graph(struct load *load, struct dag_diag *diag);
/* Whether an input is stdin, which is not kept yet. */
bool load_reads_stdin(const struct load *load);
void load_fini(struct load *load);

#endif
