/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short vertices are started ahead of the slots (pipeline.c). Where one of them turns out to be
 * long, those behind it would wait while other nodes have nothing to do. What a node that is held up has not
 * begun is asked back: as much as others can run at once, or half of it, since they may have it ahead too. It
 * ends there as cancelled, and is placed anew, uncharged.
 */
#include "recall.h"
#include "attempt.h"
#include "effects.h"
#include "gangs.h"
#include "nodes.h"

#define RECALL_WAIT (100 * DAG_MS) /* a node on which nothing ended for so long is held up */

static uint32_t idle_shares(const struct jm *jm, const struct jm_node *n)
{
	bool ready = n->up && !n->suspect && !n->avoided && jm->now >= n->usable_at;

	return ready && n->used < n->granted ? n->granted - n->used : 0;
}

void recall_returned(struct jm *jm, uint32_t vertex)
{
	attempt_take_back(jm, vertex);
	gang_rerun(jm, jm->graph->gang_of[vertex]);
}

static void ask_back(struct jm *jm, uint32_t node, uint32_t shares)
{
	struct jm_effect *e = jm_emit(jm, JM_RECALL);

	e->node = node;
	e->shares = shares;
	node_hold_up(jm, node);
}

void recall_look(struct jm *jm)
{
	uint32_t idle = 0;

	if (!jm->started_ahead || jm->publishing || jm->node_count < 2)
		return;
	if (jm->now - jm->recall_checked < RECALL_WAIT) {
		jm_wake(jm, jm->recall_checked + RECALL_WAIT);
		return;
	}
	jm->recall_checked = jm->now;
	if (!nodes_look_ahead(jm))
		return;
	for (uint32_t i = 0; i < jm->node_count; i++)
		idle += idle_shares(jm, &jm->nodes[i]);
	for (uint32_t i = 0; i < jm->node_count; i++) {
		const struct jm_node *n = &jm->nodes[i];
		uint32_t waiting = node_waiting(n), shares = DAG_MIN(waiting, DAG_MAX(idle, waiting / 2));

		if (!waiting || !idle || n->suspect || jm->now - n->moved_at < RECALL_WAIT)
			continue;
		ask_back(jm, i, shares);
		idle -= DAG_MIN(idle, shares);
	}
	jm_wake(jm, jm->now + RECALL_WAIT);
}
