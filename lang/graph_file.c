/* SPDX-License-Identifier: Apache-2.0 */
/* The file as a whole: parameters first, since every other section may use them; the graph's checks last. */
#include "loader.h"
#include "base/buffer.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static const struct graph_file_param *given_param(const struct loader *l, const char *name)
{
	const struct graph_file_param *found = NULL;

	for (size_t i = 0; i < l->options->param_count; i++)
		if (!strcmp(l->options->params[i].name, name))
			found = &l->options->params[i];
	return found;
}

static void load_param(struct loader *l, const struct yaml_node *node)
{
	static const char *const keys[] = {"default", "help"};
	const struct graph_file_param *given = given_param(l, node->key->text);
	const struct yaml_node *preset = node->kind == YAML_SCALAR ? node : yaml_get(node, "default");
	struct loader_param param = {.name = node->key->text, .node = node};

	if (node->kind == YAML_LIST) {
		loader_error(l, node, "parameter '%s' must be {default: …, help: …}", param.name);
		return;
	}
	if (node->kind == YAML_MAP)
		loader_check_keys(l, node, keys, DAG_LENGTH(keys), "a parameter");
	if (given) {
		param.value = given->value;
		param.from_command_line = true;
	} else if (!preset || (preset->plain && !*preset->text)) {
		loader_error(l, node->key,
			"parameter '%s' has no default and is not given; add -p %s=VALUE%s", param.name,
			param.name, preset ? "; a default of no text is \"\"" : "");
	} else if (loader_expect(l, preset, YAML_SCALAR, "default")) {
		param.value = preset->text;
	}
	*DAG_APPEND(l->params, l->param_count, l->param_cap) = param;
}

static void refuse_param(struct loader *l, const struct yaml_node *params, const char *name)
{
	const char **names = base_alloc((l->param_count + 1) * sizeof(*names));
	char *all;

	for (size_t i = 0; i < l->param_count; i++)
		names[i] = l->params[i].name;
	all = l->param_count ? loader_list(names, l->param_count) : NULL;
	loader_error(l, params, "-p %s=…: the graph has no parameter of that name; it has %s", name,
		all ? all : "none");
	free(all);
	free(names);
}

static void note_unused(struct loader *l)
{
	for (size_t i = 0; i < l->param_count; i++)
		if (!l->params[i].used)
			loader_note(l, l->params[i].node->key,
				"parameter '%s' is used nowhere: ${%s} stands for its value",
				l->params[i].name, l->params[i].name);
}

void loader_params(struct loader *l, const struct yaml_node *root)
{
	const struct yaml_node *params = yaml_get(root, "params");

	if (params && loader_expect(l, params, YAML_MAP, "params"))
		for (const struct yaml_node *n = params->child; n; n = n->next)
			if (loader_name(l, n->key, "a parameter"))
				load_param(l, n);
	for (size_t i = 0; i < l->options->param_count; i++)
		if (!params || !yaml_get(params, l->options->params[i].name))
			refuse_param(l, params, l->options->params[i].name);
}

static void load_root(struct loader *l, const struct yaml_node *root)
{
	static const char *const keys[] = {"name", "params", "inputs", "stages", "flow", "outputs"};
	const struct yaml_node *name = yaml_get(root, "name");

	loader_check_keys(l, root, keys, DAG_LENGTH(keys), "the graph file");
	loader_params(l, root);
	if (name && loader_expect(l, name, YAML_SCALAR, "name") && loader_name(l, name, "a graph"))
		l->graph->name = arena_strdup(&l->graph->arena, name->text);
	loader_inputs(l, root);
	loader_stages(l, root);
	loader_flow(l, root);
	loader_outputs(l, root);
	loader_ask_plugins(l);
	note_unused(l);
}

static const char *default_name(struct arena *arena, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');

	if (!strcmp(path, "-"))
		return "stdin";
	return dot && dot != base ? arena_strndup(arena, base, (size_t)(dot - base)) : base;
}

int graph_file_parse(const char *path, const char *text, size_t len, const struct graph_file_options *options,
	struct graph **ret_graph, struct dag_diag *diag)
{
	struct loader l = {.options = options, .diag = diag, .file = path};
	struct yaml_node *root = NULL;
	struct arena scratch = {0};
	size_t errors = diag->count + diag->dropped;
	char cwd[PATH_MAX], folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int r;

	if (!getcwd(cwd, sizeof(cwd)))
		snprintf(cwd, sizeof(cwd), "/");
	if (!slash)
		snprintf(folder, sizeof(folder), "%s", cwd);
	else if (*path == '/')
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	else if (strlen(cwd) + (size_t)(slash - path) + 2 <= sizeof(folder))
		snprintf(folder, sizeof(folder), "%.*s/%.*s", (int)strlen(cwd), cwd, (int)(slash - path),
			path);
	else
		return DAG_ELIMIT;
	graph_new(&l.graph, default_name(&scratch, path), path);
	l.file = l.graph->file;
	l.cwd = arena_strdup(&l.graph->arena, cwd);
	l.folder = arena_strdup(&l.graph->arena, folder);
	r = yaml_parse(&scratch, path, text, len, &root, diag);
	if (r == 0 && !root)
		dag_diag_add(diag, path, 0, 0, "the file is empty");
	else if (r == 0 && loader_expect(&l, root, YAML_MAP, "a graph file"))
		load_root(&l, root);
	/* Checks of the whole need whole sections: with a broken one they would only repeat its errors. */
	if (r == 0 && diag->count + diag->dropped == errors)
		loader_agree(&l);
	if (r == 0 && diag->count + diag->dropped == errors)
		r = graph_finish(l.graph, diag);
	if (r == 0 && diag->count + diag->dropped == errors)
		loader_check_standard(&l);
	if (r == 0)
		loader_check_outs(&l);
	if (r == 0 && diag->count + diag->dropped == errors)
		loader_check_sizes(&l);
	if (r == 0 && diag->count + diag->dropped > errors)
		r = DAG_EINVAL;
	arena_fini(&scratch);
	free(l.params);
	free(l.checks);
	if (r < 0)
		graph_destroy(&l.graph);
	else
		*ret_graph = l.graph;
	return r;
}

int graph_file_read(FILE *file, const char *name, char **ret_text, size_t *ret_len, struct dag_diag *diag)
{
	struct buffer text = {0};
	size_t n;

	/* One byte beyond the limit is enough to see that the file is too large. */
	do {
		n = fread(buffer_extend(&text, 65536), 1, 65536, file);
		text.len -= 65536 - n;
	} while (n == 65536 && text.len <= YAML_BYTES_MAX);
	if (ferror(file)) {
		dag_diag_add(diag, name, 0, 0, "cannot read the graph file: %s", strerror(errno));
		buffer_fini(&text);
		return DAG_EIO;
	}
	*ret_len = text.len;
	buffer_append(&text, "", 1); /* so that it is a string, too */
	*ret_text = (char *)text.data;
	return 0;
}

int graph_file_load(const char *path, const struct graph_file_options *options, struct graph **ret_graph,
	struct dag_diag *diag)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t len;
	int r;

	if (!file) {
		dag_diag_add(diag, path, 0, 0, "cannot read the graph file: %s", strerror(errno));
		return DAG_EIO;
	}
	r = graph_file_read(file, path, &text, &len, diag);
	fclose(file);
	if (r == 0)
		r = graph_file_parse(path, text, len, options, ret_graph, diag);
	free(text);
	return r;
}
