/* SPDX-License-Identifier: Apache-2.0 */
/* One reading of the words for both who checks and who replaces them. */
#include "words.h"

#include <stdio.h>
#include <stdlib.h>

#define PORT_DIGITS_MAX 6

/* A number as people write it: `00` and `+1` are none. */
static size_t read_port(const char *text, uint32_t *ret)
{
	size_t digits = strspn(text, "0123456789");

	if (!digits || digits > PORT_DIGITS_MAX || (digits > 1 && *text == '0'))
		return 0;
	*ret = (uint32_t)strtoul(text, NULL, 10);
	return *ret < DAG_PORTS_MAX ? digits : 0;
}

/* What may follow `{in.N`, up to its brace; 0 for anything else. */
static size_t read_form(const char *text, struct word *w)
{
	w->each = !strncmp(text, ".*}", 3);
	w->file = !strncmp(text, ":file}", 6);
	w->list = !strncmp(text, ".list}", 6);
	return w->each ? 3 : w->file || w->list ? 6 : *text == '}';
}

size_t words_known(const char *text, struct word *ret)
{
	struct word w = {0};
	size_t len, end;

	if (!strncmp(text, "{index}", 7) || !strncmp(text, "{width}", 7)) {
		w.kind = text[1] == 'i' ? WORD_INDEX : WORD_WIDTH;
		*ret = w;
		return 7;
	}
	w.kind = !strncmp(text, "{in.", 4) ? WORD_IN : !strncmp(text, "{out.", 5) ? WORD_OUT : WORD_TEXT;
	if (w.kind == WORD_TEXT)
		return 0;
	len = w.kind == WORD_IN ? 4 : 5;
	end = read_port(text + len, &w.port);
	if (!end)
		return 0;
	len += end;
	end = w.kind == WORD_IN ? read_form(text + len, &w) : text[len] == '}';
	if (!end)
		return 0;
	*ret = w;
	return len + end;
}

size_t words_next(const char *text, struct word *ret)
{
	size_t len = 0;

	if (text[0] == '{' && text[1] == '{') {
		*ret = (struct word){.text = text, .len = 1};
		return 2;
	}
	if (*text == '{') {
		len = words_known(text, ret);
		if (len)
			return len;
		len = 1;
	}
	while (text[len] && text[len] != '{')
		len++;
	*ret = (struct word){.text = text, .len = len};
	return len;
}

size_t words_path(const struct word *w, uint32_t producer, uint32_t turn, char ret[WORDS_PATH_MAX])
{
	int n;

	if (w->kind == WORD_OUT)
		n = snprintf(ret, WORDS_PATH_MAX, "out.%u", w->port);
	else if (w->file)
		n = snprintf(ret, WORDS_PATH_MAX, "in.%u.file", w->port);
	else if (w->list && producer == UINT32_MAX)
		n = snprintf(ret, WORDS_PATH_MAX, "in.%u.list", w->port);
	else if (w->each || w->list)
		n = snprintf(ret, WORDS_PATH_MAX, "in.%u.%u", w->port, producer);
	else
		n = snprintf(ret, WORDS_PATH_MAX, "in.%u", w->port);
	if (turn && w->kind == WORD_IN && !w->file)
		n += snprintf(ret + n, WORDS_PATH_MAX - (size_t)n, "-%u", turn + 1);
	return (size_t)n;
}

void words_count(const char *text, struct words_uses *uses)
{
	struct word w;

	while (*text) {
		text += words_next(text, &w);
		if (w.kind != WORD_IN)
			continue;
		uses->each[w.port] += w.each || w.list;
		uses->file[w.port] += w.file;
		uses->pipe[w.port] += !w.each && !w.list && !w.file;
	}
}

uint32_t words_mixed(const struct words_uses *uses)
{
	uint32_t port = 0;

	while (port < DAG_PORTS_MAX && !(uses->each[port] && (uses->file[port] || uses->pipe[port])))
		port++;
	return port;
}

static bool is_shell(const char *program)
{
	static const char *const shells[] = {"sh", "bash", "dash", "ksh", "zsh", "ash"};
	const char *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;

	for (size_t i = 0; i < DAG_LENGTH(shells); i++)
		if (!strcmp(name, shells[i]))
			return true;
	return false;
}

uint32_t words_script(const char *const *argv, uint32_t argc)
{
	if (!argc || !is_shell(argv[0]))
		return argc;
	for (uint32_t i = 1; i + 1 < argc && argv[i][0] == '-'; i++) {
		bool is_long = argv[i][1] == '-';

		if (!is_long && strchr(argv[i], 'c'))
			return i + 1;
		if (!is_long && strchr(argv[i], 'o')) /* -o pipefail */
			i++;
	}
	return argc;
}
