/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that are shipped for a job, in the node's cache, each under the name of its hash. A thread looks
 * whether they are there and writes what comes, one after the other; the job is ready when all are there.
 */
#include "node.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOSTS_AHEAD_MAX 64u
#define HASHED_AT_ONCE (32u << 10) /* on the stack: what comes from the heap is set to 0 first */
#define FILES_MAX 16384u           /* shipped for a job */

bool files_is_name(const char *name, size_t max)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return n && n <= max && !name[n] && name[0] != '.';
}

const char *files_add(struct job *job, const Dagrun__File *m)
{
	struct job_file *f;

	if (!files_is_name(m->hash, HASH_HEX_LEN))
		return NULL;
	for (size_t i = 0; i < job->file_count; i++)
		if (!strcmp(job->files[i].hash, m->hash))
			return job->files[i].path;
	if (job->file_count == FILES_MAX)
		return NULL;
	f = DAG_APPEND(job->files, job->file_count, job->file_cap);
	f->hash = arena_strdup(&job->arena, m->hash);
	f->path = arena_format(&job->arena, "%s/%s", job->daemon->cache, m->hash);
	f->temporary = arena_format(&job->arena, "%s.%s.%d", f->path, job->id, (int)getpid());
	f->size = m->size;
	f->fd = -1;
	return f->path;
}

static void ask(struct job *job)
{
	Dagrun__FileNeed m = DAGRUN__FILE_NEED__INIT;
	SESSION_ENVELOPE(e, FILE_NEED);

	m.hashes = base_alloc((job->file_count + 1) * sizeof(*m.hashes));
	for (size_t i = 0; i < job->file_count; i++)
		if (!job->files[i].there)
			m.hashes[m.n_hashes++] = job->files[i].hash;
	e.file_need = &m;
	if (job->manager)
		session_send(job->manager, &e);
	job->files_asked = job->manager != NULL;
	free(m.hashes);
}

/* What is on its way to the disk is waited for: then it is known what is missing. */
static void go_on(struct job *job)
{
	bool all = true;

	if (job->files_busy || job->ready || job->ending)
		return;
	for (size_t i = 0; i < job->file_count; i++)
		all = all && job->files[i].there;
	if (!all) {
		if (!job->files_asked)
			ask(job);
		return;
	}
	job->ready = true;
	host_prepare(job, DAG_MIN(DAG_MIN(job->hosts_hint, job->daemon->slots), HOSTS_AHEAD_MAX));
	job_tell_all(job);
}

/* ---- what is there ---- */

/* Whether the descriptor has its bytes, by their hash. */
static bool is_file(const struct job_file *f, int fd)
{
	struct hash_state *state = hash_state_new();
	unsigned char chunk[HASHED_AT_ONCE];
	char hex[HASH_HEX_LEN + 1];
	uint64_t at = 0;
	ssize_t n;

	while (at <= f->size && (n = pread(fd, chunk, HASHED_AT_ONCE, (off_t)at)) > 0) {
		hash_state_update(state, chunk, (size_t)n);
		at += (uint64_t)n;
	}
	hash_hex(hash_state_digest(state), hex);
	hash_state_destroy(&state);
	return at == f->size && !strcmp(hex, f->hash);
}

/* In the cache, and what its name says: a folder on a disk is no proof. */
static bool is_cached(const struct job_file *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	bool ok;

	if (fd < 0)
		return false;
	ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->size && is_file(f, fd);
	close(fd);
	return ok;
}

static void look(void *ctx)
{
	struct job *job = ctx;

	for (size_t i = 0; i < job->file_count; i++)
		job->files[i].kept = is_cached(&job->files[i]);
}

static void on_looked(void *ctx, bool abandoned)
{
	struct job *job = ctx;

	for (size_t i = 0; i < job->file_count; i++)
		job->files[i].there = job->files[i].kept;
	job->files_busy--;
	if (!abandoned)
		go_on(job);
}

void files_open(struct job *job)
{
	if (job->file_count) {
		job->files_busy++;
		disk_do(job->daemon->cache_disk, look, on_looked, job);
	} else
		go_on(job);
}

