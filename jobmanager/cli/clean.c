/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun clean: removes jobs with all that daemons hold for them. */
#include "cli.h"
#include "base/size.h"
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define OLD_DEFAULT (7 * 86400)

enum option { ALL, OLDER, HELP };

static const struct option_spec options[] = {
	[ALL] = {"all", 'a', NULL, "every job that does not run, unfinished ones too"},
	[OLDER] = {"older", 'o', "DAYS", "ended jobs that began so many days ago (default: 7)"},
	[HELP] = {"help", 'h', NULL, "this text"},
};

struct settings {
	bool all, help;
	long long old;
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;
	uint64_t n;

	switch ((enum option)option) {
	case ALL:
		s->all = true;
		break;
	case OLDER:
		if (size_parse_number(value, &n) < 0) {
			fprintf(stderr, "dagrun: --older %s: a number of days\n", value);
			return DAG_EINVAL;
		}
		s->old = (long long)n * 86400;
		break;
	case HELP:
		s->help = true;
		break;
	}
	return 0;
}

void jobs_remove_spool(const char *id)
{
	char *state = os_state_folder(), *disk = base_format("%s/spool/run-%s", state ? state : "", id),
	     *memory = base_format("/dev/shm/dagrun-%u/run-%s", (unsigned)getuid(), id);

	os_remove_tree(disk);
	os_remove_tree(memory);
	free(state);
	free(disk);
	free(memory);
}

static int remove_job(struct job_info *job)
{
	const char *nameserver = journal_meta(&job->saved, "nameserver"),
		   *file = journal_meta(&job->saved, "stdin");

	if (nameserver && job->state == JOB_UNFINISHED &&
		manager_discard(nameserver, journal_meta(&job->saved, "keys"), job->id) < 0)
		fprintf(stderr,
			"dagrun: the cluster at %s does not answer; what its daemons hold for job %s goes "
			"after a day\n",
			nameserver, job->id);
	if (outputs_give_up(job->folder, job->id) < 0) {
		fprintf(stderr,
			"dagrun: job %s was stopped while it published, and what was there before cannot be "
			"put back; see %s/publication\n",
			job->id, job->folder);
		return EXIT_FAILURE;
	}
	jobs_remove_spool(job->id);
	if (file)
		unlink(file);
	os_remove_tree(job->folder);
	printf("removed %s\n", job->id);
	return 0;
}

static bool is_named(const struct job_info *job, char **names, int n)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(names[i], job->id))
			return true;
	return false;
}

static bool is_due(const struct settings *s, const struct job_info *job)
{
	const char *began = journal_meta(&job->saved, "began");

	if (job->state == JOB_RUNNING)
		return false;
	if (s->all)
		return true;
	if (job->state == JOB_UNBEGUN) /* nobody can resume it */
		return true;
	return (job->state == JOB_DONE || job->state == JOB_FAILED) && began &&
	       (long long)time(NULL) - strtoll(began, NULL, 10) >= s->old;
}

/* Nobody holds the spool's lock, or will: one that is not there yet may be that of a run that begins. */
static bool is_abandoned(const char *spool)
{
	char *lock = base_format("%s/lock", spool);
	bool ours = false;
	int fd = -1;

	for (int i = 0; i < 20 && !ours; i++) {
		if (i)
			usleep(50000);
		if (fd < 0)
			fd = open(lock, O_RDWR | O_CLOEXEC);
		ours = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
	}
	ours = ours || (fd < 0 && errno == ENOENT);
	if (fd >= 0)
		close(fd);
	free(lock);
	return ours;
}

/* Of runs that were killed before they had a journal. */
static size_t remove_orphans(void)
{
	char *state = os_state_folder(), *parent = base_format("%s/spool", state ? state : "");
	DIR *dir = opendir(parent);
	struct dirent *e;
	size_t n = 0;

	while (dir && (e = readdir(dir))) {
		char *job = base_format(
			     "%s/jobs/%s", state, e->d_name + DAG_MIN(strlen(e->d_name), (size_t)4)),
		     *spool = base_format("%s/%s", parent, e->d_name);

		if (!strncmp(e->d_name, "run-", 4) && access(job, F_OK) < 0 && is_abandoned(spool)) {
			jobs_remove_spool(e->d_name + 4);
			n++;
		}
		free(job);
		free(spool);
	}
	if (dir)
		closedir(dir);
	free(parent);
	free(state);
	return n;
}

static int clean(const struct settings *s, char **names, int n)
{
	size_t count, removed = 0;
	struct job_info *jobs = jobs_scan(false, &count);
	int code = 0;

	for (int i = 0; i < n; i++) {
		bool found = false;

		for (size_t j = 0; j < count; j++)
			found = found || !strcmp(jobs[j].id, names[i]);
		if (!found) {
			fprintf(stderr, "dagrun: there is no job '%s'; 'dagrun jobs' lists them\n", names[i]);
			code = EXIT_INVALID;
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (n ? !is_named(&jobs[i], names, n) : !is_due(s, &jobs[i]))
			continue;
		if (jobs[i].state == JOB_RUNNING) {
			fprintf(stderr, "dagrun: job %s is running\n", jobs[i].id);
			code = EXIT_INVALID;
			continue;
		}
		removed++;
		if (remove_job(&jobs[i]))
			code = EXIT_FAILURE;
	}
	removed += n ? 0 : remove_orphans() + manager_remove_dead_memory();
	if (!removed && !code)
		printf("nothing to remove\n");
	jobs_free(jobs, count);
	return code;
}

static int run(int argc, char **argv)
{
	struct settings s = {.old = OLD_DEFAULT};
	int r = options_parse("dagrun clean", &cli_clean.spec, argc, argv, on_option, &s);

	if (r < 0)
		return EXIT_USAGE;
	if (s.help) {
		options_help("dagrun clean", &cli_clean.spec);
		return 0;
	}
	if (startup("dagrun", 64) < 0)
		return 1;
	return clean(&s, argv + r, argc - r);
}

const struct cli_command cli_clean = {
	{"clean", "[JOB…]", "Removes old jobs, or those named, with all that daemons hold for them.", options,
		DAG_LENGTH(options)},
	run};
