/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: a port is its producers in order, a producer is a channel, a channel is blocks, a block is
 * records. The fast path of a read looks at one block only; everything else is in blocks.c.
 */
#include "reader.h"
#include "blocks.h"
#include "channel.h"
#include "fifo.h"
#include "files.h"
#include "host.h"
#include "pipe.h"
#include "stages.h"
#include "task.h"
#include "writer.h"

#include <stdio.h>
#include <unistd.h>

/* Many at a time: where their parts are small, it is the messages that cost. */
static void open_ahead(struct dag_vertex *v, uint32_t port)
{
	struct in_port *p = &v->in[port];
	uint32_t ahead = files_ahead(v, port);
	uint32_t end = DAG_MIN(p->producers, p->current + ahead);

	if (p->opened >= end || (p->opened > p->current + ahead / 2 && end < p->producers))
		return;
	blocks_open_range(v, port, p->opened, end);
	p->opened = end;
}

void reader_init(struct dag_vertex *v, const struct host_port *ports)
{
	for (uint32_t i = 0; i < v->stage->spec.in_count; i++) {
		struct in_port *p = &v->in[i];

		p->producers = ports[i].producers;
		p->flags = ports[i].flags;
		p->format = v->stage->spec.in[i];
		p->channels = arena_alloc(&v->arena, p->producers * sizeof(*p->channels));
	}
}

void reader_open_live(struct dag_vertex *v)
{
	for (uint32_t port = 0; port < v->stage->spec.in_count; port++)
		if (v->in[port].flags & (HOST_PORT_LIVE | HOST_PORT_FIFO))
			blocks_open_range(v, port, 0, v->in[port].opened = v->in[port].producers);
}

/* ---- records ---- */

/* Bytes that are cut into records, which nobody said that they are. */
static void note_no_text(struct dag_vertex *v, uint32_t port, uint32_t producer, const struct in_channel *ch)
{
	static const char *const ways = "say format: bytes (without split) at the input if it is no text, or "
					"format: lines if it is right so";
	bool more = producer + 1 < v->in[port].producers || v->index + 1 < v->width;

	if (source_has_nul(ch->source))
		stages_note(v, HOST_NOTE_NO_TEXT, "input port %u is cut into lines, and has a NUL byte: %s",
			port, ways);
	else if (source_is_unended(ch->source) && more && v->stage->spec.kind == GRAPH_PLUGIN)
		stages_note(v, HOST_NOTE_NO_TEXT,
			"input port %u is cut into lines, and the last one of a file has no line feed, which "
			"makes "
			"it a line of its own for those who read records: %s",
			port, ways);
}

static int blame(struct dag_vertex *v, uint32_t port, uint32_t producer, int error)
{
	const struct in_channel *ch = &v->in[port].channels[producer];

	return task_blame(v, port, producer, error, ch->error_text ? base_strdup(ch->error_text) : NULL);
}

static int next_source_record(
	struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch, struct dag_record *r)
{
	bool as_written = graph_is_as_written(v->in[port].format);
	bool changed;
	int n = source_next(ch->source, r);

	if (n > 0) {
		ch->unended = as_written && source_is_unended(ch->source);
		blocks_count_record(v, ch, r);
		return 1;
	}
	if (n == DAG_EFORMAT) {
		char format[32];

		return task_fail(v, n,
			base_format("input port %u: record %llu is not %s", port,
				(unsigned long long)ch->number + 1,
				graph_format_name(v->in[port].format, format)));
	}
	if (n == DAG_ELIMIT)
		return task_fail_long(v, "input", port, ch->number);
	changed = n == 0 && files_changed(ch);
	if (n == 0 && (changed || source_is_short(ch->source)))
		return task_blame(v, port, producer, DAG_ECHANGED,
			base_strdup(changed ? "the input file changed while it was read"
					    : "the input file ended before its size was "
					      "read: of /proc, /sys and their kind no size "
					      "is true"));
	if (n < 0)
		return blame(v, port, producer, n);
	if (as_written)
		note_no_text(v, port, producer, ch);
	channel_end(ch);
	/* There may be many more files than descriptors. Its records may be read still. */
	source_close(ch->source);
	return 0;
}

static int bad_block(struct dag_vertex *v, uint32_t port, uint32_t producer)
{
	return task_blame(
		v, port, producer, DAG_ECORRUPT, base_strdup("a record does not end within its block"));
}

