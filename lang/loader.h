/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LANG_LOADER_H
#define LANG_LOADER_H
/* Inside of the graph file's loader: what its sections share. */
#include "graph_file.h"
#include "yaml_tree.h"

struct loader_param {
	const char *name, *value;
	const struct yaml_node *node;
	bool from_command_line, used;
};

/* Parameters that the stage's entry is to look at, and where they stand. */
struct loader_check {
	const struct yaml_node *params;
	struct graph_stage *stage;
};

struct loader {
	struct graph *graph;
	const struct graph_file_options *options;
	struct dag_diag *diag;
	const char *file;
	const char *folder; /* absolute, of the graph file */
	const char *cwd;
	struct loader_param *params;
	size_t param_count, param_cap;
	struct loader_check *checks;
	size_t check_count, check_cap;
	bool fixed, fixed_known; /* some stage has records of a fixed size */
};

struct graph_place loader_place(const struct loader *l, const struct yaml_node *node);
void loader_error(struct loader *l, const struct yaml_node *node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* What may be meant otherwise, where the caller wants to hear of it. */
void loader_note(struct loader *l, const struct yaml_node *node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* "a, b and c", allocated; n is at least 1. */
char *loader_list(const char *const *names, size_t n);
/* True where `node` is of this kind; else reports "WHAT must be …". */
bool loader_expect(struct loader *l, const struct yaml_node *node, enum yaml_kind kind, const char *what);
/* The same for a map, with what one looks like. */
bool loader_map(struct loader *l, const struct yaml_node *node, const char *what, const char *like);
/* Reports every key of a map that is not among `names`, with the nearest known one. */
void loader_check_keys(
	struct loader *l, const struct yaml_node *map, const char *const *names, size_t n, const char *what);

/* The scalar with its parameters put in; NULL after reporting. Lives as long as the graph. */
const char *loader_text(struct loader *l, const struct yaml_node *node, const char *what);
/* The same with words in braces, as graph/words.h has them. */
const char *loader_words(struct loader *l, const struct yaml_node *node, const char *what);
/* As a path, made absolute: beside the graph file, or the working folder where -p gave its start. */
const char *loader_path(struct loader *l, const struct yaml_node *node, const char *what);
/* A path that may be a pattern of glob: then what is not the user's word has no special bytes. */
const char *loader_pattern(
	struct loader *l, const struct yaml_node *node, const char *what, bool *ret_is_pattern);
/* The path of an output; *ret_index_at is where its {index} begins, or GRAPH_NONE. */
const char *loader_output_path(
	struct loader *l, const struct yaml_node *node, const char *what, uint32_t *ret_index_at);
/* Each returns false after reporting; *ret stays as it was then. A missing node (NULL) is true and no change.
 */
bool loader_number(struct loader *l, const struct yaml_node *node, const char *what, uint64_t min,
	uint64_t max, uint64_t *ret);
bool loader_bytes(struct loader *l, const struct yaml_node *node, const char *what, uint64_t *ret);
bool loader_bool(struct loader *l, const struct yaml_node *node, const char *what, bool *ret);
bool loader_format(struct loader *l, const struct yaml_node *node, struct graph_format *ret);
/* A map of text to text; `words`: with words in braces. */
bool loader_pairs(struct loader *l, const struct yaml_node *node, const char *what, bool words,
	struct graph_pair **ret, uint32_t *ret_count);
/* A name of a stage or input: letters, digits, '_' and '-', not starting with a digit. */
bool loader_name(struct loader *l, const struct yaml_node *node, const char *what);

struct path_list {
	char **items;
	size_t count, cap;
};

#define PATHS_MAX 1000000u

/* The files that a pattern means, in bytewise order; false after reporting. Free the list either way. */
bool loader_match(struct loader *l, const struct yaml_node *node, const char *pattern, struct path_list *ret);
void loader_free_paths(struct path_list *list);
/* The files that go with a stage. */
void loader_files(struct loader *l, const struct yaml_node *node, struct graph_stage *stage);
/* One more, under this name. */
void loader_ship(struct loader *l, const struct yaml_node *node, struct graph_stage *stage, const char *path,
	const char *name);
/* Files that the program itself names, which stands at `node`. */
void loader_scripts(struct loader *l, const struct yaml_node *node, const struct yaml_node *env,
	struct graph_stage *stage);

void loader_params(struct loader *l, const struct yaml_node *root);
void loader_inputs(struct loader *l, const struct yaml_node *root);
void loader_stages(struct loader *l, const struct yaml_node *root);
/* A stage of a standard vertex that the file does not have, for what stands at `node`. */
struct graph_stage *loader_add_standard(
	struct loader *l, const struct yaml_node *node, const char *name, const char *entry);
/* Its parameters; where `node` is given they are checked, and stand in it under their names. */
void loader_set_params(struct loader *l, const struct yaml_node *node, struct graph_stage *stage,
	struct graph_pair *params, uint32_t count);
/* Asks the plugins about the parameters of all stages in l->checks. */
void loader_ask_plugins(struct loader *l);
/* The keys of standard vertices, beside the edges of a finished graph. */
void loader_check_standard(struct loader *l);
/* Returns the edge that leads where `e` led. */
struct graph_edge *loader_partition(struct loader *l, const struct yaml_node *node, struct graph_edge *e);
void loader_flow(struct loader *l, const struct yaml_node *root);
void loader_outputs(struct loader *l, const struct yaml_node *root);
/* What sections must agree on. */
void loader_agree(struct loader *l);
/* Of a finished graph: what programs write to has somebody who takes it. */
void loader_check_outs(struct loader *l);
/* Of a finished graph: what a program is given fits what the system takes. */
void loader_check_sizes(struct loader *l);

#endif
