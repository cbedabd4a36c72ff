/* SPDX-License-Identifier: Apache-2.0 */
/* The graph file: any text is a graph or errors, never a crash. */
#include "lang/graph_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct graph_file_options options = {0};
	struct dag_diag diag = {0};
	struct graph *graph = NULL;

	if (graph_file_parse("/fuzz/g.yaml", (const char *)data, size, &options, &graph, &diag) == 0)
		graph_destroy(&graph);
	else if (!diag.count && !diag.dropped)
		abort(); /* an error without a word */
	dag_diag_fini(&diag);
	return 0;
}
