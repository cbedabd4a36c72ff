/* SPDX-License-Identifier: Apache-2.0 */
/* getopt_long from a table. */
#include "options.h"
#include "base/diag.h"

#include <getopt.h>
#include <stdio.h>

#define LONG_BASE 1000 /* getopt's values for long options; letters are below */

static int position_of(const struct command_spec *command, int value)
{
	if (value >= LONG_BASE)
		return value - LONG_BASE;
	for (size_t i = 0; i < command->option_count; i++)
		if (command->options[i].letter == value)
			return (int)i;
	return -1;
}

static void complain(const char *program, const struct command_spec *command, const char *word)
{
	const char **names = base_alloc((command->option_count + 1) * sizeof(*names)), *nearest;

	for (size_t i = 0; i < command->option_count; i++)
		names[i] = command->options[i].name;
	nearest = !strncmp(word, "--", 2) ? dag_nearest(word + 2, names, command->option_count) : NULL;
	fprintf(stderr, "%s: unknown option '%s'%s%s%s; see '%s --help'\n", program, word,
		nearest ? "; did you mean '--" : "", nearest ? nearest : "", nearest ? "'?" : "", program);
	free(names);
}

int options_parse(const char *program, const struct command_spec *command, int argc, char **argv,
	int (*on_option)(void *ctx, size_t option, const char *value), void *ctx)
{
	struct option *longs = base_alloc((command->option_count + 1) * sizeof(*longs));
	char *letters = base_alloc(command->option_count * 2 + 2), *at = letters;
	int r = 0;

	*at++ = ':';
	for (size_t i = 0; i < command->option_count; i++) {
		const struct option_spec *o = &command->options[i];

		longs[i] = (struct option){
			o->name, o->argument ? required_argument : no_argument, NULL, LONG_BASE + (int)i};
		if (o->letter) {
			*at++ = o->letter;
			if (o->argument)
				*at++ = ':';
		}
	}
	optind = 1;
	opterr = 0;
	while (r == 0) {
		int value = getopt_long(argc, argv, letters, longs, NULL);

		if (value < 0)
			break;
		if (value == ':') {
			fprintf(stderr, "%s: option '%s' needs a value; see '%s --help'\n", program,
				argv[optind - 1], program);
			r = DAG_EINVAL;
		} else if (value == '?') {
			/* A letter may stand among others in one word; getopt is past all of a long one. */
			char letter[] = {'-', (char)optopt, 0};

			complain(program, command,
				optopt > 0 && optopt < LONG_BASE ? letter : argv[optind - 1]);
			r = DAG_EINVAL;
		} else {
			r = on_option(ctx, (size_t)position_of(command, value), optarg);
		}
	}
	free(longs);
	free(letters);
	return r < 0 ? r : optind;
}

void options_help(const char *program, const struct command_spec *command)
{
	printf("usage: %s%s%s%s%s\n\n%s\n", program, command->option_count ? " [options]" : "",
		*command->arguments ? " " : "", command->arguments, "", command->help);
	if (command->option_count)
		printf("\noptions:\n");
	for (size_t i = 0; i < command->option_count; i++) {
		const struct option_spec *o = &command->options[i];
		char *left = base_format("%c%c%s --%s%s%s", o->letter ? '-' : ' ',
			o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name, o->argument ? " " : "",
			o->argument ? o->argument : "");

		printf("  %-30s %s\n", left, o->help);
		free(left);
	}
}
