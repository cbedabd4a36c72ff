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

/* ---- what a host says ---- */

static struct attempt *find_task(struct host *host, uint32_t task)
{
	for (size_t i = 0; i < host->task_count; i++)
		if (host->tasks[i]->task == task)
			return host->tasks[i];
	return NULL;
}

static void grant_segment(struct host *host, uint64_t size)
{
	struct host_msg msg = {.kind = HOST_GRANT};
	struct spool_segment *segment;
	int fd = -1;

	msg.u.segment.error =
		size > BLOCK_LEN_MAX * 2ull ? DAG_ELIMIT : spool_take(host->daemon->spool, size, &segment);
	if (!msg.u.segment.error) {
		fd = spool_open(host->daemon->spool, segment, true);
		if (fd < 0) {
			spool_unref(host->daemon->spool, segment);
			msg.u.segment.error = DAG_ENOSPC;
		}
	}
	if (!msg.u.segment.error) {
		msg.u.segment.id = segment->id;
		msg.u.segment.size = segment->size;
		*DAG_APPEND(host->grants, host->grant_count, host->grant_cap) = segment;
	}
	host_send_msg(host, &msg, NULL, 0, fd);
}

static void retire_segment(struct host *host, uint32_t id)
{
	for (size_t i = 0; i < host->grant_count; i++)
		if (host->grants[i]->id == id) {
			struct spool_segment *segment = host->grants[i];

			host->grants[i] = host->grants[--host->grant_count];
			spool_unref(host->daemon->spool, segment);
			return;
		}
}

bool host_has_grant(const struct host *host, uint32_t segment)
{
	for (size_t i = 0; i < host->grant_count; i++)
		if (host->grants[i]->id == segment)
			return true;
	return false;
}

void host_remove_task(struct host *host, struct attempt *a)
{
	for (size_t i = 0; i < host->task_count; i++)
		if (host->tasks[i] == a) {
			memmove(host->tasks + i, host->tasks + i + 1,
				(--host->task_count - i) * sizeof(struct attempt *));
			a->host = NULL;
			return;
		}
}

static void on_live(struct host *host, struct attempt *a, const struct host_msg *msg,
	const struct block_ref *refs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!host_has_grant(host, refs[i].segment) ||
			!serve_append(a, msg->u.live.stream, msg->u.live.part, &refs[i])) {
			host_kill(host);
			return;
		}
}

static void note_skipped(struct attempt *a, const struct host_msg *msg, const void *bytes, size_t len)
{
	Dagrun__Record *r = base_alloc(sizeof(*r));

	dagrun__record__init(r);
	r->port = msg->u.data.port;
	r->producer = msg->u.data.producer;
	r->number = msg->u.data.bytes;
	r->data.data = base_alloc(len + 1);
	r->data.len = len;
	memcpy(r->data.data, bytes, len);
	*DAG_APPEND(a->skipped, a->skipped_count, a->skipped_cap) = r;
}

/* The record that a plugin was at; programs read ahead, so theirs is not known. */
static void note_position(struct host *host, struct attempt *a)
{
	if (a->job->stages[a->stage].spec.kind != GRAPH_PLUGIN || a->group_size > 1 ||
		!atomic_load(&host->status->reading) || atomic_load(&host->status->vertex) != a->key.vertex)
		return;
	a->at_record = true;
	a->at = (struct host_skip){atomic_load(&host->status->port), atomic_load(&host->status->producer),
		atomic_load(&host->status->record)};
}

static void on_host_message(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len)
{
	struct attempt *a;

	switch (msg->kind) {
	case HOST_READY:
		if (msg->u.ready.version != HOST_PROTO_VERSION)
			host_kill(host);
		return;
	case HOST_SPACE:
		grant_segment(host, msg->u.segment.size);
		return;
	case HOST_RETIRE:
		retire_segment(host, msg->u.segment.id);
		return;
	}
	a = find_task(host, msg->task);
	if (!a)
		return;
	switch (msg->kind) {
	case HOST_OPEN:
		input_open(a, msg->u.data.port, msg->u.data.producer);
		break;
	case HOST_CONSUMED:
		input_consumed(a, msg->u.data.port, msg->u.data.producer, msg->u.data.bytes);
		break;
	case HOST_CLOSE:
		input_close(a, msg->u.data.port, msg->u.data.producer);
		break;
	case HOST_LIVE:
		on_live(host, a, msg, tail, tail_len / sizeof(struct block_ref));
		break;
	case HOST_SKIPPED:
		note_skipped(a, msg, tail, tail_len);
		break;
	case HOST_LOG:
		attempt_log(a, tail, tail_len);
		break;
	case HOST_DONE:
		/* It may be freed at its end: the host must have let go of it. */
		host_remove_task(host, a);
		if (msg->u.done.error == DAG_EFAILED)
			note_position(host, a);
		attempt_on_done(a, host, msg, tail, tail_len);
		if (msg->u.done.error || host->isolate) {
			host->retiring = true;
			ahead_give_back(host);
		}
		ahead_begin_next(host);
		if (host->retiring && !host->task_count)
			host_kill(host);
		job_run(host->job);
		break;
	}
}

