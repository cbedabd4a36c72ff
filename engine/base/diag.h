/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H
/*
 * Messages for people, apart from error codes: a list, so that one pass can report every error of a file.
 * A message has a place (file, line, column) where there is a source; line 0 means none.
 */
#include "base.h"

struct dag_message {
	char *file; /* NULL: no source */
	int line;   /* from 1; 0: the file as a whole */
	int column; /* from 1; 0: the line as a whole */
	char *text;
};

/* Zero-initialised is empty. Invariant: count <= DAG_MESSAGES_MAX; what comes beyond is only counted. */
struct dag_diag {
	struct dag_message *items;
	size_t count, cap;
	size_t dropped;
};

#define DAG_MESSAGES_MAX 100

void dag_diag_add(struct dag_diag *diag, const char *file, int line, int column, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void dag_diag_fini(struct dag_diag *diag);
/* "file:line:column: text", without the parts that are unknown; the caller frees it. */
char *dag_message_format(const struct dag_message *message);

/* The name of n that was probably meant by `word`: within an edit distance of a third of its length, or one
 * that begins as it does; NULL where there is none. */
const char *dag_nearest(const char *word, const char *const *names, size_t n);

#endif
