/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_PAUSE_H
#define CORE_PAUSE_H
#include "state.h"

/* Before the attempt after so many failures. */
dag_instant pause_time(const struct jm *jm, uint32_t vertex, uint32_t failures);
/* The gang does not become READY before the pause is over. */
void pause_gang(struct jm *jm, uint32_t gang, dag_instant pause);
/* The current attempt of the running vertex is started when the pause is over. */
void pause_start(struct jm *jm, uint32_t vertex, dag_instant pause);
void pauses_look(struct jm *jm);
void pauses_fini(struct jm *jm);

#endif
