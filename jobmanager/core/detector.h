/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DETECTOR_H
#define CORE_DETECTOR_H
/* Who lives: nodes by their silence, the failure detector's own stalls taken off, and whether it is the
 * failure detector that is cut off. Pure. */
#include "base/base.h"

#define DETECTOR_SUSPECT (3 * DAG_SECOND)
#define DETECTOR_DEAD (10 * DAG_SECOND)
#define DETECTOR_DEAD_MANY (20 * DAG_SECOND) /* when more than a third are suspect at once */
#define DETECTOR_STALL (1 * DAG_SECOND)      /* between two looks: nobody could have been heard */

enum judge_verdict { DETECTOR_LIVES, DETECTOR_IS_SUSPECT, DETECTOR_IS_DEAD };

struct detector {
	dag_instant last_look;
	dag_instant floor; /* silence counts from here at the earliest */
	bool cut_off;      /* nobody at all is heard: no verdict */
	uint32_t suspects;
};

struct detector_node {
	dag_instant heard;
	bool missed; /* the name server does not hear it either */
	enum judge_verdict verdict;
};

void detector_init(struct detector *detector, dag_instant now);
/* ns_heard: the last word of the name server; DAG_NEVER where there is none. Sets each verdict. */
void detector_look(struct detector *detector, dag_instant now, dag_instant ns_heard,
	struct detector_node *nodes, size_t n);

#endif
