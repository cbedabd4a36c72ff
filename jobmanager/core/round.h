/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_ROUND_H
#define CORE_ROUND_H
#include "state.h"

/* Starts what can be started. */
void round_start(struct jm *jm);

#endif
