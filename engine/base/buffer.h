/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H
/* A growing byte buffer. Zero-initialised is empty. */
#include "base.h"

struct buffer {
	unsigned char *data;
	size_t len, cap;
};

/* Room for n more bytes at the end, which the caller fills; len grows by n. */
void *buffer_extend(struct buffer *b, size_t n);
void buffer_append(struct buffer *b, const void *data, size_t n);
void buffer_format(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* For keys: a number as eight bytes; a text behind its length, NULL as no text is. */
void buffer_put_number(struct buffer *b, uint64_t n);
void buffer_put_text(struct buffer *b, const char *text);
/* Drops n bytes from the front. */
void buffer_consume(struct buffer *b, size_t n);
void buffer_fini(struct buffer *b);
/* The bytes as hexadecimal digits. */
void buffer_hex(struct buffer *b, const void *data, size_t len);

#endif
