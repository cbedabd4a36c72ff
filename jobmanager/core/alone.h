/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_ALONE_H
#define CORE_ALONE_H
#include "state.h"

/* Whether it was, and reads `other` of its gang in an earlier attempt. */
bool alone_reads(const struct jm *jm, uint32_t vertex, uint32_t other);
/*
 * Starts the running vertex anew, after a pause, while the others of its gang go on; false where they must
 * start again too.
 */
bool alone_run(struct jm *jm, uint32_t vertex, dag_instant pause);

#endif
