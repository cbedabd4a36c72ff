/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of records: where they are, and how they order. */
#include "number.h"
#include "std.h"

#include <stdio.h>

char std_delimiter(struct dag_vertex *v)
{
	const char *text = dag_param(v, "delimiter");

	return !text ? 0 : !strcmp(text, "tab") ? '\t' : *text;
}

enum key_type key_type_read(struct dag_vertex *v, enum key_type otherwise)
{
	return std_is(v, "type", "number")    ? KEY_NUMBER
	       : std_is(v, "type", "general") ? KEY_GENERAL
					      : otherwise;
}

enum key_invalid key_invalid_read(struct dag_vertex *v)
{
	return std_is(v, "invalid", "skip")   ? INVALID_SKIP
	       : std_is(v, "invalid", "zero") ? INVALID_ZERO
					      : INVALID_ERROR;
}

struct key_spec key_spec_read(struct dag_vertex *v)
{
	return (struct key_spec){v, (uint32_t)std_number(v, "key", 0), std_delimiter(v),
		(uint32_t)std_number(v, "from", 0), (uint32_t)std_number(v, "to", 0),
		key_type_read(v, KEY_TEXT), key_invalid_read(v), std_is(v, "order", "desc")};
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span key_field(const char *data, size_t len, uint32_t field, char delimiter)
{
	const char *at = data, *end = data + len, *next;

	for (uint32_t i = 1; delimiter && i < field; i++) {
		next = memchr(at, delimiter, (size_t)(end - at));
		if (!next)
			return (struct span){end, 0};
		at = next + 1;
	}
	if (delimiter) {
		next = memchr(at, delimiter, (size_t)(end - at));
		return (struct span){at, (size_t)((next ? next : end) - at)};
	}
	for (uint32_t i = 1;; i++) {
		const char *begin;

		while (at < end && is_blank(*at))
			at++;
		begin = at;
		while (at < end && !is_blank(*at))
			at++;
		if (i == field || at == end)
			return i == field ? (struct span){begin, (size_t)(at - begin)}
					  : (struct span){end, 0};
	}
}

static struct span whole_key(const struct key_spec *k, const struct dag_record *r)
{
	if (k->field)
		return key_field(r->data, r->len, k->field, k->delimiter);
	if (r->key)
		return (struct span){r->key, r->key_len};
	return (struct span){r->data, r->len};
}

struct span key_skip(struct span key, size_t n)
{
	n = n < key.len ? n : key.len;
	return (struct span){key.data + n, key.len - n};
}

struct span key_of(const struct key_spec *k, const struct dag_record *r)
{
	struct span key = whole_key(k, r);

	if (k->to && k->to < key.len)
		key.len = k->to;
	return key_skip(key, k->from ? k->from - 1 : 0);
}

/* ---- parameters, when the graph is loaded ---- */

int std_check_delimiter(struct dag_vertex *v)
{
	const char *text = dag_param(v, "delimiter");

	if (text && !*text)
		return dag_fail(v, "delimiter: '' has no byte; leave it out for runs of blanks, as in awk");
	if (text && text[1] && strcmp(text, "tab"))
		return dag_fail(
			v, "delimiter: '%s' has %zu bytes; it is one byte, or 'tab'", text, strlen(text));
	return 0;
}

int key_check(struct dag_vertex *v)
{
	static const char *const fields[] = {"key", "right", "value"}, *const bytes[] = {"from", "to"};
	uint64_t from = std_number(v, "from", 0), to = std_number(v, "to", 0);

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (std_number(v, fields[i], 0) > FIELD_MAX)
			return dag_fail(v, "%s: %s: a field's number is at most %u", fields[i],
				dag_param(v, fields[i]), FIELD_MAX);
	for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++)
		if (std_number(v, bytes[i], 0) > UINT32_MAX)
			return dag_fail(v, "%s: %s: a byte's number is at most %u", bytes[i],
				dag_param(v, bytes[i]), UINT32_MAX);
	if (to && from > to)
		return dag_fail(v, "from: %llu is behind to: %llu, so that all keys would be empty",
			(unsigned long long)from, (unsigned long long)to);
	return std_check_delimiter(v);
}

