/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One buffer: bytes come in at its end, records go out at its start. A record longer than the buffer makes it
 * grow, up to the limit of a record. Files are read, not mapped: a file that shrinks is then an error and no
 * signal.
 */
#include "source.h"
#include "channel/block.h"

#include <errno.h>
#include <unistd.h>

#define SOURCE_BUFFER (256u << 10)
#define SOURCE_LEAST 4096u /* of a small file */
#define AFTER_SKIP 4096u

struct source {
	struct graph_format format;
	source_fill_fn *fill;
	void *ctx;
	char *buf;
	size_t cap, at, len; /* unread: buf[at … len−1] */
	size_t scanned;      /* bytes after `at` that hold no delimiter */
	bool at_end;         /* and behind them is one */
	size_t most; /* bytes that are read at once: few where some were passed over, then more and more */
	bool ended;
	bool unended; /* the last line had no LF */
	bool watched; /* for a NUL byte, until there is one */
	bool nul;
	/* A file: */
	bool is_file;
	int fd;
	const struct source_lender *lender;
	void *lender_ctx;
	uint64_t position;    /* of the next byte to read from the file */
	uint64_t end;         /* the split's end: no record may begin there or behind */
	uint64_t file_offset; /* of buf[at] */
	bool skip_first;      /* the split does not begin the file: its first record began before */
};

void source_close(struct source *s)
{
	if (s->fd < 0)
		return;
	close(s->fd);
	s->fd = -1;
	if (s->lender)
		s->lender->closed(s->lender_ctx);
}

static ssize_t fill_from_file(void *ctx, void *buf, size_t n)
{
	struct source *s = ctx;
	ssize_t got;

	if (s->fd < 0) {
		int fd = s->lender ? s->lender->open(s->lender_ctx) : DAG_EIO;

		if (fd < 0)
			return fd;
		s->fd = fd;
	}
	do
		got = pread(s->fd, buf, n, (off_t)s->position);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return DAG_EIO;
	s->position += (uint64_t)got;
	if (s->lender && s->lender->used(s->lender_ctx, s->fd))
		source_close(s);
	return got;
}

static struct source *new_source(
	struct graph_format format, source_fill_fn *fill, void *ctx, size_t buffer_size)
{
	struct source *s = base_alloc(sizeof(*s));

	s->format = format;
	s->fill = fill;
	s->ctx = ctx;
	s->cap = buffer_size;
	s->most = SIZE_MAX;
	s->buf = base_realloc(NULL, s->cap);
	s->fd = -1;
	s->end = UINT64_MAX;
	return s;
}

struct source *source_new(struct graph_format format, source_fill_fn *fill, void *ctx)
{
	return new_source(format, fill, ctx, SOURCE_BUFFER);
}

struct source *source_new_file(struct graph_format format, int fd, uint64_t offset, uint64_t length)
{
	size_t size = (size_t)DAG_MIN(DAG_MAX(length + 1, (uint64_t)SOURCE_LEAST), (uint64_t)SOURCE_BUFFER);
	struct source *s = new_source(format, fill_from_file, NULL, size);
	bool by_line = format.kind == DAG_FORMAT_LINES || format.kind == DAG_FORMAT_KV;

	s->ctx = s;
	s->fd = fd;
	s->is_file = true;
	s->end = offset + length;
	/* The byte before the split says whether a record begins exactly at its start. */
	s->skip_first = by_line && offset > 0 && length > 0;
	s->position = s->file_offset = s->skip_first ? offset - 1 : offset;
	return s;
}

void source_destroy(struct source **source)
{
	if (!*source)
		return;
	source_close(*source);
	free((*source)->buf);
	free(*source);
	*source = NULL;
}

void source_lend(struct source *s, const struct source_lender *lender, void *ctx)
{
	s->lender = lender;
	s->lender_ctx = ctx;
}

bool source_is_file(const struct source *s)
{
	return s->is_file;
}

int source_fd(const struct source *s)
{
	return s->fd;
}

bool source_is_unended(const struct source *s)
{
	return s->unended;
}

bool source_is_short(const struct source *s)
{
	return s->is_file && s->ended && s->file_offset < s->end;
}

void source_watch(struct source *s)
{
	s->watched = true;
}

bool source_has_nul(const struct source *s)
{
	return s->nul;
}

/* Makes room and reads more. 1: bytes came; 0: the end; negative: error. */
static int refill(struct source *s)
{
	ssize_t n;

	if (s->ended)
		return 0;
	if (s->at) {
		memmove(s->buf, s->buf + s->at, s->len - s->at);
		s->len -= s->at;
		s->at = 0;
	}
	if (s->len == s->cap) {
		if (s->cap >= RECORD_LEN_MAX)
			return DAG_ELIMIT;
		s->cap *= 2;
		s->buf = base_realloc(s->buf, s->cap);
	}
	n = s->fill(s->ctx, s->buf + s->len, DAG_MIN(s->cap - s->len, s->most));
	s->most = DAG_MIN(s->most, SIZE_MAX / 2) * 2;
	if (n < 0)
		return (int)n;
	if (n == 0) {
		s->ended = true;
		return 0;
	}
	if (s->watched && memchr(s->buf + s->len, 0, (size_t)n)) {
		s->nul = true;
		s->watched = false;
	}
	s->len += (size_t)n;
	return 1;
}

