/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_COPY_H
#define CORE_COPY_H
#include "state.h"

/* A second attempt of a vertex that is slow. */
struct jm_copy {
	uint32_t vertex, attempt, node;
};

void copies_note_time(struct jm *jm, uint32_t vertex, dag_instant run_ns);
struct jm_copy *copy_find(struct jm *jm, uint32_t vertex);
/* The copy is this attempt from now on. Returns what it was. */
struct jm_copy copy_swap(struct jm *jm, uint32_t vertex, uint32_t attempt, uint32_t node);
/* Ends the copy: its attempt is fenced, and killed where its node is up. */
void copy_drop(struct jm *jm, uint32_t vertex);
void copies_start(struct jm *jm);
void copies_fini(struct jm *jm);

#endif
