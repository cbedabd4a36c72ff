/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_HASH_TABLE_H
#define BASE_HASH_TABLE_H
/* Inside of the hash module: the functions that exist once an instruction set. */
#include "hash.h"

struct hash_table {
	void *(*new)(void);
	void (*free)(void *state);
	void (*reset)(void *state);
	void (*update)(void *state, const void *data, size_t len);
	struct dag_hash (*digest)(const void *state);
	struct dag_hash (*hash_128)(const void *data, size_t len);
	uint64_t (*hash_64)(const void *data, size_t len);
	void (*copy)(void *state, void *to, const void *from, size_t len);
	void (*set)(void *state, const void *other);
};

extern const struct hash_table hash_table_any, hash_table_avx2, hash_table_avx512;

#endif
