/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks from their STARTs to their DONEs: one after the other, or those of a fifo group beside each other. */
#include "run.h"
#include "task.h"
#include "os/os.h"
#include "os/strays.h"

#include <malloc.h>
#include <stdio.h>

#define TRIM_AFTER DAG_MS       /* a vertex that ran shorter leaves little to give back */
#define FORK_RUN (DAG_MS / 100) /* who ran shorter has started no process */

void run_on_start(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len)
{
	struct host_start *start = DAG_APPEND(host->starts, host->start_count, host->start_cap);

	start->msg = *msg;
	start->tail = base_alloc(tail_len + 1);
	memcpy(start->tail, tail, tail_len);
}

struct dag_vertex *run_find_task(struct host *host, uint32_t id)
{
	for (uint32_t i = 0; i < host->task_count; i++)
		if (host->tasks[i] && host->tasks[i]->task == id)
			return host->tasks[i];
	return NULL;
}

/* What follows ports, skips and the argument in the tail of a start. */
static const void *after_argument(const struct dag_vertex *v, const struct host_start *start)
{
	const struct host_port *ports = (const struct host_port *)start->tail;

	return (const char *)((const struct host_skip *)(ports + v->stage->spec.in_count) + v->skip_count) +
	       v->argument_len + host_padding(v->argument_len);
}

static struct dag_vertex *find_producer(const struct host *host, uint32_t vertex)
{
	struct dag_vertex *found = NULL;

	for (uint32_t i = 0; i < host->task_count && !found; i++)
		found = host->tasks[i]->vertex == vertex ? host->tasks[i] : NULL;
	DAG_ASSERT(found);
	return found;
}

static void join_fifos(struct host *host, struct dag_vertex *v, const struct host_start *start)
{
	const struct host_port *ports = (const struct host_port *)start->tail;
	const uint32_t *vertices = after_argument(v, start);

	for (uint32_t port = 0; port < v->stage->spec.in_count; port++)
		for (uint32_t i = 0; ports[port].flags & HOST_PORT_FIFO && i < ports[port].producers; i++)
			fifo_join(&v->in[port].channels[i], find_producer(host, *vertices++),
				ports[port].stream, ports[port].part);
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
	if (host_put_end(v->host, v->task, done))
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

void run_group(struct host *host)
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
			join_fifos(host, host->tasks[i], &starts[i]);
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

bool run_is_whole(struct host *host)
{
	if (host->start_first == host->start_count)
		host->start_first = host->start_count = 0;
	return host->start_count && host->start_count - host->start_first >=
					    host->starts[host->start_first].msg.u.start.group_size;
}
