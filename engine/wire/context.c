/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include <pthread.h>
#include <zmq.h>

#define SOCKETS_MAX 8192 /* a few for each peer; each has a place from the start, which costs time */

/* Not czmq's own, which is ended when the process exits: that waits for every socket, and a program that has
 * us as a library may exit while a job has some. */
static void *context;

static void new_context(void)
{
	context = zmq_ctx_new();
	zmq_ctx_set(context, ZMQ_MAX_SOCKETS, DAG_MIN(zmq_ctx_get(context, ZMQ_SOCKET_LIMIT), SOCKETS_MAX));
}

void *wire_context(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, new_context);
	return context;
}
