/* SPDX-License-Identifier: Apache-2.0 */
/* Size classes, two folders, free lists. A lock file in each folder says that its daemon lives. */
#include "spool.h"
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CLASSES 4
#define KEPT_SECONDS (24 * 3600)
#define PAGE 4096ull
#define LOCK_TRIES 150 /* three seconds for the processes of a daemon that died */
#define LOCK_PAUSE_US 20000
#define POOL_BYTES_MAX (256ull << 20) /* of free segments, kept for their warm pages */

static const uint64_t class_size[CLASSES] = {1ull << 20, 4ull << 20, 16ull << 20, 64ull << 20};

struct spool {
	char *memory_folder, *folder;
	int memory_lock, lock;
	uint64_t budget, memory_used, disk_used, pooled;
	uint32_t last_id;
	uint32_t cold; /* the segment on disk that forget_pages looked at last */
	int cold_fd;
	struct spool_segment *segments;
	struct spool_segment *free[CLASSES];
	void (*on_removed)(void *ctx, uint32_t segment);
	void *ctx;
};

/* Takes a folder's lock. *ret_fd stays open as long as the folder is ours. */
static int lock_folder(const char *folder, int *ret_fd)
{
	char *path = base_format("%s/lock", folder);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	free(path);
	if (fd < 0)
		return DAG_EIO;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return DAG_EBUSY;
	}
	futimens(fd, NULL);
	*ret_fd = fd;
	return 0;
}

/* The daemon that took the lock last is gone: what is left of it lets go of it soon. */
static bool owner_is_gone(const char *folder)
{
	char *path = base_format("%s/lock", folder);
	FILE *f = fopen(path, "re");
	int pid = 0;
	bool gone = f && fscanf(f, "%d", &pid) == 1 && pid > 0 && kill(pid, 0) < 0 && errno == ESRCH;

	if (f)
		fclose(f);
	free(path);
	return gone;
}

/* The lock of the folder that a daemon is to have, which says whose it is. */
static int own_folder(const char *folder, int *ret_fd)
{
	int r = lock_folder(folder, ret_fd);
	char pid[16];
	int len;

	for (int i = 0; i < LOCK_TRIES && r == DAG_EBUSY && owner_is_gone(folder); i++) {
		usleep(LOCK_PAUSE_US);
		r = lock_folder(folder, ret_fd);
	}
	if (r < 0)
		return r;
	len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	/* Where the disk is full, nobody will wait for us. */
	if (pwrite(*ret_fd, pid, (size_t)len, 0) != len || ftruncate(*ret_fd, len) < 0)
		errno = 0;
	return 0;
}

static struct spool_segment *spool_any(const struct spool *s, uint32_t id)
{
	struct spool_segment *segment;

	HASH_FIND(hh, s->segments, &id, sizeof(id), segment);
	return segment;
}

static uint64_t *used_by(struct spool *s, const struct spool_segment *segment)
{
	return segment->in_memory ? &s->memory_used : &s->disk_used;
}

