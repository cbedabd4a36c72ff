/* SPDX-License-Identifier: Apache-2.0 */
/* The right side's records of a join, and the rows that it writes. */
#include "std.h"

uint32_t join_keep(struct joiner *j, const struct dag_record *r)
{
	char *copy;

	if (j->count == j->cap) {
		uint32_t cap = j->cap ? j->cap * 2 : 1024;
		struct right *rights = realloc(j->rights, cap * sizeof(*rights));

		if (!rights)
			return 0;
		j->rights = rights;
		j->cap = cap;
	}
	copy = store_copy(&j->store, r->data, r->len);
	if (!copy)
		return 0;
	j->rights[j->count] = (struct right){copy, r->len, 0};
	return ++j->count;
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

int join_write(struct joiner *j, struct span key, const struct dag_record *left, bool has, uint32_t first)
{
	int r = 0;

	if (j->kind >= JOIN_SEMI)
		return has == (j->kind == JOIN_SEMI)
			       ? dag_write_kv(j->v, 0, key.data, key.len, left->data, left->len)
			       : 0;
	if (!has)
		return j->kind == JOIN_LEFT ? write_pair(j, key, left, NULL, 0) : 0;
	for (uint32_t i = first; i && r >= 0; i = j->rights[i - 1].next)
		r = write_pair(j, key, left, j->rights[i - 1].data, j->rights[i - 1].len);
	return r;
}
