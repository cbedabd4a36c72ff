/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues, what fits where, and the start of a gang. A ready gang waits in the queue of the node that holds
 * most of its input, or in a common queue by depth; round.c takes it out.
 */
#include "state.h"

/* ---- queues: doubly linked through the gangs ---- */

static struct jm_queue *queue_of(struct jm *jm, uint32_t gang)
{
	uint32_t q = jm->gangs[gang].queue;

	if (q)
		return &jm->nodes[q - 1].queue;
	return &jm->queues[vertex_stage(jm, jm->graph->gang_members[jm->graph->gangs[gang].first])->depth];
}

bool gang_is_large(const struct jm *jm, uint32_t gang)
{
	return jm->graph->gangs[gang].count > 1 || graph_gang_shares(jm->graph, gang) > GRAPH_CPU_SHARES;
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

dag_instant first_wait(const struct jm_node *holder)
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

void queue_gang(struct jm *jm, uint32_t gang)
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
	jm->steal_at = DAG_MIN(jm->steal_at, jm->now + first_wait(&jm->nodes[g->queue - 1]));
	jm_wake(jm, jm->now + JM_LOCALITY_WAIT);
}

void unqueue_gang(struct jm *jm, uint32_t gang)
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

/* ---- what fits where ---- */

uint32_t node_room(const struct jm_node *node, uint32_t ahead)
{
	return node->granted * (node->held_up ? 1 : 1 + ahead);
}

/* The list of nodes that may have room, so that a step does not look at all of them. */
void node_update_open(struct jm *jm, uint32_t node)
{
	struct jm_node *n = &jm->nodes[node];
	bool open = n->up && !n->suspect && n->used < node_room(n, jm->ahead_most);
	uint32_t last;

	if (open == (n->open_at > 0))
		return;
	if (open) {
		*DAG_APPEND(jm->open, jm->open_count, jm->open_cap) = node;
		n->open_at = (uint32_t)jm->open_count;
		return;
	}
	last = jm->open[--jm->open_count];
	jm->open[n->open_at - 1] = last;
	jm->nodes[last].open_at = n->open_at;
	n->open_at = 0;
}

/* Another program is another kind: nobody knows what its arguments make of it. */
static bool is_of_kind(const struct jm_kind *k, const struct graph_stage *s)
{
	return s->kind == GRAPH_PLUGIN && k->stage->kind == GRAPH_PLUGIN &&
	       !strcmp(k->stage->entry, s->entry) && !strcmp(k->stage->plugin, s->plugin);
}

void find_kinds(struct jm *jm)
{
	for (size_t i = 0; i < jm->graph->stage_count; i++) {
		const struct graph_stage *s = jm->graph->stages[i];
		size_t k = s->kind == GRAPH_PLUGIN ? 0 : jm->kind_count;

		if (s->like != i) {
			jm->stages[i].kind = jm->stages[s->like].kind;
			continue;
		}
		while (k < jm->kind_count && !is_of_kind(&jm->kinds[k], s))
			k++;
		if (k == jm->kind_count)
			*DAG_APPEND(jm->kinds, jm->kind_count, jm->kind_cap) = (struct jm_kind){.stage = s};
		jm->stages[i].kind = (uint32_t)k;
	}
}

/* A power of two, so that it seldom changes; 0 where too few have run. */
static uint32_t ahead_of(uint32_t done, dag_instant run_ns)
{
	uint64_t mean = done >= 4 ? DAG_MAX((uint64_t)run_ns / done, 1ull) : UINT64_MAX;
	uint32_t n = JM_AHEAD;

	if (mean > JM_SHORT)
		return 0;
	while (n < JM_AHEAD_MAX && n * 2 * mean <= JM_AHEAD_TIME)
		n *= 2;
	return n;
}

static uint32_t stage_ahead(const struct jm *jm, const struct jm_stage *s)
{
	return s->done >= 4 ? s->ahead : jm->kinds[s->kind].ahead;
}

static void update_ahead_most(struct jm *jm)
{
	uint32_t most = 0;

	for (size_t i = 0; i < jm->graph->stage_count; i++)
		most = DAG_MAX(most, jm->stages[i].ahead);
	for (size_t i = 0; i < jm->kind_count; i++)
		most = DAG_MAX(most, jm->kinds[i].ahead);
	if (most == jm->ahead_most)
		return;
	jm->ahead_most = most;
	for (uint32_t i = 0; i < jm->node_count; i++)
		node_update_open(jm, i);
}

