/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_RECALL_H
#define CORE_RECALL_H
#include "state.h"

/* The running vertex had not begun, and is here again. */
void recall_returned(struct jm *jm, uint32_t vertex);
/* Asks nodes that are held up for what others could run at once. */
void recall_look(struct jm *jm);

#endif
