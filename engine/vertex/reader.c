/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: a port is its producers in order, a producer is a channel, a channel is blocks, a block is
 * records. The fast path of a read looks at one block only; everything else is in next_block.
 *
 * A channel that ends is compared with what its producer said it wrote (records, bytes, hash), so a stream
 * that stops early is an error and never a short success.
 */
#include "task.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFETCH 8u              /* blocks of a channel, and channels of a port */
#define CONSUMED_STEP (1u << 20) /* bytes of a live channel, that are told together */

static int blame(struct dag_vertex *v, uint32_t port, uint32_t producer, int error, char *text)
{
	pthread_mutex_lock(&v->lock);
	if (!v->error && !v->blamed) {
		v->blamed = true;
		v->blamed_port = port;
		v->blamed_producer = producer;
	}
	pthread_mutex_unlock(&v->lock);
	return task_fail(v, error, text);
}

/* Those of the range that were not opened yet, as few messages as can be. */
static void open_range(struct dag_vertex *v, uint32_t port, uint32_t first, uint32_t end)
{
	struct in_channel *channels = v->in[port].channels;

	while (first < end) {
		struct host_msg msg = {.kind = HOST_OPEN, .task = v->task, .u.data = {port, first, 0}};

		for (; first < end && channels[first].state == CHANNEL_NEW; first++, msg.u.data.count++) {
			channels[first].state = CHANNEL_OPENING;
			if (v->in[port].flags & HOST_PORT_FIFO) {
				channels[first].state = CHANNEL_OPEN;
				channels[first].kind = HOST_CHANNEL_LIVE;
			}
		}
		if (!msg.u.data.count)
			first++;
		else if (!(v->in[port].flags & HOST_PORT_FIFO))
			host_send(v->host, &msg, NULL, 0);
	}
}

/* Many at a time: where their parts are small, it is the messages that cost. */
static void open_ahead(struct dag_vertex *v, uint32_t port)
{
	struct in_port *p = &v->in[port];
	uint32_t end = DAG_MIN(p->producers, p->current + HOST_OPEN_AHEAD);

	if (p->opened >= end || (p->opened > p->current + HOST_OPEN_AHEAD / 2 && end < p->producers))
		return;
	open_range(v, port, p->opened, end);
	p->opened = end;
}

void reader_open_live(struct dag_vertex *v)
{
	for (uint32_t port = 0; port < v->stage->spec.in_count; port++)
		if (v->in[port].flags & (HOST_PORT_LIVE | HOST_PORT_FIFO))
			open_range(v, port, 0, v->in[port].opened = v->in[port].producers);
}

/* ---- blocks ---- */

/* Now and then, and before waiting: each time would cost more than reading. */
static bool tells_consumed(struct dag_vertex *v, const struct in_channel *ch)
{
	bool waits;

	if (ch->consumed - ch->consumed_told >= CONSUMED_STEP)
		return true;
	pthread_mutex_lock(&v->host->lock);
	waits = ch->queue_first == ch->queue_count;
	pthread_mutex_unlock(&v->host->lock);
	return waits;
}

static void release_current(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch)
{
	struct host_msg msg = {.kind = HOST_CONSUMED, .task = v->task};
	bool waits;

	if (!ch->current.data)
		return;
	if (ch->current.piped) {
		pipe_done(ch);
	} else if (ch->current.fifo) {
		pthread_mutex_lock(&v->host->lock);
		fifo_release(ch->current.fifo);
		/* A writer that found it full goes on when half of it is read. */
		waits = ch->queued_bytes >= FIFO_WINDOW / 2;
		ch->queued_bytes -= ch->current.len;
		if (waits && ch->queued_bytes < FIFO_WINDOW / 2)
			host_changed(v->host);
		pthread_mutex_unlock(&v->host->lock);
	} else if (ch->kind == HOST_CHANNEL_LIVE) {
		ch->consumed += ch->current.len;
		if (tells_consumed(v, ch)) {
			msg.u.data.port = port;
			msg.u.data.producer = producer;
			msg.u.data.bytes = ch->consumed_told = ch->consumed;
			host_send(v->host, &msg, NULL, 0);
		}
	}
	ch->current = (struct queued_block){0};
	ch->at = ch->end = NULL;
}

void reader_drop_queue(struct in_channel *ch)
{
	for (; ch->queue_first < ch->queue_count; ch->queue_first++) {
		struct queued_block *b = &ch->queue[ch->queue_first];

		ch->queued_bytes -= b->len;
		if (b->fifo)
			fifo_release(b->fifo);
	}
}

