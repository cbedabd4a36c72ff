/* SPDX-License-Identifier: Apache-2.0 */
/* Merge join: both sides go by in the order of their keys; of the right one, the records of one key are held.
 */
#include "std.h"

struct side {
	struct merger m;
	const struct keyed *at; /* NULL: at its end */
	char *last;             /* key of the record before */
	size_t last_len, last_cap;
	uint64_t records;
};

static int compare(const struct key_spec *k, struct span a, struct span b)
{
	return key_compare(k, (struct key){a, key_prefix(k, a)}, (struct key){b, key_prefix(k, b)});
}

static bool remember(struct side *s)
{
	if (s->at->key.text.len > s->last_cap) {
		char *last = realloc(s->last, s->at->key.text.len * 2);

		if (!last)
			return false;
		s->last = last;
		s->last_cap = s->at->key.text.len * 2;
	}
	if (s->at->key.text.len)
		memcpy(s->last, s->at->key.text.data, s->at->key.text.len);
	s->last_len = s->at->key.text.len;
	return true;
}

static int step(struct side *s)
{
	int n;

	if (s->at && !remember(s))
		return dag_fail(s->m.v, "out of memory");
	n = merger_next(&s->m, &s->at);
	if (n <= 0)
		s->at = NULL;
	else if (s->records++ && compare(&s->m.key, (struct span){s->last, s->last_len}, s->at->key.text) > 0)
		return dag_fail(s->m.v,
			"the %s side of the join is not sorted by its key: record %llu comes before the one "
			"that it follows; sort it first, or use method: hash",
			s->m.port ? "right" : "left", (unsigned long long)s->records);
	return n;
}

/* Holds the right side's records of the left side's key, and passes over those before it. */
static int hold(struct joiner *j, struct side *right, struct span key)
{
	int n = 1;

	store_rewind(&j->store);
	j->count = 0;
	while (n > 0 && right->at) {
		int c = compare(&j->left_key, right->at->key.text, key);

		if (c > 0)
			break;
		if (c == 0 && !(j->kind >= JOIN_SEMI && j->count)) {
			uint32_t number = join_keep(j, &right->at->r);

			if (!number)
				return dag_fail(j->v, "out of memory");
			if (number > 1)
				j->rights[number - 2].next = number;
		}
		n = step(right);
	}
	return n < 0 ? n : 0;
}

static int run(struct joiner *j, struct side *left, struct side *right)
{
	bool held = false;
	int n = step(right);

	while (n >= 0 && (n = step(left)) > 0) {
		struct span key = left->at->key.text, name;

		/* The same key as the one before has the same partners. */
		if (!held || compare(&j->left_key, (struct span){left->last, left->last_len}, key))
			n = hold(j, right, key);
		held = true;
		name = key_name(&j->left_key, key, &j->namer);
		if (n >= 0 && !name.data && j->left_key.type != KEY_TEXT)
			n = dag_fail(j->v, "out of memory");
		if (n >= 0)
			n = join_write(j, name, &left->at->r, j->count > 0, j->count > 0);
	}
	return n;
}

int join_merge(struct joiner *j)
{
	struct side left = {.m = {.v = j->v, .port = 0, .key = j->left_key}};
	struct side right = {.m = {.v = j->v, .port = 1, .key = j->right_key}};
	int r = run(j, &left, &right);

	merger_fini(&left.m);
	merger_fini(&right.m);
	free(left.last);
	free(right.last);
	return r;
}
