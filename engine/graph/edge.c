/* SPDX-License-Identifier: Apache-2.0 */
/* The patterns. Each is a small function of the two widths; nothing is stored a channel but for LIST. */
#include "edge.h"

/* First position in edge->list whose consumer (or, through by_producer, whose producer) is >= value. */
static uint32_t list_bound(const struct graph_edge *e, uint32_t value, bool by_producer)
{
	uint32_t low = 0, high = e->list_count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		uint32_t at = by_producer ? e->list[e->by_producer[mid]].producer : e->list[mid].consumer;

		if (at < value)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static uint32_t window_first(uint32_t index, uint32_t k)
{
	return index > k ? index - k : 0;
}

static uint32_t window_count(uint32_t index, uint32_t k, uint32_t width)
{
	uint64_t last = DAG_MIN((uint64_t)index + k, (uint64_t)width - 1);

	return (uint32_t)(last - window_first(index, k) + 1);
}

uint32_t edge_producers(const struct graph_edge *e, uint32_t consumer)
{
	switch (e->pattern) {
	case GRAPH_POINTWISE:
		return e->from_width > e->to_width ? e->from_width / e->to_width : 1;
	case GRAPH_BIPARTITE:
	case GRAPH_GROUPS:
	case GRAPH_ADDED:
		return e->from_width;
	case GRAPH_NEIGHBOURS:
		return window_count(consumer, e->k, e->from_width);
	case GRAPH_LIST:
		return list_bound(e, consumer + 1, false) - list_bound(e, consumer, false);
	}
	DAG_ASSERT(!"pattern");
}

uint32_t edge_producer(const struct graph_edge *e, uint32_t consumer, uint32_t i)
{
	switch (e->pattern) {
	case GRAPH_POINTWISE:
		if (e->from_width > e->to_width)
			return consumer * (e->from_width / e->to_width) + i;
		return consumer / (e->to_width / e->from_width);
	case GRAPH_BIPARTITE:
	case GRAPH_GROUPS:
	case GRAPH_ADDED:
		return i;
	case GRAPH_NEIGHBOURS:
		return window_first(consumer, e->k) + i;
	case GRAPH_LIST:
		return e->list[list_bound(e, consumer, false) + i].producer;
	}
	DAG_ASSERT(!"pattern");
}

uint32_t edge_consumers(const struct graph_edge *e, uint32_t producer)
{
	switch (e->pattern) {
	case GRAPH_POINTWISE:
		return e->to_width > e->from_width ? e->to_width / e->from_width : 1;
	case GRAPH_BIPARTITE:
	case GRAPH_GROUPS:
	case GRAPH_ADDED:
		return e->to_width;
	case GRAPH_NEIGHBOURS:
		return window_count(producer, e->k, e->to_width);
	case GRAPH_LIST:
		return list_bound(e, producer + 1, true) - list_bound(e, producer, true);
	}
	DAG_ASSERT(!"pattern");
}

uint32_t edge_consumer(const struct graph_edge *e, uint32_t producer, uint32_t i)
{
	switch (e->pattern) {
	case GRAPH_POINTWISE:
		if (e->to_width > e->from_width)
			return producer * (e->to_width / e->from_width) + i;
		return producer / (e->from_width / e->to_width);
	case GRAPH_BIPARTITE:
	case GRAPH_GROUPS:
	case GRAPH_ADDED:
		return i;
	case GRAPH_NEIGHBOURS:
		return window_first(producer, e->k) + i;
	case GRAPH_LIST:
		return e->list[e->by_producer[list_bound(e, producer, true) + i]].consumer;
	}
	DAG_ASSERT(!"pattern");
}

uint32_t edge_part(const struct graph_edge *e, uint32_t consumer)
{
	if (e->parts <= 1)
		return 0;
	if (e->pattern == GRAPH_BIPARTITE)
		return consumer;
	DAG_ASSERT(e->pattern == GRAPH_POINTWISE && e->to_width > e->from_width);
	return consumer % (e->to_width / e->from_width);
}

uint64_t edge_channels(const struct graph_edge *e)
{
	switch (e->pattern) {
	case GRAPH_POINTWISE:
		return DAG_MAX(e->from_width, e->to_width);
	case GRAPH_BIPARTITE:
		return (uint64_t)e->from_width * e->to_width;
	case GRAPH_NEIGHBOURS: {
		uint64_t n = e->to_width, k = DAG_MIN(e->k, e->to_width - 1);

		return n * (2 * k + 1) - k * (k + 1);
	}
	case GRAPH_LIST:
		return e->list_count;
	case GRAPH_GROUPS:
	case GRAPH_ADDED:
		return e->from_width;
	}
	DAG_ASSERT(!"pattern");
}
