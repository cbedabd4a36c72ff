/* SPDX-License-Identifier: Apache-2.0 */
#include "frames.h"
#include "os/os.h"
#include "wire/socket.h"

void frames_add(struct buffer *frame, const Dagrun__Data *m)
{
	uint32_t len = (uint32_t)dagrun__data__get_packed_size(m);

	buffer_append(frame, &len, sizeof(len));
	dagrun__data__pack(m, buffer_extend(frame, len));
}

Dagrun__Data *frames_next(const void *frame, size_t len, size_t *at)
{
	const unsigned char *data = frame;
	uint32_t next;
	size_t from = *at + sizeof(next);

	if (len > FRAMES_LEN_MAX || from > len)
		return NULL;
	memcpy(&next, data + *at, sizeof(next));
	if (next > len - from)
		return NULL;
	*at = from + next;
	return dagrun__data__unpack(NULL, next, data + from);
}

bool frames_block(const Dagrun__Data *m, zmq_msg_t *more, size_t tag, struct arrived *ret)
{
	const void *header = more ? zmq_msg_data(&more[0]) : m->header.data;
	size_t header_len = more ? zmq_msg_size(&more[0]) - tag : m->header.len;
	size_t len = more ? zmq_msg_size(&more[1]) - tag : m->payload.len;

	if (header_len != sizeof(ret->header))
		return false;
	memcpy(&ret->header, header, sizeof(ret->header));
	ret->payload = more ? zmq_msg_data(&more[1]) : m->payload.data;
	ret->message = more ? &more[1] : NULL;
	return !block_header_check(&ret->header) && ret->header.length == len && ret->header.seq == m->seq;
}

void frames_keep(struct arrived *a, zmq_msg_t *ret)
{
	if (a->message) {
		zmq_msg_init(ret);
		zmq_msg_move(ret, a->message);
		return;
	}
	wire_frame(ret, a->payload, a->header.length);
}

/* A nonce of its own for each message; seal.c tells its frames apart. */
void frames_seal(struct seal *seal, const unsigned char *key, const struct buffer *first, zmq_msg_t *more,
	size_t count, zmq_msg_t *ret)
{
	unsigned char *nonce;

	zmq_msg_init_size(&ret[0], SEAL_NONCE_LEN + first->len + SEAL_TAG_LEN);
	nonce = zmq_msg_data(&ret[0]);
	os_draw(nonce, SEAL_NONCE_LEN);
	seal_begin(seal, key, nonce, (unsigned char)(count + 1));
	seal_close(seal, 0, first->data, first->len, nonce + SEAL_NONCE_LEN);
	for (size_t i = 0; i < count; i++) {
		size_t len = zmq_msg_size(&more[i]);

		zmq_msg_init_size(&ret[i + 1], len + SEAL_TAG_LEN);
		seal_close(
			seal, (unsigned char)(i + 1), zmq_msg_data(&more[i]), len, zmq_msg_data(&ret[i + 1]));
		zmq_msg_close(&more[i]);
	}
}

bool frames_open(struct seal *seal, const unsigned char *key, zmq_msg_t *frames, size_t count,
	const void **ret_first, size_t *ret_len)
{
	unsigned char *first = zmq_msg_data(&frames[0]);
	size_t len = zmq_msg_size(&frames[0]);

	if (len < SEAL_NONCE_LEN)
		return false;
	seal_begin(seal, key, first, (unsigned char)count);
	first += SEAL_NONCE_LEN;
	len -= SEAL_NONCE_LEN;
	if (!seal_open(seal, 0, first, len, first))
		return false;
	for (size_t i = 1; i < count; i++) {
		void *data = zmq_msg_data(&frames[i]);

		if (!seal_open(seal, (unsigned char)i, data, zmq_msg_size(&frames[i]), data))
			return false;
	}
	*ret_first = first;
	*ret_len = len - SEAL_TAG_LEN;
	return true;
}
