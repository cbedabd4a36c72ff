/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_CONTAINER_H
#define OS_CONTAINER_H
/*
 * What the control groups that this process is in leave of the machine: of version 1 and 2, and of all groups
 * above its own, as containers, systemd and batch systems set them.
 */
#include "base/base.h"

struct container {
	uint64_t memory; /* bytes; UINT64_MAX: all */
	uint32_t cpus;   /* whole ones, rounded up; UINT32_MAX: all */
	uint64_t kills;  /* container_kills, at that time */
};

/* root: where /proc and the groups are to be found; "" but in tests. */
struct container container_look(const char *root);
/* How often the kernel has killed something in this process's group for want of memory. */
uint64_t container_kills(const char *root);
/* This process's, as it was when this was asked first: a look costs a fraction of a millisecond. */
const struct container *container_own(void);

#endif
