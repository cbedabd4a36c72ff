/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_SPOOL_H
#define DAEMON_SPOOL_H
/*
 * Where a node keeps channel data: segments, which are files of 1 to 64 MiB (larger for a longer record) in
 * shared memory up to the budget, beyond it on disk. A segment is allocated whole before use, never
 * truncated, and goes back to a pool when its last reference goes, unless it has got holes: the first touch
 * of a fresh page costs ten times one that is recycled.
 *
 * The loop's thread only.
 */
#include "base/base.h"
#include "base/diag.h"
#include "base/table.h"

struct spool;
struct disk;

struct spool_segment {
	uint32_t id;
	uint64_t size;
	uint64_t holes; /* bytes of it that were given back */
	bool in_memory;
	int fd; /* open for writing: of one on the disk that nobody writes yet; else -1 */
	uint32_t refs;
	unsigned char *base; /* mapped by the daemon, once it was asked for */
	struct spool_segment *next_free;
	UT_hash_handle hh;
};

/*
 * node: names the folder in shared memory. folder: on disk, made if missing. DAG_EBUSY where another daemon
 * has it, DAG_EIO where it cannot be made. What an earlier daemon left in either may be taken up; then
 * spool_drop_rest.
 */
int spool_new(const char *node, const char *folder, uint64_t memory_budget, struct spool **ret_spool,
	struct dag_diag *diag);
/* Removes all segments. */
void spool_destroy(struct spool **spool);
/* A segment of an earlier daemon, with one more reference; NULL where there is none. */
struct spool_segment *spool_take_up(struct spool *spool, uint32_t id);
/* Removes those of an earlier daemon that were not taken up. */
void spool_drop_rest(struct spool *spool);
const char *spool_folder(const struct spool *spool);
/* Its lock's descriptor: a copy of it keeps other daemons out of the folder. */
int spool_lock(const struct spool *spool);

/* From here on files on the disk are made and removed by that thread, until NULL. */
void spool_set_disk(struct spool *spool, struct disk *disk);
/*
 * A segment of at least `size` bytes with one reference goes to `take`: at once, unless it must be made on
 * the disk. Or NULL with an error: DAG_ENOSPC, or DAG_EBUSY where the node lacks something else;
 * spool_trouble says more.
 */
typedef void spool_take_fn(void *ctx, struct spool_segment *segment, int error);
void spool_ask(struct spool *spool, uint64_t size, spool_take_fn *take, void *ctx);
/* Whoever asked is gone. */
void spool_forget(struct spool *spool, const void *ctx);
const char *spool_trouble(const struct spool *spool);
/* Notes why a segment's file could not be had, by an errno; the code for it. */
int spool_say_trouble(struct spool *spool, bool in_memory, int error);
void spool_ref(struct spool_segment *segment);
/* on_removed (spool_on_removed) is called for a segment whose file goes, before that. */
void spool_unref(struct spool *spool, struct spool_segment *segment);
void spool_on_removed(struct spool *spool, void (*on_removed)(void *ctx, uint32_t segment), void *ctx);
struct spool_segment *spool_find(const struct spool *spool, uint32_t id);
/* The bytes are not needed any more: the whole pages of memory among them go. */
void spool_punch(struct spool *spool, uint32_t segment, uint64_t offset, uint64_t length);
/* Where its file lies, allocated: for who outlives the spool. */
char *spool_path(const struct spool *spool, const struct spool_segment *segment);
/* A descriptor of the caller's; negative with errno. */
int spool_open(const struct spool *spool, struct spool_segment *segment, bool writable);
/*
 * Bytes of a segment that a host writes to: it can cut its file short, and then a look through a mapping
 * would be the end of us. 0, or DAG_EMISSING where it ends before them. What was read is kept with what lies
 * beside it until spool_look_anew, which comes before what is written later is read.
 */
int spool_read(struct spool *spool, struct spool_segment *segment, uint64_t offset, void *to, size_t len);
void spool_look_anew(struct spool *spool);
/* A file of its name is there, as long as it was made: as who opens it finds it; */
bool spool_is_there(const struct spool *spool, const struct spool_segment *segment);
/* the same of the file that was opened to be looked at, which is faster. */
bool spool_is_whole(struct spool *spool, struct spool_segment *segment);
/* The segment in this process's memory; NULL where it cannot be mapped. */
unsigned char *spool_map(struct spool *spool, struct spool_segment *segment);
/* From time to time: descriptors that nobody has used since the last time are closed. */
void spool_rest(struct spool *spool);
/* Bytes held, all in all and in shared memory. */
uint64_t spool_used(const struct spool *spool);

#endif
