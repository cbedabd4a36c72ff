/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing past the page cache. The disk takes whole pages from aligned memory itself; what lies before the
 * first whole page of the file and behind the last goes through the cache, whose pages those are alone.
 */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define PAGE 4096u /* what every file system takes */
#define PIECE (1u << 20)

static bool set_direct(int fd, bool direct)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

/*
 * Whole pages, each piece by way of `room`. What the file system does not take so, all of it or the rest
 * after a short write, goes through the cache. 0 or an errno.
 */
static int write_pages(int fd, const unsigned char *data, size_t len, uint64_t at, unsigned char *room)
{
	bool direct = set_direct(fd, true);
	size_t done = 0;

	while (direct && done < len) {
		size_t n = DAG_MIN(len - done, (size_t)PIECE);
		ssize_t written;

		base_copy(room, data + done, n);
		written = pwrite(fd, room, n, (off_t)(at + done));
		if (written < 0 && errno == EINTR)
			continue;
		done += written > 0 ? (size_t)written : 0;
		direct = written == (ssize_t)n;
	}
	set_direct(fd, false);
	return os_write_at(fd, data + done, len - done, at + done);
}

int os_write_direct(int fd, const void *data, size_t len, uint64_t at)
{
	size_t head = DAG_MIN(len, (size_t)(-at % PAGE)), pages = (len - head) / PAGE * PAGE;
	unsigned char *room = pages ? aligned_alloc(PAGE, PIECE) : NULL;
	const unsigned char *bytes = data;
	int error;

	if (!room)
		return os_write_at(fd, data, len, at);
	error = os_write_at(fd, bytes, head, at);
	if (!error)
		error = write_pages(fd, bytes + head, pages, at + head, room);
	if (!error)
		error = os_write_at(fd, bytes + head + pages, len - head - pages, at + head + pages);
	free(room);
	return error;
}
