/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml's events, folded into a tree with a stack of open lists and maps. */
#include "yaml_tree.h"
#include "base/buffer.h"
#include "base/table.h"

#include <stdlib.h>
#include <yaml.h>

/* `&name` at a part of the file. */
struct anchor {
	char *name;
	const struct yaml_node *node;
	size_t parts, height; /* of what stands there; 0 parts while it is open */
	UT_hash_handle hh;
};

struct level {
	struct yaml_node *node;
	struct yaml_node **tail;
	struct yaml_node *key; /* MAP: waits for its value */
	struct anchor *anchor;
	size_t parts, height; /* parts: of the file before it */
	bool merges;          /* MAP: has a key `<<` */
};

struct tree_parser {
	struct arena *arena;
	const char *file;
	struct dag_diag *diag;
	struct level stack[YAML_DEPTH_MAX];
	size_t depth, parts;
	struct anchor *anchors;
	struct yaml_node *root;
	const char *text, *end; /* the file */
	const char *line;       /* where in it line `line_number` begins; only ever goes on */
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
	const struct yaml_node **keys = base_alloc((map->count + 1) * sizeof(*keys)), *first, *twice = NULL;
	size_t n = 0;

	for (const struct yaml_node *e = map->child; e; e = e->next)
		keys[n++] = e->key;
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (size_t i = 1; i < n && !twice; i++)
		if (!strcmp(keys[i - 1]->text, keys[i]->text)) {
			first = keys[i - 1];
			twice = keys[i];
		}
	free(keys);
	if (!twice)
		return 0;
	dag_diag_add(p->diag, p->file, twice->line, twice->column,
		"the key '%s' is there twice, first in line %d: what stands below one of them would be lost",
		twice->text, first->line);
	return DAG_EINVAL;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(struct yaml_node *const *)a)->text, (*(struct yaml_node *const *)b)->text);
}

/* Entries of `from` whose keys are not among the `n` sorted ones, at the end of `map`. */
static void merge_map(struct tree_parser *p, struct level *map, const struct yaml_node **keys, size_t n,
	const struct yaml_node *from)
{
	for (const struct yaml_node *e = from->child; e; e = e->next) {
		struct yaml_node *copy;

		if (bsearch(&e->key, keys, n, sizeof(*keys), compare_names))
			continue;
		copy = arena_alloc(p->arena, offsetof(struct yaml_node, text) + strlen(e->text) + 1);
		memcpy(copy, e, offsetof(struct yaml_node, text) + strlen(e->text) + 1);
		copy->next = NULL;
		*map->tail = copy;
		map->tail = &copy->next;
		map->node->count++;
	}
}

/* Takes `<<` out of a map, and what it names in; the map's own keys go before, then those of the first. */
static int merge(struct tree_parser *p, struct level *level)
{
	struct yaml_node *map = level->node, *from = NULL, **at = &map->child;
	const struct yaml_node **keys;
	int r = 0;

	while (strcmp((*at)->key->text, "<<") || !(*at)->key->plain)
		at = &(*at)->next;
	from = *at;
	*at = from->next;
	if (!*at)
		level->tail = at;
	map->count--;
	for (const struct yaml_node *m = from->kind == YAML_LIST ? from->child : from; m && r == 0;
		m = from->kind == YAML_LIST ? m->next : NULL) {
		size_t n = 0;

		if (m->kind != YAML_MAP) {
			dag_diag_add(p->diag, p->file, from->line, from->column,
				"'<<' takes a map, or a list of maps: <<: *name");
			return DAG_EINVAL;
		}
		keys = base_alloc((map->count + 1) * sizeof(*keys));
		for (const struct yaml_node *e = map->child; e; e = e->next)
			keys[n++] = e->key;
		qsort(keys, n, sizeof(*keys), compare_names);
		merge_map(p, level, keys, n, m);
		free(keys);
	}
	return r;
}

