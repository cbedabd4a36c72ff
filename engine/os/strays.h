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
/* Kills and reaps all children but those of `ours`, and what these leave behind. Their number. */
int strays_kill(const pid_t *ours, size_t n);
/* Bytes of memory that a process and all below it have of their own; 0 where it is gone. */
unsigned long long strays_memory(pid_t pid);

#endif
