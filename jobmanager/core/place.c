/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues, what fits where, and the start of a gang. A ready gang waits in the queue of the node that holds
 * most of its input, or in a common queue by depth; round.c takes it out.
 */
#include "state.h"
#include "graph/edge.h"

/* ---- queues: doubly linked through the gangs ---- */

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

dag_instant first_wait(const struct jm_node *holder)
{
	return !holder->up ? 0 : *holder->rack ? JM_RACK_WAIT : JM_LOCALITY_WAIT;
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
	jm->ready_count++;
	jm->ready_shares += graph_gang_shares(jm->graph, gang);
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
	jm->ready_count--;
	jm->ready_shares -= graph_gang_shares(jm->graph, gang);
	g->next = g->previous = GRAPH_NONE;
	g->queue = 0;
}

/* ---- what fits where ---- */

uint32_t gang_shares_of(const struct jm *jm, uint32_t gang, uint32_t vertex)
{
	uint32_t said = vertex_stage(jm, vertex)->cpu_shares;

	return said ? said : jm->graph->gangs[gang].count > 1 ? 1 : GRAPH_CPU_SHARES;
}

static bool has_labels(const struct jm_node *node, const struct graph_stage *s)
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

/* A node that fails what others can do gets work only where there is no other. */
bool is_shunned(const struct jm *jm, const struct jm_node *node)
{
	if (!node->avoided)
		return false;
	for (uint32_t i = 0; i < jm->node_count; i++)
		if (jm->nodes[i].up && !jm->nodes[i].avoided)
			return true;
	return false;
}

bool node_takes_work(const struct jm *jm, const struct jm_node *node)
{
	return node->up && !node->suspect && jm->now >= node->usable_at && !is_shunned(jm, node);
}

static bool fits(const struct jm *jm, const struct jm_node *node, uint32_t gang, uint32_t vertex,
	uint32_t shares, uint64_t memory)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);

	return node_takes_work(jm, node) && has_labels(node, s) &&
	       node->used + shares <= node_room(node, gang_ahead(jm, s, gang)) &&
	       (!memory || !node->memory || node->memory_used + memory <= node->memory);
}

/* Whether the vertex could ever run on the node, with all its slots free. */
bool could_run(const struct jm *jm, const struct jm_node *node, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);

	uint32_t shares = gang_shares_of(jm, jm->graph->gang_of[vertex], vertex);

	return node->up && has_labels(node, s) && shares <= node->total &&
	       (!s->memory || !node->memory || s->memory <= node->memory);
}

static void account(struct jm *jm, uint32_t node, uint32_t gang, uint32_t vertex, int sign)
{
	struct jm_node *n = &jm->nodes[node];
	uint32_t shares = gang_shares_of(jm, gang, vertex);
	uint64_t memory = vertex_stage(jm, vertex)->memory;

	n->used += sign > 0 ? shares : -shares;
	n->memory_used += sign > 0 ? memory : -memory;
	n->running += sign > 0 ? 1 : -1;
	if (jm->graph->gangs[gang].count > 1 || shares > GRAPH_CPU_SHARES) {
		n->gangs += sign > 0 ? shares : -shares;
		jm->gangs_changed = true;
	}
	jm->used += sign > 0 ? shares : -(uint64_t)shares;
}

static void occupy(struct jm *jm, uint32_t node, uint32_t gang, uint32_t vertex, int sign)
{
	if (sign > 0 && !jm->nodes[node].used)
		recall_moved(jm, node);
	account(jm, node, gang, vertex, sign);
	jm->started_ahead = jm->started_ahead || recall_waiting(&jm->nodes[node]);
	node_update_open(jm, node);
}

void occupy_node(struct jm *jm, uint32_t node, uint32_t vertex, int sign)
{
	occupy(jm, node, jm->graph->gang_of[vertex], vertex, sign);
}

bool node_fits(const struct jm *jm, uint32_t node, uint32_t vertex)
{
	uint32_t gang = jm->graph->gang_of[vertex];

	return fits(jm, &jm->nodes[node], gang, vertex, gang_shares_of(jm, gang, vertex),
		vertex_stage(jm, vertex)->memory);
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
		occupy(jm, jm->vertices[vertex].node, jm->graph->gang_of[vertex], vertex, -1);
}

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

