/* SPDX-License-Identifier: Apache-2.0 */
/* Some records of all: the first, the greatest, drawn ones. */
#include "std.h"

#define CHOSEN_FIRST 64
#define PLACES 64u /* a disk that must move its head finds them sooner than it reads 64 MiB */
#define PIECE_MIN (64u << 10)

int head(struct dag_vertex *v)
{
	uint64_t n = std_number(v, "n", 10);
	struct dag_record r;
	int got = 0;

	for (; n && (got = dag_read(v, 0, &r)) > 0; n--) {
		int w = std_pass(v, 0, &r);

		if (w < 0)
			return w;
	}
	dag_close(v, 0);
	return got < 0 ? got : 0;
}

/* ---- top ---- */

struct chosen {
	char *record, *key;
	size_t record_len, key_len;
	bool has_key;
	struct key by;
	uint64_t number; /* as it came */
};

static void free_chosen(struct chosen *c)
{
	free(c->record);
	free(c->key);
}

static struct dag_record record_of(const struct chosen *c)
{
	return (struct dag_record){.data = c->record,
		.len = c->record_len,
		.key = c->has_key ? c->key : NULL,
		.key_len = c->key_len};
}

/* Frees them; r: what went wrong before, then nothing is written. */
static int write_chosen(struct dag_vertex *v, struct chosen *items, size_t n, int r)
{
	for (size_t i = 0; i < n; i++) {
		struct dag_record record = record_of(&items[i]);

		if (r >= 0)
			r = std_pass(v, 0, &record);
		free_chosen(&items[i]);
	}
	return r;
}

static bool copy_chosen(const struct dag_record *r, struct chosen *ret)
{
	*ret = (struct chosen){.record = malloc(r->len + 1),
		.key = malloc(r->key_len + 1),
		.record_len = r->len,
		.key_len = r->key_len,
		.has_key = r->key != NULL};
	if (!ret->record || !ret->key) {
		free_chosen(ret);
		return false;
	}
	memcpy(ret->record, r->len ? r->data : "", r->len);
	memcpy(ret->key, r->key_len ? r->key : "", r->key_len);
	return true;
}

/* Whether a comes after b in what is written. */
static bool is_after(const struct key_spec *k, const struct chosen *a, const struct chosen *b)
{
	int c = key_compare(k, a->by, b->by);

	return c ? c > 0 : a->number > b->number;
}

/* The last one of the heap's is at its top, to be dropped first. */
static void sift(const struct key_spec *k, struct chosen *heap, size_t n, size_t at)
{
	for (;;) {
		size_t last = at;
		struct chosen t;

		for (size_t child = 2 * at + 1; child < n && child <= 2 * at + 2; child++)
			if (is_after(k, &heap[child], &heap[last]))
				last = child;
		if (last == at)
			return;
		t = heap[at];
		heap[at] = heap[last];
		heap[last] = t;
		at = last;
	}
}

static void lift(const struct key_spec *k, struct chosen *heap, size_t at)
{
	for (; at && is_after(k, &heap[at], &heap[(at - 1) / 2]); at = (at - 1) / 2) {
		struct chosen t = heap[at];

		heap[at] = heap[(at - 1) / 2];
		heap[(at - 1) / 2] = t;
	}
}

/* Where a key of r lies in its copy. */
static struct key key_in_copy(
	const struct key_spec *k, const struct dag_record *r, const struct chosen *copy, struct key key)
{
	bool by_data = k->field || !r->key;

	key.text.data =
		by_data ? copy->record + (key.text.data - r->data) : copy->key + (key.text.data - r->key);
	return key;
}

/* n of at most `most`, in memory that grows with them. */
struct chosen_heap {
	struct chosen *items;
	size_t n, cap, most;
};

static bool grow_heap(struct chosen_heap *h)
{
	size_t cap = h->cap ? 2 * h->cap : CHOSEN_FIRST;
	struct chosen *grown;

	if (h->n < h->cap)
		return true;
	grown = realloc(h->items, cap * sizeof(*grown));
	if (!grown)
		return false;
	h->items = grown;
	h->cap = cap;
	return true;
}

static bool take_chosen(const struct key_spec *k, struct chosen_heap *h, const struct dag_record *r,
	struct key key, uint64_t number)
{
	struct chosen c;

