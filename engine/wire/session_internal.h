/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_SESSION_INTERNAL_H
#define WIRE_SESSION_INTERNAL_H
/* Inside of sessions: session.c has what is said, dial.c the way there. */
#include "absence.h"
#include "guard.h"
#include "session.h"
#include "silence.h"

/* How far the last dialling came. */
enum reach {
	REACH_NOBODY, /* no connection */
	REACH_SOMEBODY,
	REACH_KEYS, /* refused, and why */
	REACH_OTHER,
	REACH_CUT,
	REACH_SHAKEN
};

/* What a session knows of its dialling. */
struct dialling {
	struct wire_loop *wire;
	const struct wire_keys *keys;
	wire_recv_fn *on_message; /* with the session */
	char *endpoint, *expected;
	bool six;
	enum reach reach;
	dag_instant stood; /* since when it stands where it does */
	struct silence silence;
	struct absence absence; /* why nobody is reached */
	char text[192];
};

struct session {
	struct session_server *server; /* NULL: a dialler */
	struct wire_socket *socket;
	struct link link;
	const struct session_handlers *handlers;
	void *ctx, *owner;
	unsigned char *identity; /* server: the peer's routing id */
	size_t identity_len;
	char *peer;
	uint64_t opening;      /* server: a number of this beginning of the session */
	uint64_t peer_opening; /* dialler: what the server that answered first calls it */
	struct buffer pieces;  /* of the message that comes in */
	bool refused;
	char *problem; /* why it cannot go on, to be told at the next tick */
	struct dialling dial;
	UT_hash_handle hh;
};

struct session_server {
	struct wire_socket *socket;
	struct guard *guard; /* NULL: within this process */
	const struct session_handlers *handlers;
	void *ctx;
	char *id;
	Dagrun__Role role;
	uint64_t incarnation, openings;
	struct session *peers;
};

/* ---- dial.c ---- */

/* DAG_EBUSY: there are no descriptors for it now, it is tried again. DAG_EIO: that is no endpoint. */
int dial_open(struct session *session);
/* Dials anew where that is due. */
void dial_look_after(struct session *session, dag_instant now);
void dial_fini(struct session *session);

#endif
