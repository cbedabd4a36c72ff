/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun resume: goes on with a job whose job manager died. */
#include "cli.h"
#include "os/os.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum option { QUIET, HELP };

static const struct option_spec options[] = {
	[QUIET] = {"quiet", 'q', NULL, "no progress and no summary on stderr"},
	[HELP] = {"help", 'h', NULL, "this text"},
};

struct settings {
	bool quiet, help;
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;

	(void)value;
	if (option == QUIET)
		s->quiet = true;
	else
		s->help = true;
	return 0;
}

/* The graph as it was loaded then. */
static void take_graph(struct cli_graph *g, const struct journal_saved *saved)
{
	g->path = journal_meta(saved, "path");
	for (size_t i = 0; i < saved->meta_count; i++) {
		const struct graph_pair *m = &saved->meta[i];

		if (!strncmp(m->name, "param ", 6))
			cli_graph_option(g, 0, m->value);
		else if (!strncmp(m->name, "plugin-path ", 12))
			cli_graph_option(g, 1, m->value);
	}
	if (journal_meta(saved, "stdin")) {
		g->stdin_path = base_strdup(journal_meta(saved, "stdin"));
		g->stdin_kept = true;
	}
}

static int run_job(const struct settings *s, const char *id, const struct journal_saved *saved, int lock_fd)
{
	struct manager_config config = {.job = id, .saved = saved, .lock_fd = lock_fd, .quiet = s->quiet};
	struct cli_graph graph = {0};
	struct wire_keys *keys = NULL;
	struct dag_diag diag = {0};
	const char *cwd = journal_meta(saved, "cwd"), *slots = journal_meta(saved, "slots");
	int r;

	if (cwd && chdir(cwd) < 0) {
		fprintf(stderr, "dagrun: cannot go to %s, where job %s was started: %s\n", cwd, id,
			strerror(errno));
		return EXIT_INVALID;
	}
	take_graph(&graph, saved);
	r = graph.path ? cli_graph_load(&graph, true) : EXIT_INVALID;
	config.nameserver = journal_meta(saved, "nameserver");
	if (r == 0 && journal_meta(saved, "keys")) {
		r = keys_load(journal_meta(saved, "keys"), &keys, &diag) < 0 ? EXIT_UNREACHABLE : 0;
		cli_print(&diag);
	}
	config.keys = keys;
	config.slots = slots ? (uint32_t)strtoul(slots, NULL, 10) : 0;
	config.graph = graph.graph;
	config.host_program = graph.host_program;
	if (r == 0)
		r = manager_run(&config);
	keys_destroy(&keys);
	cli_graph_fini(&graph);
	return r;
}

/* Loads the journal under its lock. The exit code; 0 where the job can be resumed. */
static int load_job(const char *id, struct journal_saved *saved, int *ret_lock)
{
	char *state = os_state_folder(), *folder = base_format("%s/jobs/%s", state ? state : "", id);
	struct dag_diag diag = {0};
	int r = strchr(id, '/') ? DAG_EMISSING : journal_lock(folder, ret_lock);
	const char *last;

	/* One that is being killed takes a moment to go. */
	for (int i = 0; i < 20 && r == DAG_EBUSY; i++) {
		usleep(50000);
		r = journal_lock(folder, ret_lock);
	}
	if (r == DAG_EBUSY)
		fprintf(stderr, "dagrun: job %s is running already, in another process\n", id);
	else if (r == 0)
		r = journal_load(folder, true, saved, &diag);
	if (r == DAG_EMISSING)
		fprintf(stderr, "dagrun: there is no job '%s' in %s/jobs; 'dagrun jobs' lists them\n", id,
			state ? state : "");
	cli_print(&diag);
	last = r == 0 && saved->fact_count ? saved->facts[saved->fact_count - 1] : "";
	if (r == 0 && !strncmp(last, "ended ", 6)) {
		bool done = !strncmp(last, "ended 0", 7);

		jobs_remove_spool(id); /* it may have been killed while it cleaned up */

		if (done)
			fprintf(stderr, "dagrun: job %s is done already\n", id);
		else
			fprintf(stderr, "dagrun: job %s has failed, which is final; run the graph anew: %s\n",
				id, last + 6);
		r = done ? DAG_EEXIST : DAG_EFAILED;
	}
	free(state);
	free(folder);
	return r == 0 ? 0 : r == DAG_EEXIST ? 100 : r == DAG_EFAILED ? EXIT_FAILURE : EXIT_INVALID;
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
	r = load_job(id, &saved, &lock_fd);
	if (r == 0)
		r = run_job(&s, id, &saved, lock_fd);
	journal_saved_fini(&saved);
	return r == 100 ? 0 : r;
}

const struct cli_command cli_resume = {
	{"resume", "JOB", "Goes on with a job whose job manager died, from what was done.", options,
		DAG_LENGTH(options)},
	run};
