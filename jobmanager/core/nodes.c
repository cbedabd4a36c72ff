/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes: what they are and have, what runs on them, and what fits where. No other file writes to a node.
 */
#include "nodes.h"
#include "facts.h"
#include "found.h"
#include "pipeline.h"
#include "queue.h"
#include "vertices.h"

#define JM_NODE_BAD_MAX 3   /* failures that others did not have: the node is avoided */
#define JM_FLAPS_WAIT_MAX 8 /* log2 of the longest wait after a node came back, in seconds */
#define JM_FULL_WAIT_MAX 4  /* likewise, after it had no space */

uint32_t jm_node_number(const struct jm *jm, const char *name)
{
	for (uint32_t i = 0; i < jm->node_count; i++)
		if (!strcmp(jm->nodes[i].name, name))
			return i;
	return (uint32_t)jm->node_count;
}

uint32_t jm_expected_nodes(const struct jm *jm)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < jm->node_count; i++)
		n += jm->nodes[i].expected && !jm->nodes[i].up;
	return n;
}

static struct jm_node *add_node(struct jm *jm, const char *name)
{
	struct jm_node *n = DAG_APPEND(jm->nodes, jm->node_count, jm->node_cap);

	queue_init(&n->queue);
	n->name = base_strdup(name);
	return n;
}

static void free_labels(struct jm_node *n)
{
	for (uint32_t i = 0; i < n->label_count; i++) {
		free((char *)n->labels[i].name);
		free((char *)n->labels[i].value);
	}
	free(n->labels);
	free(n->rack);
}

void nodes_free(struct jm *jm)
{
	for (size_t i = 0; i < jm->node_count; i++) {
		free_labels(&jm->nodes[i]);
		free(jm->nodes[i].name);
	}
	free(jm->nodes);
	free(jm->open);
}

int node_up(struct jm *jm, const struct jm_event *event)
{
	struct jm_node *n;

	if (event->node > jm->node_count || event->node != jm_node_number(jm, event->name) ||
		(event->node < jm->node_count && jm->nodes[event->node].up))
		return DAG_EINVAL;
	if (event->node == jm->node_count)
		add_node(jm, event->name);
	n = &jm->nodes[event->node];
	free_labels(n);
	n->rack = base_strdup(event->rack ? event->rack : "");
	n->labels = base_alloc((event->label_count + 1) * sizeof(*n->labels));
	for (uint32_t i = 0; i < event->label_count; i++)
		n->labels[i] = (struct graph_pair){
			base_strdup(event->labels[i].name), base_strdup(event->labels[i].value)};
	n->label_count = event->label_count;
	n->up = true;
	n->suspect = n->expected = false;
	n->total = event->shares;
	n->memory = event->memory;
	/* One that comes and goes waits longer each time. */
	if (n->downs > 1)
		n->usable_at = jm->now + (DAG_SECOND << DAG_MIN(n->downs - 1, (uint32_t)JM_FLAPS_WAIT_MAX));
	jm->usable_until = DAG_MAX(jm->usable_until, n->usable_at);
	jm->nodes_changed = true;
	jm->joined_at = jm->now;
	fact_node(jm, "node-up", n->name);
	found_add(jm, event->node, event->found, event->found_count);
	return 0;
}

void node_down(struct jm *jm, uint32_t node, bool died)
{
	struct jm_node *n = &jm->nodes[node];

	n->up = false;
	n->granted = 0;
	n->want = n->least = 0;
	jm->nodes_changed = true;
	node_update_open(jm, node);
	n->downs++;
	jm->node_deaths += died;
	fact_node(jm, died ? "node-ended" : "node-down", n->name);
}

void node_replay(struct jm *jm, const char *name, bool up, bool died)
{
	uint32_t n = jm_node_number(jm, name);

	if (n == jm->node_count)
		add_node(jm, name);
	jm->nodes[n].expected = up;
	jm->nodes[n].downs += !up;
	jm->node_deaths += died;
}

void node_grant(struct jm *jm, uint32_t node, uint32_t shares)
{
	if (jm->nodes[node].up)
		jm->nodes[node].granted = shares;
	node_update_open(jm, node);
}

void node_suspect(struct jm *jm, uint32_t node, bool suspect)
{
	jm->nodes[node].suspect = suspect;
	node_update_open(jm, node);
}

bool node_set_want(struct jm *jm, uint32_t node, uint32_t want, uint32_t least)
{
	struct jm_node *n = &jm->nodes[node];

	if (n->want == want && n->least == least)
		return false;
	n->want = want;
	n->least = least;
	return true;
}

void nodes_seen(struct jm *jm)
{
	jm->nodes_changed = false;
}

