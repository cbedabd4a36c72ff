/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_CGROUP_H
#define OS_CGROUP_H
/*
 * Groups of processes that the kernel holds to limits, and ends as one: control groups of version 2 (Linux,
 * Documentation/admin-guide/cgroup-v2.rst). The folder must have been given to us ("delegated"), as systemd
 * does with Delegate=yes.
 */
#include "base/diag.h"

#include <sys/types.h>

struct cgroup;

/*
 * The folder, or NULL for this process's own group. A group that has children with limits can have no
 * processes itself: where this process is in it, it moves to a child "daemon". DAG_EIO with a message where
 * it is not ours to use.
 */
int cgroup_new(struct cgroup **ret_group, const char *folder, struct dag_diag *diag);
void cgroup_destroy(struct cgroup **group);
bool cgroup_limits_memory(const struct cgroup *group);
bool cgroup_limits_cpu(const struct cgroup *group);

/* A child for a process and all that it will start; an allocated path, NULL where that cannot be. */
char *cgroup_add(struct cgroup *group, pid_t pid);
/* memory in bytes, cpu in hundredths of a CPU; 0: as much as there is. */
void cgroup_limit(const struct cgroup *group, const char *child, uint64_t memory, uint32_t cpu);
/* Whether the kernel has killed something in it for its memory. */
bool cgroup_out_of_memory(const char *child);
/* Kills all in it. */
void cgroup_kill(const char *child);
/* Removes it when the last process has gone; until then false. */
bool cgroup_remove(const char *child);

#endif
