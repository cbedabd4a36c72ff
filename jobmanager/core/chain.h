/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CHAIN_H
#define CORE_CHAIN_H
#include "state.h"

/* The running vertex is behind its producer, or is not any more. */
void chain_set(struct jm *jm, uint32_t vertex, bool chained);
/*
 * Starts the next piece of what follows a vertex that runs, and behind which nothing was started, one behind
 * the other. Returns the last one of it; the vertex itself where nothing can be started.
 */
uint32_t chain_start(struct jm *jm, uint32_t vertex);
/* A vertex was committed: what was started behind it may be prolonged. */
void chain_committed(struct jm *jm, uint32_t vertex);

#endif
