/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SPREAD_H
#define CORE_SPREAD_H
#include "state.h"

/*
 * Finds a node for each member; the first choice is `node`. False where they do not all find room now.
 * `group`, which comes zeroed, gets the number of each member's fifo group, 0 for none.
 */
bool spread_gang(struct jm *jm, uint32_t gang, uint32_t node, uint32_t *group, uint32_t *chosen);
/* A member for which there would be no room if nothing else ran on the nodes that are up; GRAPH_NONE. */
uint32_t spread_misfit(const struct jm *jm, uint32_t gang);

#endif
