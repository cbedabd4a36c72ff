/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun run: a graph to its end, here or on a cluster. */
#include "cli.h"
#include "base/size.h"
#include "jobmanager/origin.h"
#include "os/os.h"
#include "wire/cluster.h"

#include <stdio.h>

enum option { SLOTS = CLI_GRAPH_OPTION_COUNT, NAMESERVER, KEYS, WAIT, DRY_RUN, QUIET, HELP };

static const struct option_spec options[] = {
	CLI_GRAPH_OPTIONS,
	[SLOTS] = {"slots", 's', "N",
		"vertices that run at a time, without a name server (default: the cores that it may use)"},
	[NAMESERVER] = {"nameserver", 'n', "ENDPOINT",
		"runs on the cluster of this name server, HOST:PORT (default: $DAGRUN_NAMESERVER; port "
		"7700); "
		"'none': on this machine"},
	[KEYS] = {"keys", 'k', "DIR", CLUSTER_KEYS_HELP},
	[WAIT] = CLI_WAIT_OPTION,
	[DRY_RUN] = {"dry-run", 0, NULL, "prints the plan and runs nothing"},
	[QUIET] = {"quiet", 'q', NULL, "no progress and no summary on stderr"},
	[HELP] = {"help", 'h', NULL, "this text"},
};

struct settings {
	struct load graph;
	struct manager_config config;
	const char *nameserver, *keys;
	struct cluster cluster;
	bool dry_run, help;
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;
	uint64_t n;

	switch ((enum option)option) {
	case SLOTS:
		if (size_parse_number(value, &n) < 0 || !n || n > 4096) {
			fprintf(stderr, "dagrun: --slots %s: a number from 1 to 4096\n", value);
			return DAG_EINVAL;
		}
		s->config.slots = (uint32_t)n;
		return 0;
	case NAMESERVER:
		s->nameserver = value;
		return 0;
	case KEYS:
		s->keys = value;
		return 0;
	case WAIT:
		return cli_wait_option(&s->config, value);
	case DRY_RUN:
		s->dry_run = true;
		return 0;
	case QUIET:
		s->config.quiet = true;
		return 0;
	case HELP:
		s->help = true;
		return 0;
	default:
		return cli_graph_option(&s->graph, option, value);
	}
}

static int check_open(const struct graph *graph)
{
	for (size_t i = 0; i < graph->stage_count; i++) {
		const struct graph_stage *s = graph->stages[i];

		if (!s->open)
			continue;
		fprintf(stderr,
			"%s:%d:%d: stage '%s' is open: its vertices are added by a program that runs the job "
			"(dagrun/job.h)\n",
			s->place.file, s->place.line, s->place.column, s->name);
		return EXIT_INVALID;
	}
	return 0;
}

static int check_slots(const struct graph *graph, uint32_t slots)
{
	for (uint32_t i = 0; i < graph->gang_count; i++) {
		uint64_t shares = graph_gang_shares(graph, i);
		const struct graph_stage *s =
			graph->stages[graph->vertex_stage[graph->gang_members[graph->gangs[i].first]]];

		if (s->kind == GRAPH_INPUT || shares <= (uint64_t)slots * GRAPH_CPU_SHARES)
			continue;
		if (graph->gangs[i].count > 1)
			fprintf(stderr,
				"%s:%d:%d: the %u vertices that pipes join to '%s' must run together, and "
				"need %llu sixteenths of a "
				"slot; there %s %u slot%s\n",
				s->place.file, s->place.line, s->place.column, graph->gangs[i].count, s->name,
				(unsigned long long)shares, slots == 1 ? "is" : "are", slots, DAG_S(slots));
		else
			fprintf(stderr,
				"%s:%d:%d: stage '%s' asks for more cpus than the %u slot%s there %s\n",
				s->place.file, s->place.line, s->place.column, s->name, slots, DAG_S(slots),
				slots == 1 ? "is" : "are");
		return EXIT_INVALID;
	}
	return 0;
}

/* What `dagrun resume` needs to make the same graph again. */
static void note_origin(const struct settings *s, struct origin *origin)
{
	origin_begin(origin, s->graph.path);
	origin_add(origin, "text", 0, s->graph.text);
	for (size_t i = 0; i < s->graph.param_count; i++) {
		char *pair = base_format("%s=%s", s->graph.params[i].name, s->graph.params[i].value);

		origin_add(origin, "param ", i, pair);
		free(pair);
	}
	for (size_t i = 0; i < s->graph.plugin_path_count; i++)
		origin_add(origin, "plugin-path ", i, s->graph.plugin_paths[i]);
	origin_add(origin, "nameserver", 0, s->cluster.nameserver);
	origin_add(origin, "keys", 0, s->cluster.keys_said);
	origin_add(origin, "stdin", 0, s->graph.stdin_path);
}

/* A job of this graph whose job manager died can go on where it was. */
static void say_unfinished(const struct settings *s)
{
	size_t n;
	struct job_info *jobs = jobs_scan(true, &n);

	for (size_t i = 0; i < n; i++) {
		const char *file = journal_meta(&jobs[i].saved, "file");

		if (jobs[i].state == JOB_UNFINISHED && file && !s->graph.text && s->graph.graph->file &&
			!strcmp(file, s->graph.graph->file))
			fprintf(stderr,
				"dagrun: job %s of this graph did not end; 'dagrun resume %s' would go on "
				"with it, "
				"'dagrun clean %s' removes it. This run is a new job.\n",
				jobs[i].id, jobs[i].id, jobs[i].id);
	}
	jobs_free(jobs, n);
}

static int run_graph(struct settings *s)
{
	struct origin origin = {0};
	int r = check_open(s->graph.graph);

	if (r)
		return r;
	if (!s->config.slots)
		s->config.slots = (uint32_t)os_cores();
	if (!s->config.nameserver) {
		r = check_slots(s->graph.graph, s->config.slots);
		if (r)
			return r;
	}
	note_origin(s, &origin);
	s->config.meta = origin.items;
	s->config.meta_count = origin.count;
	s->config.graph = s->graph.graph;
	s->config.host_program = s->graph.host_program;
	say_unfinished(s);
	r = manager_run(&s->config);
	origin_fini(&origin);
	return r;
}

static int run(int argc, char **argv)
{
	static struct settings s;
	int r = options_parse("dagrun run", &cli_run.spec, argc, argv, on_option, &s);

	if (r < 0)
		return EXIT_USAGE;
	if (s.help) {
		options_help("dagrun run", &cli_run.spec);
		return 0;
	}
	s.graph.path = cli_operand(&cli_run, argc, argv, r);
	if (!s.graph.path)
		return EXIT_USAGE;
	if (startup("dagrun", 128) < 0)
		return 1;
	r = s.dry_run ? 0 : cli_cluster_find(&s.cluster, s.nameserver, s.keys, s.config.quiet);
	if (r)
		return r;
	s.config.nameserver = s.cluster.nameserver;
	s.config.keys = s.cluster.keys;
	r = cli_graph_load(&s.graph, !s.dry_run);
	if (r == 0 && s.dry_run)
		cli_print_plan(s.graph.graph);
	else if (r == 0)
		r = run_graph(&s);
	if (s.graph.stdin_path) /* the job has ended, or never began */
		unlink(s.graph.stdin_path);
	load_fini(&s.graph);
	cluster_fini(&s.cluster);
	return r;
}

const struct cli_command cli_run = {
	{"run", "GRAPH.yaml",
		"Runs a graph ('-': from stdin) until its outputs are there: here, or on a cluster.", options,
		DAG_LENGTH(options)},
	run};
