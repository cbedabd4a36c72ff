/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun verify: runs a sample of a job's vertices again, and compares. */
#include "cli.h"
#include "base/size.h"
#include "jobmanager/verify.h"
#include "os/os.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define SAMPLE_DEFAULT 100 /* of a thousand */

enum option { SAMPLE, SEED, QUIET, HELP };

static const struct option_spec options[] = {
	[SAMPLE] = {"sample", 's', "P", "so many of a hundred of each stage's vertices (default: 10)"},
	[SEED] = {"seed", 0, "N", "draws the same sample again"},
	[QUIET] = {"quiet", 'q', NULL, "no progress on stderr"},
	[HELP] = {"help", 'h', NULL, "this text"},
};

struct settings {
	uint32_t per_mille;
	uint64_t seed;
	bool sampled, quiet, help;
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;
	char *end;
	double p;

	switch ((enum option)option) {
	case SAMPLE:
		p = strtod(value, &end);
		if (end == value || (*end && strcmp(end, "%")) || !(p > 0) || p > 100) {
			fprintf(stderr, "dagrun: --sample %s: a number above 0 and up to 100\n", value);
			return DAG_EINVAL;
		}
		s->per_mille = DAG_MAX((uint32_t)lround(p * 10), 1u);
		s->sampled = true;
		return 0;
	case SEED:
		if (size_parse_number(value, &s->seed) < 0) {
			fprintf(stderr, "dagrun: --seed %s: a number\n", value);
			return DAG_EINVAL;
		}
		return 0;
	case QUIET:
		s->quiet = true;
		return 0;
	case HELP:
		s->help = true;
		return 0;
	}
	return 0;
}

/* What is to be compared; the exit code. */
static int choose(const struct settings *s, struct verify *verify, char **names, int n)
{
	for (int i = 0; i < n; i++) {
		int r = verify_add(verify, names[i]);

		if (r < 0) {
			fprintf(stderr, "dagrun: %s '%s'\n",
				r == DAG_EMISSING ? "the job did not come to commit the vertex"
						  : "the job has no stage or vertex",
				names[i]);
			return EXIT_INVALID;
		}
	}
	if (!n || s->sampled) {
		if (!s->quiet)
			fprintf(stderr, "dagrun: the sample's seed is %llu\n", (unsigned long long)s->seed);
		verify_draw(verify, s->per_mille, s->seed);
	}
	return 0;
}

static int verify_job(
	const struct settings *s, const char *id, const struct journal_saved *saved, char **names, int n)
{
	struct cli_earlier earlier = {0};
	struct verify *verify = NULL;
	int r = cli_earlier_load(&earlier, id, saved);

	if (r == 0) {
		verify_new(&verify, earlier.graph.graph, saved);
		r = choose(s, verify, names, n);
	}
	earlier.config.verify = verify;
	earlier.config.verified = id;
	earlier.config.quiet = s->quiet;
	if (r == 0)
		r = manager_run(&earlier.config);
	if (r == 0 && !verify_report(verify, id))
		r = EXIT_FAILURE;
	verify_destroy(&verify);
	cli_earlier_fini(&earlier);
	return r;
}

static int run(int argc, char **argv)
{
	struct settings s = {.per_mille = SAMPLE_DEFAULT, .seed = os_random() % 1000000};
	int lock_fd = -1, first = options_parse("dagrun verify", &cli_verify.spec, argc, argv, on_option, &s),
	    r;
	struct journal_saved saved = {0};

	if (first < 0)
		return EXIT_USAGE;
	if (s.help) {
		options_help("dagrun verify", &cli_verify.spec);
		return 0;
	}
	if (first >= argc) {
		fprintf(stderr, "dagrun: which job? 'dagrun jobs' lists them\n");
		return EXIT_USAGE;
	}
	if (startup("dagrun", 128) < 0)
		return 1;
	r = cli_journal_load(argv[first], &saved, &lock_fd);
	if (r == 0)
		r = verify_job(&s, argv[first], &saved, argv + first + 1, argc - first - 1);
	journal_saved_fini(&saved);
	if (lock_fd >= 0)
		close(lock_fd);
	return r;
}

const struct cli_command cli_verify = {
	{"verify", "JOB [VERTEX…]",
		"Runs a sample of a job's vertices again, or those named (stage or stage[n]), and compares "
		"their bytes.",
		options, DAG_LENGTH(options)},
	run};
