/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun-sim: seeds, each run twice; what fails is shrunk and printed so that it can be run again. */
#include "sim.h"
#include "os/options.h"

#include <stdio.h>
#include <time.h>

enum option {
	SEED,
	SEEDS,
	NODES,
	KILL,
	VERTICES,
	CALM,
	TRACE,
	OFF,
	CRASH_POINTS,
	SEEDS_FILE,
	ALL_PROBES,
	TAP,
	HELP
};

static const struct option_spec option_specs[] = {
	[SEED] = {"seed", 's', "N", "the first seed (default: 1)"},
	[SEEDS] = {"seeds", 'n', "N", "so many seeds, one after the other (default: 1)"},
	[NODES] = {"nodes", 0, "N", "nodes of the cluster (default: drawn, up to 8)"},
	[KILL] = {"kill", 0, "N", "so many nodes die at once in the middle of the job"},
	[VERTICES] = {"vertices", 0, "N", "vertices of the job (default: drawn, up to 60)"},
	[CALM] = {"calm", 0, NULL, "no faults but --kill"},
	[TRACE] = {"trace", 0, NULL, "prints all that happens"},
	[OFF] = {"off", 0, "BITS", "fault classes that are left out, as a shrunk seed prints them"},
	[CRASH_POINTS] = {"crash-points", 0, NULL,
		"every point of a job of 12 vertices, each process, before, after and torn"},
	[SEEDS_FILE] = {"seeds-file", 0, "FILE", "lines of a seed and the fault classes that are left out"},
	[ALL_PROBES] = {"all-probes", 0, NULL, "a situation that was not met is a failure"},
	[TAP] = {"tap", 0, NULL, "one line of a test protocol for all"},
	[HELP] = {"help", 'h', NULL, "this text"},
};

static const struct command_spec spec = {"dagrun-sim", "",
	"Runs jobs on a pretended cluster, with faults drawn by a seed.", option_specs,
	DAG_LENGTH(option_specs)};

struct settings {
	struct sim_options sim;
	uint64_t seeds;
	const char *file;
	bool crash_points, all_probes, tap, help;
};

struct totals {
	uint64_t runs, failed, done, named, attempts, effects, messages;
	uint64_t probes[PROBE_COUNT];
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;
	uint64_t n = value ? strtoull(value, NULL, 10) : 0;

	switch ((enum option)option) {
	case SEED:
		s->sim.seed = n;
		break;
	case SEEDS:
		s->seeds = n;
		break;
	case NODES:
		s->sim.nodes = (uint32_t)n;
		break;
	case KILL:
		s->sim.kill = (uint32_t)n;
		s->sim.quiet_faults = true;
		break;
	case VERTICES:
		s->sim.vertices = (uint32_t)n;
		break;
	case CALM:
		s->sim.quiet_faults = true;
		break;
	case TRACE:
		s->sim.trace = true;
		break;
	case OFF:
		s->sim.off = (uint32_t)strtoul(value, NULL, 0);
		break;
	case CRASH_POINTS:
		s->crash_points = true;
		break;
	case SEEDS_FILE:
		s->file = value;
		break;
	case ALL_PROBES:
		s->all_probes = true;
		break;
	case TAP:
		s->tap = true;
		break;
	case HELP:
		s->help = true;
		break;
	}
	return 0;
}

/* Leaves out fault classes and time for as long as it still fails. */
static void shrink(struct sim_options options, const char *violation)
{
	struct sim_result r;

	options.trace = false;
	for (uint32_t f = 0; f < FAULT_COUNT; f++) {
		struct sim_options less = options;

		less.off |= 1u << f;
		sim_run(&less, &r);
		if (r.violation && !strncmp(r.violation, violation, 4))
			options = less;
		sim_result_fini(&r);
	}
	sim_run(&options, &r);
	printf("# shrunk: faults that it needs:");
	for (uint32_t f = 0; f < FAULT_COUNT; f++)
		if (r.faults[f])
			printf(" %s", sim_fault_names[f]);
	printf("; without them: off=%#x; %s\n", options.off, r.violation ? r.violation : "(gone)");
	sim_result_fini(&r);
}

