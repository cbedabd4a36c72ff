/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BASE_H
#define BASE_BASE_H
/*
 * What every file uses: error codes, memory that cannot fail, arrays that grow, instants.
 *
 * Out of memory aborts in base_oom and nowhere else; a size that comes from outside is therefore checked
 * against a named limit before it reaches these functions.
 */
#include <dagrun/vertex.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Nanoseconds of a clock that the caller names: monotonic unless said otherwise. */
typedef int64_t dag_instant;
#define DAG_NEVER INT64_MAX
#define DAG_MS (1000 * (dag_instant)1000)
#define DAG_SECOND (1000 * DAG_MS)

#define DAG_LENGTH(a) (sizeof(a) / sizeof((a)[0]))
/* Behind a noun that is counted. */
#define DAG_S(n) ((n) == 1 ? "" : "s")
#define DAG_VERTICES(n) ((n) == 1 ? "vertex" : "vertices")
#define DAG_MIN(a, b) ((a) < (b) ? (a) : (b))
#define DAG_MAX(a, b) ((a) > (b) ? (a) : (b))

/* Our own bugs end the program, in release builds too (exit code 70 is given by the programs' handlers). */
#define DAG_ASSERT(cond) ((cond) ? (void)0 : base_assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void base_assert_failed(const char *cond, const char *file, int line);
_Noreturn void base_oom(size_t size);

/* Zeroed memory; free() gives it back. */
void *base_alloc(size_t size);
void *base_realloc(void *p, size_t size);
char *base_strdup(const char *s);
char *base_strndup(const char *s, size_t n);
char *base_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *base_vformat(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

/* Room on the stack where that is enough, else memory, and its end: for what is made often and mostly small.
 */
static inline void *base_room(void *few, size_t few_size, size_t size)
{
	return size <= few_size ? few : base_alloc(size);
}

static inline void base_room_free(void *room, const void *few)
{
	if (room != few)
		free(room);
}

/*
 * memcpy of much: in pieces, since glibc 2.36 copies more than 2 KiB by `rep movsb`, which falls from 55 to
 * 3.5 GB/s on AMD's Zen where the target lies less than 64 bytes above the source within their pages.
 */
static inline void base_copy(void *to, const void *from, size_t n)
{
	enum { PIECE = 1024 };
	unsigned char *t = to;
	const unsigned char *f = from;

	while (n) {
		/* The first up to where the target is aligned. Of a size that the compiler does not know. */
		size_t step = n > PIECE ? PIECE - ((uintptr_t)t & 63) : n;

		/* Or gcc makes it `rep movsq`, which waits for each line that is not cached. */
		__asm__("" : "+r"(step));
		memcpy(t, f, step);
		t += step;
		f += step;
		n -= step;
	}
}

/* Makes room for one more element in a growing array and zeroes it: *DAG_APPEND(items, count, cap) = x. */
#define DAG_APPEND(items, count, cap)                                                                        \
	((void)((count) == (cap) ? ((items) = base_grow((items), &(cap), sizeof(*(items)))) : (items)),      \
		(void)memset(&(items)[(count)], 0, sizeof(*(items))), &(items)[(count)++])
void *base_grow(void *items, size_t *cap, size_t item_size);

#endif
