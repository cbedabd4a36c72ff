/* SPDX-License-Identifier: Apache-2.0 */
#include "judge.h"

void judge_init(struct judge *judge, dag_instant now)
{
	*judge = (struct judge){.last_look = now, .floor = now};
}

static dag_instant silence(const struct judge *judge, dag_instant now, dag_instant heard)
{
	return now - DAG_MAX(heard, judge->floor);
}

void judge_look(
	struct judge *judge, dag_instant now, dag_instant ns_heard, struct judge_node *nodes, size_t n)
{
	bool many, somebody;

	if (now - judge->last_look > JUDGE_STALL)
		judge->floor = now;
	judge->last_look = now;
	judge->suspects = 0;
	for (size_t i = 0; i < n; i++)
		judge->suspects += silence(judge, now, nodes[i].heard) > JUDGE_SUSPECT;
	many = judge->suspects > 1 && judge->suspects * (size_t)3 > n;
	somebody = judge->suspects < n ||
		   (ns_heard != DAG_NEVER && silence(judge, now, ns_heard) <= JUDGE_SUSPECT);
	judge->cut_off = many && !somebody;
	for (size_t i = 0; i < n; i++) {
		dag_instant quiet = silence(judge, now, nodes[i].heard);

		nodes[i].verdict = quiet > JUDGE_SUSPECT ? JUDGE_IS_SUSPECT : JUDGE_LIVES;
		if (judge->cut_off || quiet <= JUDGE_DEAD)
			continue;
		/* Of many, those are dead that the name server misses too; the others get more time. */
		if (!many || nodes[i].missed || quiet > JUDGE_DEAD_MANY)
			nodes[i].verdict = JUDGE_IS_DEAD;
	}
}
