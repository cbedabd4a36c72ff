/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_LINK_H
#define WIRE_LINK_H
/*
 * One direction pair of a control session: numbers, acknowledgements and repeats over a transport that may
 * lose, repeat and reorder. Pure: `now` comes in, what to send comes out.
 *
 * Go-back-n: the receiver takes only the next number, so what is lost makes the sender repeat from there.
 */
#include "base/buffer.h"

#define LINK_HEARTBEAT (1 * DAG_SECOND)
#define LINK_REPEAT (2 * DAG_SECOND)    /* unacknowledged for so long: send again */
#define LINK_REPEAT_BATCH 64            /* messages repeated at a time */
#define LINK_ACK_EVERY 64               /* received messages after which an acknowledgement is owed at once */
#define LINK_FRESH (8 * DAG_SECOND)     /* heard so lately: who closes its connection now is no timeout */
#define LINK_CUT_LOOKS 4u               /* at a closed connection, a quarter of a second apart */
#define LINK_UNACKED_MAX (512ull << 20) /* bytes; a peer that lets more come together is not one */

struct link_message {
	uint64_t seq;
	unsigned char *data;
	size_t len;
};

struct link {
	uint64_t session;
	uint64_t sent;     /* highest number given out */
	uint64_t received; /* highest number taken without a gap */
	uint64_t ack_sent; /* highest acknowledgement that went out */
	dag_instant last_heard, last_sent, last_progress;
	uint32_t cut; /* looks since its connection was closed; 0: it stands, or was silent before */
	/* Unacknowledged, in order: unacked[first … count−1]. Invariant: their numbers are contiguous and end
	 * at `sent`. */
	struct link_message *unacked;
	size_t first, count, cap;
	uint64_t unacked_bytes;
};

enum link_verdict { LINK_DELIVER, LINK_DUPLICATE, LINK_GAP };

void link_init(struct link *link, uint64_t session, dag_instant now);
void link_fini(struct link *link);
/* The number for the next message. */
uint64_t link_next(const struct link *link);
/* Keeps a message that was just sent under link_next's number; takes over `data`. */
void link_sent(struct link *link, unsigned char *data, size_t len, dag_instant now);
/* Any message went out that carried link.received as its acknowledgement. */
void link_acked(struct link *link, dag_instant now);
/* Judges a message of this session that came in; seq 0 is a heartbeat and is never delivered. */
enum link_verdict link_receive(struct link *link, uint64_t seq, uint64_t ack, dag_instant now);
/* The messages to send again now: *ret_first … +n of link.unacked. 0 for none. Counts as sent. */
size_t link_repeat(struct link *link, dag_instant now, const struct link_message **ret_first);
bool link_owes_ack(const struct link *link);
/* The transport is another one: what is not acknowledged is due now, and a word in any case. */
void link_dialled(struct link *link, dag_instant now);
/* The connection under it was closed. Its peer's process is gone, if no other comes. */
void link_closed(struct link *link, dag_instant now);
/* About every 250 ms. Looks are counted, not time: of what came while we stood still, nothing was read. */
void link_look(struct link *link);
static inline bool link_is_cut(const struct link *link)
{
	return link->cut > LINK_CUT_LOOKS;
}
static inline bool link_is_stuck(const struct link *link)
{
	return link->unacked_bytes > LINK_UNACKED_MAX;
}

#endif