static int next_record(struct dag_vertex *v, uint32_t port, uint32_t producer, struct dag_record *r)
{
	struct in_port *p = &v->in[port];
	struct in_channel *ch = &p->channels[producer];
	int n;

	if (ch->unended)
		ch->unended = false;
	if (ch->at == ch->end && !ch->source) {
		if (ch->state == CHANNEL_ENDED)
			return 0;
		n = blocks_wait_open(v, port, producer, ch);
		if (n < 0)
			return blame(v, port, producer, n);
		while (!ch->source && ch->at == ch->end) {
			n = blocks_next(v, port, producer, ch);
			if (n <= 0)
				return n;
		}
	}
	if (ch->source) {
		if (ch->state == CHANNEL_ENDED)
			return 0;
		n = next_source_record(v, port, producer, ch, r);
	} else {
		n = p->format.kind == DAG_FORMAT_BYTES
			    ? blocks_take_bytes(ch, r)
			    : blocks_parse(ch, p->format.kind == DAG_FORMAT_KV, r, &ch->unended);
		if (n < 0)
			return bad_block(v, port, producer);
	}
	if (n <= 0)
		return n;
	r->port = port;
	r->producer = producer;
	r->number = ch->number++;
	return 1;
}

void reader_show_record(struct dag_vertex *v, const struct dag_record *r)
{
	atomic_store_explicit(&v->host->status->record, r->number, memory_order_relaxed);
	atomic_store_explicit(&v->host->status->port, r->port, memory_order_relaxed);
	atomic_store_explicit(&v->host->status->producer, r->producer, memory_order_relaxed);
	atomic_store_explicit(&v->host->status->reading, 1, memory_order_relaxed);
}

/* Whether the record is a bad one; it is handed over for the quarantine. */
static bool skips(struct dag_vertex *v, const struct dag_record *r)
{
	struct host_msg msg = {.kind = HOST_SKIPPED, .task = v->task};
	bool found = false;

	for (uint32_t i = 0; i < v->skip_count && !found; i++)
		found = v->skips[i].port == r->port && v->skips[i].producer == r->producer &&
			v->skips[i].number == r->number;
	if (!found)
		return false;
	msg.u.data.port = r->port;
	msg.u.data.producer = r->producer;
	msg.u.data.bytes = r->number;
	host_send(v->host, &msg, r->data, DAG_MIN((size_t)r->len, (size_t)1024));
	return true;
}

int reader_next(struct dag_vertex *v, uint32_t port, uint32_t producer, struct dag_record *r)
{
	int n;

	if (v->read_unended)
		v->read_unended = false;
	do
		n = next_record(v, port, producer, r);
	while (n > 0 && v->skip_count && skips(v, r));
	if (n <= 0)
		return n;
	if (v->in[port].channels[producer].unended && v->passes_bytes)
		v->read_unended = true;
	reader_show_record(v, r);
	return 1;
}

static bool bad_port(struct dag_vertex *v, uint32_t port)
{
	if (port < v->stage->spec.in_count)
		return false;
	task_fail(v, DAG_EINVAL, base_format("input port %u does not exist", port));
	return true;
}

int dag_read(struct dag_vertex *v, uint32_t port, struct dag_record *r)
{
	struct in_port *p;

	if (bad_port(v, port))
		return DAG_EINVAL;
	p = &v->in[port];
	while (p->current < p->producers && !p->closed) {
		int n;

		open_ahead(v, port);
		n = reader_next(v, port, p->current, r);
		if (n != 0)
			return n;
		channel_drop_source(&p->channels[p->current]);
		p->current++;
		blocks_prefetch(v, p);
	}
	return 0;
}

int dag_read_batch(struct dag_vertex *v, uint32_t port, struct dag_record r[], size_t n)
{
	size_t count = 0;
	int got = n ? dag_read(v, port, &r[0]) : 0;

	/* All spans of a batch must live together, so a batch never leaves the block or the bytes at hand. */
	while (got > 0 && ++count < n && !v->read_unended) {
		struct in_channel *ch = &v->in[port].channels[v->in[port].current];

		if (ch->source ? !source_has_record(ch->source) : ch->at == ch->end)
			break;
		got = reader_next(v, port, v->in[port].current, &r[count]);
	}
	/* Which of several it died at is not known. */
	if (count > 1)
		atomic_store_explicit(&v->host->status->reading, 0, memory_order_relaxed);
	return got < 0 ? got : (int)count;
}

int dag_read_from(struct dag_vertex *v, uint32_t port, uint32_t producer, struct dag_record *r)
{
	if (bad_port(v, port))
		return DAG_EINVAL;
	if (producer >= v->in[port].producers)
		return task_fail(
			v, DAG_EINVAL, base_format("input port %u has no producer %u", port, producer));
	return v->in[port].closed ? 0 : reader_next(v, port, producer, r);
}

/* The file that the port's next record comes from, or NULL. What is wrong with it the next read says. */
static struct source *current_file(struct dag_vertex *v, uint32_t port)
{
	struct in_port *p;
	struct in_channel *ch;

	if (bad_port(v, port))
		return NULL;
	p = &v->in[port];
	if (p->current == p->producers || p->closed)
		return NULL;
	open_ahead(v, port);
	ch = &p->channels[p->current];
	if (blocks_wait_open(v, port, p->current, ch) < 0 || !ch->source || !source_is_file(ch->source))
		return NULL;
	return ch->source;
}

