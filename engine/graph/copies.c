/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broadcast by a tree (Dryad's DynamicBroadcastManager): what many vertices read in whole is read by a layer
 * of as many copies as the root of their number, and each of them by about as many.
 */
#include "finish.h"

bool graph_width_of_copies(struct graph *graph, struct graph_stage *stage)
{
	uint32_t readers = graph->stages[stage->copies_for]->width;

	while (stage->width * stage->width < readers)
		stage->width++;
	return readers > 0;
}

void graph_spread_copies(struct graph *graph, struct graph_edge *e)
{
	uint32_t copies = graph->stages[e->from]->width, readers = graph->stages[e->to]->width;

	e->list = arena_alloc(&graph->arena, readers * sizeof(*e->list));
	e->by_producer = arena_alloc(&graph->arena, readers * sizeof(*e->by_producer));
	for (uint32_t i = 0; i < readers; i++) {
		e->list[i] = (struct graph_list_pair){(uint32_t)((uint64_t)i * copies / readers), i};
		e->by_producer[i] = i; /* in order of both */
	}
	e->list_count = readers;
}
