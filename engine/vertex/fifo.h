/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_FIFO_H
#define VERTEX_FIFO_H
/* Blocks from one thread of this host to others, without a copy. */
#include "base/base.h"

struct dag_vertex;
struct in_channel;
struct out_part;
struct out_stream;

/* The channel reads that part, of a vertex of this host. */
void fifo_join(struct in_channel *ch, struct dag_vertex *producer, uint32_t stream, uint32_t part);
/* The part's current block. */
void fifo_begin(struct dag_vertex *v, const struct out_stream *s, struct out_part *p, uint64_t size);
unsigned char *fifo_data(const struct out_part *p);
/* It is complete: its readers get it, when their queues have room. */
void fifo_put(struct dag_vertex *v, struct out_part *p, uint32_t len);
/* Nothing more comes. */
void fifo_end(struct dag_vertex *v);
/* The reader has done with its current block. */
void fifo_done(struct dag_vertex *v, struct in_channel *ch);
/* It reads nothing more; the part is closed when no reader is left. */
void fifo_leave(struct dag_vertex *v, struct in_channel *ch);
void fifo_fini(struct out_part *p);

#endif
