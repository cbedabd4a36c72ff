/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_FOUND_H
#define CORE_FOUND_H
#include "state.h"

/* Found at a node while the job is being resumed. */
struct jm_adoptable {
	struct jm_found found;
	uint32_t node;
};

void found_add(struct jm *jm, uint32_t node, const struct jm_found *found, size_t n);
/* The node is gone again before the job was resumed. */
void found_forget(struct jm *jm, uint32_t node);
void found_sort(struct jm *jm);
void found_clear(struct jm *jm);
/* The newest attempt of the vertex that a node has, once they are sorted; NULL. */
const struct jm_adoptable *found_newest(const struct jm *jm, uint32_t vertex);
void found_fini(struct jm *jm);

#endif
