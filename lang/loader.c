/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, sizes, formats and keys of the graph file, each with its error in one place. */
#include "loader.h"
#include "base/buffer.h"
#include "base/size.h"

#include <ctype.h>

bool loader_map(struct loader *l, const struct yaml_node *node, const char *what, const char *like)
{
	if (node->kind == YAML_MAP)
		return true;
	loader_error(l, node, "%s must be a map, not %s: such as %s", what, yaml_kind_name(node), like);
	return false;
}

char *loader_list(const char *const *names, size_t n)
{
	struct buffer b = {0};

	for (size_t i = 0; i < n; i++)
		buffer_format(&b, "%s%s", !i ? "" : i + 1 < n ? ", " : " and ", names[i]);
	buffer_append(&b, "", 1);
	return (char *)b.data;
}

/* What may have been meant by a key that means nothing. */
static char *key_advice(const struct yaml_node *e, const char *const *names, size_t n, const char *what)
{
	const char *key = e->key->text, *nearest = dag_nearest(key, names, n), *colon = strchr(key, ':');
	char *all, *advice;

	if (nearest)
		return base_format("; did you mean '%s'?", nearest);
	if (strpbrk(key, " $(|'\"") || (*key == '-' && e->kind == YAML_SCALAR && !*e->text))
		return base_strdup("; in {…} a comma ends a text: put that in quotes, or below 'sh: |'");
	if (colon)
		return base_format("; a blank belongs behind a colon: '%.*s: %.40s'", (int)(colon - key), key,
			colon + 1);
	all = loader_list(names, n);
	advice = base_format("; %s has %s", what, all);
	free(all);
	return advice;
}

void loader_check_keys(
	struct loader *l, const struct yaml_node *map, const char *const *names, size_t n, const char *what)
{
	for (const struct yaml_node *e = map->child; e; e = e->next) {
		char *advice;
		bool known = false;

		for (size_t i = 0; i < n && !known; i++)
			known = !strcmp(names[i], e->key->text);
		/* `x-…` holds what others name by `*`. */
		if (known || !strncmp(e->key->text, "x-", 2))
			continue;
		advice = key_advice(e, names, n, what);
		loader_error(l, e->key, "unknown key '%s' in %s%s", e->key->text, what, advice);
		free(advice);
	}
}

bool loader_number(struct loader *l, const struct yaml_node *node, const char *what, uint64_t min,
	uint64_t max, uint64_t *ret)
{
	const char *text;
	uint64_t n;
	int r;

	if (!node)
		return true;
	text = loader_text(l, node, what);
	if (!text)
		return false;
	r = size_parse_number(text, &n);
	if (r == DAG_EINVAL) {
		loader_error(l, node, "%s must be a whole number, not %s%s%s", what, *text ? "'" : "nothing",
			text, *text ? "'" : "");
		return false;
	}
	if (r == DAG_ELIMIT || n < min || n > max) {
		loader_error(l, node, "%s is %s; it must be from %llu to %llu", what, text,
			(unsigned long long)min, (unsigned long long)max);
		return false;
	}
	*ret = n;
	return true;
}

/* Nobody means so few bytes. */
#define SMALL_SIZE 1024

bool loader_bytes(struct loader *l, const struct yaml_node *node, const char *what, uint64_t *ret)
{
	const char *text;
	uint64_t n;
	int r;

	if (!node)
		return true;
	text = loader_text(l, node, what);
	if (!text)
		return false;
	r = size_parse_bytes(text, &n);
	if (r < 0 || !n) {
		loader_error(l, node,
			"%s must be a size such as 512KiB, 64MiB or 2GiB, not %s%s%s: a whole number from 1 "
			"on, and K, M, G or T behind it, which count by 1024%s",
			what, *text ? "'" : "nothing", text, *text ? "'" : "",
			r == DAG_ELIMIT ? "; that is more than can be counted" : "");
		return false;
	}
	if (n < SMALL_SIZE && isdigit((unsigned char)text[strlen(text) - 1]))
		loader_note(l, node, "%s is %s byte%s; did you mean %sMiB?", what, text, DAG_S(n), text);
	*ret = n;
	return true;
}

bool loader_bool(struct loader *l, const struct yaml_node *node, const char *what, bool *ret)
{
	const char *text;

	if (!node)
		return true;
	text = loader_text(l, node, what);
	if (!text)
		return false;
	if (strcmp(text, "true") && strcmp(text, "false")) {
		loader_error(l, node, "%s must be true or false, not '%s'", what, text);
		return false;
	}
	*ret = !strcmp(text, "true");
	return true;
}

bool loader_format(struct loader *l, const struct yaml_node *node, struct graph_format *ret)
{
	static const char *const names[] = {"lines", "kv", "bytes"};
	static const enum dag_format_kind kinds[] = {DAG_FORMAT_LINES, DAG_FORMAT_KV, DAG_FORMAT_BYTES};
	const char *text, *nearest;
	uint64_t size = 0;

	if (!node)
		return true;
	if (node->kind == YAML_MAP && node->count == 1 && yaml_get(node, "fixed")) {
		if (!loader_number(
			    l, yaml_get(node, "fixed"), "the size of fixed records", 1, 1u << 30, &size))
			return false;
		*ret = (struct graph_format){DAG_FORMAT_FIXED, (uint32_t)size};
		return true;
	}
	text = node->kind == YAML_SCALAR ? loader_text(l, node, "format") : "";
	if (!text)
		return false;
	for (size_t i = 0; i < DAG_LENGTH(names); i++)
		if (!strcmp(text, names[i])) {
			*ret = (struct graph_format){kinds[i], 0};
			return true;
		}
	nearest = dag_nearest(text, names, DAG_LENGTH(names));
	loader_error(l, node, "format must be lines, kv, bytes or {fixed: N}%s%s%s%s%s%s",
		*text ? ", not '" : "", text, *text ? "'" : "", nearest ? "; did you mean '" : "",
		nearest ? nearest : "", nearest ? "'?" : "");
	return false;
}

bool loader_pairs(struct loader *l, const struct yaml_node *node, const char *what, bool words,
	struct graph_pair **ret, uint32_t *ret_count)
{
	struct graph_pair *pairs;
	uint32_t n = 0;

	if (!node)
		return true;
	if (!loader_expect(l, node, YAML_MAP, what))
		return false;
	pairs = arena_alloc(&l->graph->arena, (node->count + 1) * sizeof(*pairs));
	for (const struct yaml_node *e = node->child; e; e = e->next) {
		const char *value =
			words ? loader_words(l, e, e->key->text) : loader_text(l, e, e->key->text);

		if (!value)
			return false;
		pairs[n++] = (struct graph_pair){arena_strdup(&l->graph->arena, e->key->text), value};
	}
	*ret = pairs;
	*ret_count = n;
	return true;
}

bool loader_name(struct loader *l, const struct yaml_node *node, const char *what)
{
	const char *c = node->text;
	bool ok = isalpha((unsigned char)*c) || *c == '_';

	for (; *c && ok; c++)
		ok = isalnum((unsigned char)*c) || *c == '_' || *c == '-';
	if (!ok || strlen(node->text) > 64)
		loader_error(l, node,
			"'%.80s' is no name for %s: up to 64 letters, digits, '_' and '-', not starting "
			"with a digit",
			node->text, what);
	return ok;
}