static int check_end(struct in_channel *ch)
{
	struct dag_hash hash;

	if (!ch->check_end)
		return 0;
	hash = ch->hash ? hash_state_digest(ch->hash) : hash_128("", 0);
	if (ch->records == ch->expected.records && ch->bytes == ch->expected.bytes &&
		(ch->checked || hash_equal(hash, ch->expected.hash)))
		return 0;
	ch->error = DAG_ECORRUPT;
	ch->error_text = base_format(
		"read %llu records in %llu bytes, but the producer wrote %llu in %llu, or their hashes "
		"differ",
		(unsigned long long)ch->records, (unsigned long long)ch->bytes,
		(unsigned long long)ch->expected.records, (unsigned long long)ch->expected.bytes);
	return DAG_ECORRUPT;
}

static void prefetch(struct dag_vertex *v, struct in_channel *ch)
{
	uint32_t end = DAG_MIN(ch->next_block + PREFETCH, ch->part->block_count);

	if (!v->host->has_disk)
		return;
	for (; ch->prefetched < end; ch->prefetched++)
		host_prefetch(v->host, &ch->index.blocks[ch->part->first_block + ch->prefetched]);
}

/* The first blocks of those that are read next. */
static void prefetch_producers(struct dag_vertex *v, struct in_port *p)
{
	uint32_t end = DAG_MIN(p->producers, p->current + PREFETCH);

	for (uint32_t i = p->current; v->host->has_disk && i < end; i++) {
		struct in_channel *ch = &p->channels[i];

		if (ch->state == CHANNEL_OPEN && ch->kind == HOST_CHANNEL_SEALED && ch->part)
			prefetch(v, ch);
	}
}

static int next_sealed(struct dag_vertex *v, struct in_channel *ch)
{
	const struct block_ref *ref;
	const unsigned char *data;

	if (ch->next_block == ch->part->block_count)
		return 0;
	prefetch(v, ch);
	ref = &ch->index.blocks[ch->part->first_block + ch->next_block++];
	pthread_mutex_lock(&v->host->lock);
	data = host_locate(v->host, ref);
	pthread_mutex_unlock(&v->host->lock);
	if (!data) {
		ch->error = DAG_ECORRUPT;
		ch->error_text = base_strdup("the producer's index names a place that is not in its segment");
		return ch->error;
	}
	ch->current = (struct queued_block){data, ref->length, ref->records, ref->kind};
	return 1;
}

/* Takes the next block that has come, if there is one. */
static bool take_block(struct dag_vertex *v, struct in_channel *ch)
{
	if (ch->queue_first < ch->queue_count) {
		ch->current = ch->queue[ch->queue_first++];
		ch->dequeued++;
		return true;
	}
	if (!pipe_look(v, ch, &ch->current))
		return false;
	pipe_take(ch);
	return true;
}

static int next_live(struct dag_vertex *v, struct in_channel *ch)
{
	struct host *host = v->host;
	bool taken;
	int r = 0;

	pthread_mutex_lock(&host->lock);
	taken = take_block(v, ch);
	if (!taken && !ch->ended && v->stage->spec.kind == GRAPH_PLUGIN) {
		/*
		 * What this thread wrote must be readable while it waits, or a loop of pipes stands still.
		 * The ports of a program have threads of their own, which see to it themselves.
		 */
		pthread_mutex_unlock(&host->lock);
		r = writer_flush_live(v);
		pthread_mutex_lock(&host->lock);
	}
	while (r == 0 && !taken && !(taken = take_block(v, ch)) && !ch->ended)
		host_wait(host);
	pthread_mutex_unlock(&host->lock);
	return r < 0 && r != DAG_ECLOSED ? r : taken;
}

static int wait_open(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch)
{
	if (ch->state == CHANNEL_NEW)
		open_range(v, port, producer, producer + 1);
	pthread_mutex_lock(&v->host->lock);
	while (ch->state == CHANNEL_OPENING)
		host_wait(v->host);
	pthread_mutex_unlock(&v->host->lock);
	return ch->error;
}

static void show_progress(struct dag_vertex *v, struct in_channel *ch)
{
	atomic_fetch_add_explicit(
		&v->host->status->bytes_read, ch->bytes - ch->bytes_shown, memory_order_relaxed);
	ch->bytes_shown = ch->bytes;
}

static int begin_current(struct dag_vertex *v, struct in_channel *ch)
{
	uint32_t len = ch->current.len;

	ch->at = ch->current.data;
	if (codec_is_packed(ch->current.kind)) {
		if (codec_unpack(ch->current.kind, ch->current.data, ch->current.len, &ch->plain,
			    &ch->plain_cap, &len) < 0)
			return DAG_ECORRUPT;
		ch->at = ch->plain;
	}
	ch->end = ch->at + len;
	ch->records += ch->current.records;
	ch->bytes += len;
	show_progress(v, ch);
	/* What never left this process, or was checked when it came to this node, is only counted. */
	ch->checked = ch->fifo_producer || ch->current.checked;
	if (!ch->raw && !ch->checked) {
		if (!ch->hash)
			ch->hash = hash_state_new();
		hash_state_update(ch->hash, ch->at, len);
	}
	return 0;
}

