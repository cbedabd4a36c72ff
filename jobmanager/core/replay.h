/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_REPLAY_H
#define CORE_REPLAY_H
#include "state.h"

/* Groups, widths and added vertices as in another run of the job. */
void replay_like(struct jm *jm, const struct jm *like);
/* All nodes that could be expected are there. */
void replay_over(struct jm *jm);

#endif
