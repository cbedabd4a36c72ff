/* SPDX-License-Identifier: Apache-2.0 */
/* Segments' files, and their bytes by calls and not by mappings: a host may cut its segment short at any
 * moment. */
#include "spool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW_MIN 1024u

int spool_name(const struct spool *s, const struct spool_segment *segment, char name[SPOOL_NAME_SIZE])
{
	snprintf(name, SPOOL_NAME_SIZE, "seg-%u", segment->id);
	return segment->in_memory ? s->memory_fd : s->folder_fd;
}

int spool_open(const struct spool *s, struct spool_segment *segment, bool writable)
{
	char name[SPOOL_NAME_SIZE];
	int folder = spool_name(s, segment, name), fd = segment->fd;

	if (writable && fd >= 0) {
		segment->fd = -1;
		return fd;
	}
	return openat(folder, name, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

void spool_stop_looking(struct spool *s, const struct spool_segment *segment)
{
	struct opened *o = &s->opened[segment->id % OPEN_MAX];

	if (o->id != segment->id)
		return;
	close(o->fd);
	o->id = 0;
}

int spool_look_into(struct spool *s, struct spool_segment *segment)
{
	struct opened *o = &s->opened[segment->id % OPEN_MAX];

	o->used = true;
	if (o->id == segment->id)
		return o->fd;
	if (o->id)
		close(o->fd);
	o->fd = spool_open(s, segment, false);
	o->id = o->fd < 0 ? 0 : segment->id;
	return o->fd;
}

bool spool_is_whole(struct spool *s, struct spool_segment *segment)
{
	int fd = spool_look_into(s, segment);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size == segment->size;
}

void spool_look_anew(struct spool *s)
{
	s->window.id = 0;
	s->window.next = WINDOW_MIN;
}

static int read_at(int fd, void *to, size_t len, uint64_t offset)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (char *)to + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return DAG_EMISSING;
		done += (size_t)n;
	}
	return 0;
}

int spool_read(struct spool *s, struct spool_segment *segment, uint64_t offset, void *to, size_t len)
{
	struct window *w = &s->window;
	int r;

	if (w->id != segment->id || offset < w->offset || len > w->len || offset - w->offset > w->len - len) {
		if (offset > segment->size || len > segment->size - offset || spool_look_into(s, segment) < 0)
			return DAG_EMISSING;
		if (len > WINDOW_MAX)
			return read_at(spool_look_into(s, segment), to, len, offset);
		/* The more is read of one place, the more will be. */
		w->id = 0;
		w->offset = offset;
		w->len = (size_t)DAG_MIN(segment->size - offset, DAG_MAX(w->next, len));
		w->next = DAG_MIN(4 * w->next, (size_t)WINDOW_MAX);
		r = read_at(spool_look_into(s, segment), w->bytes, w->len, offset);
		if (r < 0)
			return r;
		w->id = segment->id;
	}
	memcpy(to, w->bytes + (offset - w->offset), len);
	return 0;
}

void spool_rest(struct spool *s)
{
	for (uint32_t i = 0; i < OPEN_MAX; i++) {
		struct opened *o = &s->opened[i];

		if (o->id && !o->used) {
			close(o->fd);
			o->id = 0;
		}
		o->used = false;
	}
}
