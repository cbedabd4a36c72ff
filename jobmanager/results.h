/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_RESULTS_H
#define JOBMANAGER_RESULTS_H
/* Inside of the client: the result of a vertex, on its way or there. One at a time. */
#include "output.h"

struct result {
	uint64_t channel; /* 0: nothing comes any more */
	uint32_t vertex, attempt, node;
	struct graph_format format;
	struct buffer bytes; /* as a file would have them */
	struct arrival arrival;
	bool there;
	int error; /* it could not be read */
};

/* Asks for what a vertex that has ended wrote to the port. */
void result_fetch(
	struct manager *m, struct result *r, const struct graph_stage *stage, uint32_t port, uint32_t vertex);
void result_fini(struct manager *m, struct result *r);

#endif
