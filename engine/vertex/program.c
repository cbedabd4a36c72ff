/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Program vertices: a child process whose stdin, stdout and named pipes are its ports. Each port that carries
 * data has a pump in a thread of its own, so that no order in which a program uses its ports can block
 * another port.
 */
#include "program.h"
#include "errors.h"
#include "host.h"
#include "scratch.h"
#include "task.h"
#include "writer.h"
#include "os/marks.h"
#include "os/spawn.h"
#include "os/strays.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUMP_STACK (256u << 10)
#define RELEASE_LAST                                                                                         \
	(100 * DAG_MS)     /* between two looks at a thread that waits for the program to open its pipe */
#define STUCK_FIRST_MS 500 /* before one looks what a program with named pipes waits for; it doubles, */
#define STUCK_LAST_MS 4000 /* up to this */

static void add_arg(struct program *prog, const char *data, size_t len)
{
	*DAG_APPEND(prog->argv, prog->argc, prog->argv_cap) = base_strndup(data ? data : "", len);
}

/* ---- environment and files ---- */

static void add_env(struct program *prog, const char *name, const char *format, ...)
{
	va_list args;
	char *value;

	va_start(args, format);
	value = base_vformat(format, args);
	va_end(args);
	for (size_t i = 0; i < prog->env_count; i++)
		if (!strncmp(prog->env[i], name, strlen(name)) && prog->env[i][strlen(name)] == '=') {
			free(prog->env[i]);
			prog->env[i] = base_format("%s=%s", name, value);
			free(value);
			return;
		}
	*DAG_APPEND(prog->env, prog->env_count, prog->env_cap) = base_format("%s=%s", name, value);
	free(value);
}

static int make_environment(struct program *prog)
{
	const struct dag_vertex *v = prog->v;
	const struct stage_spec *spec = &v->stage->spec;
	const char *path = getenv("PATH");
	int r = 0;

	if (getenv(MARK_NAME))
		add_env(prog, MARK_NAME, "%s", getenv(MARK_NAME));
	add_env(prog, "PATH", "%s", path ? path : "/usr/local/bin:/usr/bin:/bin");
	add_env(prog, "LC_ALL", "C");
	add_env(prog, "TZ", "UTC");
	add_env(prog, "HOME", "%s", v->scratch);
	add_env(prog, "TMPDIR", "%s", v->scratch);
	add_env(prog, "DAGRUN_JOB", "%s", spec->job);
	add_env(prog, "DAGRUN_STAGE", "%s", v->stage_name);
	add_env(prog, "DAGRUN_INDEX", "%u", v->index);
	add_env(prog, "DAGRUN_WIDTH", "%u", v->width);
	add_env(prog, "DAGRUN_ATTEMPT", "%u", v->attempt);
	if (v->argument_len)
		add_env(prog, "DAGRUN_ARGUMENT", "%s", v->argument);
	for (uint32_t i = 0; i < spec->env_count && r == 0; i++) {
		struct buffer b = {0};

		r = ports_expand(prog, spec->env[i].value, &b);
		add_env(prog, spec->env[i].name, "%.*s", (int)b.len, b.data ? (char *)b.data : "");
		buffer_fini(&b);
	}
	*DAG_APPEND(prog->env, prog->env_count, prog->env_cap) = NULL;
	return r;
}

