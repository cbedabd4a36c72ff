/* SPDX-License-Identifier: Apache-2.0 */
/* What arrives for channels that are read: what they are, their blocks, their ends. The caller holds
 * host.lock. */
#include "arrive.h"
#include "blocks.h"
#include "channel.h"
#include "files.h"
#include "segments.h"
#include "task.h"

#include <unistd.h>

static struct in_channel *find_channel(struct dag_vertex *v, uint32_t port, uint32_t producer)
{
	DAG_ASSERT(port < v->stage->spec.in_count && producer < v->in[port].producers);
	return &v->in[port].channels[producer];
}

/* What the daemon says a channel is. */
static void open_channel(struct dag_vertex *v, struct in_channel *ch, const struct host_msg *msg,
	const void *tail, size_t tail_len, int fd)
{
	struct graph_format format = v->in[msg->u.channel.port].format;
	struct source *source;

	if (ch->source) {
		files_opened(ch, msg, fd);
		return;
	}
	ch->raw_reader = (struct raw_reader){v, msg->u.channel.port, msg->u.channel.producer};
	switch ((enum host_channel_kind)msg->u.channel.kind) {
	case HOST_CHANNEL_SEALED:
		channel_open_sealed(ch, segments_locate(v->host, &msg->u.channel.index),
			msg->u.channel.index.length, msg->u.channel.stream, msg->u.channel.part);
		break;
	case HOST_CHANNEL_LIVE:
		channel_open_live(ch, msg->u.channel.step);
		if (!msg->u.channel.raw)
			return;
		source = source_new(format, blocks_fill, &ch->raw_reader);
		channel_open_source(ch, HOST_CHANNEL_LIVE, source, true);
		if (graph_is_as_written(format))
			source_watch(source);
		return;
	case HOST_CHANNEL_SOURCE:
		source = files_source(ch, format, msg, fd);
		channel_open_source(ch, HOST_CHANNEL_SOURCE, source, false);
		if (graph_is_as_written(format))
			source_watch(source);
		return;
	case HOST_CHANNEL_ERROR:
		channel_break(ch, msg->u.channel.error, base_strndup(tail, tail_len));
		break;
	}
	if (fd >= 0)
		close(fd);
}

void arrive_given(struct dag_vertex *v, uint32_t port, uint32_t producer, const struct host_port *from,
	const struct block_ref *index)
{
	struct host_msg msg = {.kind = HOST_CHANNEL};

	msg.u.channel.port = port;
	msg.u.channel.producer = producer;
	msg.u.channel.kind = HOST_CHANNEL_SEALED;
	msg.u.channel.index = *index;
	msg.u.channel.stream = from->stream;
	msg.u.channel.part = from->part;
	channel_ask(&v->in[port].channels[producer]);
	arrive_on_channel(v, &msg, NULL, 0, -1);
}

void arrive_on_channel(
	struct dag_vertex *v, const struct host_msg *msg, const void *tail, size_t tail_len, int fd)
{
	struct in_channel *ch = find_channel(v, msg->u.channel.port, msg->u.channel.producer);

	/* A channel that is being read may break off later. */
	if (ch->state == CHANNEL_OPEN && msg->u.channel.kind == HOST_CHANNEL_ERROR && !ch->error)
		channel_break(ch, msg->u.channel.error, base_strndup(tail, tail_len));
	if (ch->state != CHANNEL_OPENING) {
		if (fd >= 0)
			close(fd);
		return;
	}
	open_channel(v, ch, msg, tail, tail_len, fd);
	channel_opened(ch);
}

void arrive_on_blocks(
	struct dag_vertex *v, const struct host_msg *msg, const struct block_ref *refs, size_t n)
{
	struct in_channel *ch = find_channel(v, msg->u.data.port, msg->u.data.producer);

	for (size_t i = 0; i < n && !ch->error; i++) {
		const unsigned char *data = segments_locate(v->host, &refs[i]);

		if (data)
			channel_push(ch, (struct queued_block){.data = data,
						 .len = refs[i].length,
						 .records = refs[i].records,
						 .kind = refs[i].kind,
						 .checked = refs[i].checked});
		else
			channel_break(ch, DAG_ECORRUPT, base_strdup("a block lies outside of its segment"));
	}
}

void arrive_on_end(struct dag_vertex *v, const struct host_msg *msg)
{
	struct in_channel *ch = find_channel(v, msg->u.data.port, msg->u.data.producer);

	channel_on_end(ch, msg->u.data.checked ? &msg->u.data.end : NULL);
}
