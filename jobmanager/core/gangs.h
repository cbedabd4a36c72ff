/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_GANGS_H
#define CORE_GANGS_H
#include "state.h"

/* A producer over GROUPS is committed, or all of them are over a complete edge: GRAPH_NONE. */
struct jm_arrival {
	uint32_t edge, producer;
};

void gangs_init(struct jm *jm);
/* `reader` could not read `producer` of the same gang. */
void gang_break(struct jm *jm, uint32_t reader, uint32_t producer);
/* A gang whose inputs are all there becomes READY and is queued. */
void gang_try_ready(struct jm *jm, uint32_t gang);
void gang_unready(struct jm *jm, uint32_t gang);
/* What was committed and is to be looked at by refine.c, first come first served; false: nothing more. */
bool gangs_next_arrival(struct jm *jm, struct jm_arrival *ret);
/* So many more producers over a complete edge are not committed. */
void gangs_count_edge(struct jm *jm, const struct graph_edge *e, int64_t more);
/* True where it gave other bytes than its last commit. */
bool gang_commit(struct jm *jm, uint32_t vertex, const struct jm_outcome *outcome);
/* The whole gang goes back to WAITING or READY; running members are killed, done ones are forgotten. */
void gang_reset(struct jm *jm, uint32_t gang, bool kill);
/* What was started behind the vertex waits again: its data will not be what was promised. */
void gang_reset_followers(struct jm *jm, uint32_t vertex);
/* The speculative attempt becomes the current one; the one before is killed. */
void gang_promote_speculation(struct jm *jm, uint32_t vertex);
/* gang_reset, and what it reads is made again where its node is gone. */
void gang_rerun(struct jm *jm, uint32_t gang);
/* The committed output of a vertex is lost: its gang runs again, and so on upstream where nodes are gone. */
void gang_invalidate(struct jm *jm, uint32_t vertex, const char *why);
/* A committed producer is made again if its node is gone. */
void gang_invalidate_if_gone(struct jm *jm, uint32_t producer, void *ctx);
void gangs_fini(struct jm *jm);

#endif
