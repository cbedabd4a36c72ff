/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml's events, folded into a tree with a stack of open lists and maps. */
#include "yaml_tree.h"

#include <uthash.h>
#include <yaml.h>

struct known_key {
	const char *text;
	UT_hash_handle hh;
};

struct level {
	struct yaml_node *node;
	struct yaml_node **tail;
	struct yaml_node *key; /* MAP: waits for its value */
	struct known_key *keys;
};

struct tree_parser {
	struct arena *arena;
	const char *file;
	struct dag_diag *diag;
	struct level stack[YAML_DEPTH_MAX];
	size_t depth;
	struct yaml_node *root;
};

static int fail(struct tree_parser *p, yaml_mark_t mark, const char *text)
{
	dag_diag_add(p->diag, p->file, (int)mark.line + 1, (int)mark.column + 1, "%s", text);
	return DAG_EINVAL;
}

/* False where the map has the key already. */
static bool add_key(struct tree_parser *p, struct level *map, const char *text)
{
	struct known_key *known;

	HASH_FIND_STR(map->keys, text, known);
	if (known)
		return false;
	known = arena_alloc(p->arena, sizeof(*known));
	known->text = text;
	HASH_ADD_KEYPTR(hh, map->keys, text, strlen(text), known);
	return true;
}

static void close_level(struct tree_parser *p)
{
	p->depth--;
	HASH_CLEAR(hh, p->stack[p->depth].keys);
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
		if (!add_key(p, top, node->text)) {
			char *text = base_format("the key '%s' is there twice", node->text);
			int r = fail(p, mark, text);

			free(text);
			return r;
		}
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

static int on_event(struct tree_parser *p, const yaml_event_t *event)
{
	struct yaml_node *node = arena_alloc(p->arena, sizeof(*node));

	node->line = (int)event->start_mark.line + 1;
	node->column = (int)event->start_mark.column + 1;
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		node->kind = YAML_SCALAR;
		if (memchr(event->data.scalar.value, 0, event->data.scalar.length))
			return fail(p, event->start_mark, "text with a NUL byte in it");
		node->text =
			arena_strndup(p->arena, (char *)event->data.scalar.value, event->data.scalar.length);
		node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
		return attach(p, node, event->start_mark);
	case YAML_SEQUENCE_START_EVENT:
		node->kind = YAML_LIST;
		return open_level(p, node, event->start_mark);
	case YAML_MAPPING_START_EVENT:
		node->kind = YAML_MAP;
		return open_level(p, node, event->start_mark);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		close_level(p);
		return 0;
	case YAML_ALIAS_EVENT:
		return fail(
			p, event->start_mark, "aliases (*name) are not supported; use a parameter instead");
	case YAML_DOCUMENT_START_EVENT:
		if (p->root)
			return fail(p, event->start_mark,
				"a graph file is one document; here a second one starts");
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
	struct tree_parser p = {.arena = arena, .file = file, .diag = diag};
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
	while (p.depth)
		close_level(&p);
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
