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
/* All but its first n bytes. */
struct span key_skip(struct span key, size_t n);
/* A number that orders as the key does, in the spec's order, as far as 64 bits go. */
uint64_t key_prefix(const struct key_spec *k, struct span key);
/* Of keys that are no numbers, and the same in their first `known` bytes, or zeros where one has ended
 * before. */
int key_compare_rest(const struct key_spec *k, struct span a, struct span b, size_t known);
/* < 0, 0, > 0 in the spec's order; where prefixes differ they decide. */
int key_compare(const struct key_spec *k, struct span a, uint64_t a_prefix, struct span b, uint64_t b_prefix);
/* The number at the beginning of the text; 0 where there is none. */
double key_number(struct span text);

/* ---- merge.c ---- */

/* A record with its key. */
struct keyed {
	struct dag_record r;
	struct span key;
	uint64_t prefix;
};

/* The producers of a port, each sorted, as one: v, port and key are the caller's, the rest is zero. */
struct merger {
	struct dag_vertex *v;
	uint32_t port;
	struct key_spec key;
	struct source *heap;
	uint32_t count;
};

/* The next record in order, until the call after; equal keys in the producers' order. 1, 0 at the end, or an
 * error. */
int merger_next(struct merger *m, const struct keyed **ret);
void merger_fini(struct merger *m);

struct chunk;

struct store {
	struct chunk *chunks, *spare;
	size_t bytes; /* of the chunks */
};

/* ---- join.c ---- */

enum join_kind { JOIN_INNER, JOIN_LEFT, JOIN_SEMI, JOIN_ANTI };

/* A record of the right side; those of one key are chained in their order. */
struct right {
	const char *data;
	size_t len;
	uint32_t next; /* + 1 */
};

struct joiner {
	struct dag_vertex *v;
	struct key_spec left_key, right_key;
	enum join_kind kind;
	struct store store;
	struct right *rights;
	uint32_t count, cap;
	char *line;
	size_t line_cap;
};

/* Keeps a record of the right side: its number + 1, or 0 where there is no memory. */
uint32_t join_keep(struct joiner *j, const struct dag_record *r);
/* Writes what a record of the left side comes to: `first` is the chain of its partners; has: there are any.
 */
int join_write(struct joiner *j, struct span key, const struct dag_record *left, bool has, uint32_t first);
/* join_merge.c: both sides are sorted; of the right one, the records of one key are held. */
int join_merge(struct joiner *j);

/* ---- store.c: records in memory ---- */

/* Room that lives until store_rewind or store_clear; NULL where there is no memory. */
char *store_reserve(struct store *s, size_t len);
char *store_copy(struct store *s, const char *data, size_t len);
/* Forgets all, and keeps the memory for what comes next. */
void store_rewind(struct store *s);
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
