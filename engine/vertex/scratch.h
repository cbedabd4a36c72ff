/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_SCRATCH_H
#define VERTEX_SCRATCH_H
/* The folder that an attempt has for itself. */
#include "task.h"

/* Its path; NULL where it cannot be made, which has failed the vertex then. */
const char *scratch_make(struct dag_vertex *v);
/* True where it was left as it was made, and another attempt will get it: it must not be removed. */
bool scratch_keep(struct dag_vertex *v);
void scratch_drop(struct host *host);

#endif
