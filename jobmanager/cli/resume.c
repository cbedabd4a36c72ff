/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun resume: goes on with a job whose job manager died. */
#include "cli.h"
#include "os/os.h"

#include <stdio.h>
#include <unistd.h>

enum option { WAIT, QUIET, HELP };

static const struct option_spec options[] = {
	[WAIT] = CLI_WAIT_OPTION,
	[QUIET] = {"quiet", 'q', NULL, "no progress and no summary on stderr"},
	[HELP] = {"help", 'h', NULL, "this text"},
};

struct settings {
	struct manager_config config; /* only what is said here */
	bool quiet, help;
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;

	if (option == WAIT)
		return cli_wait_option(&s->config, value);
	if (option == QUIET)
		s->quiet = true;
	else
		s->help = true;
	return 0;
}

static int run_job(const struct settings *s, const char *id, const struct journal_saved *saved, int lock_fd)
{
	struct cli_earlier earlier = {0};
	int r = cli_earlier_load(&earlier, id, saved);

	earlier.config.job = id;
	earlier.config.saved = saved;
	earlier.config.lock_fd = lock_fd;
	earlier.config.quiet = s->quiet;
	earlier.config.wait_said = s->config.wait_said;
	earlier.config.wait_for_nodes = s->config.wait_for_nodes;
	if (r == 0)
		r = manager_run(&earlier.config);
	if (r == MANAGER_DONE &&
		earlier.graph.stdin_path) /* else it may be resumed again; `clean` removes it */
		unlink(earlier.graph.stdin_path);
	cli_earlier_fini(&earlier);
	return r;
}

/* Its end is in the journal: nothing is left to do. */
static bool is_over(const char *id, const struct journal_saved *saved, int *ret_code)
{
	const char *last = journal_last(saved);
	bool done = !strncmp(last, "ended 0", 7);

	if (strncmp(last, "ended ", 6))
		return false;
	jobs_remove_spool(id); /* it may have been killed while it cleaned up */
	if (done)
		fprintf(stderr, "dagrun: job %s is done already\n", id);
	else
		fprintf(stderr, "dagrun: job %s has failed, which is final; run the graph anew: %s\n", id,
			job_end_text(last));
	*ret_code = done ? 0 : EXIT_FAILURE;
	return true;
}

static int run(int argc, char **argv)
{
	struct settings s = {0};
	struct journal_saved saved = {0};
	int r = options_parse("dagrun resume", &cli_resume.spec, argc, argv, on_option, &s), lock_fd = -1;
	const char *id;

	if (r < 0)
		return EXIT_USAGE;
	if (s.help) {
		options_help("dagrun resume", &cli_resume.spec);
		return 0;
	}
	id = cli_operand(&cli_resume, argc, argv, r);
	if (!id)
		return EXIT_USAGE;
	if (startup("dagrun", 128) < 0)
		return 1;
	r = cli_journal_load(id, &saved, &lock_fd);
	if (r == 0 && !is_over(id, &saved, &r))
		r = run_job(&s, id, &saved, lock_fd);
	journal_saved_fini(&saved);
	return r;
}

const struct cli_command cli_resume = {
	{"resume", "JOB", "Goes on with a job whose job manager died, from what was done.", options,
		DAG_LENGTH(options)},
	run};
