/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of what comes from outside: block headers and indexes. */
#include "block.h"

int block_header_check(const struct block_header *h)
{
	if (h->version != BLOCK_VERSION)
		return DAG_EVERSION;
	if (h->kind < BLOCK_DATA || h->kind > BLOCK_ZSTD || h->length > BLOCK_LEN_MAX)
		return DAG_EPROTO;
	return 0;
}

size_t index_size(uint32_t streams, uint32_t parts, uint32_t blocks)
{
	return sizeof(struct index_header) + streams * sizeof(struct index_stream) +
	       parts * sizeof(struct index_part) + blocks * sizeof(struct block_ref);
}

static bool is_within(const struct index_view *v, const struct index_part *p)
{
	return p->first_block <= v->header->blocks && p->block_count <= v->header->blocks - p->first_block;
}

struct index_view index_open(const void *data)
{
	struct index_view v = {.header = data};

	v.streams = (const struct index_stream *)(v.header + 1);
	v.parts = (const struct index_part *)(v.streams + v.header->streams);
	v.blocks = (const struct block_ref *)(v.parts + v.header->parts);
	return v;
}

int index_look(const void *data, size_t len, struct index_view *ret_view)
{
	const struct index_header *header = data;
	struct index_view v;
	uint64_t parts = 0;

	if (len < sizeof(*header) || header->magic != INDEX_MAGIC || header->version != BLOCK_VERSION)
		return DAG_ECORRUPT;
	/* Each count is below 2^32 and each item at most 40 bytes, so the sum cannot wrap 64 bits. */
	if (index_size(header->streams, header->parts, header->blocks) != len)
		return DAG_ECORRUPT;
	v = index_open(data);
	for (uint32_t i = 0; i < v.header->streams; i++)
		parts += v.streams[i].parts;
	if (parts != v.header->parts)
		return DAG_ECORRUPT;
	*ret_view = v;
	return 0;
}

int index_check(const void *data, size_t len, struct index_view *ret_view)
{
	int r = index_look(data, len, ret_view);

	for (uint32_t i = 0; r == 0 && i < ret_view->header->parts; i++)
		r = is_within(ret_view, &ret_view->parts[i]) ? 0 : DAG_ECORRUPT;
	return r;
}

const struct index_part *index_part(const struct index_view *view, uint32_t stream, uint32_t part)
{
	const struct index_part *p = view->parts;

	if (stream >= view->header->streams || part >= view->streams[stream].parts)
		return NULL;
	for (uint32_t i = 0; i < stream; i++)
		p += view->streams[i].parts;
	p += part;
	return is_within(view, p) ? p : NULL;
}

struct dag_hash index_hash(const struct index_view *view)
{
	uint32_t n = view->header->parts;
	uint64_t few[8][4] = {{0}}, (*words)[4] = base_room(few, sizeof(few), n * sizeof(*words));
	struct dag_hash hash;

	for (uint32_t i = 0; i < n; i++) {
		const struct index_part *p = &view->parts[i];

		memcpy(words[i], (uint64_t[4]){p->records, p->bytes, p->hash.low, p->hash.high},
			sizeof(*words));
	}
	hash = hash_128(words, n * sizeof(*words));
	base_room_free(words, few);
	return hash;
}
