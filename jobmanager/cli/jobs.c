/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun jobs: what lies in the state folder. */
#include "cli.h"
#include "jobmanager/history.h"
#include "os/os.h"
#include "os/print.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REASON_BYTES_MAX 200 /* in the list */
#define LOOK_BACK 100        /* jobs, when one starts: to look at all of a thousand takes 3 ms */

static const char *const state_names[] = {"running", "done", "failed", "unfinished", "not begun", "damaged"};

/* One that somebody ended has not failed. */
static const char *state_text(const struct job_info *job)
{
	char cancelled[32];

	snprintf(cancelled, sizeof(cancelled), "ended %d ", DAG_ECANCELED);
	if (job->state == JOB_FAILED && !strncmp(journal_last(&job->saved), cancelled, strlen(cancelled)))
		return "cancelled";
	return state_names[job->state];
}

const char *job_end_text(const char *fact)
{
	for (int i = 0; i < 2; i++) {
		fact += strcspn(fact, " ");
		fact += *fact == ' ';
	}
	return fact;
}

/* r: what became of locking its folder. */
static void look_at(struct job_info *job, int r)
{
	int loaded;
	struct dag_diag diag = {0};
	const char *last;

	loaded = journal_load(job->folder, false, &job->saved, &diag);
	if (loaded < 0) {
		job->state = r == DAG_EBUSY           ? JOB_RUNNING
			     : loaded == DAG_EMISSING ? JOB_UNBEGUN
						      : JOB_DAMAGED;
		job->problem = base_strdup(diag.count                  ? diag.items[0].text
					   : job->state == JOB_RUNNING ? "it begins"
								       : "it was ended before it began");
		dag_diag_fini(&diag);
		return;
	}
	last = journal_last(&job->saved);
	job->state = r == DAG_EBUSY                 ? JOB_RUNNING
		     : !strncmp(last, "ended 0", 7) ? JOB_DONE
		     : !strncmp(last, "ended", 5)   ? JOB_FAILED
						    : JOB_UNFINISHED;
}

static int is_job(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

/* True where the job is of those that are asked for; it is then locked, unless it runs. */
static bool add_job(struct job_info *job, const char *parent, const char *id, bool unfinished)
{
	char *folder = base_format("%s/%s", parent, id), *ended = base_format("%s/ended", folder);
	struct statx st;
	int lock_fd = -1,
	    r = unfinished && access(ended, F_OK) == 0 ? DAG_EMISSING : journal_lock(folder, false, &lock_fd);

	free(ended);
	if (r == DAG_EMISSING || (unfinished && r == DAG_EBUSY)) {
		free(folder);
		return false;
	}
	*job = (struct job_info){.id = base_strdup(id), .folder = folder, .lock_fd = r < 0 ? -1 : lock_fd};
	look_at(job, r);
	if (statx(AT_FDCWD, job->folder, 0, STATX_BTIME, &st) == 0 && (st.stx_mask & STATX_BTIME))
		job->made_at = st.stx_btime.tv_sec * DAG_SECOND + st.stx_btime.tv_nsec;
	return true;
}

/* Two of the same second: their names say no more. */
static int compare_jobs(const void *a, const void *b)
{
	const struct job_info *x = a, *y = b;
	int r = strncmp(x->id, y->id, strlen("20261121-143005"));

	r = r ? r : (x->made_at > y->made_at) - (x->made_at < y->made_at);
	return r ? r : strcmp(x->id, y->id);
}

struct job_info *jobs_scan(bool unfinished, size_t *ret_count)
{
	char *state = os_state_folder(), *parent = base_format("%s/jobs", state ? state : "");
	struct dirent **names = NULL;
	int n = scandir(parent, &names, is_job, alphasort);
	struct job_info *jobs = base_alloc((size_t)DAG_MAX(n, 1) * sizeof(*jobs));

	*ret_count = 0;
	for (int i = 0; i < n; i++) {
		/* Names begin with the time. */
		if ((!unfinished || n - i <= LOOK_BACK) &&
			add_job(&jobs[*ret_count], parent, names[i]->d_name, unfinished))
			++*ret_count;
		free(names[i]);
	}
	qsort(jobs, *ret_count, sizeof(*jobs), compare_jobs);
	free(names);
	free(state);
	free(parent);
	return jobs;
}

void jobs_free(struct job_info *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(jobs[i].id);
		free(jobs[i].folder);
		free(jobs[i].problem);
		journal_saved_fini(&jobs[i].saved);
		if (jobs[i].lock_fd >= 0)
			close(jobs[i].lock_fd);
	}
	free(jobs);
}

