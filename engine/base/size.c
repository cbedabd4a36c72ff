/* SPDX-License-Identifier: Apache-2.0 */
/* Parses and prints quantities; every multiplication is checked. */
#include "size.h"

#include <ctype.h>
#include <stdio.h>

static int parse_prefix(const char *text, uint64_t *ret_number, const char **ret_rest)
{
	uint64_t n = 0;
	const char *c = text;

	if (!isdigit((unsigned char)*c))
		return DAG_EINVAL;
	for (; isdigit((unsigned char)*c); c++)
		if (__builtin_mul_overflow(n, 10, &n) ||
			__builtin_add_overflow(n, (uint64_t)(*c - '0'), &n) || n > INT64_MAX)
			return DAG_ELIMIT;
	*ret_number = n;
	*ret_rest = c;
	return 0;
}

int size_parse_number(const char *text, uint64_t *ret_number)
{
	const char *rest;
	uint64_t n;
	int r = parse_prefix(text, &n, &rest);

	if (r < 0)
		return r;
	if (*rest)
		return DAG_EINVAL;
	*ret_number = n;
	return 0;
}

int size_parse_bytes(const char *text, uint64_t *ret_bytes)
{
	static const struct {
		const char *unit;
		int shift;
	} units[] = {{"", 0}, {"B", 0}, {"K", 10}, {"k", 10}, {"KiB", 10}, {"M", 20}, {"MiB", 20}, {"G", 30},
		{"GiB", 30}, {"T", 40}, {"TiB", 40}};
	const char *rest;
	uint64_t n;
	int r = parse_prefix(text, &n, &rest);

	if (r < 0)
		return r;
	while (*rest == ' ')
		rest++;
	for (size_t i = 0; i < DAG_LENGTH(units); i++)
		if (!strcmp(rest, units[i].unit)) {
			if (n > (uint64_t)INT64_MAX >> units[i].shift)
				return DAG_ELIMIT;
			*ret_bytes = n << units[i].shift;
			return 0;
		}
	return DAG_EINVAL;
}

int size_parse_duration(const char *text, dag_instant *ret_duration)
{
	static const struct {
		const char *unit;
		dag_instant ns;
	} units[] = {{"", DAG_SECOND}, {"ms", DAG_MS}, {"s", DAG_SECOND}, {"m", 60 * DAG_SECOND},
		{"h", 3600 * DAG_SECOND}};
	const char *rest;
	uint64_t n;
	int r = parse_prefix(text, &n, &rest);

	if (r < 0)
		return r;
	for (size_t i = 0; i < DAG_LENGTH(units); i++)
		if (!strcmp(rest, units[i].unit)) {
			if (n > (uint64_t)INT64_MAX / (uint64_t)units[i].ns)
				return DAG_ELIMIT;
			*ret_duration = (dag_instant)n * units[i].ns;
			return 0;
		}
	return DAG_EINVAL;
}

char *size_format(uint64_t bytes, char buf[SIZE_TEXT_LEN])
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t i = 0;

	while (value >= 1024 && i + 1 < DAG_LENGTH(names)) {
		value /= 1024;
		i++;
	}
	snprintf(buf, SIZE_TEXT_LEN, i ? "%.1f %s" : "%.0f %s", value, names[i]);
	return buf;
}
