/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serving: a ROUTER that takes requests, and answers over itself or, where they are sealed, over another one.
 */
#include "data_internal.h"
#include "os/os.h"
#include "wire/door.h"
#include "wire/guard.h"

#define ANSWERS_IN_MAX 1024 /* bytes that the answers' socket takes: more than a handshake's */

/* ---- sending ---- */

/* Holds a reference to its mover, which ZeroMQ may outlive. */
struct pinned {
	struct data *data;
	void *pin;
};

/* Called by ZeroMQ, in a thread of its own, when a block's bytes have been sent. */
static void on_unpinned(void *bytes, void *hint)
{
	struct pinned *p = hint;

	(void)bytes;
	data_post_event(p->data, &(struct data_event){.kind = DATA_SENT, .pin = p->pin});
	data_unref(p->data);
	free(p);
}

void data_serve_block(struct data *d, const struct command *c)
{
	Dagrun__Data m = DAGRUN__DATA__INIT;
	struct block_header header = c->header;
	struct pinned *pinned;
	zmq_msg_t frames[2];

	data_count_sending(d);
	m.kind = DAGRUN__DATA_KIND__BLOCK;
	m.channel = c->peer.channel;
	m.seq = header.seq;
	if (!header.running && !header.checksum && !d->local)
		header.checksum = hash_64(c->bytes, header.length);
	if (header.length <= FRAMES_LITTLE) {
		m.header = (ProtobufCBinaryData){sizeof(header), (uint8_t *)&header};
		m.payload = (ProtobufCBinaryData){header.length, (uint8_t *)c->bytes};
	}
	data_put(d, d->answers, &c->peer, &m);
	if (header.length <= FRAMES_LITTLE) {
		data_post_event(d, &(struct data_event){.kind = DATA_SENT, .pin = c->pin});
		return;
	}
	wire_frame(&frames[0], &header, sizeof(header));
	pinned = base_alloc(sizeof(*pinned));
	*pinned = (struct pinned){d, c->pin};
	__atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
	zmq_msg_init_data(&frames[1], (void *)c->bytes, header.length, on_unpinned, pinned);
	data_flush(d, frames, 2);
}

void data_serve_end(struct data *d, const struct command *c)
{
	Dagrun__Data m = DAGRUN__DATA__INIT;

	m.kind = DAGRUN__DATA_KIND__END;
	m.channel = c->peer.channel;
	m.blocks = c->count;
	m.records = c->end.records;
	m.bytes = c->end.bytes;
	m.hash_low = c->end.hash.low;
	m.hash_high = c->end.hash.high;
	m.checked = c->checked;
	data_put(d, d->answers, &c->peer, &m);
}

void data_serve_error(struct data *d, const struct command *c)
{
	Dagrun__Data m = DAGRUN__DATA__INIT;

	m.kind = DAGRUN__DATA_KIND__ERROR;
	m.channel = c->peer.channel;
	m.error = c->error;
	m.text = c->text ? c->text : "";
	data_put(d, d->answers, &c->peer, &m);
}

/* ---- serving ---- */

static void on_request(struct data *d, const struct data_peer *peer, const Dagrun__Data *m)
{
	struct data_event event = {.peer = *peer, .credit = m->credit, .bytes = m->bytes};

	event.peer.channel = m->channel;
	if (m->kind == DAGRUN__DATA_KIND__OPEN && strlen(m->job) < sizeof(event.open.job)) {
		event.kind = DATA_OPENED;
		memcpy(event.open.job, m->job, strlen(m->job) + 1);
		event.open.vertex = m->vertex;
		event.open.attempt = m->attempt;
		event.open.stream = m->stream;
		event.open.part = m->part;
		event.open.reader = m->reader;
		event.open.reader_port = m->reader_port;
		event.open.live = m->live;
		event.open.seq = m->seq;
		event.open.credit = m->credit;
		data_post_event(d, &event);
	} else if (m->kind == DAGRUN__DATA_KIND__CREDIT) {
		event.kind = DATA_CREDITED;
		data_post_event(d, &event);
	} else if (m->kind == DAGRUN__DATA_KIND__CLOSE) {
		event.kind = DATA_CLOSED;
		event.error = m->error;
		data_post_event(d, &event);
	}
}

/* Whom to answer: under the name that the connection has, or as the message says. *ret_word: NULL, or what
 * shall let it in. */
