/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun: the table of subcommands, and what is made of it: help, man page, completion. */
#include "cli.h"
#include "base/diag.h"
#include "os/print.h"
#include "version.h"

#include <stdio.h>
#include <unistd.h>

static const struct cli_command *const commands[] = {&cli_run, &cli_resume, &cli_verify, &cli_jobs,
	&cli_clean, &cli_simulate, &cli_check, &cli_plan, &cli_nodes, &cli_keygen};

/* Bytes that are not shown: all of a UTF-8 character but its first. */
static int unseen(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) == 0x80;
	return n;
}

static void print_help(void)
{
	printf("usage: dagrun COMMAND [options] …\n\ndagrun runs a graph of programs over data, on one "
	       "machine or many.\n\ncommands:\n");
	for (size_t i = 0; i < DAG_LENGTH(commands); i++)
		printf("  %-8s %-*s %s\n", commands[i]->spec.name, 13 + unseen(commands[i]->spec.arguments),
			commands[i]->spec.arguments, commands[i]->spec.help);
	printf("\n'dagrun COMMAND --help' says more. 'dagrun --man' prints a man page, 'dagrun --completion' "
	       "a script for bash.\n"
	       "exit codes: 0 done, 1 the job failed or stdout could not be written, 2 usage, 3 invalid "
	       "graph or "
	       "plugin,\n"
	       "4 cluster unreachable or lost, 70 a bug of dagrun, 128 + N ended by signal N\n");
}

static void print_man(void)
{
	printf(".TH DAGRUN 1\n.SH NAME\ndagrun \\- run a graph of programs over data\n.SH SYNOPSIS\n");
	for (size_t i = 0; i < DAG_LENGTH(commands); i++)
		printf(".B dagrun %s\n[options] %s\n.br\n", commands[i]->spec.name,
			commands[i]->spec.arguments);
	printf(".SH COMMANDS\n");
	for (size_t i = 0; i < DAG_LENGTH(commands); i++) {
		const struct command_spec *c = &commands[i]->spec;

		printf(".SS %s\n%s\n", c->name, c->help);
		for (size_t j = 0; j < c->option_count; j++)
			printf(".TP\n.B \\-\\-%s %s\n%s\n", c->options[j].name,
				c->options[j].argument ? c->options[j].argument : "", c->options[j].help);
	}
}

static void print_completion(void)
{
	printf("_dagrun()\n{\n\tlocal word=${COMP_WORDS[COMP_CWORD]} words\n\tcase ${COMP_WORDS[1]} in\n");
	for (size_t i = 0; i < DAG_LENGTH(commands); i++) {
		const struct command_spec *c = &commands[i]->spec;

		printf("\t%s) words=\"", c->name);
		for (size_t j = 0; j < c->option_count; j++)
			printf("--%s ", c->options[j].name);
		printf("\" ;;\n");
	}
	printf("\tesac\n\tif [ $COMP_CWORD = 1 ]; then words=\"");
	for (size_t i = 0; i < DAG_LENGTH(commands); i++)
		printf("%s ", commands[i]->spec.name);
	printf("\"; fi\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\ncomplete -o default -F "
	       "_dagrun dagrun\n");
}

static int run_command(int argc, char **argv)
{
	const char *names[DAG_LENGTH(commands)], *nearest;

	if (argc > 2 && !strcmp(argv[1], "help")) { /* dagrun help COMMAND */
		argv[1] = argv[2];
		argv[2] = (char *)"--help";
		argc = 3;
	}
	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help();
		return argc < 2 ? EXIT_USAGE : 0;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("dagrun " DAGRUN_VERSION "\n");
		return 0;
	}
	if (!strcmp(argv[1], "--man") || !strcmp(argv[1], "--completion")) {
		if (argv[1][2] == 'm')
			print_man();
		else
			print_completion();
		return 0;
	}
	for (size_t i = 0; i < DAG_LENGTH(commands); i++) {
		names[i] = commands[i]->spec.name;
		if (!strcmp(argv[1], names[i]))
			return commands[i]->run(argc - 1, argv + 1);
	}
	if (access(argv[1], F_OK) == 0) {
		fprintf(stderr,
			"dagrun: '%s' is a file and no command; to run a graph write: dagrun run %s\n",
			argv[1], argv[1]);
		return EXIT_USAGE;
	}
	nearest = dag_nearest(argv[1], names, DAG_LENGTH(names));
	fprintf(stderr, "dagrun: unknown command '%s'%s%s%s; see 'dagrun --help'\n", argv[1],
		nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	startup_standard_descriptors();
	print_clean_standard();
	return startup_finish("dagrun", run_command(argc, argv));
}
