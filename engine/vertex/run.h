/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_RUN_H
#define VERTEX_RUN_H
#include "host.h"

/* A START came; the caller holds host.lock. */
void run_on_start(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len);
/* NULL where it does not run now. */
struct dag_vertex *run_find_task(struct host *host, uint32_t id);
/* The STARTs of all that run next, beside each other, have come. */
bool run_is_whole(struct host *host);
/* Runs them to their ends, in threads where they are several. */
void run_group(struct host *host);

#endif
