/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daghost: waits for STARTs, runs them, says DONE. One message loop serves every thread that waits
 * (host_wait).
 */
#include "guard.h"
#include "task.h"
#include "os/os.h"
#include "os/startup.h"
#include "os/strays.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* What a vertex frees is kept for the next one of its stage: fresh pages cost more than most that is done to
 * them. */
#define FILES_MAX 16384 /* input files that are open, and fewer where descriptors are fewer */
#define HEAP_BLOCK_MAX (32 << 20)
#define HEAP_KEPT (256 << 20)
#define TRIM_AFTER DAG_MS /* a vertex that ran shorter leaves little to give back */
#define NUDGE_EVERY (DAG_MS / 2)
#define NUDGE_FOR 2u            /* ends: for one, the daemon's own look is soon enough */
#define LONG_RUN (DAG_MS / 10)  /* its end is told at once where a slot is free */
#define FORK_RUN (DAG_MS / 100) /* who ran shorter has started no process */

/* ---- messages ---- */

void host_send(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len)
{
	struct host_packet packet;

	packet.len = 0;
	host_packet_add(&packet, msg, tail, tail_len);
	atomic_fetch_add(&host->sent, 1);
	/* The socket blocks: a daemon that is behind holds its hosts up, and nothing is lost. */
	if (host_packet_send(host->sock, packet.bytes, packet.len, -1) < 0)
		_exit(1);
}

/* Ends that the daemon neither was nudged for nor took of its own. */
static uint32_t unheard(const struct host *host)
{
	return DAG_MIN(host->untold, host_ring_waiting(host->status));
}

/* The kernel wakes the daemon where it ran last. If that were here, it would wait for us to sleep, though
 * another core has nothing to do: so we go there first. */
static void make_way(struct host *host)
{
	if (atomic_load(&host->status->core_free))
		os_leave_core(atomic_load(&host->status->daemon_core), host->guard);
}

static void nudge(struct host *host)
{
	struct host_msg msg = {.kind = HOST_NUDGE};

	if (unheard(host)) {
		make_way(host);
		host_send(host, &msg, NULL, 0);
	}
	host->untold = 0;
	host->nudged = os_now();
}

/* An end that was good goes into the ring; true where it did. The daemon may sleep, and looks into it by
 * itself only now and then. */
static bool put_into_ring(struct host *host, uint32_t task, const struct host_done *done)
{
	struct host_ended ended = {.task = task, .done = *done};
	bool ok;

	if (done->error || done->counter_count || done->errors)
		return false;
	pthread_mutex_lock(&host->lock);
	ended.sent = atomic_load(&host->sent);
	ok = host_ring_put(host->status, &ended);
	host->untold += ok;
	if (unheard(host) >= HOST_RING_SIZE / 2 ||
		(done->run_ns > LONG_RUN && atomic_load(&host->status->slot_free)) ||
		(unheard(host) >= NUDGE_FOR && os_now() - host->nudged > NUDGE_EVERY))
		nudge(host);
	pthread_mutex_unlock(&host->lock);
	return ok;
}

struct dag_vertex *host_find_task(struct host *host, uint32_t id)
{
	for (uint32_t i = 0; i < host->task_count; i++)
		if (host->tasks[i] && host->tasks[i]->task == id)
			return host->tasks[i];
	return NULL;
}

