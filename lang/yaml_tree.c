/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml's events, folded into a tree with a stack of open lists and maps. */
#include "yaml_tree.h"

#include <stdlib.h>
#include <yaml.h>

struct level {
	struct yaml_node *node;
	struct yaml_node **tail;
	struct yaml_node *key; /* MAP: waits for its value */
};

struct tree_parser {
	struct arena *arena;
	const char *file;
	struct dag_diag *diag;
	struct level stack[YAML_DEPTH_MAX];
	size_t depth;
	struct yaml_node *root;
	const char *end;  /* of the file's text */
	const char *line; /* where in it line `line_number` begins; only ever goes on */
	size_t line_number;
};

static int fail(struct tree_parser *p, yaml_mark_t mark, const char *text)
{
	dag_diag_add(p->diag, p->file, (int)mark.line + 1, (int)mark.column + 1, "%s", text);
	return DAG_EINVAL;
}

/* By text; of those that are alike the earlier one first. */
static int compare_keys(const void *a, const void *b)
{
	const struct yaml_node *x = *(struct yaml_node *const *)a, *y = *(struct yaml_node *const *)b;
	int order = strcmp(x->text, y->text);

	if (order)
		return order;
	return x->line != y->line ? x->line - y->line : x->column - y->column;
}

/* No key of the map may be there twice. */
static int check_keys(struct tree_parser *p, const struct yaml_node *map)
{
	const struct yaml_node **keys = base_alloc((map->count + 1) * sizeof(*keys)), *twice = NULL;
	size_t n = 0;

	for (const struct yaml_node *e = map->child; e; e = e->next)
		keys[n++] = e->key;
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (size_t i = 1; i < n && !twice; i++)
		if (!strcmp(keys[i - 1]->text, keys[i]->text))
			twice = keys[i];
	free(keys);
	if (!twice)
		return 0;
	dag_diag_add(
		p->diag, p->file, twice->line, twice->column, "the key '%s' is there twice", twice->text);
	return DAG_EINVAL;
}

static int close_level(struct tree_parser *p)
{
	const struct yaml_node *node = p->stack[--p->depth].node;

	return node->kind == YAML_MAP && node->count > 1 ? check_keys(p, node) : 0;
}

/* Hangs a complete or opened node below the innermost open one. */
static int attach(struct tree_parser *p, struct yaml_node *node, yaml_mark_t mark)
{
	struct level *top;

	if (!p->depth) {
		p->root = node;
		return 0;
	}
	top = &p->stack[p->depth - 1];
	if (top->node->kind == YAML_MAP && !top->key) {
		if (node->kind != YAML_SCALAR)
			return fail(p, mark, "a key must be plain text");
		top->key = node;
		return 0;
	}
	node->key = top->key;
	top->key = NULL;
	*top->tail = node;
	top->tail = &node->next;
	top->node->count++;
	return 0;
}

static int open_level(struct tree_parser *p, struct yaml_node *node, yaml_mark_t mark)
{
	int r = attach(p, node, mark);

	if (r < 0)
		return r;
	if (p->depth == YAML_DEPTH_MAX)
		return fail(p, mark, "lists and maps are nested too deep; the limit is 64");
	p->stack[p->depth++] = (struct level){.node = node, .tail = &node->child};
	return 0;
}

static struct yaml_node *new_node(
	struct tree_parser *p, enum yaml_kind kind, yaml_mark_t mark, const void *text, size_t len)
{
	struct yaml_node *node = arena_alloc(p->arena, offsetof(struct yaml_node, text) + len + 1);

	node->kind = (uint8_t)kind;
	node->line = (int)mark.line + 1;
	node->column = (int)mark.column + 1;
	memcpy(node->text, text, len);
	return node;
}

