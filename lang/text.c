/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text of the graph file: parameters are put in, `{index}` and its kind are checked. A parameter's value is
 * text and stays it: what looks like a word in it is none.
 */
#include "loader.h"
#include "base/buffer.h"
#include "graph/words.h"

#include <ctype.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

/* What braces mean in a text. */
enum braces { BRACES_PLAIN, BRACES_WORDS, BRACES_INDEX };

struct text {
	struct loader *l;
	const struct yaml_node *node;
	enum braces braces;
	const struct loader_param *leading; /* that the text starts with */
	struct buffer bytes, words;         /* words: 1 where in `bytes` one begins, else 0 */
	uint32_t escapes;                   /* `{{` without their `}}` so far */
	bool has_dollar;                    /* one that begins no parameter */
	bool may_match;                     /* it may be a pattern */
	bool is_pattern;
	bool bad;
};

/* ---- parameters ---- */

static struct loader_param *find_param(const struct loader *l, const char *name, size_t len)
{
	for (size_t i = 0; i < l->param_count; i++)
		if (strlen(l->params[i].name) == len && !memcmp(l->params[i].name, name, len))
			return &l->params[i];
	return NULL;
}

static const char *nearest_param(const struct loader *l, const char *word)
{
	const char **names = base_alloc((l->param_count + 1) * sizeof(*names)), *nearest;

	for (size_t i = 0; i < l->param_count; i++)
		names[i] = l->params[i].name;
	nearest = dag_nearest(word, names, l->param_count);
	free(names);
	return nearest;
}

static void unknown_param(struct loader *l, const struct yaml_node *node, const char *name, size_t len)
{
	char *word = base_strndup(name, len);
	const char *nearest = nearest_param(l, word);

	loader_error(l, node, "unknown parameter ${%s}%s%s%s; to mean the text itself write $${%s}", word,
		nearest ? "; did you mean ${" : "", nearest ? nearest : "", nearest ? "}" : "", word);
	free(word);
}

/* ---- words ---- */

static void add(struct text *t, const char *bytes, size_t len, bool is_word)
{
	buffer_append(&t->bytes, bytes, len);
	memset(buffer_extend(&t->words, len), 0, len);
	if (is_word)
		t->words.data[t->words.len - len] = 1;
}

/* Where in the file this part of the text stands, for a script of many lines too. */
static struct yaml_node place_of(const struct text *t, const char *at)
{
	struct yaml_node place = *t->node;

