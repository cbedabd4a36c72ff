/* SPDX-License-Identifier: Apache-2.0 */
/* Derives anew what the scheduler keeps beside the facts, and compares. */
#include "edges.h"
#include "groups.h"
#include "nodes.h"
#include "output.h"
#include "queue.h"
#include "speculation.h"
#include "vertices.h"
#include "graph/edge.h"

static uint32_t count_missing(const struct jm *jm, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);
	uint32_t missing = s->open && vertex - s->first_vertex >= jm->stages[s->id].added &&
			   vertex - s->first_vertex < jm_width(jm, s->id);

	for (uint32_t p = 0; p < s->in_count; p++) {
		const struct graph_edge *e =
			s->in[p].edge == GRAPH_NONE ? NULL : jm->graph->edges[s->in[p].edge];
		const struct graph_stage *from = e ? jm->graph->stages[e->from] : NULL;
		uint32_t index = vertex - s->first_vertex;

		if (!e || from->kind == GRAPH_INPUT || e->pattern == GRAPH_BIPARTITE ||
			e->channel != GRAPH_FILE)
			continue;
		for (uint32_t i = 0; i < jm_producers(jm, e, index); i++)
			missing += jm->vertices[from->first_vertex + jm_producer(jm, e, index, i)].state !=
				   JM_DONE;
		missing += e->pattern == GRAPH_GROUPS && index >= jm->edges[e->id].groups->count &&
			   index < jm_width(jm, s->id);
	}
	return missing;
}

static void check_edges(const struct jm *jm)
{
	for (size_t i = 0; i < jm->graph->edge_count; i++) {
		const struct graph_edge *e = jm->graph->edges[i];
		const struct graph_stage *from = jm->graph->stages[e->from];
		uint32_t missing = 0;

		if (from->kind == GRAPH_INPUT || e->pattern != GRAPH_BIPARTITE || e->channel != GRAPH_FILE)
			continue;
		for (uint32_t p = 0; p < e->from_width; p++)
			missing += jm->vertices[from->first_vertex + p].state != JM_DONE;
		DAG_ASSERT(missing == jm->edges[i].missing);
	}
}

static void add_load(const struct jm *jm, struct jm_node *nodes, uint32_t node, uint32_t vertex)
{
	nodes[node].used += graph_vertex_shares(jm->graph, vertex);
	nodes[node].memory_used += vertex_stage(jm, vertex)->memory;
	nodes[node].running++;
	if (gang_is_large(jm, jm->graph->gang_of[vertex]))
		nodes[node].gangs += graph_vertex_shares(jm->graph, vertex);
}

static void check_nodes(const struct jm *jm)
{
	uint64_t used = 0;
	struct jm_node *nodes = base_alloc((jm->node_count + 1) * sizeof(*nodes));

	for (uint32_t v = 0; v < jm->graph->vertex_count; v++)
		if (jm->vertices[v].state == JM_RUNNING)
			add_load(jm, nodes, jm->vertices[v].node, v);
	for (uint32_t v = 0; v < jm->graph->vertex_count; v++)
		if (jm->vertices[v].chained)
			nodes[jm->vertices[v].node].chained += graph_vertex_shares(jm->graph, v);
	for (size_t i = 0; i < jm->speculation_count; i++)
		add_load(jm, nodes, jm->speculations[i].node, jm->speculations[i].vertex);
	for (uint32_t n = 0; n < jm->node_count; n++)
		DAG_ASSERT(nodes[n].used == jm->nodes[n].used && nodes[n].running == jm->nodes[n].running &&
			   nodes[n].chained == jm->nodes[n].chained && nodes[n].gangs == jm->nodes[n].gangs &&
			   nodes[n].memory_used == jm->nodes[n].memory_used);
	for (uint32_t n = 0; n < jm->node_count; n++) {
		const struct jm_node *x = &jm->nodes[n];
		bool open = x->up && !x->suspect && x->used < node_room(x, jm->ahead_most);

		DAG_ASSERT(open == (x->open_at > 0) && (!open || jm->open[x->open_at - 1] == n));
		used += x->used;
	}
	DAG_ASSERT(used == jm->used);
	free(nodes);
}

static void check_stages(const struct jm *jm)
{
	uint32_t open = 0;

	for (size_t i = 0; i < jm->graph->stage_count; i++) {
		const struct graph_stage *s = jm->graph->stages[i];
		const struct jm_stage *x = &jm->stages[i];
		uint32_t counts[JM_DONE + 1] = {0};

		for (uint32_t v = 0; v < x->width; v++)
			counts[jm->vertices[s->first_vertex + v].state]++;
		DAG_ASSERT(counts[JM_WAITING] == x->waiting && counts[JM_READY] == x->ready &&
			   counts[JM_RUNNING] == x->running && counts[JM_DONE] == x->done);
		open += s->open && !x->settled;
	}
	DAG_ASSERT(open == jm->open_left);
}

