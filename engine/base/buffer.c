/* SPDX-License-Identifier: Apache-2.0 */
/* Doubling storage for bytes. */
#include "buffer.h"

#define LEAST ((size_t)64)

void *buffer_extend(struct buffer *b, size_t n)
{
	void *p;

	if (b->cap - b->len < n) {
		b->cap = DAG_MAX(DAG_MAX(b->cap * 2, b->len + n), LEAST);
		b->data = base_realloc(b->data, b->cap);
	}
	p = b->data + b->len;
	b->len += n;
	return p;
}

void buffer_append(struct buffer *b, const void *data, size_t n)
{
	if (n)
		base_copy(buffer_extend(b, n), data, n);
}

void buffer_format(struct buffer *b, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	buffer_append(b, text, strlen(text));
	free(text);
}

void buffer_put_number(struct buffer *b, uint64_t n)
{
	buffer_append(b, &n, sizeof(n));
}

void buffer_put_text(struct buffer *b, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	buffer_put_number(b, text ? len : UINT64_MAX);
	buffer_append(b, text, len);
}

void buffer_consume(struct buffer *b, size_t n)
{
	DAG_ASSERT(n <= b->len);
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

void buffer_fini(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){0};
}

void buffer_hex(struct buffer *b, const void *data, size_t len)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < len; i++) {
		char digits[2] = {"0123456789abcdef"[bytes[i] >> 4], "0123456789abcdef"[bytes[i] & 15]};

		buffer_append(b, digits, sizeof(digits));
	}
}
