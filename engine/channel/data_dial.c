/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a node that is read from: one socket, or with keys two (frames.h). ZeroMQ gives a connection up
 * for good after an error of its protocol, and nobody may come twice under one name: so what broke, or says
 * nothing while something is wanted of it, is replaced whole, and all that is read there is asked for again.
 */
#include "data_internal.h"
#include "os/os.h"
#include "wire/door.h"

#define ASK_AFTER (1 * DAG_SECOND)  /* of silence: whether anybody is there; no answer: dial anew */
#define DIAL_PAUSE (1 * DAG_SECOND) /* between two diallings */

static bool is_sealed(const struct dealer *dealer)
{
	return dealer->data->seal && strchr(dealer->endpoint, '+');
}

/* ---- what is said beside requests ---- */

/* An empty request. `introduces`: with the word that lets our answers' connection in. */
static void ask(struct dealer *dealer, bool introduces)
{
	const struct data_peer *self = &dealer->self;
	zmq_msg_t frames[2];
	unsigned char *address;

	dealer->asked = os_now();
	zmq_msg_init(&frames[0]);
	if (!is_sealed(dealer)) {
		wire_socket_send(dealer->socket, frames, 1);
		return;
	}
	zmq_msg_init_size(&frames[1], FRAMES_NAME_LEN + SEAL_KEY_LEN + (introduces ? FRAMES_WORD_LEN : 0));
	address = zmq_msg_data(&frames[1]);
	memcpy(address, self->identity, FRAMES_NAME_LEN);
	memcpy(address + FRAMES_NAME_LEN, self->key, SEAL_KEY_LEN);
	if (introduces)
		memcpy(address + FRAMES_NAME_LEN + SEAL_KEY_LEN, dealer->word, FRAMES_WORD_LEN);
	wire_socket_send(dealer->socket, frames, 2);
}

static void say_hello(struct dealer *dealer)
{
	zmq_msg_t nothing;

	zmq_msg_init(&nothing);
	wire_socket_send(dealer->answers, &nothing, 1);
}

/* ---- dialling ---- */

static void on_event(void *ctx, enum wire_event event, int value);

static struct wire_socket *open_socket(
	struct dealer *dealer, const struct wire_keys *keys, wire_recv_fn *on_recv)
{
	struct wire_socket *s = wire_socket_new(
		dealer->data->wire, ZMQ_DEALER, keys, false, WIRE_BLOCK_MAX, NULL, 0, on_recv, dealer);

	if (s && !dealer->local && wire_socket_watch(s, on_event, dealer) < 0)
		wire_socket_destroy(&s);
	return s;
}

static void close_sockets(struct dealer *dealer)
{
	struct data *d = dealer->data;

	data_flush(d, NULL, 0);
	d->outbox.socket = NULL;
	wire_socket_destroy(&dealer->socket);
	wire_socket_destroy(&dealer->answers);
	dealer->reached = false;
	dealer->silence.again = 0;
}

static void on_answer(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct dealer *dealer = ctx;
	const void *first;
	size_t len;

	/* Of what is not sealed with our key, or was damaged, nothing is believed: the silence asks again. */
	if (count == 1 && !zmq_msg_size(&frames[0])) {
		dealer->heard_answers = os_now();
		dealer->events->on_reached(dealer);
	} else if (frames_open(dealer->data->seal, dealer->self.key, frames, count, &first, &len)) {
		dealer->heard_answers = os_now();
		dealer->events->on_answers(dealer, first, len, count == 3 ? &frames[1] : NULL);
	}
}

/* The node expects us there now. */
static void dial_answers(struct dealer *dealer)
{
	char *endpoint = wire_with_port(dealer->endpoint, strchr(dealer->endpoint, '+') + 1);

	dealer->answers = open_socket(dealer, NULL, on_answer);
	if (dealer->answers) {
		wire_socket_come_as(dealer->answers, dealer->self.identity, dealer->word);
		wire_socket_connect(dealer->answers, endpoint, dealer->six);
		say_hello(dealer);
	} else {
		dealer->silence.again = os_now() + DIAL_PAUSE;
	}
	free(endpoint);
}

