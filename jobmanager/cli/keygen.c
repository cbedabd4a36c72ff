/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun keygen: a cluster's CURVE keys. */
#include "cli.h"

#include <stdio.h>

static const struct option_spec options[] = {{"help", 'h', NULL, "this text"}};

static int on_option(void *ctx, size_t option, const char *value)
{
	(void)option;
	(void)value;
	*(bool *)ctx = true;
	return 0;
}

static int run(int argc, char **argv)
{
	struct dag_diag diag = {0};
	bool help = false;
	const char *folder;
	int r = options_parse("dagrun keygen", &cli_keygen.spec, argc, argv, on_option, &help);

	if (r < 0)
		return EXIT_USAGE;
	if (help) {
		options_help("dagrun keygen", &cli_keygen.spec);
		return 0;
	}
	folder = cli_operand(&cli_keygen, argc, argv, r);
	if (!folder)
		return EXIT_USAGE;
	r = keys_generate(folder, &diag);
	cli_print(&diag);
	if (r < 0)
		return 1;
	printf("%s/cluster.key_secret and what belongs to it were made. Copy the folder to every machine of "
	       "the cluster, and\n"
	       "give it to dagns, dagd and dagrun with --keys %s. Who has it can run programs on all of "
	       "them.\n",
		folder, folder);
	return 0;
}

const struct cli_command cli_keygen = {
	{"keygen", "DIR", "Makes a cluster's keys in a new folder.", options, DAG_LENGTH(options)}, run};
