/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TRIM_H
#define CORE_TRIM_H
#include "state.h"

/* More of the stage's vertices may be released: what only they had to read is given back too. */
void trim_inputs(struct jm *jm, const struct graph_stage *s);

#endif
