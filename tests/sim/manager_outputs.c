/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs: fetched one vertex after the other, and published one file after the other. */
#include "manager.h"

#define LOOK_AGAIN (500 * DAG_MS)

void shell_fail_fetch(struct sim *s, uint32_t output, int error, const char *text)
{
	struct output *o = &s->manager->outputs[output];

	o->asked = false;
	shell_step(s, &(struct jm_event){.kind = JM_FETCH_FAILED,
			      .output = output,
			      .vertex = o->vertex,
			      .attempt = o->attempt,
			      .error = error,
			      .text = text});
}

static void ask_output(struct sim *s, uint32_t output, bool open)
{
	const struct output *o = &s->manager->outputs[output];
	struct manager_node *n = node_by_number(s, o->node);
	Dagrun__Data d = DAGRUN__DATA__INIT;

	d.channel = output;
	d.vertex = o->vertex;
	d.attempt = o->attempt;
	d.reader_port = o->fetch;
	if (n)
		reading_ask(s, SIM_MANAGER, n->process, &o->reading, open, &d);
}

void shell_look_at_links(struct sim *s)
{
	const struct sim_manager *m = s->manager;
	bool *wanted = base_alloc(s->process_count * sizeof(*wanted));

	for (uint32_t i = 0; i < s->use->output_count; i++)
		if (m->outputs[i].asked && node_by_number(s, m->outputs[i].node))
			wanted[node_by_number(s, m->outputs[i].node)->process] = true;
	for (uint32_t peer = SIM_FIRST_NODE; peer < s->process_count; peer++) {
		if (!connections_data_is_over(s, SIM_MANAGER, peer, wanted[peer]))
			continue;
		for (uint32_t i = 0; i < s->use->output_count; i++)
			if (m->outputs[i].asked && node_by_number(s, m->outputs[i].node) &&
				node_by_number(s, m->outputs[i].node)->process == peer)
				ask_output(s, i, true);
	}
	free(wanted);
}

static void look_at_output(struct sim *s, uint32_t self, uint64_t output, uint64_t fetch)
{
	struct output *o = &s->manager->outputs[output];
	enum fetch_action action;

	(void)self;
	if (!o->asked || o->fetch != fetch)
		return;
	action = fetch_tick(&o->reading.fetch, s->now);
	if (action == FETCH_UNREACHABLE && s->only_mute)
		sim_violate(s, "mute links made an output unreachable");
	if (action == FETCH_UNREACHABLE || !node_by_number(s, o->node)) {
		shell_fail_fetch(s, (uint32_t)output, DAG_EUNREACHABLE, "its node does not answer");
		return;
	}
	if (action == FETCH_OPEN)
		ask_output(s, (uint32_t)output, true);
	sim_call(s, LOOK_AGAIN, SIM_MANAGER, true, look_at_output, output, fetch);
}

void shell_fetch(struct sim *s, const struct jm_effect *e)
{
	struct sim_manager *m = s->manager;
	struct output *o = &m->outputs[e->output];

	if (e->vertex < o->next)
		sim_probe(s, PROBE_refetched);
	o->next = DAG_MAX(o->next, e->vertex + 1);
	o->asked = true;
	o->vertex = e->vertex;
	o->attempt = e->attempt;
	o->node = e->node;
	o->fetch = ++m->last_fetch;
	reading_begin(&o->reading, false, s->now);
	ask_output(s, e->output, true);
	sim_call(s, LOOK_AGAIN, SIM_MANAGER, true, look_at_output, e->output, o->fetch);
}

/* The values up to this vertex would outlive the job manager. */
static void on_synced(struct sim *s, uint32_t self, uint64_t key, uint64_t writes)
{
	uint32_t output = (uint32_t)(key >> 32), vertex = (uint32_t)key;
	struct output *o = &s->manager->outputs[output];
	uint32_t count = vertex - s->use->stages[s->use->outputs[output].stage]->first_vertex + 1;

	(void)self;
	if (o->writes != writes)
		return;
	o->on_disk = DAG_MAX(o->on_disk, count);
	shell_step(s,
		&(struct jm_event){.kind = JM_SYNCED, .output = output, .vertex = vertex, .bytes = vertex});
}

