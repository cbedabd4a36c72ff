/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a graph for a subcommand. */
#include "cli.h"
#include "base/size.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

void cli_print(struct dag_diag *diag)
{
	os_tell(diag, "dagrun", NULL, NULL);
}

int cli_graph_option(struct load *g, size_t option, const char *value)
{
	if (option == 1) {
		*DAG_APPEND(g->plugin_paths, g->plugin_path_count, g->plugin_path_cap) = value;
		return 0;
	}
	if (load_param(g, value) == 0)
		return 0;
	fprintf(stderr, "dagrun: -p %s: write -p NAME=VALUE\n", value);
	return DAG_EINVAL;
}

int cli_wait_option(struct manager_config *config, const char *value)
{
	if (size_parse_duration(value, &config->wait_for_nodes) < 0) {
		fprintf(stderr, "dagrun: --wait-for-nodes %s: a whole number with ms, s, m or h\n", value);
		return DAG_EINVAL;
	}
	config->wait_said = true;
	return 0;
}

int cli_graph_load(struct load *g, bool read_stdin)
{
	struct dag_diag diag = {0};
	bool from_stdin = !strcmp(g->path, "-");
	int r = from_stdin && !g->text ? graph_file_read(stdin, g->path, &g->text, &g->text_len, &diag) : 0;

	if (r == 0)
		r = load_graph(g, &diag);
	if (r == 0 && from_stdin && load_reads_stdin(g)) {
		dag_diag_add(
			&diag, g->path, 0, 0, "the graph is read from stdin, so that no input can be \"-\"");
		r = DAG_EINVAL;
	}
	/* Only a graph that is right is worth reading stdin for; then its splits are known. */
	if (r == 0 && read_stdin && load_reads_stdin(g)) {
		if (cli_keep_stdin(g) < 0)
			return EXIT_FAILURE;
		r = load_graph(g, &diag);
	}
	if (r == 0)
		r = manager_check_outputs(g->graph, &diag);
	cli_print(&diag);
	return r < 0 ? EXIT_INVALID : 0;
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
