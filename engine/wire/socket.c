/* SPDX-License-Identifier: Apache-2.0 */
/* One prepare, check and idle handle for all sockets of a loop; one poll handle each. */
#include "socket.h"
#include "base/arena.h"
#include "door.h"
#include "os/os.h"

#include <errno.h>
#include <stdio.h>

#define MESSAGES_A_TURN 256 /* of one socket, before the loop's other work has its turn */

struct wire_loop {
	uv_loop_t *loop;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle;
	struct wire_socket *sockets;
	int open_handles;
	bool in_turn;
	dag_instant linger;
	struct arena arena; /* of the message that is being handled */
};

struct wire_socket {
	struct wire_loop *wire;
	struct wire_socket *next;
	void *socket;
	uv_poll_t poll;
	wire_recv_fn *on_recv;
	wire_event_fn *on_event;
	void *ctx, *event_ctx;
	struct wire_socket *monitor; /* watches this one's connection */
	bool awake; /* may have input of which its descriptor tells no more: it was used since */
	bool dead;  /* destroyed while its messages were being handled */
	int type;
};

static bool has_input(struct wire_socket *s)
{
	int events = 0;
	size_t len = sizeof(events);

	if (!s->awake)
		return false;
	if (zmq_getsockopt(s->socket, ZMQ_EVENTS, &events, &len) < 0)
		events = 0;
	s->awake = events & ZMQ_POLLIN;
	return s->awake;
}