/* What an earlier run has synced; now and then somebody has removed it. */
void shell_take_over_outputs(struct sim *s)
{
	for (uint32_t i = 0; i < s->use->output_count; i++) {
		struct output *o = &s->manager->outputs[i];
		uint64_t bytes;

		o->asked = false;
		if (jm_fate(s->manager->jm) == JM_FATE_OPEN)
			for (uint32_t v = o->on_disk; v < jm_width(s->manager->jm, s->use->outputs[i].stage);
				v++)
				o->values[v] = 0;
		if (!jm_synced(s->manager->jm, i, &bytes))
			continue;
		if (sim_draw(s, 8) == 0 && jm_fate(s->manager->jm) == JM_FATE_OPEN) {
			sim_probe(s, PROBE_output_removed);
			jm_forget_output(s->manager->jm, i);
		} else
			sim_probe(s, PROBE_output_kept);
	}
}

void manager_data(struct sim *s, uint32_t from, const Dagrun__Data *d)
{
	struct sim_manager *m = s->manager;
	enum reading_verdict verdict;
	const struct graph_stage *stage;
	struct output *o;

	(void)from;
	if (d->channel >= s->use->output_count)
		return;
	o = &m->outputs[d->channel];
	if (!o->asked || o->fetch != d->attempt)
		return;
	verdict = reading_take(s, &o->reading, d);
	if (verdict == READING_AGAIN || verdict == READING_CREDIT)
		ask_output(s, (uint32_t)d->channel, verdict == READING_AGAIN);
	if (verdict < READING_DONE)
		return;
	if (verdict != READING_DONE) {
		shell_fail_fetch(s, (uint32_t)d->channel,
			verdict == READING_DAMAGED ? DAG_ECORRUPT : d->error, "it is not whole");
		return;
	}
	stage = s->use->stages[s->use->outputs[d->channel].stage];
	if (o->vertex == stage->first_vertex) {
		o->writes++;
		o->on_disk = 0;
	}
	o->values[o->vertex - stage->first_vertex] = o->reading.sum;
	o->asked = false;
	shell_step(s, &(struct jm_event){.kind = JM_FETCHED,
			      .output = (uint32_t)d->channel,
			      .vertex = o->vertex,
			      .attempt = o->attempt});
	if (sim_draw(s, 3) == 0)
		sim_call(s, (dag_instant)sim_draw(s, 50 * DAG_MS), SIM_MANAGER, true, on_synced,
			(uint64_t)d->channel << 32 | o->vertex, o->writes);
}

/* What was there before is put back, the last one first. Who dies meanwhile begins again. */
static void undo_next(struct sim *s, uint32_t self, uint64_t a, uint64_t b)
{
	struct sim_manager *m = s->manager;

	(void)self;
	(void)a;
	(void)b;
	if (shell_dies_here(s))
		return;
	if (m->published) {
		oracle_hidden(s, --m->published);
		sim_call(s, DAG_MS, SIM_MANAGER, true, undo_next, 0, 0);
		return;
	}
	sim_probe(s, PROBE_publication_undone);
	shell_step(s, &(struct jm_event){.kind = JM_PUBLISHED,
			      .error = DAG_EIO,
			      .text = "cannot publish: the name cannot be taken"});
}

/* A folder may be gone, or full, as a disk may be. */
static bool name_is_refused(struct sim *s)
{
	return s->faults[FAULT_DISK_FULL] && !s->calm && sim_draw(s, 12) == 0;
}

/* One file after the other gets its name; those of an earlier run have theirs. */
static void publish_next(struct sim *s, uint32_t self, uint64_t a, uint64_t b)
{
	struct sim_manager *m = s->manager;
	uint32_t i = m->published;

	(void)self;
	(void)a;
	(void)b;
	if (shell_dies_here(s)) {
		if (i)
			sim_probe(s, PROBE_publication_cut);
		return;
	}
	if (i < s->use->output_count && name_is_refused(s)) {
		undo_next(s, self, 0, 0);
		return;
	}
	if (i < s->use->output_count) {
		oracle_visible(s, i, m->outputs[i].values, jm_width(m->jm, s->use->outputs[i].stage));
		m->published++;
		sim_call(s, DAG_MS, SIM_MANAGER, true, publish_next, 0, 0);
		return;
	}
	shell_step(s, &(struct jm_event){.kind = JM_PUBLISHED});
}

void shell_publish(struct sim *s)
{
	sim_call(s, 0, SIM_MANAGER, true, publish_next, 0, 0);
}