static void drain_socket(struct host *host)
{
	_Alignas(16) unsigned char tail[HOST_TAIL_MAX];
	struct host_msg msg;
	size_t tail_len;
	int fd, r;

	/* Bounded, so that one host does not keep the loop from the others; the poll is level-triggered. */
	for (int i = 0; i < 256 && host->sock >= 0; i++) {
		r = host_msg_recv(host->sock, &msg, tail, &tail_len, &fd);
		if (fd >= 0)
			close(fd);
		if (r <= 0)
			return;
		on_host_message(host, &msg, tail, tail_len);
	}
}

static void flush_out(struct host *host)
{
	size_t done = 0;

	for (; done < host->out_count; done++) {
		struct host_out *o = &host->out[done];

		if (host_msg_send(host->sock, &o->msg, o->tail, o->tail_len, o->fd) == DAG_EBUSY)
			break;
		if (o->fd >= 0)
			close(o->fd);
		free(o->tail);
	}
	host->out_count -= done;
	memmove(host->out, host->out + done, host->out_count * sizeof(*host->out));
}

static void on_sock(uv_poll_t *poll, int status, int events)
{
	struct host *host = poll->data;

	if (status < 0)
		return;
	if (events & UV_WRITABLE)
		flush_out(host);
	if (events & UV_READABLE)
		drain_socket(host);
	if (host->sock >= 0 && !host->dead)
		uv_poll_start(poll, UV_READABLE | (host->out_count ? UV_WRITABLE : 0), on_sock);
}

void host_send_msg(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len, int fd)
{
	struct host_out *o;

	if (host->dead) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (!host->out_count && host_msg_send(host->sock, msg, tail, tail_len, fd) != DAG_EBUSY) {
		if (fd >= 0)
			close(fd);
		return;
	}
	o = DAG_APPEND(host->out, host->out_count, host->out_cap);
	o->msg = *msg;
	o->fd = fd;
	o->tail_len = tail_len;
	o->tail = base_alloc(tail_len);
	if (tail_len)
		memcpy(o->tail, tail, tail_len);
	uv_poll_start(&host->sock_poll, UV_READABLE | UV_WRITABLE, on_sock);
}

/* ---- stderr ---- */

static void drain_stderr(struct host *host)
{
	char chunk[STDERR_CHUNK];
	ssize_t n;

	/* One chunk a turn: a vertex that writes without end costs time, never memory. */
	n = read(host->stderr_fd, chunk, sizeof(chunk));
	if (n > 0)
		excerpt_add(&host->errors, chunk, (size_t)n);
}

static void on_stderr(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	drain_stderr(poll->data);
}

char *host_stderr(struct host *host)
{
	for (int i = 0; i < 4; i++)
		drain_stderr(host);
	return excerpt_text(&host->errors);
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
	munmap(host->status, sizeof(*host->status));
	excerpt_fini(&host->errors);
	free(host->tasks);
	free(host->grants);
	free(host->out);
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
	for (size_t i = 0; i < host->grant_count; i++)
		spool_unref(d->spool, host->grants[i]);
	host->grant_count = 0;
	for (size_t i = 0; i < host->out_count; i++) {
		if (host->out[i].fd >= 0)
			close(host->out[i].fd);
		free(host->out[i].tail);
	}
	host->out_count = 0;
	uv_close((uv_handle_t *)&host->sock_poll, on_handle_closed);
	uv_close((uv_handle_t *)&host->pid_poll, on_handle_closed);
	uv_close((uv_handle_t *)&host->stderr_poll, on_handle_closed);
}

static char *death_text(struct host *host, struct attempt *a, int signal, int code)
{
	char *how = signal ? base_format("killed by signal %d (%s)", signal, strsignal(signal))
			   : base_format("its process ended with exit code %d", code);
	char *text;

	if (atomic_load(&host->status->reading) && atomic_load(&host->status->vertex) == a->key.vertex)
		text = base_format("%s at record %llu of input port %u", how,
			(unsigned long long)atomic_load(&host->status->record),
			atomic_load(&host->status->port));
	else
		text = base_strdup(how);
	free(how);
	return text;
}