/* Members are in the state of their gang; those of a RUNNING one may have ended. */
static void check_gangs(const struct jm *jm)
{
	for (uint32_t gang = 0; gang < jm->graph->gang_count; gang++) {
		const struct graph_gang *g = &jm->graph->gangs[gang];
		const struct jm_gang *x = &jm->gangs[gang];
		uint32_t left = 0;

		for (uint32_t i = 0; i < g->count; i++) {
			uint8_t state = jm->vertices[jm->graph->gang_members[g->first + i]].state;

			left += state != JM_DONE;
			DAG_ASSERT(x->state == JM_RUNNING || state == x->state);
		}
		DAG_ASSERT(x->left == (x->state == JM_RUNNING ? left : 0));
	}
}

static void check_groups(const struct jm *jm)
{
	for (size_t i = 0; i < jm->graph->edge_count; i++) {
		const struct jm_groups *g = jm->edges[i].groups;
		uint32_t waiting = 0;

		for (size_t l = 0; g && l < g->list_count; l++) {
			uint64_t bytes = 0;

			for (size_t k = 0; k < g->lists[l].count; k++)
				bytes += groups_bytes(jm, jm->graph->edges[i], g->lists[l].items[k]);
			DAG_ASSERT(bytes == g->lists[l].bytes);
			waiting += (uint32_t)g->lists[l].count;
		}
		DAG_ASSERT(!g || waiting == g->waiting);
	}
}

static void check_outputs(const struct jm *jm)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < jm->graph->output_count; i++)
		left += jm->outputs[i].fetched != jm_width(jm, jm->graph->outputs[i].stage);
	DAG_ASSERT(left == jm->outputs_left);
}

static uint32_t check_queue(const struct jm *jm, const struct jm_queue *q)
{
	uint32_t n = 0, previous = GRAPH_NONE;

	for (uint32_t g = q->first; g != GRAPH_NONE; g = jm->gangs[g].next) {
		DAG_ASSERT(jm->gangs[g].state == JM_READY && jm->gangs[g].previous == previous);
		previous = g;
		n++;
	}
	DAG_ASSERT(n == q->count && q->last == previous);
	return n;
}

void jm_check(const struct jm *jm)
{
	uint32_t left = 0, ready = 0, queued = 0, copied = 0, large = 0;
	uint64_t shares = 0;

	for (uint32_t v = 0; v < jm->graph->vertex_count; v++) {
		const struct jm_vertex *x = &jm->vertices[v];

		left += x->state != JM_DONE;
		DAG_ASSERT(x->missing == count_missing(jm, v));
		if (vertex_stage(jm, v)->kind == GRAPH_INPUT || x->skipped)
			continue;
		DAG_ASSERT(x->attempt <= x->highest && x->fenced <= x->highest);
		DAG_ASSERT(x->state < JM_RUNNING || x->attempt > x->fenced);
		copied += x->has_speculation;
		DAG_ASSERT(!x->has_speculation || x->state == JM_RUNNING);
		DAG_ASSERT((x->state == JM_RUNNING || x->state == JM_DONE) == (x->node != JM_NODE_NONE));
		DAG_ASSERT(x->state != JM_READY || !x->missing);
		DAG_ASSERT(!x->released || x->state == JM_DONE);
		DAG_ASSERT(!x->chained || (x->state == JM_RUNNING && x->missing));
	}
	DAG_ASSERT(left == jm->vertices_left && copied == jm->speculation_count);
	check_edges(jm);
	check_nodes(jm);
	check_stages(jm);
	check_gangs(jm);
	check_groups(jm);
	check_outputs(jm);
	for (uint32_t g = 0; g < jm->graph->gang_count; g++)
		if (jm->gangs[g].state == JM_READY) {
			ready++;
			shares += graph_gang_shares(jm->graph, g);
			large += gang_is_large(jm, g);
		}
	for (uint32_t i = jm->queue_top; i < jm->queue_count; i++)
		DAG_ASSERT(!jm->queues[i].count);
	for (uint32_t i = 0; i < jm->queue_count; i++)
		queued += check_queue(jm, &jm->queues[i]);
	for (uint32_t i = 0; i < jm->node_count; i++)
		queued += check_queue(jm, &jm->nodes[i].queue);
	DAG_ASSERT(ready == queued && ready == jm->ready_count && shares == jm->ready_shares &&
		   large == jm->large_ready);
}