/* The channel's next block becomes the current one. 1, 0 at the checked end, or an error. */
static int next_block(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch)
{
	int r;

	release_current(v, port, producer, ch);
	r = wait_open(v, port, producer, ch);
	if (r == 0)
		r = ch->kind == HOST_CHANNEL_SEALED ? next_sealed(v, ch) : next_live(v, ch);
	if (r == 0 && ch->error)
		r = ch->error;
	if (r == 0)
		r = check_end(ch);
	if (r == 0) {
		ch->state = CHANNEL_ENDED;
		free(ch->plain);
		ch->plain = NULL;
		ch->plain_cap = 0;
	}
	if (r < 0)
		return blame(v, port, producer, r, ch->error_text ? base_strdup(ch->error_text) : NULL);
	if (r == 0)
		return 0;
	return begin_current(v, ch) < 0 ? blame(v, port, producer, DAG_ECORRUPT,
						  base_strdup("a packed block cannot be unpacked"))
					: 1;
}

ssize_t reader_fill(void *ctx, void *buf, size_t n)
{
	struct raw_reader *raw = ctx;
	struct in_channel *ch = &raw->v->in[raw->port].channels[raw->producer];
	size_t have;

	while (ch->at == ch->end) {
		int r = next_block(raw->v, raw->port, raw->producer, ch);

		if (r <= 0)
			return r;
	}
	have = DAG_MIN((size_t)(ch->end - ch->at), n);
	memcpy(buf, ch->at, have);
	ch->at += have;
	return (ssize_t)have;
}

/* ---- records ---- */

/* True where a file is not any more what it was when the job started. */
static bool file_changed(const struct in_channel *ch)
{
	struct stat st;

	if (source_fd(ch->source) < 0)
		return false;
	return fstat(source_fd(ch->source), &st) < 0 || (uint64_t)st.st_size != ch->file_size ||
	       st.st_mtim.tv_sec * DAG_SECOND + st.st_mtim.tv_nsec != ch->file_mtime_ns;
}

static int next_source_record(
	struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch, struct dag_record *r)
{
	int n = source_next(ch->source, r);

	if (n > 0) {
		ch->records++;
		/* Where a file is read in place nothing else counts the bytes. */
		if (!ch->raw) {
			ch->bytes += r->len + 1 + r->key_len;
			if (ch->records % 1024 == 0)
				show_progress(v, ch);
		}
		return 1;
	}
	if (n == DAG_EFORMAT) {
		char format[32];

		return task_fail(v, n,
			base_format("input port %u: record %llu is not %s", port,
				(unsigned long long)ch->number,
				graph_format_name(v->in[port].format, format)));
	}
	if (n == DAG_ELIMIT)
		return task_fail(v, n,
			base_format("input port %u: record %llu is longer than 1 GiB", port,
				(unsigned long long)ch->number));
	if (n == 0 && file_changed(ch)) {
		n = DAG_ECHANGED;
		ch->error_text = base_strdup("the input file changed while it was read");
	}
	if (n < 0)
		return blame(v, port, producer, n, ch->error_text ? base_strdup(ch->error_text) : NULL);
	ch->state = CHANNEL_ENDED;
	return 0;
}

static int bad_block(struct dag_vertex *v, uint32_t port, uint32_t producer)
{
	return blame(v, port, producer, DAG_ECORRUPT, base_strdup("a record does not end within its block"));
}

static inline int parse_record(struct in_channel *ch, bool kv, struct dag_record *r)
{
	size_t have = (size_t)(ch->end - ch->at);
	uint32_t lens[2];

	if (kv) {
		if (have < 8)
			return DAG_ECORRUPT;
		memcpy(lens, ch->at, 8);
		if ((uint64_t)lens[0] + lens[1] > have - 8)
			return DAG_ECORRUPT;
		r->key = (const char *)ch->at + 8;
		r->key_len = lens[0];
		r->data = r->key + lens[0];
		r->len = lens[1];
		ch->at += 8 + (size_t)lens[0] + lens[1];
		return 1;
	}
	if (have < 4)
		return DAG_ECORRUPT;
	memcpy(lens, ch->at, 4);
	if (lens[0] > have - 4)
		return DAG_ECORRUPT;
	r->key = NULL;
	r->key_len = 0;
	r->data = (const char *)ch->at + 4;
	r->len = lens[0];
	ch->at += 4 + (size_t)lens[0];
	return 1;
}

