/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Word count as one would write it in an afternoon: one thread, getline, a chained hash table, a sort. The
 * same words and the same output as graphs/wordcount.
 *
 * usage: wc_plain FILE >words.tsv
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct word {
	struct word *next;
	uint64_t count;
	size_t len;
	char text[];
};

#define BUCKETS (1u << 20)

static struct word **buckets;
static size_t words;

static void add(const char *text, size_t len)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */
	struct word *w;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
	for (w = buckets[hash % BUCKETS]; w; w = w->next)
		if (w->len == len && !memcmp(w->text, text, len)) {
			w->count++;
			return;
		}
	w = malloc(sizeof(*w) + len + 1);
	if (!w)
		abort();
	w->count = 1;
	w->len = len;
	memcpy(w->text, text, len);
	w->text[len] = 0;
	w->next = buckets[hash % BUCKETS];
	buckets[hash % BUCKETS] = w;
	words++;
}

static int compare(const void *a, const void *b)
{
	const struct word *x = *(struct word *const *)a, *y = *(struct word *const *)b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return strcmp(x->text, y->text);
}

int main(int argc, char **argv)
{
	FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
	struct word **all;
	char *line = NULL, word[256];
	size_t cap = 0, n = 0;
	ssize_t len;

	buckets = calloc(BUCKETS, sizeof(*buckets));
	if (!f || !buckets)
		return 2;
	while ((len = getline(&line, &cap, f)) > 0) {
		size_t at = 0;

		for (ssize_t i = 0; i <= len; i++) {
			unsigned char c = i < len ? (unsigned char)line[i] : 0;

			if (c >= 'A' && c <= 'Z')
				c = (unsigned char)(c + 32);
			if (((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80) &&
				at < sizeof(word)) {
				word[at++] = (char)c;
				continue;
			}
			if (at)
				add(word, at);
			at = 0;
		}
	}
	all = malloc((words + 1) * sizeof(*all));
	for (size_t b = 0; all && b < BUCKETS; b++)
		for (struct word *w = buckets[b]; w; w = w->next)
			all[n++] = w;
	qsort(all, n, sizeof(*all), compare);
	for (size_t i = 0; i < n; i++)
		printf("%s\t%llu\n", all[i]->text, (unsigned long long)all[i]->count);
	return 0;
}
