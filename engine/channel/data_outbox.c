/* SPDX-License-Identifier: Apache-2.0 */
/* What goes out, gathered by peer. */
#include "data_internal.h"

/* Where the answers to a request shall go: see find_peer. */
static void add_address(zmq_msg_t *frame, const struct data_peer *self)
{
	unsigned char *address;

	zmq_msg_init_size(frame, FRAMES_NAME_LEN + SEAL_KEY_LEN);
	address = zmq_msg_data(frame);
	memcpy(address, self->identity, FRAMES_NAME_LEN);
	memcpy(address + FRAMES_NAME_LEN, self->key, SEAL_KEY_LEN);
}

/* A message of `first` and `count` frames more, as they are. */
static void put_plain(const struct buffer *first, zmq_msg_t *more, size_t count, zmq_msg_t *ret)
{
	wire_frame(&ret[0], first->data, first->len);
	for (size_t i = 0; i < count; i++) {
		zmq_msg_init(&ret[i + 1]);
		zmq_msg_move(&ret[i + 1], &more[i]);
	}
}

void data_flush(struct data *d, zmq_msg_t *more, size_t count)
{
	struct outbox *o = &d->outbox;
	bool answers = o->socket == d->answers;
	zmq_msg_t frames[4];
	size_t n = 0;

	if (!o->frame.len)
		return;
	if (answers)
		wire_frame(&frames[n++], o->peer.identity, o->peer.identity_len);
	if (answers && d->seal)
		frames_seal(d->seal, o->peer.key, &o->frame, more, count, &frames[n]);
	else
		put_plain(&o->frame, more, count, &frames[n]);
	n += 1 + count;
	if (!answers && o->peer.identity_len)
		add_address(&frames[n++], &o->peer);
	o->frame.len = 0;
	wire_socket_send(o->socket, frames, n);
}

static bool goes_to(const struct outbox *o, const struct wire_socket *socket, const struct data_peer *peer)
{
	return o->socket == socket && o->peer.identity_len == peer->identity_len &&
	       !memcmp(o->peer.identity, peer->identity, peer->identity_len);
}

void data_put(struct data *d, struct wire_socket *socket, const struct data_peer *peer, const Dagrun__Data *m)
{
	struct outbox *o = &d->outbox;

	if (!goes_to(o, socket, peer) || o->frame.len > FRAMES_LEN_MAX / 2)
		data_flush(d, NULL, 0);
	o->socket = socket;
	o->peer = *peer;
	frames_add(&o->frame, m);
}
