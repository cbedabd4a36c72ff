/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SPECULATION_H
#define CORE_SPECULATION_H
#include "state.h"

/* A second attempt of a vertex that is slow. */
struct jm_speculation {
	uint32_t vertex, attempt, node;
};

void speculation_note_time(struct jm *jm, uint32_t vertex, dag_instant run_ns);
struct jm_speculation *speculation_find(struct jm *jm, uint32_t vertex);
/* The speculative attempt is this one from now on. Returns what it was. */
struct jm_speculation speculation_swap(struct jm *jm, uint32_t vertex, uint32_t attempt, uint32_t node);
/* Ends the speculative attempt: it is fenced, and killed where its node is up. */
void speculation_drop(struct jm *jm, uint32_t vertex);
void speculation_look(struct jm *jm);
void speculation_fini(struct jm *jm);

#endif
