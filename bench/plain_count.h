/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_PLAIN_COUNT_H
#define BENCH_PLAIN_COUNT_H
/*
 * Counting words of a file as one would write it in an afternoon: getline, a chained hash table, a sort; one
 * thread, or some that each have a part of the file and a table. What is a word of a line, the program says.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS (1u << 20)
#define THREADS_MAX 64

struct word {
	struct word *next;
	uint64_t count;
	size_t len;
	char text[];
};

struct table {
	struct word **buckets;
	size_t words;
};

struct part {
	pthread_t thread;
	const char *path;
	long from, to; /* lines that begin in here */
	struct table table;
};

/* Adds the words of a line. */
static void count_line(struct table *t, const char *line, size_t len);

static void add(struct table *t, const char *text, size_t len, uint64_t count)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */
	struct word *w;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
	for (w = t->buckets[hash % BUCKETS]; w; w = w->next)
		if (w->len == len && !memcmp(w->text, text, len)) {
			w->count += count;
			return;
		}
	w = malloc(sizeof(*w) + len + 1);
	if (!w)
		abort();
	w->count = count;
	w->len = len;
	memcpy(w->text, text, len);
	w->text[len] = 0;
	w->next = t->buckets[hash % BUCKETS];
	t->buckets[hash % BUCKETS] = w;
	t->words++;
}

static void *count(void *arg)
{
	struct part *p = arg;
	FILE *f = fopen(p->path, "r");
	long position = p->from;
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;

	p->table.buckets = calloc(BUCKETS, sizeof(*p->table.buckets));
	if (!f || !p->table.buckets)
		exit(2);
	/* The line that the part begins in belongs to the one before. */
	if (p->from) {
		fseek(f, p->from - 1, SEEK_SET);
		position += getline(&line, &cap, f) - 1;
	}
	while (position < p->to && (len = getline(&line, &cap, f)) > 0) {
		position += len;
		count_line(&p->table, line, (size_t)len);
	}
	free(line);
	fclose(f);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const struct word *x = *(struct word *const *)a, *y = *(struct word *const *)b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return strcmp(x->text, y->text);
}

/* Prints the `most` words that are most frequent, each with its count. The exit code. */
static int print_counts(const char *path, int threads, size_t most)
{
	struct part parts[THREADS_MAX] = {0};
	struct table *t = &parts[0].table;
	FILE *f = path ? fopen(path, "r") : NULL;
	struct word **all;
	size_t n = 0;
	long size;

	if (!f || threads < 1 || threads > THREADS_MAX)
		return 2;
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	fclose(f);
	for (int i = 0; i < threads; i++) {
		parts[i].path = path;
		parts[i].from = size / threads * i;
		parts[i].to = i + 1 < threads ? size / threads * (i + 1) : size;
		if (pthread_create(&parts[i].thread, NULL, count, &parts[i]))
			return 2;
	}
	for (int i = 0; i < threads; i++)
		pthread_join(parts[i].thread, NULL);
	for (int i = 1; i < threads; i++)
		for (size_t b = 0; b < BUCKETS; b++)
			for (struct word *w = parts[i].table.buckets[b]; w; w = w->next)
				add(t, w->text, w->len, w->count);
	all = malloc((t->words + 1) * sizeof(*all));
	for (size_t b = 0; all && b < BUCKETS; b++)
		for (struct word *w = t->buckets[b]; w; w = w->next)
			all[n++] = w;
	qsort(all, n, sizeof(*all), compare);
	for (size_t i = 0; i < n && i < most; i++)
		printf("%s\t%llu\n", all[i]->text, (unsigned long long)all[i]->count);
	return 0;
}

#endif
