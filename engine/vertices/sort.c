/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorting: records are copied into memory with eight bytes of their key beside each pointer, so that most
 * comparisons touch nothing else. Radix sort by the first of those that differ, merge sort by the rest; both
 * are stable. What is more than `memory` goes to the scratch folder as sorted runs, which are merged at the
 * end.
 */
#include "std.h"

#include <stdio.h>

#define MEMORY_DEFAULT (256u << 20)
#define AHEAD 16
#define RADIX_LEAST 2048
#define RADIX_PASSES 4
#define LEVELS_MAX 64 /* of bytes by eight, behind which keys are compared */
#define ONLY SIZE_MAX
#define INSERTION 12 /* shorter pieces are sorted by insertion */
#define RUNS_MAX 1024
#define RUN_BUFFER (256u << 10)

/* A record in memory: lengths, key, bytes. */
struct kept {
	uint32_t key_len, len; /* key_len: + 1; 0 for a record without one */
};

struct item {
	uint64_t prefix;
	const char *record; /* struct kept */
};

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

static struct dag_record record_at(const char *at)
{
	struct kept k;

	memcpy(&k, at, sizeof(k));
	at += sizeof(k);
	return (struct dag_record){.key = k.key_len ? at : NULL,
		.key_len = k.key_len ? k.key_len - 1 : 0,
		.data = at + (k.key_len ? k.key_len - 1 : 0),
		.len = k.len};
}

static struct span key_at(const struct sorter *s, const struct item *item)
{
	struct dag_record r = record_at(item->record);

	return key_of(&s->key, &r);
}

static struct span skip(struct span key, size_t n)
{
	n = n < key.len ? n : key.len;
	return (struct span){key.data + n, key.len - n};
}

/*
 * By the prefixes, and behind them by the rest of the keys, unless that is ONLY. They have the same first
 * `depth` bytes, or zeros where one has ended before, so lengths count as a whole.
 */
static int compare(const struct sorter *s, const struct item *a, const struct item *b, size_t depth)
{
	struct span x, y, rest, other;
	int c;

	if (a->prefix != b->prefix)
		return (a->prefix < b->prefix) != s->key.descending ? -1 : 1;
	if (s->key.number || depth == ONLY)
		return 0;
	x = key_at(s, a);
	y = key_at(s, b);
	rest = skip(x, depth + 8);
	other = skip(y, depth + 8);
	c = memcmp(rest.data, other.data, rest.len < other.len ? rest.len : other.len);
	if (!c)
		c = x.len < y.len ? -1 : x.len > y.len;
	return s->key.descending ? -c : c;
}

static void sort_items(const struct sorter *s, struct item *items, struct item *spare, size_t n, size_t depth)
{
	size_t half = n / 2, i, j, k;

	if (n <= INSERTION) {
		for (i = 1; i < n; i++) {
			struct item x = items[i];

			for (j = i; j && compare(s, &x, &items[j - 1], depth) < 0; j--)
				items[j] = items[j - 1];
			items[j] = x;
		}
		return;
	}
	sort_items(s, items, spare, half, depth);
	sort_items(s, items + half, spare, n - half, depth);
	if (compare(s, &items[half - 1], &items[half], depth) <= 0)
		return;
	memcpy(spare, items, half * sizeof(*items));
	for (i = 0, j = half, k = 0; i < half;)
		items[k++] = j < n && compare(s, &items[j], &spare[i], depth) < 0 ? items[j++] : spare[i++];
}

/* Stable, by `passes` bytes of the prefix from bit `low` on; an even number, so that all end where they were.
 */
static void radix_sort(
	const struct sorter *s, struct item *items, struct item *spare, size_t n, int low, int passes)
{
	uint64_t flip = s->key.descending ? UINT64_MAX : 0;
	size_t counts[RADIX_PASSES][256] = {0};

	for (size_t i = 0; i < n; i++)
		for (int b = 0; b < passes; b++)
			counts[b][(items[i].prefix ^ flip) >> (low + 8 * b) & 0xff]++;
	for (int b = 0; b < passes; b++) {
		size_t at = 0, *count = counts[b];
		struct item *t = spare;

		for (int v = 0; v < 256; v++) {
			size_t here = count[v];

			count[v] = at;
			at += here;
		}
		for (size_t i = 0; i < n; i++)
			spare[count[(items[i].prefix ^ flip) >> (low + 8 * b) & 0xff]++] = items[i];
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
	const struct sorter *s, struct item *items, struct item *spare, size_t n, size_t depth, int level);

/* Those whose keys are the same in their first depth + 8 bytes: by the next eight in which they differ. */
static void sort_rest(
	const struct sorter *s, struct item *items, struct item *spare, size_t n, size_t depth, int level)
{
	bool more;

	if (s->key.number)
		return;
	if (n <= INSERTION || level == LEVELS_MAX) {
		sort_items(s, items, spare, n, depth);
		return;
	}
	do {
		depth += 8;
		more = false;
		for (size_t i = 0; i < n; i++) {
			struct span key = key_at(s, &items[i]);

			__builtin_prefetch(items[i + AHEAD < n ? i + AHEAD : i].record + depth);
			items[i].prefix = key_prefix(&s->key, skip(key, depth));
			more = more || key.len > depth;
		}
	} while (more && !differing(items, n));
	if (more) {
		sort_span(s, items, spare, n, depth, level + 1);
		return;
	}
	/* They have ended: what is left are zeros, or nothing. */
	for (size_t i = 0; i < n; i++)
		items[i].prefix = key_at(s, &items[i]).len;
	sort_items(s, items, spare, n, ONLY);
}

/*
 * By the first bits in which the prefixes differ, more than it takes to tell as many records apart; the few
 * that have the same are sorted on, by the next bits or the next bytes.
 */
static void sort_span(
	const struct sorter *s, struct item *items, struct item *spare, size_t n, size_t depth, int level)
{
	int passes = n >> 16 ? RADIX_PASSES : 2, low = 0;
	uint64_t differ = differing(items, n);

	if (!differ) {
		sort_rest(s, items, spare, n, depth, level);
		return;
	}
	if (n < RADIX_LEAST) {
		sort_items(s, items, spare, n, ONLY);
	} else {
		low = 64 - __builtin_clzll(differ) - 8 * passes;
		low = low > 0 ? low : 0;
		radix_sort(s, items, spare, n, low, passes);
	}
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && !((items[end].prefix ^ items[i].prefix) >> low); end++)
			;
		if (end - i > 1)
			sort_span(s, items + i, spare, end - i, depth, level);
	}
}