static void dispatch(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len, int fd)
{
	struct dag_vertex *task = host_find_task(host, msg->task);
	struct host_start *start;

	switch (msg->kind) {
	case HOST_STAGE:
		host_on_stage(host, msg, tail, fd);
		return;
	case HOST_START:
		start = DAG_APPEND(host->starts, host->start_count, host->start_cap);
		start->msg = *msg;
		start->tail = base_alloc(tail_len + 1);
		memcpy(start->tail, tail, tail_len);
		return;
	case HOST_SEGMENT:
		host_map_segment(host, msg->u.segment.id, msg->u.segment.size, fd, false);
		close(fd);
		return;
	case HOST_GRANT:
		host_on_grant(host, msg, fd);
		return;
	case HOST_DROP:
		host_drop_segment(host, msg->u.segment.id);
		return;
	case HOST_HEARD:
		host->heard = true;
		return;
	case HOST_EXIT:
		host->exiting = true;
		return;
	}
	/* The rest is for one task, and may come when that has ended. */
	if (!task) {
		if (fd >= 0)
			close(fd);
		return;
	}
	switch (msg->kind) {
	case HOST_CHANNEL:
		reader_on_channel(task, msg, tail, tail_len, fd);
		break;
	case HOST_BLOCKS:
		reader_on_blocks(task, msg, tail, tail_len / sizeof(struct block_ref));
		break;
	case HOST_END:
		reader_on_end(task, msg);
		break;
	case HOST_CREDIT:
		writer_on_credit(task, msg);
		break;
	case HOST_CLOSED:
		writer_on_closed(task, msg);
		break;
	case HOST_PIPE:
		pipe_on_message(task, msg, fd);
		break;
	}
}

/* Takes one message if there is one; waits for it if the socket may block now. */
static bool take_message(struct host *host)
{
	struct host_msg msg;
	const void *tail;
	size_t tail_len;
	int fd, r;

	r = host_msg_recv(host->sock, &host->inbox, &msg, &tail, &tail_len, &fd);
	if (r < 0)
		_exit(1); /* the daemon is gone, and with it everything that this vertex could do */
	pthread_mutex_lock(&host->lock);
	if (r > 0)
		dispatch(host, &msg, tail, tail_len, fd);
	return r > 0;
}

static bool socket_readable(struct host *host, int timeout_ms)
{
	struct pollfd fds[2] = {{host->sock, POLLIN, 0}, {host->bell, POLLIN, 0}};

	while (poll(fds, 2, timeout_ms) < 0 && errno == EINTR)
		;
	if (fds[1].revents)
		os_bell_hush(host->bell);
	return fds[0].revents != 0;
}

static bool has_message(struct host *host)
{
	return host_packet_has_more(&host->inbox) || socket_readable(host, 0);
}

/* To sleep and be woken takes longer than most answers do. */
static void linger(struct host *host)
{
	dag_instant until = atomic_load(&host->status->core_free) ? os_now() + HOST_LINGER : 0;

	while (os_now() < until && !has_message(host))
		;
}

void host_wait(struct host *host)
{
	bool alone;

	if (host->leader) {
		pthread_cond_wait(&host->changed, &host->lock);
		return;
	}
	host->leader = true;
	alone = host->threads == 1 && !host->piped;
	pthread_mutex_unlock(&host->lock);
	if (alone)
		linger(host);
	if (alone || host_packet_has_more(&host->inbox) || socket_readable(host, -1))
		take_message(host);
	else
		pthread_mutex_lock(&host->lock);
	host->leader = false;
	pthread_cond_broadcast(&host->changed);
}

void host_look(struct host *host)
{
	while (!host->leader && has_message(host)) {
		host->leader = true;
		pthread_mutex_unlock(&host->lock);
		take_message(host);
		host->leader = false;
		pthread_cond_broadcast(&host->changed);
	}
}

void host_changed(struct host *host)
{
	if (host->threads == 1)
		return;
	pthread_cond_broadcast(&host->changed);
	if (host->leader)
		os_bell_ring(host->bell);
}

/* ---- running ---- */

/* What follows ports, skips and the argument in the tail of a start. */
static const void *after_argument(const struct dag_vertex *v, const struct host_start *start)
{
	const struct host_port *ports = (const struct host_port *)start->tail;

	return (const char *)((const struct host_skip *)(ports + v->stage->spec.in_count) + v->skip_count) +
	       v->argument_len + host_padding(v->argument_len);
}

