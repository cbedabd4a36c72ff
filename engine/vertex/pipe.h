/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_PIPE_H
#define VERTEX_PIPE_H
/* Pipes between two hosts of a node, without the daemon. */
#include "host_proto.h"

struct dag_vertex;
struct host_segment;
struct in_channel;
struct out_part;
struct pipe_end;
struct queued_block;

/* Dispatch of PIPE; the caller holds host.lock. */
void pipe_on_message(struct dag_vertex *v, const struct host_msg *msg, int fd);
/* The next block of the part lies in its direct pipe from now on; false where it has none. */
bool pipe_takes(struct dag_vertex *v, struct out_part *p);
/* Room for a block, when the reader has left some. DAG_ENOSPC. */
int pipe_room(struct dag_vertex *v, struct out_part *p, uint64_t size, struct host_segment **ret_segment,
	uint64_t *ret_offset);
/* The block is complete. */
void pipe_put(struct out_part *p, const struct block_ref *ref);
/* The reader's next block, which may be taken; false where there is none now, and its bell will be rung. The
 * caller holds host.lock. */
bool pipe_look(struct dag_vertex *v, struct in_channel *ch, struct queued_block *ret);
void pipe_take(struct in_channel *ch);
/* The reader has done with its block. */
void pipe_done(struct in_channel *ch);
void pipe_fini(struct pipe_end *end);

#endif
