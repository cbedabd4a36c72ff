/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_MARKS_H
#define OS_MARKS_H
/*
 * Whose a process is, when all that could have been its parent was killed: a word in the environment of a
 * host, which what it starts inherits. It says which process is its daemon, in which namespace, and which of
 * its hosts.
 */
#include <stddef.h>

#define MARK_NAME "DAGRUN_HOST"
#define MARK_LEN 96u /* with its NUL */

/* Of this process, which is the daemon, and a number of its own. */
void mark_write(char text[MARK_LEN], unsigned long number);
/* Kills this user's processes that have this mark, until none is left, or for a quarter of a second. */
void mark_end(const char *mark);
/* The same for those whose daemon is gone. How many there were. */
size_t mark_end_dead(void);

#endif
