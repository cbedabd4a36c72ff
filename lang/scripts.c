/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words of a program that name files beside the graph. The vertices run in folders of their own, perhaps on
 * other machines: the script that an interpreter is given goes along by itself, of other files `dagrun check`
 * says that they do not.
 */
#include "loader.h"
#include "graph/words.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

struct scan {
	struct loader *l;
	struct graph_stage *stage;
	const struct yaml_node *node;
	bool after_interpreter; /* its options may stand between */
	bool of_shell;          /* the options are those of a shell */
	bool takes_file;        /* awk, whose -f names its script */
	bool after_file_option; /* awk -f */
	bool after_word_option; /* bash -o, python3 -W: a word of theirs follows */
};

static bool is_one_of(const char *word, const char *const *names, size_t n)
{
	const char *slash = strrchr(word, '/'), *base = slash ? slash + 1 : word;
	size_t len = strlen(base);

	while (len && (isdigit((unsigned char)base[len - 1]) || base[len - 1] == '.')) /* python3.11 */
		len--;
	for (size_t i = 0; i < n; i++)
		if (strlen(names[i]) == len && !strncmp(base, names[i], len))
			return true;
	return false;
}

static bool is_interpreter(const char *word)
{
	static const char *const names[] = {"python", "perl", "ruby", "node", "Rscript", "bash", "sh", "dash",
		"zsh", "ksh", "php", "lua", "julia", "tclsh", "octave", "guile"};

	return is_one_of(word, names, DAG_LENGTH(names));
}

static bool is_shell(const char *word)
{
	static const char *const names[] = {"bash", "sh", "dash", "zsh", "ksh"};

	return is_one_of(word, names, DAG_LENGTH(names));
}

static bool takes_file(const char *word)
{
	static const char *const names[] = {"awk", "gawk", "mawk", "sed", "jq"};

	return is_one_of(word, names, DAG_LENGTH(names));
}

/* A relative path of plain bytes, without "./" before it; NULL where it is none. */
static const char *plain_path(const char *word)
{
	while (!strncmp(word, "./", 2))
		word += 2;
	if (!*word || *word == '/' || *word == '-' || strlen(word) >= PATH_MAX || strpbrk(word, "{}*?[$~"))
		return NULL;
	return word;
}

static bool leads_up(const char *path)
{
	return !strncmp(path, "../", 3) || strstr(path, "/../") || strstr(path, "//") || strstr(path, "/./");
}

static bool goes_along(const struct graph_stage *s, const char *name)
{
	for (uint32_t i = 0; i < s->file_count; i++)
		if (!strcmp(s->file_names[i], name))
			return true;
	return false;
}

static void note(struct scan *s, const char *name)
{
	loader_note(s->l, s->node,
		"'%s' lies beside the graph and does not go along with stage '%s': if its program reads it, "
		"add files: [%s]",
		name, s->stage->name, name);
}

static void look_at_option(struct scan *s, const char *word)
{
	bool is_long = word[1] == '-';
	char last = word[strlen(word) - 1];

	s->after_file_option = s->takes_file && !is_long && last == 'f';
	s->after_word_option = s->after_interpreter && !is_long &&
			       (s->of_shell ? last == 'o' || last == 'O' : last == 'W' || last == 'X');
	/* -c, -m, -e: the program itself stands in the next word; of a shell, -c alone */
	if (!is_long && strpbrk(word, s->of_shell ? "c" : "cme"))
		s->after_interpreter = false;
}

/* A file that is named within a word: --file=words.txt, -fwords.txt, if=words.txt. */
static const char *file_in(const char *word)
{
	const char *sign = strchr(word, '=');

	return sign ? sign + 1 : *word == '-' && word[1] && word[1] != '-' ? word + 2 : "";
}

static bool is_beside(const struct scan *s, const char *name)
{
	char *path = base_format("%s/%s", s->l->folder, name);
	struct stat st;
	bool is = stat(path, &st) == 0 && S_ISREG(st.st_mode);

	free(path);
	return is;
}