uint64_t dag_left(struct dag_vertex *v, uint32_t port)
{
	struct source *file = current_file(v, port);

	return file ? source_left(file) : 0;
}

uint64_t dag_skip(struct dag_vertex *v, uint32_t port, uint64_t bytes)
{
	struct source *file = current_file(v, port);

	return file ? source_skip(file, bytes) : 0;
}

/* True where a read of the channel would not wait; the caller holds host.lock. */
static bool channel_ready(struct dag_vertex *v, struct in_channel *ch)
{
	struct queued_block block;

	return ch->at != ch->end ||
	       (ch->state == CHANNEL_OPEN &&
		       (ch->kind != HOST_CHANNEL_LIVE || ch->ended || ch->error ||
			       ch->queue_first < ch->queue_count || pipe_look(v, ch, &block) ||
			       (ch->source && source_has_record(ch->source))));
}

static bool look_ready(struct dag_vertex *v, struct in_channel *ch)
{
	bool ready;

	if (ch->at != ch->end)
		return true;
	pthread_mutex_lock(&v->host->lock);
	ready = channel_ready(v, ch);
	pthread_mutex_unlock(&v->host->lock);
	return ready;
}

/* Waits, unless one of the port's channels can be read: what was flushed since they were looked at may have
 * brought in the last that ever comes. */
static void wait_any(struct dag_vertex *v, struct in_port *p)
{
	bool ready = false;

	pthread_mutex_lock(&v->host->lock);
	for (uint32_t i = 0; i < p->producers && !ready; i++)
		ready = channel_ready(v, &p->channels[i]);
	if (!ready)
		host_wait(v->host);
	pthread_mutex_unlock(&v->host->lock);
}

int dag_read_any(struct dag_vertex *v, uint32_t port, struct dag_record *r)
{
	struct in_port *p;

	if (bad_port(v, port))
		return DAG_EINVAL;
	p = &v->in[port];
	while (!p->closed) {
		uint32_t left = 0;
		int flushed;

		for (uint32_t i = 0; i < p->producers; i++) {
			uint32_t producer = (p->any + i) % p->producers;
			struct in_channel *ch = &p->channels[producer];
			int n;

			if (ch->state == CHANNEL_ENDED)
				continue;
			/* Sealed channels are opened a few at a time, live ones all at the start. */
			if (left++ < files_ahead(v, port))
				blocks_open_range(v, port, producer, producer + 1);
			if (!look_ready(v, ch))
				continue;
			n = reader_next(v, port, producer, r);
			if (n != 0) {
				p->any = producer;
				return n;
			}
			channel_drop_source(ch);
			left--;
		}
		if (!left)
			return 0;
		flushed = writer_flush_live(v);
		if (flushed < 0)
			return flushed;
		wait_any(v, p);
	}
	return 0;
}

static void close_channel(struct dag_vertex *v, uint32_t port, uint32_t producer, bool failed)
{
	struct in_channel *ch = &v->in[port].channels[producer];
	struct host_msg msg = {.kind = HOST_CLOSE, .task = v->task, .u.data = {port, producer}};

	if (ch->state == CHANNEL_ENDED)
		return;
	if (v->in[port].flags & HOST_PORT_FIFO) {
		fifo_leave(v, ch);
		return;
	}
	if (!failed)
		host_send(v->host, &msg, NULL, 0);
	channel_end(ch);
}

static void close_port(struct dag_vertex *v, uint32_t port, bool failed)
{
	struct in_port *p = &v->in[port];

	if (p->closed)
		return;
	p->closed = true;
	for (uint32_t i = 0; i < p->producers; i++) {
		blocks_release(v, port, i, &p->channels[i]);
		if (p->channels[i].state != CHANNEL_NEW || (p->flags & (HOST_PORT_LIVE | HOST_PORT_FIFO)))
			close_channel(v, port, i, failed);
	}
}

void dag_close(struct dag_vertex *v, uint32_t port)
{
	if (!bad_port(v, port))
		close_port(v, port, false);
}

uint32_t dag_producers(const struct dag_vertex *v, uint32_t port)
{
	return port < v->stage->spec.in_count ? v->in[port].producers : 0;
}

void reader_close_all(struct dag_vertex *v, bool failed)
{
	for (uint32_t port = 0; port < v->stage->spec.in_count; port++) {
		close_port(v, port, failed);
		for (uint32_t i = 0; i < v->in[port].producers; i++) {
			v->records_in += v->in[port].channels[i].number;
			v->bytes_in += v->in[port].channels[i].bytes;
		}
	}
}

void reader_fini(struct dag_vertex *v)
{
	for (uint32_t port = 0; port < v->stage->spec.in_count; port++) {
		struct in_port *p = &v->in[port];

		for (uint32_t i = 0; i < p->producers; i++) {
			struct in_channel *ch = &p->channels[i];

			channel_fini(ch);
			blocks_fini(ch);
			pipe_fini(ch->pipe);
		}
	}
}
