/* SPDX-License-Identifier: Apache-2.0 */
/* Collects messages for people, and finds the known word that was probably meant. */
#include "diag.h"

#include <limits.h>

/* What was said of a place is not said of it again: several parts of a loader may look at the same word. */
static void drop_repeated(struct dag_diag *diag)
{
	struct dag_message *last = &diag->items[diag->count - 1];

	for (size_t i = 0; last->file && last->line && i + 1 < diag->count; i++) {
		const struct dag_message *m = &diag->items[i];

		if (m->line != last->line || m->column != last->column || strcmp(m->text, last->text) ||
			!m->file || strcmp(m->file, last->file))
			continue;
		free(last->file);
		free(last->text);
		diag->count--;
		return;
	}
}

void dag_diag_add(struct dag_diag *diag, const char *file, int line, int column, const char *format, ...)
{
	struct dag_message *m;
	va_list args;

	if (diag->count >= DAG_MESSAGES_MAX) {
		diag->dropped++;
		return;
	}
	m = DAG_APPEND(diag->items, diag->count, diag->cap);
	m->file = file ? base_strdup(file) : NULL;
	m->line = line;
	m->column = column;
	va_start(args, format);
	m->text = base_vformat(format, args);
	va_end(args);
	/* A message is one line on a terminal: control bytes of a hostile input must not reach it. */
	for (char *c = m->text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = *c == '\n' ? ' ' : '?';
	drop_repeated(diag);
}

void dag_diag_fini(struct dag_diag *diag)
{
	for (size_t i = 0; i < diag->count; i++) {
		free(diag->items[i].file);
		free(diag->items[i].text);
	}
	free(diag->items);
	*diag = (struct dag_diag){0};
}

char *dag_message_format(const struct dag_message *m)
{
	if (!m->file)
		return base_strdup(m->text);
	if (!m->line)
		return base_format("%s: %s", m->file, m->text);
	if (!m->column)
		return base_format("%s:%d: %s", m->file, m->line, m->text);
	return base_format("%s:%d:%d: %s", m->file, m->line, m->column, m->text);
}

#define NEAREST_LEN_MAX 32

static size_t edit_distance(const char *a, const char *b)
{
	size_t row[NEAREST_LEN_MAX + 1], la = strlen(a), lb = strlen(b);

	if (la > NEAREST_LEN_MAX || lb > NEAREST_LEN_MAX)
		return NEAREST_LEN_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = DAG_MIN(change, DAG_MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[lb];
}

/* Beginnings of this length say what is meant, whatever the rest: 'mem' and 'memory'. */
#define NEAREST_BEGIN 3

static size_t common_prefix(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

/* Few changes lead from one to the other, or they begin alike and one of them ends soon after. */
static bool are_alike(const char *word, const char *name, size_t distance, size_t prefix)
{
	size_t len = strlen(word);

	/* Where nothing of either remains, they are not alike: 'b' and 't'. */
	if (distance < len / 3 + 2 && distance < DAG_MAX(len, strlen(name)))
		return true;
	return prefix >= NEAREST_BEGIN && (3 * prefix >= 2 * len || !name[prefix]);
}

const char *dag_nearest(const char *word, const char *const *names, size_t n)
{
	const char *best = NULL;
	long best_score = LONG_MAX;

	for (size_t i = 0; i < n; i++) {
		size_t distance = edit_distance(word, names[i]), prefix = common_prefix(word, names[i]);
		/* People get the beginning of a word right: 'retry' means 'retries' and not 'entry'. */
		long score = 2 * (long)distance - (long)prefix;

		if (score < best_score && are_alike(word, names[i], distance, prefix)) {
			best_score = score;
			best = names[i];
		}
	}
	return best;
}
