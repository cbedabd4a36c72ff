/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
/* Memory of things that live and die together: a parse, a graph, a plan. Never freed one by one. */
#include "base.h"

struct arena_page;
/* Zero-initialised is empty. */
struct arena {
	struct arena_page *pages;
};

void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned to 16 bytes */
char *arena_strndup(struct arena *arena, const char *s, size_t n);
char *arena_strdup(struct arena *arena, const char *s);
char *arena_format(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
void arena_fini(struct arena *arena);
/* Empty again; a page is kept, unless it was made for a piece of more than a MiB. */
void arena_reset(struct arena *arena);

#endif