enum option { JSON, HELP };

static const struct option_spec options[] = {
	[JSON] = {"json", 'j', NULL, "prints JSON"},
	[HELP] = {"help", 'h', NULL, "this text"},
};

struct settings {
	bool json, help;
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;

	(void)value;
	if (option == JSON)
		s->json = true;
	else
		s->help = true;
	return 0;
}

static long long age_of(const struct job_info *job)
{
	const char *began = journal_meta(&job->saved, "began");

	return began          ? (long long)time(NULL) - strtoll(began, NULL, 10)
	       : job->made_at ? (long long)time(NULL) - job->made_at / DAG_SECOND
			      : -1;
}

static char *format_age(long long age)
{
	if (age < 0)
		return base_strdup("-");
	if (age < 120)
		return base_format("%lld s", age);
	if (age < 7200)
		return base_format("%lld min", age / 60);
	return age < 48 * 3600 ? base_format("%lld h", age / 3600) : base_format("%lld days", age / 86400);
}

/* In the list, the reason alone; what the vertex wrote to its stderr is shown with the job. */
static void print_reason(const char *text)
{
	const char *tail = strstr(text, " its stderr ended:");
	int len = (int)(tail ? (size_t)(tail - text) : strlen(text));

	while (len && strchr(" \n", text[len - 1]))
		len--;
	printf("%24s %.*s%s\n", "", DAG_MIN(len, REASON_BYTES_MAX), text, len > REASON_BYTES_MAX ? "…" : "");
}

static void print_table(const struct job_info *jobs, size_t n)
{
	if (!n)
		printf("no jobs\n");
	else
		printf("%-24s %-11s %9s  %s\n", "job", "state", "age", "graph");
	for (size_t i = 0; i < n; i++) {
		const struct job_info *j = &jobs[i];
		const char *file = journal_meta(&j->saved, "path");
		char *age = format_age(age_of(j));

		printf("%-24s %-11s %9s  %s\n", j->id, state_text(j), age,
			j->problem ? j->problem
			: file     ? file
				   : "");
		if (!strcmp(state_text(j), "failed") && j->saved.fact_count)
			print_reason(job_end_text(journal_last(&j->saved)));
		free(age);
	}
}

/* As JSON can have it, which is UTF-8 alone: words of a job may be anything. */
static json_t *json_text(const char *text)
{
	char *clean = base_strdup(text ? text : "");
	json_t *json;

	print_clean(clean);
	json = json_string(clean);
	free(clean);
	return json;
}

static void print_json(const struct job_info *jobs, size_t n)
{
	json_t *root = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct job_info *j = &jobs[i];
		const char *file = journal_meta(&j->saved, "file"), *graph = journal_meta(&j->saved, "graph");

		json_array_append_new(root,
			json_pack("{s:s, s:s, s:I, s:i, s:o, s:o}", "job", j->id, "state", state_text(j),
				"age_s", (json_int_t)age_of(j), "epoch", (int)j->saved.epoch, "graph",
				json_text(graph), "file", json_text(file)));
	}
	json_dumpf(root, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(root);
}

