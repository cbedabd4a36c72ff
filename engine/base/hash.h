/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_HASH_H
#define BASE_HASH_H
/*
 * XXH3, 64 and 128 bits, inlined from xxHash and compiled three times: for any x86-64 or other processor, for
 * AVX2, which is twice as fast, and for AVX-512, a quarter more; the choice is made at run time. (The library
 * that Debian has chooses too, but leaves the registers' upper halves in use, which slows all code after it.)
 * The values are xxHash's own.
 */
#include "base.h"

struct dag_hash {
	uint64_t low, high;
};

struct hash_state; /* of a running 128-bit hash */

struct hash_state *hash_state_new(void);
void hash_state_destroy(struct hash_state **state);
void hash_state_reset(struct hash_state *state);
void hash_state_update(struct hash_state *state, const void *data, size_t len);
/* As an update with what it copies, which is read from memory once. */
void hash_state_copy(struct hash_state *state, void *to, const void *from, size_t len);
/* Goes on from where the other one is. */
void hash_state_set(struct hash_state *state, const struct hash_state *other);
struct dag_hash hash_state_digest(const struct hash_state *state);

struct dag_hash hash_128(const void *data, size_t len);
/* Of n pairs in their order: what a vertex reads, as (vertex, attempt); in the protocol. */
uint64_t hash_pairs(const uint32_t *pairs, size_t n);
uint64_t hash_64(const void *data, size_t len);

static inline bool hash_equal(struct dag_hash a, struct dag_hash b)
{
	return a.low == b.low && a.high == b.high;
}

#define HASH_HEX_LEN 32
void hash_hex(struct dag_hash hash, char ret_hex[HASH_HEX_LEN + 1]);

#endif
