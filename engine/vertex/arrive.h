/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_ARRIVE_H
#define VERTEX_ARRIVE_H
/* What arrives for channels that are read. */
#include "task.h"

/* A channel that came with the start of its vertex. */
void arrive_given(struct dag_vertex *v, uint32_t port, uint32_t producer, const struct host_port *from,
	const struct block_ref *index);
/* Dispatch of CHANNEL, BLOCKS, END; the caller holds host.lock. */
void arrive_on_channel(
	struct dag_vertex *v, const struct host_msg *msg, const void *tail, size_t tail_len, int fd);
void arrive_on_blocks(
	struct dag_vertex *v, const struct host_msg *msg, const struct block_ref *refs, size_t n);
void arrive_on_end(struct dag_vertex *v, const struct host_msg *msg);

#endif
