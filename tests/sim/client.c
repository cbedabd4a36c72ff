/* SPDX-License-Identifier: Apache-2.0 */
/* A program that adds vertices to open stages while the job runs, and closes them; it dies with its job
 * manager. */
#include "manager.h"

#define ADD_EVERY (200 * DAG_MS)
#define READS_MAX 3u

static void close_stage(struct sim *s, uint32_t stage)
{
	if (!s->use->stages[stage]->open || s->manager->closed[stage])
		return;
	s->manager->closed[stage] = true;
	shell_step(s, &(struct jm_event){.kind = JM_CLOSE, .stage = stage});
}

static void add_vertex(struct sim *s, const struct graph_stage *stage)
{
	const struct jm *jm = s->manager->jm;
	struct jm_read reads[READS_MAX];
	size_t n = 0;

	for (uint64_t left = sim_draw(s, READS_MAX + 1); left; left--) {
		const struct graph_edge *e = s->use->edges[stage->in[sim_draw(s, stage->in_count)].edge];
		uint32_t width = jm_readable(jm, e->from);

		if (width)
			reads[n++] = (struct jm_read){e->id, (uint32_t)sim_draw(s, width)};
	}
	sim_probe(s, PROBE_added);
	shell_step(s, &(struct jm_event){.kind = JM_ADD,
			      .stage = stage->id,
			      .reads = reads,
			      .read_count = n,
			      .argument = "argument",
			      .argument_len = (size_t)sim_draw(s, 8)});
}

/* Its result was asked for, and did not come. */
static void miss(struct sim *s, uint32_t vertex)
{
	uint32_t attempt, node;
	enum jm_state state;

	if (jm_current(s->manager->jm, vertex, &attempt, &node, &state) && state == JM_DONE)
		shell_step(s, &(struct jm_event){.kind = JM_UNREAD, .vertex = vertex, .attempt = attempt});
}

static void go_on(struct sim *s, uint32_t self, uint64_t a, uint64_t b)
{
	bool any = false;

	(void)self;
	(void)a;
	(void)b;
	for (uint32_t i = 0; i < s->use->stage_count && !s->ended && !s->manager->dead; i++) {
		const struct graph_stage *stage = s->use->stages[i];
		uint32_t added = jm_added(s->manager->jm, i);

		if (!stage->open || s->manager->closed[i])
			continue;
		any = true;
		if (added && sim_draw(s, 20) == 0)
			miss(s, stage->first_vertex + (uint32_t)sim_draw(s, added));
		if (added == stage->width || sim_draw(s, 8) == 0)
			close_stage(s, i);
		else
			add_vertex(s, stage);
	}
	if (any && !s->ended && !s->manager->dead)
		sim_call(s, (dag_instant)sim_draw(s, ADD_EVERY), SIM_MANAGER, true, go_on, 0, 0);
}

void client_begin(struct sim *s)
{
	bool any = false;

	memset(s->manager->closed, 0, s->use->stage_count);
	for (size_t i = 0; i < s->use->stage_count; i++)
		any = any || s->use->stages[i]->open;
	if (any && s->manager->epoch == 1)
		sim_call(s, ADD_EVERY, SIM_MANAGER, true, go_on, 0, 0);
}

void client_gone(struct sim *s)
{
	for (uint32_t i = 0; i < s->use->stage_count && !s->ended; i++)
		close_stage(s, i);
}
