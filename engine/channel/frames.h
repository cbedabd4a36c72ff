/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHANNEL_FRAMES_H
#define CHANNEL_FRAMES_H
/*
 * What goes over a data connection. The first frame has one or more Data, each behind its length (uint32);
 * the last of them may be a BLOCK whose header and payload are the two frames that follow. A block of up to
 * FRAMES_LITTLE bytes lies in its Data, so that hundreds of little channels cost a few messages.
 */
#include "base/buffer.h"
#include "block.h"
#include "dagrun.pb-c.h"

#include <zmq.h>

#define FRAMES_LITTLE 8192u
#define FRAMES_LEN_MAX (256u << 10) /* of the first one */

void frames_add(struct buffer *frame, const Dagrun__Data *m);
/*
 * The next Data from *at (begins at 0) on, which the caller frees with dagrun__data__free_unpacked; NULL
 * where there is none, or what is there is not one.
 */
Dagrun__Data *frames_next(const void *frame, size_t len, size_t *at);

/* A block as it came. */
struct arrived {
	struct block_header header;
	const void *payload;
	zmq_msg_t *message; /* that is the payload; NULL: it lies in the Data */
};

/* `more`: the two frames that follow, or NULL. False where it is damaged; its checksum is not looked at. */
bool frames_block(const Dagrun__Data *m, zmq_msg_t *more, struct arrived *ret);
/* Its payload in a message of its own. */
void frames_keep(struct arrived *a, zmq_msg_t *ret);

#endif
