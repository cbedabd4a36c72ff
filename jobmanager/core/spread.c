/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which node each member of a gang gets. All must find room at once. They are taken in their order; where
 * that does not work out, those that fewest nodes suit are taken first, and the larger before the smaller.
 *
 * Members that fifos join run in one host, so they are placed as one.
 */
#include "spread.h"
#include "nodes.h"
#include "vertices.h"
#include "graph/edge.h"

#define TRIES_MAX 64 /* nodes that are tried as the first one, to see whether a gang could ever be placed */

/* ---- fifo groups: members that one host runs ---- */

static bool in_fifo(const struct jm *jm, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);

	for (size_t i = 0; i < jm->graph->edge_count; i++)
		if (jm->graph->edges[i]->channel == GRAPH_FIFO &&
			(jm->graph->edges[i]->from == s->id || jm->graph->edges[i]->to == s->id))
			return true;
	return false;
}

struct fifo_walk {
	uint32_t *group; /* of each member, by its position in the gang */
	uint32_t gang, number;
	uint32_t *stack; /* members whose neighbours are not painted yet */
	uint32_t depth;
};

static uint32_t member_position(const struct jm *jm, uint32_t gang, uint32_t vertex)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];
	uint32_t low = 0, high = g->count;

	while (low + 1 < high) {
		uint32_t mid = low + (high - low) / 2;

		if (jm->graph->gang_members[g->first + mid] <= vertex)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static void paint(const struct jm *jm, struct fifo_walk *w, uint32_t vertex)
{
	uint32_t at = member_position(jm, w->gang, vertex);

	if (w->group[at])
		return;
	w->group[at] = w->number;
	w->stack[w->depth++] = vertex;
}

/* Paints all that fifos join to `vertex` with one number. */
static void paint_group(const struct jm *jm, struct fifo_walk *w, uint32_t vertex)
{
	const struct graph *g = jm->graph;

	paint(jm, w, vertex);
	while (w->depth) {
		uint32_t v = w->stack[--w->depth];
		const struct graph_stage *s = vertex_stage(jm, v);
		uint32_t index = v - s->first_vertex;

		for (size_t i = 0; i < g->edge_count; i++) {
			const struct graph_edge *e = g->edges[i];

			if (e->channel != GRAPH_FIFO)
				continue;
			for (uint32_t c = 0; e->from == s->id && c < edge_consumers(e, index); c++)
				paint(jm, w, g->stages[e->to]->first_vertex + edge_consumer(e, index, c));
			for (uint32_t p = 0; e->to == s->id && p < edge_producers(e, index); p++)
				paint(jm, w, g->stages[e->from]->first_vertex + edge_producer(e, index, p));
		}
	}
}

/* Numbers from `last` + 1 on, 0 for who is in none; returns the last one. */
static uint32_t find_groups(const struct jm *jm, uint32_t gang, uint32_t last, uint32_t *group)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];
	struct fifo_walk w = {group, gang, last, NULL, 0};

	for (uint32_t i = 0; i < g->count; i++) {
		if (group[i] || !in_fifo(jm, jm->graph->gang_members[g->first + i]))
			continue;
		if (!w.stack)
			w.stack = base_alloc(g->count * sizeof(*w.stack));
		w.number++;
		paint_group(jm, &w, jm->graph->gang_members[g->first + i]);
	}
	free(w.stack);
	return w.number;
}

/* ---- placing ---- */

/* What is placed as one: a member, or a fifo group. */
struct unit {
	uint32_t first; /* member; the others of a group follow by `next` */
	uint32_t shares;
	uint32_t nodes; /* that it suits */
	uint64_t memory;
};

struct load {
	uint64_t shares, memory;
};

struct spread {
	struct arena scratch; /* a step tries many gangs: what a try needs goes with it */
	const struct jm *jm;
	uint32_t gang, count; /* members */
	const uint32_t *members, *group;
	uint32_t *next; /* of each member: the next one of its group, GRAPH_NONE */
	struct unit *units;
	uint32_t unit_count;
	struct load *loads; /* of nodes */
	bool empty;         /* as if nothing ran anywhere, and all slots were granted */
	bool mixed;         /* units differ in what they need */
};

static bool suits(const struct spread *s, const struct unit *u, const struct jm_node *n)
{
	if (!n->up)
		return false;
	for (uint32_t m = u->first; m != GRAPH_NONE; m = s->next[m])
		if (!node_has_labels(n, vertex_stage(s->jm, s->members[m])))
			return false;
	return s->empty || node_takes_work(s->jm, n, s->members[u->first]);
}

static bool has_room(const struct spread *s, const struct unit *u, uint32_t node)
{
	const struct jm_node *n = &s->jm->nodes[node];
	const struct load *load = &s->loads[node];

	return load->shares + u->shares <= (s->empty ? n->total : node_room(n, 0)) &&
	       node_has_memory(n, load->memory, u->memory) && suits(s, u, n);
}

