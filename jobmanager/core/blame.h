/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_BLAME_H
#define CORE_BLAME_H
#include "state.h"

/* Text of a vertex's last failure, to see whether the next one is alike. */
struct jm_failure {
	int error, signal;
	char *text;
	uint32_t node;
	bool blamed; /* its node was charged for it */
	bool has_at;
	struct jm_record at;
};

/* A record on which two attempts of a vertex died. */
struct jm_bad_record {
	uint32_t vertex;
	struct jm_record record;
	char *reason;
};

/* The daemon of the node ended while the vertex ran there. */
struct jm_death {
	uint32_t vertex, node;
};

/* The node's daemon ended while the vertex ran there. */
void blame_add_death(struct jm *jm, uint32_t vertex, uint32_t node);
/* The node's daemon has ended: ends the job where a vertex is to blame. Before what ran there is looked at.
 */
void blame_deaths(struct jm *jm, uint32_t node);
/* Keeps what an attempt failed of, to compare it with the next failure. */
void blame_remember(struct jm *jm, uint32_t vertex, uint32_t node, const struct jm_outcome *outcome);
/* Where it failed on another node, that node is to blame. */
void blame_committed(struct jm *jm, uint32_t vertex);
/* A failure that counts. */
void blame_failure(struct jm *jm, uint32_t vertex);
/* It could not read what is intact. */
void blame_reader(struct jm *jm, uint32_t vertex);
/* Its daemon gave it up: how often, since its last commit. */
uint32_t blame_loss(struct jm *jm, uint32_t vertex);
/* Its output was lost: how often. */
uint32_t blame_rerun(struct jm *jm, uint32_t vertex);
void blame_record(struct jm *jm, uint32_t vertex, const struct jm_record *record, const char *reason);
bool blame_is_same_record(const struct jm_record *a, const struct jm_record *b);
/* The fact about a bad record that the vertex met and passed over. */
void blame_note_skipped(struct jm *jm, uint32_t vertex, const struct jm_record *record);
/* Of the stage; UINT32_MAX where the vertex has as many as it may. */
uint32_t blame_count_records(const struct jm *jm, uint32_t stage, uint32_t vertex);
void blame_fini(struct jm *jm);

#endif
