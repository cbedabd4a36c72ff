/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_EFFECTS_H
#define CORE_EFFECTS_H
#include "state.h"

void effects_begin(struct jm *jm);
/* With the memory of their texts: facts may be many. */
void effects_drop(struct jm *jm);
struct jm_effect *jm_emit(struct jm *jm, enum jm_effect_kind kind);
/* One that names an attempt. */
struct jm_effect *jm_emit_attempt(
	struct jm *jm, enum jm_effect_kind kind, uint32_t node, uint32_t vertex, uint32_t attempt);
/* Where the node is up. */
void jm_kill(struct jm *jm, uint32_t node, uint32_t vertex, uint32_t attempt);
void jm_fact(struct jm *jm, const char *format, ...) __attribute__((format(printf, 2, 3)));
void jm_note(struct jm *jm, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* About a vertex; those of one stage that are like it may be told together. */
void jm_note_like(struct jm *jm, uint32_t vertex, const char *like, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* "n", or "epoch.n" after a resume, in the step's arena. */
const char *jm_attempt_text(struct jm *jm, uint32_t attempt);
/* "stage[index] attempt n on node", in the step's arena. */
const char *jm_attempt_name(struct jm *jm, uint32_t vertex);
void jm_wake(struct jm *jm, dag_instant at);
/* Ends the job: kills what runs; 0 is success. `text` is kept. */
void jm_end(struct jm *jm, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
void effects_fini(struct jm *jm);

#endif
