/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3 for any processor, and the choice between the builds of it. */
#define HASH_TABLE hash_table_any
#include "hash_impl.h"

#include <stdio.h>

static inline const struct hash_table *table(void)
{
#ifdef HASH_HAVE_AVX
	/* The first ones that had AVX-512 became slower by its use, and lack VBMI2. */
	if (__builtin_cpu_supports("avx512vbmi2"))
		return &hash_table_avx512;
	if (__builtin_cpu_supports("avx2"))
		return &hash_table_avx2;
#endif
	return &hash_table_any;
}

struct hash_state *hash_state_new(void)
{
	return table()->new ();
}

void hash_state_destroy(struct hash_state **state)
{
	if (*state)
		table()->free(*state);
	*state = NULL;
}

void hash_state_reset(struct hash_state *state)
{
	table()->reset(state);
}

void hash_state_update(struct hash_state *state, const void *data, size_t len)
{
	table()->update(state, data, len);
}

void hash_state_copy(struct hash_state *state, void *to, const void *from, size_t len)
{
	table()->copy(state, to, from, len);
}

void hash_state_set(struct hash_state *state, const struct hash_state *other)
{
	table()->set(state, other);
}

struct dag_hash hash_state_digest(const struct hash_state *state)
{
	return table()->digest(state);
}

struct dag_hash hash_128(const void *data, size_t len)
{
	return table()->hash_128(data, len);
}

uint64_t hash_pairs(const uint32_t *pairs, size_t n)
{
	return hash_128(pairs, n * 2 * sizeof(*pairs)).low;
}

uint64_t hash_64(const void *data, size_t len)
{
	return table()->hash_64(data, len);
}

void hash_hex(struct dag_hash hash, char ret_hex[HASH_HEX_LEN + 1])
{
	snprintf(ret_hex, HASH_HEX_LEN + 1, "%016llx%016llx", (unsigned long long)hash.high,
		(unsigned long long)hash.low);
}
