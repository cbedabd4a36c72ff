/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes in and out; link.c decides what counts. */
#include "session_internal.h"
#include "base/arena.h"
#include "os/os.h"

#include <errno.h>
#include <unistd.h>

#define HEADERS_MAX 256u /* bytes of an envelope beside its body */

static void send_bytes(struct session *s, const unsigned char *data, size_t len)
{
	zmq_msg_t frames[WIRE_FRAMES_MAX];
	size_t n = 0;

	if (!s->socket)
		return; /* it is repeated when there is one */
	if (s->server)
		wire_frame(&frames[n++], s->identity, s->identity_len);
	for (size_t at = 0; at < len || !at; at += WIRE_CONTROL_PART)
		wire_frame(&frames[n++], data + at, DAG_MIN(len - at, (size_t)WIRE_CONTROL_PART));
	if (wire_socket_send(s->socket, frames, n) == DAG_EUNREACHABLE)
		link_closed(&s->link, os_now());
}

static unsigned char *pack(struct session *s, Dagrun__Envelope *e, uint64_t seq, size_t *ret_len)
{
	unsigned char *data;

	e->session = s->link.session;
	e->seq = seq;
	e->ack = s->link.received;
	e->server = s->opening;
	*ret_len = dagrun__envelope__get_packed_size(e);
	data = base_alloc(*ret_len);
	dagrun__envelope__pack(e, data);
	return data;
}

bool session_fits(size_t body_len)
{
	return body_len <= WIRE_MESSAGE_MAX - HEADERS_MAX;
}

static void send_numbered(struct session *s, Dagrun__Envelope *e)
{
	size_t len;
	unsigned char *data = pack(s, e, link_next(&s->link), &len);

	send_bytes(s, data, len);
	link_sent(&s->link, data, len, os_now());
}

static void send_pieces(struct session *s, Dagrun__Envelope *e)
{
	size_t len;
	unsigned char *data = pack(s, e, 0, &len);

	for (size_t at = 0; at < len; at += WIRE_PIECE) {
		Dagrun__Piece piece = DAGRUN__PIECE__INIT;
		SESSION_ENVELOPE(part, PIECE);

		piece.data.data = data + at;
		piece.data.len = DAG_MIN(len - at, (size_t)WIRE_PIECE);
		piece.last = at + piece.data.len == len;
		part.piece = &piece;
		send_numbered(s, &part);
	}
	free(data);
}

int session_send(struct session *s, Dagrun__Envelope *e)
{
	size_t len = dagrun__envelope__get_packed_size(e);

	if (s->refused)
		return 0;
	if (!session_fits(len) && !s->problem)
		s->problem = base_format("a message to it of %zu bytes is beyond the limit of %u", len,
			WIRE_MESSAGE_MAX - HEADERS_MAX);
	else if (link_is_stuck(&s->link) && !s->problem)
		s->problem = base_strdup("it acknowledges nothing of what it is told");
	if (s->problem)
		return DAG_ELIMIT;
	if (len <= WIRE_PIECE)
		send_numbered(s, e);
	else
		send_pieces(s, e);
	return 0;
}

/* A message outside of the numbering: heartbeats and refusals. */
static void send_unnumbered(struct session *s, Dagrun__Envelope *e)
{
	size_t len;
	unsigned char *data = pack(s, e, 0, &len);

	send_bytes(s, data, len);
	link_acked(&s->link, os_now());
	free(data);
}

static void send_heartbeat(struct session *s)
{
	Dagrun__Envelope e = DAGRUN__ENVELOPE__INIT;

	send_unnumbered(s, &e);
}

static void send_hello(struct session *s, const char *id, Dagrun__Role role, uint64_t incarnation)
{
	Dagrun__Hello hello = DAGRUN__HELLO__INIT;
	SESSION_ENVELOPE(e, HELLO);

	hello.version_min = WIRE_VERSION_MIN;
	hello.version_max = WIRE_VERSION_MAX;
	hello.role = role;
	hello.id = (char *)id;
	hello.incarnation = incarnation;
	e.hello = &hello;
	session_send(s, &e);
}

static bool speaks_our_version(const Dagrun__Hello *hello)
{
	return hello->version_min <= WIRE_VERSION_MAX && hello->version_max >= WIRE_VERSION_MIN;
}

static void end_with_problem(struct session *s);

