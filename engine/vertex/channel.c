/* SPDX-License-Identifier: Apache-2.0 */
/* How far a channel is, and the blocks and the end that were handed to it. */
#include "channel.h"

bool channel_ask(struct in_channel *ch)
{
	if (ch->state != CHANNEL_NEW)
		return false;
	ch->state = CHANNEL_OPENING;
	return true;
}

void channel_ask_again(struct in_channel *ch)
{
	ch->state = CHANNEL_NEW;
}

void channel_open_fifo(struct in_channel *ch)
{
	ch->kind = HOST_CHANNEL_LIVE;
	ch->state = CHANNEL_OPEN;
}

void channel_open_sealed(
	struct in_channel *ch, const unsigned char *index, uint32_t len, uint32_t stream, uint32_t part)
{
	ch->kind = HOST_CHANNEL_SEALED;
	if (index && index_look(index, len, &ch->index) == 0)
		ch->part = index_part(&ch->index, stream, part);
	if (!ch->part) {
		channel_break(ch, DAG_ECORRUPT, base_strdup("the index of the producer's output is damaged"));
		return;
	}
	ch->expected = (struct channel_end){ch->part->records, ch->part->bytes, ch->part->hash};
	ch->check_end = true;
}

void channel_open_live(struct in_channel *ch, uint64_t step)
{
	ch->kind = HOST_CHANNEL_LIVE;
	ch->step = step;
}

void channel_open_source(struct in_channel *ch, enum host_channel_kind kind, struct source *source, bool raw)
{
	ch->kind = kind;
	ch->source = source;
	ch->raw = raw;
}

void channel_opened(struct in_channel *ch)
{
	ch->state = CHANNEL_OPEN;
}

void channel_end(struct in_channel *ch)
{
	ch->state = CHANNEL_ENDED;
}

void channel_push(struct in_channel *ch, struct queued_block block)
{
	if (ch->queue_first && ch->queue_first == ch->queue_count)
		ch->queue_first = ch->queue_count = 0;
	*DAG_APPEND(ch->queue, ch->queue_count, ch->queue_cap) = block;
	ch->queued_bytes += block.len;
}

bool channel_take(struct in_channel *ch, struct queued_block *ret)
{
	if (ch->queue_first == ch->queue_count)
		return false;
	*ret = ch->queue[ch->queue_first++];
	ch->dequeued++;
	return true;
}

void channel_forget_bytes(struct in_channel *ch, uint32_t len)
{
	ch->queued_bytes -= len;
}

void channel_on_end(struct in_channel *ch, const struct channel_end *end)
{
	ch->ended = true;
	ch->check_end = end != NULL;
	if (end)
		ch->expected = *end;
}

void channel_fail(struct in_channel *ch, int error, char *text)
{
	free(ch->error_text);
	ch->error = error;
	ch->error_text = text;
}

void channel_break(struct in_channel *ch, int error, char *text)
{
	channel_fail(ch, error, text);
	ch->ended = true;
}

void channel_drop_source(struct in_channel *ch)
{
	source_destroy(&ch->source);
}

void channel_fini(struct in_channel *ch)
{
	source_destroy(&ch->source);
	free(ch->queue);
	free(ch->error_text);
}
