/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GRAPH_WORDS_H
#define GRAPH_WORDS_H
/*
 * Words in braces, in the arguments of a program and in its environment: {index}, {width}, {in.0}, {in.0.*},
 * {in.0:file}, {in.0.list}, {out.0}.
 *
 * A graph has them in finished text: parameters are in it, all words are known ones, and `{{` stands for a
 * brace that begins none. The loader of graph files makes such text, and a host reads it.
 */
#include "base/base.h"
#include <dagrun/vertex.h>

enum word_kind { WORD_TEXT, WORD_INDEX, WORD_WIDTH, WORD_IN, WORD_OUT };

struct word {
	enum word_kind kind;
	uint32_t port;    /* IN, OUT */
	bool each;        /* {in.N.*}: a path for each producer */
	bool file;        /* {in.N:file}: a regular file */
	bool list;        /* {in.N.list}: a file with a path for each producer */
	const char *text; /* TEXT: what it is, of `len` bytes */
	size_t len;
};

/* The known word that `text` begins with: its length with its braces, or 0. */
size_t words_known(const char *text, struct word *ret);
/* What finished text begins with, which is not empty: a word, or TEXT up to the next one. Returns how far it
 * goes. */
size_t words_next(const char *text, struct word *ret);
#define WORDS_PATH_MAX 40u /* with the zero behind it; the longest path of a port is some 20 bytes */

/*
 * The path of a port, by its name in the working folder of the program, so that no text needs quotes and the
 * arguments of many producers are short: in.0, in.0.17 (of one producer), in.0.file, in.0.list, out.1. `turn`
 * counts how often the text has named it before: a pipe can be read once, so that each has one of its own
 * (in.0-2); the files and the outputs are the same each time. Returns the length.
 */
size_t words_path(const struct word *w, uint32_t producer, uint32_t turn, char ret[WORDS_PATH_MAX]);

/* In which ways a program's text names each input port. */
struct words_uses {
	uint32_t pipe[DAG_PORTS_MAX], each[DAG_PORTS_MAX], file[DAG_PORTS_MAX]; /* each: with lists */
};
/* Counts those of one text. */
void words_count(const char *text, struct words_uses *uses);
/* An input port that is named both as a whole and by its producers, whose bytes come only once; or
 * DAG_PORTS_MAX. */
uint32_t words_mixed(const struct words_uses *uses);

/* The argument that is a shell's script (`sh -c SCRIPT`), or argc: there paths stand quoted. */
uint32_t words_script(const char *const *argv, uint32_t argc);

#endif