/* ---- what is no number ---- */

#define SHOWN_BYTES 40
_Static_assert(4 * SHOWN_BYTES + sizeof("'…'") <= KEY_SHOWN_LEN, "all of it has room");

void key_show(struct span text, char ret[KEY_SHOWN_LEN])
{
	size_t n = text.len < SHOWN_BYTES ? text.len : SHOWN_BYTES, at = 0, size = KEY_SHOWN_LEN;

	ret[at++] = '\'';
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text.data[i];

		at += (size_t)snprintf(ret + at, size - at, c >= ' ' && c < 0x7f ? "%c" : "\\x%02x", c);
	}
	snprintf(ret + at, size - at, n < text.len ? "…'" : "'");
}

int key_refuse(struct dag_vertex *v, enum key_invalid invalid, enum key_type type, const struct dag_record *r,
	const char *word, uint32_t field, struct span text)
{
	char shown[KEY_SHOWN_LEN], where[64] = "", producer[32] = "";
	long double x;

	if (invalid == INVALID_ZERO)
		return 1;
	if (invalid == INVALID_SKIP) {
		dag_count(v, "skipped, no number", 1);
		return 0;
	}
	if (field)
		snprintf(where, sizeof(where), " in field %u", field);
	else if (!r->key)
		snprintf(where, sizeof(where), ", the whole record (%s: N takes its field N),", word);
	if (dag_producers(v, r->port) > 1)
		snprintf(producer, sizeof(producer), " from producer %u", r->producer);
	key_show(text, shown);
	return dag_fail_at(v, r,
		"record %llu of input port %u%s: %s%s is no number%s; to go on without such records say "
		"invalid: skip, "
		"to take them for 0 invalid: zero",
		(unsigned long long)r->number + 1, r->port, producer, text.len ? shown : "nothing", where,
		type == KEY_NUMBER && general_parse(text.data, text.len, &x)
			? " as sort -n takes it, but one for type: general"
			: "");
}

/* ---- order ---- */

/* Of a text that is none: 0, and false. */
static bool number_prefix_of(enum key_type type, struct span text, uint64_t *ret)
{
	struct number n;
	long double x;
	bool ok;

	if (type == KEY_GENERAL) {
		ok = general_parse(text.data, text.len, &x);
		*ret = general_prefix(x);
	} else {
		ok = number_parse(text.data, text.len, &n);
		*ret = number_prefix(&n);
	}
	return ok;
}

static uint64_t text_prefix(struct span key)
{
	unsigned char bytes[8] = {0};
	uint64_t p;

	if (key.len)
		memcpy(bytes, key.data, key.len < 8 ? key.len : 8);
	memcpy(&p, bytes, sizeof(p));
	return __builtin_bswap64(p);
}

uint64_t key_prefix(const struct key_spec *k, struct span key)
{
	uint64_t p;

	if (k->type == KEY_TEXT)
		p = text_prefix(key);
	else
		number_prefix_of(k->type, key, &p);
	return k->descending ? ~p : p;
}

int key_read(const struct key_spec *k, const struct dag_record *r, struct key *ret)
{
	struct key key = {key_of(k, r), 0};
	int n;

	if (k->type == KEY_TEXT) {
		key.prefix = text_prefix(key.text);
	} else if (!number_prefix_of(k->type, key.text, &key.prefix)) {
		n = key_refuse(k->v, k->invalid, k->type, r, "key", k->field, key.text);
		if (n <= 0)
			return n;
		key.text.len = 0;
	}
	key.prefix = k->descending ? ~key.prefix : key.prefix;
	*ret = key;
	return 1;
}

bool key_is_whole(const struct key_spec *k, uint64_t prefix)
{
	return k->type != KEY_TEXT && number_prefix_is_whole(k->descending ? ~prefix : prefix);
}

