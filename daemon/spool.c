/* SPDX-License-Identifier: Apache-2.0 */
/* Size classes, two folders, free lists. */
#include "spool_internal.h"
#include "disk.h"
#include "folder.h"
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ull
#define ID_MAX (1u << 31)             /* of one that is taken up */
#define POOL_BYTES_MAX (256ull << 20) /* of free segments, kept for their warm pages */

static const uint64_t class_size[CLASSES] = {1ull << 20, 4ull << 20, 16ull << 20, 64ull << 20};

static struct spool_segment *spool_any(const struct spool *s, uint32_t id)
{
	struct spool_segment *segment;

	HASH_FIND(hh, s->segments, &id, sizeof(id), segment);
	return segment;
}

static void free_segment(struct spool_segment *segment)
{
	if (segment->fd >= 0)
		close(segment->fd);
	free(segment);
}

static uint64_t *used_by(struct spool *s, const struct spool_segment *segment)
{
	return segment->in_memory ? &s->memory_used : &s->disk_used;
}

/* Segments of an earlier daemon: without a reference until somebody takes them up. */
static void scan_segments(struct spool *s, bool in_memory)
{
	DIR *dir = folder_list(in_memory ? s->memory_fd : s->folder_fd);
	struct dirent *e;

	if (!dir)
		return;
	while ((e = readdir(dir))) {
		struct spool_segment *segment;
		struct stat st;
		char *end;
		unsigned long id;

		if (strncmp(e->d_name, "seg-", 4) ||
			fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		id = strtoul(e->d_name + 4, &end, 10);
		if (*end || !id || id >= ID_MAX || !S_ISREG(st.st_mode) || spool_any(s, (uint32_t)id)) {
			if (unlinkat(dirfd(dir), e->d_name, 0) < 0 && !*end && id < ID_MAX)
				s->last_id =
					DAG_MAX(s->last_id, (uint32_t)id); /* it is no segment, and stays */
			continue;
		}
		segment = base_alloc(sizeof(*segment));
		segment->fd = -1;
		segment->id = (uint32_t)id;
		segment->size = (uint64_t)st.st_size;
		segment->in_memory = in_memory;
		segment->holes = segment->size - DAG_MIN(segment->size, (uint64_t)st.st_blocks * 512);
		s->last_id = DAG_MAX(s->last_id, segment->id);
		*used_by(s, segment) += segment->size - segment->holes;
		HASH_ADD(hh, s->segments, id, sizeof(segment->id), segment);
	}
	closedir(dir);
}

/* Without shared memory everything goes to disk, which works, and is told. */
static void open_memory(struct spool *s, struct dag_diag *diag)
{
	char *why = NULL, *parent = base_strndup(s->memory_folder,
				  (size_t)(strrchr(s->memory_folder, '/') - s->memory_folder));
	int above = os_open_own_folder(parent, &why), r = DAG_EIO;

	if (above >= 0)
		s->memory_fd = os_open_own_folder(s->memory_folder, &why);
	if (s->memory_fd >= 0)
		r = folder_lock(s->memory_fd, &s->memory_lock);
	if (r < 0 && s->budget && why)
		dag_diag_add(diag, NULL, 0, 0, "outputs go to the disk, not to memory: %s %s",
			above < 0 ? parent : s->memory_folder, why);
	else if (r < 0 && s->budget)
		dag_diag_add(diag, NULL, 0, 0,
			r == DAG_EBUSY
				? "outputs go to the disk, not to memory: %s is in use by another daemon "
				  "of this name; give this one its own with --node"
				: "outputs go to the disk, not to memory: cannot write to %s",
			s->memory_folder);
	if (r < 0)
		s->budget = 0;
	else if (ftruncate(s->memory_lock, 0) == 0 &&
		 os_write_at(s->memory_lock, s->folder, strlen(s->folder), 0) != 0)
		errno = 0; /* it will go after a day */
	if (above >= 0)
		close(above);
	free(parent);
	free(why);
}

static int open_folders(struct spool *s, const char *node, struct dag_diag *diag)
{
	char *why = NULL;
	int r;

	s->memory_folder = base_format("/dev/shm/dagrun-%u/%s", (unsigned)geteuid(), node);
	folder_remove_dead(node);
	s->folder_fd = os_open_own_folder(s->folder, &why);
	if (s->folder_fd < 0) {
		dag_diag_add(diag, NULL, 0, 0, "the spool folder %s %s", s->folder, why);
		free(why);
		return DAG_EIO;
	}
	r = folder_own(s->folder_fd, &s->lock);
	if (r < 0)
		dag_diag_add(diag, NULL, 0, 0,
			r == DAG_EBUSY ? "the spool %s is in use by another daemon; give this one "
					 "its own with --spool"
				       : "cannot write to the spool folder %s: %s",
			s->folder, strerror(errno));
	else
		open_memory(s, diag);
	return r;
}

static void close_all(struct spool *s)
{
	for (uint32_t i = 0; i < OPEN_MAX; i++)
		if (s->opened[i].id)
			close(s->opened[i].fd);
	if (s->memory_fd >= 0)
		close(s->memory_fd);
	if (s->folder_fd >= 0)
		close(s->folder_fd);
	if (s->memory_lock >= 0)
		close(s->memory_lock);
	if (s->lock >= 0)
		close(s->lock);
}

static void free_spool(struct spool *s)
{
	close_all(s);
	free(s->trouble);
	free(s->folder);
	free(s->memory_folder);
	free(s);
}

int spool_new(const char *node, const char *folder, uint64_t memory_budget, struct spool **ret_spool,
	struct dag_diag *diag)
{
	struct spool *s = base_alloc(sizeof(*s));
	int r;

	s->folder = os_absolute_path(folder);
	s->budget = memory_budget;
	spool_look_anew(s);
	s->lock = s->memory_lock = s->memory_fd = s->folder_fd = -1;
	r = open_folders(s, node, diag);
	if (r < 0) {
		free_spool(s);
		return r;
	}
	if (s->memory_lock >= 0) /* else they are another daemon's */
		scan_segments(s, true);
	scan_segments(s, false);
	*ret_spool = s;
	return 0;
}

char *spool_path(const struct spool *s, const struct spool_segment *segment)
{
	char name[SPOOL_NAME_SIZE];

	spool_name(s, segment, name);
	return base_format("%s/%s", segment->in_memory ? s->memory_folder : s->folder, name);
}

static void unlink_segment(const struct spool *s, const struct spool_segment *segment)
{
	char name[SPOOL_NAME_SIZE];

	unlinkat(spool_name(s, segment, name), name, 0);
}

static int size_class(uint64_t size)
{
	for (int c = 0; c < CLASSES; c++)
		if (size <= class_size[c])
			return c;
	return -1;
}

static void remove_segment(struct spool *s, struct spool_segment *segment)
{
	char name[SPOOL_NAME_SIZE];
	bool in_memory = segment->in_memory;
	int folder = spool_name(s, segment, name);

	if (s->on_removed)
		s->on_removed(s->ctx, segment->id);
	if (in_memory)
		unlink_segment(s, segment);
	if (segment->base)
		munmap(segment->base, segment->size);
	*used_by(s, segment) -= segment->size - segment->holes;
	spool_stop_looking(s, segment); /* or the disk would keep it */
	HASH_DEL(s->segments, segment);
	free_segment(segment);
	/* When we have let go of it: whoever does last gives the disk's room back, and waits for the disk. */
	if (!in_memory)
		disk_unlink(s->disk, folder, name);
}

struct spool_segment *spool_take_up(struct spool *s, uint32_t id)
{
	struct spool_segment *segment = spool_any(s, id);

	if (segment)
		segment->refs++;
	return segment;
}

void spool_drop_rest(struct spool *s)
{
	struct spool_segment *segment, *next;

	/* Those that were taken up and given back are in the pool. */
	memset(s->free, 0, sizeof(s->free));
	s->pooled = 0;
	HASH_ITER(hh, s->segments, segment, next)
		if (!segment->refs)
			remove_segment(s, segment);
}

void spool_destroy(struct spool **spool)
{
	struct spool *s = *spool;
	struct spool_segment *segment, *next;

	if (!s)
		return;
	HASH_ITER(hh, s->segments, segment, next) {
		/* Not unmapped: ZeroMQ's thread may still be sending from it, until the process ends. */
		unlink_segment(s, segment);
		HASH_DEL(s->segments, segment);
		free_segment(segment);
	}
	if (s->memory_lock >= 0)
		os_remove_tree(s->memory_folder);
	free_spool(s);
	*spool = NULL;
}

int spool_lock(const struct spool *s)
{
	return s->lock;
}

const char *spool_folder(const struct spool *s)
{
	return s->folder;
}

/* Why there is no segment: what the node lacks, and which folder that is about. */
int spool_say_trouble(struct spool *s, bool in_memory, int error)
{
	const char *folder = in_memory ? s->memory_folder : s->folder;
	char why[OS_FILE_ERROR_LEN];

	free(s->trouble);
	s->trouble = NULL;
	if (error == EMFILE || error == ENFILE || error == ENOMEM) {
		s->trouble =
			base_format("the node lacks what a file in its spool needs: %s", strerror(error));
		return DAG_EBUSY;
	}
	s->trouble = error == ENOSPC || error == EDQUOT
			     ? base_format("the node's spool is full: %s: %s", folder, strerror(error))
			     : base_format("the node's spool cannot be written: %s: %s", folder,
				       os_file_error(error, why));
	return DAG_ENOSPC;
}

const char *spool_trouble(const struct spool *s)
{
	return s->trouble ? s->trouble : "the node's spool is full";
}

/* 0 or an errno. */
static int make_file(struct spool *s, struct spool_segment *segment)
{
	char name[SPOOL_NAME_SIZE];
	int folder = spool_name(s, segment, name),
	    fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), error;

	if (fd < 0)
		return errno;
	/* Allocated now: a write to a full tmpfs through a mapping would be SIGBUS. */
	error = posix_fallocate(fd, 0, (off_t)segment->size);
	if (error)
		unlinkat(folder, name, 0);
	if (error || segment->in_memory)
		close(fd);
	else
		segment->fd = fd; /* to open it again for writing might wait for the disk */
	return error;
}

