/* SPDX-License-Identifier: Apache-2.0 */
/* By key: the first record of each, their number, the sum of a number in them. Keys come out as they first
 * came in. */
#include "std.h"

#include <math.h>
#include <stdio.h>

typedef int each_fn(
	struct dag_vertex *v, struct table_entry *e, bool is_new, const struct dag_record *r, void *ctx);

/* Calls `each` for every record of port 0 with the entry of its key. */
static int group(struct dag_vertex *v, struct table *t, each_fn *each, void *ctx)
{
	struct key_spec k = key_spec_read(v);
	struct dag_record batch[BATCH];
	int n, r = 0;

	while (r >= 0 && (n = dag_read_batch(v, 0, batch, BATCH)) != 0) {
		if (n < 0)
			return n;
		for (int i = 0; i < n && r >= 0; i++) {
			bool is_new;
			struct table_entry *e = table_at(t, key_of(&k, &batch[i]), &is_new);

			r = e ? each(v, e, is_new, &batch[i], ctx) : dag_fail(v, "out of memory");
		}
	}
	return r;
}

static int pass_first(
	struct dag_vertex *v, struct table_entry *e, bool is_new, const struct dag_record *r, void *ctx)
{
	(void)e;
	(void)ctx;
	return is_new ? std_pass(v, 0, r) : 0;
}

int distinct(struct dag_vertex *v)
{
	struct table t = {0};
	int r = group(v, &t, pass_first, NULL);

	table_fini(&t);
	return r;
}

static int add_one(
	struct dag_vertex *v, struct table_entry *e, bool is_new, const struct dag_record *r, void *ctx)
{
	(void)v;
	(void)is_new;
	(void)r;
	(void)ctx;
	e->u.count++;
	return 0;
}

int count(struct dag_vertex *v)
{
	struct table t = {0};
	int r = group(v, &t, add_one, NULL);

	for (uint32_t i = 0; i < t.entry_count && r >= 0; i++) {
		char text[32];
		int len = snprintf(text, sizeof(text), "%lld", (long long)t.entries[i].u.count);

		r = dag_write_kv(v, 0, t.entries[i].key.data, t.entries[i].key.len, text, (size_t)len);
	}
	table_fini(&t);
	return r;
}

struct addend {
	uint32_t field;
	char delimiter;
};

static int add_value(
	struct dag_vertex *v, struct table_entry *e, bool is_new, const struct dag_record *r, void *ctx)
{
	const struct addend *a = ctx;

	(void)v;
	(void)is_new;
	e->u.sum += key_number(a->field ? key_field(r->data, r->len, a->field, a->delimiter)
					: (struct span){r->data, r->len});
	return 0;
}

int sum(struct dag_vertex *v)
{
	struct addend a = {(uint32_t)std_number(v, "value", 0), key_spec_read(v).delimiter};
	struct table t = {0};
	int r = group(v, &t, add_value, &a);

	for (uint32_t i = 0; i < t.entry_count && r >= 0; i++) {
		double x = t.entries[i].u.sum;
		char text[64];
		int len = fabs(x) < 9e15 && x == floor(x) ? snprintf(text, sizeof(text), "%.0f", x + 0.0)
							  : snprintf(text, sizeof(text), "%.15g", x);

		r = dag_write_kv(v, 0, t.entries[i].key.data, t.entries[i].key.len, text, (size_t)len);
	}
	table_fini(&t);
	return r;
}
