/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_JOURNAL_H
#define JOBMANAGER_JOURNAL_H
/*
 * The facts that the scheduler decided, in one SQLite file a job, written by a thread of its own that commits
 * whatever has come together meanwhile. An effect that could not be undone waits until its fact is durable.
 */
#include "base/diag.h"

#include <uv.h>

struct journal;

struct journal_config {
	const char *folder; /* of the job; made if missing */
	const char *job, *graph_name, *graph_file;
	uint32_t epoch;
	/* In the loop: everything up to `seq` is on disk. */
	void (*on_durable)(void *ctx, uint64_t seq);
	/* In the loop: the journal cannot be written now (full disk) and is tried again; NULL text: it works
	 * again. */
	void (*on_trouble)(void *ctx, const char *text, bool final);
	void *ctx;
};

/* DAG_EIO where the folder cannot be made or lies on a file system of another machine. The file is made
 * meanwhile. */
int journal_new(uv_loop_t *loop, const struct journal_config *config, struct journal **ret_journal,
	struct dag_diag *diag);
/* Adds a fact; its number, from 1. */
uint64_t journal_append(struct journal *journal, const char *fact);
uint64_t journal_durable(struct journal *journal);
/* Writes what is left, as far as that is possible, and ends the thread. */
void journal_destroy(struct journal **journal);

#endif
