/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_HISTORY_H
#define JOBMANAGER_HISTORY_H
/* What became of a job, from its journal, also long after it has ended. */
#include "graph/graph.h"
#include "journal.h"
#include "core/jm.h"

/* Its stages, and what went wrong on the way, on stdout. */
void history_print(const struct graph *graph, const struct journal_saved *saved);

/* The job as its journal says; a row that cannot be applied ends it. The graph must outlive it. */
struct jm *history_replay(const struct graph *graph, const struct journal_saved *saved);

#endif
