/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_SOCKET_H
#define WIRE_SOCKET_H
/*
 * ZeroMQ sockets in a libuv loop. ZMQ_FD is edge-triggered, so polling it alone loses messages for ever:
 * before the loop sleeps, and after it woke, each socket's ZMQ_EVENTS are read anew, and while any has input
 * the loop does not sleep. All calls from the loop's thread only.
 */
#include "keys.h"

#include <uv.h>
#include <zmq.h>

#define WIRE_FRAMES_MAX 264 /* of a message: the largest of control has them */

struct arena;
struct wire_loop;
struct wire_socket;

/* One whole message; the frames are closed after the call, unless moved away with zmq_msg_move. */
typedef void wire_recv_fn(void *ctx, zmq_msg_t *frames, size_t count);
/* What becomes of the connections of a socket; only where asked for. */
enum wire_event {
	WIRE_CONNECTED,    /* of a dialler: somebody listens there */
	WIRE_ACCEPTED,     /* of a listener: value is the descriptor */
	WIRE_NOT_ACCEPTED, /* for want of descriptors */
	WIRE_SHAKEN,       /* both have said who they are */
	WIRE_KEY_REFUSED,
	WIRE_CUT, /* closed before they had */
	WIRE_LOST /* the connection is gone: value was its descriptor. Follows the two before it, too */
};
typedef void wire_event_fn(void *ctx, enum wire_event event, int value);

void wire_loop_new(struct wire_loop **ret_wire, uv_loop_t *loop);
/* All sockets must have been destroyed. The handles close in the loop's next rounds. */
void wire_loop_destroy(struct wire_loop **wire);
/* Until then the loop does not sleep, but looks again and again: to be woken takes longer than what is
 * expected. */
void wire_loop_linger(struct wire_loop *wire, dag_instant until);

/* type: ZMQ_ROUTER or ZMQ_DEALER. keys, listens, frame_max: as for wire_socket_options. identity: of a
 * DEALER, NULL for one that ZeroMQ makes up. NULL with errno where there is none to be had: descriptors are
 * limited. */
struct wire_socket *wire_socket_new(struct wire_loop *wire, int type, const struct wire_keys *keys,
	bool listens, int64_t frame_max, const void *identity, size_t identity_len, wire_recv_fn *on_recv,
	void *ctx);
void wire_socket_destroy(struct wire_socket **socket);
/* A listener that lets in only whom the process's door expects (door.h), each under a name of its own and
 * once; others are cut off after two seconds. Before it is bound. */
void wire_socket_let_in_expected(struct wire_socket *socket);
/* A dialler that comes under that name, with the word that was said before. Before it is connected. */
void wire_socket_come_as(struct wire_socket *socket, const unsigned char *name, const unsigned char *word);
/* Memory while a message is handled: it is empty again for the next one. */
struct arena *wire_socket_arena(struct wire_socket *socket);
/* Binds; *ret_endpoint is the real one, with the port that a '*' became; caller frees. DAG_EIO with errno. */
int wire_socket_bind(struct wire_socket *socket, const char *endpoint, char **ret_endpoint);
/* No new connections; those that are there stay. */
int wire_socket_unbind(struct wire_socket *socket, const char *endpoint);
/* `six`: by IPv6, as endpoint_is_ipv6 says. */
int wire_socket_connect(struct wire_socket *socket, const char *endpoint, bool six);
/* A frame that holds a copy of the bytes. */
void wire_frame(zmq_msg_t *frame, const void *bytes, size_t len);
/* Calls on_event for what becomes of its connections. Before it is connected or bound. DAG_EBUSY with errno
 * where there are no descriptors for that. */
int wire_socket_watch(struct wire_socket *socket, wire_event_fn *on_event, void *ctx);
void wire_socket_unwatch(struct wire_socket *socket);
/*
 * Sends a message of `count` frames, never waiting; the frames are taken over, also on failure.
 * DAG_EUNREACHABLE: a ROUTER knows no such peer.
 */
int wire_socket_send(struct wire_socket *socket, zmq_msg_t *frames, size_t count);

#endif
