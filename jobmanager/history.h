/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_HISTORY_H
#define JOBMANAGER_HISTORY_H
/* What became of a job, from its journal, also long after it has ended. */
#include "graph/graph.h"
#include "journal.h"

/* Its stages, and what went wrong on the way, on stdout. */
void history_print(const struct graph *graph, const struct journal_saved *saved);

#endif
