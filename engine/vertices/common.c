/* SPDX-License-Identifier: Apache-2.0 */
/* What the vertices share: records that are passed on, and parameters. */
#include "std.h"

int std_pass(struct dag_vertex *v, uint32_t port, const struct dag_record *r)
{
	if (r->key)
		return dag_write_kv(v, port, r->key, r->key_len, r->data, r->len);
	return dag_write(v, port, r->data, r->len);
}

/* The graph file has checked what it is: a number, perhaps with K, M, G or T behind it (KiB is the same). */
uint64_t std_number(struct dag_vertex *v, const char *name, uint64_t otherwise)
{
	static const char units[] = "KMGT";
	const char *text = dag_param(v, name), *unit;
	uint64_t n;
	char *end;

	if (!text)
		return otherwise;
	n = strtoull(text, &end, 10);
	end += strspn(end, " ");
	unit = *end ? strchr(units, *end == 'k' ? 'K' : *end) : NULL;
	return unit ? n << 10 * (unit - units + 1) : n;
}

bool std_is(struct dag_vertex *v, const char *name, const char *value)
{
	const char *text = dag_param(v, name);

	return text && !strcmp(text, value);
}
