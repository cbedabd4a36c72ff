/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTICES_STD_H
#define VERTICES_STD_H
/* What the standard vertices share: keys, and memory for records. Functions that fail end the vertex with a
 * sentence. */
#include <dagrun/vertex.h>

#include <stdlib.h>
#include <string.h>

#define BATCH 256 /* records that are read at once */

/* ---- the entries ---- */
int sort(struct dag_vertex *v);
int merge(struct dag_vertex *v);
int range(struct dag_vertex *v);
int check(struct dag_vertex *v);
int distinct(struct dag_vertex *v);
int count(struct dag_vertex *v);
int sum(struct dag_vertex *v);
int top(struct dag_vertex *v);
int join(struct dag_vertex *v);
int head(struct dag_vertex *v);
int sample(struct dag_vertex *v);
int cut(struct dag_vertex *v);
int grep(struct dag_vertex *v);

/* Writes a record as it was read. */
int std_pass(struct dag_vertex *v, uint32_t port, const struct dag_record *r);
/* A parameter that is a number or a size; `otherwise` where it is not given. */
uint64_t std_number(struct dag_vertex *v, const char *name, uint64_t otherwise);
bool std_is(struct dag_vertex *v, const char *name, const char *value);

/* ---- keys.c ---- */

struct key_spec {
	uint32_t field;    /* from 1; 0: the key of a key-value record, else the whole */
	char delimiter;    /* 0: runs of blanks */
	uint32_t from, to; /* its bytes, from 1; 0: all before, or behind */
	bool number, descending;
};

struct span {
	const char *data;
	size_t len;
};

/* From the parameters key, delimiter, from, to, type, order. */
struct key_spec key_spec_read(struct dag_vertex *v);
struct span key_field(const char *data, size_t len, uint32_t field, char delimiter);
struct span key_of(const struct key_spec *k, const struct dag_record *r);
/* A number that orders as the key does, as far as 64 bits go. */
uint64_t key_prefix(const struct key_spec *k, struct span key);
/* < 0, 0, > 0 in the spec's order; where prefixes differ they decide. */
int key_compare(const struct key_spec *k, struct span a, uint64_t a_prefix, struct span b, uint64_t b_prefix);
/* The number at the beginning of the text; 0 where there is none. */
double key_number(struct span text);

/* ---- store.c: records in memory ---- */

struct chunk;

struct store {
	struct chunk *chunks;
	size_t bytes;
};

/* Room that lives until store_clear; NULL where there is no memory. */
char *store_reserve(struct store *s, size_t len);
char *store_copy(struct store *s, const char *data, size_t len);
void store_clear(struct store *s);

uint64_t hash_of(struct span key);

/* A hash table from bytes to a number, in the order in which they came. */
struct table_entry {
	struct span key;
	uint64_t hash;
	union {
		int64_t count;
		double sum;
		uint32_t first; /* + 1 */
	} u;
	uint32_t aux;
};

struct table {
	struct store store;
	struct table_entry *entries;
	uint32_t entry_count, entry_cap;
	uint32_t *slots; /* entry + 1 */
	uint32_t slot_count;
};

/* The entry of the key, made with zeros if it is new (*ret_new); NULL where there is no memory. */
struct table_entry *table_at(struct table *t, struct span key, bool *ret_new);
struct table_entry *table_find(const struct table *t, struct span key);
void table_fini(struct table *t);

#endif