static void on_message(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct dealer *dealer = ctx;
	size_t len = zmq_msg_size(&frames[0]);

	dealer->heard = os_now();
	if (is_sealed(dealer)) {
		if (count == 1 && !len && !dealer->answers)
			dial_answers(dealer);
	} else if (len) {
		dealer->events->on_answers(
			dealer, zmq_msg_data(&frames[0]), len, count == 3 ? &frames[1] : NULL);
	}
}

static void draw_names(struct dealer *dealer)
{
	struct data_peer *self = &dealer->self;

	self->identity_len = FRAMES_NAME_LEN;
	os_draw(self->identity, FRAMES_NAME_LEN);
	self->identity[0] |= 1; /* names that begin with a zero are ZeroMQ's own */
	os_draw(self->key, SEAL_KEY_LEN);
	os_draw(dealer->word, FRAMES_WORD_LEN);
}

static void dial(struct dealer *dealer)
{
	struct data_peer old = dealer->self;
	bool was_reached = dealer->reached;
	char *requests = base_strndup(dealer->endpoint, strcspn(dealer->endpoint, "+"));

	close_sockets(dealer);
	dealer->at = os_now();
	silence_begin(&dealer->silence, dealer->at);
	dealer->socket = open_socket(dealer, dealer->local ? NULL : dealer->data->keys, on_message);
	if (dealer->socket)
		wire_socket_connect(dealer->socket, requests, dealer->six);
	else
		dealer->silence.again = dealer->at + DIAL_PAUSE; /* there are no descriptors for it now */
	free(requests);
	if (dealer->socket && is_sealed(dealer)) {
		if (was_reached)
			dealer->events->on_left(dealer, &old);
		draw_names(dealer);
		ask(dealer, true);
	} else if (dealer->socket) {
		dealer->events->on_reached(dealer);
	}
	explicit_bzero(&old, sizeof(old));
}

static void on_event(void *ctx, enum wire_event event, int value)
{
	struct dealer *dealer = ctx;
	dag_instant now = os_now();

	(void)value;
	if (event != WIRE_LOST)
		return;
	dealer->silence.again = DAG_MAX(now, dealer->at + DIAL_PAUSE);
	if (dealer->reading_count && now >= dealer->silence.again)
		dial(dealer);
}

/* ---- its life ---- */

struct dealer *dealer_find(struct data *d, const char *endpoint, const struct dealer_events *events)
{
	struct dealer *dealer;

	HASH_FIND_STR(d->dealers, endpoint, dealer);
	if (dealer)
		return dealer;
	dealer = base_alloc(sizeof(*dealer));
	dealer->data = d;
	dealer->events = events;
	dealer->endpoint = base_strdup(endpoint);
	dealer->local = wire_is_inproc(endpoint);
	dealer->six = endpoint_is_ipv6(endpoint);
	HASH_ADD_KEYPTR(hh, d->dealers, dealer->endpoint, strlen(dealer->endpoint), dealer);
	return dealer;
}

void dealer_use(struct dealer *dealer)
{
	if (!dealer->reading_count++)
		dealer->silence.since = os_now();
	if (!dealer->socket || dealer->silence.again)
		dial(dealer);
}

static dag_instant last_heard(const struct dealer *dealer)
{
	return is_sealed(dealer) ? DAG_MIN(dealer->heard, dealer->heard_answers) : dealer->heard;
}

void dealer_tick(struct dealer *dealer, dag_instant now)
{
	if (dealer->local)
		return;
	if (!dealer->reading_count) {
		if (dealer->silence.again) /* it is gone, and nothing is wanted of it */
			close_sockets(dealer);
		return;
	}
	if (!dealer->socket || silence_is_over(&dealer->silence, last_heard(dealer), !dealer->reached, now)) {
		dealer->silence.hasted = !dealer->reached;
		dial(dealer);
		return;
	}
	if (now - last_heard(dealer) < ASK_AFTER || now - dealer->asked < ASK_AFTER)
		return;
	ask(dealer, false);
	if (dealer->answers)
		say_hello(dealer);
}

void dealer_destroy(struct dealer *dealer)
{
	HASH_DEL(dealer->data->dealers, dealer);
	wire_socket_destroy(&dealer->socket);
	wire_socket_destroy(&dealer->answers);
	explicit_bzero(&dealer->self, sizeof(dealer->self));
	explicit_bzero(dealer->word, sizeof(dealer->word));
	free(dealer->endpoint);
	free(dealer);
}
