/* SPDX-License-Identifier: Apache-2.0 */
/* A deque of blocks with a position for each reader. */
#include "channel/core/live.h"

void live_init(struct live_part *part, uint32_t expected, uint64_t window)
{
	*part = (struct live_part){.expected = expected, .window = window, .limit = window, .kept = true};
}

void live_fini(struct live_part *part)
{
	free(part->blocks);
	free(part->readers);
	*part = (struct live_part){0};
}

void live_append(struct live_part *part, const struct block_ref *ref)
{
	if (part->first == part->count)
		part->first = part->count = 0;
	part->bytes += ref->length;
	*DAG_APPEND(part->blocks, part->count, part->cap) = (struct live_block){*ref, part->bytes};
}

int live_attach(struct live_part *part, void *owner, uint32_t vertex, uint32_t port, uint64_t from)
{
	struct live_reader *r = live_find(part, owner);

	if (from < part->first_seq || from > part->first_seq + (part->count - part->first))
		return DAG_EMISSING;
	if (r) { /* the same reader asks again, from where it has got to */
		r->next = from;
		return 0;
	}
	if (part->direct)
		return DAG_EMISSING;
	if (part->reader_count == part->expected)
		return DAG_ELIMIT;
	*DAG_APPEND(part->readers, part->reader_count, part->reader_cap) =
		(struct live_reader){.owner = owner, .vertex = vertex, .port = port, .next = from};
	return 0;
}

struct live_reader *live_find(struct live_part *part, const void *owner)
{
	for (size_t i = 0; i < part->reader_count; i++)
		if (part->readers[i].owner == owner)
			return &part->readers[i];
	return NULL;
}

struct live_reader *live_find_vertex(struct live_part *part, uint32_t vertex, uint32_t port)
{
	for (size_t i = 0; i < part->reader_count; i++)
		if (part->readers[i].vertex == vertex && part->readers[i].port == port)
			return &part->readers[i];
	return NULL;
}

bool live_next(struct live_part *part, struct live_reader *reader, struct block_ref *ret, uint64_t *ret_seq)
{
	uint64_t at = reader->next - part->first_seq;

	if (reader->closed || reader->next < part->first_seq || at >= part->count - part->first)
		return false;
	*ret = part->blocks[part->first + at].ref;
	*ret_seq = reader->next++;
	return true;
}

void live_consumed(struct live_part *part, struct live_reader *reader, uint64_t bytes)
{
	reader->consumed = DAG_MAX(reader->consumed, DAG_MIN(bytes, part->bytes));
}

void live_close(struct live_part *part, struct live_reader *reader)
{
	(void)part;
	reader->closed = true;
}

void live_leave(struct live_part *part, struct live_reader *reader)
{
	*reader = part->readers[--part->reader_count];
}

/* Bytes that every reader which still reads has consumed. */
static uint64_t consumed_by_all(const struct live_part *part)
{
	uint64_t least = part->bytes;

	if (part->reader_count < part->expected)
		return 0;
	for (size_t i = 0; i < part->reader_count; i++)
		if (!part->readers[i].closed)
			least = DAG_MIN(least, part->readers[i].consumed);
	return least;
}

bool live_release(struct live_part *part, struct block_ref *ret)
{
	if (part->kept || part->first == part->count || part->blocks[part->first].end > consumed_by_all(part))
		return false;
	*ret = part->blocks[part->first++].ref;
	part->first_seq++;
	return true;
}

bool live_limit_changed(struct live_part *part, uint64_t *ret_limit)
{
	uint64_t limit = consumed_by_all(part) + part->window;

	if (part->window == UINT64_MAX || limit < part->limit + DAG_MAX(part->window / 8, 1u))
		return false;
	part->limit = limit;
	*ret_limit = limit;
	return true;
}

bool live_all_closed(const struct live_part *part)
{
	if (part->reader_count < part->expected)
		return false;
	for (size_t i = 0; i < part->reader_count; i++)
		if (!part->readers[i].closed)
			return false;
	return true;
}