static void find_fifo_producers(struct host *host, struct dag_vertex *v, const struct host_start *start)
{
	const struct host_port *ports = (const struct host_port *)start->tail;
	const uint32_t *vertices = after_argument(v, start);

	for (uint32_t port = 0; port < v->stage->spec.in_count; port++) {
		if (!(ports[port].flags & HOST_PORT_FIFO))
			continue;
		for (uint32_t i = 0; i < ports[port].producers; i++, vertices++) {
			struct in_channel *ch = &v->in[port].channels[i];
			struct out_part *part;

			for (uint32_t t = 0; t < host->task_count; t++)
				if (host->tasks[t]->vertex == *vertices)
					ch->fifo_producer = host->tasks[t];
			DAG_ASSERT(ch->fifo_producer);
			ch->fifo_stream = ports[port].stream;
			ch->fifo_part = ports[port].part;
			part = &ch->fifo_producer->streams[ch->fifo_stream].parts[ch->fifo_part];
			*DAG_APPEND(part->readers, part->reader_count, part->reader_cap) = ch;
		}
	}
}

/* Opens what came with the start. */
static void open_given(struct dag_vertex *v, const struct host_start *start)
{
	const struct host_port *ports = (const struct host_port *)start->tail;
	const struct block_ref *index = after_argument(v, start);

	for (uint32_t port = 0; port < v->stage->spec.in_count; port++) {
		if (ports[port].flags & HOST_PORT_CHAINED && (index++)->segment == v->host->last_good)
			reader_open_given(v, port, 0, &ports[port], &v->host->last_index);
		for (uint32_t i = 0; ports[port].flags & HOST_PORT_GIVEN && i < ports[port].producers; i++)
			reader_open_given(v, port, i, &ports[port], index++);
	}
}

/* The memory of the vertex before, so that one of a microsecond does not go to the allocator for it. */
static struct dag_vertex *take_spare(struct host *host)
{
	struct dag_vertex *v = host->spare ? host->spare : base_alloc(sizeof(*v));
	struct arena arena = v->arena;

	host->spare = NULL;
	memset(v, 0, sizeof(*v));
	v->arena = arena;
	return v;
}

static struct dag_vertex *new_task(struct host *host, const struct host_start *start)
{
	const struct host_port *ports = (const struct host_port *)start->tail;
	struct dag_vertex *v = take_spare(host);
	const struct host_named *named = host_find_stage(host, start->msg.u.start.stage);
	const struct host_stage *stage = named->stage;

	DAG_ASSERT(start->msg.u.start.in_ports == stage->spec.in_count);
	v->host = host;
	v->stage = stage;
	v->stage_name = named->name;
	v->stage_number = start->msg.u.start.stage;
	v->passes_bytes = stage->entry && (stage->entry->flags & DAG_PASSES_BYTES);
	v->task = start->msg.task;
	v->vertex = start->msg.u.start.vertex;
	v->index = start->msg.u.start.index;
	v->width = start->msg.u.start.width;
	v->attempt = start->msg.u.start.attempt;
	v->epoch = start->msg.u.start.epoch;
	v->skip_count = start->msg.u.start.skip_count;
	memcpy(v->skips, ports + stage->spec.in_count, v->skip_count * sizeof(*v->skips));
	v->argument_len = start->msg.u.start.argument_len;
	if (v->argument_len)
		v->argument =
			base_strndup((const char *)((const struct host_skip *)(ports + stage->spec.in_count) +
						    v->skip_count),
				v->argument_len);
	pthread_mutex_init(&v->lock, NULL);
	for (uint32_t p = 0; p < stage->spec.in_count; p++) {
		v->in[p].producers = ports[p].producers;
		v->in[p].flags = ports[p].flags;
		v->in[p].format = stage->spec.in[p];
		v->in[p].channels = arena_alloc(&v->arena, ports[p].producers * sizeof(struct in_channel));
	}
	writer_init(v);
	return v;
}

