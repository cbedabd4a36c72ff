/* SPDX-License-Identifier: Apache-2.0 */
/* The body that hash.c, hash_avx2.c and hash_avx512.c compile under names and for instruction sets of their
 * own. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash_table.h"

static void *impl_new(void)
{
	XXH3_state_t *state = XXH3_createState();

	if (!state)
		base_oom(sizeof(*state));
	XXH3_128bits_reset(state);
	return state;
}

static void impl_free(void *state)
{
	XXH3_freeState(state);
}

static void impl_reset(void *state)
{
	XXH3_128bits_reset(state);
}

static void impl_update(void *state, const void *data, size_t len)
{
	XXH3_128bits_update(state, data, len);
}

static struct dag_hash impl_digest(const void *state)
{
	XXH128_hash_t h = XXH3_128bits_digest(state);

	return (struct dag_hash){h.low64, h.high64};
}

static struct dag_hash impl_128(const void *data, size_t len)
{
	XXH128_hash_t h = XXH3_128bits(data, len);

	return (struct dag_hash){h.low64, h.high64};
}

static uint64_t impl_64(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}

static void impl_copy(void *state, void *to, const void *from, size_t len)
{
	enum { PIECE = 4096 }; /* both passes find it in the first cache */

	for (size_t at = 0; at < len; at += PIECE) {
		size_t n = DAG_MIN(len - at, (size_t)PIECE);

		base_copy((unsigned char *)to + at, (const unsigned char *)from + at, n);
		XXH3_128bits_update(state, (const unsigned char *)from + at, n);
	}
}

static void impl_set(void *state, const void *other)
{
	XXH3_copyState(state, other);
}

const struct hash_table HASH_TABLE = {
	impl_new,
	impl_free,
	impl_reset,
	impl_update,
	impl_digest,
	impl_128,
	impl_64,
	impl_copy,
	impl_set,
};
