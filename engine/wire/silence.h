/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_SILENCE_H
#define WIRE_SILENCE_H
/*
 * When a dialler gives its connection up and dials anew: it broke, or nothing comes over it. ZeroMQ says
 * nothing of a connection that is dead for ever, so that silence is all there is to go by. Pure: `now` comes
 * in.
 */
#include "base/base.h"

#define SILENCE_MAX (5 * DAG_SECOND) /* nothing was heard: dial anew */
#define SILENCE_HASTE                                                                                        \
	(2 * DAG_SECOND) /* the first time, where somebody is there: a byte may have been lost */

struct silence {
	dag_instant since;  /* it was dialled, or is of use; what was heard before is of no account */
	dag_instant again;  /* dial anew then, heard or not; 0: not before it is silent */
	dag_instant looked; /* the last time */
	bool hasted;        /* dialled anew soon, once */
};

/* It was dialled just now. */
void silence_begin(struct silence *silence, dag_instant now);
/* Without a word since then. heard: the last one. */
dag_instant silence_length(const struct silence *silence, dag_instant heard, dag_instant now);
/*
 * Whether to dial anew now; to be asked about twice a second. hasty: on this connection nobody has answered
 * yet, though somebody is there.
 */
bool silence_is_over(struct silence *silence, dag_instant heard, bool hasty, dag_instant now);

#endif
