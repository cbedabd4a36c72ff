/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_WRITER_H
#define VERTEX_WRITER_H
/* The streams that a vertex writes, and their blocks. */
#include "task.h"

void writer_init(struct dag_vertex *v);
/* A block of the part that has room for `need` bytes; none is begun. */
int writer_begin_block(struct dag_vertex *v, struct out_stream *s, struct out_part *p, size_t need);
/* Ends the current block of a part, if there is one, and hands it on if anything lies in it. */
int writer_flush_part(struct dag_vertex *v, uint32_t stream, uint32_t part);
/* Makes what was written to live channels readable, before this thread waits or ends: it must be the only
 * one that writes. */
int writer_flush_live(struct dag_vertex *v);
/* Of one port alone: the other ports of a program are written by other threads. */
int writer_flush_port(struct dag_vertex *v, uint32_t port);
/* Flushes everything and writes the index; *ret_index says where it lies. */
int writer_seal(struct dag_vertex *v, struct block_ref *ret_index);
/* True where the vertex has outputs that anybody reads, and all those readers have gone. */
bool writer_all_closed(struct dag_vertex *v);
void writer_fini(struct dag_vertex *v);
void writer_on_credit(struct dag_vertex *v, const struct host_msg *msg);
void writer_on_closed(struct dag_vertex *v, const struct host_msg *msg);

#endif
