/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input files that a host reads where they lie. A vertex may read more of them at a time than there are
 * descriptors: those that come when enough are open are closed again, and asked for at each read.
 */
#include "files.h"
#include "blocks.h"
#include "channel.h"
#include "task.h"

#include <sys/stat.h>
#include <unistd.h>

#define FILES_AHEAD                                                                                          \
	32u             /* files of a port that are asked for before they are read, where descriptors allow  \
			 */
#define AHEAD_SHARE 16u /* of those that may be open */

void files_init(struct host *host, uint32_t max)
{
	host->files.max = max;
}

uint32_t files_ahead(const struct dag_vertex *v, uint32_t port)
{
	if (!(v->in[port].flags & HOST_PORT_FILES))
		return HOST_OPEN_AHEAD;
	return DAG_MAX(DAG_MIN(FILES_AHEAD, v->host->files.max / AHEAD_SHARE), 2u);
}

static bool differs(const struct in_channel *ch, int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 || (uint64_t)st.st_size != ch->file_size ||
	       st.st_mtim.tv_sec * DAG_SECOND + st.st_mtim.tv_nsec != ch->file_mtime_ns;
}

bool files_changed(const struct in_channel *ch)
{
	int fd = source_fd(ch->source);

	return ch->file_changed || (fd >= 0 && differs(ch, fd));
}

static struct in_channel *channel_of(const struct raw_reader *reader)
{
	return &reader->v->in[reader->port].channels[reader->producer];
}

/* The daemon looks again whether it is the same file. */
static int open_again(void *ctx)
{
	struct raw_reader *reader = ctx;
	struct in_channel *ch = channel_of(reader);

	ch->file_fd = -1;
	channel_ask_again(ch);
	if (blocks_wait_open(reader->v, reader->port, reader->producer, ch) < 0)
		return ch->error;
	if (ch->file_fd < 0)
		return DAG_EIO;
	atomic_fetch_add(&reader->v->host->files.count, 1);
	return ch->file_fd;
}

static bool file_used(void *ctx, int fd)
{
	struct raw_reader *reader = ctx;
	struct in_channel *ch = channel_of(reader);

	if (atomic_load(&reader->v->host->files.count) <= reader->v->host->files.max)
		return false;
	ch->file_changed = ch->file_changed || differs(ch, fd);
	return true;
}

static void file_closed(void *ctx)
{
	struct raw_reader *reader = ctx;

	atomic_fetch_sub(&reader->v->host->files.count, 1);
}

static const struct source_lender lender = {.open = open_again, .used = file_used, .closed = file_closed};

struct source *files_source(
	struct in_channel *ch, struct graph_format format, const struct host_msg *msg, int fd)
{
	struct host *host = ch->raw_reader.v->host;
	struct source *source;

	if (fd >= 0 && atomic_load(&host->files.count) >= host->files.max) {
		close(fd);
		fd = -1;
	}
	if (fd >= 0)
		atomic_fetch_add(&host->files.count, 1);
	ch->file_size = msg->u.channel.size;
	ch->file_mtime_ns = msg->u.channel.mtime_ns;
	source = source_new_file(format, fd, msg->u.channel.offset, msg->u.channel.length);
	source_lend(source, &lender, &ch->raw_reader);
	return source;
}

void files_opened(struct in_channel *ch, const struct host_msg *msg, int fd)
{
	int error;

	if (msg->u.channel.kind == HOST_CHANNEL_SOURCE) {
		ch->file_fd = fd;
		return;
	}
	if (fd >= 0)
		close(fd);
	error = msg->u.channel.kind == HOST_CHANNEL_ERROR ? msg->u.channel.error : DAG_ECHANGED;
	channel_break(ch, error,
		base_strdup(error == DAG_ECHANGED ? "the input file changed while it was read"
						  : "the input file cannot be opened again"));
}
