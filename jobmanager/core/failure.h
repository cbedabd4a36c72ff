/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_FAILURE_H
#define CORE_FAILURE_H
#include "state.h"

void failure_on_verified(struct jm *jm, uint32_t vertex, uint32_t attempt, int error);
/* Gangs whose members complained of each other, and none of which said why. */
void failure_rerun_broken(struct jm *jm);
void failure_on_failed(struct jm *jm, uint32_t vertex, const struct jm_outcome *outcome);
/* A commit with another hash than the last: rule 6. */
void failure_on_differs(struct jm *jm, uint32_t vertex);
/* DONE vertices whose data is not reachable and is needed run again. */
void failure_rerun_lost(struct jm *jm, bool (*is_lost)(const struct jm *jm, uint32_t vertex, const void *ctx),
	const void *ctx, uint32_t *ret_count);
void failure_on_node_down(struct jm *jm, uint32_t node, bool died);
void failure_fini(struct jm *jm);

#endif
