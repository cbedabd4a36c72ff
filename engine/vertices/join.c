/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins. By hash: the right side is read first and held in memory, the left side goes by it in its own order.
 */
#include "std.h"

/* table: key → u.first, aux: the chain's last */
static bool hash_right(struct joiner *j, struct table *table, const struct dag_record *r, struct span key)
{
	bool is_new;
	struct table_entry *e = table_at(table, key, hash_of(key), &is_new);
	uint32_t number;

	if (!e || j->kind >= JOIN_SEMI)
		return e != NULL;
	number = join_keep(j, r);
	if (is_new)
		e->u.first = number;
	else if (number)
		j->rights[e->aux - 1].next = number;
	e->aux = number;
	return number != 0;
}

static int join_hash(struct joiner *j, struct table *table)
{
	struct dag_record batch[BATCH];
	struct span key;
	int n, r = 0;

	while ((n = dag_read_batch(j->v, 1, batch, BATCH)) > 0)
		for (int i = 0; i < n; i++) {
			r = key_read_name(&j->right_key, &batch[i], &j->namer, &key);
			if (r < 0)
				return r;
			if (r && !hash_right(j, table, &batch[i], key))
				return dag_fail(j->v, "out of memory");
		}
	if (n < 0)
		return n;
	while (r >= 0 && (n = dag_read_batch(j->v, 0, batch, BATCH)) > 0)
		for (int i = 0; i < n && r >= 0; i++) {
			const struct table_entry *e;

			r = key_read_name(&j->left_key, &batch[i], &j->namer, &key);
			if (r <= 0)
				continue;
			e = table_find(table, key);
			r = join_write(j, key, &batch[i], e != NULL, e ? e->u.first : 0);
		}
	return r < 0 ? r : n;
}

int join(struct dag_vertex *v)
{
	struct joiner j = {.v = v, .left_key = key_spec_read(v)};
	struct table table = {0};
	int r;

	j.right_key = j.left_key;
	j.right_key.field = (uint32_t)std_number(v, "right", j.left_key.field);
	j.kind = std_is(v, "kind", "left")   ? JOIN_LEFT
		 : std_is(v, "kind", "semi") ? JOIN_SEMI
		 : std_is(v, "kind", "anti") ? JOIN_ANTI
					     : JOIN_INNER;
	r = std_is(v, "method", "merge") ? join_merge(&j) : join_hash(&j, &table);
	table_fini(&table);
	store_clear(&j.store);
	free(j.rights);
	free(j.line);
	free(j.namer.text);
	return r;
}
