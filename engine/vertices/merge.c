/* SPDX-License-Identifier: Apache-2.0 */
/* Merging: a heap of the producers' next records. */
#include "std.h"

struct source {
	struct dag_record r;
	struct span key;
	uint64_t prefix;
	uint32_t producer;
};

static void take(const struct key_spec *k, struct source *h)
{
	h->key = key_of(k, &h->r);
	h->prefix = key_prefix(k, h->key);
}

/* Equal keys keep the producers' order. */
static bool before(const struct key_spec *k, const struct source *a, const struct source *b)
{
	int c = key_compare(k, a->key, a->prefix, b->key, b->prefix);

	return c ? c < 0 : a->producer < b->producer;
}

static void sift_down(const struct key_spec *k, struct source *heap, uint32_t count, uint32_t at)
{
	for (;;) {
		uint32_t least = at, left = 2 * at + 1, right = left + 1;
		struct source swap;

		if (left < count && before(k, &heap[left], &heap[least]))
			least = left;
		if (right < count && before(k, &heap[right], &heap[least]))
			least = right;
		if (least == at)
			return;
		swap = heap[at];
		heap[at] = heap[least];
		heap[least] = swap;
		at = least;
	}
}

static int merge_heap(struct dag_vertex *v, const struct key_spec *k, struct source *heap)
{
	uint32_t count = 0, producers = dag_producers(v, 0);
	int n;

	for (uint32_t i = 0; i < producers; i++) {
		heap[count].producer = i;
		n = dag_read_from(v, 0, i, &heap[count].r);
		if (n < 0)
			return n;
		if (n > 0)
			take(k, &heap[count++]);
	}
	for (uint32_t i = count; i-- > 0;)
		sift_down(k, heap, count, i);
	while (count) {
		n = std_pass(v, 0, &heap[0].r);
		if (n < 0)
			return n;
		n = dag_read_from(v, 0, heap[0].producer, &heap[0].r);
		if (n < 0)
			return n;
		if (n > 0)
			take(k, &heap[0]);
		else
			heap[0] = heap[--count];
		sift_down(k, heap, count, 0);
	}
	return 0;
}

int merge(struct dag_vertex *v)
{
	struct key_spec k = key_spec_read(v);
	struct source *heap = calloc(dag_producers(v, 0) + 1, sizeof(*heap));
	int r = heap ? merge_heap(v, &k, heap) : dag_fail(v, "out of memory");

	free(heap);
	return r;
}