/* The folders that a name goes through; one that is there may be of another file. */
static int make_folders(const char *path, size_t scratch)
{
	char *folder = base_strdup(path);
	int r = 0;

	for (char *slash = folder + scratch + 1; r == 0 && (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = 0;
		if (mkdir(folder, 0700) < 0 && errno != EEXIST)
			r = -1;
	}
	free(folder);
	return r;
}

static int link_files(struct program *prog)
{
	const struct stage_spec *spec = &prog->v->stage->spec;

	for (uint32_t i = 0; i < spec->file_count; i++) {
		char *path = base_format("%s/%s", prog->v->scratch, spec->files[i].name);
		int r = make_folders(path, strlen(prog->v->scratch));

		if (r == 0)
			r = symlink(spec->files[i].value, path);

		free(path);
		if (r < 0)
			return task_fail(prog->v, DAG_EIO,
				base_format("cannot place the file '%s': %s", spec->files[i].name,
					strerror(errno)));
	}
	return 0;
}

/* ---- the run ---- */

static int make_pipes(struct program *prog)
{
	const struct stage_spec *spec = &prog->v->stage->spec;
	int fds[2];

	prog->child_fds[0] = prog->child_fds[1] = -1;
	if (spec->in_count && spec->in_joined[0] && !prog->in_named[0]) {
		if (pipe2(fds, O_CLOEXEC) < 0)
			return task_fail(
				prog->v, DAG_EIO, base_format("cannot make a pipe: %s", strerror(errno)));
		prog->child_fds[0] = fds[0];
		fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
		ports_add_pump(prog, false, 0, ALL_PRODUCERS, fds[1], NULL);
	}
	if (spec->out_count && !prog->out_named[0] && prog->v->port_stream_count[0]) {
		if (pipe2(fds, O_CLOEXEC) < 0)
			return task_fail(
				prog->v, DAG_EIO, base_format("cannot make a pipe: %s", strerror(errno)));
		prog->child_fds[1] = fds[1];
		fcntl(fds[0], F_SETPIPE_SZ, 1 << 20);
		ports_add_pump(prog, true, 0, ALL_PRODUCERS, fds[0], NULL);
	}
	return 0;
}

static void join_pumps(struct program *prog)
{
	for (size_t i = 0; i < prog->threads; i++) {
		struct pump *p = &prog->pumps[i];
		dag_instant pause = DAG_MS;

		while (pthread_tryjoin_np(p->thread, NULL) != 0) {
			struct timespec soon;

			pump_release(p);
			clock_gettime(CLOCK_REALTIME, &soon);
			soon.tv_nsec += pause;
			if (soon.tv_nsec >= DAG_SECOND) {
				soon.tv_sec++;
				soon.tv_nsec -= DAG_SECOND;
			}
			if (pthread_timedjoin_np(p->thread, NULL, &soon) == 0)
				break;
			pause = DAG_MIN(pause * 2, RELEASE_LAST);
		}
	}
}

static int judge_exit(struct program *prog, const siginfo_t *info)
{
	struct dag_vertex *v = prog->v;
	const struct stage_spec *spec = &v->stage->spec;
	char *more;

	if (v->error)
		return v->error;
	/* Ended because nobody reads it any more, by SIGPIPE or in its own words: that is success. */
	if (writer_all_closed(v))
		return 0;
	if (info->si_code != CLD_EXITED) {
		v->signal = info->si_status;
		return task_fail(v, DAG_ESIGNAL,
			base_format("%s was killed by signal %d (%s)", prog->argv[0], info->si_status,
				strsignal(info->si_status)));
	}
	v->exit_code = info->si_status;
	for (uint32_t i = 0; i < spec->exit_ok_count; i++)
		if (spec->exit_ok[i] == info->si_status)
			return 0;
	more = spawn_explain_exit(spec->plugin ? spec->plugin : prog->argv[0], info->si_status);
	task_fail(v, DAG_EFAILED,
		base_format("%s ended with exit code %d%s", prog->argv[0], info->si_status, more));
	free(more);
	return DAG_EFAILED;
}

static void end_strays(struct host *host, pid_t pid)
{
	pthread_mutex_lock(&host->lock);
	for (size_t i = 0; i < host->programs.count; i++)
		if (host->programs.pids[i] == pid)
			host->programs.pids[i] = host->programs.pids[--host->programs.count];
	/* A plugin's own children beside it are in the host's process group, programs are not. */
	strays_end(host->programs.pids, host->programs.count, host->run.task_count > 1);
	pthread_mutex_unlock(&host->lock);
}

/* The threads that carry its ports. Where there is no room for one, the program ends. */
static void begin_pumps(struct program *prog)
{
	struct dag_vertex *v = prog->v;
	pthread_attr_t small;
	int error = 0;

	/* Threads of this program may wait for each other as well as for the daemon. */
	pthread_mutex_lock(&v->host->lock);
	host_add_threads(v->host, (int)prog->pump_count);
	pthread_mutex_unlock(&v->host->lock);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, PUMP_STACK);
	for (; prog->threads < prog->pump_count && !error; prog->threads += !error) {
		struct pump *p = &prog->pumps[prog->threads];

		error = pthread_create(&p->thread, &small, pump_run, p);
	}
	pthread_attr_destroy(&small);
	if (!error)
		return;
	task_fail(v, DAG_EBUSY,
		base_format(
			"cannot start thread %zu of %zu for the ports of %s: %s (see 'ulimit -u', and the "
			"container's limit of processes)",
			prog->threads + 1, prog->pump_count, prog->argv[0], strerror(error)));
	kill(-prog->pid, SIGKILL);
	for (size_t i = prog->threads; i < prog->pump_count; i++)
		if (prog->pumps[i].fd >= 0)
			close(prog->pumps[i].fd);
}

