/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H
/*
 * A node's daemon: runs vertices in hosts, keeps their outputs in the spool, exchanges blocks with other
 * daemons. `dagd` is one of these on a loop of its own; `dagrun run` without a name server has one on its own
 * loop.
 */
#include "base/diag.h"
#include "graph/graph.h"
#include "wire/keys.h"

#include <uv.h>

struct daemon;
struct wire_loop;

struct daemon_config {
	const char *node;        /* id */
	const char *spool_name;  /* of what it has in shared memory; NULL: node */
	const char *nameserver;  /* endpoint, or NULL: registers nowhere */
	const char *listen;      /* control endpoint */
	const char *advertise;   /* what others dial; NULL: as bound */
	const char *data_listen; /* data endpoint; NULL: any port of the control endpoint's address */
	uint32_t slots;
	uint64_t memory;       /* bytes offered to vertices */
	uint64_t spool_memory; /* bytes of shared memory for channel data */
	const char *spool;     /* folder */
	const char *rack;
	const struct graph_pair *labels;
	uint32_t label_count;
	const struct wire_keys *keys;
	const char *host_program; /* path of daghost */
	const char *cgroup;       /* folder of a control group that is ours to use, "own", or NULL */
	bool embedded;            /* no thread of its own, no message at start */
	const char *cache;        /* folder of shipped files; NULL: in the spool */
};

int daemon_new(uv_loop_t *loop, struct wire_loop *wire, const struct daemon_config *config,
	struct daemon **ret_daemon, struct dag_diag *diag);
/* Tells the name server that it will end; what it says goes out in the loop's next rounds. */
void daemon_leave(struct daemon *daemon);
/* Kills all hosts, removes all that was spooled. Handles close in the loop's next rounds. */
void daemon_destroy(struct daemon **daemon);
const char *daemon_node(const struct daemon *daemon);
const char *daemon_control(const struct daemon *daemon);
const char *daemon_data(const struct daemon *daemon);

#endif
