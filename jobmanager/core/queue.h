/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_QUEUE_H
#define CORE_QUEUE_H
#include "state.h"

struct jm_queue {
	uint32_t first, last; /* gangs; GRAPH_NONE */
	uint32_t count;
};

void queue_init(struct jm_queue *queue);
void queues_init(struct jm *jm);
/* From then on gangs are looked for in other nodes' queues. */
void queues_steal_at(struct jm *jm, dag_instant at);
/* So long a gang waits for the node that holds its input before anybody else may take it. */
dag_instant queue_first_wait(const struct jm_node *holder);
void queue_put(struct jm *jm, uint32_t gang);
void queue_remove(struct jm *jm, uint32_t gang);
void queues_refill(struct jm *jm);
void queues_fini(struct jm *jm);

#endif