/* Somebody may have removed its file while it was in the pool, or its host cut it short. */
bool spool_is_there(const struct spool *s, const struct spool_segment *segment)
{
	char name[SPOOL_NAME_SIZE];
	struct stat st;

	return fstatat(spool_name(s, segment, name), name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && (uint64_t)st.st_size == segment->size;
}

/* One of the pool, or one that was made in memory; else one that is not made yet, for the disk. */
static struct spool_segment *take_at_once(struct spool *s, uint64_t size, bool *ret_made)
{
	int class = size_class(size), error;
	struct spool_segment *segment;

	*ret_made = true;
	while (class >= 0 && s->free[class]) {
		segment = s->free[class];
		s->free[class] = segment->next_free;
		s->pooled -= segment->size;
		if (spool_is_there(s, segment)) {
			segment->refs = 1;
			return segment;
		}
		remove_segment(s, segment);
	}
	segment = base_alloc(sizeof(*segment));
	segment->fd = -1;
	segment->id = ++s->last_id;
	segment->size = class >= 0 ? class_size[class] : (size + 4095) & ~(uint64_t)4095;
	segment->refs = 1;
	segment->in_memory = s->memory_used + segment->size <= s->budget;
	error = segment->in_memory ? make_file(s, segment) : 0;
	if (error)
		segment->in_memory = false;
	*ret_made = segment->in_memory;
	*used_by(s, segment) += segment->size;
	HASH_ADD(hh, s->segments, id, sizeof(segment->id), segment);
	return segment;
}

/* It was not made. */
static void drop_unmade(struct spool *s, struct spool_segment *segment)
{
	*used_by(s, segment) -= segment->size;
	HASH_DEL(s->segments, segment);
	free_segment(segment);
}

/* ---- on the disk, by its thread ---- */

struct request {
	struct request *next;
	struct spool *spool;
	struct spool_segment *segment;
	spool_take_fn *take; /* NULL: whoever asked is gone */
	void *ctx;
	int error;
};

static void make_on_disk(void *ctx)
{
	struct request *r = ctx;

	r->error = make_file(r->spool, r->segment);
}

static void on_made(void *ctx, bool abandoned)
{
	struct request *r = ctx, **at = &r->spool->requests;
	struct spool *s = r->spool;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	if (r->error) {
		drop_unmade(s, r->segment);
		r->error = spool_say_trouble(s, false, r->error);
		r->segment = NULL;
	}
	if (r->take && !abandoned)
		r->take(r->ctx, r->segment, r->error);
	else if (r->segment && !abandoned)
		spool_unref(s, r->segment);
	free(r);
}

void spool_ask(struct spool *s, uint64_t size, spool_take_fn *take, void *ctx)
{
	bool made;
	struct spool_segment *segment = take_at_once(s, size, &made);
	struct request *r;

	if (made) {
		take(ctx, segment, 0);
		return;
	}
	r = base_alloc(sizeof(*r));
	*r = (struct request){.next = s->requests, .spool = s, .segment = segment, .take = take, .ctx = ctx};
	s->requests = r;
	disk_do(s->disk, make_on_disk, on_made, r);
}

void spool_forget(struct spool *s, const void *ctx)
{
	for (struct request *r = s->requests; r; r = r->next)
		if (r->ctx == ctx)
			r->take = NULL;
}

void spool_set_disk(struct spool *s, struct disk *disk)
{
	s->disk = disk;
}

void spool_ref(struct spool_segment *segment)
{
	segment->refs++;
}

void spool_unref(struct spool *s, struct spool_segment *segment)
{
	int class = size_class(segment->size);

	DAG_ASSERT(segment->refs > 0);
	if (--segment->refs)
		return;
	if (class < 0 || !segment->in_memory || segment->holes ||
		s->pooled + segment->size > POOL_BYTES_MAX) {
		remove_segment(s, segment);
		return;
	}
	spool_stop_looking(s, segment);
	segment->next_free = s->free[class];
	s->free[class] = segment;
	s->pooled += segment->size;
}

void spool_on_removed(struct spool *s, void (*on_removed)(void *ctx, uint32_t segment), void *ctx)
{
	s->on_removed = on_removed;
	s->ctx = ctx;
}

struct spool_segment *spool_find(const struct spool *s, uint32_t id)
{
	struct spool_segment *segment;

	HASH_FIND(hh, s->segments, &id, sizeof(id), segment);
	return segment && segment->refs ? segment : NULL;
}

unsigned char *spool_map(struct spool *s, struct spool_segment *segment)
{
	/* What is on a disk and was written by others is only read here. */
	bool writable = segment->in_memory || segment->fd >= 0;
	struct stat st;
	int fd;

	if (segment->base)
		return segment->base;
	fd = spool_open(s, segment, writable);
	if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size != segment->size) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	segment->base =
		mmap(NULL, segment->size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (segment->base == MAP_FAILED)
		segment->base = NULL;
	return segment->base;
}

void spool_punch(struct spool *s, uint32_t id, uint64_t offset, uint64_t length)
{
	uint64_t first = (offset + PAGE - 1) & ~(PAGE - 1), end = (offset + length) & ~(PAGE - 1);
	struct spool_segment *segment = spool_find(s, id);
	unsigned char *base;

	if (!segment || first >= end)
		return;
	if (!segment->in_memory) {
		/* A hole there would have to wait for what is on its way to the disk; its pages can go at
		 * once. */
		disk_forget_pages(s->disk, spool_look_into(s, segment), first, end - first);
		return;
	}
	base = spool_map(s, segment);
	if (!base || madvise(base + first, end - first, MADV_REMOVE) < 0)
		return; /* it goes with the segment */
	segment->holes += end - first;
	*used_by(s, segment) -= end - first;
}

uint64_t spool_used(const struct spool *s)
{
	return s->memory_used + s->disk_used - s->pooled;
}
