/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vertex numbers, and which vertices start together: the connected components over pipe and fifo edges
 * (Dryad's start cliques), by union-find.
 *
 * A pipe is made elastic where its gang has an undirected cycle, that is at least as many pipe channels as
 * members: only there can a producer be held up for ever by a reader that waits for something which the same
 * producer, directly or not, has yet to write. On a tree of pipes somebody can always go on.
 */
#include "finish.h"
#include "edge.h"

static uint32_t find_root(uint32_t *parent, uint32_t v)
{
	while (parent[v] != v)
		v = parent[v] = parent[parent[v]];
	return v;
}

/* The smaller vertex becomes the root, so that gangs are numbered by their first members. */
static void unite(uint32_t *parent, uint32_t a, uint32_t b)
{
	a = find_root(parent, a);
	b = find_root(parent, b);
	if (a < b)
		parent[b] = a;
	else
		parent[a] = b;
}

static void number_vertices(struct graph *graph)
{
	uint32_t vertex = 0;

	for (size_t i = 0; i < graph->stage_count; i++) {
		graph->stages[i]->first_vertex = vertex;
		vertex += graph->stages[i]->width;
	}
	graph->vertex_count = vertex;
	graph->vertex_stage = arena_alloc(&graph->arena, (vertex + 1) * sizeof(uint32_t));
	for (size_t i = 0; i < graph->stage_count; i++)
		for (uint32_t j = 0; j < graph->stages[i]->width; j++)
			graph->vertex_stage[graph->stages[i]->first_vertex + j] = (uint32_t)i;
}

static bool is_gang_edge(const struct graph_edge *e)
{
	return e->channel == GRAPH_PIPE || e->channel == GRAPH_FIFO;
}

static void unite_edge(const struct graph *graph, const struct graph_edge *e, uint32_t *parent)
{
	uint32_t from = graph->stages[e->from]->first_vertex, to = graph->stages[e->to]->first_vertex;

	if (edge_is_complete(e)) {
		for (uint32_t p = 0; p < e->from_width; p++)
			unite(parent, from + p, to);
		for (uint32_t c = 1; c < e->to_width; c++)
			unite(parent, from, to + c);
		return;
	}
	for (uint32_t c = 0; c < e->to_width; c++)
		for (uint32_t i = 0; i < edge_producers(e, c); i++)
			unite(parent, from + edge_producer(e, c, i), to + c);
}

static void collect_gangs(struct graph *graph, uint32_t *parent)
{
	uint32_t n = graph->vertex_count, at = 0;

	graph->gang_of = arena_alloc(&graph->arena, (n + 1) * sizeof(uint32_t));
	graph->gang_members = arena_alloc(&graph->arena, (n + 1) * sizeof(uint32_t));
	for (uint32_t v = 0; v < n; v++)
		if (find_root(parent, v) == v)
			graph->gang_of[v] = graph->gang_count++;
	graph->gangs = arena_alloc(&graph->arena, (graph->gang_count + 1) * sizeof(*graph->gangs));
	for (uint32_t v = 0; v < n; v++) {
		graph->gang_of[v] = graph->gang_of[find_root(parent, v)];
		graph->gangs[graph->gang_of[v]].count++;
	}
	for (uint32_t g = 0; g < graph->gang_count; g++) {
		graph->gangs[g].first = at;
		at += graph->gangs[g].count;
		graph->gangs[g].count = 0;
	}
	for (uint32_t v = 0; v < n; v++) {
		struct graph_gang *g = &graph->gangs[graph->gang_of[v]];

		graph->gang_members[g->first + g->count++] = v;
	}
}

/* Adds the channels of e to the gangs that they lie in. */
static void count_channels(const struct graph *graph, const struct graph_edge *e, uint64_t *channels)
{
	uint32_t to = graph->stages[e->to]->first_vertex;

	if (edge_is_complete(e)) {
		channels[graph->gang_of[to]] += edge_channels(e);
		return;
	}
	for (uint32_t c = 0; c < e->to_width; c++)
		channels[graph->gang_of[to + c]] += edge_producers(e, c);
}

static void mark_elastic(struct graph *graph, const uint64_t *channels, struct dag_diag *diag)
{
	for (size_t i = 0; i < graph->edge_count; i++) {
		struct graph_edge *e = graph->edges[i];
		uint32_t to = graph->stages[e->to]->first_vertex;

		if (!is_gang_edge(e))
			continue;
		for (uint32_t c = 0; c < e->to_width && !e->elastic; c++) {
			uint32_t g = graph->gang_of[to + c];

			e->elastic = channels[g] >= graph->gangs[g].count;
		}
		if (e->elastic && e->channel == GRAPH_FIFO)
			graph_report(diag, e->place,
				"the fifo from '%s' to '%s' lies on paths that meet again, where a fifo "
				"could wait for ever; "
				"use a pipe there",
				graph->stages[e->from]->name, graph->stages[e->to]->name);
		if (e->elastic)
			graph->stages[e->from]->streams[e->stream].elastic = true;
	}
}

/* The first of a group that do not say what they need have a share each, up to a slot; the others ride along.
 */
static void mark_riders(struct graph *graph, uint32_t *parent, uint32_t *counts)
{
	uint32_t n = graph->vertex_count;

	memset(counts, 0, n * sizeof(*counts));
	graph->rides = arena_alloc(&graph->arena, n + 1);
	for (uint32_t v = 0; v < n; v++)
		if (!graph->stages[graph->vertex_stage[v]]->cpu_shares &&
			graph->gangs[graph->gang_of[v]].count > 1)
			graph->rides[v] = counts[find_root(parent, v)]++ >= GRAPH_CPU_SHARES;
}

/* What fifos join runs in one process. */
static void check_fifo_groups(struct graph *graph, struct dag_diag *diag)
{
	uint32_t n = graph->vertex_count, *parent = base_alloc((n + 1) * sizeof(*parent)),
		 *counts = base_alloc((n + 1) * sizeof(*counts));
	bool any = false;

	for (uint32_t v = 0; v < n; v++)
		parent[v] = v;
	for (size_t i = 0; i < graph->edge_count; i++)
		if (graph->edges[i]->channel == GRAPH_FIFO) {
			unite_edge(graph, graph->edges[i], parent);
			any = true;
		}
	for (uint32_t v = 0; v < n; v++)
		counts[find_root(parent, v)]++;
	for (size_t i = 0; i < graph->edge_count; i++) {
		const struct graph_edge *e = graph->edges[i];
		uint32_t *count = &counts[find_root(parent, graph->stages[e->to]->first_vertex)];

		if (e->channel != GRAPH_FIFO || *count <= GRAPH_FIFO_GROUP_MAX)
			continue;
		graph_report(diag, e->place,
			"the fifo from '%s' to '%s' joins %u vertices, and one process runs at most %u; use "
			"a "
			"pipe",
			graph->stages[e->from]->name, graph->stages[e->to]->name, *count,
			GRAPH_FIFO_GROUP_MAX);
		*count = 0; /* once is enough */
	}
	if (any)
		mark_riders(graph, parent, counts);
	free(parent);
	free(counts);
}

/* A gang's file edges must not lead from one member to another: the reader would wait for its own start. */
static void check_inner_files(const struct graph *graph, struct dag_diag *diag)
{
	for (size_t i = 0; i < graph->edge_count; i++) {
		const struct graph_edge *e = graph->edges[i];
		uint32_t from = graph->stages[e->from]->first_vertex, to = graph->stages[e->to]->first_vertex;

		if (is_gang_edge(e) || e->from == e->to)
			continue;
		for (uint32_t c = 0; c < e->to_width; c++) {
			uint32_t n = edge_is_complete(e) ? 1 : edge_producers(e, c);

			for (uint32_t j = 0; j < n; j++)
				if (graph->gang_of[from + edge_producer(e, c, j)] == graph->gang_of[to + c]) {
					graph_report(diag, e->place,
						"'%s' and '%s' are joined by pipes and must start together, "
						"but the file channel "
						"between them makes one wait for the other's end; use a pipe "
						"here too",
						graph->stages[e->from]->name, graph->stages[e->to]->name);
					c = e->to_width - 1;
					break;
				}
		}
	}
}

/*
 * Nor may they lead from one member out of the gang and back to another. Gangs are taken in the order in
 * which they could start, as the scheduler would; those that are left wait for their own ends.
 */
struct order {
	const struct graph *graph;
	uint32_t *blockers; /* of each gang */
	uint32_t *missing;  /* of each complete edge: producers that have not ended */
	uint32_t *queue;
	uint32_t queued;
};

static void unblock(struct order *o, uint32_t vertex)
{
	uint32_t gang = o->graph->gang_of[vertex];

	if (--o->blockers[gang] == 0)
		o->queue[o->queued++] = gang;
}

static void end_vertex(struct order *o, uint32_t vertex)
{
	const struct graph *g = o->graph;
	const struct graph_stage *s = g->stages[g->vertex_stage[vertex]];
	uint32_t index = vertex - s->first_vertex;

	for (size_t i = 0; i < g->edge_count; i++) {
		const struct graph_edge *e = g->edges[i];
		uint32_t to = g->stages[e->to]->first_vertex;

		if (e->from != s->id || e->to == s->id || is_gang_edge(e))
			continue;
		if (edge_is_complete(e) && --o->missing[i])
			continue;
		for (uint32_t c = 0; c < (edge_is_complete(e) ? e->to_width : edge_consumers(e, index)); c++)
			unblock(o, to + (edge_is_complete(e) ? c : edge_consumer(e, index, c)));
	}
}

static void count_blockers(struct order *o)
{
	const struct graph *g = o->graph;

	for (size_t i = 0; i < g->edge_count; i++) {
		const struct graph_edge *e = g->edges[i];
		uint32_t to = g->stages[e->to]->first_vertex;

		o->missing[i] = e->from_width;
		for (uint32_t c = 0; c < e->to_width && !is_gang_edge(e) && e->from != e->to; c++)
			o->blockers[g->gang_of[to + c]] += edge_is_complete(e) ? 1 : edge_producers(e, c);
	}
	for (uint32_t gang = 0; gang < g->gang_count; gang++)
		if (!o->blockers[gang])
			o->queue[o->queued++] = gang;
}

static void check_order(const struct graph *graph, struct dag_diag *diag)
{
	struct order o = {graph, base_alloc((graph->gang_count + 1) * sizeof(uint32_t)),
		base_alloc((graph->edge_count + 1) * sizeof(uint32_t)),
		base_alloc((graph->gang_count + 1) * sizeof(uint32_t)), 0};

	count_blockers(&o);
	for (uint32_t at = 0; at < o.queued; at++) {
		const struct graph_gang *g = &graph->gangs[o.queue[at]];

		for (uint32_t i = 0; i < g->count; i++)
			end_vertex(&o, graph->gang_members[g->first + i]);
	}
	for (size_t i = 0; i < graph->edge_count && o.queued < graph->gang_count; i++) {
		const struct graph_edge *e = graph->edges[i];
		uint32_t c = 0, to = graph->stages[e->to]->first_vertex;

		while (c < e->to_width && (!o.blockers[graph->gang_of[to + c]] ||
						  graph->gangs[graph->gang_of[to + c]].count == 1))
			c++;
		if (is_gang_edge(e) || c == e->to_width)
			continue;
		graph_report(diag, e->place,
			"'%s' starts together with what pipes join it to, and waits here for '%s', which "
			"waits for "
			"one of these to end; use pipes on the whole way, or on none of it",
			graph->stages[e->to]->name, graph->stages[e->from]->name);
		break;
	}
	free(o.blockers);
	free(o.missing);
	free(o.queue);
}

void graph_finish_gangs(struct graph *graph, struct dag_diag *diag)
{
	uint32_t *parent;
	uint64_t *channels;
	size_t errors;

	number_vertices(graph);
	parent = base_alloc((graph->vertex_count + 1) * sizeof(*parent));
	for (uint32_t v = 0; v < graph->vertex_count; v++)
		parent[v] = v;
	for (size_t i = 0; i < graph->edge_count; i++)
		if (is_gang_edge(graph->edges[i]))
			unite_edge(graph, graph->edges[i], parent);
	collect_gangs(graph, parent);
	free(parent);
	channels = base_alloc((graph->gang_count + 1) * sizeof(*channels));
	for (size_t i = 0; i < graph->edge_count; i++)
		if (is_gang_edge(graph->edges[i]))
			count_channels(graph, graph->edges[i], channels);
	mark_elastic(graph, channels, diag);
	free(channels);
	if (graph->gang_count == graph->vertex_count)
		return;
	errors = diag->count;
	check_fifo_groups(graph, diag);
	check_inner_files(graph, diag);
	if (diag->count == errors)
		check_order(graph, diag);
}

uint32_t graph_vertex_shares(const struct graph *graph, uint32_t vertex)
{
	uint32_t said = graph->stages[graph->vertex_stage[vertex]]->cpu_shares;

	if (said)
		return said;
	if (graph->gangs[graph->gang_of[vertex]].count == 1)
		return GRAPH_CPU_SHARES;
	return graph->rides && graph->rides[vertex] ? 0 : 1;
}

uint64_t graph_gang_shares(const struct graph *graph, uint32_t gang)
{
	const struct graph_gang *g = &graph->gangs[gang];
	uint64_t shares = 0;

	for (uint32_t i = 0; i < g->count; i++)
		shares += graph_vertex_shares(graph, graph->gang_members[g->first + i]);
	return shares;
}
