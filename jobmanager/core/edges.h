/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_EDGES_H
#define CORE_EDGES_H
#include "state.h"
#include "list.h"

/* What an edge of the pattern GROUPS has come to. */
struct jm_groups {
	uint32_t *of;          /* of each producer: its consumer; GRAPH_NONE: it is in no group yet */
	uint32_t *members;     /* producers, group after group, ascending within one */
	uint32_t *first;       /* of each group in `members`; behind the last: their number */
	uint32_t count;        /* groups, which the first consumers have */
	uint32_t waiting;      /* producers in all lists */
	struct jm_list *lists; /* by node, or by the first node of a rack */
	size_t list_count, list_cap;
};

/* What an edge of the pattern ADDED has come to. */
struct jm_added {
	struct jm_list *consumers; /* of each producer */
	struct jm_list *producers; /* of each consumer */
};

struct jm_edge {
	uint32_t missing; /* complete edges: producers that are not DONE */
	struct jm_groups *groups;
	struct jm_added *added;
};

/* Edges inside a gang are never waited for. */
bool edges_is_waited_for(const struct graph_edge *e);
/* It is in no group yet. */
bool edges_is_ungrouped(const struct jm *jm, const struct graph_edge *e, uint32_t producer);

#endif
