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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* By pointers that the compiler may not look through: a build that measures coverage would replace a call by
 * one of its own, which in the child of a vfork writes down and stops the counters of the parent. */
static int (*volatile execute)(const char *, char *const *, char *const *) = execve;
static int (*volatile execute_found)(const char *, char *const *, char *const *) = execvpe;

/* Of another machine, most likely; the shell would say that it has errors of syntax. Leaves errno. */
static bool is_binary(const char *path)
{
	int error = errno, fd = open(path, O_RDONLY | O_CLOEXEC);
	char head[4] = {0};
	bool binary = fd >= 0 && read(fd, head, sizeof(head)) == sizeof(head) && !memcmp(head, "\177ELF", 4);

	if (fd >= 0)
		close(fd);
	errno = error;
	return binary;
}

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
	/* A script without a first line that says who reads it is the shell's, as execvp does it. */
	if (!strchr(s->path, '/'))
		execute_found(s->found ? s->found : s->path, s->argv, s->env);
	else if (execute(s->path, s->argv, s->env) < 0 && errno == ENOEXEC && !is_binary(s->path))
		execute_found(s->path, s->argv, s->env);
fail:
	*error = errno;
	_exit(127);
}

/* The machine had no room for it now; the program itself may be as it should. */
static bool lacks_something(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN;
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
		return lacks_something(error) ? DAG_EBUSY : DAG_ENOEXEC;
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

/* ---- why not ---- */

/* A word of the first line that names an interpreter, allocated; NULL where there is none. */
static char *first_line_word(const char *path, int number)
{
	char line[256] = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	char *word = line + 2;
	size_t len = 0;

	if (fd >= 0)
		close(fd);
	if (n < 2 || line[0] != '#' || line[1] != '!')
		return NULL;
	for (int i = 0; i <= number; i++) {
		word += len;
		word += strspn(word, " \t");
		len = strcspn(word, " \t\n");
	}
	return len || !number ? base_strndup(word, len) : NULL;
}

static char *explain_missing(const struct spawn *s, const char *path)
{
	struct stat st;
	char *interpreter, *text;
	size_t len;

	if (s->folder && stat(s->folder, &st) < 0)
		return base_format("cannot start program '%s': its folder %s: %s", s->argv[0], s->folder,
			strerror(errno));
	if (!strchr(path, '/'))
		return base_format("cannot start program '%s': %s: PATH has none of this name on this node",
			s->argv[0], strerror(ENOENT));
	if (stat(path, &st) < 0)
		return base_format("cannot start program '%s': %s: %s", s->argv[0], path, strerror(errno));
	interpreter = first_line_word(path, 0);
	if (!interpreter)
		return base_format(
			"cannot start program '%s': the dynamic loader that it was built for is not "
			"on this node",
			s->argv[0]);
	len = strlen(interpreter);
	if (len && interpreter[len - 1] == '\r') {
		interpreter[len - 1] = 0;
		text = base_format(
			"cannot start program '%s': its first line, #!%s, ends in a carriage return, "
			"which is taken for a part of the interpreter's name; write its lines with LF "
			"alone",
			s->argv[0], interpreter);
	} else {
		text = base_format(
			"cannot start program '%s': its first line names the interpreter '%s', which "
			"is not on this node",
			s->argv[0], interpreter);
	}
	free(interpreter);
	return text;
}

char *spawn_explain(const struct spawn *s, int error)
{
	const char *path = strchr(s->path, '/') || !s->found ? s->path : s->found;
	struct stat st;

	if (error == ENOENT || error == ENOTDIR)
		return explain_missing(s, path);
	if (error == EACCES && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return base_format("cannot start program '%s': it is a folder", s->argv[0]);
	if (error == EACCES && stat(path, &st) == 0 && !(st.st_mode & 0111))
		return base_format("cannot start program '%s': it is not executable (chmod +x)", s->argv[0]);
	if (error == EACCES)
		return base_format(
			"cannot start program '%s': %s: it, or its interpreter, may not be executed "
			"by this user or on this file system",
			s->argv[0], strerror(error));
	if (error == ENOEXEC)
		return base_format("cannot start program '%s': %s; it was built for another machine, perhaps",
			s->argv[0], strerror(error));
	if (error == EAGAIN)
		return base_format(
			"cannot start program '%s': %s (see 'ulimit -u', and the container's limit of "
			"processes)",
			s->argv[0], strerror(error));
	if (error == E2BIG)
		return base_format(
			"cannot start program '%s': %s: an argument may have 128 KiB, all together as "
			"much as 'getconf ARG_MAX' says; a file {in.N.list} has the names of many "
			"inputs",
			s->argv[0], strerror(error));
	return base_format("cannot start program '%s': %s", s->argv[0], strerror(error));
}

/* `#!/usr/bin/env python3`: env itself is there. */
static char *explain_env(const char *path)
{
	char *env = first_line_word(path, 0), *name = first_line_word(path, 1), *text = NULL;
	const char *slash = env ? strrchr(env, '/') : NULL;
	size_t len = name ? strlen(name) : 0;

	if (slash && !strcmp(slash, "/env") && len && name[0] != '-') {
		bool cut = name[len - 1] == '\r';

		name[len - cut] = 0;
		text = base_format(cut ? " (its first line, for '%s', ends in a carriage return, which is "
					 "taken for a part "
					 "of the name; write its lines with LF alone)"
				       : " (its first line asks env for '%s'; is that in PATH on this node?)",
			name);
	}
	free(env);
	free(name);
	return text;
}

char *spawn_explain_exit(const char *path, int code)
{
	char *text = code == 127 && strchr(path, '/') ? explain_env(path) : NULL;

	if (text)
		return text;
	return base_strdup(code == 127   ? " (a command was not found)"
			   : code == 126 ? " (a command may not be executed)"
					 : "");
}
