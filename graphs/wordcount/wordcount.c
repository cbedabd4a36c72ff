/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Word count: `count` adds up the words of its lines and writes (word, count), `sum` adds up what the counts
 * of one word come to. A word is a run of letters, digits and bytes of other alphabets; letters become lower
 * case.
 */
#include <dagrun/vertex.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct slot {
	uint64_t key; /* the bytes of a word of up to eight, so that they need not be looked up; the hash of a
			 longer one */
	uint64_t count;
	uint32_t offset, len; /* of the word in `words`; len 0: free */
};

/* Open addressing; words lie one behind the other in one buffer. */
struct table {
	struct slot *slots;
	size_t mask, used;
	char *words;
	size_t words_len, words_cap;
	int failed;
};

static inline uint64_t load(const char *at, size_t n)
{
	uint64_t word = 0;

	memcpy(&word, at, n); /* n is a constant at each call: one instruction */
	return word;
}

/* The bytes of a word of up to eight as a number, the first the lowest. Parts that overlap agree. */
static inline uint64_t load_short(const char *word, size_t len)
{
	if (len >= 4)
		return load(word, 4) | load(word + len - 4, 4) << 8 * (len - 4);
	return (uint64_t)(unsigned char)word[0] | (uint64_t)(unsigned char)word[len / 2] << 8 * (len / 2) |
	       (uint64_t)(unsigned char)word[len - 1] << 8 * (len - 1);
}

static inline uint64_t mix(uint64_t h)
{
	h *= 0x9fb21c651e98df25u;
	return h ^ h >> 32;
}

static inline uint64_t make_key(const char *word, size_t len)
{
	uint64_t h = len;

	if (len <= 8)
		return load_short(word, len);
	for (size_t i = 0; i + 8 < len; i += 8)
		h = mix(h ^ load(word + i, 8));
	return mix(h ^ load(word + len - 8, 8));
}

/* Where the search for a key begins. */
static inline size_t first_slot(const struct table *t, uint64_t key, size_t len)
{
	return mix(key ^ len << 56) & t->mask;
}

/* memcmp for words, which are short: without a call. Both have the same length, of more than eight. */
static inline int same_word(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i + 8 < len; i += 8)
		if (load(a + i, 8) != load(b + i, 8))
			return 0;
	return load(a + len - 8, 8) == load(b + len - 8, 8);
}

static int grow_slots(struct table *t)
{
	size_t size = t->slots ? (t->mask + 1) * 2 : 4096;
	struct slot *slots = calloc(size, sizeof(*slots));

	if (!slots)
		return -1;
	for (size_t i = 0; t->slots && i <= t->mask; i++)
		if (t->slots[i].len) {
			size_t at = mix(t->slots[i].key ^ (uint64_t)t->slots[i].len << 56) & (size - 1);

			while (slots[at].len)
				at = (at + 1) & (size - 1);
			slots[at] = t->slots[i];
		}
	free(t->slots);
	t->slots = slots;
	t->mask = size - 1;
	return 0;
}

static int keep_word(struct table *t, struct slot *s, const char *word, size_t len)
{
	if (t->words_cap - t->words_len < len) {
		size_t cap = t->words_cap ? t->words_cap * 2 : 65536;
		char *words;

		while (cap - t->words_len < len)
			cap *= 2;
		words = realloc(t->words, cap);
		if (!words || cap > UINT32_MAX)
			return -1;
		t->words = words;
		t->words_cap = cap;
	}
	memcpy(t->words + t->words_len, word, len);
	s->offset = (uint32_t)t->words_len;
	s->len = (uint32_t)len;
	t->words_len += len;
	t->used++;
	return 0;
}

