/* SPDX-License-Identifier: Apache-2.0 */
#include "keep.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "base/table.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GATHER_MS 20
#define WAITING_MAX (64u << 20) /* bytes of records, while the disk stands still */

/*
 * The loop notes, a thread writes: a disk that stands still must not stop a heartbeat. What a crash loses of
 * the last milliseconds is made again, as any output that is gone.
 */
struct keep {
	char *path;
	struct buffer buffer; /* noted, and the loop's alone */
	pthread_t writer;
	pthread_mutex_t lock;
	pthread_cond_t changed, ended;
	/* Under the lock: */
	struct buffer waiting; /* to be written */
	bool writing, resting, stop;
	/* The writer's alone: */
	int fd;
	off_t size; /* of the file: whole records */
};

_Static_assert(sizeof(struct keep_record) == 48, "all of it is hashed");

static uint64_t check_of(const struct keep_record *r)
{
	return hash_128((const char *)r + sizeof(r->check), sizeof(*r) - sizeof(r->check)).low;
}

uint32_t keep_index_hash(const void *index, size_t len)
{
	return (uint32_t)hash_128(index, len).low;
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

/* What it tells of many, looked for among those that are known where there are fewer. */
static void apply_to_known(struct known **all, const struct keep_record *r)
{
	struct known *k, *next;

	HASH_ITER(hh, *all, k, next) {
		struct keep_record one = *r;

		one.vertex = k->key.vertex;
		if (k->key.job == r->job && k->key.attempt == r->attempt && one.vertex >= r->vertex &&
			one.vertex - r->vertex <= r->more)
			apply_one(all, &one);
	}
}

static void apply(struct known **all, struct keep_record r)
{
	uint32_t more = r.kind == KEEP_ACKED || r.kind == KEEP_GONE ? r.more : 0;

	if (more > HASH_COUNT(*all)) {
		apply_to_known(all, &r);
		return;
	}
	for (; more; more--, r.vertex++)
		apply_one(all, &r);
	apply_one(all, &r);
}

/* Nothing but a file of ours: a pipe of that name would be waited for. */
static FILE *open_records(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	FILE *f = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fdopen(fd, "rb") : NULL;

	if (!f && fd >= 0)
		close(fd);
	return f;
}

struct keep_record *keep_load(const char *folder, size_t *ret_count)
{
	char *path = base_format("%s/sealed", folder);
	FILE *f = open_records(path);
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

/* What cannot be kept is lost with the daemon, and made again; half of it would hide what follows. */
static void write_records(struct keep *k, struct buffer *b)
{
	for (size_t at = 0; at < b->len; at += sizeof(struct keep_record)) {
		struct keep_record *r = (struct keep_record *)(b->data + at);

		r->check = check_of(r);
	}
	if (write(k->fd, b->data, b->len) == (ssize_t)b->len)
		k->size += (off_t)b->len;
	else if (ftruncate(k->fd, k->size) < 0)
		errno = 0;
	b->len = 0;
}

/* Nobody is woken for what comes soon after; at the end nobody rests. */
static void rest(struct keep *k)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += GATHER_MS * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000l;
	until.tv_nsec %= 1000000000l;
	k->resting = true;
	while (!k->stop && pthread_cond_timedwait(&k->ended, &k->lock, &until) == 0)
		;
	k->resting = false;
}

static void *run_writer(void *ctx)
{
	struct keep *k = ctx;
	struct buffer mine = {0}, other;

	pthread_mutex_lock(&k->lock);
	while (!k->stop || k->waiting.len) {
		if (!k->waiting.len) {
			pthread_cond_wait(&k->changed, &k->lock);
			continue;
		}
		other = mine;
		mine = k->waiting;
		k->waiting = other;
		k->writing = true;
		pthread_mutex_unlock(&k->lock);
		write_records(k, &mine);
		pthread_mutex_lock(&k->lock);
		k->writing = false;
		pthread_cond_broadcast(&k->changed);
		rest(k);
	}
	pthread_mutex_unlock(&k->lock);
	buffer_fini(&mine);
	return NULL;
}

void keep_flush(struct keep *k)
{
	if (!k || !k->buffer.len)
		return;
	pthread_mutex_lock(&k->lock);
	if (k->waiting.len <= WAITING_MAX)
		buffer_append(&k->waiting, k->buffer.data, k->buffer.len);
	if (!k->writing && !k->resting)
		pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
	k->buffer.len = 0;
}

void keep_settle(struct keep *k)
{
	keep_flush(k);
	pthread_mutex_lock(&k->lock);
	while (k->waiting.len || k->writing)
		pthread_cond_wait(&k->changed, &k->lock);
	pthread_mutex_unlock(&k->lock);
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
}

static void free_keep(struct keep *k)
{
	pthread_mutex_destroy(&k->lock);
	pthread_cond_destroy(&k->changed);
	pthread_cond_destroy(&k->ended);
	buffer_fini(&k->buffer);
	buffer_fini(&k->waiting);
	free(k->path);
	free(k);
}

/* The records of an earlier daemon, in a file of their own that then takes the name. */
static int write_anew(struct keep *k, const char *folder, const struct keep_record *records, size_t n)
{
	char *temporary = base_format("%s/sealed.new", folder);
	int r = 0;

	unlink(temporary); /* whatever it is */
	k->fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	for (size_t i = 0; i < n && k->fd >= 0; i++) {
		struct keep_record old = records[i];

		old.kind = KEEP_SEALED;
		old.acked = 0;
		append(k, &old);
		if (records[i].acked)
			keep_note(k, KEEP_ACKED, old.job, old.vertex, old.attempt, NULL, 0);
	}
	if (k->fd >= 0)
		write_records(k, &k->buffer);
	if (k->fd < 0 || rename(temporary, k->path) < 0)
		r = DAG_EIO;
	free(temporary);
	return r;
}

struct keep *keep_new(const char *folder, const struct keep_record *records, size_t n)
{
	struct keep *k = base_alloc(sizeof(*k));
	pthread_condattr_t monotonic;
	int r;

	k->path = base_format("%s/sealed", folder);
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->changed, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&k->ended, &monotonic);
	pthread_condattr_destroy(&monotonic);
	r = write_anew(k, folder, records, n);
	if (r == 0 && pthread_create(&k->writer, NULL, run_writer, k) == 0)
		return k;
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
	free_keep(k);
	return NULL;
}

void keep_destroy(struct keep **keep)
{
	struct keep *k = *keep;

	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_broadcast(&k->changed);
	pthread_cond_broadcast(&k->ended);
	pthread_mutex_unlock(&k->lock);
	pthread_join(k->writer, NULL);
	close(k->fd);
	unlink(k->path);
	free_keep(k);
	*keep = NULL;
}

void keep_note(struct keep *keep, enum keep_kind kind, uint64_t job, uint32_t vertex, uint32_t attempt,
	const struct block_ref *index, uint32_t index_hash)
{
	struct keep_record r = {.job = job, .vertex = vertex, .attempt = attempt, .kind = (uint16_t)kind};

	if (!keep)
		return;
	if (index) {
		r.segment = index->segment;
		r.offset = index->offset;
		r.length = index->length;
		r.more = index_hash;
	}
	append(keep, &r);
}
