/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GRAPH_EDGE_H
#define GRAPH_EDGE_H
/*
 * The channels of an edge, by arithmetic. Producers and consumers are indices within their stages. All
 * functions take constant time but for LIST, which takes a binary search.
 *
 * For GROUPS and ADDED they say what may be: every producer may feed every consumer. What is, the job manager
 * knows (jm_producers).
 */
#include "graph.h"

/* How many producers the consumer reads, and its i-th, in the order in which it reads them. */
uint32_t edge_producers(const struct graph_edge *edge, uint32_t consumer);
uint32_t edge_producer(const struct graph_edge *edge, uint32_t consumer, uint32_t i);
/* How many consumers read the producer, and its i-th. */
uint32_t edge_consumers(const struct graph_edge *edge, uint32_t producer);
uint32_t edge_consumer(const struct graph_edge *edge, uint32_t producer, uint32_t i);
/* The part of the producer's stream that the consumer reads. */
uint32_t edge_part(const struct graph_edge *edge, uint32_t consumer);
/* All channels of the edge. */
uint64_t edge_channels(const struct graph_edge *edge);
/* True where every producer feeds, or may feed, every consumer. */
static inline bool edge_is_complete(const struct graph_edge *edge)
{
	return edge->pattern == GRAPH_BIPARTITE || edge->pattern == GRAPH_GROUPS ||
	       edge->pattern == GRAPH_ADDED;
}

#endif
