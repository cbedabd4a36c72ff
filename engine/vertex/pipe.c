/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct pipes: where writer and reader of a pipe are two hosts of one node and neither has another side, the
 * daemon gives both a piece of shared memory and each other's bell, and is not asked any more. The blocks lie
 * in rooms of the writer's, as many as the pipe has places, so they stay in the processor's caches.
 */
#include "pipe.h"
#include "host.h"
#include "segments.h"
#include "task.h"
#include "os/os.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* One end of a direct pipe: see struct host_pipe. */
struct pipe_end {
	struct host_pipe *shared;
	int bell;       /* of the other end; −1: not there yet */
	uint64_t count; /* blocks written, or taken */
	struct pipe_room {
		struct host_segment *segment; /* NULL: none yet */
		uint64_t offset, size;
	} rooms[HOST_PIPE_BLOCKS]; /* the writer's */
};

/* ---- both ends ---- */

static struct host_pipe *map_pipe(int fd)
{
	void *shared = mmap(NULL, sizeof(struct host_pipe), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	if (shared == MAP_FAILED)
		base_oom(sizeof(struct host_pipe));
	return shared;
}

void pipe_on_message(struct dag_vertex *v, const struct host_msg *msg, int fd)
{
	uint32_t port = msg->u.pipe.port, number = msg->u.pipe.number;
	struct pipe_end **end = msg->u.pipe.writes ? &v->streams[port].parts[number].pipe
						   : &v->in[port].channels[number].pipe;

	DAG_ASSERT(fd >= 0);
	if (!*end) {
		*end = base_alloc(sizeof(**end));
		(*end)->bell = -1;
	}
	if (msg->u.pipe.is_bell)
		(*end)->bell = fd;
	else
		(*end)->shared = map_pipe(fd);
	host_expect_bell(v->host);
}

void pipe_fini(struct pipe_end *end)
{
	if (!end)
		return;
	if (end->shared)
		munmap(end->shared, sizeof(*end->shared));
	if (end->bell >= 0)
		close(end->bell);
	free(end);
}

/* The flag is set by who sleeps, before the last look. */
static void wake(_Atomic uint32_t *sleeps, int bell)
{
	if (atomic_load(sleeps) && atomic_exchange(sleeps, 0))
		os_bell_ring(bell);
}

/* ---- writing ---- */

bool pipe_takes(struct dag_vertex *v, struct out_part *p)
{
	bool takes;

	pthread_mutex_lock(&v->host->lock);
	takes = p->pipe && p->pipe->bell >= 0;
	pthread_mutex_unlock(&v->host->lock);
	if (takes && !p->piped) {
		p->piped = true;
		atomic_store(&p->pipe->shared->first, p->seq);
	}
	return takes;
}

static bool is_full(const struct pipe_end *pipe)
{
	return pipe->count - atomic_load(&pipe->shared->read) >= HOST_PIPE_BLOCKS;
}

static void wait_for_room(struct dag_vertex *v, struct out_part *p)
{
	struct host *host = v->host;

	pthread_mutex_lock(&host->lock);
	/* A writer that never has to wait must still hear that its readers have gone. */
	if (p->pipe->count % HOST_PIPE_BLOCKS == 0)
		host_look(host);
	while (is_full(p->pipe) && !p->closed) {
		atomic_store(&p->pipe->shared->writer_sleeps, 1);
		if (is_full(p->pipe))
			host_wait(host);
		atomic_store(&p->pipe->shared->writer_sleeps, 0);
	}
	pthread_mutex_unlock(&host->lock);
}

int pipe_room(struct dag_vertex *v, struct out_part *p, uint64_t size, struct host_segment **ret_segment,
	uint64_t *ret_offset)
{
	struct pipe_room *room = &p->pipe->rooms[p->pipe->count % HOST_PIPE_BLOCKS];
	int r = 0;

	wait_for_room(v, p);
	if (room->size < size) {
		if (room->segment)
			segments_close(v->host, room->segment, false);
		*room = (struct pipe_room){.size = size};
		r = segments_take(v->host, size, size * HOST_PIPE_BLOCKS, &room->segment, &room->offset);
		if (r < 0)
			*room = (struct pipe_room){0};
	}
	*ret_segment = room->segment;
	*ret_offset = room->offset;
	return r;
}

void pipe_put(struct out_part *p, const struct block_ref *ref)
{
	struct pipe_end *pipe = p->pipe;

	pipe->shared->refs[pipe->count % HOST_PIPE_BLOCKS] = *ref;
	atomic_store(&pipe->shared->written, ++pipe->count);
	wake(&pipe->shared->reader_sleeps, pipe->bell);
}

/* ---- reading ---- */

/* What the writer says is looked at once: it can be damaged. A segment may still be on its way to us. */
static bool find(struct dag_vertex *v, const struct in_channel *ch, struct queued_block *ret)
{
	const struct host_pipe *shared = ch->pipe->shared;
	struct block_ref ref;

	if (atomic_load(&shared->first) != ch->dequeued || atomic_load(&shared->written) == ch->pipe->count)
		return false;
	ref = shared->refs[ch->pipe->count % HOST_PIPE_BLOCKS];
	*ret = (struct queued_block){
		segments_locate(v->host, &ref), ref.length, ref.records, ref.kind, NULL, true};
	return ret->data != NULL;
}

bool pipe_look(struct dag_vertex *v, struct in_channel *ch, struct queued_block *ret)
{
	_Atomic uint32_t *sleeps;

	if (!ch->pipe || ch->pipe->bell < 0)
		return false;
	if (find(v, ch, ret))
		return true;
	sleeps = &ch->pipe->shared->reader_sleeps;
	atomic_store(sleeps, 1);
	if (!find(v, ch, ret))
		return false;
	atomic_store(sleeps, 0);
	return true;
}

void pipe_take(struct in_channel *ch)
{
	ch->pipe->count++;
}

void pipe_done(struct in_channel *ch)
{
	struct host_pipe *shared = ch->pipe->shared;

	atomic_store(&shared->read, ch->pipe->count);
	/* A writer that found it full goes on when half of it is read. */
	if (atomic_load(&shared->written) - ch->pipe->count <= HOST_PIPE_BLOCKS / 2)
		wake(&shared->writer_sleeps, ch->pipe->bell);
}