static bool receive_one(struct wire_socket *s)
{
	zmq_msg_t frames[WIRE_FRAMES_MAX];
	size_t count = 0;
	bool more = true, too_many = false;

	while (more) {
		zmq_msg_t extra, *frame = count < WIRE_FRAMES_MAX ? &frames[count] : &extra;

		zmq_msg_init(frame);
		if (zmq_msg_recv(frame, s->socket, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(frame);
			break;
		}
		more = zmq_msg_more(frame);
		if (count < WIRE_FRAMES_MAX)
			count++;
		else {
			too_many = true;
			zmq_msg_close(frame);
		}
	}
	if (count && !too_many)
		s->on_recv(s->ctx, frames, count);
	arena_reset(&s->wire->arena);
	for (size_t i = 0; i < count; i++)
		zmq_msg_close(&frames[i]);
	return count > 0;
}

static void free_socket(uv_handle_t *handle)
{
	free(handle->data);
}

static void bury(struct wire_loop *wire)
{
	for (struct wire_socket **at = &wire->sockets; *at;) {
		struct wire_socket *s = *at;

		if (!s->dead) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		/* The descriptor must leave the loop before ZeroMQ closes it. */
		uv_poll_stop(&s->poll);
		zmq_close(s->socket);
		uv_close((uv_handle_t *)&s->poll, free_socket);
	}
}

/* Gives every socket its turn. */
static void serve(struct wire_loop *wire)
{
	wire->in_turn = true;
	for (struct wire_socket *s = wire->sockets; s; s = s->next)
		for (int i = 0; i < MESSAGES_A_TURN && !s->dead && has_input(s); i++)
			if (!receive_one(s))
				break;
	wire->in_turn = false;
	bury(wire);
}

static void on_idle(uv_idle_t *idle)
{
	(void)idle;
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct wire_loop *wire = prepare->data;
	bool input = false;

	for (struct wire_socket *s = wire->sockets; s && !input; s = s->next)
		input = has_input(s);
	if (wire->linger && os_now() >= wire->linger)
		wire->linger = 0;
	if (input || wire->linger)
		uv_idle_start(&wire->idle, on_idle);
	else
		uv_idle_stop(&wire->idle);
}

static void on_check(uv_check_t *check)
{
	serve(check->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct wire_socket *s = poll->data;

	(void)status;
	(void)events;
	s->awake = true; /* the check handle does the work */
}

void wire_loop_new(struct wire_loop **ret_wire, uv_loop_t *loop)
{
	struct wire_loop *wire = base_alloc(sizeof(*wire));

	wire->loop = loop;
	uv_prepare_init(loop, &wire->prepare);
	uv_check_init(loop, &wire->check);
	uv_idle_init(loop, &wire->idle);
	wire->prepare.data = wire->check.data = wire->idle.data = wire;
	wire->open_handles = 3;
	uv_prepare_start(&wire->prepare, on_prepare);
	uv_check_start(&wire->check, on_check);
	*ret_wire = wire;
}

struct arena *wire_socket_arena(struct wire_socket *s)
{
	return &s->wire->arena;
}

void wire_loop_linger(struct wire_loop *wire, dag_instant until)
{
	wire->linger = until;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct wire_loop *wire = handle->data;

	if (--wire->open_handles)
		return;
	arena_fini(&wire->arena);
	free(wire);
}

void wire_loop_destroy(struct wire_loop **wire)
{
	struct wire_loop *w = *wire;

	if (!w)
		return;
	bury(w);
	DAG_ASSERT(!w->sockets);
	uv_close((uv_handle_t *)&w->prepare, on_handle_closed);
	uv_close((uv_handle_t *)&w->check, on_handle_closed);
	uv_close((uv_handle_t *)&w->idle, on_handle_closed);
	*wire = NULL;
}

static struct wire_socket *wrap(
	struct wire_loop *wire, void *socket, int type, wire_recv_fn *on_recv, void *ctx)
{
	struct wire_socket *s = base_alloc(sizeof(*s));
	size_t len = sizeof(int);
	int fd;

	s->wire = wire;
	s->socket = socket;
	s->type = type;
	s->on_recv = on_recv;
	s->ctx = ctx;
	s->awake = true;
	/* Its descriptor is an eventfd that it has already: neither can fail for want of one. */
	DAG_ASSERT(zmq_getsockopt(socket, ZMQ_FD, &fd, &len) == 0);
	DAG_ASSERT(uv_poll_init(wire->loop, &s->poll, fd) == 0);
	s->poll.data = s;
	uv_poll_start(&s->poll, UV_READABLE, on_poll);
	s->next = wire->sockets;
	wire->sockets = s;
	return s;
}

struct wire_socket *wire_socket_new(struct wire_loop *wire, int type, const struct wire_keys *keys,
	bool listens, int64_t frame_max, const void *identity, size_t identity_len, wire_recv_fn *on_recv,
	void *ctx)
{
	void *socket = zmq_socket(wire_context(), type);
	int one = 1;

	if (!socket)
		return NULL;
	wire_socket_options(socket, keys, listens, frame_max);
	if (type == ZMQ_ROUTER)
		zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &one, sizeof(one));
	if (identity)
		zmq_setsockopt(socket, ZMQ_ROUTING_ID, identity, identity_len);
	return wrap(wire, socket, type, on_recv, ctx);
}

void wire_socket_unwatch(struct wire_socket *s)
{
	if (!s->monitor)
		return;
	zmq_socket_monitor(s->socket, NULL, 0);
	wire_socket_destroy(&s->monitor);
}

void wire_socket_destroy(struct wire_socket **socket)
{
	struct wire_socket *s = *socket;

	if (!s)
		return;
	wire_socket_unwatch(s);
	s->dead = true;
	if (!s->wire->in_turn)
		bury(s->wire);
	*socket = NULL;
}

void wire_socket_let_in_expected(struct wire_socket *s)
{
	int one = 1, patience = 2000;

	zmq_setsockopt(s->socket, ZMQ_PLAIN_SERVER, &one, sizeof(one));
	zmq_setsockopt(s->socket, ZMQ_ZAP_DOMAIN, DOOR_ANSWERS, strlen(DOOR_ANSWERS));
	zmq_setsockopt(s->socket, ZMQ_HANDSHAKE_IVL, &patience, sizeof(patience));
}

void wire_socket_come_as(struct wire_socket *s, const unsigned char *name, const unsigned char *word)
{
	char text[DOOR_TEXT_LEN];

	zmq_setsockopt(s->socket, ZMQ_ROUTING_ID, name, DOOR_NAME_LEN);
	door_write(name, text);
	zmq_setsockopt(s->socket, ZMQ_PLAIN_USERNAME, text, strlen(text));
	door_write(word, text);
	zmq_setsockopt(s->socket, ZMQ_PLAIN_PASSWORD, text, strlen(text));
}

void wire_frame(zmq_msg_t *frame, const void *bytes, size_t len)
{
	zmq_msg_init_size(frame, len);
	memcpy(zmq_msg_data(frame), bytes, len);
}

/* ZeroMQ looks a name up in one family only. */
static void set_family(void *socket, bool six)
{
	int on = six;

	zmq_setsockopt(socket, ZMQ_IPV6, &on, sizeof(on));
}

int wire_socket_bind(struct wire_socket *s, const char *endpoint, char **ret_endpoint)
{
	char real[256];
	size_t len = sizeof(real);

	s->awake = true;
	set_family(s->socket, endpoint_is_ipv6(endpoint));
	if (zmq_bind(s->socket, endpoint) < 0)
		return DAG_EIO;
	if (zmq_getsockopt(s->socket, ZMQ_LAST_ENDPOINT, real, &len) < 0)
		return DAG_EIO;
	*ret_endpoint = base_strdup(real);
	return 0;
}

int wire_socket_unbind(struct wire_socket *s, const char *endpoint)
{
	s->awake = true;
	return zmq_unbind(s->socket, endpoint) < 0 ? DAG_EIO : 0;
}

int wire_socket_connect(struct wire_socket *s, const char *endpoint, bool six)
{
	s->awake = true;
	set_family(s->socket, six);
	return zmq_connect(s->socket, endpoint) < 0 ? DAG_EIO : 0;
}

/*
 * ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL is not asked for: to tell of it changes libzmq's errno (4.3.4), which
 * takes a damaged message for one that must wait, keeps the connection, and aborts at its end.
 */
static const struct {
	uint16_t zmq;
	enum wire_event event;
} events[] = {{ZMQ_EVENT_CONNECTED, WIRE_CONNECTED}, {ZMQ_EVENT_ACCEPTED, WIRE_ACCEPTED},
	{ZMQ_EVENT_ACCEPT_FAILED, WIRE_NOT_ACCEPTED}, {ZMQ_EVENT_HANDSHAKE_SUCCEEDED, WIRE_SHAKEN},
	{ZMQ_EVENT_HANDSHAKE_FAILED_AUTH, WIRE_KEY_REFUSED}, {ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, WIRE_CUT},
	{ZMQ_EVENT_DISCONNECTED, WIRE_LOST}};

static void on_monitor(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct wire_socket *s = ctx;
	const unsigned char *data = count ? zmq_msg_data(&frames[0]) : NULL;
	uint16_t kind;
	int32_t value;

	if (!data || zmq_msg_size(&frames[0]) < sizeof(kind) + sizeof(value))
		return;
	memcpy(&kind, data, sizeof(kind));
	memcpy(&value, data + sizeof(kind), sizeof(value));
	for (size_t i = 0; i < DAG_LENGTH(events) && !s->dead; i++)
		if (events[i].zmq == kind)
			s->on_event(s->event_ctx, events[i].event, value);
}

int wire_socket_watch(struct wire_socket *s, wire_event_fn *on_event, void *ctx)
{
	char endpoint[64];
	void *monitor;
	int wanted = 0, none = 0;

	for (size_t i = 0; i < DAG_LENGTH(events); i++)
		wanted |= events[i].zmq;
	/* Of one that was closed the name is free only a moment later. */
	snprintf(endpoint, sizeof(endpoint), "inproc://dagrun.monitor.%llx", (unsigned long long)os_random());
	s->awake = true;
	if (zmq_socket_monitor(s->socket, endpoint, wanted) < 0)
		return DAG_EBUSY;
	monitor = zmq_socket(wire_context(), ZMQ_PAIR);
	if (!monitor) {
		zmq_socket_monitor(s->socket, NULL, 0);
		return DAG_EBUSY;
	}
	/* ZeroMQ's thread must never wait for us to hear of it. */
	zmq_setsockopt(monitor, ZMQ_RCVHWM, &none, sizeof(none));
	DAG_ASSERT(zmq_connect(monitor, endpoint) == 0);
	s->on_event = on_event;
	s->event_ctx = ctx;
	s->monitor = wrap(s->wire, monitor, ZMQ_PAIR, on_monitor, s);
	return 0;
}

int wire_socket_send(struct wire_socket *s, zmq_msg_t *frames, size_t count)
{
	int r = 0;

	s->awake = true;
	for (size_t i = 0; i < count; i++) {
		if (r == 0 && zmq_msg_send(&frames[i], s->socket,
				      ZMQ_DONTWAIT | (i + 1 < count ? ZMQ_SNDMORE : 0)) >= 0)
			continue;
		/* Only the first frame, which names the peer, can be refused: the rest follow it or are
		 * dropped. */
		if (r == 0)
			r = errno == EHOSTUNREACH ? DAG_EUNREACHABLE : DAG_EBUSY;
		zmq_msg_close(&frames[i]);
	}
	return r;
}
