/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who reads whom: the edges of the graph with what has been decided of them while the job runs, and whether
 * all is decided. Nothing is changed here.
 */
#include "edges.h"
#include "vertices.h"
#include "graph/edge.h"

uint32_t jm_width(const struct jm *jm, uint32_t stage)
{
	return jm->stages[stage].width;
}

uint32_t jm_producers(const struct jm *jm, const struct graph_edge *e, uint32_t consumer)
{
	const struct jm_groups *g = jm->edges[e->id].groups;

	if (e->pattern == GRAPH_ADDED)
		return (uint32_t)jm->edges[e->id].added->producers[consumer].count;
	if (g)
		return consumer < g->count ? g->first[consumer + 1] - g->first[consumer] : 0;
	return e->pattern == GRAPH_BIPARTITE ? jm->stages[e->from].width : edge_producers(e, consumer);
}

uint32_t jm_producer(const struct jm *jm, const struct graph_edge *e, uint32_t consumer, uint32_t i)
{
	const struct jm_groups *g = jm->edges[e->id].groups;

	if (e->pattern == GRAPH_ADDED)
		return jm->edges[e->id].added->producers[consumer].items[i];
	return g ? g->members[g->first[consumer] + i] : edge_producer(e, consumer, i);
}

uint32_t jm_consumers(const struct jm *jm, const struct graph_edge *e, uint32_t producer)
{
	const struct jm_groups *g = jm->edges[e->id].groups;

	if (e->pattern == GRAPH_ADDED)
		return (uint32_t)jm->edges[e->id].added->consumers[producer].count;
	if (g)
		return g->of[producer] != GRAPH_NONE;
	return e->pattern == GRAPH_BIPARTITE ? jm->stages[e->to].width : edge_consumers(e, producer);
}

uint32_t jm_consumer(const struct jm *jm, const struct graph_edge *e, uint32_t producer, uint32_t i)
{
	const struct jm_groups *g = jm->edges[e->id].groups;

	if (e->pattern == GRAPH_ADDED)
		return jm->edges[e->id].added->consumers[producer].items[i];
	return g ? g->of[producer] : edge_consumer(e, producer, i);
}

uint32_t jm_first_part(
	const struct jm *jm, const struct graph_edge *e, uint32_t consumer, uint32_t *ret_count)
{
	uint32_t width = jm->stages[e->to].width, first;

	*ret_count = 1;
	if (e->parts <= 1 || !jm->graph->stages[e->to]->width_by_data)
		return edge_part(e, consumer);
	first = (uint32_t)((uint64_t)consumer * e->parts / width);
	*ret_count = (uint32_t)(((uint64_t)consumer + 1) * e->parts / width) - first;
	return first;
}

/* Edges inside a gang are never waited for. */
bool edges_is_waited_for(const struct graph_edge *e)
{
	return e->channel != GRAPH_PIPE && e->channel != GRAPH_FIFO;
}

bool edges_is_ungrouped(const struct jm *jm, const struct graph_edge *e, uint32_t producer)
{
	return jm->edges[e->id].groups && jm->edges[e->id].groups->of[producer] == GRAPH_NONE;
}
