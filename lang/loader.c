/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, sizes, formats and keys of the graph file, each with its error in one place. */
#include "loader.h"
#include "base/size.h"

#include <ctype.h>

struct graph_place loader_place(const struct loader *l, const struct yaml_node *node)
{
	return (struct graph_place){l->file, node ? node->line : 0, node ? node->column : 0};
}

void loader_error(struct loader *l, const struct yaml_node *node, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	dag_diag_add(l->diag, l->file, node ? node->line : 0, node ? node->column : 0, "%s", text);
	free(text);
}

bool loader_expect(struct loader *l, const struct yaml_node *node, enum yaml_kind kind, const char *what)
{
	static const char *const names[] = {"text", "a list", "a map"};

	if (node->kind == kind)
		return true;
	loader_error(l, node, "%s must be %s, not %s", what, names[kind], yaml_kind_name(node));
	return false;
}

void loader_check_keys(
	struct loader *l, const struct yaml_node *map, const char *const *names, size_t n, const char *what)
{
	for (const struct yaml_node *e = map->child; e; e = e->next) {
		const char *nearest;
		bool known = false;

		for (size_t i = 0; i < n && !known; i++)
			known = !strcmp(names[i], e->key->text);
		/* `x-…` holds what others name by `*`. */
		if (known || !strncmp(e->key->text, "x-", 2))
			continue;
		nearest = dag_nearest(e->key->text, names, n);
		if (nearest)
			loader_error(l, e->key, "unknown key '%s' in %s; did you mean '%s'?", e->key->text,
				what, nearest);
		else
			loader_error(l, e->key, "unknown key '%s' in %s%s", e->key->text, what,
				strpbrk(e->key->text, " $(|'\"")
					? "; in {…} a comma ends a text: put that in quotes, or below 'sh: |'"
					: "");
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
		loader_error(l, node, "%s must be a whole number, not '%s'", what, text);
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

bool loader_bytes(struct loader *l, const struct yaml_node *node, const char *what, uint64_t *ret)
{
	const char *text;
	uint64_t n;

	if (!node)
		return true;
	text = loader_text(l, node, what);
	if (!text)
		return false;
	if (size_parse_bytes(text, &n) < 0 || !n) {
		loader_error(l, node, "%s must be a size such as 64MiB, not '%s'", what, text);
		return false;
	}
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
	const char *text;
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
	loader_error(l, node, "format must be lines, kv, bytes or {fixed: N}");
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
