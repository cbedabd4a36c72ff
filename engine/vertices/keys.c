/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of records: where they are, and how they order. */
#include "std.h"

struct key_spec key_spec_read(struct dag_vertex *v)
{
	const char *delimiter = dag_param(v, "delimiter");

	return (struct key_spec){(uint32_t)std_number(v, "key", 0),
		!delimiter || !*delimiter   ? 0
		: !strcmp(delimiter, "tab") ? '\t'
					    : *delimiter,
		(uint32_t)std_number(v, "from", 0), (uint32_t)std_number(v, "to", 0),
		std_is(v, "type", "number"), std_is(v, "order", "desc")};
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

double key_number(struct span text)
{
	char buf[64], *end;
	size_t n = text.len < sizeof(buf) - 1 ? text.len : sizeof(buf) - 1;

	memcpy(buf, text.data, n);
	buf[n] = 0;
	return strtod(buf, &end);
}

uint64_t key_prefix(const struct key_spec *k, struct span key)
{
	unsigned char bytes[8] = {0};
	uint64_t p;

	if (k->number) {
		double d = key_number(key) + 0.0; /* −0 is 0 */

		memcpy(&p, &d, sizeof(p));
		p = p >> 63 ? ~p : p | 1ull << 63;
	} else {
		if (key.len)
			memcpy(bytes, key.data, key.len < 8 ? key.len : 8);
		memcpy(&p, bytes, sizeof(p));
		p = __builtin_bswap64(p);
	}
	return k->descending ? ~p : p;
}

int key_compare_rest(const struct key_spec *k, struct span a, struct span b, size_t known)
{
	struct span x = key_skip(a, known), y = key_skip(b, known);
	size_t n = x.len < y.len ? x.len : y.len;
	int c = n ? memcmp(x.data, y.data, n) : 0;

	if (!c)
		c = a.len < b.len ? -1 : a.len > b.len;
	return k->descending ? -c : c;
}

int key_compare(const struct key_spec *k, struct span a, uint64_t a_prefix, struct span b, uint64_t b_prefix)
{
	if (a_prefix != b_prefix)
		return a_prefix < b_prefix ? -1 : 1;
	return k->number ? 0 : key_compare_rest(k, a, b, 8);
}
