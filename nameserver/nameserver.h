/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NAMESERVER_NAMESERVER_H
#define NAMESERVER_NAMESERVER_H
/* The name server on a loop: daemons register, managers watch. It keeps nothing on disk. */
#include "base/diag.h"
#include "wire/keys.h"

#include <uv.h>

struct nameserver;
struct wire_loop;

int nameserver_new(uv_loop_t *loop, struct wire_loop *wire, const char *listen, const struct wire_keys *keys,
	struct nameserver **ret_nameserver, char **ret_endpoint, struct dag_diag *diag);
void nameserver_destroy(struct nameserver **nameserver);

#endif
