/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_OUTPUT_H
#define CORE_OUTPUT_H
#include "state.h"

struct jm_output {
	uint32_t fetched; /* vertices whose records are here */
	uint32_t asked;   /* the vertex that is being fetched + 1; 0: none */
	uint32_t synced;  /* vertices whose records are on disk, in a file */
	uint64_t bytes;   /* of so many bytes */
	bool anew;        /* that file is written from its begin: not before it is durable that it is */
};

void outputs_init(struct jm *jm);
void output_fetch_next(struct jm *jm, uint32_t output);
/* What was fetched of an output is not what counts any more. */
void output_refetch(struct jm *jm, uint32_t output);
void output_on_fetch_failed(struct jm *jm, const struct jm_event *event);
void output_on_synced(struct jm *jm, const struct jm_event *event);
void output_on_fetched(struct jm *jm, const struct jm_event *event);
int output_replay(struct jm *jm, const char *word, const char *rest);
void outputs_replayed(struct jm *jm);
/* The stage, and what is joined to it pointwise, has so many vertices. */
void outputs_settled(struct jm *jm, uint32_t root, uint32_t width);
/* What is fetched may not be DONE any more. */
void outputs_look_again(struct jm *jm);
void outputs_fini(struct jm *jm);

#endif
