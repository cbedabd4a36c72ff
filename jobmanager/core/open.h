/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_OPEN_H
#define CORE_OPEN_H
#include "state.h"

int open_add(struct jm *jm, const struct jm_event *event);
/* A result could not be read. */
int open_unread(struct jm *jm, const struct jm_event *event);
int open_replay(struct jm *jm, const char *rest);
void open_like(struct jm *jm, const struct jm *like);
void open_init(struct jm *jm);
void open_closed(struct jm *jm);
void open_fini(struct jm *jm);

#endif
