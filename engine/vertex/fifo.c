/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fifos: blocks that one thread of a host hands to others. What was read is filled again, the oldest first:
 * its bytes have left the reader's own caches by then.
 */
#include "fifo.h"
#include "channel.h"
#include "host.h"
#include "part.h"
#include "task.h"

#include <stdlib.h>

#define FIFO_WINDOW (4ull << 20) /* bytes that a reader may be behind: they stay in the caches */
#define BLOCKS 16u               /* of a stream, over its parts, before any is filled again */

struct fifo_block {
	struct out_part *part;   /* that it is of */
	struct fifo_block *next; /* a spare one */
	uint64_t size;
	uint32_t refs; /* guarded by host.lock */
	uint32_t len, records;
	_Alignas(64) unsigned char data[];
};

void fifo_join(struct in_channel *ch, struct dag_vertex *producer, uint32_t stream, uint32_t part)
{
	struct out_part *p = &producer->streams[stream].parts[part];

	ch->fifo_producer = producer;
	ch->fifo_stream = stream;
	ch->fifo_part = part;
	*DAG_APPEND(p->readers, p->reader_count, p->reader_cap) = ch;
}

static struct fifo_block *take_spare(
	struct host *host, const struct out_stream *s, struct out_part *p, uint64_t size)
{
	uint32_t enough = DAG_MAX(BLOCKS / s->spec->parts, 2u);
	struct fifo_block *block = NULL;

	pthread_mutex_lock(&host->lock);
	while (!block && p->spares && p->fifo_blocks >= enough) {
		block = p->spares;
		p->spares = block->next;
		if (block->size < size) { /* first blocks are small */
			free(block);
			block = NULL;
			p->fifo_blocks--;
		}
	}
	pthread_mutex_unlock(&host->lock);
	return block;
}

void fifo_begin(struct dag_vertex *v, const struct out_stream *s, struct out_part *p, uint64_t size)
{
	p->fifo = take_spare(v->host, s, p, size);
	if (!p->fifo) {
		p->fifo = part_block_room(sizeof(*p->fifo) + size);
		p->fifo->part = p;
		p->fifo->size = size;
		p->fifo_blocks++;
	}
	part_begin(p, p->fifo->data, p->fifo->size);
}

unsigned char *fifo_data(const struct out_part *p)
{
	return p->fifo->data;
}

static void release(struct fifo_block *block)
{
	struct out_part *p = block->part;

	if (--block->refs)
		return;
	block->next = NULL;
	if (p->spares)
		p->last_spare->next = block;
	else
		p->spares = block;
	p->last_spare = block;
}

static bool holds(const struct out_part *p, uint64_t bytes)
{
	for (size_t i = 0; i < p->reader_count; i++)
		if (p->readers[i]->queued_bytes >= bytes)
			return true;
	return false;
}

void fifo_put(struct dag_vertex *v, struct out_part *p, uint32_t len)
{
	struct fifo_block *block = p->fifo;
	struct host *host = v->host;
	bool hungry = false;

	p->fifo = NULL;
	part_end(p);
	block->len = len;
	block->records = p->block_records;
	block->refs = 1; /* this function's own */
	pthread_mutex_lock(&host->lock);
	if (holds(p, FIFO_WINDOW))
		while (holds(p, FIFO_WINDOW / 2) && !p->closed)
			host_wait(host);
	for (size_t i = 0; i < p->reader_count && len; i++) {
		if (p->readers[i]->state == CHANNEL_ENDED)
			continue;
		block->refs++;
		hungry = hungry || !p->readers[i]->queued_bytes;
		channel_push(p->readers[i], (struct queued_block){.data = block->data,
						    .len = len,
						    .records = block->records,
						    .kind = BLOCK_DATA,
						    .fifo = block});
	}
	release(block);
	if (hungry)
		host_changed(host);
	pthread_mutex_unlock(&host->lock);
}

/* The caller holds host.lock. */
static void close_if_unread(struct dag_vertex *v, uint32_t stream, uint32_t part)
{
	const struct out_part *p = &v->streams[stream].parts[part];

	for (size_t i = 0; i < p->reader_count; i++)
		if (p->readers[i]->state != CHANNEL_ENDED)
			return;
	part_close(v, stream, part);
}

void fifo_leave(struct dag_vertex *v, struct in_channel *ch)
{
	struct queued_block block;

	pthread_mutex_lock(&v->host->lock);
	while (channel_take(ch, &block)) {
		channel_forget_bytes(ch, block.len);
		release(block.fifo);
	}
	channel_end(ch);
	close_if_unread(ch->fifo_producer, ch->fifo_stream, ch->fifo_part);
	host_changed(v->host);
	pthread_mutex_unlock(&v->host->lock);
}

void fifo_done(struct dag_vertex *v, struct in_channel *ch)
{
	bool waits;

	pthread_mutex_lock(&v->host->lock);
	release(ch->current.fifo);
	/* A writer that found it full goes on when half of it is read. */
	waits = ch->queued_bytes >= FIFO_WINDOW / 2;
	channel_forget_bytes(ch, ch->current.len);
	if (waits && ch->queued_bytes < FIFO_WINDOW / 2)
		host_changed(v->host);
	pthread_mutex_unlock(&v->host->lock);
}

static void end_part(const struct out_part *p)
{
	struct channel_end end = {
		p->records, p->bytes, p->hash ? hash_state_digest(p->hash) : hash_128("", 0)};

	for (size_t i = 0; i < p->reader_count; i++)
		channel_on_end(p->readers[i], p->closed ? NULL : &end);
}

void fifo_end(struct dag_vertex *v)
{
	pthread_mutex_lock(&v->host->lock);
	for (uint32_t i = 0; i < v->stream_count; i++)
		for (uint32_t part = 0; part < v->streams[i].spec->parts; part++)
			end_part(&v->streams[i].parts[part]);
	host_changed(v->host);
	pthread_mutex_unlock(&v->host->lock);
}

void fifo_fini(struct out_part *p)
{
	while (p->spares) {
		struct fifo_block *block = p->spares;

		p->spares = block->next;
		free(block);
	}
	free(p->fifo);
	free(p->readers);
}
