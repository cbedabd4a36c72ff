/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_SPOOL_INTERNAL_H
#define DAEMON_SPOOL_INTERNAL_H
/* What spool.c (segments) and spool_read.c (their bytes) share. */
#include "spool.h"

#define CLASSES 4
#define OPEN_MAX 32u
#define WINDOW_MAX 16384u

/* A segment's file that was opened to be looked at, and may be again. */
struct opened {
	uint32_t id;
	int fd;
	bool used; /* since spool_rest */
};

/* What was read of a segment together with what lay beside it: many small indexes at a time. */
struct window {
	uint32_t id; /* 0: nothing */
	uint64_t offset;
	size_t len, next; /* next: bytes to be read the next time */
	unsigned char bytes[WINDOW_MAX];
};

struct spool {
	char *memory_folder, *folder;
	int memory_fd, folder_fd; /* of the folders */
	int memory_lock, lock;
	uint64_t budget, memory_used, disk_used, pooled;
	uint32_t last_id;
	struct opened opened[OPEN_MAX]; /* by the segment's number */
	struct window window;
	char *trouble; /* why there was no segment the last time; NULL: nothing is known */
	struct spool_segment *segments;
	struct disk *disk;
	struct request *requests; /* for segments that are being made */
	struct spool_segment *free[CLASSES];
	void (*on_removed)(void *ctx, uint32_t segment);
	void *ctx;
};

/* Its name in the folder of ours whose descriptor is returned. */
#define SPOOL_NAME_SIZE 24u
int spool_name(const struct spool *spool, const struct spool_segment *segment, char name[SPOOL_NAME_SIZE]);
/* A descriptor of the spool's own, until another segment needs its place, or nobody looks for a while.
 * Negative with errno. */
int spool_look_into(struct spool *spool, struct spool_segment *segment);
void spool_stop_looking(struct spool *spool, const struct spool_segment *segment);

#endif
