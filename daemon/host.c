/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host processes: started, fed, listened to, buried. A host belongs to one job and is used for vertex after
 * vertex; it is killed after a failure, so that the next attempt meets a fresh one.
 */
#include "node.h"
#include "os/os.h"
#include "os/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STDERR_CHUNK 65536
#define STDERR_CHUNKS_MAX                                                                                    \
	64 /* that a vertex can have in its pipe, where nobody writes to it any more: more than enough */
#define ORPHAN_TIME (3 * DAG_SECOND) /* that a host whose guard was killed has for its end */

/* ---- stderr ---- */

/* False where there is no more now. */
static bool read_stderr(struct host *host)
{
	char chunk[STDERR_CHUNK];
	ssize_t n;

	atomic_fetch_add(&host->status->errors_looks, 1);
	n = read(host->stderr_fd, chunk, sizeof(chunk));
	if (n > 0)
		excerpt_add(&host->errors, chunk, (size_t)n);
	/* Nobody has it open any more, and its poll would never be still. */
	if (n == 0 && !host->dead)
		uv_poll_stop(&host->stderr_poll);
	return n > 0;
}

static void on_stderr(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	/* One chunk a turn: a vertex that writes without end costs time, never memory. */
	read_stderr(poll->data);
}

void host_take_stderr(struct host *host, struct attempt *a)
{
	for (int i = 0; i < STDERR_CHUNKS_MAX && read_stderr(host); i++)
		;
	free(a->run->stderr_tail);
	a->run->stderr_tail = excerpt_last_lines(&host->errors, STDERR_LINES);
	a->run->stderr_bytes = host->errors.total;
	/* Those that run beside each other in one host write to one pipe. */
	if (a->run->group_size <= 1)
		excerpt_clear(&host->errors);
}

/* ---- its end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
	struct host *host = handle->data;

	if (--host->handles)
		return;
	close(host->sock);
	close(host->pidfd);
	close(host->stderr_fd);
	close(host->bell);
	munmap(host->status, sizeof(*host->status));
	excerpt_fini(&host->errors);
	free(host->refused);
	free(host->task_room);
	free(host->grants);
	free(host->packet);
	free(host->inbox);
	free(host->out);
	buffer_fini(&host->tail);
	buffer_fini(&host->given);
	free(host->stages);
	free(host);
}

static void bury(struct host *host)
{
	struct daemon *d = host->daemon;
	struct known_segment *k, *next;

	host->dead = true;
	host_free_cpus(host);
	host_end_group(host);
	for (struct host **at = &d->hosts; *at; at = &(*at)->next)
		if (*at == host) {
			*at = host->next;
			break;
		}
	HASH_ITER(hh, host->known, k, next) {
		HASH_DEL(host->known, k);
		free(k);
	}
	spool_forget(d->spool, host);
	for (size_t i = 0; i < host->grant_count; i++)
		spool_unref(d->spool, host->grants[i]);
	host->grant_count = 0;
	talk_forget(host);
	uv_close((uv_handle_t *)&host->sock_poll, on_handle_closed);
	uv_close((uv_handle_t *)&host->pid_poll, on_handle_closed);
	uv_close((uv_handle_t *)&host->stderr_poll, on_handle_closed);
}

static char *death_text(struct host *host, struct attempt *a, int signal, int code)
{
	char *how = signal ? host_why_killed(host->daemon, signal,
				     base_format("killed by signal %d (%s)", signal, strsignal(signal)))
			   : base_format("its process ended with exit code %d", code);
	char *text;

	if (atomic_load(&host->status->reading) && atomic_load(&host->status->vertex) == a->key.vertex)
		text = base_format("%s at record %llu of input port %u", how,
			(unsigned long long)atomic_load(&host->status->record) + 1,
			atomic_load(&host->status->port));
	else
		text = base_strdup(how);
	free(how);
	return text;
}

/* Nothing of it runs any more. */
static void on_gone(struct host *host)
{
	struct job *job = host->job;
	int signal = host->end.si_code == CLD_EXITED ? 0 : host->end.si_status,
	    code = host->end.si_code == CLD_EXITED ? host->end.si_status : 0;

	if (!atomic_load(&host->status->left_nothing)) /* its guard was killed, and perhaps it too */
		mark_end(host->mark);
	talk_hear(host); /* it may have ended well before it died */
	ahead_give_back(host);
	while (host->task_count) {
		struct attempt *a = host->tasks[0];

		host_take_stderr(host, a);
		host_remove_task(host, a);
		if (signal == SIGKILL && host->cgroup && !a->run->too_much &&
			cgroup_out_of_memory(host->cgroup))
			a->run->too_much = UINT64_MAX; /* the kernel saw it */
		if (!a->lost && !a->run->too_much && !host->misdeed)
			host_note_position(host, a);
		if (a->lost)
			attempt_fail(a, DAG_ELOST, 0,
				base_strdup(
					"the job manager was gone, or not heard until its lease here ended"));
		else if (a->run->too_much)
			attempt_fail(a, DAG_ELIMIT, 0, host_memory_text(a));
		else if (host->misdeed)
			attempt_fail(a, DAG_EPROTO, 0,
				base_format("its process broke the rules: %s", host->misdeed));
		else if (a->timed_out)
			attempt_fail(a, DAG_ETIMEDOUT, 0, base_strdup("it ran longer than its timeout"));
		else
			attempt_fail(a, signal ? DAG_ESIGNAL : DAG_ENOTSEALED, signal,
				death_text(host, a, signal, code));
	}
	bury(host);
	if (!job->daemon->stopping)
		job_run(job);
}

