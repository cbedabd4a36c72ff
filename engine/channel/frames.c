/* SPDX-License-Identifier: Apache-2.0 */
#include "frames.h"

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

bool frames_block(const Dagrun__Data *m, zmq_msg_t *more, struct arrived *ret)
{
	const void *header = more ? zmq_msg_data(&more[0]) : m->header.data;
	size_t header_len = more ? zmq_msg_size(&more[0]) : m->header.len;
	size_t len = more ? zmq_msg_size(&more[1]) : m->payload.len;

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
	zmq_msg_init_size(ret, a->header.length);
	memcpy(zmq_msg_data(ret), a->payload, a->header.length);
}
