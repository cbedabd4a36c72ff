/* SPDX-License-Identifier: Apache-2.0 */
/* Records in memory: chunks that are freed together, and a hash table over them. */
#include "std.h"

#include <sys/mman.h>

#define CHUNK_FIRST (64u << 10)
#define CHUNK_MAX (16u << 20)
#define HUGE_PAGE (2u << 20)
#define FETCHED_LEAST 16384 /* slots: smaller tables lie in the caches */

struct chunk {
	struct chunk *next;
	size_t used, size;
	char data[];
};

/* One that was rewound; those that are too small are given up. */
static struct chunk *take_spare(struct store *s, size_t len)
{
	struct chunk *c;

	while ((c = s->spare)) {
		s->spare = c->next;
		if (c->size >= len)
			return c;
		free(c);
	}
	return NULL;
}

static struct chunk *new_chunk(const struct store *s, size_t len)
{
	struct chunk *c = s->chunks;
	size_t whole = c && c->size >= CHUNK_FIRST / 2 ? 4 * (c->size + sizeof(*c)) : CHUNK_FIRST;

	if (whole > CHUNK_MAX)
		whole = CHUNK_MAX;
	if (len > whole - sizeof(*c))
		whole = len + sizeof(*c);
	/* Memory by the huge page is faulted in, and cleared, much faster. */
	c = whole < HUGE_PAGE ? malloc(whole)
			      : aligned_alloc(HUGE_PAGE, (whole + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1));
	if (!c)
		return NULL;
	if (whole >= HUGE_PAGE)
		madvise(c, whole, MADV_HUGEPAGE);
	c->size = whole - sizeof(*c);
	return c;
}

char *store_reserve(struct store *s, size_t len)
{
	struct chunk *c = s->chunks;

	if (!c || c->size - c->used < len) {
		c = take_spare(s, len);
		c = c ? c : new_chunk(s, len);
		if (!c)
			return NULL;
		c->used = 0;
		c->next = s->chunks;
		s->chunks = c;
		s->bytes += sizeof(*c) + c->size;
	}
	c->used += len;
	return c->data + c->used - len;
}

char *store_copy(struct store *s, const char *data, size_t len)
{
	char *copy = store_reserve(s, len);

	if (copy && len)
		memcpy(copy, data, len);
	return copy;
}

void store_rewind(struct store *s)
{
	while (s->chunks) {
		struct chunk *c = s->chunks;

		s->chunks = c->next;
		c->next = s->spare;
		s->spare = c;
	}
	s->bytes = 0;
}

void store_clear(struct store *s)
{
	store_rewind(s);
	while (s->spare) {
		struct chunk *c = s->spare;

		s->spare = c->next;
		free(c);
	}
}

/* Eight bytes a step (after wyhash's mixing, Wang Yi, 2019). */
static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t hash_of(struct span key)
{
	uint64_t h = 0x9e3779b97f4a7c15u ^ key.len, w;
	size_t i = 0;

	for (; i + 8 <= key.len; i += 8) {
		memcpy(&w, key.data + i, 8);
		h = mix(h ^ w, 0xe7037ed1a0b428dbu);
	}
	w = 0;
	memcpy(&w, key.data + i, key.len - i);
	return mix(h ^ w, 0x8ebc6af09c88c6e3u);
}

static uint32_t find_slot(const struct table *t, struct span key, uint64_t hash)
{
	uint32_t slot = (uint32_t)hash & (t->slot_count - 1);

	for (;; slot = (slot + 1) & (t->slot_count - 1)) {
		const struct table_entry *e;

		if (!t->slots[slot])
			return slot;
		e = &t->entries[t->slots[slot] - 1];
		if (e->hash == hash && e->key.len == key.len && !memcmp(e->key.data, key.data, key.len))
			return slot;
	}
}

static bool grow(struct table *t)
{
	uint32_t count = t->slot_count ? t->slot_count * 2 : 1024, *slots = calloc(count, sizeof(*slots));

	if (!slots)
		return false;
	free(t->slots);
	t->slots = slots;
	t->slot_count = count;
	for (uint32_t i = 0; i < t->entry_count; i++)
		t->slots[find_slot(t, t->entries[i].key, t->entries[i].hash)] = i + 1;
	return true;
}

/* A lookup in a table that is larger than the caches waits for memory three times: of many, all wait
 * together. */
void table_fetch(const struct table *t, const uint64_t *hashes, size_t n)
{
	uint32_t mask = t->slot_count - 1;

	if (t->slot_count < FETCHED_LEAST)
		return;
	for (size_t i = 0; i < n; i++)
		__builtin_prefetch(&t->slots[hashes[i] & mask]);
	for (size_t i = 0; i < n; i++) {
		uint32_t entry = t->slots[hashes[i] & mask];

		if (entry)
			__builtin_prefetch(&t->entries[entry - 1]);
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t entry = t->slots[hashes[i] & mask];

		if (entry)
			__builtin_prefetch(t->entries[entry - 1].key.data);
	}
}

struct table_entry *table_find(const struct table *t, struct span key)
{
	uint32_t slot = t->slot_count ? find_slot(t, key, hash_of(key)) : 0;

	return t->slot_count && t->slots[slot] ? &t->entries[t->slots[slot] - 1] : NULL;
}

struct table_entry *table_at(struct table *t, struct span key, uint64_t hash, bool *ret_new)
{
	uint32_t slot;
	char *copy;

	*ret_new = false;
	if (t->entry_count * 2u >= t->slot_count && !grow(t))
		return NULL;
	slot = find_slot(t, key, hash);
	if (t->slots[slot])
		return &t->entries[t->slots[slot] - 1];
	if (t->entry_count == t->entry_cap) {
		uint32_t cap = t->entry_cap ? t->entry_cap * 2 : 512;
		struct table_entry *entries = realloc(t->entries, cap * sizeof(*entries));

		if (!entries)
			return NULL;
		t->entries = entries;
		t->entry_cap = cap;
	}
	copy = store_copy(&t->store, key.data, key.len);
	if (!copy)
		return NULL;
	t->slots[slot] = ++t->entry_count;
	t->entries[t->entry_count - 1] = (struct table_entry){.key = {copy, key.len}, .hash = hash};
	*ret_new = true;
	return &t->entries[t->entry_count - 1];
}

void table_fini(struct table *t)
{
	store_clear(&t->store);
	free(t->entries);
	free(t->slots);
}