static void take(struct source *s, size_t n)
{
	s->at += n;
	s->file_offset += n;
	s->scanned = 0;
	s->at_end = false;
}

/* Looks for the end of the line at the buffer's start, once. */
static bool find_end(struct source *s)
{
	const char *from = s->buf + s->at + s->scanned, *lf;
	size_t have = s->len - s->at - s->scanned;

	if (s->at_end)
		return true;
	lf = have ? memchr(from, '\n', have) : NULL;
	s->at_end = lf != NULL;
	s->scanned += lf ? (size_t)(lf - from) : have;
	return s->at_end;
}

/* The line at the buffer's start, without its LF. 1, 0 at the end, or an error. */
static int next_line(struct source *s, const char **ret_line, size_t *ret_len)
{
	while (!find_end(s)) {
		int r = refill(s);

		if (r < 0)
			return r;
		if (r == 0 && s->len == s->at)
			return 0;
		if (r == 0)
			break;
	}
	*ret_line = s->buf + s->at;
	*ret_len = s->scanned;
	s->unended = !s->at_end;
	take(s, s->scanned + (s->at_end ? 1 : 0));
	return 1;
}

static int next_fixed(struct source *s, struct dag_record *r)
{
	size_t size = s->format.size;

	if (s->file_offset >= s->end)
		return 0;
	while (s->len - s->at < size) {
		int n = refill(s);

		if (n < 0)
			return n;
		if (n == 0)
			return s->len == s->at ? 0 : DAG_EFORMAT;
	}
	r->data = s->buf + s->at;
	r->len = size;
	take(s, size);
	return 1;
}

static int next_bytes(struct source *s, struct dag_record *r)
{
	if (s->file_offset >= s->end)
		return 0;
	if (s->len == s->at) {
		int n = refill(s);

		if (n <= 0)
			return n;
	}
	r->data = s->buf + s->at;
	r->len = s->len - s->at;
	if (r->len > s->end - s->file_offset)
		r->len = s->end - s->file_offset;
	take(s, r->len);
	return 1;
}

int source_next(struct source *s, struct dag_record *r)
{
	const char *line;
	size_t len;
	int n;

	r->key = NULL;
	r->key_len = 0;
	if (s->format.kind == DAG_FORMAT_FIXED)
		return next_fixed(s, r);
	if (s->format.kind == DAG_FORMAT_BYTES)
		return next_bytes(s, r);
	if (s->skip_first) {
		s->skip_first = false;
		n = next_line(s, &line, &len);
		if (n <= 0)
			return n;
	}
	if (s->file_offset >= s->end)
		return 0;
	n = next_line(s, &line, &len);
	if (n <= 0)
		return n;
	r->data = line;
	r->len = len;
	if (s->format.kind == DAG_FORMAT_KV) {
		const char *tab = memchr(line, '\t', len);

		if (!tab)
			return DAG_EFORMAT;
		r->key = line;
		r->key_len = (size_t)(tab - line);
		r->data = tab + 1;
		r->len = len - r->key_len - 1;
	}
	return 1;
}

/* Where the next record may begin: behind the byte that only says whether one does. */
static uint64_t position(const struct source *s)
{
	return s->file_offset + (s->skip_first ? 1 : 0);
}

uint64_t source_left(const struct source *s)
{
	return !s->is_file || position(s) > s->end ? 0 : s->end - position(s);
}

uint64_t source_skip(struct source *s, uint64_t bytes)
{
	uint64_t to;

	bytes = DAG_MIN(bytes, source_left(s));
	if (s->format.kind == DAG_FORMAT_FIXED)
		bytes -= bytes % s->format.size;
	if (!bytes)
		return 0;
	to = position(s) + bytes;
	s->skip_first = s->format.kind == DAG_FORMAT_LINES || s->format.kind == DAG_FORMAT_KV;
	s->position = s->file_offset = to - (s->skip_first ? 1 : 0);
	s->at = s->len = s->scanned = 0;
	s->at_end = s->ended = false;
	s->most = AFTER_SKIP;
	return bytes;
}

bool source_has_record(struct source *s)
{
	size_t have = s->len - s->at;

	switch (s->format.kind) {
	case DAG_FORMAT_FIXED:
		return have >= s->format.size;
	case DAG_FORMAT_BYTES:
		return have > 0;
	default:
		return find_end(s);
	}
}
