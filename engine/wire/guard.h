/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_GUARD_H
#define WIRE_GUARD_H
/*
 * Watches a port: counts who connects and does not get in, and takes no new connections while descriptors are
 * few, so that what is there can go on working.
 */
#include "socket.h"

#define GUARD_DESCRIPTORS 64 /* that strangers cannot take */

struct guard;

/* Before the socket is bound. DAG_EBUSY with errno: there are no descriptors for it. */
int guard_new(struct guard **ret_guard, struct wire_socket *socket);
void guard_destroy(struct guard **guard); /* before its socket */
/* Where it was bound. */
void guard_bound(struct guard *guard, const char *endpoint);
/* About every 250 ms. A line for people, once a minute for each thing that there is to say, or NULL; caller
 * frees. */
char *guard_tick(struct guard *guard, dag_instant now);

#endif
