/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a session's peer. The socket is replaced beneath its session when it was silent or broke: the
 * peer knows the session by its number, and the link repeats what was lost.
 */
#include "session_internal.h"
#include "os/os.h"

#include <stdio.h>

#define DIAL_PAUSE (1 * DAG_SECOND) /* after one that came to nothing */
#define TROUBLE_AFTER (3 * DAG_SECOND)

static void stand(struct session *s, enum reach reach)
{
	struct dialling *d = &s->dial;

	if (d->reach != reach)
		d->stood = os_now();
	d->reach = reach;
}

static void on_dialler_event(void *ctx, enum wire_event event, int value)
{
	struct session *s = ctx;
	struct dialling *d = &s->dial;
	dag_instant now = os_now();

	(void)value;
	switch (event) {
	case WIRE_CONNECTED:
		if (d->reach == REACH_NOBODY)
			stand(s, REACH_SOMEBODY);
		break;
	case WIRE_SHAKEN:
		stand(s, REACH_SHAKEN);
		d->silence.hasted = false;
		d->silence.again = 0;
		break;
	case WIRE_KEY_REFUSED:
		stand(s, REACH_KEYS);
		break;
	case WIRE_CUT:
		stand(s, REACH_CUT);
		break;
	case WIRE_LOST:
		/* ZeroMQ might dial again by itself, and what we say next come first: in a session that is
		 * not open yet nothing may come before its Hello. */
		wire_socket_destroy(&s->socket);
		d->silence.again = now + (d->reach == REACH_SHAKEN ? 0 : DIAL_PAUSE);
		if (d->reach == REACH_SOMEBODY) /* what it said was no answer to us */
			stand(s, REACH_OTHER);
		if (s->handlers->on_disconnected && !s->refused)
			s->handlers->on_disconnected(s->ctx, s);
		break;
	default:
		break;
	}
}

int dial_open(struct session *s)
{
	struct dialling *d = &s->dial;
	bool local = wire_is_inproc(d->endpoint);

	silence_begin(&d->silence, os_now());
	s->socket = wire_socket_new(d->wire, ZMQ_DEALER, local ? NULL : d->keys, false, WIRE_CONTROL_FRAME,
		NULL, 0, d->on_message, s);
	if (!s->socket || (!local && wire_socket_watch(s->socket, on_dialler_event, s) < 0)) {
		wire_socket_destroy(&s->socket);
		d->silence.again = d->silence.since + DIAL_PAUSE;
		return DAG_EBUSY;
	}
	return wire_socket_connect(s->socket, d->endpoint, d->six);
}

static void dial_anew(struct session *s, dag_instant now)
{
	struct dialling *d = &s->dial;

	wire_socket_destroy(&s->socket);
	if (endpoint_is_named(d->endpoint))
		d->six = !d->six; /* its addresses may be of both kinds, or others than before */
	if (d->reach == REACH_SHAKEN || d->reach == REACH_SOMEBODY)
		stand(s, REACH_NOBODY);
	if (dial_open(s) == 0)
		link_dialled(&s->link, now);
}

void dial_look_after(struct session *s, dag_instant now)
{
	struct dialling *d = &s->dial;
	bool hasty = d->reach != REACH_NOBODY && d->reach != REACH_SHAKEN;
	dag_instant length;

	if (wire_is_inproc(d->endpoint))
		return;
	length = silence_length(&d->silence, s->link.last_heard, now);
	if (silence_is_over(&d->silence, s->link.last_heard, hasty, now))
		dial_anew(s, now);
	if (d->reach != REACH_NOBODY)
		absence_fini(&d->absence);
	else if (length > DAG_SECOND)
		absence_step(&d->absence, d->endpoint, now);
}

static const char *why(const struct session *s)
{
	const struct dialling *d = &s->dial;

	switch (d->reach) {
	case REACH_KEYS:
		return "it refuses our keys: its keys and these do not belong together";
	case REACH_OTHER:
		return d->keys ? "it has no keys (--keys none), or is another program"
			       : "it wants keys (--keys DIR), or is another program";
	case REACH_CUT:
		return d->keys ? "it closes the connection: its keys are not these, or it has none (--keys "
				 "none)"
			       : "it closes the connection: it wants keys (--keys DIR), or is another "
				 "program";
	case REACH_NOBODY: /* of that d->absence knows more */
	case REACH_SOMEBODY:
	case REACH_SHAKEN:
		break;
	}
	return "something listens there and says nothing that we understand: is it another program?";
}

const char *session_trouble(const struct session *s, dag_instant now)
{
	struct dialling *d = (struct dialling *)&s->dial;

	if (now - s->link.last_heard < TROUBLE_AFTER)
		return NULL;
	if (d->reach == REACH_NOBODY)
		absence_text(&d->absence, d->text, sizeof(d->text));
	else
		snprintf(d->text, sizeof(d->text), "%s", why(s));
	return d->text;
}

bool session_is_hopeless(const struct session *s, dag_instant now)
{
	const struct dialling *d = &s->dial;

	return d->reach >= REACH_KEYS && d->reach <= REACH_CUT && now - d->stood > DIAL_PAUSE &&
	       s->link.last_heard < d->stood;
}

void session_expect(struct session *s, const char *id)
{
	free(s->dial.expected);
	s->dial.expected = base_strdup(id);
}

void dial_fini(struct session *s)
{
	struct dialling *d = &s->dial;

	wire_socket_destroy(&s->socket);
	absence_fini(&d->absence);
	free(d->endpoint);
	free(d->expected);
}