/* Paints all that fifos join to `vertex` with one number. */
static void paint_group(struct jm *jm, struct fifo_walk *w, uint32_t vertex)
{
	const struct graph *g = jm->graph;
	const struct graph_stage *s = vertex_stage(jm, vertex);
	uint32_t index = vertex - s->first_vertex, at = member_position(jm, w->gang, vertex);

	if (w->group[at])
		return;
	w->group[at] = w->number;
	for (size_t i = 0; i < g->edge_count; i++) {
		const struct graph_edge *e = g->edges[i];

		if (e->channel != GRAPH_FIFO)
			continue;
		for (uint32_t c = 0; e->from == s->id && c < edge_consumers(e, index); c++)
			paint_group(jm, w, g->stages[e->to]->first_vertex + edge_consumer(e, index, c));
		for (uint32_t c = 0; e->to == s->id && c < edge_producers(e, index); c++)
			paint_group(jm, w, g->stages[e->from]->first_vertex + edge_producer(e, index, c));
	}
}

/* ---- starting ---- */

static void start_vertex(struct jm *jm, uint32_t gang, uint32_t vertex, uint32_t node, uint32_t attempt)
{
	struct jm_vertex *v = &jm->vertices[vertex];

	v->attempt = v->highest = attempt;
	v->node = node;
	v->started = jm->now;
	v->piece_end = 0;
	occupy(jm, node, gang, vertex, +1);
	vertex_set_state(jm, vertex, JM_RUNNING);
	jm->stages[jm->graph->vertex_stage[vertex]].attempts++;
}

void emit_start(
	struct jm *jm, uint32_t node, uint32_t vertex, uint32_t attempt, uint32_t group, uint32_t group_size)
{
	struct jm_effect *e = jm_emit_attempt(jm, JM_START, node, vertex, attempt);

	e->shares = gang_shares_of(jm, jm->graph->gang_of[vertex], vertex);
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

/* Finds nodes for all members; the first choice is `node`. True where all have one, in `chosen`. */
static bool choose_nodes(struct jm *jm, uint32_t gang, uint32_t node, const uint32_t *group, uint32_t *chosen)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];
	bool ok = true;
	uint32_t done = 0;

	for (; done < g->count && ok; done++) {
		uint32_t vertex = jm->graph->gang_members[g->first + done], same = JM_NODE_NONE;
		uint64_t memory = vertex_stage(jm, vertex)->memory;
		uint32_t shares = gang_shares_of(jm, gang, vertex);

		for (uint32_t j = 0; group[done] && j < done && same == JM_NODE_NONE; j++)
			if (group[j] == group[done])
				same = chosen[j];
		chosen[done] = same;
		for (uint32_t k = 0; k < jm->node_count && chosen[done] == JM_NODE_NONE; k++) {
			uint32_t n = (node + k) % (uint32_t)jm->node_count;

			if (fits(jm, &jm->nodes[n], gang, vertex, shares, memory))
				chosen[done] = n;
		}
		ok = chosen[done] != JM_NODE_NONE;
		if (ok)
			account(jm, chosen[done], gang, vertex, +1); /* for the members that follow */
	}
	for (uint32_t i = 0; i < done; i++)
		if (chosen[i] != JM_NODE_NONE)
			account(jm, chosen[i], gang, jm->graph->gang_members[g->first + i], -1);
	return ok;
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
	start_vertex(jm, gang, vertex, node, attempt);
	fact_started(jm, vertex, attempt, node, 1);
	emit_member(jm, vertex, 0, 1);
}

bool start_gang(struct jm *jm, uint32_t gang, uint32_t node)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];
	uint32_t *group = arena_alloc(&jm->texts, g->count * sizeof(*group)),
		 *chosen = arena_alloc(&jm->texts, g->count * sizeof(*chosen));
	bool ok;

	for (uint32_t i = 0; i < g->count && g->count > 1; i++)
		if (!group[i] && in_fifo(jm, jm->graph->gang_members[g->first + i])) {
			struct fifo_walk w = {group, gang, ++jm->last_group};

			paint_group(jm, &w, jm->graph->gang_members[g->first + i]);
		}
	ok = choose_nodes(jm, gang, node, group, chosen);
	if (ok) {
		uint32_t attempt = next_attempt(jm, gang);

		unqueue_gang(jm, gang);
		jm->gangs[gang].state = JM_RUNNING;
		jm->gangs[gang].left = g->count;
		for (uint32_t i = 0; i < g->count; i++)
			start_vertex(jm, gang, jm->graph->gang_members[g->first + i], chosen[i], attempt);
		fact_started(jm, jm->graph->gang_members[g->first], attempt, chosen[0], g->count);
		emit_groups(jm, gang, group);
		if (g->count == 1)
			chain_start(jm, jm->graph->gang_members[g->first]);
	}
	return ok;
}
