/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounds over the nodes that may have room. A node takes from its own queue, then from the common ones
 * (deeper first, so that a graph drains), then from other nodes' queues what has waited long enough for them
 * (delay scheduling, Zaharia et al., EuroSys 2010): nodes of the same rack first, then anybody.
 */
#include "state.h"

#define SCAN_MAX 32               /* gangs of a queue that are looked at for one that fits */
#define STEAL_AGAIN (10 * DAG_MS) /* after nothing was found in other nodes' queues */
#define HOPELESS_CHECK (500 * DAG_MS)

static bool avoids(const struct jm *jm, uint32_t gang, uint32_t node)
{
	uint32_t first = jm->graph->gang_members[jm->graph->gangs[gang].first];

	if (jm->vertices[first].avoid != node + 1)
		return false;
	/* Elsewhere, if there is an elsewhere. */
	for (uint32_t i = 0; i < jm->node_count; i++)
		if (i != node && !jm->nodes[i].suspect && !is_shunned(jm, &jm->nodes[i]) &&
			could_run(jm, &jm->nodes[i], first))
			return true;
	return false;
}

static bool start_from(struct jm *jm, struct jm_queue *q, uint32_t node, dag_instant ready_before)
{
	uint32_t gang = q->first;

	for (uint32_t i = 0; i < SCAN_MAX && gang != GRAPH_NONE; i++) {
		uint32_t next = jm->gangs[gang].next;
		uint32_t first = jm->graph->gang_members[jm->graph->gangs[gang].first];

		if (jm->gangs[gang].ready_at <= ready_before && !avoids(jm, gang, node) &&
			node_fits(jm, node, first) && start_gang(jm, gang, node))
			return true;
		gang = next;
	}
	return false;
}

/* Gangs that were ready before this may leave the node that holds their input for another. */
static dag_instant may_leave(const struct jm *jm, const struct jm_node *holder, const struct jm_node *taker)
{
	if (!holder->up)
		return DAG_NEVER;
	return jm->now -
	       (*holder->rack && !strcmp(holder->rack, taker->rack) ? JM_RACK_WAIT : JM_LOCALITY_WAIT);
}

/* From other nodes' queues. */
static bool steal(struct jm *jm, uint32_t node)
{
	for (uint32_t i = 0; i < jm->node_count; i++) {
		struct jm_node *n = &jm->nodes[i];

		if (i != node && n->queue.count &&
			start_from(jm, &n->queue, node, may_leave(jm, n, &jm->nodes[node])))
			return true;
	}
	return false;
}

/* When there may be something to steal again. */
static dag_instant next_steal(const struct jm *jm)
{
	dag_instant next = DAG_NEVER;

	for (uint32_t i = 0; i < jm->node_count; i++)
		if (jm->nodes[i].queue.count)
			next = DAG_MIN(next,
				jm->gangs[jm->nodes[i].queue.first].ready_at + first_wait(&jm->nodes[i]));
	return DAG_MAX(next, jm->now + STEAL_AGAIN);
}

static bool start_one(struct jm *jm, uint32_t node)
{
	if (start_from(jm, &jm->nodes[node].queue, node, DAG_NEVER))
		return true;
	for (uint32_t d = jm->queue_top; d-- > 0;)
		if (jm->queues[d].count && start_from(jm, &jm->queues[d], node, DAG_NEVER))
			return true;
	return jm->now >= jm->steal_at && steal(jm, node);
}

/* What the job could use on a node: all of what is ready and runs, in whole. */
static void tell_want(struct jm *jm)
{
	uint32_t want = (uint32_t)DAG_MIN(jm->used + jm->ready_shares, (uint64_t)1 << 30);

	/* Rounded up, so that it does not change with every vertex. */
	want = want > 1 ? 1u << (32 - __builtin_clz(want - 1)) : want;
	if (want == jm->want && !jm->nodes_changed && !jm->gangs_changed)
		return;
	jm->want = want;
	jm->gangs_changed = false;
	for (uint32_t i = 0; i < jm->node_count; i++) {
		struct jm_node *n = &jm->nodes[i];
		uint32_t least = DAG_MIN(n->gangs + DAG_MIN(jm->starving, n->total), want);
		struct jm_effect *e;

		if (!n->up || (n->want == want && n->least == least))
			continue;
		n->want = want;
		n->least = least;
		e = jm_emit(jm, JM_WANT);
		e->node = i;
		e->shares = want;
		e->least = least;
	}
}

