/* SPDX-License-Identifier: Apache-2.0 */
#include "keep.h"
#include "base/buffer.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#define BUFFER_MAX (64u << 10)

struct keep {
	int fd;
	char *path;
	struct buffer buffer; /* not written yet */
	off_t size;           /* of the file: whole records */
};

_Static_assert(sizeof(struct keep_record) == 48, "all of it is hashed");

static uint64_t check_of(const struct keep_record *r)
{
	return hash_128((const char *)r + sizeof(r->check), sizeof(*r) - sizeof(r->check)).low;
}

uint64_t keep_job_number(const char *job)
{
	return hash_128(job, strlen(job)).low;
}

/* Records by what they are about. */
struct known {
	struct {
		uint64_t job;
		uint32_t vertex, attempt;
	} key;
	struct keep_record record;
	UT_hash_handle hh;
};

static struct known *find(struct known *all, const struct keep_record *r)
{
	struct known *k, wanted = {.key = {r->job, r->vertex, r->attempt}};

	HASH_FIND(hh, all, &wanted.key, sizeof(wanted.key), k);
	return k;
}

static void forget(struct known **all, struct known *k)
{
	HASH_DEL(*all, k);
	free(k);
}

static void apply_one(struct known **all, const struct keep_record *r)
{
	struct known *k = find(*all, r), *next;

	if (r->kind == KEEP_SEALED && !k) {
		k = base_alloc(sizeof(*k));
		k->key.job = r->job;
		k->key.vertex = r->vertex;
		k->key.attempt = r->attempt;
		k->record = *r;
		HASH_ADD(hh, *all, key, sizeof(k->key), k);
	} else if (r->kind == KEEP_ACKED && k)
		k->record.acked = true;
	else if (r->kind == KEEP_GONE && k)
		forget(all, k);
	else if (r->kind == KEEP_JOB_GONE)
		HASH_ITER(hh, *all, k, next)
			if (k->key.job == r->job)
				forget(all, k);
}

static void apply(struct known **all, struct keep_record r)
{
	for (uint32_t more = r.more; more; more--, r.vertex++)
		apply_one(all, &r);
	apply_one(all, &r);
}

struct keep_record *keep_load(const char *folder, size_t *ret_count)
{
	char *path = base_format("%s/sealed", folder);
	FILE *f = fopen(path, "rbe");
	struct keep_record r, *records;
	struct known *all = NULL, *k, *next;
	size_t n = 0;

	free(path);
	while (f && fread(&r, sizeof(r), 1, f) == 1 && r.check == check_of(&r)) {
		r.acked = 0;
		apply(&all, r);
	}
	if (f)
		fclose(f);
	records = base_alloc((HASH_COUNT(all) + 1) * sizeof(*records));
	HASH_ITER(hh, all, k, next) {
		records[n++] = k->record;
		forget(&all, k);
	}
	*ret_count = n;
	return records;
}

void keep_flush(struct keep *k)
{
	if (!k || !k->buffer.len)
		return;
	for (size_t at = 0; at < k->buffer.len; at += sizeof(struct keep_record)) {
		struct keep_record *r = (struct keep_record *)(k->buffer.data + at);

		r->check = check_of(r);
	}
	/* What cannot be kept is lost with the daemon, and made again; half of it would hide what follows. */
	if (write(k->fd, k->buffer.data, k->buffer.len) == (ssize_t)k->buffer.len)
		k->size += (off_t)k->buffer.len;
	else if (ftruncate(k->fd, k->size) < 0)
		errno = 0;
	k->buffer.len = 0;
}

/* Vertices that follow one another end, and are acked, many at a time: one record tells of them. */
static bool join_last(struct keep *k, const struct keep_record *r)
{
	struct keep_record *last;

	if (!k->buffer.len || r->kind == KEEP_SEALED)
		return false;
	last = (struct keep_record *)(k->buffer.data + k->buffer.len) - 1;
	if (last->kind != r->kind || last->attempt != r->attempt ||
		last->vertex + last->more + 1 != r->vertex || last->job != r->job)
		return false;
	last->more++;
	return true;
}

static void append(struct keep *k, const struct keep_record *r)
{
	if (join_last(k, r))
		return;
	buffer_append(&k->buffer, r, sizeof(*r));
	if (k->buffer.len >= BUFFER_MAX)
		keep_flush(k);
}

struct keep *keep_new(const char *folder, const struct keep_record *records, size_t n)
{
	char *path = base_format("%s/sealed", folder), *temporary = base_format("%s/sealed.new", folder);
	struct keep *k = base_alloc(sizeof(*k));

	k->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	for (size_t i = 0; i < n && k->fd >= 0; i++) {
		struct keep_record r = records[i];

		r.kind = KEEP_SEALED;
		r.acked = 0;
		append(k, &r);
		if (records[i].acked)
			keep_note(k, KEEP_ACKED, r.job, r.vertex, r.attempt, NULL);
	}
	if (k->fd >= 0)
		keep_flush(k);
	if (k->fd < 0 || rename(temporary, path) < 0) {
		if (k->fd >= 0)
			close(k->fd);
		buffer_fini(&k->buffer);
		free(k);
		k = NULL;
	}
	if (k)
		k->path = path;
	else
		free(path);
	free(temporary);
	return k;
}

void keep_destroy(struct keep **keep)
{
	if (!*keep)
		return;
	close((*keep)->fd);
	unlink((*keep)->path);
	free((*keep)->path);
	buffer_fini(&(*keep)->buffer);
	free(*keep);
	*keep = NULL;
}

void keep_note(struct keep *keep, enum keep_kind kind, uint64_t job, uint32_t vertex, uint32_t attempt,
	const struct block_ref *index)
{
	struct keep_record r = {.job = job, .vertex = vertex, .attempt = attempt, .kind = (uint16_t)kind};

	if (!keep)
		return;
	if (index) {
		r.segment = index->segment;
		r.offset = index->offset;
		r.length = index->length;
	}
	append(keep, &r);
}