static void on_exit_of_host(uv_poll_t *poll, int status, int events)
{
	struct host *host = poll->data;
	struct job *job = host->job;
	struct daemon *d;
	siginfo_t info = {0};
	int signal, code;

	(void)status;
	(void)events;
	if (waitid(P_PID, (id_t)host->pid, &info, WEXITED | WNOHANG) < 0 || !info.si_pid)
		return;
	host->retiring = true; /* nobody gives it anything more */
	drain_socket(host);    /* it may have said DONE before it died */
	ahead_give_back(host);
	signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
	code = info.si_code == CLD_EXITED ? info.si_status : 0;
	kill(-host->pid, SIGKILL);
	while (host->task_count) {
		struct attempt *a = host->tasks[0];

		a->stderr_tail = host_stderr(host);
		host_remove_task(host, a);
		if (signal == SIGKILL && host->cgroup && !a->too_much && cgroup_out_of_memory(host->cgroup))
			a->too_much = UINT64_MAX; /* the kernel saw it */
		if (!a->lost && !a->too_much)
			note_position(host, a);
		if (a->lost)
			attempt_fail(a, DAG_ELOST, 0,
				base_strdup("the job manager was not heard, and its lease here ended"));
		else if (a->too_much)
			attempt_fail(a, DAG_ELIMIT, 0, host_memory_text(a));
		else if (a->timed_out)
			attempt_fail(a, DAG_ETIMEDOUT, 0, base_strdup("it ran longer than its timeout"));
		else
			attempt_fail(a, signal ? DAG_ESIGNAL : DAG_ENOTSEALED, signal,
				death_text(host, a, signal, code));
	}
	d = host->daemon;
	bury(host);
	host_end_strays(d);
	if (!job->daemon->stopping)
		job_run(job);
}

void host_kill(struct host *host)
{
	host->retiring = true;
	if (host->cgroup)
		cgroup_kill(host->cgroup);
	kill(-host->pid, SIGKILL);
	kill(host->pid, SIGKILL);
}

void host_end_all(struct daemon *d)
{
	for (struct host *h = d->hosts; h; h = h->next)
		host_kill(h);
	while (d->hosts) {
		struct host *h = d->hosts;

		while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
			;
		while (h->task_count) {
			struct attempt *a = h->tasks[0];

			host_remove_task(h, a);
			attempt_fail(a, DAG_ECANCELED, 0, base_strdup("the daemon ends"));
		}
		bury(h);
	}
	host_end_strays(d);
}

/* ---- its start ---- */