static void repeat_what_is_due(struct session *s, dag_instant now)
{
	const struct link_message *repeat;
	size_t n = link_repeat(&s->link, now, &repeat);

	for (size_t i = 0; i < n; i++)
		send_bytes(s, repeat[i].data, repeat[i].len);
}

void session_tick(struct session *s, dag_instant now)
{
	if (s->refused)
		return;
	if (s->problem) {
		end_with_problem(s);
		return;
	}
	if (s->server)
		link_look(&s->link);
	else
		dial_look_after(s, now);
	repeat_what_is_due(s, now);
	if (now - s->link.last_sent >= LINK_HEARTBEAT || s->link.received > s->link.ack_sent)
		send_heartbeat(s);
}

static void *alloc_in(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void free_in(void *arena, void *p)
{
	(void)arena; /* with all the rest */
	(void)p;
}

static Dagrun__Envelope *parse(struct arena *arena, const void *bytes, size_t len)
{
	ProtobufCAllocator allocator = {alloc_in, free_in, arena};

	return dagrun__envelope__unpack(&allocator, len, bytes);
}

/* Its frames as one; NULL: it is too long. */
static const unsigned char *join(struct arena *arena, zmq_msg_t *frames, size_t count, size_t *ret_len)
{
	unsigned char *bytes;
	size_t len = 0;

	for (size_t i = 0; i < count; i++)
		len += zmq_msg_size(&frames[i]);
	*ret_len = len;
	if (!count || len > WIRE_CONTROL_MAX)
		return NULL;
	if (count == 1)
		return zmq_msg_data(&frames[0]);
	bytes = arena_alloc(arena, len);
	len = 0;
	for (size_t i = 0; i < count; i++) {
		memcpy(bytes + len, zmq_msg_data(&frames[i]), zmq_msg_size(&frames[i]));
		len += zmq_msg_size(&frames[i]);
	}
	return bytes;
}

/* The envelope and all in it last as long as the message is handled. */
static Dagrun__Envelope *unpack(struct wire_socket *socket, zmq_msg_t *frames, size_t count)
{
	struct arena *arena = wire_socket_arena(socket);
	size_t len;
	const unsigned char *bytes = join(arena, frames, count, &len);

	return bytes ? parse(arena, bytes, len) : NULL;
}

/* The message that ends with this piece; NULL where it does not end yet, or is none. */
static Dagrun__Envelope *join_pieces(struct session *s, const Dagrun__Piece *piece)
{
	size_t most = s->handlers->message_max ? s->handlers->message_max : WIRE_CONTROL_MAX;
	Dagrun__Envelope *e;

	if (piece->data.len > most - s->pieces.len) {
		s->problem = base_format("a message of it is beyond the limit of %zu bytes", most);
		buffer_fini(&s->pieces);
		return NULL;
	}
	buffer_append(&s->pieces, piece->data.data, piece->data.len);
	if (!piece->last)
		return NULL;
	e = parse(wire_socket_arena(s->socket), s->pieces.data, s->pieces.len);
	buffer_fini(&s->pieces);
	if (!e || e->body_case == DAGRUN__ENVELOPE__BODY_PIECE ||
		e->body_case == DAGRUN__ENVELOPE__BODY_HELLO) {
		s->problem = base_strdup("a message of it in pieces makes no sense");
		return NULL;
	}
	return e;
}

static void hand_on(struct session *s, const Dagrun__Envelope *e)
{
	if (s->problem)
		return; /* without what went before it would be wrong */
	if (link_owes_ack(&s->link))
		send_heartbeat(s);
	if (e->body_case == DAGRUN__ENVELOPE__BODY_PIECE)
		e = join_pieces(s, e->piece);
	if (e)
		s->handlers->on_message(s->ctx, s, e);
}

/* ---- dialler ---- */

/* With keys alone, whoever has them could answer in the place of another. */
static bool take_hello(struct session *s, const Dagrun__Hello *hello)
{
	char *text;

	if (!s->peer)
		s->peer = base_strdup(hello->id);
	if (!s->dial.expected || !strcmp(s->dial.expected, hello->id))
		return true;
	s->refused = true;
	text = base_format("%s'%s' answers there, and not '%s'",
		hello->role == DAGRUN__ROLE__DAEMON ? "the dagd of node " : "", hello->id, s->dial.expected);
	s->handlers->on_refused(s->ctx, s, text);
	free(text);
	return false;
}

static void on_envelope(struct session *s, Dagrun__Envelope *e)
{
	if (e->session == s->link.session && !s->refused) {
		bool is_refusal = e->body_case == DAGRUN__ENVELOPE__BODY_REFUSED;

		if (is_refusal || (s->peer_opening && e->server != s->peer_opening)) {
			s->refused = true;
			s->handlers->on_refused(
				s->ctx, s, is_refusal ? e->refused->reason : "it was started anew");
			return;
		}
		s->peer_opening = e->server;
		if (link_receive(&s->link, e->seq, e->ack, os_now()) == LINK_DELIVER) {
			if (e->body_case == DAGRUN__ENVELOPE__BODY_HELLO && !take_hello(s, e->hello))
				return;
			hand_on(s, e);
		}
	}
}

static void on_message(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct session *s = ctx;
	Dagrun__Envelope *e = unpack(s->socket, frames, count);

	if (e)
		on_envelope(s, e);
}

struct session *session_dial(struct wire_loop *wire, const struct wire_keys *keys, const char *endpoint,
	const char *id, Dagrun__Role role, uint64_t incarnation, const struct session_handlers *handlers,
	void *ctx)
{
	struct session *s = base_alloc(sizeof(*s));

	link_init(&s->link, os_random(), os_now());
	s->handlers = handlers;
	s->ctx = ctx;
	s->dial = (struct dialling){.wire = wire,
		.keys = keys,
		.on_message = on_message,
		.endpoint = base_strdup(endpoint),
		.six = endpoint_is_ipv6(endpoint),
		.stood = os_now()};
	if (dial_open(s) == DAG_EIO) {
		session_destroy(&s);
		return NULL;
	}
	send_hello(s, id, role, incarnation);
	return s;
}

void session_destroy(struct session **session)
{
	struct session *s = *session;

	if (!s)
		return;
	if (!s->server)
		dial_fini(s);
	link_fini(&s->link);
	buffer_fini(&s->pieces);
	free(s->identity);
	free(s->problem);
	free(s->peer);
	free(s);
	*session = NULL;
}

/* ---- server ---- */

static struct session *find_peer(struct session_server *server, uint64_t session)
{
	struct session *s;

	HASH_FIND(hh, server->peers, &session, sizeof(session), s);
	return s;
}

/* Answers go where the last word came from: each connection that a peer dials has a name of its own, since
 * ZeroMQ may abort where one takes over the name of another. */
static void take_name(struct session *s, zmq_msg_t *identity)
{
	size_t len = zmq_msg_size(identity);

	if (len == s->identity_len && !memcmp(zmq_msg_data(identity), s->identity, len))
		return;
	free(s->identity);
	s->identity = base_alloc(len + 1);
	s->identity_len = len;
	memcpy(s->identity, zmq_msg_data(identity), len);
}

void session_close(struct session *s)
{
	struct session_server *server = s->server;

	HASH_DEL(server->peers, s);
	if (server->handlers->on_closed)
		server->handlers->on_closed(server->ctx, s);
	session_destroy(&s);
}

static struct session *add_peer(struct session_server *server, zmq_msg_t *identity, uint64_t session)
{
	struct session *s = base_alloc(sizeof(*s));

	s->server = server;
	s->socket = server->socket;
	s->handlers = server->handlers;
	s->ctx = server->ctx;
	take_name(s, identity);
	link_init(&s->link, session, os_now());
	s->opening = server->incarnation + ++server->openings;
	HASH_ADD(hh, server->peers, link.session, sizeof(s->link.session), s);
	return s;
}

/* Tells a peer that its session is not one of ours, outside of any session. */
static void refuse(struct session_server *server, zmq_msg_t *identity, uint64_t session, const char *reason)
{
	struct session s = {.server = server,
		.socket = server->socket,
		.identity = zmq_msg_data(identity),
		.identity_len = zmq_msg_size(identity)};
	Dagrun__Refused refused = DAGRUN__REFUSED__INIT;
	SESSION_ENVELOPE(e, REFUSED);

	s.link.session = session;
	refused.reason = (char *)reason;
	e.refused = &refused;
	send_unnumbered(&s, &e);
}

static void end_with_problem(struct session *s)
{
	zmq_msg_t identity;

	if (!s->server) {
		s->refused = true;
		s->handlers->on_refused(s->ctx, s, s->problem);
		return;
	}
	wire_frame(&identity, s->identity, s->identity_len);
	refuse(s->server, &identity, s->link.session, s->problem);
	zmq_msg_close(&identity);
	session_close(s);
}

static void open_peer(struct session_server *server, zmq_msg_t *identity, const Dagrun__Envelope *e)
{
	struct session *s;

	if (!speaks_our_version(e->hello)) {
		char *text = base_format("protocol version %u to %u is not spoken here, but %u to %u",
			e->hello->version_min, e->hello->version_max, WIRE_VERSION_MIN, WIRE_VERSION_MAX);

		refuse(server, identity, e->session, text);
		free(text);
		return;
	}
	s = add_peer(server, identity, e->session);
	s->peer = base_strdup(e->hello->id);
	link_receive(&s->link, e->seq, e->ack, os_now());
	send_hello(s, server->id, server->role, server->incarnation);
	server->handlers->on_opened(server->ctx, s, e->hello);
}

static void on_server_message(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct session_server *server = ctx;
	Dagrun__Envelope *e = count > 1 ? unpack(server->socket, &frames[1], count - 1) : NULL;
	struct session *s;
	bool opens;

	if (!e)
		return;
	s = find_peer(server, e->session);
	opens = e->body_case == DAGRUN__ENVELOPE__BODY_HELLO && e->seq == 1;
	if (s)
		take_name(s, &frames[0]);
	if (!s && opens)
		open_peer(server, &frames[0], e);
	else if (!s)
		refuse(server, &frames[0], e->session, "this session is not known here (any more)");
	else if (link_receive(&s->link, e->seq, e->ack, os_now()) == LINK_DELIVER)
		hand_on(s, e);
}

int session_listen(struct wire_loop *wire, const struct wire_keys *keys, const char *endpoint, const char *id,
	Dagrun__Role role, uint64_t incarnation, const struct session_handlers *handlers, void *ctx,
	struct session_server **ret_server, char **ret_endpoint)
{
	struct session_server *server = base_alloc(sizeof(*server));
	bool local = wire_is_inproc(endpoint);
	int r = 0;

	server->handlers = handlers;
	server->ctx = ctx;
	server->id = base_strdup(id);
	server->role = role;
	server->incarnation = incarnation;
	server->socket = wire_socket_new(wire, ZMQ_ROUTER, local ? NULL : keys, true, WIRE_CONTROL_FRAME,
		NULL, 0, on_server_message, server);
	if (!server->socket || (!local && guard_new(&server->guard, server->socket) < 0))
		r = DAG_EIO;
	if (r == 0)
		r = wire_socket_bind(server->socket, endpoint, ret_endpoint);
	if (r < 0) {
		int error = errno;

		session_server_destroy(&server);
		errno = error;
		return r;
	}
	if (server->guard)
		guard_bound(server->guard, *ret_endpoint);
	*ret_server = server;
	return 0;
}

void session_server_destroy(struct session_server **server)
{
	struct session_server *sv = *server;
	struct session *s, *next;

	if (!sv)
		return;
	HASH_ITER(hh, sv->peers, s, next) {
		HASH_DEL(sv->peers, s);
		session_destroy(&s);
	}
	guard_destroy(&sv->guard);
	wire_socket_destroy(&sv->socket);
	free(sv->id);
	free(sv);
	*server = NULL;
}

void session_server_tick(struct session_server *server, dag_instant now)
{
	struct session *s, *next;

	char *text = server->guard ? guard_tick(server->guard, now) : NULL;

	if (text && server->handlers->on_notice)
		server->handlers->on_notice(server->ctx, text);
	free(text);
	HASH_ITER(hh, server->peers, s, next)
		session_tick(s, now);
}

void session_server_each(struct session_server *server, void (*f)(void *ctx, struct session *s), void *ctx)
{
	struct session *s, *next;

	HASH_ITER(hh, server->peers, s, next)
		f(ctx, s);
}

void session_server_expire(struct session_server *server, dag_instant now, dag_instant silence)
{
	struct session *s, *next;

	HASH_ITER(hh, server->peers, s, next)
		if (now - s->link.last_heard > silence)
			session_close(s);
}

dag_instant session_last_heard(const struct session *s)
{
	return s->link.last_heard;
}

bool session_is_cut(const struct session *s)
{
	return link_is_cut(&s->link);
}

void session_set_owner(struct session *s, void *owner)
{
	s->owner = owner;
}

void *session_owner(const struct session *s)
{
	return s->owner;
}

const char *session_peer(const struct session *s)
{
	return s->peer ? s->peer : "";
}

bool session_all_acknowledged(const struct session *s)
{
	return s->link.first == s->link.count;
}
