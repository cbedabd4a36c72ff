/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_STARTS_H
#define WIRE_STARTS_H
/*
 * Starts on the wire. Nearly all are a few numbers each; a message for every one of them would cost more than
 * the vertices of a microsecond that they start. So they go as columns of numbers, and only those with more
 * to say go whole.
 */
#include "base/arena.h"
#include "dagrun.pb-c.h"

/* Bytes of a start in a batch, at most. */
size_t starts_size(const Dagrun__Start *start);
/* What it puts into the batch lies in the arena or is the starts' own. */
void starts_pack(Dagrun__StartBatch *batch, Dagrun__Start **starts, size_t n, struct arena *arena);
/* All starts of a batch in their order; they lie in the arena and point into the batch. DAG_EPROTO where the
 * columns do not fit each other. */
int starts_unpack(
	const Dagrun__StartBatch *batch, struct arena *arena, Dagrun__Start ***ret_starts, size_t *ret_count);

#endif
