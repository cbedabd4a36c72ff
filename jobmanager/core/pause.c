/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What failed is not tried again at once: whatever it needs may be there a moment later, and a server that is
 * down is not helped by a thousand questions a second. The pause doubles with each failure; a part of it is
 * drawn, so that vertices which failed together do not come back together.
 *
 * A gang that pauses is WAITING though its inputs are there. A member that runs again alone has its attempt
 * and its place at once, since its producers go on meanwhile; only its start is put off.
 */
#include "pause.h"
#include "attempt.h"
#include "effects.h"
#include "gangs.h"
#include "vertices.h"
#include "base/prng.h"

#define PAUSE_LEAST (200 * DAG_MS)
#define PAUSE_MOST (24 * DAG_SECOND) /* and up to a quarter more */

/* A start that waits for a pause. */
struct jm_put_off {
	uint32_t vertex, attempt;
	dag_instant at;
};

dag_instant pause_time(const struct jm *jm, uint32_t vertex, uint32_t failures)
{
	struct prng prng = {jm->seed ^ ((uint64_t)vertex << 32 | failures)};
	dag_instant pause = PAUSE_LEAST;

	while (failures-- > 1 && pause < PAUSE_MOST)
		pause *= 2;
	pause = DAG_MIN(pause, PAUSE_MOST);
	return pause + (dag_instant)prng_below(&prng, (uint64_t)pause / 4 + 1);
}

void pause_gang(struct jm *jm, uint32_t gang, dag_instant pause)
{
	struct jm_gang *g = &jm->gangs[gang];

	if (!g->paused)
		*DAG_APPEND(jm->paused, jm->paused_count, jm->paused_cap) = gang;
	g->paused = DAG_MAX(g->paused, jm->now + pause);
	jm->paused_next = jm->paused_count == 1 ? g->paused : DAG_MIN(jm->paused_next, g->paused);
}

void pause_start(struct jm *jm, uint32_t vertex, dag_instant pause)
{
	const struct jm_vertex *v = &jm->vertices[vertex];

	*DAG_APPEND(jm->put_off, jm->put_off_count, jm->put_off_cap) =
		(struct jm_put_off){vertex, v->attempt, jm->now + pause};
}

static void end_pauses(struct jm *jm)
{
	dag_instant next = DAG_NEVER;
	size_t left = 0;

	if (!jm->paused_count)
		return;
	for (size_t i = 0; i < jm->paused_count && jm->now >= jm->paused_next; i++) {
		uint32_t gang = jm->paused[i];

		if (jm->gangs[gang].paused > jm->now) {
			next = DAG_MIN(next, jm->gangs[gang].paused);
			jm->paused[left++] = gang;
			continue;
		}
		jm->gangs[gang].paused = 0;
		gang_try_ready(jm, gang);
	}
	if (jm->now >= jm->paused_next) {
		jm->paused_count = left;
		jm->paused_next = next;
	}
	if (jm->paused_count)
		jm_wake(jm, jm->paused_next);
}

static void start_put_off(struct jm *jm)
{
	for (size_t i = 0; i < jm->put_off_count;) {
		struct jm_put_off p = jm->put_off[i];
		const struct jm_vertex *v = &jm->vertices[p.vertex];
		bool current = v->state == JM_RUNNING && v->attempt == p.attempt;

		if (current && jm->now < p.at) {
			jm_wake(jm, p.at);
			i++;
			continue;
		}
		jm->put_off[i] = jm->put_off[--jm->put_off_count];
		if (!current)
			continue; /* its gang started again, or its node is gone */
		attempt_start_late(jm, p.vertex);
	}
}

void pauses_look(struct jm *jm)
{
	end_pauses(jm);
	start_put_off(jm);
}

void pauses_fini(struct jm *jm)
{
	free(jm->paused);
	free(jm->put_off);
}
