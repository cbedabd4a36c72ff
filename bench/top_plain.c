/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ten pages of an access log that were asked for most, as one would write it in an afternoon: getline,
 * the seventh field, a chained hash table; one thread, or some that each have a part of the file and a table.
 *
 * usage: top_plain FILE [THREADS]
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS (1u << 18)
#define THREADS_MAX 64
#define FIELD 7
#define TOP 10

struct page {
	struct page *next;
	uint64_t count;
	size_t len;
	char name[];
};

struct part {
	pthread_t thread;
	const char *path;
	long from, to; /* lines that begin in here */
	struct page **buckets;
	size_t pages;
};

static void add(struct part *p, const char *name, size_t len, uint64_t count)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */
	struct page *x;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)name[i]) * 1099511628211u;
	for (x = p->buckets[hash % BUCKETS]; x; x = x->next)
		if (x->len == len && !memcmp(x->name, name, len)) {
			x->count += count;
			return;
		}
	x = malloc(sizeof(*x) + len + 1);
	if (!x)
		abort();
	x->count = count;
	x->len = len;
	memcpy(x->name, name, len);
	x->name[len] = 0;
	x->next = p->buckets[hash % BUCKETS];
	p->buckets[hash % BUCKETS] = x;
	p->pages++;
}

static void *count(void *arg)
{
	struct part *p = arg;
	FILE *f = fopen(p->path, "r");
	long position = p->from;
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;

	p->buckets = calloc(BUCKETS, sizeof(*p->buckets));
	if (!f || !p->buckets)
		exit(2);
	/* The line that the part begins in belongs to the one before. */
	if (p->from) {
		fseek(f, p->from - 1, SEEK_SET);
		position += getline(&line, &cap, f) - 1;
	}
	while (position < p->to && (len = getline(&line, &cap, f)) > 0) {
		char *at = line;
		size_t n = 0;

		position += len;
		for (int field = 1; field < FIELD && at; field++) {
			at = strchr(at, ' ');
			at = at ? at + 1 : NULL;
		}
		if (at)
			n = strcspn(at, " \n");
		if (n)
			add(p, at, n, 1);
	}
	free(line);
	fclose(f);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const struct page *x = *(struct page *const *)a, *y = *(struct page *const *)b;

	return x->count == y->count ? strcmp(x->name, y->name) : x->count > y->count ? -1 : 1;
}

int main(int argc, char **argv)
{
	int threads = argc > 2 ? atoi(argv[2]) : 1;
	struct part parts[THREADS_MAX] = {0}, *all = &parts[0];
	FILE *f = argc > 1 ? fopen(argv[1], "r") : NULL;
	struct page **sorted;
	size_t n = 0;
	long size;

	if (!f || threads < 1 || threads > THREADS_MAX)
		return 2;
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	fclose(f);
	for (int i = 0; i < threads; i++) {
		parts[i].path = argv[1];
		parts[i].from = size / threads * i;
		parts[i].to = i + 1 < threads ? size / threads * (i + 1) : size;
		if (pthread_create(&parts[i].thread, NULL, count, &parts[i]))
			return 2;
	}
	for (int i = 0; i < threads; i++)
		pthread_join(parts[i].thread, NULL);
	for (int i = 1; i < threads; i++)
		for (size_t b = 0; b < BUCKETS; b++)
			for (struct page *x = parts[i].buckets[b]; x; x = x->next)
				add(all, x->name, x->len, x->count);
	sorted = malloc((all->pages + 1) * sizeof(*sorted));
	for (size_t b = 0; sorted && b < BUCKETS; b++)
		for (struct page *x = all->buckets[b]; x; x = x->next)
			sorted[n++] = x;
	qsort(sorted, n, sizeof(*sorted), compare);
	for (size_t i = 0; i < n && i < TOP; i++)
		printf("%s\t%llu\n", sorted[i]->name, (unsigned long long)sorted[i]->count);
	return 0;
}
