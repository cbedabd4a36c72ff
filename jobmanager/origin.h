/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_ORIGIN_H
#define JOBMANAGER_ORIGIN_H
/* What a job was started with, as its journal keeps it, so that `resume` can make the same graph again. */
#include "graph/graph.h"

struct origin {
	struct graph_pair *items;
	size_t count, cap;
};

/* The working folder, and the graph file's path. */
void origin_begin(struct origin *o, const char *graph);
/* Nothing for a value of NULL. A name that ends in a blank gets the number i. */
void origin_add(struct origin *o, const char *name, size_t i, const char *value);
void origin_fini(struct origin *o);

#endif
