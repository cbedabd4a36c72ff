/* SPDX-License-Identifier: Apache-2.0 */
/* Which part a record goes to. The same record goes to the same part in every attempt, on every node. */
#include "partition.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The n-th field (from 1) of a line; empty where there is none. */
static void find_field(
	const char *line, size_t len, uint32_t n, char delimiter, const char **ret, size_t *ret_len)
{
	const char *at = line, *end = line + len;

	for (uint32_t i = 1;; i++) {
		const char *start;

		while (!delimiter && at < end && is_blank(*at))
			at++;
		start = at;
		while (at < end && (delimiter ? *at != delimiter : !is_blank(*at)))
			at++;
		if (i == n || at == end) {
			*ret = start;
			*ret_len = i == n ? (size_t)(at - start) : 0;
			return;
		}
		at++;
	}
}

uint32_t partition_pick(struct out_stream *stream, enum dag_format_kind format, const void *key,
	size_t key_len, const void *data, size_t len)
{
	const struct graph_partition *p = &stream->spec->partition;
	uint32_t parts = stream->spec->parts;

	if (parts == 1)
		return 0;
	switch (p->kind) {
	case GRAPH_BY_ROUND_ROBIN: {
		uint32_t part = stream->next_part;

		stream->next_part = part + 1 == parts ? 0 : part + 1;
		return part;
	}
	case GRAPH_BY_HASH:
		if (format != DAG_FORMAT_KV) {
			const char *field = data;

			key_len = len;
			if (p->key)
				find_field(data, len, p->key, p->delimiter, &field, &key_len);
			key = field;
		}
		/* The high half of the product: uniform over the parts, and cheaper than a division. */
		return (uint32_t)(((hash_64(key_len ? key : "", key_len) >> 32) * parts) >> 32);
	default:
		return 0; /* `part` without a pick: the first */
	}
}
