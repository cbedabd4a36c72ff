/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_ATTEMPT_H
#define CORE_ATTEMPT_H
#include "state.h"

enum attempt_how {
	ATTEMPT_STARTED,     /* with its whole gang; the caller writes that fact */
	ATTEMPT_ALONE,       /* a member of a gang that runs; all attempts before are over */
	ATTEMPT_SPECULATIVE, /* beside the current one, which stays it */
	ATTEMPT_ADOPTED      /* found running after the job manager was gone */
};

uint32_t attempt_next(const struct jm *jm, uint32_t gang);
void attempt_release(struct jm *jm, uint32_t vertex);
/*
 * The only place where an attempt comes to be: the vertex runs on the node, which is occupied, and that is a
 * fact. While facts are replayed only its number is noted: where it is, that is told by who has it.
 */
void attempt_begin(struct jm *jm, uint32_t vertex, uint32_t node, uint32_t number, enum attempt_how how);
void attempts_init(struct jm *jm);
/* The current attempt is this one. */
void attempt_set(struct jm *jm, uint32_t vertex, uint32_t number, uint32_t node);
/* Numbers up to this one are not given again. */
void attempt_pass(struct jm *jm, uint32_t vertex, uint32_t number);
/* All attempts are over. */
void attempt_fence(struct jm *jm, uint32_t vertex);
/* The current one had not begun, and is not counted. */
void attempt_take_back(struct jm *jm, uint32_t vertex);
/* The effect that starts an attempt; group 0 of size 1: in a host of its own. */
void attempt_emit(
	struct jm *jm, uint32_t node, uint32_t vertex, uint32_t attempt, uint32_t group, uint32_t group_size);
/* The current one, which was put off. */
void attempt_start_late(struct jm *jm, uint32_t vertex);
/* Starts a gang of one on the node, wherever it waits. */
void attempt_start_single(struct jm *jm, uint32_t vertex, uint32_t node);
/* False where the members do not all find room now; the first choice is `node`. */
bool attempt_start_gang(struct jm *jm, uint32_t gang, uint32_t node);

#endif
