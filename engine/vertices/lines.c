/* SPDX-License-Identifier: Apache-2.0 */
/* Some fields of each line, and the lines that match. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "std.h"

#include <pcre2.h>

#define FIELDS_MAX 64

/* The fields' numbers; negative after a sentence. */
static int read_fields(struct dag_vertex *v, uint32_t fields[FIELDS_MAX], uint32_t *ret_count)
{
	const char *text = dag_param(v, "fields"), *at = text ? text : "1";
	uint32_t n = 0;

	for (;; at++) {
		size_t digits = strspn(at, "0123456789");
		unsigned long field = strtoul(at, NULL, 10);

		if (!digits || (at[digits] && at[digits] != ','))
			return dag_fail(v, "fields: '%s' is not a list of field numbers such as 3,1", text);
		if (!field || digits > 7 || field > FIELD_MAX)
			return dag_fail(v, "fields: '%s': a field's number is from 1 to %u", text, FIELD_MAX);
		if (n == FIELDS_MAX)
			return dag_fail(v, "fields: '%s' has more than %d numbers", text, FIELDS_MAX);
		fields[n++] = (uint32_t)field;
		at += digits;
		if (!*at)
			break;
	}
	*ret_count = n;
	return 0;
}

int cut_check(struct dag_vertex *v)
{
	uint32_t fields[FIELDS_MAX], n;
	int r = std_check_delimiter(v);

	return r < 0 ? r : read_fields(v, fields, &n);
}

int cut(struct dag_vertex *v)
{
	char delimiter = std_delimiter(v), *line = NULL;
	uint32_t fields[FIELDS_MAX], n = 0;
	struct dag_record r;
	size_t cap = 0;
	int got = read_fields(v, fields, &n);

	if (got < 0)
		return got;
	while ((got = dag_read(v, 0, &r)) > 0) {
		size_t len = 0;

		if ((r.len + 1) * n > cap) {
			char *bigger = realloc(line, (r.len + 1) * n * 2);

			if (!bigger) {
				free(line);
				return dag_fail(v, "out of memory");
			}
			line = bigger;
			cap = (r.len + 1) * n * 2;
		}
		for (uint32_t i = 0; i < n; i++) {
			struct span f = key_field(r.data, r.len, fields[i], delimiter);

			if (i)
				line[len++] = delimiter ? delimiter : ' ';
			memcpy(line + len, f.data, f.len);
			len += f.len;
		}
		got = dag_write(v, 0, line, len);
		if (got < 0)
			break;
	}
	free(line);
	return got;
}

/* NULL after a sentence. */
static pcre2_code *compile_pattern(struct dag_vertex *v)
{
	const char *pattern = dag_param(v, "pattern");
	PCRE2_UCHAR text[128];
	pcre2_code *code;
	PCRE2_SIZE at;
	int error;

	if (!pattern || !*pattern) {
		dag_fail(v, "%s: params: {pattern: 'a regular expression'}",
			pattern ? "pattern '' is in every line; grep needs one that is not"
				: "grep needs a pattern");
		return NULL;
	}
	code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, 0, &error, &at, NULL);
	if (code)
		return code;
	pcre2_get_error_message(error, text, sizeof(text));
	dag_fail(v, "pattern '%s', at %zu: %s", pattern, (size_t)at, (char *)text);
	return NULL;
}

int grep_check(struct dag_vertex *v)
{
	pcre2_code *code = compile_pattern(v);

	pcre2_code_free(code);
	return code ? 0 : DAG_EINVAL;
}

int grep(struct dag_vertex *v)
{
	const char *pattern = dag_param(v, "pattern");
	bool invert = std_is(v, "invert", "true");
	pcre2_code *code = compile_pattern(v);
	pcre2_match_data *match;
	struct dag_record r;
	int got;

	if (!code)
		return DAG_EINVAL;
	pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
	match = pcre2_match_data_create_from_pattern(code, NULL);
	while ((got = dag_read(v, 0, &r)) > 0) {
		int found = pcre2_match(code, (PCRE2_SPTR)r.data, r.len, 0, 0, match, NULL);

		if (found < PCRE2_ERROR_NOMATCH) {
			got = dag_fail(v,
				"pattern '%s' fails on record %llu of its input, with PCRE2's error %d",
				pattern, (unsigned long long)r.number + 1, found);
			break;
		}
		if ((found >= 0) != invert && (got = std_pass(v, 0, &r)) < 0)
			break;
	}
	pcre2_match_data_free(match);
	pcre2_code_free(code);
	return got;
}
