/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun plan: what would run, as text, for Graphviz, or as JSON. */
#include "cli.h"
#include "graph/dot.h"
#include "graph/edge.h"

#include <jansson.h>
#include <stdio.h>

enum option { FORMAT = CLI_GRAPH_OPTION_COUNT, HELP };

static const struct option_spec options[] = {
	CLI_GRAPH_OPTIONS,
	[FORMAT] = {"format", 'f', "text|dot|json", "how to print it (default: text)"},
	[HELP] = {"help", 'h', NULL, "this text"},
};

static const char *const pattern_names[] = {">=", ">>", "neighbours", "list", "groups", "added"};
static const char *const kind_names[] = {"input", "plugin", "program"};
static const char *const partition_names[] = {"", "hash", "round-robin", "all", "part"};

struct settings {
	struct load graph;
	const char *format;
	bool help;
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;

	if (option == FORMAT)
		s->format = value;
	else if (option == HELP)
		s->help = true;
	else
		return cli_graph_option(&s->graph, option, value);
	return 0;
}

static void print_stage(const struct graph_stage *s)
{
	char width[16];

	snprintf(width, sizeof(width), "%s%u", s->width_of == GRAPH_NONE ? "" : "to ", s->width);
	printf("  %-20s %-8s width %-11s", s->name, kind_names[s->kind], width);
	if (s->kind == GRAPH_INPUT)
		printf("%u file%s\n", s->input_file_count, DAG_S(s->input_file_count));
	else if (s->kind == GRAPH_PLUGIN)
		printf("%s of %s\n", s->entry, s->plugin);
	else {
		for (uint32_t i = 0; i < s->argc; i++)
			printf("%s%s", i ? " " : "", s->argv[i]);
		printf("\n");
	}
}

static void print_edge(const struct graph *graph, const struct graph_edge *e)
{
	const struct graph_stage *from = graph->stages[e->from], *to = graph->stages[e->to];
	char format[32];

	printf("  %s.%u %s %s.%u: %llu channel%s, %s", from->name, e->from_port, pattern_names[e->pattern],
		to->name, e->to_port, (unsigned long long)edge_channels(e), DAG_S(edge_channels(e)),
		graph_format_name(to->in[e->to_port].format, format));
	if (from->kind != GRAPH_INPUT)
		printf(", %s%s", graph_channel_name(e->channel), e->elastic ? " (elastic)" : "");
	if (e->codec)
		printf(", %s", graph_codec_name(e->codec));
	if (e->parts > 1)
		printf(", %u parts by %s", e->parts, partition_names[e->partition.kind]);
	printf("\n");
}

void cli_print_plan(const struct graph *graph)
{
	uint32_t gangs = 0, members = 0;

	printf("graph %s\nstages:\n", graph->name);
	for (size_t i = 0; i < graph->stage_count; i++)
		print_stage(graph->stages[i]);
	printf("edges:\n");
	for (size_t i = 0; i < graph->edge_count; i++)
		print_edge(graph, graph->edges[i]);
	for (uint32_t i = 0; i < graph->gang_count; i++)
		if (graph->gangs[i].count > 1) {
			gangs++;
			members = DAG_MAX(members, graph->gangs[i].count);
		}
	if (gangs)
		printf("gangs: %u, of up to %u vertices that start together\n", gangs, members);
	printf("outputs:\n");
	for (size_t i = 0; i < graph->output_count; i++)
		printf("  %s.%u -> %s\n", graph->stages[graph->outputs[i].stage]->name,
			graph->outputs[i].port, graph->outputs[i].path);
}

static json_t *stage_json(const struct graph_stage *s)
{
	json_t *j = json_pack(
		"{s:s, s:s, s:i}", "name", s->name, "kind", kind_names[s->kind], "width", (int)s->width);

	if (s->width_of != GRAPH_NONE)
		json_object_set_new(j, "width_is", json_string("at most"));

	if (s->kind == GRAPH_PLUGIN) {
		json_object_set_new(j, "plugin", json_string(s->plugin));
		json_object_set_new(j, "entry", json_string(s->entry));
	}
	if (s->kind == GRAPH_PROGRAM) {
		json_t *argv = json_array();

		for (uint32_t i = 0; i < s->argc; i++)
			json_array_append_new(argv, json_string(s->argv[i]));
		json_object_set_new(j, "argv", argv);
	}
	return j;
}

static void print_json(const struct graph *graph)
{
	json_t *stages = json_array(), *edges = json_array(), *outputs = json_array(), *root;

	for (size_t i = 0; i < graph->stage_count; i++)
		json_array_append_new(stages, stage_json(graph->stages[i]));
	for (size_t i = 0; i < graph->edge_count; i++) {
		const struct graph_edge *e = graph->edges[i];
		const struct graph_stage *from = graph->stages[e->from], *to = graph->stages[e->to];
		char format[32];

		json_array_append_new(
			edges, json_pack("{s:s, s:i, s:s, s:i, s:s, s:s, s:s, s:s, s:I, s:i, s:b}", "from",
				       from->name, "from_port", (int)e->from_port, "to", to->name, "to_port",
				       (int)e->to_port, "pattern", pattern_names[e->pattern], "channel",
				       graph_channel_name(e->channel), "compress", graph_codec_name(e->codec),
				       "format", graph_format_name(to->in[e->to_port].format, format),
				       "channels", (json_int_t)edge_channels(e), "parts", (int)e->parts,
				       "elastic", (int)e->elastic));
	}
	for (size_t i = 0; i < graph->output_count; i++)
		json_array_append_new(outputs,
			json_pack("{s:s, s:i, s:s}", "stage", graph->stages[graph->outputs[i].stage]->name,
				"port", (int)graph->outputs[i].port, "file", graph->outputs[i].path));
	root = json_pack("{s:s, s:o, s:o, s:o}", "name", graph->name, "stages", stages, "edges", edges,
		"outputs", outputs);
	json_dumpf(root, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(root);
}

static int run(int argc, char **argv)
{
	static struct settings s = {.format = "text"};
	int r = options_parse("dagrun plan", &cli_plan.spec, argc, argv, on_option, &s);

	if (r < 0)
		return EXIT_USAGE;
	if (s.help) {
		options_help("dagrun plan", &cli_plan.spec);
		return 0;
	}
	if (strcmp(s.format, "text") && strcmp(s.format, "dot") && strcmp(s.format, "json")) {
		fprintf(stderr, "dagrun: --format %s: it is text, dot or json\n", s.format);
		return EXIT_USAGE;
	}
	s.graph.path = cli_operand(&cli_plan, argc, argv, r);
	if (!s.graph.path)
		return EXIT_USAGE;
	r = cli_graph_load(&s.graph, false);
	if (r == 0 && !strcmp(s.format, "text"))
		cli_print_plan(s.graph.graph);
	else if (r == 0 && !strcmp(s.format, "json"))
		print_json(s.graph.graph);
	else if (r == 0) {
		struct buffer text = {0};

		graph_write_dot(s.graph.graph, &text);
		fwrite(text.data, 1, text.len, stdout);
		buffer_fini(&text);
	}
	load_fini(&s.graph);
	return r;
}

const struct cli_command cli_plan = {{"plan", "GRAPH.yaml", "Prints stages, widths and channels of a graph.",
					     options, DAG_LENGTH(options)},
	run};
