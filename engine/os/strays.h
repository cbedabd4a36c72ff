/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_STRAYS_H
#define OS_STRAYS_H
/*
 * Processes that outlived the one that started them, whatever session they moved to: they become children of
 * the nearest ancestor that has asked for them.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* From now on orphans below this process become its children. */
void strays_adopt(void);
/* True where this process has no child at all, which is as usual; one system call. */
bool strays_none(void);
/*
 * Kills and reaps all children but those of `ours`, and what these leave behind, until none is left; gives up
 * after two seconds, since a process that a disk or a network file system holds cannot be killed. `foreign`:
 * only those that are in another process group than this process. Calls nothing but system calls, so that a
 * signal handler may call it.
 */
void strays_end(const pid_t *ours, size_t n, bool foreign);
/* Calls f for each child of all threads of a process, until it returns false. System calls alone, too. */
void strays_each_child(pid_t pid, bool (*f)(void *ctx, pid_t child), void *ctx);
/* Bytes of memory that a process and all below it have of their own; 0 where it is gone. */
unsigned long long strays_memory(pid_t pid);

#endif
