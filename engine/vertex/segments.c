/* SPDX-License-Identifier: Apache-2.0 */
/* Segments of the spool in a host: those it reads, and the one that it writes to. */
#include "segments.h"
#include "host.h"
#include "os/os.h"

#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define AHEAD_LEAST (4u << 20) /* bytes of a segment behind which another is asked for ahead, */
#define AHEAD_LEFT (1u << 20)  /* and what of it is left then, beside an eighth */

struct host_segment *segments_find(struct host *host, uint32_t id)
{
	struct host_segment *s;

	HASH_FIND(hh, host->segments.table, &id, sizeof(id), s);
	return s;
}

const unsigned char *segments_locate(struct host *host, const struct block_ref *ref)
{
	const struct host_segment *s = segments_find(host, ref->segment);

	if (!s || ref->offset > s->size || ref->length > s->size - ref->offset)
		return NULL;
	return s->base + ref->offset;
}

void segments_drop(struct host *host, uint32_t id)
{
	struct host_segment *s = segments_find(host, id);

	if (!s)
		return;
	HASH_DEL(host->segments.table, s);
	munmap(s->base, s->size);
	free(s);
}

void segments_prefetch(struct host *host, const struct block_ref *ref)
{
	const unsigned char *data;
	uintptr_t skew;
	bool on_disk;

	pthread_mutex_lock(&host->lock);
	data = segments_locate(host, ref);
	on_disk = data && segments_find(host, ref->segment)->on_disk;
	pthread_mutex_unlock(&host->lock);
	skew = (uintptr_t)data % PAGE;
	if (on_disk)
		madvise((void *)(data - skew), ref->length + skew, MADV_WILLNEED);
}

struct host_segment *segments_map(struct host *host, uint32_t id, uint64_t size, int fd, bool writable)
{
	struct host_segment *s = segments_find(host, id);
	void *base;

	/* A segment that was read before may come back to be written, and the other way round. */
	if (s && (s->writable || !writable))
		return s;
	segments_drop(host, id);
	base = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return NULL;
	s = base_alloc(sizeof(*s));
	*s = (struct host_segment){
		.id = id, .base = base, .size = size, .writable = writable, .on_disk = os_is_on_disk(fd)};
	/* What lies behind a block is mostly not for us: the kernel shall not read it, or zero it, on its
	 * own. */
	if (s->on_disk)
		madvise(base, size, MADV_RANDOM);
	host->segments.has_disk = host->segments.has_disk || s->on_disk;
	HASH_ADD(hh, host->segments.table, id, sizeof(s->id), s);
	return s;
}

static void ask_space(struct host *host, uint64_t size)
{
	struct host_msg msg = {.kind = HOST_SPACE};

	msg.u.segment.size = size;
	host->segments.space.asked = true;
	host->segments.space.error = 0;
	host_send(host, &msg, NULL, 0);
}

/* Gives a segment back that nothing more is written to and no index will name; the caller holds host.lock. */
static void retire_if_done(struct host *host, struct host_segment *s)
{
	struct host_msg msg = {.kind = HOST_RETIRE};

	if (!s->granted || s->open || s->kept || s == host->segments.space.segment ||
		s == host->segments.space.next)
		return;
	s->granted = false;
	close(s->fd);
	msg.u.segment.id = s->id;
	host_send(host, &msg, NULL, 0);
}

static void begin_next(struct host *host)
{
	struct host_segment *s = host->segments.space.segment;

	host->segments.space.segment = host->segments.space.next;
	host->segments.space.next = NULL;
	host->segments.space.used = 0;
	if (s)
		retire_if_done(host, s);
}

static bool has_room(const struct host_space *space, uint64_t size)
{
	return space->segment && space->segment->size - space->used >= size;
}

void segments_close(struct host *host, struct host_segment *segment, bool keep)
{
	pthread_mutex_lock(&host->lock);
	DAG_ASSERT(segment->open > 0);
	segment->open--;
	segment->kept = segment->kept || keep;
	retire_if_done(host, segment);
	pthread_mutex_unlock(&host->lock);
}

void segments_release_kept(struct host *host)
{
	struct host_segment *s, *next;

	pthread_mutex_lock(&host->lock);
	HASH_ITER(hh, host->segments.table, s, next) {
		s->kept = false;
		s->open = 0;
		retire_if_done(host, s);
	}
	pthread_mutex_unlock(&host->lock);
}

/* Small ones come quickly, and what nobody will need should not be held. */
static bool is_nearly_full(const struct host_space *space)
{
	return space->segment->size >= AHEAD_LEAST && !has_room(space, space->segment->size / 8 + AHEAD_LEFT);
}

int segments_take(struct host *host, uint64_t size, uint64_t step, struct host_segment **ret_segment,
	uint64_t *ret_offset)
{
	struct host_space *space = &host->segments.space;
	int r = 0;

	size = block_room(size);
	pthread_mutex_lock(&host->lock);
	while (r == 0 && !has_room(space, size)) {
		if (space->next) {
			begin_next(host);
			continue;
		}
		if (!space->asked)
			ask_space(host, DAG_MAX(size, step));
		while (space->asked)
			host_wait(host);
		r = space->next ? 0 : space->error;
	}
	if (r == 0) {
		*ret_segment = space->segment;
		*ret_offset = space->used;
		space->used += size;
		space->segment->open++;
		if (!space->asked && !space->next && is_nearly_full(space))
			ask_space(host, step);
	}
	pthread_mutex_unlock(&host->lock);
	return r;
}

void segments_trim(struct host *host, const struct host_segment *segment, uint64_t taken_end, uint64_t end)
{
	end = block_room(end);
	taken_end = block_room(taken_end);
	pthread_mutex_lock(&host->lock);
	if (host->segments.space.segment == segment && host->segments.space.used == taken_end)
		host->segments.space.used = end;
	pthread_mutex_unlock(&host->lock);
}

void segments_on_grant(struct host *host, const struct host_msg *msg, int fd)
{
	host->segments.space.asked = false;
	host->segments.space.error = msg->u.segment.error;
	if (host->segments.space.error)
		return;
	host->segments.space.next = segments_map(host, msg->u.segment.id, msg->u.segment.size, fd, true);
	if (!host->segments.space.next) {
		close(fd);
		host->segments.space.error = DAG_ENOSPC;
		return;
	}
	host->segments.space.next->granted = true;
	host->segments.space.next->fd = fd;
}