static int close_level(struct tree_parser *p)
{
	struct level *level = &p->stack[--p->depth];
	const struct yaml_node *node = level->node;
	int r = node->kind == YAML_MAP && node->count > 1 ? check_keys(p, node) : 0;

	if (r == 0 && level->merges)
		r = merge(p, level);
	if (level->anchor) {
		level->anchor->parts = p->parts - level->parts;
		level->anchor->height = level->height;
	}
	if (p->depth)
		p->stack[p->depth - 1].height = DAG_MAX(p->stack[p->depth - 1].height, level->height + 1);
	return r;
}

/* The anchor at a part that begins, or NULL. One of the same name that stands earlier is done with. */
static struct anchor *set_anchor(struct tree_parser *p, const yaml_char_t *name, const struct yaml_node *node)
{
	struct anchor *anchor = NULL;

	if (!name)
		return NULL;
	HASH_FIND_STR(p->anchors, (const char *)name, anchor);
	if (!anchor) {
		anchor = arena_alloc(p->arena, sizeof(*anchor));
		anchor->name = arena_strdup(p->arena, (const char *)name);
		HASH_ADD_KEYPTR(hh, p->anchors, anchor->name, strlen(anchor->name), anchor);
	}
	anchor->node = node;
	anchor->parts = anchor->height = 0;
	return anchor;
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
		top->merges = top->merges || (node->plain && !strcmp(node->text, "<<"));
		return 0;
	}
	node->key = top->key;
	top->key = NULL;
	*top->tail = node;
	top->tail = &node->next;
	top->node->count++;
	return 0;
}

static int open_level(
	struct tree_parser *p, struct yaml_node *node, const yaml_char_t *anchor, yaml_mark_t mark)
{
	int r = attach(p, node, mark);

	if (r < 0)
		return r;
	if (p->depth == YAML_DEPTH_MAX)
		return fail(p, mark, "lists and maps are nested too deep; the limit is 64");
	p->stack[p->depth++] = (struct level){.node = node,
		.tail = &node->child,
		.anchor = set_anchor(p, anchor, node),
		.parts = p->parts - 1};
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
	struct anchor *anchor;

	if (memchr(text, 0, len))
		return fail(p, event->start_mark, "text with a NUL byte in it");
	node = new_node(p, YAML_SCALAR, event->start_mark, text, len);
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (event->data.scalar.style == YAML_LITERAL_SCALAR_STYLE)
		node->indent = find_indent(p, event->start_mark.line);
	anchor = set_anchor(p, event->data.scalar.anchor, node);
	if (anchor)
		anchor->parts = 1;
	return attach(p, node, event->start_mark);
}

/* A copy of the node that was named, at this place, with the same parts below it. */
static int on_alias(struct tree_parser *p, const yaml_event_t *event)
{
	const char *name = (const char *)event->data.alias.anchor;
	struct anchor *anchor;
	struct yaml_node *node;
	char *text = NULL;

	HASH_FIND_STR(p->anchors, name, anchor);
	if (!anchor)
		text = base_format("there is no '&%s' before this '*%s'", name, name);
	else if (!anchor->parts)
		text = base_format("'*%s' stands inside of what it names", name);
	else if (p->depth + anchor->height > YAML_DEPTH_MAX)
		text = base_strdup("lists and maps are nested too deep; the limit is 64");
	if (text) {
		fail(p, event->start_mark, text);
		free(text);
		return DAG_EINVAL;
	}
	p->parts += anchor->parts - 1;
	node = new_node(
		p, anchor->node->kind, event->start_mark, anchor->node->text, strlen(anchor->node->text));
	node->child = anchor->node->child;
	node->count = anchor->node->count;
	node->plain = anchor->node->plain;
	if (p->depth)
		p->stack[p->depth - 1].height = DAG_MAX(p->stack[p->depth - 1].height, anchor->height + 1);
	return attach(p, node, event->start_mark);
}

