/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes to stdout, a device or a fifo: its reader may be slow, or wait for a key, and whoever cancels the
 * job must not wait for it. So a write never blocks for long: the other end is opened anew, not to block,
 * where that can be done, since the flag of the one we were given is others' too.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COPY_BUFFER (1u << 20)
#define LOOK_EVERY_MS 100 /* whether the job is cancelled */

struct stream {
	int fd;
	size_t most; /* that a write takes at a time without blocking */
	bool waits;  /* it may block at all */
};

static struct stream stream_of(int fd)
{
	struct stream s = {.fd = fd, .most = COPY_BUFFER};
	struct stat st;
	char path[32];
	int again;

	/* Nothing waits for a file, or a device that is no terminal. */
	if (fstat(fd, &st) < 0 || S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(fd)) ||
		(fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
		return s;
	s.waits = true;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (again >= 0)
		s.fd = again;
	else /* a socket, or another user's: poll promises room for so much */
		s.most = PIPE_BUF;
	return s;
}

/* An errno; ECANCELED. */
static int write_all(const struct stream *s, const char *data, size_t len, const _Atomic bool *canceled)
{
	while (len) {
		struct pollfd p = {.fd = s->fd, .events = POLLOUT};
		ssize_t n;

		if (*canceled)
			return ECANCELED;
		if (s->waits && poll(&p, 1, LOOK_EVERY_MS) <= 0)
			continue;
		n = write(s->fd, data, DAG_MIN(len, s->most));
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int copy(int from, const struct stream *to, const _Atomic bool *canceled)
{
	char *buf = base_alloc(COPY_BUFFER);
	int error = 0;
	off_t at = 0;
	ssize_t n;

	while (!error && (n = pread(from, buf, COPY_BUFFER, at)) != 0) {
		if (n < 0 && errno != EINTR)
			error = errno;
		if (n > 0) {
			error = write_all(to, buf, (size_t)n, canceled);
			at += n;
		}
	}
	free(buf);
	return error;
}

char *stream_write(int from, int to, const _Atomic bool *canceled, bool *ret_closed)
{
	struct stream s = stream_of(to);
	sigset_t pipe, pending, old;
	int error;

	/* A program that has us as a library keeps its own ways with the signal. */
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe, &old);
	error = copy(from, &s, canceled);
	if (error == EPIPE && !sigismember(&pending, SIGPIPE))
		sigtimedwait(&pipe, NULL, &(struct timespec){0});
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (s.fd != to)
		close(s.fd);
	*ret_closed = error == EPIPE;
	return error ? base_strdup(error == ECANCELED ? "the job was cancelled" : strerror(error)) : NULL;
}