/*
 * A gang that needs more than all that is granted would wait for ever beside another job's that does too.
 * Every node gives such slots to the oldest job first, so one of them gets all that it needs.
 */
static void look_for_starving(struct jm *jm)
{
	uint64_t granted = 0, most = 0, starving = 0;
	bool counted = false;

	for (uint32_t d = jm->queue_top; d-- > 0 && !starving;) {
		uint32_t gang = jm->queues[d].first;
		uint64_t need = gang == GRAPH_NONE ? 0 : graph_gang_shares(jm->graph, gang);
		bool alone = gang != GRAPH_NONE && jm->graph->gangs[gang].count == 1;

		if (!need || (alone && need <= GRAPH_CPU_SHARES))
			continue;
		for (uint32_t i = 0; i < jm->node_count && !counted; i++) {
			most = DAG_MAX(most, jm->nodes[i].granted);
			granted += jm->nodes[i].granted;
		}
		counted = true;
		if (need > (alone ? most : granted))
			starving = need;
	}
	if (starving == jm->starving)
		return;
	jm->starving = (uint32_t)starving;
	jm->gangs_changed = true;
}

/* Nodes may still be on their way: what nobody can run is hopeless only after a while. */
static void check_hopeless(struct jm *jm)
{
	bool hopeless = false;

	if (!jm->nodes_changed && !jm->hopeless_since && jm->now - jm->hopeless_checked < HOPELESS_CHECK) {
		jm_wake(jm, jm->hopeless_checked + HOPELESS_CHECK);
		return;
	}
	jm->hopeless_checked = jm->now;
	for (uint32_t d = 0; d < jm->queue_top && jm->ready_count && !jm->ended; d++) {
		uint32_t gang = jm->queues[d].first;
		uint32_t first;
		const struct graph_stage *s;
		bool any_up = false, can = false;
		uint64_t total = 0;

		if (gang == GRAPH_NONE)
			continue;
		first = jm->graph->gang_members[jm->graph->gangs[gang].first];
		s = vertex_stage(jm, first);
		for (uint32_t i = 0; i < jm->node_count; i++) {
			any_up = any_up || jm->nodes[i].up;
			can = can || could_run(jm, &jm->nodes[i], first);
			total += jm->nodes[i].up ? jm->nodes[i].total : 0;
		}
		if (!any_up || (can && graph_gang_shares(jm->graph, gang) <= total))
			continue;
		hopeless = true;
		if (!jm->hopeless_since || jm->now - jm->hopeless_since < JM_HOPELESS_WAIT)
			continue;
		if (can)
			jm_end(jm, DAG_ELIMIT,
				"the %u vertices that pipes join to '%s' must run together, and need more "
				"slots than all "
				"nodes have",
				jm->graph->gangs[gang].count, s->name);
		else
			jm_end(jm, DAG_ELIMIT,
				"no node has the labels, memory or cpus that stage '%s' asks for", s->name);
	}
	if (!hopeless)
		jm->hopeless_since = 0;
	else if (!jm->hopeless_since)
		jm->hopeless_since = jm->now ? jm->now : 1;
	if (hopeless)
		jm_wake(jm, jm->hopeless_since + JM_HOPELESS_WAIT);
}

void place_ready(struct jm *jm)
{
	bool started = true;

	if (jm->ended || jm->publishing || jm->resuming)
		return;
	if (jm->nodes_changed)
		jm->steal_at = 0;
	/* One for each node and then the next, so that they fill evenly. */
	while (started && jm->ready_count) {
		started = false;
		for (size_t i = 0; i < jm->open_count && jm->ready_count;) {
			uint32_t node = jm->open[i];

			started = start_one(jm, node) || started;
			i += i < jm->open_count && jm->open[i] == node; /* else another took its place */
		}
	}
	if (jm->now >= jm->steal_at && jm->open_count)
		jm->steal_at = next_steal(jm);
	if (jm->ready_count) {
		check_hopeless(jm);
		for (uint32_t i = 0; i < jm->node_count && jm->usable_until > jm->now; i++)
			if (jm->nodes[i].up && jm->nodes[i].usable_at > jm->now)
				jm_wake(jm, jm->nodes[i].usable_at);
		if (jm->steal_at > jm->now && jm->steal_at < DAG_NEVER)
			jm_wake(jm, jm->steal_at);
	}
	look_for_starving(jm);
	tell_want(jm);
	jm->nodes_changed = false;
}