static void send_done(struct dag_vertex *v, int error, const struct block_ref *index, dag_instant ran)
{
	struct host_msg msg = {.kind = HOST_DONE, .task = v->task};
	struct host_done *done = &msg.u.done;
	struct buffer tail = {0};

	done->error = error;
	done->signal = v->signal;
	done->exit_code = v->exit_code;
	done->blamed = error && v->blamed;
	done->port = v->blamed_port;
	done->producer = v->blamed_producer;
	done->closed_early = writer_all_closed(v);
	done->index = *index;
	done->records_in = v->records_in;
	done->bytes_in = v->bytes_in;
	for (uint32_t i = 0; i < GRAPH_PORTS_MAX; i++) {
		done->records_out += v->port_records[i];
		done->bytes_out += v->port_bytes[i];
	}
	done->scratch_used = v->scratch && (error || !task_keep_scratch(v));
	done->counter_count = v->counter_count;
	done->run_ns = ran;
	done->errors = errors_said(v->host, done->run_ns);
	if (done->run_ns > TRIM_AFTER)
		v->host->ran_long = true;
	if (error)
		v->host->spoiled = true;
	if (v->host->task_count == 1) {
		v->host->last_good = error ? 0 : v->task;
		v->host->last_index = *index;
	}
	if (put_into_ring(v->host, v->task, done))
		return;
	buffer_append(&tail, v->counters, v->counter_count * sizeof(*v->counters));
	if (error && v->error_text)
		buffer_append(&tail, v->error_text, strlen(v->error_text));
	host_send(v->host, &msg, tail.data, DAG_MIN(tail.len, (size_t)HOST_TAIL_MAX));
	buffer_fini(&tail);
	if (done->errors && !error && v->host->task_count == 1)
		errors_wait(v->host);
}

/* What a vertex started ends with it. Of tasks that run beside each other, what is left by the last: one
 * cannot tell whose a process is. */
static void end_processes(struct host *host, dag_instant ran)
{
	if (atomic_fetch_sub(&host->running, 1) > 1)
		return;
	if (host->task_count > 1 || ran > FORK_RUN)
		strays_end(NULL, 0, false);
}

static void *run_task(void *arg)
{
	struct dag_vertex *v = arg;
	struct block_ref index = {0};
	dag_instant began = os_now(), ran;
	int r;

	reader_open_live(v);
	if (v->stage->error)
		r = task_fail(v, DAG_ENOEXEC, base_strdup(v->stage->error));
	else if (v->stage->spec.kind == GRAPH_PROGRAM)
		r = program_run(v);
	else
		r = v->stage->entry->run(v);
	/* An entry that returns what a call gave it, or ends because nobody reads it any more. */
	if (r == DAG_ECLOSED || (r != 0 && !v->error && writer_all_closed(v)))
		r = 0;
	if (v->error)
		r = v->error;
	else if (r < 0)
		r = task_fail(v, DAG_EFAILED, base_format("the entry returned %d (%s)", r, dag_strerror(r)));
	else if (r > 0)
		r = task_fail(v, DAG_EFAILED, base_format("the entry returned %d", r));
	if (r == 0)
		r = writer_seal(v, &index);
	if (r == DAG_ECLOSED)
		r = 0;
	fflush(NULL);
	/* The output first, then the inputs: a reader that is done must find its producers still committed to
	 * it. */
	reader_close_all(v, r != 0);
	ran = os_now() - began;
	end_processes(v->host, ran);
	os_write_coverage();
	send_done(v, r, &index, ran);
	return NULL;
}

static void free_spare(struct host *host)
{
	if (host->spare)
		arena_fini(&host->spare->arena);
	free(host->spare);
}

static void free_task(struct dag_vertex *v)
{
	reader_fini(v);
	writer_fini(v);
	free(v->error_text);
	free(v->scratch);
	free(v->argument);
	pthread_mutex_destroy(&v->lock);
	arena_reset(&v->arena);
	free_spare(v->host);
	v->host->spare = v;
}

/* False where there is no room for a thread: then the daemon ends this host, with what has begun in it. */
static bool start_beside(struct host *host, uint32_t i, pthread_t *ret_thread)
{
	struct dag_vertex *v = host->tasks[i];
	int error = pthread_create(ret_thread, NULL, run_task, v);

	if (!error)
		return true;
	task_fail(v, DAG_EBUSY,
		base_format(
			"cannot start thread %u of %u for vertices that run together: %s (see 'ulimit -u', "
			"and the container's limit of processes)",
			i + 1, host->task_count, strerror(error)));
	send_done(v, DAG_EBUSY, &(struct block_ref){0}, 0);
	return false;
}

