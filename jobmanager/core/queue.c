/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues of READY gangs, doubly linked through the gangs. A gang waits in the queue of the node that holds
 * most of its input, or in a common queue by depth; round.c takes it out.
 */
#include "queue.h"
#include "effects.h"
#include "nodes.h"
#include "vertices.h"

void queue_init(struct jm_queue *queue)
{
	queue->first = queue->last = GRAPH_NONE;
}

void queues_init(struct jm *jm)
{
	uint32_t depth = 0;

	for (size_t i = 0; i < jm->graph->stage_count; i++)
		depth = DAG_MAX(depth, jm->graph->stages[i]->depth);
	jm->queue_count = depth + 1;
	jm->queues = base_alloc(jm->queue_count * sizeof(*jm->queues));
	for (uint32_t i = 0; i < jm->queue_count; i++)
		queue_init(&jm->queues[i]);
	for (uint32_t gang = 0; gang < jm->graph->gang_count; gang++)
		jm->gangs[gang].next = jm->gangs[gang].previous = GRAPH_NONE;
}

void queues_steal_at(struct jm *jm, dag_instant at)
{
	jm->steal_at = at;
}

static struct jm_queue *queue_of(struct jm *jm, uint32_t gang)
{
	uint32_t q = jm->gangs[gang].queue;

	if (q)
		return &jm->nodes[q - 1].queue;
	return &jm->queues[vertex_stage(jm, jm->graph->gang_members[jm->graph->gangs[gang].first])->depth];
}

struct preference {
	uint64_t best_bytes;
	uint32_t best;
	bool scattered;
};

static void look_at_producer(struct jm *jm, uint32_t producer, void *ctx)
{
	struct preference *p = ctx;
	const struct jm_vertex *v = &jm->vertices[producer];

	if (v->state != JM_DONE || !jm->nodes[v->node].up)
		return;
	if (p->best != JM_NODE_NONE && p->best != v->node)
		p->scattered = true;
	if (v->bytes >= p->best_bytes || p->best == JM_NODE_NONE) {
		p->best_bytes = v->bytes;
		p->best = v->node;
	}
}

static bool reads_complete_edge(const struct jm *jm, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);

	for (uint32_t i = 0; i < s->in_count; i++)
		if (s->in[i].edge != GRAPH_NONE &&
			jm->graph->edges[s->in[i].edge]->pattern == GRAPH_BIPARTITE &&
			jm->graph->edges[s->in[i].edge]->from_width > 1)
			return true;
	return false;
}

/* The node + 1 that holds the vertex's input; 0 where it lies everywhere or nowhere, as in a shuffle. */
static uint32_t preferred_node(struct jm *jm, uint32_t gang)
{
	uint32_t first = jm->graph->gang_members[jm->graph->gangs[gang].first];
	struct preference p = {.best = JM_NODE_NONE};

	if (reads_complete_edge(jm, first) || jm->node_count < 2)
		return 0;
	vertex_each_producer(jm, first, look_at_producer, &p);
	if (p.best == JM_NODE_NONE || jm->vertices[first].avoid == p.best + 1)
		return 0;
	return p.best + 1;
}

dag_instant queue_first_wait(const struct jm_node *holder)
{
	return !holder->up ? 0 : *holder->rack ? JM_RACK_WAIT : JM_LOCALITY_WAIT;
}

static void count_ready(struct jm *jm, uint32_t gang, int sign)
{
	uint64_t shares = graph_gang_shares(jm->graph, gang);

	jm->ready_count += sign;
	jm->ready_shares += sign > 0 ? shares : -shares;
	jm->large_ready += gang_is_large(jm, gang) ? sign : 0;
}

void queue_put(struct jm *jm, uint32_t gang)
{
	struct jm_gang *g = &jm->gangs[gang];
	struct jm_queue *q;

	g->queue = preferred_node(jm, gang);
	g->ready_at = jm->now;
	q = queue_of(jm, gang);
	g->next = GRAPH_NONE;
	g->previous = q->last;
	if (q->last == GRAPH_NONE)
		q->first = gang;
	else
		jm->gangs[q->last].next = gang;
	q->last = gang;
	q->count++;
	if (!g->queue)
		jm->queue_top = DAG_MAX(jm->queue_top, (uint32_t)(q - jm->queues) + 1);
	count_ready(jm, gang, +1);
	if (!g->queue)
		return;
	/* Others may take it later, or at once where its node is gone. */
	jm->steal_at = DAG_MIN(jm->steal_at, jm->now + queue_first_wait(&jm->nodes[g->queue - 1]));
	jm_wake(jm, jm->now + JM_LOCALITY_WAIT);
}

void queue_remove(struct jm *jm, uint32_t gang)
{
	struct jm_gang *g = &jm->gangs[gang];
	struct jm_queue *q = queue_of(jm, gang);

	if (g->previous == GRAPH_NONE)
		q->first = g->next;
	else
		jm->gangs[g->previous].next = g->next;
	if (g->next == GRAPH_NONE)
		q->last = g->previous;
	else
		jm->gangs[g->next].previous = g->previous;
	q->count--;
	while (jm->queue_top && !jm->queues[jm->queue_top - 1].count)
		jm->queue_top--;
	count_ready(jm, gang, -1);
	g->next = g->previous = GRAPH_NONE;
	g->queue = 0;
}

void queues_refill(struct jm *jm)
{
	for (uint32_t gang = 0; gang < jm->graph->gang_count; gang++)
		if (jm->gangs[gang].state == JM_READY) {
			queue_remove(jm, gang);
			queue_put(jm, gang);
		}
}

void queues_fini(struct jm *jm)
{
	free(jm->queues);
}
