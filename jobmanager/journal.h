/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_JOURNAL_H
#define JOBMANAGER_JOURNAL_H
/*
 * The facts that the scheduler decided, in one SQLite file a job, written by a thread of its own that commits
 * whatever has come together meanwhile. An effect that could not be undone waits until its fact is durable.
 */
#include "base/diag.h"
#include "graph/graph.h"

#include <uv.h>

struct journal;

struct journal_config {
	const char *folder;            /* of the job; made if missing */
	const struct graph_pair *meta; /* what is known of the job: kept in the file */
	size_t meta_count;
	bool existing;                 /* the file is there, with */
	uint64_t first;                /* facts in */
	uint64_t first_row, first_sum; /* rows, and the last one's sum */
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
/* Adds facts that are written together or not at all; the number of the last one, counted from 1. */
uint64_t journal_append(struct journal *journal, const char *const *facts, size_t n);
/* Somebody waits for what was appended: it is written now, rather than when more has come together. */
void journal_hurry(struct journal *journal);
uint64_t journal_durable(struct journal *journal);
/* From now on a disk that stands still is waited for so long, and not until it goes on. */
void journal_hasten(struct journal *journal, dag_instant patience);
/* Writes what is left, as far as that is possible, and ends the thread. */
void journal_destroy(struct journal **journal);

/* ---- of an earlier run ---- */

struct journal_saved {
	struct graph_pair *meta; /* sorted by name */
	size_t meta_count, meta_cap;
	char **facts;
	size_t fact_count, fact_cap;
	uint64_t row_count, last_sum;
	uint32_t epoch;
};

/*
 * Reads a journal. DAG_EMISSING where there is none, or an empty one: its job was ended before it began;
 * DAG_ECORRUPT for one that is damaged or not ours, with the row named. Half of it is never given out.
 * with_facts: all of them, checked; otherwise only the last ones.
 */
int journal_load(const char *folder, bool with_facts, struct journal_saved *ret, struct dag_diag *diag);
void journal_saved_fini(struct journal_saved *saved);
const char *journal_meta(const struct journal_saved *saved, const char *name); /* NULL: not said */
const char *journal_last(const struct journal_saved *saved);                   /* the last fact; "": none */
/* Makes the epoch durable. DAG_EIO. */
int journal_set_epoch(const char *folder, uint32_t epoch, struct dag_diag *diag);
/* The right to run the job, for as long as the descriptor is open. DAG_EBUSY where another process has it;
 * patient: where it still has it after a second, since one that is being killed takes a moment to go. */
int journal_lock(const char *folder, bool patient, int *ret_fd);

#endif
