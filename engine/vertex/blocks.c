/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks of a channel, one after the other, as they lie in segments or come in. A channel that ends is
 * compared with what its producer said it wrote (records, bytes, hash), so a stream that stops early is an
 * error and never a short success.
 */
#include "blocks.h"
#include "channel.h"
#include "fifo.h"
#include "host.h"
#include "pipe.h"
#include "segments.h"
#include "task.h"
#include "writer.h"

#define PREFETCH 8u /* blocks of a channel, and channels of a port */

void blocks_open_range(struct dag_vertex *v, uint32_t port, uint32_t first, uint32_t end)
{
	struct in_channel *channels = v->in[port].channels;
	bool fifo = v->in[port].flags & HOST_PORT_FIFO;

	while (first < end) {
		struct host_msg msg = {.kind = HOST_OPEN, .task = v->task, .u.data = {port, first, 0}};

		for (; first < end && channel_ask(&channels[first]); first++, msg.u.data.count++)
			if (fifo)
				channel_open_fifo(&channels[first]);
		if (!msg.u.data.count)
			first++;
		else if (!fifo)
			host_send(v->host, &msg, NULL, 0);
	}
}

void blocks_release(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch)
{
	struct host_msg msg = {.kind = HOST_CONSUMED, .task = v->task};

	if (!ch->current.data)
		return;
	if (ch->current.piped) {
		pipe_done(ch);
	} else if (ch->current.fifo) {
		fifo_done(v, ch);
	} else if (ch->kind == HOST_CHANNEL_LIVE) {
		ch->consumed += ch->current.len;
		if (ch->consumed - ch->consumed_told >= ch->step) {
			msg.u.data.port = port;
			msg.u.data.producer = producer;
			msg.u.data.bytes = ch->consumed_told = ch->consumed;
			host_send(v->host, &msg, NULL, 0);
		}
	}
	ch->current = (struct queued_block){0};
	ch->at = ch->end = NULL;
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
	channel_fail(ch, DAG_ECORRUPT,
		base_format("read %llu records in %llu bytes, but the producer wrote %llu in %llu, or their "
			    "hashes "
			    "differ",
			(unsigned long long)ch->records, (unsigned long long)ch->bytes,
			(unsigned long long)ch->expected.records, (unsigned long long)ch->expected.bytes));
	return DAG_ECORRUPT;
}

static void prefetch(struct dag_vertex *v, struct in_channel *ch)
{
	uint32_t end = DAG_MIN(ch->next_block + PREFETCH, ch->part->block_count);

	if (!v->host->segments.has_disk)
		return;
	for (; ch->prefetched < end; ch->prefetched++)
		segments_prefetch(v->host, &ch->index.blocks[ch->part->first_block + ch->prefetched]);
}

void blocks_prefetch(struct dag_vertex *v, struct in_port *p)
{
	uint32_t end = DAG_MIN(p->producers, p->current + PREFETCH);

	for (uint32_t i = p->current; v->host->segments.has_disk && i < end; i++) {
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
	data = segments_locate(v->host, ref);
	pthread_mutex_unlock(&v->host->lock);
	if (!data) {
		channel_fail(ch, DAG_ECORRUPT,
			base_strdup("the producer's index names a place that is not in its segment"));
		return ch->error;
	}
	ch->current = (struct queued_block){data, ref->length, ref->records, ref->kind};
	return 1;
}

/* Takes the next block that has come, if there is one. */
static bool take_block(struct dag_vertex *v, struct in_channel *ch)
{
	if (channel_take(ch, &ch->current))
		return true;
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

int blocks_wait_open(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch)
{
	if (ch->state == CHANNEL_NEW)
		blocks_open_range(v, port, producer, producer + 1);
	pthread_mutex_lock(&v->host->lock);
	while (ch->state == CHANNEL_OPENING)
		host_wait(v->host);
	pthread_mutex_unlock(&v->host->lock);
	return ch->error;
}

void blocks_show_progress(struct dag_vertex *v, struct in_channel *ch)
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
	blocks_show_progress(v, ch);
	/* What never left this process, or was checked when it came to this node, is only counted. */
	ch->checked = ch->fifo_producer || ch->current.checked;
	if (!ch->raw && !ch->checked) {
		if (!ch->hash)
			ch->hash = hash_state_new();
		hash_state_update(ch->hash, ch->at, len);
	}
	return 0;
}

int blocks_next(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch)
{
	int r;

	blocks_release(v, port, producer, ch);
	r = blocks_wait_open(v, port, producer, ch);
	if (r == 0)
		r = ch->kind == HOST_CHANNEL_SEALED ? next_sealed(v, ch) : next_live(v, ch);
	if (r == 0 && ch->error)
		r = ch->error;
	if (r == 0)
		r = check_end(ch);
	if (r == 0) {
		channel_end(ch);
		free(ch->plain);
		ch->plain = NULL;
		ch->plain_cap = 0;
	}
	if (r < 0)
		return task_blame(v, port, producer, r, ch->error_text ? base_strdup(ch->error_text) : NULL);
	if (r == 0)
		return 0;
	return begin_current(v, ch) < 0 ? task_blame(v, port, producer, DAG_ECORRUPT,
						  base_strdup("a packed block cannot be unpacked"))
					: 1;
}

ssize_t blocks_fill(void *ctx, void *buf, size_t n)
{
	struct raw_reader *raw = ctx;
	struct in_channel *ch = &raw->v->in[raw->port].channels[raw->producer];
	size_t have;

	while (ch->at == ch->end) {
		int r = blocks_next(raw->v, raw->port, raw->producer, ch);

		if (r <= 0)
			return r;
	}
	have = DAG_MIN((size_t)(ch->end - ch->at), n);
	memcpy(buf, ch->at, have);
	ch->at += have;
	return (ssize_t)have;
}

void blocks_fini(struct in_channel *ch)
{
	hash_state_destroy(&ch->hash);
	free(ch->plain);
}
