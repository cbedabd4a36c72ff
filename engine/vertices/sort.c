/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorting: records are copied into memory and sorted there (items.c). What is more than `memory` goes to the
 * scratch folder as sorted runs, which are merged at the end.
 */
#include "items.h"

#include <stdio.h>

#define MEMORY_DEFAULT (256u << 20)
#define RUNS_MAX 1024
#define RUN_BUFFER (256u << 10)

struct sorter {
	struct dag_vertex *v;
	struct key_spec key;
	struct store store;
	struct item *items;
	size_t count, cap;
	uint64_t memory;
	FILE *runs[RUNS_MAX];
	uint32_t run_count;
};

static int sort_kept(struct sorter *s)
{
	return items_sort(&s->key, s->items, s->count) ? 0 : dag_fail(s->v, "out of memory");
}

static bool keep(struct sorter *s, const struct dag_record *r, const struct key *key)
{
	struct span by = key->text;
	bool by_data = s->key.field || !r->key;
	struct kept k = {r->key ? (uint32_t)r->key_len + 1 : 0, (uint32_t)r->len,
		(uint32_t)(by_data ? r->key_len + (size_t)(by.data - r->data) : (size_t)(by.data - r->key)),
		(uint32_t)by.len};
	char *at;

	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 4096;
		struct item *items = realloc(s->items, cap * sizeof(*items));

		if (!items)
			return false;
		s->items = items;
		s->cap = cap;
	}
	at = store_reserve(&s->store, (item_size(&k) + 7) & ~(size_t)7);
	if (!at)
		return false;
	s->items[s->count++] = (struct item){key->prefix, at};
	memcpy(at, &k, sizeof(k));
	if (r->key_len)
		memcpy(at + sizeof(k), r->key, r->key_len);
	if (r->len)
		memcpy(at + sizeof(k) + r->key_len, r->data, r->len);
	return true;
}

/* Sorted records lie anywhere: the next ones are on their way while one is written. */
static void prefetch(const struct sorter *s, size_t i)
{
	const char *ahead = item_ahead(s->items, s->count, i);

	__builtin_prefetch(ahead);
	__builtin_prefetch(ahead + 64);
}

/* What is in memory becomes a run in the scratch folder. */
static int spill(struct sorter *s)
{
	char path[4096];
	FILE *f;
	int r = sort_kept(s);

	if (r < 0)
		return r;
	if (s->run_count == RUNS_MAX)
		return dag_fail(s->v, "more than %d runs: give the sort more memory", RUNS_MAX);
	snprintf(path, sizeof(path), "%s/run-%u", dag_scratch(s->v), s->run_count);
	f = fopen(path, "w+e");
	if (!f)
		return dag_fail(s->v, "cannot write %s: %m", path);
	setvbuf(f, NULL, _IOFBF, RUN_BUFFER);
	remove(path);
	s->runs[s->run_count++] = f;
	for (size_t i = 0; i < s->count; i++) {
		struct kept k;

		prefetch(s, i);
		memcpy(&k, s->items[i].record, sizeof(k));
		fwrite_unlocked(s->items[i].record, 1, item_size(&k), f);
	}
	if (fflush(f) || ferror(f))
		return dag_fail(s->v, "cannot write a sorted run: %m");
	rewind(f);
	s->count = 0;
	store_rewind(&s->store);
	return 0;
}

static int read_all(struct sorter *s)
{
	struct dag_record batch[BATCH];
	struct key key;
	int n, r;

	while ((n = dag_read_batch(s->v, 0, batch, BATCH)) > 0) {
		for (int i = 0; i < n; i++) {
			r = key_read(&s->key, &batch[i], &key);
			if (r < 0)
				return r;
			if (r && !keep(s, &batch[i], &key))
				return dag_fail(s->v, "out of memory");
		}
		if (s->store.bytes + s->cap * sizeof(*s->items) + s->count * sizeof(*s->items) > s->memory &&
			(r = spill(s)) < 0)
			return r;
	}
	return n;
}

/* ---- the runs ---- */