/* Runs the first group_size STARTs, in threads beside each other where there are several. */
static void run_group(struct host *host)
{
	struct host_start *starts = host->starts + host->start_first;
	uint32_t n = starts[0].msg.u.start.group_size;
	pthread_t threads[HOST_TASKS_MAX];
	uint32_t started = 1;

	host->start_first += n;
	if (starts[0].msg.u.start.stage != host->stage && host->ran_long) {
		malloc_trim(0);
		host->ran_long = false;
	}
	host->stage = starts[0].msg.u.start.stage;
	if (host_status_claim(host->status, starts[n - 1].msg.task)) {
		for (uint32_t i = 0; i < n; i++)
			host->tasks[i] = new_task(host, &starts[i]);
		host->task_count = n;
		for (uint32_t i = 0; i < n; i++)
			find_fifo_producers(host, host->tasks[i], &starts[i]);
		open_given(host->tasks[0], &starts[0]);
	}
	for (uint32_t i = 0; i < n; i++)
		free(starts[i].tail);
	if (!host->task_count)
		return;
	host->threads = (int)n;
	host->running = n;
	atomic_store(&host->status->vertex, host->tasks[0]->vertex);
	atomic_store(&host->status->reading, 0);
	while (started < n && start_beside(host, started, &threads[started]))
		started++;
	if (started == n)
		run_task(host->tasks[0]);
	for (uint32_t i = 1; i < started; i++)
		pthread_join(threads[i], NULL);
	host->threads = 1;
	host_release_kept(host);
	for (uint32_t i = 0; i < n; i++)
		free_task(host->tasks[i]);
	host->task_count = 0;
}

static bool group_is_whole(struct host *host)
{
	if (host->start_first == host->start_count)
		host->start_first = host->start_count = 0;
	return host->start_count && host->start_count - host->start_first >=
					    host->starts[host->start_first].msg.u.start.group_size;
}

/* When the machine is out of memory, a vertex goes before a daemon. */
static void prefer_to_die(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "800", 3) < 0)
		errno = 0; /* it is only a wish */
	close(fd);
}

int main(int argc, char **argv)
{
	static struct host host;
	struct host_msg ready = {.kind = HOST_READY};
	struct rlimit no_core = {0, 0}, descriptors = {FILES_MAX, FILES_MAX};

	startup_standard_descriptors();
	if (argc == 3 && !strcmp(argv[1], "--describe"))
		return plugin_describe(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "--check"))
		return plugin_check(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		printf("daghost " DAGRUN_VERSION "\n");
		return 0;
	}
	if (argc != 2 || strcmp(argv[1], "--serve")) {
		fprintf(stderr, "daghost runs vertices for dagd and dagrun, which start it; it has no use of "
				"its own\n"
				"usage: daghost --describe PLUGIN.so\n");
		return 2;
	}
	setrlimit(RLIMIT_CORE, &no_core);
	getrlimit(RLIMIT_NOFILE, &descriptors);
	host.files_max = (uint32_t)DAG_MIN(descriptors.rlim_cur / 2, (rlim_t)FILES_MAX);
	guard_begin(argv);
	host.guard = getppid();
	errors_begin(&host);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	strays_adopt();
	prefer_to_die();
	os_be_patient();
	host.sock = HOST_SOCKET_FD;
	host.status = mmap(NULL, sizeof(*host.status), PROT_READ | PROT_WRITE, MAP_SHARED, HOST_STATUS_FD, 0);
	host.bell = HOST_BELL_FD;
	if (host.status == MAP_FAILED)
		return 70;
	close(HOST_STATUS_FD);
	mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_MAX);
	mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
	host.threads = 1;
	host.inbox.fd = -1;
	pthread_mutex_init(&host.lock, NULL);
	pthread_cond_init(&host.changed, NULL);
	ready.u.ready.version = HOST_PROTO_VERSION;
	host_send(&host, &ready, NULL, 0);
	while (!host.exiting) {
		pthread_mutex_lock(&host.lock);
		while ((host.spoiled || !group_is_whole(&host)) && !host.exiting) {
			if (unheard(&host) && !has_message(&host))
				nudge(&host);
			host_wait(&host);
		}
		pthread_mutex_unlock(&host.lock);
		if (!host.exiting)
			run_group(&host);
	}
	host_drop_scratch(&host);
	return 0;
}