static void add_units(struct spread *s)
{
	uint32_t *unit_of = arena_alloc(&s->scratch, s->count * sizeof(*unit_of)),
		 *last = arena_alloc(&s->scratch, s->count * sizeof(*last)), first_group = 0;

	for (uint32_t m = 0; m < s->count; m++) {
		const struct graph_stage *stage = vertex_stage(s->jm, s->members[m]);
		uint32_t g = s->group[m], u = s->unit_count;

		s->next[m] = GRAPH_NONE;
		if (g && !first_group)
			first_group = g;
		/* Groups are numbered in the order in which they are met. */
		if (g && unit_of[g - first_group]) {
			u = unit_of[g - first_group] - 1;
			s->next[last[u]] = m;
		} else {
			s->units[s->unit_count++] = (struct unit){.first = m};
			if (g)
				unit_of[g - first_group] = s->unit_count;
		}
		last[u] = m;
		s->units[u].shares += graph_vertex_shares(s->jm->graph, s->members[m]);
		s->units[u].memory += stage->memory;
		s->mixed = s->mixed || stage->label_count || s->units[u].memory != s->units->memory ||
			   s->units[u].shares != s->units->shares;
	}
}

static int by_need(const void *a, const void *b)
{
	const struct unit *x = a, *y = b;

	if (x->nodes != y->nodes)
		return x->nodes < y->nodes ? -1 : 1;
	if (x->shares != y->shares)
		return x->shares > y->shares ? -1 : 1;
	if (x->memory != y->memory)
		return x->memory > y->memory ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

static void begin_loads(struct spread *s)
{
	for (uint32_t i = 0; i < s->jm->node_count; i++)
		s->loads[i] = s->empty ? (struct load){0}
				       : (struct load){s->jm->nodes[i].used, s->jm->nodes[i].memory_used};
}

/* The first choice is `node`, and then those behind it. Returns the unit that finds no room; NULL: all do. */
static const struct unit *place_units(struct spread *s, uint32_t node, uint32_t *chosen)
{
	uint32_t count = (uint32_t)s->jm->node_count;

	begin_loads(s);
	for (uint32_t i = 0; i < s->unit_count; i++) {
		const struct unit *u = &s->units[i];
		uint32_t k = 0;

		while (k < count && !has_room(s, u, (node + k) % count))
			k++;
		if (k == count)
			return u;
		s->loads[(node + k) % count].shares += u->shares;
		s->loads[(node + k) % count].memory += u->memory;
		for (uint32_t m = u->first; m != GRAPH_NONE; m = s->next[m])
			chosen[m] = (node + k) % count;
	}
	return NULL;
}

static void order_by_need(struct spread *s)
{
	for (uint32_t i = 0; i < s->unit_count; i++)
		for (uint32_t n = 0; n < s->jm->node_count; n++)
			s->units[i].nodes += suits(s, &s->units[i], &s->jm->nodes[n]);
	qsort(s->units, s->unit_count, sizeof(*s->units), by_need);
}

static void begin_spread(
	struct spread *s, const struct jm *jm, uint32_t gang, const uint32_t *group, bool empty)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];

	*s = (struct spread){.jm = jm,
		.gang = gang,
		.count = g->count,
		.members = jm->graph->gang_members + g->first,
		.group = group,
		.empty = empty};
	s->next = arena_alloc(&s->scratch, g->count * sizeof(*s->next));
	s->units = arena_alloc(&s->scratch, g->count * sizeof(*s->units));
	s->loads = arena_alloc(&s->scratch, (jm->node_count + 1) * sizeof(*s->loads));
	add_units(s);
}

bool spread_gang(struct jm *jm, uint32_t gang, uint32_t node, uint32_t *group, uint32_t *chosen)
{
	uint32_t last;
	const struct unit *left;
	struct spread s;

	/* Where all members are alike, it does not matter which node is tried first. */
	if (jm->gangs[gang].misfit_round == jm->round)
		return false;
	last = find_groups(jm, gang, jm->last_group, group);
	begin_spread(&s, jm, gang, group, false);
	left = place_units(&s, node, chosen);
	if (left && s.mixed) {
		order_by_need(&s);
		left = place_units(&s, node, chosen);
	} else if (left)
		jm->gangs[gang].misfit_round = jm->round;
	arena_fini(&s.scratch);
	if (!left)
		jm->last_group = last;
	return !left;
}

uint32_t spread_misfit(const struct jm *jm, uint32_t gang)
{
	uint32_t count = jm->graph->gangs[gang].count, *group = base_alloc(count * sizeof(*group)),
		 *chosen = base_alloc(count * sizeof(*chosen)), tries = 0, misfit = GRAPH_NONE;
	const struct unit *left = NULL;
	struct spread s;
	bool placed = false;

	find_groups(jm, gang, 0, group);
	begin_spread(&s, jm, gang, group, true);
	for (int order = 0; order < (s.mixed ? 2 : 1) && !placed; order++) {
		if (order)
			order_by_need(&s);
		tries = 0;
		for (uint32_t n = 0; n < jm->node_count && tries < (s.mixed ? TRIES_MAX : 1) && !placed;
			n++) {
			if (!jm->nodes[n].up)
				continue;
			tries++;
			left = place_units(&s, n, chosen);
			placed = !left;
		}
	}
	if (!placed && left)
		misfit = s.members[left->first];
	arena_fini(&s.scratch);
	free(group);
	free(chosen);
	return misfit;
}
