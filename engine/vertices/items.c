/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting in memory: radix sort by the first bits that tell the records apart, merge sort of a few; stable.
 */
#include "items.h"

#define RADIX_LEAST 2048
#define RADIX_PASSES 4
#define LEVELS_MAX 64 /* of bytes by eight, behind which keys are compared */
#define ONLY SIZE_MAX
#define INSERTION 12 /* shorter pieces are sorted by insertion */

struct dag_record item_record(const char *at)
{
	struct kept k;

	memcpy(&k, at, sizeof(k));
	at += sizeof(k);
	return (struct dag_record){.key = k.key_len ? at : NULL,
		.key_len = k.key_len ? k.key_len - 1 : 0,
		.data = at + (k.key_len ? k.key_len - 1 : 0),
		.len = k.len};
}

size_t item_size(const struct kept *k)
{
	return sizeof(*k) + (k->key_len ? k->key_len - 1 : 0) + k->len;
}

struct span item_key(const char *at)
{
	struct kept k;

	memcpy(&k, at, sizeof(k));
	return (struct span){at + sizeof(k) + k.by, k.by_len};
}

/* By the prefixes, and behind them by the rest of the keys, unless that is ONLY. */
static int compare(const struct key_spec *k, const struct item *a, const struct item *b, size_t depth)
{
	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	if (depth == ONLY || key_is_whole(k, a->prefix))
		return 0;
	return key_compare_rest(k, item_key(a->record), item_key(b->record), a->prefix, depth + 8);
}

static void sort_items(
	const struct key_spec *k, struct item *items, struct item *spare, size_t n, size_t depth)
{
	size_t half = n / 2, i, j, to;

	if (n <= INSERTION) {
		for (i = 1; i < n; i++) {
			struct item x = items[i];

			for (j = i; j && compare(k, &x, &items[j - 1], depth) < 0; j--)
				items[j] = items[j - 1];
			items[j] = x;
		}
		return;
	}
	sort_items(k, items, spare, half, depth);
	sort_items(k, items + half, spare, n - half, depth);
	if (compare(k, &items[half - 1], &items[half], depth) <= 0)
		return;
	memcpy(spare, items, half * sizeof(*items));
	for (i = 0, j = half, to = 0; i < half;)
		items[to++] = j < n && compare(k, &items[j], &spare[i], depth) < 0 ? items[j++] : spare[i++];
}

/* Stable, by `passes` bytes of the prefix from bit `low` on; an even number, so that all end where they were.
 */
static void radix_sort(struct item *items, struct item *spare, size_t n, int low, int passes)
{
	size_t counts[RADIX_PASSES][256] = {0};

	for (size_t i = 0; i < n; i++)
		for (int b = 0; b < passes; b++)
			counts[b][items[i].prefix >> (low + 8 * b) & 0xff]++;
	for (int b = 0; b < passes; b++) {
		size_t at = 0, *count = counts[b];
		struct item *t = spare;

		for (int v = 0; v < 256; v++) {
			size_t here = count[v];

			count[v] = at;
			at += here;
		}
		for (size_t i = 0; i < n; i++)
			spare[count[items[i].prefix >> (low + 8 * b) & 0xff]++] = items[i];
		spare = items;
		items = t;
	}
}

static uint64_t differing(const struct item *items, size_t n)
{
	uint64_t bits = 0;

	for (size_t i = 1; i < n; i++)
		bits |= items[i].prefix ^ items[0].prefix;
	return bits;
}

static void sort_span(
	const struct key_spec *k, struct item *items, struct item *spare, size_t n, size_t depth, int level);

/* Those whose keys are the same in their first depth + 8 bytes: by the next eight in which they differ. */
static void sort_rest(
	const struct key_spec *k, struct item *items, struct item *spare, size_t n, size_t depth, int level)
{
	bool more;

	if (key_is_whole(k, items[0].prefix))
		return;
	if (k->type != KEY_TEXT || n <= INSERTION || level == LEVELS_MAX) {
		sort_items(k, items, spare, n, depth);
		return;
	}
	do {
		depth += 8;
		more = false;
		for (size_t i = 0; i < n; i++) {
			struct span key = item_key(items[i].record);

			__builtin_prefetch(item_ahead(items, n, i) + depth);
			items[i].prefix = key_prefix(k, key_skip(key, depth));
			more = more || key.len > depth;
		}
	} while (more && !differing(items, n));
	if (more) {
		sort_span(k, items, spare, n, depth, level + 1);
		return;
	}
	/* They have ended: what is left are zeros, or nothing. */
	for (size_t i = 0; i < n; i++)
		items[i].prefix =
			k->descending ? ~item_key(items[i].record).len : item_key(items[i].record).len;
	sort_items(k, items, spare, n, ONLY);
}

/*
 * By the first bits in which the prefixes differ, more than it takes to tell as many records apart; the few
 * that have the same are sorted on, by the next bits or the next bytes.
 */
static void sort_span(
	const struct key_spec *k, struct item *items, struct item *spare, size_t n, size_t depth, int level)
{
	int passes = n >> 16 ? RADIX_PASSES : 2, low = 0;
	uint64_t differ = differing(items, n);

	if (!differ) {
		sort_rest(k, items, spare, n, depth, level);
		return;
	}
	if (n < RADIX_LEAST) {
		sort_items(k, items, spare, n, ONLY);
	} else {
		low = 64 - __builtin_clzll(differ) - 8 * passes;
		low = low > 0 ? low : 0;
		radix_sort(items, spare, n, low, passes);
	}
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && !((items[end].prefix ^ items[i].prefix) >> low); end++)
			;
		if (end - i > 1)
			sort_span(k, items + i, spare, end - i, depth, level);
	}
}

bool items_sort(const struct key_spec *k, struct item *items, size_t n)
{
	struct item *spare;

	if (n < 2)
		return true;
	spare = malloc((n + 1) * sizeof(*spare));
	if (!spare)
		return false;
	sort_span(k, items, spare, n, 0, 0);
	free(spare);
	return true;
}
