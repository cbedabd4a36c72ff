/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounds over the nodes that may have room. A node takes from its own queue, then from the common ones
 * (deeper first, so that a graph drains), then from other nodes' queues what has waited long enough for them
 * (delay scheduling, Zaharia et al., EuroSys 2010): nodes of the same rack first, then anybody.
 */
#include "round.h"
#include "attempt.h"
#include "chain.h"
#include "effects.h"
#include "hopeless.h"
#include "nodes.h"
#include "queue.h"
#include "vertices.h"

#define SCAN_MAX 32               /* gangs of a queue that are looked at for one that fits */
#define STEAL_AGAIN (10 * DAG_MS) /* after nothing was found in other nodes' queues */
#define STARVING_WAIT                                                                                        \
	(500 * DAG_MS) /* a gang that asks for labels or memory and is not started so long starves */

static bool avoids(const struct jm *jm, uint32_t gang, uint32_t node)
{
	uint32_t first = jm->graph->gang_members[jm->graph->gangs[gang].first];

	if (jm->vertices[first].avoid != node + 1)
		return false;
	/* Elsewhere, if there is an elsewhere. */
	for (uint32_t i = 0; i < jm->node_count; i++)
		if (i != node && !jm->nodes[i].suspect && !node_is_shunned(jm, &jm->nodes[i], first) &&
			node_could_run(jm, &jm->nodes[i], first))
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
			node_fits(jm, node, first) && attempt_start_gang(jm, gang, node)) {
			if (jm->graph->gangs[gang].count == 1)
				chain_start(jm, first);
			return true;
		}
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
			next = DAG_MIN(next, jm->gangs[jm->nodes[i].queue.first].ready_at +
						     queue_first_wait(&jm->nodes[i]));
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
static void tell_want(struct jm *jm, uint32_t starving)
{
	bool changed = nodes_take_gangs_changed(jm) || starving != jm->starving;
	uint32_t want = (uint32_t)DAG_MIN(jm->used + jm->ready_shares, (uint64_t)1 << 30);

	/* Rounded up, so that it does not change with every vertex. */
	want = want > 1 ? 1u << (32 - __builtin_clz(want - 1)) : want;
	if (want == jm->want && !jm->nodes_changed && !changed)
		return;
	jm->want = want;
	jm->starving = starving;
	for (uint32_t i = 0; i < jm->node_count; i++) {
		const struct jm_node *n = &jm->nodes[i];
		uint32_t least = DAG_MIN(n->gangs + DAG_MIN(starving, n->total), want);
		struct jm_effect *e;

		if (!n->up || !node_set_want(jm, i, want, least))
			continue;
		e = jm_emit(jm, JM_WANT);
		e->node = i;
		e->shares = want;
		e->least = least;
	}
}

/* Some member asks for what not every node has. */
static bool is_choosy(const struct jm *jm, uint32_t gang)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];

	for (uint32_t i = 0; i < g->count; i++) {
		const struct graph_stage *s = vertex_stage(jm, jm->graph->gang_members[g->first + i]);

		if (s->label_count || s->memory)
			return true;
	}
	return false;
}

static bool is_starving(const struct jm *jm, uint32_t gang)
{
	uint32_t first = jm->graph->gang_members[jm->graph->gangs[gang].first];
	bool alone = jm->graph->gangs[gang].count == 1;
	uint64_t granted = 0;

	if (!alone && jm->now - jm->gangs[gang].ready_at > STARVING_WAIT && is_choosy(jm, gang))
		return true;
	for (uint32_t i = 0; i < jm->node_count; i++) {
		const struct jm_node *n = &jm->nodes[i];

		if (!n->up || (alone && !node_could_run(jm, n, first)))
			continue;
		granted = alone ? DAG_MAX(granted, (uint64_t)n->granted) : granted + n->granted;
	}
	return graph_gang_shares(jm->graph, gang) > granted;
}

/* The shares that the queue's first gang needs, if it starves; 0. */
static uint32_t starving_in(const struct jm *jm, const struct jm_queue *q)
{
	if (q->first == GRAPH_NONE || !gang_is_large(jm, q->first) || !is_starving(jm, q->first))
		return 0;
	return (uint32_t)graph_gang_shares(jm->graph, q->first);
}

/*
 * A gang that needs more than all that is granted would wait for ever beside another job's that does too.
 * Every node gives such slots to the oldest job first, so one of them gets all that it needs.
 */
static uint32_t find_starving(struct jm *jm)
{
	uint32_t starving = 0;

	for (uint32_t d = jm->queue_top; d-- > 0 && !starving && jm->large_ready;)
		starving = starving_in(jm, &jm->queues[d]);
	for (uint32_t i = 0; i < jm->node_count && !starving && jm->large_ready; i++)
		starving = starving_in(jm, &jm->nodes[i].queue);
	return starving;
}

void round_start(struct jm *jm)
{
	bool started = true;

	if (jm->ended || jm->publishing || jm->resuming)
		return;
	if (jm->nodes_changed)
		queues_steal_at(jm, 0);
	jm->round++;
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
		queues_steal_at(jm, next_steal(jm));
	hopeless_check(jm);
	if (jm->ready_count) {
		for (uint32_t i = 0; i < jm->node_count && jm->usable_until > jm->now; i++)
			if (jm->nodes[i].up && jm->nodes[i].usable_at > jm->now)
				jm_wake(jm, jm->nodes[i].usable_at);
		if (jm->steal_at > jm->now && jm->steal_at < DAG_NEVER)
			jm_wake(jm, jm->steal_at);
	}
	tell_want(jm, find_starving(jm));
	nodes_seen(jm);
}
