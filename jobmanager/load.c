/* SPDX-License-Identifier: Apache-2.0 */
/* What is needed beside the file's text comes from where this program lies and from who asks. */
#include "load.h"
#include "os/os.h"

int load_param(struct load *load, const char *text)
{
	const char *equals = strchr(text, '=');

	if (!equals || equals == text)
		return DAG_EINVAL;
	*DAG_APPEND(load->params, load->param_count, load->param_cap) =
		(struct graph_file_param){base_strndup(text, (size_t)(equals - text)), equals + 1};
	return 0;
}

int load_graph(struct load *load, struct dag_diag *diag)
{
	struct graph_file_options options = {.params = load->params,
		.param_count = load->param_count,
		.describe = plugins_describe,
		.check = plugins_check,
		.notes = load->notes,
		.stdin_path = load->stdin_path};
	char *folder;

	if (!load->plugins) {
		folder = os_program_folder();
		load->host_program = base_format("%s/daghost", folder);
		free(folder);
		plugins_new(&load->plugins, load->host_program, load->plugin_paths, load->plugin_path_count);
	}
	options.describe_ctx = load->plugins;
	graph_destroy(&load->graph);
	if (load->text)
		return graph_file_parse(load->path, load->text, load->text_len, &options, &load->graph, diag);
	return graph_file_load(load->path, &options, &load->graph, diag);
}

bool load_reads_stdin(const struct load *load)
{
	const struct graph *graph = load->graph;

	for (size_t i = 0; i < graph->stage_count; i++)
		for (uint32_t f = 0; f < graph->stages[i]->input_file_count; f++)
			if (!strcmp(graph->stages[i]->input_files[f].path, "-"))
				return true;
	return false;
}

void load_fini(struct load *load)
{
	graph_destroy(&load->graph);
	plugins_destroy(&load->plugins);
	free(load->host_program);
	free(load->stdin_path);
	free(load->text);
	for (size_t i = 0; i < load->param_count; i++)
		free((char *)load->params[i].name);
	free(load->params);
	free(load->plugin_paths);
}