static int sort_kept(struct sorter *s)
{
	struct item *spare = malloc((s->count + 1) * sizeof(*spare));

	if (!spare)
		return dag_fail(s->v, "out of memory");
	sort_span(s, s->items, spare, s->count, 0, 0);
	free(spare);
	return 0;
}

static bool keep(struct sorter *s, const struct dag_record *r)
{
	struct kept k = {r->key ? (uint32_t)r->key_len + 1 : 0, (uint32_t)r->len};
	struct span key = key_of(&s->key, r);
	char *at;

	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 4096;
		struct item *items = realloc(s->items, cap * sizeof(*items));

		if (!items)
			return false;
		s->items = items;
		s->cap = cap;
	}
	at = store_reserve(&s->store, (sizeof(k) + r->key_len + r->len + 7) & ~(size_t)7);
	if (!at)
		return false;
	s->items[s->count++] = (struct item){key_prefix(&s->key, key), at};
	memcpy(at, &k, sizeof(k));
	if (r->key_len)
		memcpy(at + sizeof(k), r->key, r->key_len);
	if (r->len)
		memcpy(at + sizeof(k) + (r->key ? r->key_len : 0), r->data, r->len);
	return true;
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

		memcpy(&k, s->items[i].record, sizeof(k));
		fwrite(s->items[i].record, 1, sizeof(k) + (k.key_len ? k.key_len - 1 : 0) + k.len, f);
	}
	if (fflush(f) || ferror(f))
		return dag_fail(s->v, "cannot write a sorted run: %m");
	rewind(f);
	s->count = 0;
	store_clear(&s->store);
	return 0;
}

static int read_all(struct sorter *s)
{
	struct dag_record batch[BATCH];
	int n, r;

	while ((n = dag_read_batch(s->v, 0, batch, BATCH)) > 0) {
		for (int i = 0; i < n; i++)
			if (!keep(s, &batch[i]))
				return dag_fail(s->v, "out of memory");
		if (s->store.bytes + s->cap * sizeof(*s->items) + s->count * sizeof(*s->items) > s->memory &&
			(r = spill(s)) < 0)
			return r;
	}
	return n;
}

/* ---- the runs ---- */

struct run {
	FILE *file;
	char *buffer;
	size_t cap;
	struct item head;
};

/* 1: the run's next record; 0: its end; negative: damage. */
static int next_of_run(const struct sorter *s, struct run *run)
{
	struct dag_record r;
	struct kept k;
	size_t len;

	if (fread(&k, 1, sizeof(k), run->file) != sizeof(k))
		return feof(run->file) && !ferror(run->file) ? 0 : DAG_EIO;
	len = (k.key_len ? k.key_len - 1 : 0) + (size_t)k.len;
	if (sizeof(k) + len > run->cap) {
		char *buffer = realloc(run->buffer, sizeof(k) + len * 2);

		if (!buffer)
			return DAG_ENOSPC;
		run->buffer = buffer;
		run->cap = sizeof(k) + len * 2;
	}
	memcpy(run->buffer, &k, sizeof(k));
	if (fread(run->buffer + sizeof(k), 1, len, run->file) != len)
		return DAG_EIO;
	r = record_at(run->buffer);
	run->head = (struct item){key_prefix(&s->key, key_of(&s->key, &r)), run->buffer};
	return 1;
}

/* Equal records keep the order of the runs, which is that of the input. */
static bool is_before(const struct sorter *s, const struct run *runs, uint32_t a, uint32_t b)
{
	int c = compare(s, &runs[a].head, &runs[b].head, 0);

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
		struct dag_record record = record_at(runs[heap[0]].head.record);

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
			const char *ahead = s->items[i + AHEAD < s->count ? i + AHEAD : i].record;
			struct dag_record record;

			/* They lie anywhere: the next ones are on their way while this one is written. */
			__builtin_prefetch(ahead);
			__builtin_prefetch(ahead + 64);
			record = record_at(s->items[i].record);
			r = std_pass(s->v, 0, &record);
		}
		return r;
	}
	r = spill(s);
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