static int add_key(struct table *t, uint64_t key, const char *word, size_t len, uint64_t count)
{
	size_t at;

	if (t->used * 2 > t->mask && grow_slots(t) < 0)
		return -1;
	for (at = first_slot(t, key, len); t->slots[at].len; at = (at + 1) & t->mask)
		if (t->slots[at].key == key && t->slots[at].len == len &&
			(len <= 8 || same_word(t->words + t->slots[at].offset, word, len))) {
			t->slots[at].count += count;
			return 0;
		}
	t->slots[at].key = key;
	t->slots[at].count = count;
	return keep_word(t, &t->slots[at], word, len);
}

static int add(struct table *t, const char *word, size_t len, uint64_t count)
{
	if (!t->slots && grow_slots(t) < 0)
		return -1;
	return add_key(t, make_key(word, len), word, len, count);
}

static int write_table(struct dag_vertex *v, struct table *t)
{
	int r = 0;

	for (size_t i = 0; t->slots && i <= t->mask && r == 0; i++)
		if (t->slots[i].len) {
			char number[24];
			int n = snprintf(
				number, sizeof(number), "%llu", (unsigned long long)t->slots[i].count);

			r = dag_write_kv(
				v, 0, t->words + t->slots[i].offset, t->slots[i].len, number, (size_t)n);
		}
	free(t->slots);
	free(t->words);
	return r;
}

#define WORD_MAX 256 /* longer ones are cut into pieces */
#define EACH_BYTE 0x0101010101010101u

/* Words that are looked up together: the table is larger than the caches, so their slots are fetched ahead.
 */
#define AHEAD 32

struct pending {
	uint64_t key[AHEAD];
	const char *word[AHEAD];
	uint32_t len[AHEAD];
	char lower[AHEAD][WORD_MAX];
	size_t count;
};

static int add_pending(struct table *t, struct pending *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (add_key(t, p->key[i], p->word[i], p->len[i], 1) < 0)
			return -1;
	p->count = 0;
	return 0;
}

static inline char to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Notes a word of up to WORD_MAX bytes, of a line that ends at `end`. */
static inline int note(
	struct table *t, struct pending *p, const char *word, size_t len, const char *end, int upper)
{
	size_t i = p->count++;

	p->word[i] = word;
	p->len[i] = (uint32_t)len;
	if (upper) {
		for (size_t c = 0; c < len; c++)
			p->lower[i][c] = to_lower(word[c]);
		word = p->word[i] = p->lower[i];
		end = word + WORD_MAX;
	}
	/* Of a short word all eight bytes are taken where they are there: no branch on its length. */
	p->key[i] = len <= 8 && end - word >= 8 ? load(word, 8) & ~(uint64_t)0 >> 8 * (8 - len)
						: make_key(word, len);
	__builtin_prefetch(&t->slots[first_slot(t, p->key[i], len)]);
	return p->count == AHEAD ? add_pending(t, p) : 0;
}

/* Sixteen bytes, on which the compiler makes one instruction work where the processor has such. */
typedef unsigned char bytes16 __attribute__((vector_size(16)));

static inline bytes16 load16(uint64_t low, uint64_t high)
{
	uint64_t words[2] = {low, high};
	bytes16 x;

	memcpy(&x, words, sizeof(x));
	return x;
}

/* A bit for each byte, of which all bits are set or none. */
static inline uint64_t gather(bytes16 x)
{
#ifdef __SSE2__
	return (uint64_t)(unsigned)_mm_movemask_epi8((__m128i)x);
#else
	uint64_t words[2];

	memcpy(words, &x, sizeof(words));
	return (words[0] & EACH_BYTE) * 0x0102040810204080u >> 56 |
	       (words[1] & EACH_BYTE) * 0x0102040810204080u >> 56 << 8;
#endif
}

/* Which bytes belong to words; *capitals: which are capitals. */
static inline uint64_t find_letters16(bytes16 x, uint64_t *capitals)
{
	bytes16 capital = (bytes16)(x - 'A' < 26);

	*capitals = gather(capital);
	return gather((bytes16)(x - 'a' < 26) | (bytes16)(x - '0' < 10) | (bytes16)(x > 0x7f)) | *capitals;
}

