/* SPDX-License-Identifier: Apache-2.0 */
/* Which cluster a command is for. */
#include "cli.h"
#include "wire/cluster.h"

int cli_cluster_find(struct cluster *c, const char *nameserver, const char *keys, bool quiet)
{
	struct dag_diag diag = {0};
	int r = cluster_find(c, nameserver, keys, &diag);

	if (r == 0 && quiet)
		dag_diag_fini(&diag);
	else
		cli_print(&diag);
	return r == 0 ? 0 : r == DAG_EINVAL ? EXIT_USAGE : EXIT_UNREACHABLE;
}
