/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records to the part in whose range of keys they fall. The bounds are quantiles of a sorted sample, so that
 * the parts come out about equal; equal keys always go to one part.
 */
#include "std.h"

#define BATCH 256

struct bound {
	struct span key;
	uint64_t prefix;
};

struct bounds {
	struct store store;
	struct bound *items; /* the whole sample, then the bounds among it */
	uint32_t count, cap;
};

static int read_sample(struct dag_vertex *v, const struct key_spec *k, struct bounds *b)
{
	struct dag_record r;
	int got;

	while ((got = dag_read(v, 1, &r)) > 0) {
		struct span key = key_of(k, &r);
		char *copy = store_copy(&b->store, key.data, key.len);

		if (b->count == b->cap) {
			uint32_t cap = b->cap ? b->cap * 2 : 1024;
			struct bound *items = realloc(b->items, cap * sizeof(*items));

			if (!items)
				return dag_fail(v, "out of memory");
			b->items = items;
			b->cap = cap;
		}
		if (!copy)
			return dag_fail(v, "out of memory");
		b->items[b->count++] = (struct bound){{copy, key.len}, key_prefix(k, key)};
		if (b->count > 1 && key_compare(k, b->items[b->count - 2].key, b->items[b->count - 2].prefix,
					    b->items[b->count - 1].key, b->items[b->count - 1].prefix) > 0)
			return dag_fail(v, "the sample on input port 1 is not sorted by the same key");
	}
	return got;
}

/* One fewer than parts. */
static void choose_bounds(struct bounds *b, uint32_t parts)
{
	uint32_t n = b->count;

	if (!n)
		return;
	b->count = 0;
	for (uint32_t i = 1; i < parts; i++)
		b->items[b->count++] = b->items[(uint64_t)n * i / parts];
}

/* The number of bounds that are not after the key. */
static uint32_t part_of(const struct key_spec *k, const struct bounds *b, struct span key)
{
	uint64_t prefix = key_prefix(k, key);
	uint32_t low = 0, high = b->count;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (key_compare(k, b->items[mid].key, b->items[mid].prefix, key, prefix) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int route(struct dag_vertex *v, const struct key_spec *k, struct bounds *b)
{
	struct dag_record batch[BATCH];
	int n = read_sample(v, k, b), r = 0;

	if (n < 0)
		return n;
	if (b->count && b->count < dag_parts(v, 0))
		return dag_fail(
			v, "a sample of %u records gives no bounds for %u parts", b->count, dag_parts(v, 0));
	choose_bounds(b, dag_parts(v, 0));
	while (r >= 0 && (n = dag_read_batch(v, 0, batch, BATCH)) > 0)
		for (int i = 0; i < n && r >= 0; i++) {
			const struct dag_record *x = &batch[i];
			uint32_t part = part_of(k, b, key_of(k, x));

			r = x->key ? dag_write_part_kv(v, 0, part, x->key, x->key_len, x->data, x->len)
				   : dag_write_part(v, 0, part, x->data, x->len);
		}
	return r < 0 ? r : n;
}

int range(struct dag_vertex *v)
{
	struct key_spec k = key_spec_read(v);
	struct bounds b = {0};
	int r = route(v, &k, &b);

	store_clear(&b.store);
	free(b.items);
	return r;
}
