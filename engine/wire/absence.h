/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_ABSENCE_H
#define WIRE_ABSENCE_H
#include "base/base.h"

struct lookup;

/* All zero at first, and after absence_fini. */
struct absence {
	struct lookup *lookup; /* NULL: not begun; the fields below mean nothing then */
	int fd;
	dag_instant since;
	int error;   /* errno of the connection */
	int unknown; /* of getaddrinfo: the name */
};

/* Goes on with finding the reason; never waits. To be called while nobody is reached. */
void absence_step(struct absence *a, const char *endpoint, dag_instant now);
/* The reason, as far as it is known. */
void absence_text(const struct absence *a, char *ret, size_t size);
void absence_fini(struct absence *a);

#endif
