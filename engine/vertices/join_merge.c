/* SPDX-License-Identifier: Apache-2.0 */
/* Merge join: both sides go by in the order of their keys; of the right one, the records of one key are held.
 */
#include "std.h"

struct side {
	struct merger m;
	const struct keyed *at; /* NULL: at its end */
};

static int compare(const struct key_spec *k, struct span a, struct span b)
{
	return key_compare(k, (struct key){a, key_prefix(k, a)}, (struct key){b, key_prefix(k, b)});
}

static int step(struct side *s)
{
	int n = merger_next(&s->m, &s->at);

	if (n <= 0)
		s->at = NULL;
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
	struct kept_key last = {0}; /* of the left side: the same key has the same partners */
	bool held = false;
	int n = step(right);

	while (n >= 0 && (n = step(left)) > 0) {
		struct span key = left->at->key.text, name;

		if (!held || key_compare(&j->left_key, last.key, left->at->key)) {
			n = hold(j, right, key);
			if (!key_keep(&last, left->at->key))
				n = dag_fail(j->v, "out of memory");
		}
		held = true;
		name = key_name(&j->left_key, key, &j->namer);
		if (n >= 0 && !name.data && j->left_key.type != KEY_TEXT)
			n = dag_fail(j->v, "out of memory");
		if (n >= 0)
			n = join_write(j, name, &left->at->r, j->count > 0, j->count > 0);
	}
	free(last.room);
	/* What is left of the right side is read too: were it not sorted, partners would have been missed. */
	while (n >= 0 && right->at)
		n = step(right);
	return n < 0 ? n : 0;
}

int join_merge(struct joiner *j)
{
	static const char advice[] = "or take method: hash";
	struct side left = {
		.m = {j->v, 0, j->left_key, "the left side of the join", advice, NULL, NULL, 0, 0}};
	struct side right = {
		.m = {j->v, 1, j->right_key, "the right side of the join", advice, NULL, NULL, 0, 0}};
	int r = run(j, &left, &right);

	merger_fini(&left.m);
	merger_fini(&right.m);
	return r;
}