/* `!include x` would be taken for the text 'x'. */
static int check_tag(struct tree_parser *p, const yaml_char_t *tag, yaml_mark_t mark)
{
	static const char own[] = "tag:yaml.org,2002:";
	static const char *const plain[] = {"str", "int", "float", "bool", "null", "map", "seq"};
	const char *name = (const char *)tag;
	bool is_own;
	char *text;

	if (!name || !strcmp(name, "!"))
		return 0;
	is_own = !strncmp(name, own, sizeof(own) - 1);
	for (size_t i = 0; is_own && i < DAG_LENGTH(plain); i++)
		if (!strcmp(name + sizeof(own) - 1, plain[i]))
			return 0;
	text = base_format(
		"the tag '%s%.80s' means nothing in a graph file: leave it out, or put the text in quotes",
		is_own ? "!!" : "", is_own ? name + sizeof(own) - 1 : name);
	fail(p, mark, text);
	free(text);
	return DAG_EINVAL;
}

static int check_tags(struct tree_parser *p, const yaml_event_t *event)
{
	const yaml_char_t *tag = event->type == YAML_SCALAR_EVENT           ? event->data.scalar.tag
				 : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.tag
				 : event->type == YAML_MAPPING_START_EVENT  ? event->data.mapping_start.tag
									    : NULL;

	return check_tag(p, tag, event->start_mark);
}

static int on_event(struct tree_parser *p, const yaml_event_t *event)
{
	yaml_mark_t mark = event->start_mark;

	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return on_scalar(p, event);
	case YAML_SEQUENCE_START_EVENT:
		return open_level(
			p, new_node(p, YAML_LIST, mark, "", 0), event->data.sequence_start.anchor, mark);
	case YAML_MAPPING_START_EVENT:
		return open_level(
			p, new_node(p, YAML_MAP, mark, "", 0), event->data.mapping_start.anchor, mark);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return close_level(p);
	case YAML_ALIAS_EVENT:
		return on_alias(p, event);
	case YAML_DOCUMENT_START_EVENT:
		if (p->root)
			return fail(p, mark, "a graph file is one document; here a second one starts");
		return 0;
	default:
		return 0;
	}
}

/* A tab among the blanks that a line begins with: what libyaml says of it helps nobody. */
static bool is_tab(struct tree_parser *p, size_t number)
{
	const char *c = p->text;

	for (size_t i = 0; i < number && c; i++) {
		c = memchr(c, '\n', (size_t)(p->end - c));
		c = c ? c + 1 : NULL;
	}
	while (c && c < p->end && *c == ' ')
		c++;
	return c && c < p->end && *c == '\t';
}

/* A byte that is no text has an offset and no mark. */
static int refuse_byte(struct tree_parser *p, const yaml_parser_t *parser)
{
	bool is_control = parser->problem && strstr(parser->problem, "control");
	size_t len = (size_t)(p->end - p->text), at = DAG_MIN(parser->problem_offset, len ? len - 1 : 0);
	yaml_mark_t mark = {0};
	unsigned byte;
	char *text;
	int r;

	/* Of a character that is cut off, the byte behind it is what libyaml names. */
	for (int back = 0; !is_control && back < 4 && at && (unsigned char)p->text[at] < 0x80; back++)
		at--;
	byte = (unsigned char)p->text[at];
	for (size_t i = 0; i < at; i++) {
		mark.line += p->text[i] == '\n';
		mark.column = p->text[i] == '\n' ? 0 : mark.column + 1;
	}
	text = is_control ? base_format("a control character (0x%02x) is no text: take it out, or write it "
					"as \"\\x%02x\" in quotes",
				    byte, byte)
			  : base_format("the byte 0x%02x here is not UTF-8: save the file as UTF-8", byte);
	r = fail(p, mark, text);
	free(text);
	return r;
}

