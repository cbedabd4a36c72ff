/* SPDX-License-Identifier: Apache-2.0 */
/* Some records of all: the first, the greatest, drawn ones, those that match; some fields of each. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "std.h"

#include <pcre2.h>

#define FIELDS_MAX 64
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
	struct span by;
	uint64_t prefix, number; /* number: as it came */
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

static bool copy_chosen(const struct key_spec *k, const struct dag_record *r, struct chosen *ret)
{
	struct dag_record mine;

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
	mine = record_of(ret);
	ret->by = key_of(k, &mine);
	ret->prefix = key_prefix(k, ret->by);
	return true;
}

/* Whether a comes after b in what is written. */
static bool is_after(const struct key_spec *k, const struct chosen *a, const struct chosen *b)
{
	int c = key_compare(k, a->by, a->prefix, b->by, b->prefix);

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

static int choose(
	struct dag_vertex *v, const struct key_spec *k, struct chosen *heap, size_t most, size_t *ret_n)
{
	struct dag_record r;
	int got;

	for (uint64_t number = 0; (got = dag_read(v, 0, &r)) > 0; number++) {
		struct chosen c = {.number = number};

		c.by = key_of(k, &r);
		c.prefix = key_prefix(k, c.by);
		if (*ret_n == most && (!most || is_after(k, &c, &heap[0])))
			continue;
		if (!copy_chosen(k, &r, &c))
			return dag_fail(v, "out of memory");
		c.number = number;
		if (*ret_n < most) {
			heap[*ret_n] = c;
			lift(k, heap, (*ret_n)++);
			continue;
		}
		free_chosen(&heap[0]);
		heap[0] = c;
		sift(k, heap, *ret_n, 0);
	}
	return got;
}

int top(struct dag_vertex *v)
{
	struct key_spec k = key_spec_read(v);
	size_t most = (size_t)std_number(v, "n", 10), n = 0, left;
	struct chosen *heap = calloc(most + 1, sizeof(*heap));
	int r = heap ? choose(v, &k, heap, most, &n) : dag_fail(v, "out of memory");

	for (left = n; left > 1; left--) { /* the heap's last to the end: heap sort */
		struct chosen t = heap[0];

		heap[0] = heap[left - 1];
		heap[left - 1] = t;
		sift(&k, heap, left - 1, 0);
	}
	r = write_chosen(v, heap, n, r);
	free(heap);
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

static int fill_sample(struct dag_vertex *v, struct chosen *kept, size_t most, size_t *ret_n)
{
	struct key_spec whole = {0};
	uint64_t seed = dag_seed(v), number = 0;
	struct dag_record r;
	int got;

	for (; (got = dag_read(v, 0, &r)) > 0; number++) {
		uint64_t at = number < most ? number : draw(&seed) % (number + 1);

		if (at >= most)
			continue;
		if (at < *ret_n)
			free_chosen(&kept[at]);
		if (!copy_chosen(&whole, &r, &kept[at]))
			return dag_fail(v, "out of memory");
		kept[at].number = number;
		*ret_n += at == *ret_n;
	}
	return got;
}

/* Some records in a row at each of so many places of a file, one in each of its equal pieces. */
static int pass_places(struct dag_vertex *v, uint64_t most)
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

			if (got > 0)
				got = std_pass(v, 0, &r);
			if (got < 0)
				return got;
		}
	}
	dag_close(v, 0);
	return 0;
}

int sample(struct dag_vertex *v)
{
	size_t most = (size_t)std_number(v, "n", 1000), n = 0;
	struct chosen *kept;
	int r;

	if (std_is(v, "by", "place") && dag_producers(v, 0) == 1 && dag_left(v, 0) >= PLACES * PIECE_MIN)
		return pass_places(v, most);
	kept = calloc(most + 1, sizeof(*kept));
	r = kept ? fill_sample(v, kept, most, &n) : dag_fail(v, "out of memory");
	if (n)
		qsort(kept, n, sizeof(*kept), by_number);
	r = write_chosen(v, kept, n, r);
	free(kept);
	return r;
}

/* ---- fields and patterns ---- */

int cut(struct dag_vertex *v)
{
	const char *text = dag_param(v, "fields");
	char delimiter = key_spec_read(v).delimiter, *end, *line = NULL;
	uint32_t fields[FIELDS_MAX], n = 0;
	struct dag_record r;
	size_t cap = 0;
	int got;

	for (const char *at = text ? text : "1"; *at && n < FIELDS_MAX; at = *end == ',' ? end + 1 : end) {
		unsigned long field = strtoul(at, &end, 10);

		if (end == at || !field || (*end && *end != ','))
			return dag_fail(v, "fields: '%s' is not a list of field numbers such as 3,1", text);
		fields[n++] = (uint32_t)field;
	}
	while ((got = dag_read(v, 0, &r)) > 0) {
		size_t len = 0;

		if ((r.len + 1) * n > cap) {
			char *bigger = realloc(line, (r.len + 1) * n * 2);

			if (!bigger) {
				free(line);
				return dag_fail(v, "out of memory");
			}
			line = bigger;
			cap = (r.len + 1) * n * 2;
		}
		for (uint32_t i = 0; i < n; i++) {
			struct span f = key_field(r.data, r.len, fields[i], delimiter);

			if (i)
				line[len++] = delimiter ? delimiter : ' ';
			memcpy(line + len, f.data, f.len);
			len += f.len;
		}
		got = dag_write(v, 0, line, len);
		if (got < 0)
			break;
	}
	free(line);
	return got;
}

int grep(struct dag_vertex *v)
{
	const char *pattern = dag_param(v, "pattern");
	bool invert = std_is(v, "invert", "true");
	pcre2_code *code;
	pcre2_match_data *match;
	struct dag_record r;
	PCRE2_SIZE at;
	int error, got;

	code = pcre2_compile(
		(PCRE2_SPTR)(pattern ? pattern : ""), PCRE2_ZERO_TERMINATED, 0, &error, &at, NULL);
	if (!code) {
		PCRE2_UCHAR text[128];

		pcre2_get_error_message(error, text, sizeof(text));
		return dag_fail(v, "pattern '%s', at %zu: %s", pattern, (size_t)at, (char *)text);
	}
	pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
	match = pcre2_match_data_create_from_pattern(code, NULL);
	while ((got = dag_read(v, 0, &r)) > 0) {
		int found = pcre2_match(code, (PCRE2_SPTR)r.data, r.len, 0, 0, match, NULL);

		if (found < PCRE2_ERROR_NOMATCH) {
			got = dag_fail(
				v, "pattern '%s' fails on a line, with PCRE2's error %d", pattern, found);
			break;
		}
		if ((found >= 0) != invert && (got = std_pass(v, 0, &r)) < 0)
			break;
	}
	pcre2_match_data_free(match);
	pcre2_code_free(code);
	return got;
}