static int compare_numbers(enum key_type type, struct span a, struct span b)
{
	struct number m, n;
	long double x, y;

	if (type == KEY_GENERAL) {
		general_parse(a.data, a.len, &x);
		general_parse(b.data, b.len, &y);
		return general_compare(x, y);
	}
	number_parse(a.data, a.len, &m);
	number_parse(b.data, b.len, &n);
	return number_compare(&m, &n);
}

static int compare_text(struct span a, struct span b, size_t known)
{
	struct span x = key_skip(a, known), y = key_skip(b, known);
	size_t n = x.len < y.len ? x.len : y.len;
	int c = n ? memcmp(x.data, y.data, n) : 0;

	return c ? c : (a.len > b.len) - (a.len < b.len);
}

int key_compare_rest(const struct key_spec *k, struct span a, struct span b, uint64_t prefix, size_t known)
{
	int c;

	if (key_is_whole(k, prefix))
		return 0;
	c = k->type == KEY_TEXT ? compare_text(a, b, known) : compare_numbers(k->type, a, b);
	return k->descending ? -c : c;
}

int key_compare(const struct key_spec *k, struct key a, struct key b)
{
	if (a.prefix != b.prefix)
		return a.prefix < b.prefix ? -1 : 1;
	return key_compare_rest(k, a.text, b.text, a.prefix, 8);
}

bool key_keep(struct kept_key *kept, struct key key)
{
	if (key.text.len > kept->cap) {
		char *room = realloc(kept->room, 2 * key.text.len);

		if (!room)
			return false;
		kept->room = room;
		kept->cap = 2 * key.text.len;
	}
	if (key.text.len)
		memcpy(kept->room, key.text.data, key.text.len);
	kept->key = (struct key){{kept->room, key.text.len}, key.prefix};
	return true;
}

int key_refuse_order(const struct key_spec *k, const struct dag_record *r, struct span text, uint64_t before,
	struct span before_text, const char *what, const char *advice)
{
	char shown[KEY_SHOWN_LEN], shown_before[KEY_SHOWN_LEN], producer[32] = "";

	if (dag_producers(k->v, r->port) > 1)
		snprintf(producer, sizeof(producer), " from producer %u", r->producer);
	key_show(text, shown);
	key_show(before_text, shown_before);
	return dag_fail_at(k->v, r,
		"%s is not sorted by its key: on input port %u%s record %llu, %s, belongs before record "
		"%llu, %s; "
		"sort it first by the same key (%s%s), %s",
		what, r->port, producer, (unsigned long long)r->number + 1, shown,
		(unsigned long long)before + 1, shown_before,
		k->type == KEY_NUMBER    ? "type: number, as sort -n"
		: k->type == KEY_GENERAL ? "type: general, as sort -g"
					 : "by bytes, as LC_ALL=C sort",
		k->descending ? " -r" : "", advice);
}

/* ---- names ---- */

static bool make_room(struct namer *n, size_t len)
{
	char *grown;

	if (len <= n->cap)
		return true;
	grown = realloc(n->text, len * 2);
	if (!grown)
		return false;
	n->text = grown;
	n->cap = len * 2;
	return true;
}

struct span key_name(const struct key_spec *k, struct span text, struct namer *n)
{
	struct number number;
	long double x;
	size_t len;

	if (k->type == KEY_TEXT)
		return text;
	if (k->type == KEY_GENERAL) {
		if (!make_room(n, GENERAL_TEXT_LEN))
			return (struct span){0};
		general_parse(text.data, text.len, &x);
		return (struct span){n->text, general_write(x, n->text)};
	}
	number_parse(text.data, text.len, &number);
	len = number_length(&number);
	if (!make_room(n, len))
		return (struct span){0};
	number_write(&number, n->text);
	return (struct span){n->text, len};
}

int key_read_name(const struct key_spec *k, const struct dag_record *r, struct namer *namer, struct span *ret)
{
	struct key key;
	int n;

	if (k->type == KEY_TEXT) {
		*ret = key_of(k, r);
		return 1;
	}
	n = key_read(k, r, &key);
	if (n <= 0)
		return n;
	*ret = key_name(k, key.text, namer);
	return ret->data ? 1 : dag_fail(k->v, "out of memory");
}
