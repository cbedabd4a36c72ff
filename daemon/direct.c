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

#define PARTS_MAX 16u /* of a stream: each takes 4 MiB */

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

static int copy_of(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
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
	struct host *reader;
	struct direct *d;
	int fds[4]; /* what is shared, twice, and the bells of reader and writer */

	if (lp->expected != 1 || lp->reader_count != 1 || lp->readers[0].closed ||
		*(bool *)lp->readers[0].owner)
		return;
	ch = lp->readers[0].owner;
	reader = ch->reader->host;
	if (!can_go(a, &a->streams[stream], lp, ch))
		return;
	fds[0] = new_pipe();
	fds[1] = copy_of(fds[0]);
	fds[2] = copy_of(reader->bell);
	fds[3] = copy_of(a->host->bell);
	if (fds[0] < 0 || fds[1] < 0 || fds[2] < 0 || fds[3] < 0) { /* it goes on as it does */
		for (int i = 0; i < 4; i++)
			if (fds[i] >= 0)
				close(fds[i]);
		return;
	}
	d = base_alloc(sizeof(*d));
	d->channel = ch;
	d->next = a->directs;
	a->directs = d;
	lp->direct = true;
	for (size_t i = 0; i < a->host->grant_count; i++)
		add_segment(d, reader, a->host->grants[i]);
	tell(reader, ch->reader->task, false, ch->port, ch->producer, fds[0], fds[3]);
	tell(a->host, a->task, true, stream, part, fds[1], fds[2]);
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
