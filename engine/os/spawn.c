/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vfork: the child borrows this process's memory until it executes, so nothing is copied. Everything that the
 * child touches is prepared before, and it calls nothing but system calls and execvpe.
 */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* By pointers that the compiler may not look through: a build that measures coverage would replace a call by
 * one of its own, which in the child of a vfork writes down and stops the counters of the parent. */
static int (*volatile execute)(const char *, char *const *, char *const *) = execve;
static int (*volatile execute_found)(const char *, char *const *, char *const *) = execvpe;

_Noreturn static void run_child(const struct spawn *s, volatile int *error)
{
	int moved[SPAWN_FDS_MAX];
	sigset_t none;

	for (int sig = 1; sig < SIGRTMIN; sig++) /* what lies above, nobody ignores */
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* First out of the way of the targets, then into their places. */
	for (int i = 0; i < s->fd_count; i++) {
		int fd = s->fds[i] >= 0 ? s->fds[i] : open("/dev/null", O_RDWR | O_CLOEXEC);

		moved[i] = fcntl(fd, F_DUPFD_CLOEXEC, SPAWN_FDS_MAX);
		if (moved[i] < 0)
			goto fail;
	}
	for (int i = 0; i < s->fd_count; i++)
		if (dup2(moved[i], i) < 0)
			goto fail;
	syscall(SYS_close_range, (unsigned)s->fd_count, ~0u, 0u);
	if (s->folder && chdir(s->folder) < 0)
		goto fail;
	if (strchr(s->path, '/'))
		execute(s->path, s->argv, s->env);
	else
		execute_found(s->found ? s->found : s->path, s->argv, s->env);
fail:
	*error = errno;
	_exit(127);
}

int spawn_process(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd)
{
	volatile int error = 0;
	sigset_t all, old;
	pid_t pid;
	int pidfd;

	/* No handler of this program may run in the child, on this memory. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = vfork();
	if (pid == 0)
		run_child(spawn, &error);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return DAG_EBUSY;
	if (error) {
		waitpid(pid, NULL, 0);
		errno = error;
		return DAG_ENOEXEC;
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return DAG_EBUSY;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}