bool nodes_take_gangs_changed(struct jm *jm)
{
	bool changed = jm->gangs_changed;

	jm->gangs_changed = false;
	return changed;
}

void node_rest(struct jm *jm, uint32_t node)
{
	struct jm_node *n = &jm->nodes[node];

	n->usable_at = DAG_MAX(n->usable_at, jm->now + (DAG_SECOND << n->full));
	n->full = DAG_MIN(n->full + 1, (uint32_t)JM_FULL_WAIT_MAX);
	jm->usable_until = DAG_MAX(jm->usable_until, n->usable_at);
}

void node_committed(struct jm *jm, uint32_t node)
{
	jm->nodes[node].full = 0;
}

bool node_blame(struct jm *jm, uint32_t node)
{
	struct jm_node *n = &jm->nodes[node];

	if (++n->bad != JM_NODE_BAD_MAX)
		return false;
	n->avoided = true;
	return true;
}

uint32_t node_complain(struct jm *jm, uint32_t node)
{
	return ++jm->nodes[node].complaints;
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

uint32_t node_waiting(const struct jm_node *n)
{
	uint32_t used = n->used - n->chained;

	return n->up && used > n->granted ? used - n->granted : 0;
}

void node_moved(struct jm *jm, uint32_t node)
{
	struct jm_node *n = &jm->nodes[node];

	n->moved_at = jm->now;
	if (!n->held_up)
		return;
	n->held_up = false;
	node_update_open(jm, node);
}

void nodes_update_open(struct jm *jm)
{
	for (uint32_t i = 0; i < jm->node_count; i++)
		node_update_open(jm, i);
}

/* A node that fails what others can do gets work only where no other could run it. */
bool node_is_shunned(const struct jm *jm, const struct jm_node *node, uint32_t vertex)
{
	if (!node->avoided)
		return false;
	for (uint32_t i = 0; i < jm->node_count; i++)
		if (!jm->nodes[i].avoided && node_could_run(jm, &jm->nodes[i], vertex))
			return true;
	return false;
}

bool node_takes_work(const struct jm *jm, const struct jm_node *node, uint32_t vertex)
{
	return node->up && !node->suspect && jm->now >= node->usable_at && !node_is_shunned(jm, node, vertex);
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

bool node_would_suit(const struct jm *jm, const struct jm_node *node, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);

	return node_has_labels(node, s) && node_has_memory(node, 0, s->memory) &&
	       graph_vertex_shares(jm->graph, vertex) <= node->total;
}

bool node_could_run(const struct jm *jm, const struct jm_node *node, uint32_t vertex)
{
	return node->up && node_would_suit(jm, node, vertex);
}

bool node_fits(const struct jm *jm, uint32_t node, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);
	const struct jm_node *n = &jm->nodes[node];
	uint32_t gang = jm->graph->gang_of[vertex];

	return node_takes_work(jm, n, vertex) && node_has_labels(n, s) &&
	       n->used + graph_vertex_shares(jm->graph, vertex) <=
		       node_room(n, pipeline_ahead(jm, s, gang)) &&
	       node_has_memory(n, n->memory_used, s->memory);
}

void node_occupy(struct jm *jm, uint32_t node, uint32_t vertex, int sign)
{
	uint32_t gang = jm->graph->gang_of[vertex], shares = graph_vertex_shares(jm->graph, vertex);
	uint64_t memory = vertex_stage(jm, vertex)->memory;
	struct jm_node *n = &jm->nodes[node];

	if (sign > 0 && !n->used)
		node_moved(jm, node);
	n->used += sign > 0 ? shares : -shares;
	n->memory_used += sign > 0 ? memory : -memory;
	n->running += sign > 0 ? 1 : -1;
	if (jm->graph->gangs[gang].count > 1 || shares > GRAPH_CPU_SHARES) {
		n->gangs += sign > 0 ? shares : -shares;
		jm->gangs_changed = true;
	}
	jm->used += sign > 0 ? shares : -(uint64_t)shares;
	jm->started_ahead = jm->started_ahead || node_waiting(n);
	node_update_open(jm, node);
}

void node_chain(struct jm *jm, uint32_t node, uint32_t vertex, int sign)
{
	uint32_t shares = graph_vertex_shares(jm->graph, vertex);

	jm->nodes[node].chained += sign > 0 ? shares : -shares;
}

void node_hold_up(struct jm *jm, uint32_t node)
{
	jm->nodes[node].held_up = true;
	node_update_open(jm, node);
}

bool nodes_look_ahead(struct jm *jm)
{
	jm->started_ahead = false;
	for (uint32_t i = 0; i < jm->node_count && !jm->started_ahead; i++)
		jm->started_ahead = node_waiting(&jm->nodes[i]);
	return jm->started_ahead;
}
