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

/* False where SIGHUP was ignored when the program was started, as nohup does: then it outlives its terminal.
 */
bool startup_ends_on_hangup(void);

/*
 * Last of all in main: what was printed is written out. The exit code: the given one, or 1 where that failed,
 * with a message; where whoever read stdout has left, quietly that of SIGPIPE.
 */
int startup_finish(const char *program, int code);

/*
 * First of all in main: where descriptor 0, 1 or 2 is closed, something stands there from now on, so that no
 * socket or file gets its number. To read the one or to write to the other two is still an error: stdin that
 * is closed is not an empty one, and what is written to a closed stdout is not there.
 */
void startup_standard_descriptors(void);

#endif
