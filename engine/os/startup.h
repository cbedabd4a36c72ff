/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_STARTUP_H
#define OS_STARTUP_H
/* What dagrun, dagns and dagd check and set before anything else. */
#include "base/base.h"

#define EXIT_USAGE 2
#define EXIT_INVALID 3
#define EXIT_UNREACHABLE 4
#define EXIT_BUG 70

/*
 * Descriptor limit (raised as far as allowed; DAG_ELIMIT with a message where it stays too low, since libzmq
 * aborts without descriptors), allocator thresholds, signals. A failed assertion ends the program with
 * code 70.
 */
int startup(const char *program, size_t descriptors_needed);

#endif
