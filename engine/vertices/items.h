/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTICES_ITEMS_H
#define VERTICES_ITEMS_H
/* Records in memory that are to be sorted: beside each pointer the first bytes of its key, so that most
 * comparisons touch nothing else. */
#include "std.h"

/* What a record in memory begins with; its key follows, and its bytes. */
struct kept {
	uint32_t key_len, len; /* key_len: + 1; 0 for a record without one */
};

struct item {
	uint64_t prefix;    /* of its key, by key_prefix; sorting leaves anything in it */
	const char *record; /* struct kept */
};

struct dag_record item_record(const char *at);
/* Both with their prefixes; equal keys are 0. */
int item_compare(const struct key_spec *k, const struct item *a, const struct item *b);
/* Stable. False: out of memory. */
bool items_sort(const struct key_spec *k, struct item *items, size_t n);

#endif