void note_run_time(struct jm *jm, uint32_t stage, dag_instant run_ns)
{
	struct jm_stage *s = &jm->stages[stage];
	struct jm_kind *kind = &jm->kinds[s->kind];
	uint32_t ahead = ahead_of(s->done, s->run_ns), was = DAG_MAX(s->ahead, kind->ahead), now;

	kind->done++;
	kind->run_ns += run_ns;
	s->ahead = ahead;
	kind->ahead = ahead_of(kind->done, kind->run_ns);
	now = DAG_MAX(s->ahead, kind->ahead);
	if (now > jm->ahead_most || (now < was && was == jm->ahead_most))
		update_ahead_most(jm);
}

/* Short vertices are started ahead of the slots, so that a round trip is not paid for each. */
static uint32_t gang_ahead(const struct jm *jm, const struct graph_stage *stage, uint32_t gang)
{
	return jm->graph->gangs[gang].count > 1 ? 0 : stage_ahead(jm, &jm->stages[stage->id]);
}

/* A node that fails what others can do gets work only where no other could run it. */
bool is_shunned(const struct jm *jm, const struct jm_node *node, uint32_t vertex)
{
	if (!node->avoided)
		return false;
	for (uint32_t i = 0; i < jm->node_count; i++)
		if (!jm->nodes[i].avoided && could_run(jm, &jm->nodes[i], vertex))
			return true;
	return false;
}

bool node_takes_work(const struct jm *jm, const struct jm_node *node, uint32_t vertex)
{
	return node->up && !node->suspect && jm->now >= node->usable_at && !is_shunned(jm, node, vertex);
}

bool node_has_labels(const struct jm_node *node, const struct graph_stage *s)
{
	for (uint32_t i = 0; i < s->label_count; i++) {
		bool found = false;

		for (uint32_t j = 0; j < node->label_count && !found; j++)
			found = !strcmp(node->labels[j].name, s->labels[i].name) &&
				!strcmp(node->labels[j].value, s->labels[i].value);
		if (!found)
			return false;
	}
	return true;
}

bool node_has_memory(const struct jm_node *node, uint64_t used, uint64_t memory)
{
	return !memory || !node->memory || used + memory <= node->memory;
}

bool would_suit(const struct jm *jm, const struct jm_node *node, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);

	return node_has_labels(node, s) && node_has_memory(node, 0, s->memory) &&
	       graph_vertex_shares(jm->graph, vertex) <= node->total;
}

bool could_run(const struct jm *jm, const struct jm_node *node, uint32_t vertex)
{
	return node->up && would_suit(jm, node, vertex);
}

bool node_fits(const struct jm *jm, uint32_t node, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);
	const struct jm_node *n = &jm->nodes[node];
	uint32_t gang = jm->graph->gang_of[vertex];

	return node_takes_work(jm, n, vertex) && node_has_labels(n, s) &&
	       n->used + graph_vertex_shares(jm->graph, vertex) <= node_room(n, gang_ahead(jm, s, gang)) &&
	       node_has_memory(n, n->memory_used, s->memory);
}

void occupy_node(struct jm *jm, uint32_t node, uint32_t vertex, int sign)
{
	uint32_t gang = jm->graph->gang_of[vertex], shares = graph_vertex_shares(jm->graph, vertex);
	uint64_t memory = vertex_stage(jm, vertex)->memory;
	struct jm_node *n = &jm->nodes[node];

	if (sign > 0 && !n->used)
		recall_moved(jm, node);
	n->used += sign > 0 ? shares : -shares;
	n->memory_used += sign > 0 ? memory : -memory;
	n->running += sign > 0 ? 1 : -1;
	if (jm->graph->gangs[gang].count > 1 || shares > GRAPH_CPU_SHARES) {
		n->gangs += sign > 0 ? shares : -shares;
		jm->gangs_changed = true;
	}
	jm->used += sign > 0 ? shares : -(uint64_t)shares;
	jm->started_ahead = jm->started_ahead || recall_waiting(n);
	node_update_open(jm, node);
}

