/* SPDX-License-Identifier: Apache-2.0 */
/* Memory and error texts. The one place where out-of-memory and failed assertions end the program. */
#include "base.h"

#include <stdio.h>

const char *dag_strerror(int error)
{
	switch (error) {
	case 0:
		return "success";
#define X(code, name, text)                                                                                  \
	case name:                                                                                           \
		return text;
		DAG_ERROR_MAP(X)
#undef X
	}
	return "unknown error";
}

_Noreturn void base_assert_failed(const char *cond, const char *file, int line)
{
	fprintf(stderr, "dagrun: internal error: %s:%d: %s does not hold\n", file, line, cond);
	abort();
}

_Noreturn void base_oom(size_t size)
{
	fprintf(stderr, "dagrun: out of memory (%zu bytes wanted)\n", size);
	abort();
}

void *base_alloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		base_oom(size);
	return p;
}

void *base_realloc(void *p, size_t size)
{
	void *q = realloc(p, size ? size : 1);

	if (!q)
		base_oom(size);
	return q;
}

char *base_strndup(const char *s, size_t n)
{
	char *p = base_alloc(n + 1);

	memcpy(p, s, n);
	return p;
}

char *base_strdup(const char *s)
{
	return base_strndup(s, strlen(s));
}

char *base_vformat(const char *format, va_list args)
{
	char *text = NULL;

	if (vasprintf(&text, format, args) < 0)
		base_oom(0);
	return text;
}

char *base_format(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	return text;
}

void *base_grow(void *items, size_t *cap, size_t item_size)
{
	*cap = *cap ? *cap * 2 : 8;
	return base_realloc(items, *cap * item_size);
}
