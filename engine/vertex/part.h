/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_PART_H
#define VERTEX_PART_H
/*
 * One part of a stream that a vertex writes, and its current block. Each group of its fields is written by
 * one file alone, which is named there.
 */
#include "host_proto.h"
#include "channel/codec.h"

struct dag_vertex;
struct in_channel;

struct out_part {
	/* part.c */
	unsigned char *at, *end; /* room in the current block; NULL: none begun */
	uint32_t block_records;
	bool closed; /* its readers have gone. Guarded by host.lock. */

	/* writer.c */
	unsigned char *base; /* the block's header, in the segment or in `own` */
	unsigned char *own;  /* where a large block is written before it goes to the segment's file */
	uint64_t own_size;
	struct host_segment *segment;
	uint64_t offset; /* of the block's header in the segment */
	uint32_t next_size;
	uint64_t seq;
	uint64_t records, bytes;
	uint64_t written, limit; /* LIVE: bytes flushed and allowed. limit is guarded by host.lock. */
	struct hash_state *hash;
	struct block_ref *blocks;
	size_t block_count, block_cap;

	/* fifo.c */
	struct fifo_block *fifo;                /* the current block */
	struct fifo_block *spares, *last_spare; /* that were read, the oldest first. Guarded by host.lock. */
	uint32_t fifo_blocks;                   /* in all */
	struct in_channel **readers;            /* that read this part; set before any thread runs */
	size_t reader_count, reader_cap;

	/* pipe.c */
	struct pipe_end *pipe; /* or NULL. Set under host.lock. */
	bool piped;            /* blocks lie in it, from the current one on */
};

struct out_stream {
	const struct graph_stream *spec;
	uint32_t block_size;
	uint32_t next_part;    /* round-robin; partition.c */
	uint32_t parts_closed; /* part.c */
	struct out_part *parts;
	struct codec *codec; /* NULL: none */
};

/* Room for a block, aligned, and not zeroed: that is as much work as writing it. */
static inline void *part_block_room(uint64_t size)
{
	void *room = aligned_alloc(BLOCK_ALIGN, block_room(size));

	if (!room)
		base_oom(size);
	return room;
}

/* A block begins, with so much room. */
static inline void part_begin(struct out_part *p, unsigned char *at, uint64_t size)
{
	p->at = at;
	p->end = at + size;
	p->block_records = 0;
}

/* So many bytes were written to its block, which are a record, or are none. */
static inline void part_add(struct out_part *p, size_t len, bool record)
{
	p->at += len;
	p->block_records += record;
}

static inline void part_end(struct out_part *p)
{
	p->at = p->end = NULL;
}

/* Writers look without the lock. */
static inline bool part_is_closed(const struct out_part *p)
{
	return __atomic_load_n(&p->closed, __ATOMIC_RELAXED);
}

static inline uint32_t part_count_closed(const struct out_stream *s)
{
	return __atomic_load_n(&s->parts_closed, __ATOMIC_RELAXED);
}

/* Nobody reads the part any more; the caller holds host.lock. */
void part_close(struct dag_vertex *v, uint32_t stream, uint32_t part);

#endif
