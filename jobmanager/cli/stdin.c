/* SPDX-License-Identifier: Apache-2.0 */
/* What comes on stdin for an input "-": vertices run again, so it is kept where it can be read again. */
#include "cli.h"
#include "os/os.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define STDIN_BUFFER (256u << 10)

/* 0 at the end of stdin, else errno. */
static int take_stdin(char *buf, size_t room, size_t *ret_len)
{
	struct pollfd more = {STDIN_FILENO, POLLIN, 0};
	ssize_t n;

	while ((n = read(STDIN_FILENO, buf, room)) < 0 && (errno == EINTR || errno == EAGAIN))
		if (errno == EAGAIN) /* whoever started us left it non-blocking */
			poll(&more, 1, -1);
	*ret_len = n > 0 ? (size_t)n : 0;
	return n < 0 ? errno : 0;
}

/* All of stdin to the file. What could not be read or written is said; a part of stdin is never taken for
 * all. */
static int copy_stdin(int fd, const char *path)
{
	char *buf = base_alloc(STDIN_BUFFER);
	uint64_t bytes = 0;
	size_t n = 0;
	int in, out = 0;

	do {
		in = take_stdin(buf, STDIN_BUFFER, &n);
		if (in == 0 && n)
			out = os_write_at(fd, buf, n, bytes);
		bytes += out ? 0 : n;
	} while (in == 0 && out == 0 && n);
	free(buf);
	/* A disk of another machine may say only now that it is full. */
	if (close(fd) < 0 && !out)
		out = errno;
	if (in)
		fprintf(stderr, "dagrun: cannot read stdin behind its first %llu bytes: %s\n",
			(unsigned long long)bytes, strerror(in));
	else if (out)
		fprintf(stderr,
			"dagrun: cannot keep what comes on stdin in %s, behind its first %llu bytes: %s\n",
			path, (unsigned long long)bytes, strerror(out));
	return in || out ? DAG_EIO : 0;
}

int cli_keep_stdin(struct load *g)
{
	char *why = NULL, *state = os_state_folder_or(&why), *path;
	int fd, r;

	if (!state) {
		fprintf(stderr, "dagrun: what comes on stdin is kept in the state folder: %s\n", why);
		free(why);
		return DAG_EIO;
	}
	path = base_format("%s/stdin-XXXXXX", state);
	free(state);
	fd = mkstemp(path);
	if (fd < 0) {
		fprintf(stderr, "dagrun: cannot keep what comes on stdin in %s: %s\n", path, strerror(errno));
		free(path);
		return DAG_EIO;
	}
	r = copy_stdin(fd, path);
	if (r == 0) {
		g->stdin_path = path;
		return 0;
	}
	unlink(path);
	free(path);
	return r;
}
