/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_VERIFY_H
#define JOBMANAGER_VERIFY_H
/*
 * A job that ran is run again, in part: a sample of its vertices and all that they read from. Nothing is
 * published; every vertex's hash is compared with the one that the job's journal has.
 */
#include "graph/graph.h"
#include "journal.h"

struct verify;

/* Both outlive it. */
void verify_new(struct verify **ret_verify, const struct graph *graph, const struct journal_saved *saved);
void verify_destroy(struct verify **verify);
/* Adds so many of a thousand of each stage's committed vertices, at least one of each. */
void verify_draw(struct verify *verify, uint32_t per_mille, uint64_t seed);
/* Adds "stage" or "stage[index]". DAG_EINVAL for one that there is not, DAG_EMISSING for one that was not
 * committed. */
int verify_add(struct verify *verify, const char *name);

/* ---- for the manager ---- */

const struct journal_saved *verify_saved(const struct verify *verify);
/* The job's graph without outputs, and a flag for each of its vertices that is not run. */
const struct graph *verify_graph(const struct verify *verify);
const bool *verify_skipped(const struct verify *verify);
/* The job as it was at its end. */
const struct jm *verify_then(const struct verify *verify);
/* A fact of the run. */
void verify_fact(struct verify *verify, const char *fact);

/* Prints what differs and how many were compared; false where a vertex differs that should not. */
bool verify_report(const struct verify *verify, const char *job);

#endif
