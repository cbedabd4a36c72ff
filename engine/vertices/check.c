/* SPDX-License-Identifier: Apache-2.0 */
/* What can be said of records without keeping them: their sum, and whether they are in order. */
#include "std.h"

#include <stdio.h>

struct tally {
	uint64_t records, bytes, sum, unordered, repeated;
};

/* The hashes are added, so that the sum does not depend on the records' order, but on how often each comes.
 */
static void add(struct tally *t, const struct dag_record *r)
{
	uint64_t hash = hash_of((struct span){r->data, r->len});

	if (r->key)
		hash = hash * 31 + hash_of((struct span){r->key, r->key_len});
	t->sum += hash;
	t->records++;
	t->bytes += r->len + r->key_len;
}

static int write_number(struct dag_vertex *v, const char *name, const char *format, uint64_t n)
{
	char text[32];

	return dag_write_kv(v, 0, name, strlen(name), text, (size_t)snprintf(text, sizeof(text), format, n));
}

static int write_tally(struct dag_vertex *v, const struct tally *t)
{
	int r = write_number(v, "records", "%lu", t->records);

	if (r >= 0)
		r = write_number(v, "bytes", "%lu", t->bytes);
	if (r >= 0)
		r = write_number(v, "sum", "%016lx", t->sum);
	if (r >= 0)
		r = write_number(v, "unordered", "%lu", t->unordered);
	return r < 0 ? r : write_number(v, "repeated", "%lu", t->repeated);
}

int check(struct dag_vertex *v)
{
	struct key_spec k = key_spec_read(v);
	struct kept_key last = {0};
	struct tally t = {0};
	struct dag_record r;
	int n;

	while ((n = dag_read(v, 0, &r)) > 0) {
		struct key key;
		int c;

		n = key_read(&k, &r, &key);
		if (n < 0)
			break;
		if (!n)
			continue;
		c = t.records ? key_compare(&k, last.key, key) : -1;

		t.unordered += c > 0;
		t.repeated += c == 0;
		add(&t, &r);
		if (!key_keep(&last, key)) {
			n = dag_fail(v, "out of memory");
			break;
		}
	}
	free(last.room);
	return n < 0 ? n : write_tally(v, &t);
}
