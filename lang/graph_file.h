/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LANG_GRAPH_FILE_H
#define LANG_GRAPH_FILE_H
/*
 * The graph file: YAML text to a finished graph. Every error of the file is reported in one go.
 *
 * What a plugin's entry declares is asked of the caller (`describe`), since a plugin is only ever loaded in
 * another process.
 */
#include "graph/graph.h"

#include <stdio.h>

#define PLUGIN_PARAMS_MAX 32

/* "NAME=DEFAULT: what it means", or "NAME=DEFAULT|OTHER|…: …" */
struct plugin_param {
	const char *text;
	enum dag_param_kind kind;
};

struct plugin_entry {
	const char *name, *help;
	struct plugin_param params[PLUGIN_PARAMS_MAX];
	uint32_t param_count; /* 0: any are allowed */
	struct graph_format in[DAG_PORTS_MAX], out[DAG_PORTS_MAX];
	uint32_t in_count, out_count;
	bool order_blind, passes_bytes, more_inputs;
	bool checked; /* it looks at its parameters itself */
};

struct plugin_info {
	const char *path; /* absolute */
	const struct plugin_entry *entries;
	uint32_t entry_count;
};

/* A stage's parameters, for the entry's own check; error: what is wrong, allocated, or NULL. */
struct plugin_check {
	const char *entry;
	const struct graph_pair *params;
	uint32_t param_count;
	char *error;
};

struct graph_file_param {
	const char *name, *value;
};

struct graph_file_options {
	const struct graph_file_param
		*params; /* given on the command line; their paths are relative to cwd */
	size_t param_count;
	struct dag_diag *notes; /* what may be meant otherwise, or NULL */
	const char *stdin_path; /* the file that holds what an input "-" brought; NULL: not there yet */
	/*
	 * Finds and describes a plugin by its word in the file; `folder` is that of the graph file. What
	 * *ret_info points to must outlive the graph. On failure *ret_error says why, allocated.
	 */
	int (*describe)(void *ctx, const char *plugin, const char *folder,
		const struct plugin_info **ret_info, char **ret_error);
	/* Asks the plugin at `path` about them all. On failure *ret_error says why, allocated. */
	int (*check)(
		void *ctx, const char *path, struct plugin_check *checks, size_t count, char **ret_error);
	void *describe_ctx; /* of both */
};

/* The text of a graph file from a stream, allocated; DAG_EIO after reporting, `name` is the stream's. */
int graph_file_read(FILE *file, const char *name, char **ret_text, size_t *ret_len, struct dag_diag *diag);
/* Parses and finishes. DAG_EINVAL with the errors in *diag; DAG_EIO where the file itself cannot be read. */
int graph_file_load(const char *path, const struct graph_file_options *options, struct graph **ret_graph,
	struct dag_diag *diag);
/* The same from memory; `path` names the text in messages and is what its paths are relative to. */
int graph_file_parse(const char *path, const char *text, size_t len, const struct graph_file_options *options,
	struct graph **ret_graph, struct dag_diag *diag);

#endif
