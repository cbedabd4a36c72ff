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
/* The argument that is a shell's script (`sh -c SCRIPT`), or argc: there paths stand quoted. */
uint32_t words_script(const char *const *argv, uint32_t argc);

#endif
