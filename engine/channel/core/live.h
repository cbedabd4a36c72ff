/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHANNEL_CORE_LIVE_H
#define CHANNEL_CORE_LIVE_H
/*
 * One part of a stream that is read while it is written (a pipe), as its producer's daemon sees it: the
 * blocks that some reader has still to consume, and how far the producer may go ahead. Pure.
 *
 * The readers that the graph says there will be are all counted from the start: one that has not come yet
 * holds blocks back like one that has read nothing, so that nothing is freed too early. One that failed
 * leaves, and is waited for again. While the part is kept its blocks stay even where all have read them, so
 * that such a reader can begin anew.
 */
#include "channel/block.h"

struct live_block {
	struct block_ref ref;
	uint64_t end; /* bytes of the part up to and with this block */
};

struct live_reader {
	void *owner;
	uint32_t vertex, port; /* who reads, in whatever attempt */
	uint64_t next;         /* number of the block to be announced next */
	uint64_t consumed;     /* bytes */
	bool closed;
};

struct live_part {
	uint32_t expected;  /* readers in all */
	uint64_t window;    /* bytes that the producer may be ahead; UINT64_MAX: elastic */
	uint64_t first_seq; /* of blocks[first] */
	struct live_block *blocks;
	size_t first, count, cap;
	uint64_t bytes; /* appended */
	struct live_reader *readers;
	size_t reader_count, reader_cap;
	bool ended, kept;
	bool direct;    /* writer and reader go on by themselves: nobody else can come */
	uint64_t limit; /* the last that live_limit_changed gave */
};

void live_init(struct live_part *part, uint32_t expected, uint64_t window);
void live_fini(struct live_part *part);
void live_append(struct live_part *part, const struct block_ref *ref);
/* DAG_EMISSING where blocks from `from` on are not all held any more; DAG_ELIMIT for more readers than
 * expected. */
int live_attach(struct live_part *part, void *owner, uint32_t vertex, uint32_t port, uint64_t from);
struct live_reader *live_find(struct live_part *part, const void *owner);
/* The one of that vertex, in whatever attempt. */
struct live_reader *live_find_vertex(struct live_part *part, uint32_t vertex, uint32_t port);
/* The next block for the reader; false where there is none yet. *ret_seq is its number. */
bool live_next(struct live_part *part, struct live_reader *reader, struct block_ref *ret, uint64_t *ret_seq);
void live_consumed(struct live_part *part, struct live_reader *reader, uint64_t bytes);
/* It wants no more. */
void live_close(struct live_part *part, struct live_reader *reader);
/* It is gone, and another may come in its place. */
void live_leave(struct live_part *part, struct live_reader *reader);
/* Takes out the oldest block that no reader needs any more; false where there is none. */
bool live_release(struct live_part *part, struct block_ref *ret);
/* The bytes that the producer may have written, all in all; true where that grew enough to be told. */
bool live_limit_changed(struct live_part *part, uint64_t *ret_limit);
bool live_all_closed(const struct live_part *part);

#endif
