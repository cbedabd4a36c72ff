/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct pipes: where writer and reader of a pipe are two hosts of one node and neither has another side, the
 * daemon gives both a piece of shared memory and each other's bell, and is not asked any more. The blocks lie
 * in rooms of the writer's, as many as the pipe has places, so they stay in the processor's caches.
 */
#include "task.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

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
	struct host_pipe **shared;
	int *bell;

	DAG_ASSERT(fd >= 0);
	if (msg->u.pipe.writes) {
		struct out_part *p = &v->streams[msg->u.pipe.port].parts[msg->u.pipe.number];

		if (!p->pipe) {
			p->pipe = base_alloc(sizeof(*p->pipe));
			p->pipe->bell = -1;
		}
		shared = &p->pipe->shared;
		bell = &p->pipe->bell;
	} else {
		struct in_channel *ch = &v->in[msg->u.pipe.port].channels[msg->u.pipe.number];

		if (!ch->pipe) {
			ch->pipe = base_alloc(sizeof(*ch->pipe));
			ch->pipe->bell = -1;
		}
		shared = &ch->pipe->shared;
		bell = &ch->pipe->bell;
	}
	if (msg->u.pipe.is_bell)
		*bell = fd;
	else
		*shared = map_pipe(fd);
	v->host->piped = true;
}

/* The flag is set by who sleeps, before the last look. */
static void wake(_Atomic uint32_t *sleeps, int bell)
{
	uint64_t one = 1;

	if (atomic_load(sleeps) && atomic_exchange(sleeps, 0) && write(bell, &one, sizeof(one)) < 0)
		return; /* it has been rung more often than it can count */
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

static bool is_full(const struct out_pipe *pipe)
{
	return pipe->written - atomic_load(&pipe->shared->read) >= HOST_PIPE_BLOCKS;
}

static void wait_for_room(struct dag_vertex *v, struct out_part *p)
{
	struct host *host = v->host;

	pthread_mutex_lock(&host->lock);
	/* A writer that never has to wait must still hear that its readers have gone. */
	if (p->pipe->written % HOST_PIPE_BLOCKS == 0)
		host_look(host);
	while (is_full(p->pipe) && !p->closed) {
		atomic_store(&p->pipe->shared->writer_sleeps, 1);
		if (is_full(p->pipe))
			host_wait(host);
		atomic_store(&p->pipe->shared->writer_sleeps, 0);
	}
	pthread_mutex_unlock(&host->lock);
}

int pipe_room(struct dag_vertex *v, struct out_part *p, uint64_t size)
{
	struct pipe_room *room = &p->pipe->rooms[p->pipe->written % HOST_PIPE_BLOCKS];
	int r = 0;

	wait_for_room(v, p);
	if (room->size < size) {
		if (room->segment)
			host_space_close(v->host, room->segment, false);
		*room = (struct pipe_room){.size = size};
		r = host_space_take(v->host, size, size * HOST_PIPE_BLOCKS, &room->segment, &room->offset);
		if (r < 0)
			*room = (struct pipe_room){0};
	}
	p->segment = room->segment;
	p->offset = room->offset;
	return r;
}

void pipe_put(struct out_part *p, const struct block_ref *ref)
{
	struct out_pipe *pipe = p->pipe;

	pipe->shared->refs[pipe->written % HOST_PIPE_BLOCKS] = *ref;
	atomic_store(&pipe->shared->written, ++pipe->written);
	wake(&pipe->shared->reader_sleeps, pipe->bell);
}

void pipe_fini_out(struct out_part *p)
{
	if (!p->pipe)
		return;
	if (p->pipe->shared)
		munmap(p->pipe->shared, sizeof(*p->pipe->shared));
	if (p->pipe->bell >= 0)
		close(p->pipe->bell);
	free(p->pipe);
}

/* ---- reading ---- */

/* What the writer says is looked at once: it can be damaged. A segment may still be on its way to us. */
static bool look(struct dag_vertex *v, struct in_channel *ch, struct queued_block *ret)
{
	struct host_pipe *shared = ch->pipe->shared;
	struct block_ref ref;

	if (atomic_load(&shared->first) != ch->dequeued || atomic_load(&shared->written) == ch->pipe->taken)
		return false;
	ref = shared->refs[ch->pipe->taken % HOST_PIPE_BLOCKS];
	*ret = (struct queued_block){
		host_locate(v->host, &ref), ref.length, ref.records, ref.kind, NULL, true};
	return ret->data != NULL;
}

bool pipe_has(struct dag_vertex *v, struct in_channel *ch)
{
	struct queued_block block;

	if (!ch->pipe || ch->pipe->bell < 0)
		return false;
	if (look(v, ch, &block))
		return true;
	atomic_store(&ch->pipe->shared->reader_sleeps, 1);
	if (!look(v, ch, &block))
		return false;
	atomic_store(&ch->pipe->shared->reader_sleeps, 0);
	return true;
}

bool pipe_get(struct dag_vertex *v, struct in_channel *ch, struct queued_block *ret)
{
	if (!pipe_has(v, ch) || !look(v, ch, ret))
		return false;
	ch->pipe->taken++;
	return true;
}

void pipe_done(struct in_channel *ch)
{
	struct host_pipe *shared = ch->pipe->shared;

	atomic_store(&shared->read, ch->pipe->taken);
	/* A writer that found it full goes on when half of it is read. */
	if (atomic_load(&shared->written) - ch->pipe->taken <= HOST_PIPE_BLOCKS / 2)
		wake(&shared->writer_sleeps, ch->pipe->bell);
}

void pipe_fini_in(struct in_channel *ch)
{
	if (!ch->pipe)
		return;
	if (ch->pipe->shared)
		munmap(ch->pipe->shared, sizeof(*ch->pipe->shared));
	if (ch->pipe->bell >= 0)
		close(ch->pipe->bell);
	free(ch->pipe);
}
