/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records to the part in whose range of keys they fall. The bounds are quantiles of a sorted sample, so that
 * the parts come out about equal; equal keys always go to one part.
 */
#include "std.h"

struct bounds {
	struct store store;
	struct key *sample, *items; /* items: one fewer than parts */
	uint64_t *prefixes;         /* of the items, close together */
	uint32_t sample_count, cap, count;
};

static int read_sample(struct dag_vertex *v, const struct key_spec *k, struct bounds *b)
{
	struct key_spec lenient = *k;
	struct dag_record r;
	uint64_t last = 0;
	int got;

	lenient.invalid = INVALID_ZERO;
	while ((got = dag_read(v, 1, &r)) > 0) {
		struct key key;
		char *copy;

		/* What is no number is met again among the records. */
		got = key_read(&lenient, &r, &key);
		if (got < 0)
			return got;
		copy = store_copy(&b->store, key.text.data, key.text.len);

		if (b->sample_count == b->cap) {
			uint32_t cap = b->cap ? b->cap * 2 : 1024;
			struct key *sample = realloc(b->sample, cap * sizeof(*sample));

			if (!sample)
				return dag_fail(v, "out of memory");
			b->sample = sample;
			b->cap = cap;
		}
		if (!copy)
			return dag_fail(v, "out of memory");
		b->sample[b->sample_count] = (struct key){{copy, key.text.len}, key.prefix};
		if (b->sample_count &&
			key_compare(k, b->sample[b->sample_count - 1], b->sample[b->sample_count]) > 0)
			return key_refuse_order(k, &r, key.text, last, b->sample[b->sample_count - 1].text,
				"the sample", "by a `use: sort` of all of it");
		last = r.number;
		b->sample_count++;
	}
	return got;
}

/* Quantiles; of a small sample some are the same, and parts stay empty. */
static bool choose_bounds(struct bounds *b, uint32_t parts)
{
	b->items = calloc(parts, sizeof(*b->items));
	b->prefixes = calloc(parts, sizeof(*b->prefixes));
	if (!b->items || !b->prefixes)
		return false;
	for (uint32_t i = 1; i < parts && b->sample_count; i++) {
		b->items[b->count] = b->sample[(uint64_t)b->sample_count * i / parts];
		b->prefixes[b->count] = b->items[b->count].prefix;
		b->count++;
	}
	return true;
}

/* How many of n in ascending order are below x. Without branches: on keys at random each would be guessed. */
static uint32_t count_below(const uint64_t *sorted, uint32_t n, uint64_t x)
{
	const uint64_t *at = sorted;

	for (; n > 1; n -= n / 2)
		at += (at[n / 2 - 1] < x) * (n / 2);
	return (uint32_t)(at - sorted) + (n && *at < x);
}

/* The number of bounds that are not after the key. */
static uint32_t part_of(const struct key_spec *k, const struct bounds *b, struct key at)
{
	uint32_t low = count_below(b->prefixes, b->count, at.prefix), high = b->count;

	if (low == high || b->prefixes[low] != at.prefix)
		return low;
	/* Their first bytes are the same: by the rest. */
	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (key_compare(k, b->items[mid], at) <= 0)
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
	if (!choose_bounds(b, dag_parts(v, 0)))
		return dag_fail(v, "out of memory");
	while (r >= 0 && (n = dag_read_batch(v, 0, batch, BATCH)) > 0)
		for (int i = 0; i < n && r >= 0; i++) {
			const struct dag_record *x = &batch[i];
			struct key key;
			uint32_t part;

			r = key_read(k, x, &key);
			if (r <= 0)
				continue;
			part = part_of(k, b, key);
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
	free(b.sample);
	free(b.items);
	free(b.prefixes);
	return r;
}