/* The blanks before the first line of a literal text, whose `|` is on line `number` (from 0). */
static uint16_t find_indent(struct tree_parser *p, size_t number)
{
	const char *c, *first;

	while (p->line_number <= number && p->line < p->end) {
		const char *lf = memchr(p->line, '\n', (size_t)(p->end - p->line));

		p->line = lf ? lf + 1 : p->end;
		p->line_number++;
	}
	c = p->line;
	while (c < p->end && *c == '\n')
		c++;
	first = c;
	while (c < p->end && *c == ' ')
		c++;
	return (uint16_t)DAG_MIN(c - first, UINT16_MAX);
}

static int on_scalar(struct tree_parser *p, const yaml_event_t *event)
{
	const void *text = event->data.scalar.value;
	size_t len = event->data.scalar.length;
	struct yaml_node *node;

	if (memchr(text, 0, len))
		return fail(p, event->start_mark, "text with a NUL byte in it");
	node = new_node(p, YAML_SCALAR, event->start_mark, text, len);
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (event->data.scalar.style == YAML_LITERAL_SCALAR_STYLE)
		node->indent = find_indent(p, event->start_mark.line);
	return attach(p, node, event->start_mark);
}

static int on_event(struct tree_parser *p, const yaml_event_t *event)
{
	yaml_mark_t mark = event->start_mark;

	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return on_scalar(p, event);
	case YAML_SEQUENCE_START_EVENT:
		return open_level(p, new_node(p, YAML_LIST, mark, "", 0), mark);
	case YAML_MAPPING_START_EVENT:
		return open_level(p, new_node(p, YAML_MAP, mark, "", 0), mark);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return close_level(p);
	case YAML_ALIAS_EVENT:
		return fail(p, mark, "aliases (*name) are not supported; use a parameter instead");
	case YAML_DOCUMENT_START_EVENT:
		if (p->root)
			return fail(p, mark, "a graph file is one document; here a second one starts");
		return 0;
	default:
		return 0;
	}
}

static int parse_events(struct tree_parser *p, yaml_parser_t *parser)
{
	for (size_t events = 0;; events++) {
		yaml_event_t event;
		bool end;
		int r;

		if (!yaml_parser_parse(parser, &event)) {
			yaml_mark_t mark = parser->problem_mark;

			/* A reader error (encoding) has an offset in bytes, and no mark. */
			dag_diag_add(p->diag, p->file, (int)mark.line + 1, (int)mark.column + 1, "%s%s%s",
				parser->problem ? parser->problem : "not YAML", parser->context ? ", " : "",
				parser->context ? parser->context : "");
			return DAG_EINVAL;
		}
		end = event.type == YAML_STREAM_END_EVENT;
		r = on_event(p, &event);
		if (r == 0 && events == YAML_EVENTS_MAX)
			r = fail(p, event.start_mark, "the file has too many parts; the limit is a million");
		yaml_event_delete(&event);
		if (r < 0 || end)
			return r;
	}
}

int yaml_parse(struct arena *arena, const char *file, const char *text, size_t len,
	struct yaml_node **ret_root, struct dag_diag *diag)
{
	struct tree_parser p = {.arena = arena, .file = file, .diag = diag, .line = text, .end = text + len};
	yaml_parser_t parser;
	int r;

	if (len > YAML_BYTES_MAX) {
		dag_diag_add(diag, file, 0, 0, "the file is larger than 1 MiB, the limit for a graph file");
		return DAG_EINVAL;
	}
	if (!yaml_parser_initialize(&parser))
		base_oom(sizeof(parser));
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	r = parse_events(&p, &parser);
	yaml_parser_delete(&parser);
	if (r == 0)
		*ret_root = p.root;
	return r;
}

struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	if (!map || map->kind != YAML_MAP)
		return NULL;
	for (struct yaml_node *n = map->child; n; n = n->next)
		if (!strcmp(n->key->text, key))
			return n;
	return NULL;
}

const char *yaml_kind_name(const struct yaml_node *node)
{
	static const char *const names[] = {"text", "a list", "a map"};

	return names[node->kind];
}
