/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing past the page cache. The disk takes whole pages from aligned memory itself; what lies before the
 * first whole page of the file and behind the last goes through the cache, as does what the file system does
 * not take so, all of it or the rest after a short write.
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

/* Whole pages, each piece by way of aligned room. Returns how many bytes the file system took so. */
static size_t write_pages(int fd, const unsigned char *data, size_t len, uint64_t at)
{
	unsigned char *room = len ? aligned_alloc(PAGE, PIECE) : NULL;
	bool direct = room && set_direct(fd, true);
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
	if (room)
		set_direct(fd, false);
	free(room);
	return done;
}

int os_write_direct(int fd, const void *data, size_t len, uint64_t at)
{
	size_t done = DAG_MIN(len, (size_t)(-at % PAGE));
	const unsigned char *bytes = data;
	int error = os_write_at(fd, bytes, done, at);

	if (error)
		return error;
	done += write_pages(fd, bytes + done, (len - done) / PAGE * PAGE, at + done);
	return os_write_at(fd, bytes + done, len - done, at + done);
}
