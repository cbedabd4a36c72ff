/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `parse` counts pages (port 0) and clients (port 1) of its lines; `sum` adds up what it is sent and keeps
 * the largest, since no other can be among the largest of all; `top` takes the largest of those.
 */
#include <dagrun/vertex.h>

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
	uint64_t count;
	char text[];
};

static int compare_text(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->text, ((const struct item *)b)->text);
}

/* A balanced tree by text (libc's tsearch). */
static int add(void **tree, const char *text, size_t len, uint64_t count)
{
	struct item *item = malloc(sizeof(*item) + len + 1), **found;

	if (!item)
		return -1;
	item->count = 0;
	memcpy(item->text, text, len);
	item->text[len] = 0;
	found = tsearch(item, tree, compare_text);
	if (!found)
		return -1;
	if (*found != item)
		free(item);
	(*found)->count += count;
	return 0;
}

struct walk {
	struct item **items;
	size_t count, cap;
};

static void collect(const void *node, VISIT which, void *arg)
{
	struct walk *w = arg;

	if (which != postorder && which != leaf)
		return;
	if (w->count == w->cap) {
		struct item **items =
			realloc(w->items, (w->cap = w->cap ? w->cap * 2 : 1024) * sizeof(*items));

		if (!items)
			abort();
		w->items = items;
	}
	w->items[w->count++] = *(struct item *const *)node;
}

/* Most frequent first; equally frequent ones by text. */
static int compare_count(const void *a, const void *b)
{
	const struct item *x = *(struct item *const *)a, *y = *(struct item *const *)b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return strcmp(x->text, y->text);
}

/* Writes the first `limit` of the tree (0: all) to a port, and frees it. */
static int write_tree(struct dag_vertex *v, uint32_t port, void *tree, size_t limit)
{
	struct walk w = {0};
	int r = 0;

	twalk_r(tree, collect, &w);
	if (limit)
		qsort(w.items, w.count, sizeof(*w.items), compare_count);
	for (size_t i = 0; i < w.count && (!limit || i < limit) && r == 0; i++) {
		char number[24];
		int n = snprintf(number, sizeof(number), "%llu", (unsigned long long)w.items[i]->count);

		r = dag_write_kv(v, port, w.items[i]->text, strlen(w.items[i]->text), number, (size_t)n);
	}
	tdestroy(tree, free);
	free(w.items);
	return r;
}

/* client ident user [time] "METHOD page PROTOCOL" status bytes */
static int parse_line(const char *line, size_t len, size_t *client_len, const char **page, size_t *page_len)
{
	const char *end = line + len, *space = memchr(line, ' ', len), *quote = memchr(line, '"', len), *stop;

	if (!space || !quote || space > quote)
		return 0;
	*client_len = (size_t)(space - line);
	*page = memchr(quote, ' ', (size_t)(end - quote));
	if (!*page)
		return 0;
	++*page;
	for (stop = *page; stop < end && *stop != ' ' && *stop != '"'; stop++)
		;
	*page_len = (size_t)(stop - *page);
	return 1;
}

static int parse(struct dag_vertex *v)
{
	void *pages = NULL, *clients = NULL;
	struct dag_record r;
	int n;

	while ((n = dag_read(v, 0, &r)) > 0) {
		const char *page;
		size_t client_len, page_len;

		if (!parse_line(r.data, r.len, &client_len, &page, &page_len)) {
			dag_count(v, "lines not understood", 1);
			continue;
		}
		if (add(&pages, page, page_len, 1) < 0 || add(&clients, r.data, client_len, 1) < 0)
			return dag_fail(v, "out of memory");
	}
	if (n == 0)
		n = write_tree(v, 0, pages, 0);
	return n < 0 ? n : write_tree(v, 1, clients, 0);
}

static int sum(struct dag_vertex *v)
{
	const char *top = dag_param(v, "top");
	void *tree = NULL;
	struct dag_record r;
	int n;

	while ((n = dag_read(v, 0, &r)) > 0) {
		char number[24] = {0};

		memcpy(number, r.data, r.len < 23 ? r.len : 23);
		if (add(&tree, r.key, r.key_len, strtoull(number, NULL, 10)) < 0)
			return dag_fail(v, "out of memory");
	}
	return n < 0 ? n : write_tree(v, 0, tree, top ? (size_t)atol(top) : 5);
}

static int top(struct dag_vertex *v)
{
	return sum(v);
}

DAG_PLUGIN(toppages,
	DAG_ENTRY(parse, DAG_IN(LINES), DAG_OUT(KV), DAG_OUT(KV),
		"log lines to (page, count), (client, count)"),
	DAG_ENTRY(sum, DAG_IN(KV), DAG_OUT(KV), "the largest sums of its part"),
	DAG_ENTRY(top, DAG_IN(KV), DAG_OUT(KV), "the largest of all"));