	if (!t->node->indent)
		return place;
	place.line++;
	place.column = t->node->indent + 1;
	for (const char *c = t->node->text; c < at; c++) {
		place.line += *c == '\n';
		place.column = *c == '\n' ? t->node->indent + 1 : place.column + 1;
	}
	return place;
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* `{in.…}`, `{index…}`: begins as a word of ours does, so that nobody means anything else by it. Up to its
 * brace, or to a parameter within. */
static size_t begins_as_word(const char *at)
{
	static const char *const begins[] = {"in.", "out.", "in:", "out:", "in[", "out[", "index", "width"};
	const char *c = at + 1 + strspn(at + 1, " ");
	size_t len = 0;

	for (size_t i = 0; i < DAG_LENGTH(begins) && !len; i++)
		if (!strncmp(c, begins[i], strlen(begins[i])))
			len = strlen(begins[i]);
	if (!len || (isalpha((unsigned char)c[len - 1]) && (is_name(c[len]) || strchr("({", c[len]))))
		return 0;
	c += len;
	while (is_name(*c) || (*c && strchr(".:*+%/[]#!? ", *c)))
		c++;
	if (!strncmp(c, "${", 2))
		return (size_t)(c - at);
	return *c == '}' ? (size_t)(c - at) + 1 : 0;
}

/*
 * What somebody meant as a word: a name in braces, perhaps with parts behind dots and a colon. Blanks,
 * quotes, dollars, commas and `..` make it the text of a shell or of awk. Its length with its braces, or 0.
 */
static size_t looks_like_word(const char *at)
{
	const char *c = at + 1;
	size_t ours = begins_as_word(at);

	if (ours)
		return ours;
	if (!isalpha((unsigned char)*c) && *c != '_')
		return 0;
	while (is_name(*c))
		c++;
	while (*c == '.' && (is_name(c[1]) || c[1] == '*'))
		for (c++; is_name(*c) || *c == '*';)
			c++;
	if (*c == ':')
		for (c++; is_name(*c);)
			c++;
	return *c == '}' ? (size_t)(c - at) + 1 : 0;
}

static void unknown_word(struct text *t, const char *at, size_t len)
{
	static const char *const forms[] = {
		"in.%u", "in.%u.*", "in.%u:file", "in.%u.list", "out.%u", "index", "width"};
	struct yaml_node place = place_of(t, at);
	bool is_whole = at[len - 1] == '}';
	char names[DAG_LENGTH(forms)][32], *word = base_strndup(at + 1, len - 1 - is_whole);
	const char *list[DAG_LENGTH(forms)], *digit = strpbrk(word, "0123456789"), *nearest;
	unsigned long port = digit ? strtoul(digit, NULL, 10) : 0;

	for (size_t i = 0; i < DAG_LENGTH(forms); i++) {
		snprintf(names[i], sizeof(names[i]), forms[i], (unsigned)DAG_MIN(port, DAG_PORTS_MAX - 1ul));
		list[i] = names[i];
	}
	nearest = strncmp(word, "out", 3) ? dag_nearest(word, list, DAG_LENGTH(forms)) : list[4];
	if (!is_whole)
		loader_error(
			t->l, &place, "'{%s${…': a parameter cannot stand within a word in braces", word);
	else if (port >= DAG_PORTS_MAX && (!strncmp(word, "in.", 3) || !strncmp(word, "out.", 4)))
		loader_error(
			t->l, &place, "port %lu: a stage has at most %u ports a side", port, GRAPH_PORTS_MAX);
	else if (t->braces == BRACES_INDEX)
		loader_error(t->l, &place,
			"unknown word '{%s}' in the name of an output%s; to mean the text itself write "
			"{{%s}}",
			word, nearest == list[5] ? "; did you mean {index}?" : ": there is {index} alone",
			word);
	else if (nearest)
		loader_error(t->l, &place,
			"unknown word '{%s}'; did you mean {%s}? To mean the text itself write {{%s}}", word,
			nearest, word);
	else
		loader_error(t->l, &place,
			"unknown word '{%s}'; there are {index}, {width}, {in.N}, {in.N.*}, {in.N:file}, "
			"{in.N.list} and {out.N}; to mean the text itself write {{%s}}",
			word, word);
	t->bad = true;
	free(word);
}

/* A brace that opens; returns how much of the text it took. */
static size_t add_brace(struct text *t, const char *at)
{
	struct word word;
	size_t len;

	if (t->braces == BRACES_PLAIN) {
		add(t, at, 1, false);
		return 1;
	}
	if (at[1] == '{') {
		t->escapes++;
		add(t, at, 1, false);
		return 2;
	}
	len = words_known(at, &word);
	if (len && (t->braces == BRACES_WORDS || word.kind == WORD_INDEX)) {
		add(t, at, len, true);
		return len;
	}
	if (!len)
		len = looks_like_word(at);
	/* In the name of a file braces are so rare that they mean a word. */
	if (!len && t->braces == BRACES_INDEX && strchr(at, '}'))
		len = strcspn(at, "}") + 1;
	if (len)
		unknown_word(t, at, len);
	else
		add(t, at, 1, false);
	return len ? len : 1;
}

/* ---- the text as a whole ---- */

static size_t add_param(struct text *t, const char *at)
{
	const char *end = strchr(at, '}');
	struct loader_param *param;

	if (!end) {
		struct yaml_node place = place_of(t, at);

		loader_error(t->l, &place, "'${' without its '}'");
		t->bad = true;
		return strlen(at);
	}
	param = find_param(t->l, at + 2, (size_t)(end - at - 2));
	if (!param) {
		struct yaml_node place = place_of(t, at);

		unknown_param(t->l, &place, at + 2, (size_t)(end - at - 2));
		t->bad = true;
	} else if (!param->value) {
		t->bad = true; /* missing: reported once, at its declaration */
	} else {
		param->used = true;
		add(t, param->value, strlen(param->value), false);
		if (at == t->node->text)
			t->leading = param;
	}
	return (size_t)(end - at) + 1;
}

static void read_text(struct text *t)
{
	for (const char *c = t->node->text; *c;) {
		if (!strncmp(c, "$${", 3)) {
			add(t, "${", 2, false);
			c += 3;
		} else if (!strncmp(c, "${", 2)) {
			c += add_param(t, c);
		} else if (*c == '{') {
			c += add_brace(t, c);
		} else if (t->escapes && c[0] == '}' && c[1] == '}') {
			t->escapes--;
			add(t, "}", 1, false);
			c += 2;
		} else {
			size_t len = 1 + strcspn(c + 1, "${}");

			t->has_dollar = t->has_dollar || *c == '$';
			add(t, c, len, false);
			c += len;
		}
	}
}

/* As words.h has it: a brace that begins no word is doubled where it would seem to. */
static const char *finish(struct text *t)
{
	struct buffer b = {0};
	const char *bytes, *result;
	struct word word;

	buffer_append(&t->bytes, "", 1);
	bytes = (const char *)t->bytes.data;
	if (t->braces != BRACES_WORDS || !strchr(bytes, '{'))
		return arena_strndup(&t->l->graph->arena, bytes, t->bytes.len - 1);
	for (size_t i = 0; i + 1 < t->bytes.len; i++) {
		bool escape = bytes[i] == '{' && !t->words.data[i] &&
			      (bytes[i + 1] == '{' || words_known(bytes + i, &word));

		buffer_append(&b, "{", escape);
		buffer_append(&b, bytes + i, 1);
	}
	result = arena_strndup(&t->l->graph->arena, b.data ? (char *)b.data : "", b.len);
	buffer_fini(&b);
	return result;
}

static const char *load_text(struct text *t, const char *what)
{
	const char *result = NULL;

	if (!loader_expect(t->l, t->node, YAML_SCALAR, what))
		return NULL;
	read_text(t);
	if (!t->bad)
		result = finish(t);
	buffer_fini(&t->bytes);
	return result;
}

const char *loader_text(struct loader *l, const struct yaml_node *node, const char *what)
{
	struct text t = {.l = l, .node = node};
	const char *text = load_text(&t, what);

	buffer_fini(&t.words);
	return text;
}

const char *loader_words(struct loader *l, const struct yaml_node *node, const char *what)
{
	struct text t = {.l = l, .node = node, .braces = BRACES_WORDS};
	const char *text = load_text(&t, what);

	buffer_fini(&t.words);
	return text;
}

/* ---- paths ---- */

static const char *home_folder(void)
{
	const char *home = getenv("HOME");
	const struct passwd *user;

	if (home && *home == '/')
		return home;
	user = getpwuid(getuid());
	return user && user->pw_dir && *user->pw_dir == '/' ? user->pw_dir : NULL;
}

/* The folder is no part of the pattern that stands behind it. */
static const char *join(const struct text *t, const char *folder, const char *slash, const char *text)
{
	struct buffer b = {0};
	const char *path;

	for (const char *c = folder; *c; c++)
		buffer_format(&b, t->is_pattern && strchr("*?[\\", *c) ? "\\%c" : "%c", *c);
	path = arena_format(
		&t->l->graph->arena, "%.*s%s%s", (int)b.len, b.data ? (char *)b.data : "", slash, text);
	buffer_fini(&b);
	return path;
}

static const char *from_home(const struct text *t, const char *text)
{
	struct loader *l = t->l;
	const struct yaml_node *node = t->node;
	const char *home = home_folder();

	if (text[1] && text[1] != '/') {
		loader_error(l, node,
			"'%s' begins with '~': '~/' is your home folder, that of others is not looked up; to "
			"mean the name itself write './%s'",
			text, text);
		return NULL;
	}
	if (!home)
		loader_error(
			l, node, "'%s': there is no HOME, and the user is not known to the system", text);
	return home ? join(t, home, "", text + 1) : NULL;
}

static void refuse_dollar(struct loader *l, const struct yaml_node *node, const char *what)
{
	const char *at = strchr(node->text, '$');
	size_t len = 1;
	char *name;
	const char *nearest;

	while (at[1] == '{')
		at = strchr(at + 1, '$');
	while (isalnum((unsigned char)at[len]) || at[len] == '_')
		len++;
	name = base_strndup(at + 1, len - 1);
	nearest = *name ? nearest_param(l, name) : NULL;
	loader_error(l, node,
		"'$%s' in %s: the environment is not looked up; ${%s} is a parameter%s (-p %s=…, or its "
		"default), and its value may have a '$'; '~/' is your home folder",
		name, what,
		nearest ? nearest
		: *name ? name
			: "name",
		nearest ? " of this graph" : " that 'params' declares",
		nearest ? nearest
		: *name ? name
			: "name");
	free(name);
}

static const char *load_path(struct text *t, const char *what)
{
	struct loader *l = t->l;
	const char *text = load_text(t, what), *folder;

	if (!text)
		return NULL;
	t->is_pattern = t->may_match && strpbrk(text, "*?[");
	if (t->has_dollar) {
		refuse_dollar(l, t->node, what);
		return NULL;
	}
	if (!*text) {
		loader_error(l, t->node, "%s is empty", what);
		return NULL;
	}
	if (*text == '/' || !strcmp(text, "-"))
		return text;
	if (*text == '~')
		return from_home(t, text);
	folder = t->leading && t->leading->from_command_line ? l->cwd : l->folder;
	return join(t, folder, "/", text);
}

const char *loader_path(struct loader *l, const struct yaml_node *node, const char *what)
{
	struct text t = {.l = l, .node = node};
	const char *path = load_path(&t, what);

	buffer_fini(&t.words);
	return path;
}

const char *loader_pattern(
	struct loader *l, const struct yaml_node *node, const char *what, bool *ret_is_pattern)
{
	struct text t = {.l = l, .node = node, .may_match = true};
	const char *path = load_path(&t, what);

	*ret_is_pattern = t.is_pattern;
	buffer_fini(&t.words);
	return path;
}

const char *loader_output_path(
	struct loader *l, const struct yaml_node *node, const char *what, uint32_t *ret_index_at)
{
	struct text t = {.l = l, .node = node, .braces = BRACES_INDEX};
	const char *path = load_path(&t, what);
	uint32_t count = 0, at = 0;

	for (size_t i = 0; path && i < t.words.len; i++)
		if (t.words.data[i]) {
			count++;
			at = (uint32_t)(strlen(path) - (t.words.len - i));
		}
	buffer_fini(&t.words);
	*ret_index_at = count ? at : GRAPH_NONE;
	if (count > 1)
		loader_error(l, node, "{index} stands in the name of an output once");
	else if (count && strchr(path + at, '/'))
		loader_error(l, node, "{index} stands in the name of a file, not in that of its folder");
	else
		return path;
	return NULL;
}