/* One word of the command; `quiet`: it is written to, or stands where no file does. */
static void look_at(struct scan *s, const char *word, bool quiet)
{
	const char *name = plain_path(word);
	bool is_script = s->after_interpreter || s->after_file_option;
	struct stat st;
	char *path;

	s->after_file_option = false;
	if (s->after_word_option) {
		s->after_word_option = false;
		return;
	}
	if (*word == '-')
		look_at_option(s, word);
	if (*word == '-' || strchr(word, '=')) {
		const char *inner = plain_path(file_in(word));

		if (inner && strpbrk(inner, "./") && is_beside(s, inner) && !goes_along(s->stage, inner))
			note(s, inner);
		return;
	}
	s->after_interpreter = is_interpreter(word);
	s->of_shell = is_shell(word);
	s->takes_file = s->takes_file || takes_file(word);
	if (!name || (!is_script && !strpbrk(word, "./")))
		return;
	path = base_format("%s/%s", s->l->folder, name);
	if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && !goes_along(s->stage, name)) {
		bool runs = is_script || (!strncmp(word, "./", 2) && (st.st_mode & 0111));

		if (runs && !leads_up(name))
			loader_ship(s->l, s->node, s->stage, path, name);
		else if (!quiet)
			note(s, name);
	}
	free(path);
}

/* The words of a shell's script, near enough: what looks like a path and stands alone. */
static void look_at_script(struct scan *s, const char *text)
{
	static const char plain[] = "./_-+@%,:";
	bool quiet = false;

	for (const char *c = text; *c;) {
		size_t len = 0;
		char *word;

		while (isalnum((unsigned char)c[len]) || (c[len] && strchr(plain, c[len])))
			len++;
		if (!len) {
			if (!isspace((unsigned char)*c) || *c == '\n')
				s->after_interpreter = s->after_interpreter && strchr("\"'", *c);
			s->takes_file = s->takes_file && !strchr("|;&\n(", *c);
			quiet = *c == '>' || (quiet && isspace((unsigned char)*c));
			c++;
			continue;
		}
		word = base_strndup(c, len);
		look_at(s, word, quiet);
		free(word);
		quiet = false;
		c += len;
	}
}

static bool is_in_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static bool is_param(const struct loader *l, const char *name)
{
	for (size_t i = 0; i < l->param_count; i++)
		if (!strcmp(l->params[i].name, name))
			return true;
	return false;
}

static bool is_set(const struct yaml_node *env, const char *script, const char *name)
{
	char *sets = base_format("%s=", name);
	bool is = yaml_get(env, name) || strstr(script, sets) || getenv(name);

	free(sets);
	return is;
}

/* The shell's own variable of a parameter's name: `$who`, where ${who} is meant. The first one is noted. */
static void note_variables(
	struct loader *l, const struct yaml_node *node, const struct yaml_node *env, const char *script)
{
	bool noted = !l->options->notes;

	for (const char *c = script; !noted && (c = strchr(c, '$')); c++) {
		size_t len = 0;
		char *name;

		while (is_in_name(c[1 + len]))
			len++;
		name = base_strndup(c + 1, len);
		noted = len && is_param(l, name) && !is_set(env, script, name);
		if (noted)
			loader_note(l, node,
				"'$%s' is a variable of the shell, which nobody sets; the parameter is "
				"${%s}, or env: {%s: \"${%s}\"}",
				name, name, name, name);
		free(name);
	}
}

void loader_scripts(struct loader *l, const struct yaml_node *node, const struct yaml_node *env,
	struct graph_stage *stage)
{
	struct scan s = {.l = l, .stage = stage, .node = node};
	uint32_t script;
	const struct yaml_node *n = node->kind == YAML_LIST ? node->child : NULL;

	if (!stage->argc || !stage->argv[0])
		return;
	script = words_script(stage->argv, stage->argc);
	s.after_interpreter = is_interpreter(stage->argv[0]);
	s.of_shell = is_shell(stage->argv[0]);
	s.takes_file = takes_file(stage->argv[0]);
	if (!strchr(stage->argv[0], '/') && strchr(stage->argv[0], '.') && is_beside(&s, stage->argv[0]))
		loader_note(l, node,
			"'%s' lies beside the graph, and a program without a slash is looked up in PATH: to "
			"run it write ./%s",
			stage->argv[0], stage->argv[0]);
	for (uint32_t i = 1; i < stage->argc; i++) {
		n = n ? n->next : NULL;
		s.node = n ? n : node;
		if (i == script) {
			s.after_interpreter = s.takes_file = false;
			look_at_script(&s, stage->argv[i]);
			note_variables(l, s.node, env, stage->argv[i]);
		} else {
			look_at(&s, stage->argv[i], false);
		}
	}
}