/* What libyaml says is of its own insides; these are the errors that people make. */
static const char *advice_for(const char *problem)
{
	static const struct {
		const char *problem, *advice;
	} known[] = {{"mapping values are not allowed",
			     "a text with ': ' in it stands in quotes, or below 'sh: |'; "
			     "or a line before lacks its ':', or is indented unlike"},
		{"found character that cannot start any token",
			"a text that begins with this character stands in quotes"},
		{"did not find expected key", "this line is indented unlike those that it belongs to, or a "
					      "quote is open or closed too "
					      "early"},
		{"did not find expected comment or line break",
			"nothing stands behind '|': the text begins on the next line, indented"},
		{"did not find expected ',' or '}'", "a '}' or a ',' is missing before this"},
		{"did not find expected ',' or ']'", "a ']' or a ',' is missing before this"},
		{"could not find expected ':'",
			"a key without its ': ' stands before this, or a text that is not indented"},
		{"found unexpected end of stream", "a quote is not closed"},
		{"did not find expected '-' indicator",
			"each item of the list begins with '- ', all below one another"},
		{"block sequence entries are not allowed",
			"'- ' begins an item of a list, on a line of its own"}};

	for (size_t i = 0; i < DAG_LENGTH(known); i++)
		if (!strncmp(problem, known[i].problem, strlen(known[i].problem)))
			return known[i].advice;
	return NULL;
}

static int refuse_syntax(struct tree_parser *p, const yaml_parser_t *parser)
{
	yaml_mark_t mark = parser->problem_mark;
	const char *problem = parser->problem ? parser->problem : "not YAML", *advice = advice_for(problem);
	struct buffer b = {0};

	if (parser->error == YAML_READER_ERROR)
		return refuse_byte(p, parser);
	if (is_tab(p, mark.line))
		return fail(p, mark, "a tab cannot indent in YAML: put blanks there");
	buffer_format(&b, "%s", advice ? advice : problem);
	if (parser->context && parser->context_mark.line + 1 < mark.line + 1)
		buffer_format(&b, " (%s that begins in line %zu, column %zu)", parser->context,
			parser->context_mark.line + 1, parser->context_mark.column + 1);
	buffer_append(&b, "", 1);
	fail(p, mark, (char *)b.data);
	buffer_fini(&b);
	return DAG_EINVAL;
}

static int parse_events(struct tree_parser *p, yaml_parser_t *parser)
{
	for (;;) {
		yaml_event_t event;
		bool end;
		int r;

		if (!yaml_parser_parse(parser, &event))
			return refuse_syntax(p, parser);
		end = event.type == YAML_STREAM_END_EVENT;
		p->parts += event.type == YAML_SCALAR_EVENT || event.type == YAML_ALIAS_EVENT ||
			    event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT;
		r = check_tags(p, &event);
		if (r == 0)
			r = on_event(p, &event);
		if (r == 0 && p->parts > YAML_PARTS_MAX)
			r = fail(p, event.start_mark,
				"the file has too many parts, with those that aliases name; the limit is 32 "
				"million");
		yaml_event_delete(&event);
		if (r < 0 || end)
			return r;
	}
}

int yaml_parse(struct arena *arena, const char *file, const char *text, size_t len,
	struct yaml_node **ret_root, struct dag_diag *diag)
{
	struct tree_parser p = {
		.arena = arena, .file = file, .diag = diag, .text = text, .line = text, .end = text + len};
	yaml_parser_t parser;
	int r;

	if (len > YAML_BYTES_MAX) {
		dag_diag_add(diag, file, 0, 0, "the file is larger than 64 MiB, the limit for a graph file");
		return DAG_EINVAL;
	}
	if (!yaml_parser_initialize(&parser))
		base_oom(sizeof(parser));
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	r = parse_events(&p, &parser);
	yaml_parser_delete(&parser);
	HASH_CLEAR(hh, p.anchors);
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

	return node->kind == YAML_SCALAR && node->plain && !*node->text ? "nothing" : names[node->kind];
}
