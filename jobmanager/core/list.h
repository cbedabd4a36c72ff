/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_LIST_H
#define CORE_LIST_H
#include "base/base.h"

/* Vertices, by their numbers in the job or in their stage. */
struct jm_list {
	uint32_t *items;
	size_t count, cap;
	uint64_t bytes; /* of producers that wait for their group */
};

static inline void jm_list_append(struct jm_list *list, uint32_t item)
{
	*DAG_APPEND(list->items, list->count, list->cap) = item;
}

#endif