/* The same of up to 64 bytes. Sixteen of them that are looked at twice give the same bits. */
static inline uint64_t find_letters(const char *at, size_t n, uint64_t *capitals)
{
	uint64_t letters = 0, some;
	bytes16 x;

	*capitals = 0;
	if (n < 16) {
		x = n < 8 ? load16(load_short(at, n), 0)
			  : load16(load(at, 8), n > 8 ? load(at + n - 8, 8) >> 8 * (16 - n) : 0);
		return find_letters16(x, capitals);
	}
	for (size_t i = 0; i < n; i += 16) {
		size_t from = n - i < 16 ? n - 16 : i;

		memcpy(&x, at + from, sizeof(x));
		letters |= find_letters16(x, &some) << from;
		*capitals |= some << from;
	}
	return letters;
}

/* A word of any length, in pieces. */
static int add_word(
	struct table *t, struct pending *p, const char *word, const char *to, const char *end, int upper)
{
	for (; to - word > WORD_MAX; word += WORD_MAX)
		if (note(t, p, word, WORD_MAX, end, upper) < 0)
			return -1;
	return note(t, p, word, (size_t)(to - word), end, upper);
}

static int count_line(struct table *t, struct pending *p, const char *at, const char *end)
{
	const char *word = NULL; /* that the line's last bytes are in */
	int upper = 0;

	for (; at < end; at += 64) {
		size_t n = end - at < 64 ? (size_t)(end - at) : 64;
		uint64_t capitals, letters = find_letters(at, n, &capitals),
				   edges = letters ^ (letters << 1 | !!word);

		/* Where words begin and end, in turn. */
		upper |= word && capitals;
		if (word && edges) {
			if (add_word(t, p, word, at + __builtin_ctzll(edges), end, upper) < 0)
				return -1;
			edges &= edges - 1;
			word = NULL;
		}
		while (edges) {
			int from = __builtin_ctzll(edges), to;

			edges &= edges - 1;
			upper = capitals != 0;
			if (!edges) {
				word = at + from;
				break;
			}
			to = __builtin_ctzll(edges);
			edges &= edges - 1;
			if (note(t, p, at + from, (size_t)(to - from), end, upper) < 0)
				return -1;
		}
	}
	return word ? add_word(t, p, word, end, end, upper) : 0;
}

static int count(struct dag_vertex *v)
{
	struct table t = {0};
	struct pending pending;
	struct dag_record lines[64];
	int n;

	pending.count = 0;
	if (grow_slots(&t) < 0)
		return dag_fail(v, "out of memory");
	while ((n = dag_read_batch(v, 0, lines, 64)) > 0) {
		for (int i = 0; i < n; i++)
			if (count_line(&t, &pending, lines[i].data, lines[i].data + lines[i].len) < 0)
				return dag_fail(v, "out of memory");
		/* The lines live until the next read only. */
		if (add_pending(&t, &pending) < 0)
			return dag_fail(v, "out of memory");
	}
	return n < 0 ? n : write_table(v, &t);
}

static int sum(struct dag_vertex *v)
{
	struct table t = {0};
	struct dag_record r;
	int n;

	while ((n = dag_read(v, 0, &r)) > 0) {
		char number[24] = {0};

		if (r.len >= sizeof(number))
			return dag_fail(v, "a count of %zu digits", r.len);
		memcpy(number, r.data, r.len);
		if (add(&t, r.key, r.key_len, strtoull(number, NULL, 10)) < 0)
			return dag_fail(v, "out of memory");
	}
	return n < 0 ? n : write_table(v, &t);
}

DAG_PLUGIN(wordcount, DAG_ENTRY(count, DAG_IN(LINES), DAG_OUT(KV), "lines to (word, count)"),
	DAG_ENTRY(sum, DAG_IN(KV), DAG_OUT(KV), "(word, count) to (word, sum)"));
