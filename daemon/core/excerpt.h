/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_CORE_EXCERPT_H
#define DAEMON_CORE_EXCERPT_H
/* The beginning and the end of a text that may have no end: what is between them is only counted. Pure. */
#include "base/buffer.h"

struct excerpt {
	struct buffer head, tail;
	size_t head_max, tail_max; /* bytes */
	uint64_t total;
};

void excerpt_init(struct excerpt *e, size_t head_max, size_t tail_max);
void excerpt_fini(struct excerpt *e);
void excerpt_clear(struct excerpt *e);
void excerpt_add(struct excerpt *e, const void *data, size_t len);
/* Allocated; says between head and tail how many bytes are left out. NULL where nothing was added. */
char *excerpt_text(const struct excerpt *e);
/* The last lines of the tail, allocated; says how many bytes there were before. NULL where nothing was added.
 */
char *excerpt_last_lines(const struct excerpt *e, size_t lines);

#endif