struct run {
	FILE *file;
	char *buffer; /* struct kept: its next record */
	size_t cap;
	struct key key;
};

/* 1: the run's next record; 0: its end; negative: damage. */
static int next_of_run(const struct sorter *s, struct run *run)
{
	struct kept k;
	size_t size;

	if (fread_unlocked(&k, 1, sizeof(k), run->file) != sizeof(k))
		return feof(run->file) && !ferror(run->file) ? 0 : DAG_EIO;
	size = item_size(&k);
	if (size > run->cap) {
		char *buffer = realloc(run->buffer, size * 2);

		if (!buffer)
			return DAG_ENOSPC;
		run->buffer = buffer;
		run->cap = size * 2;
	}
	memcpy(run->buffer, &k, sizeof(k));
	if (fread_unlocked(run->buffer + sizeof(k), 1, size - sizeof(k), run->file) != size - sizeof(k))
		return DAG_EIO;
	run->key.text = item_key(run->buffer);
	run->key.prefix = key_prefix(&s->key, run->key.text);
	return 1;
}

/* Equal records keep the order of the runs, which is that of the input. */
static bool is_before(const struct sorter *s, const struct run *runs, uint32_t a, uint32_t b)
{
	int c = key_compare(&s->key, runs[a].key, runs[b].key);

	return c ? c < 0 : a < b;
}

static void sift(const struct sorter *s, const struct run *runs, uint32_t *heap, uint32_t n, uint32_t at)
{
	for (;;) {
		uint32_t least = at, left = 2 * at + 1, t;

		for (uint32_t child = left; child < n && child <= left + 1; child++)
			if (is_before(s, runs, heap[child], heap[least]))
				least = child;
		if (least == at)
			return;
		t = heap[at];
		heap[at] = heap[least];
		heap[least] = t;
		at = least;
	}
}

static int merge_runs(struct sorter *s, struct run *runs, uint32_t *heap)
{
	uint32_t n = 0;
	int r = 0;

	for (uint32_t i = 0; i < s->run_count; i++) {
		runs[i].file = s->runs[i];
		r = next_of_run(s, &runs[i]);
		if (r < 0)
			return dag_fail(s->v, "cannot read a sorted run: %m");
		if (r)
			heap[n++] = i;
	}
	for (uint32_t i = n; i-- > 0;)
		sift(s, runs, heap, n, i);
	while (n) {
		struct dag_record record = item_record(runs[heap[0]].buffer);

		r = std_pass(s->v, 0, &record);
		if (r < 0)
			return r;
		r = next_of_run(s, &runs[heap[0]]);
		if (r < 0)
			return dag_fail(s->v, "cannot read a sorted run: %m");
		if (!r)
			heap[0] = heap[--n];
		sift(s, runs, heap, n, 0);
	}
	return 0;
}

static int write_all(struct sorter *s)
{
	struct run *runs;
	uint32_t *heap;
	int r;

	if (!s->run_count) {
		r = sort_kept(s);
		for (size_t i = 0; i < s->count && r == 0; i++) {
			struct dag_record record = item_record(s->items[i].record);

			prefetch(s, i);
			r = std_pass(s->v, 0, &record);
		}
		return r;
	}
	r = spill(s);
	store_clear(&s->store);
	runs = calloc(s->run_count, sizeof(*runs));
	heap = calloc(s->run_count, sizeof(*heap));
	if (r == 0)
		r = runs && heap ? merge_runs(s, runs, heap) : dag_fail(s->v, "out of memory");
	for (uint32_t i = 0; runs && i < s->run_count; i++)
		free(runs[i].buffer);
	free(runs);
	free(heap);
	return r;
}

int sort(struct dag_vertex *v)
{
	struct sorter *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return dag_fail(v, "out of memory");
	s->v = v;
	s->key = key_spec_read(v);
	s->memory = std_number(v, "memory", MEMORY_DEFAULT);
	r = read_all(s);
	if (r == 0)
		r = write_all(s);
	for (uint32_t i = 0; i < s->run_count; i++)
		fclose(s->runs[i]);
	store_clear(&s->store);
	free(s->items);
	free(s);
	return r;
}
