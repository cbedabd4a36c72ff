/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_DISK_H
#define DAEMON_DISK_H
/*
 * What the daemon does to files on a disk, it does in a thread of its own: a disk may stand still for a
 * minute, and the loop must go on, or the node would be taken for dead. One thing after the other, in the
 * order in which they were asked for.
 */
#include "base/base.h"

#include <uv.h>

struct disk;

/* In the thread. */
typedef void disk_run_fn(void *ctx);
/* On the loop, when it has run; at the daemon's end, `abandoned`, to free what ctx holds. */
typedef void disk_done_fn(void *ctx, bool abandoned);

void disk_new(uv_loop_t *loop, struct disk **ret_disk);
/* Waits for all that was asked for. */
void disk_destroy(struct disk **disk);
/* Without a disk (NULL), or where the machine has no more threads, it runs at once. */
void disk_do(struct disk *disk, disk_run_fn *run, disk_done_fn *done, void *ctx);
/* Removes a folder with all in it. */
void disk_remove_tree(struct disk *disk, const char *path);
/* The folder's descriptor must stay open. */
void disk_unlink(struct disk *disk, int folder, const char *name);
/* Of a file that fd is open on, or -1: its pages there are needed in memory no more. */
void disk_forget_pages(struct disk *disk, int fd, uint64_t offset, uint64_t length);

#endif
