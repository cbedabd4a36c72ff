/* SPDX-License-Identifier: Apache-2.0 */
/* A list of pages that double in size; the newest is filled from its start. */
#include "arena.h"

#define PAGE_MAX (1 << 20) /* but for a larger piece */

struct arena_page {
	struct arena_page *next;
	size_t used, size;
	_Alignas(16) unsigned char data[];
};

void *arena_alloc(struct arena *arena, size_t size)
{
	struct arena_page *page = arena->pages;
	void *p;

	size = (size + 15) & ~(size_t)15;
	if (!page || page->size - page->used < size) {
		size_t page_size = page ? DAG_MIN(page->size * 2, (size_t)PAGE_MAX) : 512;

		page_size = DAG_MAX(page_size, size);
		page = base_alloc(sizeof(*page) + page_size);
		page->size = page_size;
		page->next = arena->pages;
		arena->pages = page;
	}
	p = page->data + page->used;
	page->used += size;
	return p;
}

char *arena_strndup(struct arena *arena, const char *s, size_t n)
{
	char *p = arena_alloc(arena, n + 1);

	memcpy(p, s, n);
	return p;
}

char *arena_strdup(struct arena *arena, const char *s)
{
	return arena_strndup(arena, s, strlen(s));
}

char *arena_format(struct arena *arena, const char *format, ...)
{
	va_list args;
	char *text, *copy;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	copy = arena_strdup(arena, text);
	free(text);
	return copy;
}

void arena_fini(struct arena *arena)
{
	while (arena->pages) {
		struct arena_page *next = arena->pages->next;

		free(arena->pages);
		arena->pages = next;
	}
}

void arena_reset(struct arena *arena)
{
	struct arena_page *page = arena->pages;

	if (!page)
		return;
	if (page->size > PAGE_MAX) {
		arena_fini(arena);
		return;
	}
	arena->pages = page->next;
	arena_fini(arena);
	memset(page->data, 0, page->used);
	page->used = 0;
	page->next = NULL;
	arena->pages = page;
}
