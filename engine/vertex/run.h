/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_RUN_H
#define VERTEX_RUN_H
/* Tasks from their STARTs to their DONEs. */
#include "host_proto.h"

struct dag_vertex;
struct host;

struct host_start {
	struct host_msg msg;
	unsigned char *tail;
};

struct run {
	struct host_start *starts; /* starts[start_first … start_count−1] came and have not begun */
	size_t start_first, start_count, start_cap;
	struct dag_vertex *tasks[HOST_TASKS_MAX];
	uint32_t task_count;
	atomic_uint running;  /* of them */
	_Atomic bool spoiled; /* one failed: nothing more is begun, and the daemon ends us */
	struct dag_vertex *spare;
	uint32_t stage;              /* of what ran last */
	atomic_bool ran_long;        /* something of that stage did */
	uint32_t last_good;          /* the task that ended well just before; 0: it did not */
	struct block_ref last_index; /* of that one */
};

/* A START came; the caller holds host.lock. */
void run_on_start(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len);
/* NULL where it does not run now. */
struct dag_vertex *run_find_task(struct host *host, uint32_t id);
/* The STARTs of all that run next, beside each other, have come, and they may begin. */
bool run_is_ready(struct host *host);
/* Runs them to their ends, in threads where they are several. */
void run_group(struct host *host);

#endif