static void print_job_json(
	const struct job_info *job, const struct graph *graph, const struct journal_saved *saved)
{
	json_t *stages = json_array(), *root;
	struct jm *jm = history_replay(graph, saved);
	const char *reason = job->state == JOB_FAILED ? job_end_text(journal_last(saved)) : "";

	for (uint32_t i = 0; i < graph->stage_count; i++) {
		struct jm_stage_view v;

		if (graph->stages[i]->kind == GRAPH_INPUT)
			continue;
		jm_stage_view(jm, i, &v);
		json_array_append_new(
			stages, json_pack("{s:o, s:i, s:i, s:I, s:I, s:f}", "stage",
					json_text(graph->stages[i]->name), "width", (int)v.width, "done",
					(int)v.done, "attempts", (json_int_t)v.attempts, "failed",
					(json_int_t)v.failures, "run_s", (double)v.run_ns / DAG_SECOND));
	}
	root = json_pack("{s:s, s:o, s:s, s:i, s:o, s:o}", "job", job->id, "graph", json_text(graph->name),
		"state", state_text(job), "epoch", (int)saved->epoch, "reason", json_text(reason), "stages",
		stages);
	json_dumpf(root, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(root);
	jm_destroy(&jm);
}

static void print_said(const struct job_info *job)
{
	char *path = base_format("%s/" SAID_FILE, job->folder);

	if (access(path, R_OK) == 0)
		printf("what its vertices wrote to stderr: %s\n", path);
	free(path);
}

static int show_job(const struct job_info *job, bool json)
{
	struct journal_saved saved = {0};
	struct cli_earlier earlier = {0};
	struct dag_diag diag = {0};
	int r;

	if (job->state == JOB_UNBEGUN) {
		printf("job %s: %s\n", job->id, job->problem);
		return 0;
	}
	r = journal_load(job->folder, true, &saved, &diag) < 0 ? EXIT_INVALID : 0;
	cli_print(&diag);
	if (r == 0)
		r = cli_earlier_load(&earlier, job->id, &saved);
	if (r == 0 && json) {
		print_job_json(job, earlier.graph.graph, &saved);
	} else if (r == 0) {
		const char *last = journal_last(&saved);

		printf("job %s of '%s': %s", job->id, earlier.graph.graph->name, state_text(job));
		if (saved.epoch > 1)
			printf(", resumed %u times", saved.epoch - 1);
		printf("%s%s\n", job->state == JOB_FAILED ? ": " : "",
			job->state == JOB_FAILED ? job_end_text(last) : "");
		history_print(earlier.graph.graph, &saved);
		print_said(job);
	}
	cli_earlier_fini(&earlier);
	journal_saved_fini(&saved);
	return r;
}

static int show(const struct job_info *jobs, size_t n, const char *id, bool json)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(jobs[i].id, id))
			return show_job(&jobs[i], json);
	fprintf(stderr, "dagrun: there is no job '%s'; 'dagrun jobs' lists them\n", id);
	return EXIT_INVALID;
}

static int run(int argc, char **argv)
{
	struct settings s = {0};
	int r = options_parse("dagrun jobs", &cli_jobs.spec, argc, argv, on_option, &s);
	struct job_info *jobs;
	int code = 0;
	size_t n;

	if (r < 0)
		return EXIT_USAGE;
	if (s.help) {
		options_help("dagrun jobs", &cli_jobs.spec);
		return 0;
	}
	if (r + 1 < argc) {
		fprintf(stderr, "dagrun: unexpected '%s'; see 'dagrun jobs --help'\n", argv[r + 1]);
		return EXIT_USAGE;
	}
	if (startup("dagrun", 64) < 0)
		return 1;
	jobs = jobs_scan(false, &n);
	if (r < argc)
		code = show(jobs, n, argv[r], s.json);
	else if (s.json)
		print_json(jobs, n);
	else
		print_table(jobs, n);
	jobs_free(jobs, n);
	return code;
}

const struct cli_command cli_jobs = {
	{"jobs", "[JOB]", "Lists the jobs of this machine with their states and ages, or what became of one.",
		options, DAG_LENGTH(options)},
	run};
