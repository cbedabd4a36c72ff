/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks from their STARTs to their DONEs: one after the other, or those of a fifo group beside each other. */
#include "run.h"
#include "arrive.h"
#include "errors.h"
#include "fifo.h"
#include "host.h"
#include "program.h"
#include "put.h"
#include "reader.h"
#include "scratch.h"
#include "segments.h"
#include "stages.h"
#include "task.h"
#include "writer.h"
#include "os/os.h"
#include "os/strays.h"

#include <malloc.h>
#include <stdio.h>

#define TRIM_AFTER DAG_MS       /* a vertex that ran shorter leaves little to give back */
#define FORK_RUN (DAG_MS / 100) /* who ran shorter has started no process */

void run_on_start(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len)
{
	struct host_start *start = DAG_APPEND(host->run.starts, host->run.start_count, host->run.start_cap);

	start->msg = *msg;
	start->tail = base_alloc(tail_len + 1);
	memcpy(start->tail, tail, tail_len);
}

struct dag_vertex *run_find_task(struct host *host, uint32_t id)
{
	for (uint32_t i = 0; i < host->run.task_count; i++)
		if (host->run.tasks[i] && host->run.tasks[i]->task == id)
			return host->run.tasks[i];
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

	for (uint32_t i = 0; i < host->run.task_count && !found; i++)
		found = host->run.tasks[i]->vertex == vertex ? host->run.tasks[i] : NULL;
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
		if (ports[port].flags & HOST_PORT_CHAINED && (index++)->segment == v->host->run.last_good)
			arrive_given(v, port, 0, &ports[port], &v->host->run.last_index);
		for (uint32_t i = 0; ports[port].flags & HOST_PORT_GIVEN && i < ports[port].producers; i++)
			arrive_given(v, port, i, &ports[port], index++);
	}
}

static struct dag_vertex *new_task(struct host *host, const struct host_start *start)
{
	const struct host_port *ports = (const struct host_port *)start->tail;
	const struct host_named *named = stages_find(host, start->msg.u.start.stage);
	uint32_t in_count = named->stage->spec.in_count;
	const struct host_skip *skips = (const struct host_skip *)(ports + in_count);
	struct dag_vertex *v = task_new(host->run.spare, host, named->stage, named->name);

	DAG_ASSERT(start->msg.u.start.in_ports == in_count);
	host->run.spare = NULL;
	task_on_start(v, &start->msg, skips, (const char *)(skips + start->msg.u.start.skip_count));
	reader_init(v, ports);
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
	done->scratch_used = v->scratch && (error || !scratch_keep(v));
	done->counter_count = v->counter_count;
	done->run_ns = ran;
	done->errors = errors_said(v->host, done->run_ns);
	if (done->run_ns > TRIM_AFTER)
		v->host->run.ran_long = true;
	if (error)
		v->host->run.spoiled = true;
	if (v->host->run.task_count == 1) {
		v->host->run.last_good = error ? 0 : v->task;
		v->host->run.last_index = *index;
	}
	if (host_put_end(v->host, v->task, done))
		return;
	buffer_append(&tail, v->counters, v->counter_count * sizeof(*v->counters));
	if (error && v->error_text)
		buffer_append(&tail, v->error_text, strlen(v->error_text));
	host_send(v->host, &msg, tail.data, DAG_MIN(tail.len, (size_t)HOST_TAIL_MAX));
	buffer_fini(&tail);
	if (done->errors && !error && v->host->run.task_count == 1)
		errors_wait(v->host);
}

/* What a vertex started ends with it. Of tasks that run beside each other, what is left by the last: one
 * cannot tell whose a process is. */
static void end_processes(struct host *host, dag_instant ran)
{
	if (atomic_fetch_sub(&host->run.running, 1) > 1)
		return;
	if (host->run.task_count > 1 || ran > FORK_RUN)
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

static void free_task(struct dag_vertex *v)
{
	struct host *host = v->host;

	reader_fini(v);
	writer_fini(v);
	put_fini(v);
	free(v->scratch);
	task_fini(v);
	task_destroy(&host->run.spare);
	host->run.spare = v;
}

/* False where there is no room for a thread: then the daemon ends this host, with what has begun in it. */
static bool start_beside(struct host *host, uint32_t i, pthread_t *ret_thread)
{
	struct dag_vertex *v = host->run.tasks[i];
	int error = pthread_create(ret_thread, NULL, run_task, v);

	if (!error)
		return true;
	task_fail(v, DAG_EBUSY,
		base_format(
			"cannot start thread %u of %u for vertices that run together: %s (see 'ulimit -u', "
			"and the container's limit of processes)",
			i + 1, host->run.task_count, strerror(error)));
	send_done(v, DAG_EBUSY, &(struct block_ref){0}, 0);
	return false;
}

void run_group(struct host *host)
{
	struct host_start *starts = host->run.starts + host->run.start_first;
	uint32_t n = starts[0].msg.u.start.group_size;
	pthread_t threads[HOST_TASKS_MAX];
	uint32_t started = 1;

	host->run.start_first += n;
	if (starts[0].msg.u.start.stage != host->run.stage && host->run.ran_long) {
		malloc_trim(0);
		host->run.ran_long = false;
	}
	host->run.stage = starts[0].msg.u.start.stage;
	if (host_status_claim(host->status, starts[n - 1].msg.task)) {
		for (uint32_t i = 0; i < n; i++)
			host->run.tasks[i] = new_task(host, &starts[i]);
		host->run.task_count = n;
		for (uint32_t i = 0; i < n; i++)
			join_fifos(host, host->run.tasks[i], &starts[i]);
		open_given(host->run.tasks[0], &starts[0]);
	}
	for (uint32_t i = 0; i < n; i++)
		free(starts[i].tail);
	if (!host->run.task_count)
		return;
	host_add_threads(host, (int)n - 1);
	host->run.running = n;
	atomic_store(&host->status->vertex, host->run.tasks[0]->vertex);
	atomic_store(&host->status->reading, 0);
	while (started < n && start_beside(host, started, &threads[started]))
		started++;
	if (started == n)
		run_task(host->run.tasks[0]);
	for (uint32_t i = 1; i < started; i++)
		pthread_join(threads[i], NULL);
	host_add_threads(host, 1 - (int)n);
	segments_release_kept(host);
	for (uint32_t i = 0; i < n; i++)
		free_task(host->run.tasks[i]);
	host->run.task_count = 0;
}

bool run_is_ready(struct host *host)
{
	if (host->run.spoiled)
		return false;
	if (host->run.start_first == host->run.start_count)
		host->run.start_first = host->run.start_count = 0;
	return host->run.start_count &&
	       host->run.start_count - host->run.start_first >=
		       host->run.starts[host->run.start_first].msg.u.start.group_size;
}
