/* SPDX-License-Identifier: Apache-2.0 */
/* Hash join: the right side is read first and held in memory, the left side goes by it in its own order. */
#include "std.h"

enum kind { INNER, LEFT, SEMI, ANTI };

/* A record of the right side; those of one key are chained in their order. */
struct right {
	const char *data;
	size_t len;
	uint32_t next; /* + 1 */
};

struct joiner {
	struct dag_vertex *v;
	struct key_spec left_key, right_key;
	enum kind kind;
	struct table table; /* key → u.first, aux: the chain's last */
	struct store store;
	struct right *rights;
	uint32_t count, cap;
	char *line;
	size_t line_cap;
};

static bool keep_right(struct joiner *j, const struct dag_record *r)
{
	bool is_new;
	struct table_entry *e = table_at(&j->table, key_of(&j->right_key, r), &is_new);
	char *copy;

	if (!e || j->kind >= SEMI)
		return e != NULL;
	if (j->count == j->cap) {
		uint32_t cap = j->cap ? j->cap * 2 : 1024;
		struct right *rights = realloc(j->rights, cap * sizeof(*rights));

		if (!rights)
			return false;
		j->rights = rights;
		j->cap = cap;
	}
	copy = store_copy(&j->store, r->data, r->len);
	if (!copy)
		return false;
	j->rights[j->count++] = (struct right){copy, r->len, 0};
	if (is_new)
		e->u.first = j->count;
	else
		j->rights[e->aux - 1].next = j->count;
	e->aux = j->count;
	return true;
}

static int write_pair(
	struct joiner *j, struct span key, const struct dag_record *left, const char *right, size_t len)
{
	size_t need = left->len + 1 + len;

	if (need > j->line_cap) {
		char *line = realloc(j->line, need * 2);

		if (!line)
			return dag_fail(j->v, "out of memory");
		j->line = line;
		j->line_cap = need * 2;
	}
	if (left->len)
		memcpy(j->line, left->data, left->len);
	j->line[left->len] = '\t';
	if (len)
		memcpy(j->line + left->len + 1, right, len);
	return dag_write_kv(j->v, 0, key.data, key.len, j->line, need);
}

static int join_left(struct joiner *j, const struct dag_record *left)
{
	struct span key = key_of(&j->left_key, left);
	const struct table_entry *e = table_find(&j->table, key);
	int r = 0;

	if (j->kind >= SEMI)
		return (e != NULL) == (j->kind == SEMI)
			       ? dag_write_kv(j->v, 0, key.data, key.len, left->data, left->len)
			       : 0;
	if (!e)
		return j->kind == LEFT ? write_pair(j, key, left, NULL, 0) : 0;
	for (uint32_t i = e->u.first; i && r >= 0; i = j->rights[i - 1].next)
		r = write_pair(j, key, left, j->rights[i - 1].data, j->rights[i - 1].len);
	return r;
}

static int run(struct joiner *j)
{
	struct dag_record batch[BATCH];
	int n, r = 0;

	while ((n = dag_read_batch(j->v, 1, batch, BATCH)) > 0)
		for (int i = 0; i < n; i++)
			if (!keep_right(j, &batch[i]))
				return dag_fail(j->v, "out of memory");
	if (n < 0)
		return n;
	while (r >= 0 && (n = dag_read_batch(j->v, 0, batch, BATCH)) > 0)
		for (int i = 0; i < n && r >= 0; i++)
			r = join_left(j, &batch[i]);
	return r < 0 ? r : n;
}

int join(struct dag_vertex *v)
{
	struct joiner j = {.v = v, .left_key = key_spec_read(v)};
	uint32_t right = (uint32_t)std_number(v, "right", 0);
	int r;

	j.right_key = j.left_key;
	if (right)
		j.right_key.field = right;
	j.kind = std_is(v, "kind", "left")   ? LEFT
		 : std_is(v, "kind", "semi") ? SEMI
		 : std_is(v, "kind", "anti") ? ANTI
					     : INNER;
	r = run(&j);
	table_fini(&j.table);
	store_clear(&j.store);
	free(j.rights);
	free(j.line);
	return r;
}
