/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Program vertices: a child process whose stdin, stdout and named pipes are its ports. Each port that carries
 * data has a pump in a thread of its own, so that no order in which a program uses its ports can block
 * another port.
 */
#include "pump.h"
#include "graph/words.h"
#include "os/spawn.h"
#include "os/strays.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct program {
	struct dag_vertex *v;
	struct pump *pumps;
	size_t pump_count, pump_cap;
	bool in_named[GRAPH_PORTS_MAX], out_named[GRAPH_PORTS_MAX];
	char **argv;
	size_t argc, argv_cap;
	char **env;
	size_t env_count, env_cap;
	int child_fds[3];
	int pidfd;
};

static void add_pump(struct program *prog, bool out, uint32_t port, uint32_t producer, int fd, char *path)
{
	*DAG_APPEND(prog->pumps, prog->pump_count, prog->pump_cap) = (struct pump){.v = prog->v,
		.pidfd = &prog->pidfd,
		.out = out,
		.port = port,
		.producer = producer,
		.fd = fd,
		.path = path};
}

/* ---- ports as paths ---- */

static int make_fifo(struct program *prog, bool out, uint32_t port, uint32_t producer, char *path)
{
	if (mkfifo(path, 0600) < 0 && errno != EEXIST) {
		int r = task_fail(prog->v, DAG_EIO,
			base_format("cannot make the named pipe %s: %s", path, strerror(errno)));

		free(path);
		return r;
	}
	for (size_t i = 0; i < prog->pump_count; i++)
		if (prog->pumps[i].path && !strcmp(prog->pumps[i].path, path)) {
			free(path); /* named twice: one pipe */
			return 0;
		}
	add_pump(prog, out, port, producer, -1, path);
	return 0;
}

/* {in.N:file}: the whole input, before the program starts. */
static int make_file(struct program *prog, uint32_t port, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct pump p = {
		.v = prog->v, .pidfd = &prog->pidfd, .port = port, .producer = ALL_PRODUCERS, .fd = fd};

	if (fd < 0)
		return errno == EEXIST ? 0
				       : task_fail(prog->v, DAG_EIO,
						 base_format("cannot make %s: %s", path, strerror(errno)));
	pump_in(&p);
	close(fd);
	return prog->v->error;
}

/* The text that stands for a port is added to b. */
static int expand_port(struct program *prog, const struct word *ph, uint32_t producer, struct buffer *b)
{
	const char *scratch = prog->v->scratch;
	char *path;
	int r;

	if (ph->kind == WORD_OUT) {
		prog->out_named[ph->port] = true;
		path = base_format("%s/out.%u", scratch, ph->port);
		buffer_format(b, "%s", path);
		return make_fifo(prog, true, ph->port, ALL_PRODUCERS, path);
	}
	prog->in_named[ph->port] = true;
	if (ph->each) {
		path = base_format("%s/in.%u.%u", scratch, ph->port, producer);
		buffer_format(b, "%s", path);
		return make_fifo(prog, false, ph->port, producer, path);
	}
	path = base_format("%s/in.%u%s", scratch, ph->port, ph->file ? ".file" : "");
	buffer_format(b, "%s", path);
	if (!ph->file)
		return make_fifo(prog, false, ph->port, ALL_PRODUCERS, path);
	r = make_file(prog, ph->port, path);
	free(path);
	return r;
}

static void add_arg(struct program *prog, const char *data, size_t len)
{
	*DAG_APPEND(prog->argv, prog->argc, prog->argv_cap) = base_strndup(data ? data : "", len);
}

/* A word within a text; for `each` its paths, with blanks between. */
static int expand_word(struct program *prog, const struct word *w, struct buffer *b)
{
	uint32_t count = w->each ? prog->v->in[w->port].producers : 1;
	int r = 0;

	if (w->kind == WORD_TEXT)
		buffer_append(b, w->text, w->len);
	else if (w->kind == WORD_INDEX || w->kind == WORD_WIDTH)
		buffer_format(b, "%u", w->kind == WORD_INDEX ? prog->v->index : prog->v->width);
	else
		for (uint32_t i = 0; i < count && r == 0; i++) {
			if (i)
				buffer_append(b, " ", 1);
			r = expand_port(prog, w, i, b);
		}
	return r;
}

static int expand_text(struct program *prog, const char *text, struct buffer *b)
{
	struct word w;
	int r = 0;

	while (*text && r == 0) {
		text += words_next(text, &w);
		r = expand_word(prog, &w, b);
	}
	return r;
}

static int expand_arg(struct program *prog, const char *arg)
{
	struct buffer b = {0};
	struct word w;
	int r = 0;

	/* A whole argument that is {in.N.*} becomes one argument a producer. */
	if (*arg && !arg[words_next(arg, &w)] && w.each) {
		for (uint32_t i = 0; i < prog->v->in[w.port].producers && r == 0; i++) {
			b.len = 0;
			r = expand_port(prog, &w, i, &b);
			add_arg(prog, (char *)b.data, b.len);
		}
		buffer_fini(&b);
		return r;
	}
	r = expand_text(prog, arg, &b);
	add_arg(prog, (char *)b.data, b.len);
	buffer_fini(&b);
	return r;
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

		r = expand_text(prog, spec->env[i].value, &b);
		add_env(prog, spec->env[i].name, "%.*s", (int)b.len, b.data ? (char *)b.data : "");
		buffer_fini(&b);
	}
	*DAG_APPEND(prog->env, prog->env_count, prog->env_cap) = NULL;
	return r;
}