static int next_record(struct dag_vertex *v, uint32_t port, uint32_t producer, struct dag_record *r)
{
	struct in_port *p = &v->in[port];
	struct in_channel *ch = &p->channels[producer];
	int n;

	if (ch->at == ch->end && !ch->source) {
		if (ch->state == CHANNEL_ENDED)
			return 0;
		n = wait_open(v, port, producer, ch);
		if (n < 0)
			return blame(
				v, port, producer, n, ch->error_text ? base_strdup(ch->error_text) : NULL);
		while (!ch->source && ch->at == ch->end) {
			n = next_block(v, port, producer, ch);
			if (n <= 0)
				return n;
		}
	}
	if (ch->source) {
		if (ch->state == CHANNEL_ENDED)
			return 0;
		n = next_source_record(v, port, producer, ch, r);
	} else {
		n = parse_record(ch, p->format.kind == DAG_FORMAT_KV, r);
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

int reader_next(struct dag_vertex *v, uint32_t port, uint32_t producer, struct dag_record *r)
{
	int n;

	do
		n = next_record(v, port, producer, r);
	while (n > 0 && v->skip_count && task_skips(v, r));
	if (n <= 0)
		return n;
	atomic_store_explicit(&v->host->status->record, r->number, memory_order_relaxed);
	atomic_store_explicit(&v->host->status->port, port, memory_order_relaxed);
	atomic_store_explicit(&v->host->status->producer, producer, memory_order_relaxed);
	atomic_store_explicit(&v->host->status->reading, 1, memory_order_relaxed);
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
		p->current++;
		prefetch_producers(v, p);
	}
	return 0;
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
	struct in_port *p = &v->in[port];
	struct in_channel *ch;

	if (p->current == p->producers || p->closed)
		return NULL;
	open_ahead(v, port);
	ch = &p->channels[p->current];
	if (wait_open(v, port, p->current, ch) < 0 || !ch->source || source_fd(ch->source) < 0)
		return NULL;
	return ch->source;
}

uint64_t dag_left(struct dag_vertex *v, uint32_t port)
{
	struct source *file = bad_port(v, port) ? NULL : current_file(v, port);

	return file ? source_left(file) : 0;
}

uint64_t dag_skip(struct dag_vertex *v, uint32_t port, uint64_t bytes)
{
	struct source *file = bad_port(v, port) ? NULL : current_file(v, port);

	return file ? source_skip(file, bytes) : 0;
}

/* True where a read of the channel would not wait. */
static bool channel_ready(struct dag_vertex *v, struct in_channel *ch)
{
	struct queued_block block;
	bool ready;

	if (ch->at != ch->end)
		return true;
	pthread_mutex_lock(&v->host->lock);
	ready = ch->state == CHANNEL_OPEN &&
		(ch->kind != HOST_CHANNEL_LIVE || ch->ended || ch->error ||
			ch->queue_first < ch->queue_count || pipe_look(v, ch, &block) ||
			(ch->source && source_has_record(ch->source)));
	pthread_mutex_unlock(&v->host->lock);
	return ready;
}

int dag_read_any(struct dag_vertex *v, uint32_t port, struct dag_record *r)
{
	struct in_port *p;

	if (bad_port(v, port))
		return DAG_EINVAL;
	p = &v->in[port];
	while (!p->closed) {
		uint32_t left = 0;

		for (uint32_t i = 0; i < p->producers; i++) {
			uint32_t producer = (p->any + i) % p->producers;
			struct in_channel *ch = &p->channels[producer];
			int n;

			if (ch->state == CHANNEL_ENDED)
				continue;
			/* Sealed channels are opened a few at a time, live ones all at the start. */
			if (left++ < HOST_OPEN_AHEAD)
				open_range(v, port, producer, producer + 1);
			if (!channel_ready(v, ch))
				continue;
			n = reader_next(v, port, producer, r);
			if (n != 0) {
				p->any = producer;
				return n;
			}
			left--;
		}
		if (!left)
			return 0;
		if (writer_flush_live(v) < 0)
			return 0;
		pthread_mutex_lock(&v->host->lock);
		host_wait(v->host);
		pthread_mutex_unlock(&v->host->lock);
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
		pthread_mutex_lock(&v->host->lock);
		reader_drop_queue(ch);
		ch->state = CHANNEL_ENDED;
		fifo_leave(ch->fifo_producer, ch->fifo_stream, ch->fifo_part);
		host_changed(v->host);
		pthread_mutex_unlock(&v->host->lock);
	} else if (!failed) {
		host_send(v->host, &msg, NULL, 0);
	}
	ch->state = CHANNEL_ENDED;
}

static void close_port(struct dag_vertex *v, uint32_t port, bool failed)
{
	struct in_port *p = &v->in[port];

	if (p->closed)
		return;
	p->closed = true;
	for (uint32_t i = 0; i < p->producers; i++) {
		release_current(v, port, i, &p->channels[i]);
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

			source_destroy(&ch->source);
			hash_state_destroy(&ch->hash);
			free(ch->queue);
			free(ch->plain);
			free(ch->error_text);
			pipe_fini(ch->pipe);
		}
	}
}