static char **host_environment(void)
{
	static const char *const kept[] = {
		"PATH", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"};
	char **env = base_alloc((DAG_LENGTH(kept) + 3) * sizeof(*env));
	size_t n = 0;

	for (size_t i = 0; i < DAG_LENGTH(kept); i++)
		if (getenv(kept[i]))
			env[n++] = base_format("%s=%s", kept[i], getenv(kept[i]));
	env[n++] = base_strdup("LC_ALL=C");
	env[n++] = base_strdup("TZ=UTC");
	return env;
}

static int start_host(struct job *job, bool isolate, struct host **ret_host)
{
	struct daemon *d = job->daemon;
	struct host *host = base_alloc(sizeof(*host));
	int socks[2] = {-1, -1}, errs[2] = {-1, -1}, page, r = DAG_EBUSY;
	char *argv[] = {d->host_program, "--serve", NULL}, **env = host_environment();

	page = memfd_create("dagrun-status", MFD_CLOEXEC);
	if (page < 0 || ftruncate(page, sizeof(*host->status)) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0 ||
		pipe2(errs, O_CLOEXEC) < 0)
		goto out;
	host->status = mmap(NULL, sizeof(*host->status), PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
	if (host->status == MAP_FAILED)
		goto out;
	fcntl(socks[0], F_SETFL, O_NONBLOCK);
	fcntl(errs[0], F_SETFL, O_NONBLOCK);
	r = spawn_process(&(struct spawn){.path = d->host_program,
				  .argv = argv,
				  .env = env,
				  .fds = {-1, errs[1], errs[1], socks[1], page},
				  .fd_count = 5},
		&host->pid, &host->pidfd);
out:
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
		if (socks[0] >= 0)
			close(socks[0]);
		if (errs[0] >= 0)
			close(errs[0]);
		free(host);
		return r;
	}
	host->daemon = d;
	host->job = job;
	host->cgroup = d->cgroup ? cgroup_add(d->cgroup, host->pid) : NULL;
	host->isolate = isolate;
	host->sock = socks[0];
	excerpt_init(&host->errors, STDERR_HEAD, STDERR_TAIL);
	host->stderr_fd = errs[0];
	host->stages = base_alloc((job->stage_count + 1) * sizeof(uint32_t));
	uv_poll_init(d->loop, &host->sock_poll, host->sock);
	uv_poll_init(d->loop, &host->pid_poll, host->pidfd);
	uv_poll_init(d->loop, &host->stderr_poll, host->stderr_fd);
	host->sock_poll.data = host->pid_poll.data = host->stderr_poll.data = host;
	host->handles = 3;
	uv_poll_start(&host->sock_poll, UV_READABLE, on_sock);
	uv_poll_start(&host->pid_poll, UV_READABLE, on_exit_of_host);
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

/* ---- work ---- */

static int send_stage(struct host *host, uint32_t stage)
{
	struct host_msg msg = {.kind = HOST_STAGE};
	int fd;

	if (host->stages[stage])
		return 0;
	fd = job_stage_fd(host->job, stage);
	if (fd < 0)
		return DAG_EBUSY;
	msg.u.stage.stage = stage;
	msg.u.stage.size = host->job->stages[stage].spec_size;
	host_send_msg(host, &msg, NULL, 0, fcntl(fd, F_DUPFD_CLOEXEC, 3));
	host->stages[stage] = 1;
	return 0;
}

static void send_start(struct host *host, struct attempt *a, size_t group_size)
{
	struct host_msg msg = {.kind = HOST_START, .task = a->task};
	struct buffer tail = {0};

	msg.u.start.stage = a->stage;
	msg.u.start.index = a->index;
	msg.u.start.attempt = a->key.number;
	msg.u.start.epoch = host->job->epoch;
	msg.u.start.vertex = a->key.vertex;
	msg.u.start.group_size = (uint32_t)group_size;
	msg.u.start.in_ports = a->input_count;
	msg.u.start.window = PIPE_WINDOW;
	msg.u.start.skip_count = a->skip_count;
	memcpy(msg.u.start.skips, a->skips, sizeof(a->skips));
	for (uint32_t p = 0; p < a->input_count; p++) {
		const struct input_port *in = &a->inputs[p];
		struct host_port port = {in->count, 0, in->stream, in->part};

		port.flags = in->channel == GRAPH_PIPE   ? HOST_PORT_LIVE
			     : in->channel == GRAPH_FIFO ? HOST_PORT_FIFO
							 : 0;
		buffer_append(&tail, &port, sizeof(port));
	}
	for (uint32_t p = 0; p < a->input_count; p++)
		if (a->inputs[p].channel == GRAPH_FIFO)
			buffer_append(&tail, a->inputs[p].vertices, a->inputs[p].count * sizeof(uint32_t));
	host_send_msg(host, &msg, tail.data, tail.len, -1);
	buffer_fini(&tail);
}

int host_run(struct host *host, struct attempt **attempts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (send_stage(host, attempts[i]->stage) < 0)
			return DAG_EBUSY;
	if (!attempts[0]->ahead) {
		excerpt_clear(&host->errors);
		host_limit(host, attempts, n);
	}
	for (size_t i = 0; i < n; i++) {
		struct attempt *a = attempts[i];

		a->host = host;
		a->task = ++host->last_task;
		*DAG_APPEND(host->tasks, host->task_count, host->task_cap) = a;
		send_start(host, a, n);
	}
	return 0;
}

int host_show_segment(struct host *host, uint32_t id)
{
	struct host_msg msg = {.kind = HOST_SEGMENT};
	struct known_segment *k;
	struct spool_segment *segment;
	int fd;

	HASH_FIND(hh, host->known, &id, sizeof(id), k);
	if (k || host_has_grant(host, id))
		return 0;
	segment = spool_find(host->daemon->spool, id);
	fd = segment ? spool_open(host->daemon->spool, segment, false) : -1;
	if (fd < 0)
		return DAG_EMISSING;
	msg.u.segment.id = id;
	msg.u.segment.size = segment->size;
	host_send_msg(host, &msg, NULL, 0, fd);
	k = base_alloc(sizeof(*k));
	k->id = id;
	HASH_ADD(hh, host->known, id, sizeof(k->id), k);
	return 0;
}

void host_forget_segment(struct daemon *d, uint32_t segment)
{
	struct host_msg msg = {.kind = HOST_DROP};

	msg.u.segment.id = segment;
	for (struct host *h = d->hosts; h; h = h->next) {
		struct known_segment *k;

		HASH_FIND(hh, h->known, &segment, sizeof(segment), k);
		if (k) {
			HASH_DEL(h->known, k);
			free(k);
		}
		/* It may have been granted and retired, which also left it mapped. */
		host_send_msg(h, &msg, NULL, 0, -1);
	}
}
