/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_MANAGER_H
#define JOBMANAGER_MANAGER_H
/* Runs one job to its end: the shell around the scheduler. */
#include "base/diag.h"
#include "graph/graph.h"
#include "wire/keys.h"

struct journal_saved;
struct verify;

#define SAID_FILE "stderr" /* in the job's folder: what vertices wrote there */

struct manager_config {
	const struct graph *graph;
	const char *nameserver; /* endpoint; NULL: everything runs in this process */
	const struct wire_keys *keys;
	bool wait_said; /* how long nodes are waited for, which otherwise depends on who is there: */
	dag_instant wait_for_nodes;               /* so long */
	uint32_t slots;                           /* embedded: 0 for one a core */
	const char *host_program;                 /* embedded */
	bool quiet;                               /* no progress on stderr */
	bool client;                              /* that adds vertices and reads their results */
	void (*say)(void *ctx, const char *line); /* gets lines for people instead; or NULL */
	void *say_ctx;
	const struct graph_pair *meta; /* what `resume` needs to make the same graph again */
	size_t meta_count;
	const char *job;                   /* resume: its id, */
	const struct journal_saved *saved; /* its journal, */
	int lock_fd;                       /* and the right to run it */
	struct verify *verify;             /* instead: an earlier job is compared; of it, */
	const char *verified;              /* its id */
};

enum manager_result {
	MANAGER_DONE = 0,
	MANAGER_FAILED = 1,      /* the job failed */
	MANAGER_INVALID = 3,     /* the graph is not the one that an earlier job had */
	MANAGER_UNREACHABLE = 4, /* no cluster, or none any more */
	MANAGER_SIGNALLED = 128  /* + the signal that ended it */
};

/* Returns the process's exit code; messages went to stderr. */
int manager_run(const struct manager_config *config);
/* Tells the daemons of a cluster that a job is over, whoever ran it. DAG_EUNREACHABLE. */
int manager_discard(const char *nameserver, const char *keys, const char *job);
/* Removes shared memory of this user's daemons and runs that are dead and do not come again; of how many. */
size_t manager_remove_dead_memory(void);
/*
 * Removes what a job that does not run has left beside its outputs, and its locks; what it had replaced
 * before all was published is put back. DAG_EIO where that cannot be done.
 */
int outputs_give_up(const char *job_folder, const char *job);
/* What would keep the job from starting: outputs that cannot be written. Reports into diag. */
int manager_check_outputs(const struct graph *graph, struct dag_diag *diag);

#endif
