/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTICES_STD_H
#define VERTICES_STD_H
/* What the standard vertices share: keys, and memory for records. Functions that fail end the vertex with a
 * sentence. */
#include <dagrun/vertex.h>

#include <stdlib.h>
#include <string.h>

#define BATCH 256            /* records that are read at once */
#define FIELD_MAX (1u << 20) /* as in the word `partition` of an edge */

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
/* What is wrong with their parameters, when the graph is loaded. */
int cut_check(struct dag_vertex *v);
int grep_check(struct dag_vertex *v);
int key_check(struct dag_vertex *v);
int std_check_delimiter(struct dag_vertex *v);

/* Writes a record as it was read. */
int std_pass(struct dag_vertex *v, uint32_t port, const struct dag_record *r);
/* A parameter that is a number or a size; `otherwise` where it is not given. */
uint64_t std_number(struct dag_vertex *v, const char *name, uint64_t otherwise);
bool std_is(struct dag_vertex *v, const char *name, const char *value);

/* ---- keys.c ---- */

enum key_type { KEY_TEXT, KEY_NUMBER, KEY_GENERAL };
/* What becomes of a record whose key is no number. */
enum key_invalid { INVALID_ERROR, INVALID_SKIP, INVALID_ZERO };

struct key_spec {
	struct dag_vertex *v;
	uint32_t field;    /* from 1; 0: the key of a key-value record, else the whole */
	char delimiter;    /* 0: runs of blanks */
	uint32_t from, to; /* its bytes, from 1; 0: all before, or behind */
	enum key_type type;
	enum key_invalid invalid;
	bool descending;
};

struct span {
	const char *data;
	size_t len;
};

/* From the parameters key, delimiter, from, to, type, invalid, order. */
struct key_spec key_spec_read(struct dag_vertex *v);
/* 0: runs of blanks */
char std_delimiter(struct dag_vertex *v);
enum key_type key_type_read(struct dag_vertex *v, enum key_type otherwise);
enum key_invalid key_invalid_read(struct dag_vertex *v);
/*
 * What becomes of a record whose text, in the field that the parameter `word` names, is no number: 0 where it
 * is skipped, 1 where it counts as 0; else the vertex fails with a sentence that names it.
 */
int key_refuse(struct dag_vertex *v, enum key_invalid invalid, enum key_type type, const struct dag_record *r,
	const char *word, uint32_t field, struct span text);
struct span key_field(const char *data, size_t len, uint32_t field, char delimiter);
struct span key_of(const struct key_spec *k, const struct dag_record *r);
/* What a record is ordered by; of one that counts as 0 the text is empty. */
struct key {
	struct span text;
	uint64_t prefix;
};

/* A copy of a key: the record that it was read from is gone when the next one is there. All zero at first. */
struct kept_key {
	struct key key;
	char *room;
	size_t cap;
};

/* False where there is no memory. `room` is the caller's to free. */
bool key_keep(struct kept_key *kept, struct key key);
/* Quoted; what is not to be printed as \\xNN, and the end cut off where it is long. */
#define KEY_SHOWN_LEN 192
void key_show(struct span text, char ret[KEY_SHOWN_LEN]);
/* Ends the vertex: of `what`, record r with the key `text` belongs before the one of number `before`.
 * `advice` is what there is beside sorting it. */
int key_refuse_order(const struct key_spec *k, const struct dag_record *r, struct span text, uint64_t before,
	struct span before_text, const char *what, const char *advice);

/* 1; 0: the record is to be skipped; or an error. */
int key_read(const struct key_spec *k, const struct dag_record *r, struct key *ret);
/* All but its first n bytes. */
struct span key_skip(struct span key, size_t n);
/* A number that orders as the key does, in the spec's order, as far as 64 bits go. */
uint64_t key_prefix(const struct key_spec *k, struct span key);
/* Of keys with the same prefix: of texts, that of `known` bytes from some place on, up to which they are the
 * same. */
int key_compare_rest(const struct key_spec *k, struct span a, struct span b, uint64_t prefix, size_t known);
/* Keys with this prefix are equal: no more of them is to be compared. */
bool key_is_whole(const struct key_spec *k, uint64_t prefix);
/* < 0, 0, > 0 in the spec's order; where prefixes differ they decide. */
int key_compare(const struct key_spec *k, struct key a, struct key b);
/* Room for names of keys; all zero at first. */
struct namer {
	char *text;
	size_t cap;
};
/* The bytes that all equal keys have in common: the text, or the one way to write the number. Lives until the
 * next call; data is NULL where there is no memory. */
struct span key_name(const struct key_spec *k, struct span text, struct namer *n);
/* That of the record's key: 1; 0: the record is to be skipped; or an error. */
int key_read_name(
	const struct key_spec *k, const struct dag_record *r, struct namer *namer, struct span *ret);

/* ---- merge.c ---- */

/* A record with its key. */
struct keyed {
	struct dag_record r;
	struct key key;
};

/* The producers of a port, each sorted, as one: those up to `advice` are the caller's, the rest is zero. */
struct merger {
	struct dag_vertex *v;
	uint32_t port;
	struct key_spec key;
	const char *what, *advice; /* said of a producer that is not sorted: key_refuse_order */
	struct source *heap;
	struct last *lasts;
	uint32_t count, producers;
};

/* The next record in order, until the call after; equal keys in the producers' order. 1, 0 at the end, or an
 * error, of a producer that is not sorted too. */
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
	struct namer namer;
	enum join_kind kind;
	struct store store;
	struct right *rights;
	uint32_t count, cap;
	char *line;
	size_t line_cap;
};

/* Keeps a record of the right side: its number + 1, or 0 where there is no memory. */
uint32_t join_keep(struct joiner *j, const struct dag_record *r);
/* Writes what a record of the left side comes to, with its key's name: `first` is the chain of its partners;
 * has: there are any. */
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
		int64_t count;     /* or a small sum: times 10^-aux */
		struct wide *wide; /* a sum whose aux is TOTAL_IS_WIDE */
		long double *general;
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

/* The entry of the key, made with zeros if it is new (*ret_new); hash: hash_of it. NULL where there is no
 * memory. */
struct table_entry *table_at(struct table *t, struct span key, uint64_t hash, bool *ret_new);
/* Keys with these hashes are looked for next. */
void table_fetch(const struct table *t, const uint64_t *hashes, size_t n);
struct table_entry *table_find(const struct table *t, struct span key);
void table_fini(struct table *t);

#endif
