/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipes that go on without us: a fast one, of one writer and one reader in two hosts of this node, whose
 * blocks are not kept any more. Each gets the memory that they share and the other's bell; we keep the
 * segments until the reader has gone, and still tell it the end.
 */
#include "node.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PARTS_MAX 64u /* of a stream: each takes memory of its own */

/* Memory of which no block has come by it yet; negative where there is none. */
static int new_pipe(void)
{
	uint64_t first = UINT64_MAX;
	int fd = memfd_create("dagrun-pipe", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	if (posix_fallocate(fd, 0, sizeof(struct host_pipe)) == 0 &&
		pwrite(fd, &first, sizeof(first), offsetof(struct host_pipe, first)) == sizeof(first))
		return fd;
	close(fd);
	return -1;
}

/* The host's end of it: what is shared, then the other's bell. */
static void tell(
	struct host *host, uint32_t task, bool writes, uint32_t port, uint32_t number, int shared, int bell)
{
	struct host_msg msg = {.kind = HOST_PIPE, .task = task};

	msg.u.pipe.writes = writes;
	msg.u.pipe.port = port;
	msg.u.pipe.number = number;
	host_send_msg(host, &msg, NULL, 0, shared);
	msg.u.pipe.is_bell = 1;
	host_send_msg(host, &msg, NULL, 0, bell);
}

static bool can_go(const struct attempt *a, const struct live_stream *s, const struct live_part *lp,
	const struct input_channel *ch)
{
	return ch->live_local && !lp->direct && !lp->ended && lp->window != UINT64_MAX &&
	       s->part_count <= PARTS_MAX && a->state == ATTEMPT_RUNNING && a->host && ch->reader->host &&
	       ch->reader->host != a->host;
}

static void add_segment(struct direct *d, struct host *reader, struct spool_segment *segment)
{
	if (host_show_segment(reader, segment->id) < 0)
		return input_push_error(d->channel->reader, d->channel->port, d->channel->producer,
			DAG_EMISSING, "a segment of the channel is gone");
	spool_ref(segment);
	*DAG_APPEND(d->segments, d->count, d->cap) = segment;
}

void direct_begin(struct attempt *a, uint32_t stream, uint32_t part, struct live_part *lp)
{
	struct input_channel *ch;
	int shared[2], bell[2];
	struct direct *d;

	if (lp->expected != 1 || lp->reader_count != 1 || lp->readers[0].closed ||
		*(bool *)lp->readers[0].owner)
		return;
	ch = lp->readers[0].owner;
	if (!can_go(a, &a->streams[stream], lp, ch))
		return;
	shared[0] = new_pipe();
	shared[1] = shared[0] < 0 ? -1 : fcntl(shared[0], F_DUPFD_CLOEXEC, 3);
	bell[0] = fcntl(ch->reader->host->bell, F_DUPFD_CLOEXEC, 3);
	bell[1] = fcntl(a->host->bell, F_DUPFD_CLOEXEC, 3);
	if (shared[1] < 0 || bell[0] < 0 || bell[1] < 0) { /* it goes on as it does */
		for (int i = 0; i < 2; i++) {
			if (shared[i] >= 0)
				close(shared[i]);
			if (bell[i] >= 0)
				close(bell[i]);
		}
		return;
	}
	d = base_alloc(sizeof(*d));
	d->channel = ch;
	d->next = a->directs;
	a->directs = d;
	lp->direct = true;
	for (size_t i = 0; i < a->host->grant_count; i++)
		add_segment(d, ch->reader->host, a->host->grants[i]);
	tell(ch->reader->host, ch->reader->task, false, ch->port, ch->producer, shared[1], bell[1]);
	tell(a->host, a->task, true, stream, part, shared[0], bell[0]);
}

void direct_granted(struct host *host, struct spool_segment *segment)
{
	for (size_t i = 0; i < host->task_count; i++)
		for (struct direct *d = host->tasks[i]->directs; d; d = d->next)
			if (d->channel->reader->host)
				add_segment(d, d->channel->reader->host, segment);
}

void direct_end(struct attempt *a, const struct input_channel *ch)
{
	struct spool *spool = a->job->daemon->spool;

	for (struct direct **at = &a->directs; *at; at = &(*at)->next) {
		struct direct *d = *at;

		if (d->channel != ch)
			continue;
		*at = d->next;
		for (size_t i = 0; i < d->count; i++)
			spool_unref(spool, d->segments[i]);
		free(d->segments);
		free(d);
		return;
	}
}
