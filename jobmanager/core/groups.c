/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committed producers that wait for their group, in lists: one for each node, or rack, or for all. Which of
 * them are put together is decided in refine.c.
 */
#include "groups.h"
#include "edges.h"
#include "nodes.h"
#include "vertices.h"

uint64_t groups_bytes(const struct jm *jm, const struct graph_edge *e, uint32_t producer)
{
	return jm->vertices[jm->graph->stages[e->from]->first_vertex + producer].bytes;
}

void groups_add(struct jm *jm, const struct graph_edge *e, struct jm_list *list, uint32_t producer)
{
	jm_list_append(list, producer);
	list->bytes += groups_bytes(jm, e, producer);
}

static bool same_rack(const struct jm_node *a, const struct jm_node *b)
{
	return a->rack && b->rack && *a->rack && !strcmp(a->rack, b->rack);
}

/* Those of one key wait together: a node, or the first node of a rack. */
uint32_t groups_key(const struct jm *jm, enum graph_group_by by, uint32_t node)
{
	uint32_t first = 0;

	if (by == GRAPH_GROUP_ANY)
		return 0;
	while (by == GRAPH_GROUP_RACK && first < node && !same_rack(&jm->nodes[first], &jm->nodes[node]))
		first++;
	return by == GRAPH_GROUP_RACK ? first : node;
}

struct jm_list *groups_list(struct jm_groups *g, uint32_t key)
{
	while (g->list_count <= key)
		*DAG_APPEND(g->lists, g->list_count, g->list_cap) = (struct jm_list){0};
	return &g->lists[key];
}

void groups_take_back(struct jm *jm, const struct graph_edge *e, uint32_t producer)
{
	struct jm_groups *g = jm->edges[e->id].groups;

	for (size_t l = 0; l < g->list_count; l++)
		for (size_t i = 0; i < g->lists[l].count; i++)
			if (g->lists[l].items[i] == producer) {
				g->lists[l].items[i] = g->lists[l].items[--g->lists[l].count];
				g->lists[l].bytes -= groups_bytes(jm, e, producer);
				g->waiting--;
				return;
			}
}

static struct jm_groups *new_groups(const struct graph_edge *e)
{
	struct jm_groups *g = base_alloc(sizeof(*g));

	g->of = base_alloc(e->from_width * sizeof(*g->of));
	g->members = base_alloc(e->from_width * sizeof(*g->members));
	g->first = base_alloc((e->to_width + 1) * sizeof(*g->first));
	for (uint32_t i = 0; i < e->from_width; i++)
		g->of[i] = GRAPH_NONE;
	return g;
}

void groups_init(struct jm *jm)
{
	for (size_t i = 0; i < jm->graph->edge_count; i++)
		if (jm->graph->edges[i]->pattern == GRAPH_GROUPS)
			jm->edges[i].groups = new_groups(jm->graph->edges[i]);
}

void groups_fini(struct jm *jm)
{
	for (size_t i = 0; i < jm->graph->edge_count; i++) {
		struct jm_groups *g = jm->edges[i].groups;

		for (size_t l = 0; g && l < g->list_count; l++)
			free(g->lists[l].items);
		if (!g)
			continue;
		free(g->lists);
		free(g->of);
		free(g->members);
		free(g->first);
		free(g);
	}
}
