/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_GROUPS_H
#define CORE_GROUPS_H
#include "edges.h"

/* What the producer wrote. */
uint64_t groups_bytes(const struct jm *jm, const struct graph_edge *e, uint32_t producer);
void groups_add(struct jm *jm, const struct graph_edge *e, struct jm_list *list, uint32_t producer);
/* Those of one key wait together: a node, or the first node of a rack. */
uint32_t groups_key(const struct jm *jm, enum graph_group_by by, uint32_t node);
struct jm_list *groups_list(struct jm_groups *g, uint32_t key);
/* One that waits is not committed any more, or in a group. */
void groups_take_back(struct jm *jm, const struct graph_edge *e, uint32_t producer);
void groups_init(struct jm *jm);
void groups_fini(struct jm *jm);

#endif
