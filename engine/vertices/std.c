/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The standard vertices: plugin `std`. Each works on any format; what a stage's edges say decides where
 * records go.
 */
#include <dagrun/vertex.h>

#include <stdlib.h>
#include <string.h>

/* Writes a record as it was read. */
static int pass(struct dag_vertex *v, uint32_t port, const struct dag_record *r)
{
	if (r->key)
		return dag_write_kv(v, port, r->key, r->key_len, r->data, r->len);
	return dag_write(v, port, r->data, r->len);
}

/* All inputs of port 0, one after the other. */
static int cat(struct dag_vertex *v)
{
	struct dag_record r;
	int n;

	while ((n = dag_read(v, 0, &r)) > 0) {
		n = pass(v, 0, &r);
		if (n < 0)
			return n;
	}
	return n;
}

/* The same as cat: its name says that the edges behind it partition. */
static int partition(struct dag_vertex *v)
{
	return cat(v);
}

/* Every record to both outputs. */
static int tee(struct dag_vertex *v)
{
	struct dag_record r;
	int n;

	while ((n = dag_read(v, 0, &r)) > 0) {
		int a = pass(v, 0, &r), b = pass(v, 1, &r);

		/* One output that nobody reads any more does not end the other. */
		if (a == DAG_ECLOSED && b == DAG_ECLOSED)
			return DAG_ECLOSED;
		if (a < 0 && a != DAG_ECLOSED)
			return a;
		if (b < 0 && b != DAG_ECLOSED)
			return b;
	}
	return n;
}

/* ---- merge: a heap of the producers' next records ---- */

struct head {
	struct dag_record r;
	uint32_t producer;
};

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t n = a_len < b_len ? a_len : b_len;
	int c = n ? memcmp(a, b, n) : 0;

	return c ? c : a_len < b_len ? -1 : a_len > b_len;
}

/* By key, then bytes, then producer: so equal records keep the producers' order. */
static int before(const struct head *a, const struct head *b)
{
	int c = a->r.key ? compare_bytes(a->r.key, a->r.key_len, b->r.key, b->r.key_len) : 0;

	if (!c)
		c = compare_bytes(a->r.data, a->r.len, b->r.data, b->r.len);
	return c ? c < 0 : a->producer < b->producer;
}

static void sift_down(struct head *heap, uint32_t count, uint32_t at)
{
	for (;;) {
		uint32_t least = at, left = 2 * at + 1, right = left + 1;
		struct head swap;

		if (left < count && before(&heap[left], &heap[least]))
			least = left;
		if (right < count && before(&heap[right], &heap[least]))
			least = right;
		if (least == at)
			return;
		swap = heap[at];
		heap[at] = heap[least];
		heap[least] = swap;
		at = least;
	}
}

static int merge_heap(struct dag_vertex *v, struct head *heap)
{
	uint32_t count = 0, producers = dag_producers(v, 0);
	int n;

	for (uint32_t i = 0; i < producers; i++) {
		heap[count].producer = i;
		n = dag_read_from(v, 0, i, &heap[count].r);
		if (n < 0)
			return n;
		count += n > 0;
	}
	for (uint32_t i = count; i-- > 0;)
		sift_down(heap, count, i);
	while (count) {
		n = pass(v, 0, &heap[0].r);
		if (n < 0)
			return n;
		n = dag_read_from(v, 0, heap[0].producer, &heap[0].r);
		if (n < 0)
			return n;
		if (n == 0)
			heap[0] = heap[--count];
		sift_down(heap, count, 0);
	}
	return 0;
}

/* Inputs that are sorted bytewise, into one that is. */
static int merge(struct dag_vertex *v)
{
	struct head *heap = calloc(dag_producers(v, 0) + 1, sizeof(*heap));
	int r = heap ? merge_heap(v, heap) : dag_fail(v, "out of memory");

	free(heap);
	return r;
}

DAG_PLUGIN(std, DAG_ENTRY(cat, DAG_IN(ANY), DAG_OUT(ANY), "all inputs, one after the other"),
	DAG_ENTRY(partition, DAG_IN(ANY), DAG_OUT(ANY),
		"the records as they are, for edges that partition them"),
	DAG_ENTRY(tee, DAG_IN(ANY), DAG_OUT(ANY), DAG_OUT(ANY), "every record to both outputs"),
	DAG_ENTRY(merge, DAG_IN(ANY), DAG_OUT(ANY),
		"inputs that are sorted bytewise (key first), merged into one"));
