/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging: a heap of the producers' next records. What a producer brought last is kept, as a copy of its key,
 * so that one which is not sorted is found.
 */
#include "std.h"

struct source {
	struct keyed k;
	uint32_t producer;
};

/* The record that came last from a producer. */
struct last {
	struct kept_key kept;
	uint64_t number;
};

/* The next record of the producer; 1, 0 at its end, or an error. */
static int take(struct merger *m, struct source *s)
{
	for (;;) {
		int n = dag_read_from(m->v, m->port, s->producer, &s->k.r), read;

		if (n <= 0)
			return n;
		read = key_read(&m->key, &s->k.r, &s->k.key);
		if (read)
			return read;
	}
}

/* Equal keys keep the producers' order. */
static bool before(const struct key_spec *k, const struct source *a, const struct source *b)
{
	int c = key_compare(k, a->k.key, b->k.key);

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

/* The same, where the producer has brought one before. */
static int take_next(struct merger *m, struct source *s)
{
	struct last *last = &m->lasts[s->producer];
	int n;

	if (!key_keep(&last->kept, s->k.key))
		return dag_fail(m->v, "out of memory");
	last->number = s->k.r.number;
	n = take(m, s);
	if (n > 0 && key_compare(&m->key, last->kept.key, s->k.key) > 0)
		return key_refuse_order(&m->key, &s->k.r, s->k.key.text, last->number, last->kept.key.text,
			m->what, m->advice);
	return n;
}

static int begin(struct merger *m)
{
	uint32_t producers = dag_producers(m->v, m->port);
	int n;

	m->heap = calloc(producers + 1, sizeof(*m->heap));
	m->lasts = calloc(producers + 1, sizeof(*m->lasts));
	if (!m->heap || !m->lasts)
		return dag_fail(m->v, "out of memory");
	m->producers = producers;
	for (uint32_t i = 0; i < producers; i++) {
		m->heap[m->count].producer = i;
		n = take(m, &m->heap[m->count]);
		if (n < 0)
			return n;
		m->count += n > 0;
	}
	for (uint32_t i = m->count; i-- > 0;)
		sift_down(&m->key, m->heap, m->count, i);
	return 0;
}

int merger_next(struct merger *m, const struct keyed **ret)
{
	int n = 0;

	if (!m->heap)
		n = begin(m);
	else if (m->count) {
		n = take_next(m, &m->heap[0]);
		if (n == 0)
			m->heap[0] = m->heap[--m->count];
		if (n >= 0)
			sift_down(&m->key, m->heap, m->count, 0);
	}
	if (n < 0 || !m->count)
		return n < 0 ? n : 0;
	*ret = &m->heap[0].k;
	return 1;
}

void merger_fini(struct merger *m)
{
	for (uint32_t i = 0; i < m->producers; i++)
		free(m->lasts[i].kept.room);
	free(m->lasts);
	free(m->heap);
}

int merge(struct dag_vertex *v)
{
	struct merger m = {.v = v,
		.key = key_spec_read(v),
		.what = "an input of the merge",
		.advice = "or take `use: sort` instead of `use: merge`"};
	const struct keyed *next;
	int n;

	while ((n = merger_next(&m, &next)) > 0) {
		n = std_pass(v, 0, &next->r);
		if (n < 0)
			break;
	}
	merger_fini(&m);
	return n;
}
