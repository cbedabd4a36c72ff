/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTICES_ITEMS_H
#define VERTICES_ITEMS_H
/* Records in memory that are to be sorted: beside each pointer the first bytes of its key, so that most
 * comparisons touch nothing else. */
#include "std.h"

/* What a record in memory begins with; its key follows, and its bytes. */
struct kept {
	uint32_t key_len, len; /* key_len: + 1; 0 for a record without one */
	uint32_t by, by_len;   /* where behind this the bytes lie that it is sorted by: found once */
};

struct item {
	uint64_t prefix;    /* of its key, by key_prefix; sorting leaves anything in it */
	const char *record; /* struct kept */
};

/* The record of one that comes later in the items: to be fetched already. */
static inline const char *item_ahead(const struct item *items, size_t n, size_t i)
{
	enum { AHEAD = 16 };

	return items[i + AHEAD < n ? i + AHEAD : i].record;
}

/* Bytes of the whole. */
size_t item_size(const struct kept *k);
struct dag_record item_record(const char *at);
/* What it is sorted by. */
struct span item_key(const char *at);
/* Stable. False: out of memory. */
bool items_sort(const struct key_spec *k, struct item *items, size_t n);

#endif
