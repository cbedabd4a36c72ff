/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three entries: `candidate` names the most frequent word of its part, `tally` counts all candidates in its
 * part, and `decide` adds the tallies up. Of words that are equally frequent the bytewise smallest counts.
 */
#include <dagrun/vertex.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct word {
	char *text;
	uint64_t count;
};

/* Sorted by text; small enough for the vocabulary of a part. */
struct words {
	struct word *items;
	size_t count, cap;
};

static size_t find(const struct words *w, const char *text)
{
	size_t low = 0, high = w->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (strcmp(w->items[mid].text, text) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int add(struct words *w, const char *text, uint64_t count, int only_known)
{
	size_t at = find(w, text);

	if (at < w->count && !strcmp(w->items[at].text, text)) {
		w->items[at].count += count;
		return 0;
	}
	if (only_known)
		return 0;
	if (w->count == w->cap) {
		struct word *items = realloc(w->items, (w->cap = w->cap ? w->cap * 2 : 64) * sizeof(*items));

		if (!items)
			return -1;
		w->items = items;
	}
	memmove(w->items + at + 1, w->items + at, (w->count++ - at) * sizeof(*w->items));
	w->items[at].text = strdup(text);
	w->items[at].count = count;
	return w->items[at].text ? 0 : -1;
}

static const struct word *best(const struct words *w)
{
	const struct word *top = NULL;

	for (size_t i = 0; i < w->count; i++)
		if (!top || w->items[i].count > top->count)
			top = &w->items[i];
	return top;
}

/* Adds every word of port 0 to w; with only_known those alone that it has. */
static int read_words(struct dag_vertex *v, struct words *w, int only_known)
{
	struct dag_record r;
	int n;

	while ((n = dag_read(v, 0, &r)) > 0) {
		char *line = strndup(r.data, r.len), *rest = line, *text;

		while (line && (text = strtok_r(rest, " \t\r", &rest)))
			if (add(w, text, 1, only_known) < 0)
				return dag_fail(v, "out of memory");
		free(line);
	}
	return n;
}

static void free_words(struct words *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->items[i].text);
	free(w->items);
}

static int candidate(struct dag_vertex *v)
{
	struct words w = {0};
	int r = read_words(v, &w, 0);

	if (r == 0 && w.count)
		r = dag_write(v, 0, best(&w)->text, strlen(best(&w)->text));
	free_words(&w);
	return r;
}

static int tally(struct dag_vertex *v)
{
	struct words w = {0};
	struct dag_record record;
	int r;

	while ((r = dag_read(v, 1, &record)) > 0) {
		char *text = strndup(record.data, record.len);

		if (!text || add(&w, text, 0, 0) < 0)
			return dag_fail(v, "out of memory");
		free(text);
	}
	if (r == 0)
		r = read_words(v, &w, 1);
	for (size_t i = 0; i < w.count && r == 0; i++) {
		char number[24];
		int n = snprintf(number, sizeof(number), "%llu", (unsigned long long)w.items[i].count);

		r = dag_write_kv(v, 0, w.items[i].text, strlen(w.items[i].text), number, (size_t)n);
	}
	free_words(&w);
	return r;
}

static int decide(struct dag_vertex *v)
{
	struct words w = {0};
	struct dag_record record;
	int r;

	while ((r = dag_read(v, 0, &record)) > 0) {
		char *text = strndup(record.key, record.key_len), *count = strndup(record.data, record.len);

		if (!text || !count || add(&w, text, strtoull(count, NULL, 10), 0) < 0)
			return dag_fail(v, "out of memory");
		free(text);
		free(count);
	}
	if (r == 0 && w.count) {
		char line[512];
		int n = snprintf(line, sizeof(line), "(%s, %llu)", best(&w)->text,
			(unsigned long long)best(&w)->count);

		r = dag_write(v, 0, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
	}
	free_words(&w);
	return r;
}

DAG_PLUGIN(mostfrequent,
	DAG_ENTRY(candidate, DAG_IN(LINES), DAG_OUT(LINES), "the most frequent word of a part"),
	DAG_ENTRY(tally, DAG_IN(LINES), DAG_IN(LINES), DAG_OUT(KV),
		"how often each candidate (port 1) is in the part (port 0)"),
	DAG_ENTRY(decide, DAG_IN(KV), DAG_OUT(LINES), "(word, count) of the largest sum"));