void requeue_all(struct jm *jm)
{
	for (uint32_t gang = 0; gang < jm->graph->gang_count; gang++)
		if (jm->gangs[gang].state == JM_READY) {
			unqueue_gang(jm, gang);
			queue_gang(jm, gang);
		}
}

void node_release(struct jm *jm, uint32_t vertex)
{
	if (jm->vertices[vertex].node != JM_NODE_NONE)
		occupy_node(jm, jm->vertices[vertex].node, vertex, -1);
}

/* ---- starting ---- */

static void start_vertex(struct jm *jm, uint32_t vertex, uint32_t node, uint32_t attempt)
{
	struct jm_vertex *v = &jm->vertices[vertex];

	v->attempt = v->highest = attempt;
	v->node = node;
	v->started = jm->now;
	v->piece_end = 0;
	occupy_node(jm, node, vertex, +1);
	vertex_set_state(jm, vertex, JM_RUNNING);
	jm->stages[jm->graph->vertex_stage[vertex]].attempts++;
}

void emit_start(
	struct jm *jm, uint32_t node, uint32_t vertex, uint32_t attempt, uint32_t group, uint32_t group_size)
{
	struct jm_effect *e = jm_emit_attempt(jm, JM_START, node, vertex, attempt);

	e->shares = graph_vertex_shares(jm->graph, vertex);
	e->group = group;
	e->group_size = group_size;
}

static void emit_member(struct jm *jm, uint32_t vertex, uint32_t group, uint32_t group_size)
{
	emit_start(jm, jm->vertices[vertex].node, vertex, jm->vertices[vertex].attempt, group, group_size);
}

static void emit_groups(struct jm *jm, uint32_t gang, const uint32_t *group)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];

	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t size = 0;
		bool first = true;

		for (uint32_t j = 0; group[i] && j < g->count; j++) {
			size += group[j] == group[i];
			first = first && (j >= i || group[j] != group[i]);
		}
		if (!group[i])
			emit_member(jm, jm->graph->gang_members[g->first + i], 0, 1);
		/* The members of a group follow each other, as the daemon expects them. */
		for (uint32_t j = i; group[i] && first && j < g->count; j++)
			if (group[j] == group[i])
				emit_member(jm, jm->graph->gang_members[g->first + j], group[i], size);
	}
}

/* All members of one start have one number, above all that they had before. */
uint32_t next_attempt(const struct jm *jm, uint32_t gang)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];
	uint32_t attempt = JM_ATTEMPT(jm->epoch, 0);

	for (uint32_t i = 0; i < g->count; i++)
		attempt = DAG_MAX(attempt, jm->vertices[jm->graph->gang_members[g->first + i]].highest);
	return attempt + 1;
}

bool is_short(const struct jm *jm, uint32_t vertex)
{
	return stage_ahead(jm, &jm->stages[jm->graph->vertex_stage[vertex]]) > 0;
}

void start_single(struct jm *jm, uint32_t vertex, uint32_t node)
{
	uint32_t gang = jm->graph->gang_of[vertex], attempt = next_attempt(jm, gang);

	jm->gangs[gang].state = JM_RUNNING;
	jm->gangs[gang].left = 1;
	start_vertex(jm, vertex, node, attempt);
	fact_started(jm, vertex, attempt, node, 1);
	emit_member(jm, vertex, 0, 1);
}

bool start_gang(struct jm *jm, uint32_t gang, uint32_t node)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];
	uint32_t attempt, *group = arena_alloc(&jm->texts, g->count * sizeof(*group)),
			  *chosen = arena_alloc(&jm->texts, g->count * sizeof(*chosen));

	*chosen = node;
	if (g->count > 1 && !spread_gang(jm, gang, node, group, chosen))
		return false;
	attempt = next_attempt(jm, gang);
	unqueue_gang(jm, gang);
	jm->gangs[gang].state = JM_RUNNING;
	jm->gangs[gang].left = g->count;
	for (uint32_t i = 0; i < g->count; i++)
		start_vertex(jm, jm->graph->gang_members[g->first + i], chosen[i], attempt);
	fact_started(jm, jm->graph->gang_members[g->first], attempt, chosen[0], g->count);
	emit_groups(jm, gang, group);
	if (g->count == 1)
		chain_start(jm, jm->graph->gang_members[g->first]);
	return true;
}
