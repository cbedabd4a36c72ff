/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_SPAWN_H
#define OS_SPAWN_H
/* The one place where processes are started: vfork and exec, which cost the same whatever the caller's size.
 */
#include "base/base.h"

#include <sys/types.h>

#define SPAWN_FDS_MAX 8

struct spawn {
	const char *path;  /* without a slash it is looked up in the caller's PATH */
	const char *found; /* where that was looked up already; or NULL */
	char *const *argv;
	char *const *env;       /* the whole environment */
	const char *folder;     /* to run in; NULL: the caller's */
	int fds[SPAWN_FDS_MAX]; /* fds[i] becomes descriptor i; −1: /dev/null. All others are closed. */
	int fd_count;           /* >= 3 */
};

/*
 * Starts a process in a process group of its own, which dies with the calling thread. *ret_pidfd is readable
 * when it has ended. DAG_ENOEXEC with errno set where it cannot be executed; DAG_EBUSY where the system has
 * no room for a process now.
 */
int spawn_process(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd);
/* Why it could not, by the errno that it left: a text for people, allocated. It names argv[0], since path may
 * be that of a copy. */
char *spawn_explain(const struct spawn *spawn, int error);
/* What else is known of a program that ended with exit code 126 or 127: a text that begins with a blank, or
 * is empty; allocated. */
char *spawn_explain_exit(const char *path, int code);

#endif
