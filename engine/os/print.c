/* SPDX-License-Identifier: Apache-2.0 */
/* One filter for all that is printed: stdout and stderr become streams that clean what passes, so that no
 * place can forget it. */
#include "print.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* A stream's end, and a character of which more bytes are to come. */
struct cleaned {
	int fd;
	unsigned char part[4];
	size_t len;
};

/* Bytes of the character that begins so; 0 where none does. */
static size_t character_length(unsigned char c)
{
	return c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
}

static bool is_continued(const unsigned char *c, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if ((c[i] & 0xc0) != 0x80)
			return false;
	return true;
}

static bool is_printable(const unsigned char *c, size_t n)
{
	uint32_t code = n == 1 ? c[0] : c[0] & (0xffu >> (n + 1));

	for (size_t i = 1; i < n; i++)
		code = code << 6 | (c[i] & 0x3f);
	if (code < 0x20)
		return code == '\n' || code == '\t';
	return !(code >= 0x7f && code < 0xa0) && code != 0x61c && code != 0x200e && code != 0x200f &&
	       !(code >= 0x2028 && code <= 0x202e) && !(code >= 0x2066 && code <= 0x2069);
}

/*
 * Takes one character, or one byte of what is none, from the n bytes at c; returns how many were taken, 0
 * where more must come. Writes it, or a question mark, to *to.
 */
static size_t clean_one(const unsigned char *c, size_t n, unsigned char **to)
{
	size_t len = character_length(*c);

	if (len > n && is_continued(c, n))
		return 0;
	if (!len || len > n || !is_continued(c, len) || !is_printable(c, len)) {
		*(*to)++ = '?';
		return len && len <= n && is_continued(c, len) ? len : 1;
	}
	memmove(*to, c, len);
	*to += len;
	return len;
}

void print_clean(char *text)
{
	unsigned char *from = (unsigned char *)text, *to = from, *end = from + strlen(text);

	while (from < end) {
		size_t n = clean_one(from, (size_t)(end - from), &to);

		if (!n)
			*to++ = '?';
		from += n ? n : (size_t)(end - from);
	}
	*to = 0;
}

static int write_all(int fd, const unsigned char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static ssize_t write_cleaned(void *cookie, const char *text, size_t size)
{
	struct cleaned *s = cookie;
	size_t all = s->len + size;
	unsigned char *from = base_alloc(all + 1), *clean = base_alloc(all + 1), *to = clean;
	size_t at = 0, n = 1;
	int r;

	memcpy(from, s->part, s->len);
	memcpy(from + s->len, text, size);
	while (at < all && n) {
		n = clean_one(from + at, all - at, &to);
		at += n;
	}
	s->len = all - at;
	memcpy(s->part, from + at, s->len);
	r = write_all(s->fd, clean, (size_t)(to - clean));
	free(from);
	free(clean);
	return r < 0 ? 0 : (ssize_t)size; /* 0: as a stream that cannot be written says */
}

static FILE *open_cleaned(int fd, struct cleaned *s, int buffering)
{
	FILE *f;

	*s = (struct cleaned){.fd = fd};
	f = fopencookie(s, "w", (cookie_io_functions_t){.write = write_cleaned});
	if (f)
		setvbuf(f, NULL, buffering, BUFSIZ);
	return f;
}

void print_clean_standard(void)
{
	static struct cleaned out, err; /* as long-lived as the streams */
	FILE *f = open_cleaned(STDOUT_FILENO, &out, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF);

	if (f)
		stdout = f;
	f = open_cleaned(STDERR_FILENO, &err, _IONBF);
	if (f)
		stderr = f;
}
