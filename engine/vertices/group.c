/* SPDX-License-Identifier: Apache-2.0 */
/* By key: the first record of each, their number, the sum of a number in them. Keys come out as they first
 * came in. */
#include "number.h"
#include "std.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

/* Before the record's key is looked for: 1; 0: the record is skipped; or an error. */
typedef int take_fn(struct dag_vertex *v, const struct dag_record *r, void *ctx);
typedef int each_fn(
	struct dag_vertex *v, struct table_entry *e, bool is_new, const struct dag_record *r, void *ctx);

#define AHEAD 32 /* records whose entries are fetched together */

struct ahead {
	struct span names[AHEAD];
	uint64_t hashes[AHEAD];
};

/* The names of texts lie in the records; those of numbers are made one by one. */
static void look_ahead(
	const struct key_spec *k, const struct table *t, const struct dag_record *r, int n, struct ahead *a)
{
	for (int i = 0; i < n; i++) {
		a->names[i] = key_of(k, &r[i]);
		a->hashes[i] = hash_of(a->names[i]);
	}
	table_fetch(t, a->hashes, (size_t)n);
}

struct grouping {
	const struct key_spec *k;
	struct table *t;
	take_fn *take;
	each_fn *each;
	void *ctx;
	struct namer namer;
};

/* name: NULL where it is still to be made, and hashed. */
static int group_one(struct grouping *g, const struct dag_record *r, const struct span *name, uint64_t hash)
{
	struct dag_vertex *v = g->k->v;
	int ok = g->take ? g->take(v, r, g->ctx) : 1;
	struct table_entry *e;
	struct span made;
	bool is_new;

	if (ok > 0 && !name) {
		ok = key_read_name(g->k, r, &g->namer, &made);
		if (ok > 0)
			hash = hash_of(made);
	}
	if (ok <= 0)
		return ok;
	e = table_at(g->t, name ? *name : made, hash, &is_new);
	return e ? g->each(v, e, is_new, r, g->ctx) : dag_fail(v, "out of memory");
}

/* Calls `each` for every record of port 0 with the entry of its key, unless `take` skips it. */
static int group(const struct key_spec *k, struct table *t, take_fn *take, each_fn *each, void *ctx)
{
	struct grouping g = {k, t, take, each, ctx, {0}};
	struct dag_record batch[BATCH];
	struct ahead a;
	int n = 0, r = 0;

	while (r >= 0 && (n = dag_read_batch(k->v, 0, batch, BATCH)) > 0)
		for (int i = 0; i < n && r >= 0; i++) {
			bool text = k->type == KEY_TEXT;

			if (text && i % AHEAD == 0)
				look_ahead(k, t, batch + i, n - i < AHEAD ? n - i : AHEAD, &a);
			r = text ? group_one(&g, &batch[i], &a.names[i % AHEAD], a.hashes[i % AHEAD])
				 : group_one(&g, &batch[i], NULL, 0);
		}
	free(g.namer.text);
	return r < 0 ? r : n;
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
	struct key_spec k = key_spec_read(v);
	struct table t = {0};
	int r = group(&k, &t, NULL, pass_first, NULL);

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
	struct key_spec k = key_spec_read(v);
	struct table t = {0};
	int r = group(&k, &t, NULL, add_one, NULL);

	for (uint32_t i = 0; i < t.entry_count && r >= 0; i++) {
		char text[32];
		int len = snprintf(text, sizeof(text), "%lld", (long long)t.entries[i].u.count);

		r = dag_write_kv(v, 0, t.entries[i].key.data, t.entries[i].key.len, text, (size_t)len);
	}
	table_fini(&t);
	return r;
}

/* ---- sums ---- */

struct addend {
	enum key_type type; /* of what is added */
	enum key_invalid invalid;
	uint32_t field;
	char delimiter;
	/* what the record at hand adds */
	struct number number;
	long double general;
};

/* 1; 0: the record is skipped; or an error. */
static int take_value(struct dag_vertex *v, const struct dag_record *r, void *ctx)
{
	struct addend *a = ctx;
	struct span text = a->field ? key_field(r->data, r->len, a->field, a->delimiter)
				    : (struct span){r->data, r->len};
	bool ok = a->type == KEY_GENERAL ? general_parse(text.data, text.len, &a->general)
					 : number_parse(text.data, text.len, &a->number);

	return ok ? 1 : key_refuse(v, a->invalid, a->type, r, "value", a->field, text);
}

static int add_value(
	struct dag_vertex *v, struct table_entry *e, bool is_new, const struct dag_record *r, void *ctx)
{
	const struct addend *a = ctx;
	struct total total;

	(void)is_new;
	(void)r;
	if (a->type == KEY_GENERAL) {
		if (!e->u.general && !(e->u.general = calloc(1, sizeof(*e->u.general))))
			return dag_fail(v, "out of memory");
		*e->u.general += a->general;
		return 0;
	}
	total = (struct total){.u.small = e->u.count, .scale = e->aux};
	if (e->aux == TOTAL_IS_WIDE)
		total.u.wide = e->u.wide;
	if (!total_add(&total, &a->number))
		return dag_fail(v, "out of memory");
	e->aux = total.scale;
	if (total.scale == TOTAL_IS_WIDE)
		e->u.wide = total.u.wide;
	else
		e->u.count = total.u.small;
	return 0;
}

/* A whole number stands in all its digits where it is exact: below 2^64. */
static int write_general(struct dag_vertex *v, const struct table_entry *e)
{
	char text[GENERAL_TEXT_LEN];
	long double x = *e->u.general + 0.0L;
	bool exact = fabsl(x) < 0x1p64L && x == truncl(x);
	int len = isnan(x) ? snprintf(text, sizeof(text), "nan")
			   : snprintf(text, sizeof(text), exact ? "%.*Lf" : "%.*Lg", exact ? 0 : LDBL_DIG, x);

	return dag_write_kv(v, 0, e->key.data, e->key.len, text, (size_t)len);
}

static int write_total(struct dag_vertex *v, const struct table_entry *e)
{
	struct total total = {.u.small = e->u.count, .scale = e->aux};
	char *text;
	int r;

	if (e->aux == TOTAL_IS_WIDE)
		total.u.wide = e->u.wide;
	text = total_text(&total);
	r = text ? dag_write_kv(v, 0, e->key.data, e->key.len, text, strlen(text))
		 : dag_fail(v, "out of memory");
	free(text);
	return r;
}

int sum(struct dag_vertex *v)
{
	struct key_spec k = key_spec_read(v);
	struct addend a = {.type = key_type_read(v, KEY_NUMBER),
		.invalid = k.invalid,
		.field = (uint32_t)std_number(v, "value", 0),
		.delimiter = k.delimiter};
	struct table t = {0};
	int r;

	k.type = KEY_TEXT;
	r = group(&k, &t, take_value, add_value, &a);
	for (uint32_t i = 0; i < t.entry_count; i++) {
		const struct table_entry *e = &t.entries[i];

		if (r >= 0)
			r = a.type == KEY_GENERAL ? write_general(v, e) : write_total(v, e);
		if (a.type == KEY_GENERAL)
			free(e->u.general);
		else if (e->aux == TOTAL_IS_WIDE)
			free(e->u.wide);
	}
	table_fini(&t);
	return r;
}
