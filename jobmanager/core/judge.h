/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_JUDGE_H
#define CORE_JUDGE_H
/* Who lives: nodes by their silence, the judge's own stalls taken off, and whether it is the judge that is
 * cut off. Pure. */
#include "base/base.h"

#define JUDGE_SUSPECT (3 * DAG_SECOND)
#define JUDGE_DEAD (10 * DAG_SECOND)
#define JUDGE_DEAD_MANY (20 * DAG_SECOND) /* when more than a third are suspect at once */
#define JUDGE_STALL (1 * DAG_SECOND)      /* between two looks: nobody could have been heard */

enum judge_verdict { JUDGE_LIVES, JUDGE_IS_SUSPECT, JUDGE_IS_DEAD };

struct judge {
	dag_instant last_look;
	dag_instant floor; /* silence counts from here at the earliest */
	bool cut_off;      /* nobody at all is heard: no verdict */
	uint32_t suspects;
};

struct judge_node {
	dag_instant heard;
	bool missed; /* the name server does not hear it either */
	enum judge_verdict verdict;
};

void judge_init(struct judge *judge, dag_instant now);
/* ns_heard: the last word of the name server; DAG_NEVER where there is none. Sets each verdict. */
void judge_look(
	struct judge *judge, dag_instant now, dag_instant ns_heard, struct judge_node *nodes, size_t n);

#endif