static int link_files(struct program *prog)
{
	const struct stage_spec *spec = &prog->v->stage->spec;

	for (uint32_t i = 0; i < spec->file_count; i++) {
		char *path = base_format("%s/%s", prog->v->scratch, spec->files[i].name);
		int r = symlink(spec->files[i].value, path);

		free(path);
		if (r < 0 && errno != EEXIST)
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
	prog->child_fds[2] = 2;
	if (spec->in_count && spec->in_joined[0] && !prog->in_named[0]) {
		if (pipe2(fds, O_CLOEXEC) < 0)
			return task_fail(
				prog->v, DAG_EIO, base_format("cannot make a pipe: %s", strerror(errno)));
		prog->child_fds[0] = fds[0];
		fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
		add_pump(prog, false, 0, ALL_PRODUCERS, fds[1], NULL);
	}
	if (spec->out_count && !prog->out_named[0] && prog->v->port_stream_count[0]) {
		if (pipe2(fds, O_CLOEXEC) < 0)
			return task_fail(
				prog->v, DAG_EIO, base_format("cannot make a pipe: %s", strerror(errno)));
		prog->child_fds[1] = fds[1];
		fcntl(fds[0], F_SETPIPE_SZ, 1 << 20);
		add_pump(prog, true, 0, ALL_PRODUCERS, fds[0], NULL);
	}
	return 0;
}

/* A pump may still wait for a program that has ended to open its named pipe: open the other end once. */
static void release_fifos(struct program *prog)
{
	for (size_t i = 0; i < prog->pump_count; i++) {
		struct pump *p = &prog->pumps[i];
		int fd;

		if (!p->path)
			continue;
		fd = open(p->path, (p->out ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0)
			close(fd);
	}
}

static void join_pumps(struct program *prog)
{
	for (size_t i = 0; i < prog->pump_count; i++) {
		struct timespec soon;

		do {
			release_fifos(prog);
			clock_gettime(CLOCK_REALTIME, &soon);
			soon.tv_nsec += 100000000;
			if (soon.tv_nsec >= 1000000000) {
				soon.tv_sec++;
				soon.tv_nsec -= 1000000000;
			}
		} while (pthread_timedjoin_np(prog->pumps[i].thread, NULL, &soon) != 0);
	}
}

static int judge_exit(struct program *prog, const siginfo_t *info)
{
	struct dag_vertex *v = prog->v;
	const struct stage_spec *spec = &v->stage->spec;

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
	return task_fail(
		v, DAG_EFAILED, base_format("%s ended with exit code %d", prog->argv[0], info->si_status));
}

static void end_strays(struct host *host, pid_t pid)
{
	pthread_mutex_lock(&host->lock);
	for (size_t i = 0; i < host->program_count; i++)
		if (host->programs[i] == pid)
			host->programs[i] = host->programs[--host->program_count];
	/* A plugin's own children beside it are in the host's process group, programs are not. */
	strays_end(host->programs, host->program_count, host->task_count > 1);
	pthread_mutex_unlock(&host->lock);
}

static int start_and_wait(struct program *prog)
{
	struct dag_vertex *v = prog->v;
	const struct stage_spec *spec = &v->stage->spec;
	struct spawn spawn = {.path = spec->plugin ? spec->plugin : prog->argv[0],
		.found = v->stage->found,
		.argv = prog->argv,
		.env = prog->env,
		.folder = v->scratch,
		.fds = {prog->child_fds[0], prog->child_fds[1], 2},
		.fd_count = 3};
	siginfo_t info = {0};
	int pidfd, r;
	pid_t pid;

	/* Under the lock, or a thread whose program ends would take it for a stray. */
	pthread_mutex_lock(&v->host->lock);
	r = spawn_process(&spawn, &pid, &pidfd);
	if (r == 0)
		v->host->programs[v->host->program_count++] = pid;
	pthread_mutex_unlock(&v->host->lock);
	for (int i = 0; i < 2; i++)
		if (prog->child_fds[i] >= 0)
			close(prog->child_fds[i]);
	if (r < 0) {
		for (size_t i = 0; i < prog->pump_count; i++)
			if (prog->pumps[i].fd >= 0)
				close(prog->pumps[i].fd);
		return task_fail(
			v, r, base_format("cannot start program '%s': %s", prog->argv[0], strerror(errno)));
	}
	prog->pidfd = pidfd;
	/* Threads of this program may wait for each other as well as for the daemon. */
	pthread_mutex_lock(&v->host->lock);
	v->host->threads += (int)prog->pump_count;
	pthread_mutex_unlock(&v->host->lock);
	for (size_t i = 0; i < prog->pump_count; i++)
		DAG_ASSERT(pthread_create(&prog->pumps[i].thread, NULL, pump_run, &prog->pumps[i]) == 0);
	while (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0 && errno == EINTR)
		;
	/* What the program left behind would hold its pipes open, and outlive its attempt. */
	kill(-pid, SIGKILL);
	end_strays(v->host, pid);
	join_pumps(prog);
	close(pidfd);
	pthread_mutex_lock(&v->host->lock);
	v->host->threads -= (int)prog->pump_count;
	pthread_mutex_unlock(&v->host->lock);
	return judge_exit(prog, &info);
}

int program_run(struct dag_vertex *v)
{
	struct program prog = {.v = v, .pidfd = -1};
	const struct stage_spec *spec = &v->stage->spec;
	int r = 0;

	if (!task_scratch(v))
		return v->error;
	r = link_files(&prog);
	for (uint32_t i = 0; i < spec->argc && r == 0; i++)
		r = expand_arg(&prog, spec->argv[i]);
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
	for (size_t i = 0; i < prog.pump_count; i++)
		free(prog.pumps[i].path);
	free(prog.argv);
	free(prog.env);
	free(prog.pumps);
	return v->error ? v->error : r;
}
