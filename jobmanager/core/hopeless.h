/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_HOPELESS_H
#define CORE_HOPELESS_H
#include "state.h"

void hopeless_init(struct jm *jm);
/* Nodes are known that are not up yet, or none any more. */
void hopeless_coming(struct jm *jm, bool coming);
/* Ends the job where no node can run what it needs, and none is waited for any more. */
void hopeless_check(struct jm *jm);

#endif