	if (!grow_heap(h) || !copy_chosen(r, &c))
		return false;
	c.by = key_in_copy(k, r, &c, key);
	c.number = number;
	if (h->n < h->most) {
		h->items[h->n] = c;
		lift(k, h->items, h->n++);
		return true;
	}
	free_chosen(&h->items[0]);
	h->items[0] = c;
	sift(k, h->items, h->n, 0);
	return true;
}

static int choose(struct dag_vertex *v, const struct key_spec *k, struct chosen_heap *h)
{
	struct chosen c = {0};
	struct dag_record r;
	int got;

	for (; (got = dag_read(v, 0, &r)) > 0; c.number++) {
		got = key_read(k, &r, &c.by);
		if (got < 0)
			return got;
		if (!got || !h->most || (h->n == h->most && is_after(k, &c, &h->items[0])))
			continue;
		if (!take_chosen(k, h, &r, c.by, c.number))
			return dag_fail(v, "out of memory");
	}
	return got;
}

int top(struct dag_vertex *v)
{
	struct key_spec k = key_spec_read(v);
	struct chosen_heap h = {.most = (size_t)std_number(v, "n", 10)};
	int r;

	k.descending = !std_is(v, "order", "asc");
	r = choose(v, &k, &h);
	for (size_t left = h.n; left > 1; left--) { /* the heap's last to the end: heap sort */
		struct chosen t = h.items[0];

		h.items[0] = h.items[left - 1];
		h.items[left - 1] = t;
		sift(&k, h.items, left - 1, 0);
	}
	r = write_chosen(v, h.items, h.n, r);
	free(h.items);
	return r;
}

/* ---- sample: reservoir (Vitter's algorithm R, 1985), with the seed that all attempts share ---- */

static uint64_t draw(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static int by_number(const void *a, const void *b)
{
	const struct chosen *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* The first bytes of a record; 0: all of it. */
static struct dag_record begin_of(struct dag_record r, uint64_t bytes)
{
	if (bytes && r.len > bytes)
		r.len = (size_t)bytes;
	if (bytes && r.key_len > bytes)
		r.key_len = (size_t)bytes;
	return r;
}

static int fill_sample(struct dag_vertex *v, struct chosen_heap *h, uint64_t bytes)
{
	uint64_t seed = dag_seed(v), number = 0;
	struct dag_record r;
	struct chosen c;
	int got;

	for (; (got = dag_read(v, 0, &r)) > 0; number++) {
		uint64_t at = number < h->most ? number : draw(&seed) % (number + 1);

		if (at >= h->most)
			continue;
		r = begin_of(r, bytes);
		if (!grow_heap(h) || !copy_chosen(&r, &c))
			return dag_fail(v, "out of memory");
		c.number = number;
		if (at < h->n)
			free_chosen(&h->items[at]);
		else
			h->n++;
		h->items[at] = c;
	}
	return got;
}

/* Some records in a row at each of so many places of a file, one in each of its equal pieces. */
static int pass_places(struct dag_vertex *v, uint64_t most, uint64_t bytes)
{
	uint64_t seed = dag_seed(v), total = dag_left(v, 0);
	struct dag_record r;

	for (uint64_t i = 0; i < PLACES; i++) {
		uint64_t begin = total / PLACES * i, at = total - dag_left(v, 0),
			 place = begin + draw(&seed) % (total / PLACES);
		uint64_t n = most * (i + 1) / PLACES - most * i / PLACES;

		if (place > at)
			dag_skip(v, 0, place - at);
		for (; n; n--) {
			int got = dag_read(v, 0, &r);

			if (got > 0) {
				r = begin_of(r, bytes);
				got = std_pass(v, 0, &r);
			}
			if (got < 0)
				return got;
		}
	}
	dag_close(v, 0);
	return 0;
}

int sample(struct dag_vertex *v)
{
	struct chosen_heap h = {.most = (size_t)std_number(v, "n", 1000)};
	uint64_t bytes = std_number(v, "bytes", 0);
	int r;

	if (std_is(v, "by", "place") && dag_producers(v, 0) == 1 && dag_left(v, 0) >= PLACES * PIECE_MIN)
		return pass_places(v, h.most, bytes);
	r = fill_sample(v, &h, bytes);
	if (h.n)
		qsort(h.items, h.n, sizeof(*h.items), by_number);
	r = write_chosen(v, h.items, h.n, r);
	free(h.items);
	return r;
}
