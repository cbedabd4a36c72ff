/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHANNEL_FRAMES_H
#define CHANNEL_FRAMES_H
/*
 * What goes over a data connection. The first frame has one or more Data, each behind its length (uint32);
 * the last of them may be a BLOCK whose header and payload are the two frames that follow. A block of up to
 * FRAMES_LITTLE bytes lies in its Data, so that hundreds of little channels cost a few messages.
 *
 * A request whose first frame is empty is returned so: who asks knows that he is heard.
 *
 * With keys the requests go over a CURVE connection, each behind it with a frame that says where its answers
 * shall go: a name and a key, which the reader drew. Under that name the reader has another connection,
 * without CURVE, to a port that follows a '+' in the endpoint. That port takes it in once, with a word that
 * an empty request has told before, behind name and key, and nobody else (door.h). Nothing is read there but
 * a message without a byte, which is returned: so the reader knows that answers would reach it. What is
 * answered is sealed with the key: the first frame behind the message's nonce. Who loses a connection, or
 * hears nothing, draws all anew.
 */
#include "base/buffer.h"
#include "block.h"
#include "dagrun.pb-c.h"
#include "wire/seal.h"

#include <zmq.h>

#define FRAMES_LITTLE 8192u
#define FRAMES_LEN_MAX (256u << 10)                /* of the first one */
#define FRAMES_NAME_LEN 16u                        /* of a reader, for its answers */
#define FRAMES_WORD_LEN 16u                        /* that lets it in, once */
#define FRAMES_REQUEST_MAX (FRAMES_LEN_MAX + 4096) /* bytes of a request's frame, as it is on the wire */

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

/* `more`: the two frames that follow, each with `tag` bytes behind what it holds, or NULL. False where it is
 * damaged; its checksum is not looked at. */
bool frames_block(const Dagrun__Data *m, zmq_msg_t *more, size_t tag, struct arrived *ret);
/* Its payload in a message of its own. */
void frames_keep(struct arrived *a, zmq_msg_t *ret);

/* A message of `first` and `count` frames more, sealed; those are closed. ret: room for 1 + count. */
void frames_seal(struct seal *seal, const unsigned char *key, const struct buffer *first, zmq_msg_t *more,
	size_t count, zmq_msg_t *ret);
/* Opens it in place; *ret_first is what the first frame holds, the others hold theirs before a tag. False
 * where it was not sealed with this key, or was damaged. */
bool frames_open(struct seal *seal, const unsigned char *key, zmq_msg_t *frames, size_t count,
	const void **ret_first, size_t *ret_len);

#endif