void files_ask_again(struct job *job)
{
	job->files_asked = false;
	go_on(job);
}

/* ---- what comes ---- */

struct piece {
	struct job *job;
	struct job_file *file;
	uint64_t offset;
	size_t len;
	bool last, kept; /* kept: the file is whole */
	char *wrong;     /* NULL, or what is wrong, allocated */
	unsigned char data[];
};

static char *cannot_keep(const struct job *job, int error)
{
	return base_format("cannot keep a shipped file in %s: %s", job->daemon->cache, strerror(error));
}

static char *write_piece(const struct piece *p)
{
	struct job_file *f = p->file;
	int error;

	if (f->fd < 0)
		f->fd = open(f->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0700);
	error = f->fd < 0 ? errno : os_write_at(f->fd, p->data, p->len, p->offset);
	if (error)
		return cannot_keep(p->job, error);
	if (!p->last)
		return NULL;
	/* What came must be what was asked for: the content is its name. */
	if (!is_file(f, f->fd))
		return base_format("the shipped file %s does not have its hash", f->hash);
	return rename(f->temporary, f->path) < 0 ? cannot_keep(p->job, errno) : NULL;
}

static void drop_unfinished(struct job_file *f)
{
	if (f->fd < 0)
		return;
	close(f->fd);
	unlink(f->temporary);
	f->fd = -1;
}

static void keep_piece(void *ctx)
{
	struct piece *p = ctx;
	struct job_file *f = p->file;

	if (!f->kept && !f->broken) {
		if (!p->wrong)
			p->wrong = write_piece(p);
		f->kept = p->kept = p->last && !p->wrong;
		f->broken = p->wrong;
		if (f->broken)
			drop_unfinished(f);
	}
	if (!p->last)
		return;
	/* It may come once more. */
	f->broken = false;
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static void on_piece_kept(void *ctx, bool abandoned)
{
	struct piece *p = ctx;
	struct job *job = p->job;

	job->files_busy--;
	p->file->coming -= p->len;
	p->file->there = p->file->there || p->kept;
	if (p->wrong && !job->ending && !abandoned)
		job_send_ready(job, p->wrong);
	free(p->wrong);
	free(p);
	if (!abandoned)
		go_on(job);
}

static struct job_file *find_missing(struct job *job, const char *hash)
{
	for (size_t i = 0; i < job->file_count; i++)
		if (!strcmp(job->files[i].hash, hash) && !job->files[i].there)
			return &job->files[i];
	return NULL;
}

void files_take(struct job *job, const Dagrun__FileChunk *m)
{
	struct job_file *f = find_missing(job, m->hash);
	size_t len = m->data.len;
	struct piece *p;

	if (!f || len > f->size - DAG_MIN(f->coming, f->size)) /* it was asked for twice, and comes twice */
		return;
	p = base_alloc(sizeof(*p) + len);
	*p = (struct piece){.job = job, .file = f, .offset = m->offset, .len = len, .last = m->last};
	if (*m->error)
		p->wrong = base_strdup(m->error);
	else if (m->offset > f->size || len > f->size - m->offset)
		p->wrong = base_format("of the shipped file %s comes more than its %llu bytes", f->hash,
			(unsigned long long)f->size);
	else
		base_copy(p->data, m->data.data, len);
	job->files_busy++;
	f->coming += len;
	disk_do(job->daemon->cache_disk, keep_piece, on_piece_kept, p);
}

/* ---- its end ---- */

static void drop_all(void *ctx)
{
	struct job *job = ctx;

	for (size_t i = 0; i < job->file_count; i++)
		drop_unfinished(&job->files[i]);
}

static void on_dropped(void *ctx, bool abandoned)
{
	struct job *job = ctx;

	(void)abandoned;
	job->files_busy--;
}

void files_drop(struct job *job)
{
	if (!job->file_count)
		return;
	job->files_busy++;
	disk_do(job->daemon->cache_disk, drop_all, on_dropped, job);
}