void host_hung_up(struct host *host)
{
	if (host->ended && host->silent && !host->dead)
		on_gone(host);
}

void host_tick(struct daemon *d)
{
	struct host *h = d->hosts, *next;

	for (; h; h = next) {
		next = h->next;
		if (h->ended && os_now() - h->ended > ORPHAN_TIME)
			on_gone(h);
	}
}

static void on_exit_of_guard(uv_poll_t *poll, int status, int events)
{
	struct host *host = poll->data;

	(void)status;
	(void)events;
	if (waitid(P_PID, (id_t)host->pid, &host->end, WEXITED | WNOHANG) < 0 || !host->end.si_pid)
		return;
	uv_poll_stop(poll);
	host->retiring = true; /* nobody gives it anything more */
	host->ended = os_now();
	/* Where it is the guard that was killed, its host ends what is below it, and closes its socket then.
	 */
	talk_hear(host);
	host_hung_up(host);
}

void host_kill(struct host *host)
{
	host->retiring = true;
	if (host->cgroup)
		cgroup_kill(host->cgroup);
	if (host->ended)
		return;
	kill(host->pid, SIGTERM);
	kill(host->pid, SIGCONT);
}

void host_end_all(struct daemon *d)
{
	for (struct host *h = d->hosts; h; h = h->next)
		host_kill(h);
	while (d->hosts) {
		struct host *h = d->hosts;

		while (!h->ended && waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
			;
		while (h->task_count) {
			struct attempt *a = h->tasks[0];

			host_remove_task(h, a);
			attempt_fail(a, DAG_ECANCELED, 0, base_strdup("the daemon ends"));
		}
		bury(h);
	}
}

/* ---- its start ---- */

/* XDG_STATE_HOME is for those who look whose a guard is: the host itself forgets it. */
static char **host_environment(const char *mark)
{
	static const char *const kept[] = {"XDG_STATE_HOME", "PATH", "LD_LIBRARY_PATH", "ASAN_OPTIONS",
		"UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"};
	char **env = base_alloc((DAG_LENGTH(kept) + 4) * sizeof(*env));
	size_t n = 0;

	for (size_t i = 0; i < DAG_LENGTH(kept); i++)
		if (getenv(kept[i]))
			env[n++] = base_format("%s=%s", kept[i], getenv(kept[i]));
	env[n++] = base_format(MARK_NAME "=%s", mark);
	env[n++] = base_strdup("LC_ALL=C");
	env[n++] = base_strdup("TZ=UTC");
	return env;
}

static int start_host(struct job *job, bool isolate, struct host **ret_host)
{
	struct daemon *d = job->daemon;
	struct host *host = base_alloc(sizeof(*host));
	int socks[2] = {-1, -1}, errs[2] = {-1, -1}, page, bell, r = DAG_EBUSY, error;
	char *argv[] = {d->host_program, "--serve", NULL}, **env;

	mark_write(host->mark, ++d->host_count);
	env = host_environment(host->mark);

	if (!os_has_descriptors()) {
		errno = EMFILE;
		page = bell = -1;
		goto out;
	}
	page = memfd_create("dagrun-status", MFD_CLOEXEC);
	bell = os_bell_new();
	if (page < 0 || bell < 0 || ftruncate(page, sizeof(*host->status)) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0 ||
		pipe2(errs, O_CLOEXEC) < 0)
		goto out;
	host->status = mmap(NULL, sizeof(*host->status), PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
	if (host->status == MAP_FAILED)
		goto out;
	atomic_store(&host->status->slot_free, d->slot_free);
	atomic_store(&host->status->core_free, d->core_free);
	fcntl(socks[0], F_SETFL, O_NONBLOCK);
	fcntl(errs[0], F_SETFL, O_NONBLOCK);
	r = spawn_process(&(struct spawn){.path = d->host_program,
				  .argv = argv,
				  .env = env,
				  .fds = {-1, errs[1], errs[1], socks[1], page, bell, spool_lock(d->spool)},
				  .fd_count = 7},
		&host->pid, &host->pidfd);
out:
	error = errno;
	for (char **e = env; *e; e++)
		free(*e);
	free(env);
	if (page >= 0)
		close(page);
	if (socks[1] >= 0)
		close(socks[1]);
	if (errs[1] >= 0)
		close(errs[1]);
	if (r < 0) {
		if (host->status && host->status != MAP_FAILED)
			munmap(host->status, sizeof(*host->status));
		if (socks[0] >= 0)
			close(socks[0]);
		if (errs[0] >= 0)
			close(errs[0]);
		if (bell >= 0)
			close(bell);
		free(host);
		errno = error;
		return r;
	}
	host->daemon = d;
	host->job = job;
	host->cgroup = d->cgroup ? cgroup_add(d->cgroup, host->pid) : NULL;
	os_bell_ring(bell); /* its guard waits for that */
	host->isolate = isolate;
	host->sock = socks[0];
	excerpt_init(&host->errors, 0, STDERR_TAIL);
	host->stderr_fd = errs[0];
	host->bell = bell;
	host->stages = base_alloc((job->stage_count + 1) * sizeof(uint32_t));
	uv_poll_init(d->loop, &host->sock_poll, host->sock);
	uv_poll_init(d->loop, &host->pid_poll, host->pidfd);
	uv_poll_init(d->loop, &host->stderr_poll, host->stderr_fd);
	host->sock_poll.data = host->pid_poll.data = host->stderr_poll.data = host;
	host->handles = 3;
	talk_begin(host);
	uv_poll_start(&host->pid_poll, UV_READABLE, on_exit_of_guard);
	uv_poll_start(&host->stderr_poll, UV_READABLE, on_stderr);
	host->next = d->hosts;
	d->hosts = host;
	*ret_host = host;
	return 0;
}

int host_get(struct job *job, bool isolate, struct host **ret_host)
{
	for (struct host *h = job->daemon->hosts; h; h = h->next)
		if (h->job == job && !h->task_count && !h->retiring && !isolate && !h->isolate) {
			*ret_host = h;
			return 0;
		}
	return start_host(job, isolate, ret_host);
}

void host_prepare(struct job *job, uint32_t count)
{
	struct host *host;

	for (uint32_t i = 0; i < count; i++)
		if (start_host(job, false, &host) < 0)
			return;
}