static bool find_peer(const struct data *d, zmq_msg_t *frames, size_t count, struct data_peer *ret,
	const unsigned char **ret_word)
{
	zmq_msg_t *from = d->seal ? &frames[count - 1] : &frames[0];
	const unsigned char *bytes = zmq_msg_data(from);
	size_t len = zmq_msg_size(from);

	*ret = (struct data_peer){.identity_len = FRAMES_NAME_LEN};
	*ret_word = NULL;
	if (d->seal) {
		if (count != 3 || len < FRAMES_NAME_LEN + SEAL_KEY_LEN ||
			len > FRAMES_NAME_LEN + SEAL_KEY_LEN + FRAMES_WORD_LEN)
			return false;
		memcpy(ret->key, bytes + FRAMES_NAME_LEN, SEAL_KEY_LEN);
		if (len == FRAMES_NAME_LEN + SEAL_KEY_LEN + FRAMES_WORD_LEN)
			*ret_word = bytes + FRAMES_NAME_LEN + SEAL_KEY_LEN;
	} else {
		if (count != 2 || len > sizeof(ret->identity))
			return false;
		ret->identity_len = (uint32_t)len;
	}
	memcpy(ret->identity, bytes, ret->identity_len);
	return true;
}

/* Back to where it came from, as it came. */
static void send_back(struct wire_socket *socket, zmq_msg_t *frames)
{
	zmq_msg_t back[2];

	for (size_t i = 0; i < DAG_LENGTH(back); i++) {
		zmq_msg_init(&back[i]);
		zmq_msg_move(&back[i], &frames[i]);
	}
	wire_socket_send(socket, back, DAG_LENGTH(back));
}

static void on_router_message(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct data *d = ctx;
	struct data_peer peer;
	const unsigned char *word;
	Dagrun__Data *m;
	size_t at = 0;

	if (!find_peer(d, frames, count, &peer, &word))
		return;
	if (!zmq_msg_size(&frames[1])) {
		if (word && d->keys->door)
			door_expect(d->keys->door, peer.identity, word);
		send_back(d->router, frames);
		return;
	}
	while ((m = frames_next(zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), &at))) {
		on_request(ctx, &peer, m);
		dagrun__data__free_unpacked(m, NULL);
	}
}

static void on_hello(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct data *d = ctx;

	if (count == 2 && !zmq_msg_size(&frames[1]))
		send_back(d->answers, frames);
}

/* ---- sockets ---- */

/* A second socket, for answers that are sealed, on any port of the address; the endpoint names both. */
static int listen_for_answers(struct data *d, char **endpoint)
{
	char *any = wire_with_port(*endpoint, "*"), *own, *both;
	int r;

	d->answers = wire_socket_new(d->wire, ZMQ_ROUTER, NULL, true, ANSWERS_IN_MAX, NULL, 0, on_hello, d);
	r = d->answers ? guard_new(&d->answers_guard, d->answers) : DAG_EIO;
	if (r == 0) {
		wire_socket_let_in_expected(d->answers);
		r = wire_socket_bind(d->answers, any, &own);
	}
	free(any);
	if (r < 0)
		return r;
	guard_bound(d->answers_guard, own);
	both = base_format("%s+%s", *endpoint, strrchr(own, ':') + 1);
	free(own);
	free(*endpoint);
	*endpoint = both;
	return 0;
}

int data_serve_at(struct data *d, const char *endpoint, char **ret_endpoint)
{
	int r;

	d->router = wire_socket_new(d->wire, ZMQ_ROUTER, d->local ? NULL : d->keys, true, FRAMES_REQUEST_MAX,
		NULL, 0, on_router_message, d);
	d->answers = d->router;
	if (!d->router || (!d->local && guard_new(&d->guard, d->router) < 0))
		return DAG_EIO;
	r = wire_socket_bind(d->router, endpoint, ret_endpoint);
	if (r == 0 && d->guard)
		guard_bound(d->guard, *ret_endpoint);
	return r == 0 && d->seal ? listen_for_answers(d, ret_endpoint) : r;
}

static void tick(struct data *d, struct guard *guard)
{
	char *text = guard ? guard_tick(guard, os_now()) : NULL;

	if (text)
		data_post_event(d, &(struct data_event){.kind = DATA_NOTICE, .text = text});
}

void data_serve_tick(struct data *d)
{
	tick(d, d->guard);
	tick(d, d->answers_guard);
}

void data_serve_close(struct data *d)
{
	guard_destroy(&d->guard);
	guard_destroy(&d->answers_guard);
	if (d->answers != d->router)
		wire_socket_destroy(&d->answers);
	wire_socket_destroy(&d->router);
}
