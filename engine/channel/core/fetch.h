/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHANNEL_CORE_FETCH_H
#define CHANNEL_CORE_FETCH_H
/*
 * A channel as its reader fetches it from another node: numbers, credit, and when to ask again. ZeroMQ may
 * lose messages when a connection breaks; a gap in the numbers, or silence, makes the reader ask from where
 * it is. Pure.
 */
#include "channel/block.h"

#define FETCH_SILENCE (3 * DAG_SECOND) /* without a block that was allowed: ask again */
#define FETCH_TRIES 4                  /* fruitless ones until the holder counts as unreachable */

struct fetch {
	uint64_t next; /* number of the block that is wanted */
	uint64_t bytes, consumed;
	uint64_t window;
	uint64_t credit; /* told to the producer */
	dag_instant last_progress;
	uint32_t tries;
	bool live; /* the producer may well be silent for long: silence is no sign, but its answer to a repeat
		      is */
	bool ended;
};

enum fetch_action { FETCH_NOTHING, FETCH_OPEN, FETCH_CREDIT, FETCH_UNREACHABLE };
enum fetch_verdict { FETCH_TAKE, FETCH_IGNORE, FETCH_ASK_AGAIN };

/* The first OPEN is the caller's to send, with credit `window`. */
void fetch_init(struct fetch *fetch, uint64_t window, bool live, dag_instant now);
enum fetch_verdict fetch_on_block(struct fetch *fetch, uint64_t seq, uint32_t len, dag_instant now);
enum fetch_verdict fetch_on_end(struct fetch *fetch, uint64_t blocks, dag_instant now);
/* Whether the producer should hear that the consumer has `consumed` bytes behind it, where it heard of
 * `told`. */
static inline bool fetch_is_due(uint64_t window, uint64_t told, uint64_t consumed)
{
	return consumed - told >= window / 4;
}

/* The consumer has `bytes` behind it; FETCH_CREDIT where the producer should hear of it (fetch.credit). */
enum fetch_action fetch_consumed(struct fetch *fetch, uint64_t bytes);
enum fetch_action fetch_tick(struct fetch *fetch, dag_instant now);

#endif