/* One seed, twice. */
static bool run_seed(const struct sim_options *options, struct totals *t)
{
	struct sim_options again = *options;
	struct sim_result first, second;
	bool ok;

	again.trace = false;
	sim_run(options, &first);
	if (options->vertices < 10000)
		sim_run(&again, &second);
	else
		second = (struct sim_result){.trace_hash = first.trace_hash};
	ok = !first.violation && first.trace_hash == second.trace_hash;
	if (!ok && first.violation && !options->crash_process)
		shrink(*options, first.violation);
	if (!ok)
		printf("# seed %llu: %s\n", (unsigned long long)options->seed,
			first.violation ? first.violation : "the second run went another way");
	t->runs++;
	t->failed += !ok;
	t->done += ok && !first.error;
	t->named += ok && first.error;
	t->attempts += first.attempts;
	t->effects += first.effects;
	t->messages += first.messages;
	for (uint32_t p = 0; p < PROBE_COUNT; p++)
		t->probes[p] += first.probes[p];
	if (ok && first.error && options->trace)
		printf("# failed as it should: %s\n", first.text);
	sim_result_fini(&first);
	sim_result_fini(&second);
	return ok;
}

/* Each effect and fact of one job, for each process and each way to die there. */
static uint64_t run_crash_points(const struct sim_options *base, struct totals *t)
{
	uint64_t failed = 0;

	for (int process = 1; process <= 3; process++)
		for (int mode = 0; mode < 3; mode++)
			for (uint64_t at = 1;; at++) {
				struct sim_options options = *base;
				uint64_t effects = t->effects;

				options.quiet_faults = true;
				options.nodes = 3;
				options.vertices = 12;
				options.crash_process = process;
				options.crash_mode = mode;
				options.crash_at = at;
				failed += !run_seed(&options, t);
				if (t->effects - effects < at)
					break; /* beyond the last one */
			}
	return failed;
}

/* Seeds that failed once. */
static void run_file(const struct sim_options *base, const char *path, struct totals *t)
{
	FILE *f = fopen(path, "r");
	char line[256];

	if (!f) {
		perror(path);
		t->failed++;
		return;
	}
	while (fgets(line, sizeof(line), f)) {
		struct sim_options options = *base;
		unsigned long long seed;
		unsigned off;

		if (sscanf(line, "%llu %x", &seed, &off) != 2)
			continue;
		options.seed = seed;
		options.off = off;
		run_seed(&options, t);
	}
	fclose(f);
}

static void print_totals(const struct settings *s, const struct totals *t, double seconds)
{
	uint32_t fired = 0;

	for (uint32_t p = 0; p < PROBE_COUNT; p++)
		fired += t->probes[p] > 0;
	printf("# %llu runs, each twice: %llu jobs done, %llu failed and said why, %llu wrong; %llu "
	       "attempts, %llu "
	       "effects, %llu messages; %.1f s\n",
		(unsigned long long)t->runs, (unsigned long long)t->done, (unsigned long long)t->named,
		(unsigned long long)t->failed, (unsigned long long)t->attempts,
		(unsigned long long)t->effects, (unsigned long long)t->messages, seconds);
	printf("# %u of %u situations met\n", fired, PROBE_COUNT);
	for (uint32_t p = 0; p < PROBE_COUNT && !s->tap; p++)
		printf("# %8llu  %s\n", (unsigned long long)t->probes[p], sim_probe_texts[p]);
}

int main(int argc, char **argv)
{
	struct settings s = {.sim.seed = 1, .seeds = 1};
	struct totals t = {0};
	struct timespec a, b;
	int r = options_parse("dagrun-sim", &spec, argc, argv, on_option, &s);

	if (r < 0)
		return 2;
	if (s.help) {
		options_help("dagrun-sim", &spec);
		return 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	if (s.tap)
		printf("1..1\n");
	printf("# seed %llu\n", (unsigned long long)s.sim.seed);
	fflush(stdout);
	if (s.file)
		run_file(&s.sim, s.file, &t);
	else if (s.crash_points)
		run_crash_points(&s.sim, &t);
	else
		for (uint64_t i = 0; i < s.seeds; i++) {
			struct sim_options options = s.sim;

			options.seed += i;
			run_seed(&options, &t);
		}
	clock_gettime(CLOCK_MONOTONIC, &b);
	print_totals(&s, &t, (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
	if (s.tap)
		printf("%s 1 - %s\n", t.failed ? "not ok" : "ok",
			s.crash_points ? "crash points"
			: s.file       ? "seeds that failed once"
				       : "seeds");
	for (uint32_t p = 0; p < PROBE_COUNT && s.all_probes; p++)
		if (!t.probes[p]) {
			printf("# never met: %s\n", sim_probe_texts[p]);
			t.failed++;
		}
	return t.failed > 0;
}
