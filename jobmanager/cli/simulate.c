/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun simulate: what a job would do on a cluster that one does not have. */
#include "cli.h"
#include "base/size.h"
#include "tests/sim/sim.h"

#include <stdio.h>

enum option { NODES = CLI_GRAPH_OPTION_COUNT, SLOTS, SEED, KILL, TIME, FAULTS, TRACE, HELP };

static const struct option_spec options[] = {
	CLI_GRAPH_OPTIONS,
	[NODES] = {"nodes", 'n', "N", "nodes of the cluster (default: 10)"},
	[SLOTS] = {"slots", 's', "N", "slots of each (default: 2)"},
	[SEED] = {"seed", 'S', "N", "draws times and faults (default: 1); the same seed gives the same run"},
	[KILL] = {"kill", 'k', "N", "so many nodes die at once in the middle of the job"},
	[TIME] = {"time", 't', "DURATION", "what a vertex takes on average, such as 30s (default: 10s)"},
	[FAULTS] = {"faults", 'f', NULL, "crashes, partitions, full disks and more, drawn by the seed"},
	[TRACE] = {"trace", 'T', NULL, "prints all that happens"},
	[HELP] = {"help", 'h', NULL, "this text"},
};

struct settings {
	struct load graph;
	struct sim_options sim;
	bool help;
};

static int number(const char *name, const char *value, uint64_t max, uint64_t *ret)
{
	if (size_parse_number(value, ret) == 0 && *ret && *ret <= max)
		return 0;
	fprintf(stderr, "dagrun: --%s %s: a number from 1 to %llu\n", name, value, (unsigned long long)max);
	return DAG_EINVAL;
}

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;
	uint64_t n = 0;
	int r = 0;

	switch ((enum option)option) {
	case NODES:
		r = number("nodes", value, 3000, &n);
		s->sim.nodes = (uint32_t)n;
		break;
	case SLOTS:
		r = number("slots", value, 4096, &n);
		s->sim.slots = (uint32_t)n;
		break;
	case SEED:
		r = number("seed", value, UINT64_MAX, &s->sim.seed);
		break;
	case KILL:
		r = number("kill", value, 3000, &n);
		s->sim.kill = (uint32_t)n;
		break;
	case TIME:
		if (size_parse_duration(value, &s->sim.vertex_time) < 0 || s->sim.vertex_time < 2) {
			fprintf(stderr, "dagrun: --time %s: a time such as 30s or 5m\n", value);
			r = DAG_EINVAL;
		}
		break;
	case FAULTS:
		s->sim.quiet_faults = false;
		break;
	case TRACE:
		s->sim.trace = true;
		break;
	case HELP:
		s->help = true;
		break;
	default:
		return cli_graph_option(&s->graph, option, value);
	}
	return r;
}

static int simulate(const struct sim_options *o, const struct graph *graph)
{
	struct sim_result r;
	uint32_t vertices = 0;
	int code;

	for (size_t i = 0; i < graph->stage_count; i++)
		vertices += graph->stages[i]->kind == GRAPH_INPUT ? 0 : graph->stages[i]->width;
	printf("seed %llu: %u %s on %u node%s of %u slot%s, %.3g s a vertex%s\n", (unsigned long long)o->seed,
		vertices, DAG_VERTICES(vertices), o->nodes, DAG_S(o->nodes), o->slots, DAG_S(o->slots),
		(double)o->vertex_time / (double)DAG_SECOND, o->quiet_faults ? "" : ", with faults");
	fflush(stdout);
	sim_run(o, &r);
	if (r.violation) {
		printf("this is a bug of dagrun: %s\n", r.violation);
		code = 70;
	} else if (r.error) {
		printf("the job would fail after %.1f s: %s\n", (double)r.time / (double)DAG_SECOND, r.text);
		code = EXIT_FAILURE;
	} else {
		printf("the job would be done after %.1f s: %llu attempt%s, %llu of them again, %llu "
		       "messages\n",
			(double)r.time / (double)DAG_SECOND, (unsigned long long)r.attempts,
			DAG_S(r.attempts),
			(unsigned long long)(r.attempts > vertices ? r.attempts - vertices : 0),
			(unsigned long long)r.messages);
		code = 0;
	}
	for (uint32_t p = 0; p < PROBE_COUNT; p++)
		if (r.probes[p])
			printf("  %8u times: %s\n", r.probes[p], sim_probe_texts[p]);
	sim_result_fini(&r);
	return code;
}

static int run(int argc, char **argv)
{
	static struct settings s = {.sim = {.seed = 1,
					    .nodes = 10,
					    .slots = 2,
					    .vertex_time = 10 * DAG_SECOND,
					    .quiet_faults = true}};
	int r = options_parse("dagrun simulate", &cli_simulate.spec, argc, argv, on_option, &s);

	if (r < 0)
		return EXIT_USAGE;
	if (s.help) {
		options_help("dagrun simulate", &cli_simulate.spec);
		return 0;
	}
	s.graph.path = cli_operand(&cli_simulate, argc, argv, r);
	if (!s.graph.path)
		return EXIT_USAGE;
	if (s.sim.kill >= s.sim.nodes) {
		fprintf(stderr, "dagrun: --kill %u of %u nodes leaves none\n", s.sim.kill, s.sim.nodes);
		return EXIT_USAGE;
	}
	if (startup("dagrun", 64) < 0)
		return 1;
	r = cli_graph_load(&s.graph, false);
	s.sim.graph = s.graph.graph;
	if (r == 0)
		r = simulate(&s.sim, s.graph.graph);
	load_fini(&s.graph);
	return r;
}

const struct cli_command cli_simulate = {
	{"simulate", "GRAPH.yaml", "Says what a job would do on a cluster that is only pretended.", options,
		DAG_LENGTH(options)},
	run};
