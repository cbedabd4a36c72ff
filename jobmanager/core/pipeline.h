/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_PIPELINE_H
#define CORE_PIPELINE_H
#include "state.h"

/* Which stages are of one kind. */
void pipeline_init(struct jm *jm);
/* True where node_room of all nodes is another now. */
bool pipeline_note(struct jm *jm, uint32_t stage, dag_instant run_ns);
uint32_t pipeline_ahead(const struct jm *jm, const struct graph_stage *stage, uint32_t gang);
/* Vertices of its stage run shortly, by those that have run. */
bool pipeline_is_short(const struct jm *jm, uint32_t vertex);
void pipeline_fini(struct jm *jm);

#endif
