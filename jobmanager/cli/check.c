/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun check: every error of a graph file at once, nothing run. */
#include "cli.h"

#include <stdio.h>

enum option { HELP = CLI_GRAPH_OPTION_COUNT };

static const struct option_spec options[] = {CLI_GRAPH_OPTIONS, [HELP] = {"help", 'h', NULL, "this text"}};

struct settings {
	struct load graph;
	bool help;
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;

	if (option == HELP)
		s->help = true;
	else
		return cli_graph_option(&s->graph, option, value);
	return 0;
}

/* As the end of a run counts them: what runs. */
static void print_size(const struct load *load)
{
	size_t stages = 0;
	uint32_t vertices = 0;

	for (size_t i = 0; i < load->graph->stage_count; i++) {
		const struct graph_stage *s = load->graph->stages[i];

		stages += s->kind != GRAPH_INPUT;
		vertices += s->kind != GRAPH_INPUT ? s->width : 0;
	}
	printf("%s: ok, %zu stage%s, %u %s\n", load->path, stages, DAG_S(stages), vertices,
		vertices == 1 ? "vertex" : "vertices");
}

static int run(int argc, char **argv)
{
	static struct settings s;
	struct dag_diag notes = {0};
	int r = options_parse("dagrun check", &cli_check.spec, argc, argv, on_option, &s);

	if (r < 0)
		return EXIT_USAGE;
	if (s.help) {
		options_help("dagrun check", &cli_check.spec);
		return 0;
	}
	s.graph.path = cli_operand(&cli_check, argc, argv, r);
	if (!s.graph.path)
		return EXIT_USAGE;
	s.graph.notes = &notes;
	r = cli_graph_load(&s.graph, false);
	if (r == 0)
		print_size(&s.graph);
	for (size_t i = 0; r == 0 && i < notes.count; i++) {
		char *text = dag_message_format(&notes.items[i]);

		printf("note: %s\n", text);
		free(text);
	}
	dag_diag_fini(&notes);
	load_fini(&s.graph);
	return r;
}

const struct cli_command cli_check = {
	{"check", "GRAPH.yaml", "Reports every error of a graph file at once; runs nothing.", options,
		DAG_LENGTH(options)},
	run};
