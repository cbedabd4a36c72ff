/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_OPTIONS_H
#define OS_OPTIONS_H
/*
 * One table an entry describes a command's options; getopt_long, the help, the man page and the completion of
 * a shell are made from it.
 */
#include "base/base.h"

struct option_spec {
	const char *name;     /* long, without dashes */
	char letter;          /* or 0 */
	const char *argument; /* NULL: takes none */
	const char *help;
};

struct command_spec {
	const char *name;      /* of the command */
	const char *arguments; /* "GRAPH.yaml" */
	const char *help;
	const struct option_spec *options;
	size_t option_count;
};

/*
 * Calls on_option for each option of argv (from index 1) with its position in the table; operands are moved
 * to the end. Returns the index of the first operand, or DAG_EINVAL after a message on stderr with `program`
 * before it.
 */
int options_parse(const char *program, const struct command_spec *command, int argc, char **argv,
	int (*on_option)(void *ctx, size_t option, const char *value), void *ctx);
/* The help of one command on stdout. */
void options_help(const char *program, const struct command_spec *command);

#endif
