/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_FILES_H
#define VERTEX_FILES_H
/* Input files that a host reads where they lie. */
#include "channel.h"

struct host;

struct files {
	uint32_t max;      /* that may be open */
	atomic_uint count; /* that are */
};

void files_init(struct host *host, uint32_t max);
/* A split of an input file, as CHANNEL tells of it, and the descriptor that came with it. */
struct source *files_source(
	struct in_channel *ch, struct graph_format format, const struct host_msg *msg, int fd);
/* It was asked for again, and this came. */
void files_opened(struct in_channel *ch, const struct host_msg *msg, int fd);
/* True where a file is not any more what it was when the job started. */
bool files_changed(const struct in_channel *ch);
/* How many producers of a port are asked for before they are read. */
uint32_t files_ahead(const struct dag_vertex *v, uint32_t port);

#endif
