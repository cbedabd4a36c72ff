/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_SESSION_H
#define WIRE_SESSION_H
/*
 * Control sessions: envelopes over a socket with a link each, in order and once, as long as both ends live. A
 * dialler has one session on its DEALER; a server has one for each peer on its ROUTER. The owner calls
 * session_tick about every 250 ms, which sends heartbeats, acknowledgements and repeats, and dials anew:
 * ZeroMQ does that after a lost connection, but never after an error of its protocol, be it one wrong byte.
 */
#include "link.h"
#include "socket.h"
#include "dagrun.pb-c.h"
#include "base/table.h"

#define WIRE_VERSION_MIN 7
#define WIRE_VERSION_MAX 7

#define WIRE_MESSAGE_MAX (256u << 20) /* bytes; what is longer than a piece goes in several */
#define WIRE_PIECE (1u << 20)

struct session;

struct session_handlers {
	/* A message of the session, Hello too. Not kept after the call. */
	void (*on_message)(void *ctx, struct session *s, const Dagrun__Envelope *e);
	/* The other side does not know this session (any more), or speaks no common version; text says which.
	 */
	void (*on_refused)(void *ctx, struct session *s, const char *text);
	/* Server: a peer opened a session; session_set_owner may be called. */
	void (*on_opened)(void *ctx, struct session *s, const Dagrun__Hello *hello);
	/* Server: the peer opened a new session under the same id, or session_close was called. */
	void (*on_closed)(void *ctx, struct session *s);
	/* Server, where not NULL: a line for people of who connects and is not let in. */
	void (*on_notice)(void *ctx, const char *text);
	/* Dialler: the connection broke. It dials again by itself. */
	void (*on_disconnected)(void *ctx, struct session *s);
	size_t message_max; /* bytes of a message that is taken; 0: WIRE_CONTROL_MAX */
};

/* ---- dialler ---- */

/* id: the routing id, unique to this process. Sends Hello at once. */
struct session *session_dial(struct wire_loop *wire, const struct wire_keys *keys, const char *endpoint,
	const char *id, Dagrun__Role role, uint64_t incarnation, const struct session_handlers *handlers,
	void *ctx);
void session_destroy(struct session **session); /* of a dialler */
/* Who must answer there, by the id of its Hello: another is refused. Copied. */
void session_expect(struct session *session, const char *id);
/* Why nothing is heard from there for some seconds; NULL where it is. Lives as long as the session. */
const char *session_trouble(const struct session *session, dag_instant now);
/* What listens there will not have us: to wait is of no use unless it is set up anew. */
bool session_is_hopeless(const struct session *session, dag_instant now);

/* ---- server ---- */

struct session_server;

int session_listen(struct wire_loop *wire, const struct wire_keys *keys, const char *endpoint, const char *id,
	Dagrun__Role role, uint64_t incarnation, const struct session_handlers *handlers, void *ctx,
	struct session_server **ret_server, char **ret_endpoint);
void session_server_destroy(struct session_server **server);
void session_server_tick(struct session_server *server, dag_instant now);
void session_server_each(struct session_server *server, void (*f)(void *ctx, struct session *s), void *ctx);
/* Forgets peers that have been silent for so long. */
void session_server_expire(struct session_server *server, dag_instant now, dag_instant silence);
/*
 * The peer closed its connection, and for a second no other came: its process is gone. False of one that is
 * merely silent, which is a network that is cut or a machine that stands still.
 */
bool session_is_cut(const struct session *session);
/* Forgets a peer; its on_closed is called. */
void session_close(struct session *session);

/* ---- both ---- */

/*
 * Sends a message; `body_case` and the body are the caller's, the rest is set here. DAG_ELIMIT: it is larger
 * than session_fits allows, or the peer has acknowledged nothing for far too long; it is not sent, and since
 * what follows would be wrong without it the session ends at its next tick, as refused.
 */
int session_send(struct session *session, Dagrun__Envelope *envelope);
/* Whether a body of so many packed bytes fits into a message. */
bool session_fits(size_t body_len);
void session_tick(struct session *session, dag_instant now); /* of a dialler */
dag_instant session_last_heard(const struct session *session);
bool session_all_acknowledged(const struct session *session);
void session_set_owner(struct session *session, void *owner);
void *session_owner(const struct session *session);
const char *session_peer(const struct session *session); /* the id that its Hello gave */

#define SESSION_ENVELOPE(name_, case_)                                                                       \
	Dagrun__Envelope name_ = DAGRUN__ENVELOPE__INIT;                                                     \
	name_.body_case = DAGRUN__ENVELOPE__BODY_##case_

#endif
