/* SPDX-License-Identifier: Apache-2.0 */
#include "detector.h"

void detector_init(struct detector *detector, dag_instant now)
{
	*detector = (struct detector){.last_look = now, .floor = now};
}

static dag_instant silence(const struct detector *detector, dag_instant now, dag_instant heard)
{
	return now - DAG_MAX(heard, detector->floor);
}

void detector_look(struct detector *detector, dag_instant now, dag_instant ns_heard,
	struct detector_node *nodes, size_t n)
{
	bool many, somebody;

	if (now - detector->last_look > DETECTOR_STALL)
		detector->floor = now;
	detector->last_look = now;
	detector->suspects = 0;
	for (size_t i = 0; i < n; i++)
		detector->suspects += silence(detector, now, nodes[i].heard) > DETECTOR_SUSPECT;
	many = detector->suspects > 1 && detector->suspects * (size_t)3 > n;
	somebody = detector->suspects < n ||
		   (ns_heard != DAG_NEVER && silence(detector, now, ns_heard) <= DETECTOR_SUSPECT);
	detector->cut_off = many && !somebody;
	for (size_t i = 0; i < n; i++) {
		dag_instant quiet = silence(detector, now, nodes[i].heard);

		nodes[i].verdict = quiet > DETECTOR_SUSPECT ? DETECTOR_IS_SUSPECT : DETECTOR_LIVES;
		if (detector->cut_off || quiet <= DETECTOR_DEAD)
			continue;
		/* Of many, those are dead that the name server misses too; the others get more time. */
		if (!many || nodes[i].missed || quiet > DETECTOR_DEAD_MANY)
			nodes[i].verdict = DETECTOR_IS_DEAD;
	}
}
