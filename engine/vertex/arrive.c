/* SPDX-License-Identifier: Apache-2.0 */
/* What arrives for channels that are read: what they are, their blocks, their ends. The caller holds
 * host.lock. */
#include "task.h"

#include <unistd.h>

void reader_push_block(struct in_channel *ch, struct queued_block block)
{
	if (ch->queue_first && ch->queue_first == ch->queue_count)
		ch->queue_first = ch->queue_count = 0;
	*DAG_APPEND(ch->queue, ch->queue_count, ch->queue_cap) = block;
	ch->queued_bytes += block.len;
}

static struct in_channel *find_channel(struct dag_vertex *v, uint32_t port, uint32_t producer)
{
	DAG_ASSERT(port < v->stage->spec.in_count && producer < v->in[port].producers);
	return &v->in[port].channels[producer];
}

static void fail_channel(struct in_channel *ch, int error, char *text)
{
	free(ch->error_text);
	ch->error = error;
	ch->error_text = text;
	ch->ended = true;
}

/* What the daemon says a channel is. */
static void open_channel(struct dag_vertex *v, struct in_channel *ch, const struct host_msg *msg,
	const void *tail, size_t tail_len, int fd)
{
	struct graph_format format = v->in[msg->u.channel.port].format;
	const unsigned char *index;

	if (ch->source) {
		files_opened(ch, msg, fd);
		return;
	}
	ch->kind = (enum host_channel_kind)msg->u.channel.kind;
	switch (ch->kind) {
	case HOST_CHANNEL_SEALED:
		index = host_locate(v->host, &msg->u.channel.index);
		if (index && index_look(index, msg->u.channel.index.length, &ch->index) == 0)
			ch->part = index_part(&ch->index, msg->u.channel.stream, msg->u.channel.part);
		if (!ch->part) {
			fail_channel(ch, DAG_ECORRUPT,
				base_strdup("the index of the producer's output is damaged"));
			return;
		}
		ch->expected = (struct channel_end){ch->part->records, ch->part->bytes, ch->part->hash};
		ch->check_end = true;
		break;
	case HOST_CHANNEL_LIVE:
		ch->raw = msg->u.channel.raw;
		ch->step = msg->u.channel.step;
		if (ch->raw) {
			ch->raw_reader = (struct raw_reader){v, msg->u.channel.port, msg->u.channel.producer};
			ch->source = source_new(format, reader_fill, &ch->raw_reader);
			if (graph_is_as_written(format))
				source_watch(ch->source);
		}
		return;
	case HOST_CHANNEL_SOURCE:
		ch->file_size = msg->u.channel.size;
		ch->file_mtime_ns = msg->u.channel.mtime_ns;
		ch->raw_reader = (struct raw_reader){v, msg->u.channel.port, msg->u.channel.producer};
		ch->source = files_source(ch, format, fd, msg->u.channel.offset, msg->u.channel.length);
		if (graph_is_as_written(format))
			source_watch(ch->source);
		return;
	case HOST_CHANNEL_ERROR:
		fail_channel(ch, msg->u.channel.error, base_strndup(tail, tail_len));
		break;
	}
	if (fd >= 0)
		close(fd);
}

void reader_open_given(struct dag_vertex *v, uint32_t port, uint32_t producer, const struct host_port *from,
	const struct block_ref *index)
{
	struct host_msg msg = {.kind = HOST_CHANNEL};

	msg.u.channel.port = port;
	msg.u.channel.producer = producer;
	msg.u.channel.kind = HOST_CHANNEL_SEALED;
	msg.u.channel.index = *index;
	msg.u.channel.stream = from->stream;
	msg.u.channel.part = from->part;
	v->in[port].channels[producer].state = CHANNEL_OPENING;
	reader_on_channel(v, &msg, NULL, 0, -1);
}

void reader_on_channel(
	struct dag_vertex *v, const struct host_msg *msg, const void *tail, size_t tail_len, int fd)
{
	struct in_channel *ch = find_channel(v, msg->u.channel.port, msg->u.channel.producer);

	/* A channel that is being read may break off later. */
	if (ch->state == CHANNEL_OPEN && msg->u.channel.kind == HOST_CHANNEL_ERROR && !ch->error)
		fail_channel(ch, msg->u.channel.error, base_strndup(tail, tail_len));
	if (ch->state != CHANNEL_OPENING) {
		if (fd >= 0)
			close(fd);
		return;
	}
	open_channel(v, ch, msg, tail, tail_len, fd);
	ch->state = CHANNEL_OPEN;
}

void reader_on_blocks(
	struct dag_vertex *v, const struct host_msg *msg, const struct block_ref *refs, size_t n)
{
	struct in_channel *ch = find_channel(v, msg->u.data.port, msg->u.data.producer);

	for (size_t i = 0; i < n && !ch->error; i++) {
		const unsigned char *data = host_locate(v->host, &refs[i]);

		if (data)
			reader_push_block(ch, (struct queued_block){.data = data,
						      .len = refs[i].length,
						      .records = refs[i].records,
						      .kind = refs[i].kind,
						      .checked = refs[i].checked});
		else
			fail_channel(ch, DAG_ECORRUPT, base_strdup("a block lies outside of its segment"));
	}
}

void reader_on_end(struct dag_vertex *v, const struct host_msg *msg)
{
	struct in_channel *ch = find_channel(v, msg->u.data.port, msg->u.data.producer);

	ch->ended = true;
	ch->check_end = msg->u.data.checked;
	ch->expected = msg->u.data.end;
}
