/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_BLOCKS_H
#define VERTEX_BLOCKS_H
/* The blocks of a channel that is read. */
#include "task.h"

/* Asks for those of first … end−1 that were not opened yet, in as few messages as can be. */
void blocks_open_range(struct dag_vertex *v, uint32_t port, uint32_t first, uint32_t end);
/* Until the daemon has said what the channel is; 0 or its error. */
int blocks_wait_open(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch);
/* The channel's next block becomes the current one. 1, 0 at the checked end, or an error. */
int blocks_next(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch);
/* The current block was read. */
void blocks_release(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch);
/* Reads ahead from the disk the first blocks of the producers that come next. */
void blocks_prefetch(struct dag_vertex *v, struct in_port *p);
void blocks_show_progress(struct dag_vertex *v, struct in_channel *ch);
/* The bytes of a raw channel's blocks, for its source; ctx: struct raw_reader. */
ssize_t blocks_fill(void *ctx, void *buf, size_t n);
void blocks_fini(struct in_channel *ch);

/* The next record of the current block; *ret_unended is set where it is a line without a line feed. 1, or
 * DAG_ECORRUPT. */
static inline int blocks_parse(struct in_channel *ch, bool kv, struct dag_record *r, bool *ret_unended)
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
	if (lens[0] > have - 4) {
		/* A mark makes it too long: records without one need not be looked at for it. */
		*ret_unended = lens[0] & RECORD_UNENDED;
		lens[0] &= ~RECORD_UNENDED;
		if (!*ret_unended || lens[0] > have - 4)
			return DAG_ECORRUPT;
	}
	r->key = NULL;
	r->key_len = 0;
	r->data = (const char *)ch->at + 4;
	r->len = lens[0];
	ch->at += 4 + (size_t)lens[0];
	return 1;
}

/* What is left of the block; of bytes nothing else is stored. */
static inline int blocks_take_bytes(struct in_channel *ch, struct dag_record *r)
{
	r->key = NULL;
	r->key_len = 0;
	r->data = (const char *)ch->at;
	r->len = (size_t)(ch->end - ch->at);
	ch->at = ch->end;
	return 1;
}

/* A record of its source. Where a file is read in place nothing else counts the bytes. */
static inline void blocks_count_record(
	struct dag_vertex *v, struct in_channel *ch, const struct dag_record *r)
{
	ch->records++;
	if (ch->raw)
		return;
	ch->bytes += r->len + 1 + r->key_len;
	if (ch->records % 1024 == 0)
		blocks_show_progress(v, ch);
}

#endif
