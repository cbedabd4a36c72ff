/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_READER_H
#define VERTEX_READER_H
/* Records of the ports that a vertex reads. */
#include "task.h"

/* The ports that START tells of. */
void reader_init(struct dag_vertex *v, const struct host_port *ports);
/* As dag_read_from, with the reason kept in the vertex; 1, 0 or an error. */
int reader_next(struct dag_vertex *v, uint32_t port, uint32_t producer, struct dag_record *r);
/* To the daemon, as the one that the vertex is at. */
void reader_show_record(struct dag_vertex *v, const struct dag_record *r);
/* Asks the daemon for live inputs, so that credit flows from the start. */
void reader_open_live(struct dag_vertex *v);
/* Closes what was not read to its end; the producers are told, unless the vertex failed. */
void reader_close_all(struct dag_vertex *v, bool failed);
/* Frees, once no other task of the group can look at these channels. */
void reader_fini(struct dag_vertex *v);

#endif
