/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_REFINE_H
#define CORE_REFINE_H
#include "state.h"

/* After each event: decides what can be decided by what was committed. */
void refine_look(struct jm *jm);
int refine_close(struct jm *jm, uint32_t stage);
int refine_replay(struct jm *jm, const char *word, const char *rest);
/* As another run of the job decided. */
void refine_like(struct jm *jm, const struct jm *like);
void refine_init(struct jm *jm);
void refine_fini(struct jm *jm);

#endif