/* Segments of an earlier daemon: without a reference until somebody takes them up. */
static void scan_segments(struct spool *s, const char *folder, bool in_memory)
{
	DIR *dir = opendir(folder);
	struct dirent *e;

	if (!dir)
		return;
	while ((e = readdir(dir))) {
		struct spool_segment *segment;
		struct stat st;
		char *end;
		unsigned long id;

		if (strncmp(e->d_name, "seg-", 4) || fstatat(dirfd(dir), e->d_name, &st, 0) < 0)
			continue;
		id = strtoul(e->d_name + 4, &end, 10);
		if (*end || !id || id >= UINT32_MAX || !S_ISREG(st.st_mode) || spool_any(s, (uint32_t)id)) {
			unlinkat(dirfd(dir), e->d_name, 0);
			continue;
		}
		segment = base_alloc(sizeof(*segment));
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

static bool is_old(const char *folder)
{
	char *path = base_format("%s/lock", folder);
	struct stat st;
	bool old = stat(path, &st) < 0 || time(NULL) - st.st_mtime > KEPT_SECONDS;

	free(path);
	return old;
}

/* Removes the folders of nodes whose daemons died a day ago: nobody holds their locks. */
static void remove_dead_nodes(const char *parent, const char *ours)
{
	DIR *dir = opendir(parent);
	struct dirent *e;

	if (!dir)
		return;
	while ((e = readdir(dir))) {
		char *folder = base_format("%s/%s", parent, e->d_name);
		int fd;

		if (e->d_name[0] != '.' && strcmp(folder, ours) && is_old(folder) &&
			lock_folder(folder, &fd) == 0) {
			os_remove_tree(folder);
			close(fd);
		}
		free(folder);
	}
	closedir(dir);
}

/* Without shared memory everything goes to disk, which works, and is told. */
static void open_memory(struct spool *s, struct dag_diag *diag)
{
	int r = os_make_folders(s->memory_folder) < 0 ? DAG_EIO
						      : lock_folder(s->memory_folder, &s->memory_lock);

	if (r < 0 && s->budget)
		dag_diag_add(diag, NULL, 0, 0,
			r == DAG_EBUSY
				? "outputs go to the disk, not to memory: %s is in use by another daemon "
				  "of this name; give this one its own with --node"
				: "outputs go to the disk, not to memory: cannot write to %s",
			s->memory_folder);
	if (r < 0)
		s->budget = 0;
}

static int open_folders(struct spool *s, const char *node, struct dag_diag *diag)
{
	char *parent = base_format("/dev/shm/dagrun-%u", (unsigned)getuid());
	int r;

	s->memory_folder = base_format("%s/%s", parent, node);
	remove_dead_nodes(parent, s->memory_folder);
	if (os_make_folders(s->folder) < 0) {
		dag_diag_add(
			diag, NULL, 0, 0, "cannot make the spool folder %s: %s", s->folder, strerror(errno));
		r = DAG_EIO;
	} else {
		r = own_folder(s->folder, &s->lock);
		if (r < 0)
			dag_diag_add(diag, NULL, 0, 0,
				r == DAG_EBUSY ? "the spool %s is in use by another daemon; give this one "
						 "its own with --spool"
					       : "cannot write to the spool folder %s",
				s->folder);
	}
	if (r == 0)
		open_memory(s, diag);
	free(parent);
	return r;
}

int spool_new(const char *node, const char *folder, uint64_t memory_budget, struct spool **ret_spool,
	struct dag_diag *diag)
{
	struct spool *s = base_alloc(sizeof(*s));
	int r;

	s->folder = base_strdup(folder);
	s->budget = memory_budget;
	s->lock = s->memory_lock = s->cold_fd = -1;
	r = open_folders(s, node, diag);
	if (r < 0) {
		free(s->folder);
		free(s->memory_folder);
		free(s);
		return r;
	}
	if (s->memory_lock >= 0) /* else they are another daemon's */
		scan_segments(s, s->memory_folder, true);
	scan_segments(s, s->folder, false);
	*ret_spool = s;
	return 0;
}

static char *segment_path(const struct spool *s, const struct spool_segment *segment)
{
	return base_format("%s/seg-%u", segment->in_memory ? s->memory_folder : s->folder, segment->id);
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
	char *path = segment_path(s, segment);

	if (s->on_removed)
		s->on_removed(s->ctx, segment->id);
	unlink(path);
	free(path);
	if (segment->base)
		munmap(segment->base, segment->size);
	*used_by(s, segment) -= segment->size - segment->holes;
	if (s->cold_fd >= 0 && s->cold == segment->id) {
		close(s->cold_fd); /* or the disk would keep it */
		s->cold_fd = -1;
	}
	HASH_DEL(s->segments, segment);
	free(segment);
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
		char *path = segment_path(s, segment);

		/* Not unmapped: ZeroMQ's thread may still be sending from it, until the process ends. */
		unlink(path);
		free(path);
		HASH_DEL(s->segments, segment);
		free(segment);
	}
	if (s->memory_lock >= 0) {
		os_remove_tree(s->memory_folder);
		close(s->memory_lock);
	}
	close(s->lock);
	if (s->cold_fd >= 0)
		close(s->cold_fd);
	free(s->memory_folder);
	free(s->folder);
	free(s);
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

static int make_file(struct spool *s, struct spool_segment *segment)
{
	char *path = segment_path(s, segment);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), r = 0;

	/* Allocated now: a write to a full tmpfs through a mapping would be SIGBUS. */
	if (fd < 0 || posix_fallocate(fd, 0, (off_t)segment->size) != 0) {
		if (fd >= 0)
			unlink(path);
		r = DAG_ENOSPC;
	}
	if (fd >= 0)
		close(fd);
	free(path);
	return r;
}

/* Somebody may have removed its file while it was in the pool. */
static bool is_there(const struct spool *s, const struct spool_segment *segment)
{
	char *path = segment_path(s, segment);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

int spool_take(struct spool *s, uint64_t size, struct spool_segment **ret_segment)
{
	int class = size_class(size);
	struct spool_segment *segment;

	while (class >= 0 && s->free[class]) {
		segment = s->free[class];
		s->free[class] = segment->next_free;
		s->pooled -= segment->size;
		if (!is_there(s, segment)) {
			remove_segment(s, segment);
			continue;
		}
		segment->refs = 1;
		*ret_segment = segment;
		return 0;
	}
	segment = base_alloc(sizeof(*segment));
	segment->id = ++s->last_id;
	segment->size = class >= 0 ? class_size[class] : (size + 4095) & ~(uint64_t)4095;
	segment->in_memory = s->memory_used + segment->size <= s->budget;
	if (segment->in_memory && make_file(s, segment) < 0)
		segment->in_memory = false;
	else if (segment->in_memory)
		goto made;
	if (make_file(s, segment) < 0) {
		free(segment);
		return DAG_ENOSPC;
	}
made:
	segment->refs = 1;
	*used_by(s, segment) += segment->size;
	HASH_ADD(hh, s->segments, id, sizeof(segment->id), segment);
	*ret_segment = segment;
	return 0;
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

int spool_open(const struct spool *s, const struct spool_segment *segment, bool writable)
{
	char *path = segment_path(s, segment);
	int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);

	free(path);
	return fd;
}

unsigned char *spool_map(struct spool *s, struct spool_segment *segment)
{
	int fd;

	if (segment->base)
		return segment->base;
	fd = spool_open(s, segment, true);
	if (fd < 0)
		return NULL;
	segment->base = mmap(NULL, segment->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (segment->base == MAP_FAILED)
		segment->base = NULL;
	return segment->base;
}

/* A hole there would have to wait for what is on its way to the disk; its pages can go at once. */
static void forget_pages(
	struct spool *s, const struct spool_segment *segment, uint64_t offset, uint64_t length)
{
	if (s->cold_fd < 0 || s->cold != segment->id) {
		if (s->cold_fd >= 0)
			close(s->cold_fd);
		s->cold_fd = spool_open(s, segment, false);
		s->cold = segment->id;
	}
	if (s->cold_fd >= 0)
		posix_fadvise(s->cold_fd, (off_t)offset, (off_t)length, POSIX_FADV_DONTNEED);
}

void spool_punch(struct spool *s, uint32_t id, uint64_t offset, uint64_t length)
{
	uint64_t first = (offset + PAGE - 1) & ~(PAGE - 1), end = (offset + length) & ~(PAGE - 1);
	struct spool_segment *segment = spool_find(s, id);
	unsigned char *base;

	if (!segment || first >= end)
		return;
	if (!segment->in_memory) {
		forget_pages(s, segment, first, end - first);
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
