/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_CORE_SLOTS_H
#define DAEMON_CORE_SLOTS_H
/*
 * A node's slots among the jobs that want some: equal shares first, the rest to who asks for more (max-min
 * fairness). In sixteenths of a slot. Pure.
 */
#include "base/base.h"

/* grants[i] <= wants[i], and their sum <= total. Whole slots are given out as long as there are enough of
 * them. leasts[i] is of no use in parts, and goes to the first that
 * need it before anything is shared. */
void slots_divide(uint32_t total, const uint32_t *wants, const uint32_t *leasts, uint32_t *grants, size_t n);

#endif
