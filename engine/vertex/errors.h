/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_ERRORS_H
#define VERTEX_ERRORS_H
/* What vertices write to stderr. */
#include "host_proto.h"
#include <sys/stat.h>

struct host;

/* What vertices write to goes to the daemon by this, whatever they do to descriptors 1 and 2. */
#define ERRORS_FD 6

struct errors {
	struct stat pipe; /* that is stderr */
	bool heard;       /* HEARD came */
	uint32_t looks;   /* of the daemon at it, when it had read all */
};

void errors_begin(struct host *host);
/* True where something was written to it since the daemon had read all; descriptors 1 and 2 are it again. */
bool errors_said(struct host *host, dag_instant ran);
/* Waits until the daemon has read all, so that what the next vertex writes is not taken for this one's. */
void errors_wait(struct host *host);
/* HEARD came; the caller holds host.lock. */
void errors_on_heard(struct host *host);

#endif
