/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a graph for a subcommand. */
#include "cli.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

void cli_print(struct dag_diag *diag)
{
	os_tell(diag, "dagrun", NULL, NULL);
}

int cli_graph_option(struct cli_graph *g, size_t option, const char *value)
{
	const char *equals = strchr(value, '=');

	if (option == 1) {
		*DAG_APPEND(g->plugin_paths, g->plugin_path_count, g->plugin_path_cap) = value;
		return 0;
	}
	if (!equals || equals == value) {
		fprintf(stderr, "dagrun: -p %s: write -p NAME=VALUE\n", value);
		return DAG_EINVAL;
	}
	*DAG_APPEND(g->params, g->param_count, g->param_cap) =
		(struct graph_file_param){base_strndup(value, (size_t)(equals - value)), equals + 1};
	return 0;
}

/* stdin is read once, to its end, into a file without a name that this process holds open. */
static int keep_stdin(struct cli_graph *g)
{
	char *state = os_state_folder(), *path;
	char buf[65536];
	ssize_t n = 0;
	int fd;

	if (!state)
		return DAG_EIO;
	path = base_format("%s/stdin-XXXXXX", state);
	free(state);
	fd = mkstemp(path);
	g->stdin_path = path;
	while (fd >= 0 && (n = read(STDIN_FILENO, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n;) {
			ssize_t w = write(fd, buf + at, (size_t)(n - at));

			if (w < 0)
				break;
			at += w;
		}
	if (fd < 0 || n < 0) {
		fprintf(stderr, "dagrun: cannot keep stdin in %s: %s\n", path, strerror(errno));
		return DAG_EIO;
	}
	close(fd);
	return 0;
}

static bool reads_stdin(const struct graph *graph)
{
	for (size_t i = 0; i < graph->stage_count; i++)
		for (uint32_t f = 0; f < graph->stages[i]->input_file_count; f++)
			if (!strcmp(graph->stages[i]->input_files[f].path, "-"))
				return true;
	return false;
}

int cli_graph_load(struct cli_graph *g, bool read_stdin)
{
	struct graph_file_options options = {
		.params = g->params, .param_count = g->param_count, .describe = plugins_describe};
	struct dag_diag diag = {0};
	char *folder = os_program_folder();
	int r;

	g->host_program = base_format("%s/daghost", folder);
	free(folder);
	plugins_new(&g->plugins, g->host_program, g->plugin_paths, g->plugin_path_count);
	options.describe_ctx = g->plugins;
	r = graph_file_load(g->path, &options, &g->graph, &diag);
	/* Only a graph that is right is worth reading stdin for; then its splits are known. */
	if (r == 0 && read_stdin && reads_stdin(g->graph)) {
		graph_destroy(&g->graph);
		r = g->stdin_kept ? 0 : keep_stdin(g);
		options.stdin_path = g->stdin_path;
		if (r == 0)
			r = graph_file_load(g->path, &options, &g->graph, &diag);
	}
	if (r == 0)
		r = manager_check_outputs(g->graph, &diag);
	cli_print(&diag);
	return r < 0 ? EXIT_INVALID : 0;
}

void cli_graph_fini(struct cli_graph *g)
{
	if (g->stdin_path)
		unlink(g->stdin_path);
	free(g->stdin_path);
	graph_destroy(&g->graph);
	plugins_destroy(&g->plugins);
	free(g->host_program);
	for (size_t i = 0; i < g->param_count; i++)
		free((char *)g->params[i].name);
	free(g->params);
	free(g->plugin_paths);
}

const char *cli_operand(const struct cli_command *command, int argc, char **argv, int first)
{
	if (first + 1 == argc)
		return argv[first];
	if (first < argc)
		fprintf(stderr, "dagrun: unexpected '%s'; see 'dagrun %s --help'\n", argv[first + 1],
			command->spec.name);
	else
		fprintf(stderr, "dagrun: %s needs %s; see 'dagrun %s --help'\n", command->spec.name,
			command->spec.arguments, command->spec.name);
	return NULL;
}