/* Until it has ended. Meanwhile one looks now and then whether it waits for what will never come. */
static void await_end(struct program *prog, siginfo_t *ret_info)
{
	struct pollfd end = {prog->pidfd, POLLIN, 0};
	bool paths = false;
	int pause_ms = STUCK_FIRST_MS;

	for (size_t i = 0; i < prog->pump_count && !paths; i++)
		paths = prog->pumps[i].path;
	while (paths && poll(&end, 1, pause_ms) == 0) {
		stuck_look(prog);
		pause_ms = prog->seen ? STUCK_FIRST_MS : DAG_MIN(pause_ms * 2, STUCK_LAST_MS);
	}
	while (waitid(P_PID, (id_t)prog->pid, ret_info, WEXITED) < 0 && errno == EINTR)
		;
}

static int spawn(struct program *prog)
{
	struct dag_vertex *v = prog->v;
	const struct stage_spec *spec = &v->stage->spec;
	struct spawn spawn = {.path = spec->plugin ? spec->plugin : prog->argv[0],
		.found = v->stage->found,
		.argv = prog->argv,
		.env = prog->env,
		.folder = v->scratch,
		/* What nobody reads of it stands with its messages. */
		.fds = {prog->child_fds[0], prog->child_fds[1] >= 0 ? prog->child_fds[1] : ERRORS_FD,
			ERRORS_FD},
		.fd_count = 3};
	int r;

	/* Under the lock, or a thread whose program ends would take it for a stray. */
	pthread_mutex_lock(&v->host->lock);
	r = spawn_process(&spawn, &prog->pid, &prog->pidfd);
	if (r == 0)
		v->host->programs.pids[v->host->programs.count++] = prog->pid;
	pthread_mutex_unlock(&v->host->lock);
	if (r < 0)
		task_fail(v, r, spawn_explain(&spawn, errno));
	for (int i = 0; i < 2; i++)
		if (prog->child_fds[i] >= 0)
			close(prog->child_fds[i]);
	return r;
}

static int start_and_wait(struct program *prog)
{
	struct dag_vertex *v = prog->v;
	siginfo_t info = {0};
	int r = spawn(prog);

	if (r < 0) {
		for (size_t i = 0; i < prog->pump_count; i++)
			if (prog->pumps[i].fd >= 0)
				close(prog->pumps[i].fd);
		return r;
	}
	begin_pumps(prog);
	await_end(prog, &info);
	/* What the program left behind would hold its pipes open, and outlive its attempt. */
	kill(-prog->pid, SIGKILL);
	end_strays(v->host, prog->pid);
	atomic_store(&prog->ended, true);
	join_pumps(prog);
	close(prog->pidfd);
	pthread_mutex_lock(&v->host->lock);
	host_add_threads(v->host, -(int)prog->pump_count);
	pthread_mutex_unlock(&v->host->lock);
	return judge_exit(prog, &info);
}

int program_run(struct dag_vertex *v)
{
	struct program prog = {.v = v, .pidfd = -1};
	const struct stage_spec *spec = &v->stage->spec;
	int r = 0;

	if (!scratch_make(v))
		return v->error;
	r = ports_survey(&prog);
	if (r == 0)
		r = link_files(&prog);
	for (uint32_t i = 0; i < spec->argc && r == 0; i++)
		r = ports_expand_arg(&prog, spec->argv[i], add_arg);
	*DAG_APPEND(prog.argv, prog.argc, prog.argv_cap) = NULL;
	if (r == 0)
		r = make_environment(&prog);
	if (r == 0)
		r = make_pipes(&prog);
	if (r == 0)
		r = start_and_wait(&prog);
	for (size_t i = 0; i < prog.argc; i++)
		free(prog.argv[i]);
	for (size_t i = 0; i < prog.env_count; i++)
		free(prog.env[i]);
	ports_fini(&prog);
	free(prog.argv);
	free(prog.env);
	return v->error ? v->error : r;
}
