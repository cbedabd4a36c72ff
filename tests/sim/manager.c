/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job manager: the scheduler's core with a shell that can die between any two of its effects. Its journal
 * keeps what was durable; the rest of its tail goes with it.
 */
#include "manager.h"

#include <stdio.h>

void manager_init(struct sim *s)
{
	struct sim_manager *m = base_alloc(sizeof(*m));

	s->manager = m;
	m->copies = base_alloc((s->use->vertex_count + 1) * sizeof(*m->copies));
	m->closed = base_alloc(s->use->stage_count + 1);
	m->alone = base_alloc((s->use->vertex_count + 1) * sizeof(*m->alone));
	m->by_number = base_alloc((s->node_count + 1) * sizeof(struct manager_node *));
	m->nodes = base_alloc(s->node_count * sizeof(*m->nodes));
	m->outputs = base_alloc((s->use->output_count + 1) * sizeof(*m->outputs));
	for (size_t i = 0; i < s->use->output_count; i++)
		m->outputs[i].values = base_alloc((s->use->stages[s->use->outputs[i].stage]->width + 1) *
						  sizeof(*m->outputs[i].values));
}

void shell_step(struct sim *s, const struct jm_event *event);

/* ---- crash points ---- */

static void see_node_closed(struct sim *s, uint32_t self, uint64_t node, uint64_t b)
{
	(void)self;
	(void)b;
	manager_connection_lost(s, (uint32_t)node);
}

/* Counts a point where the process could die; true where it does. */
bool shell_dies_here(struct sim *s)
{
	s->effects++;
	if (s->options.crash_process && s->effects == s->options.crash_at) {
		sim_trace(s, "crash point %llu", (unsigned long long)s->effects);
		if (s->options.crash_process == 2) {
			names_crash(s);
			sim_call(s, DAG_SECOND, SIM_NAMES, false, names_boot, 0, 0);
			return false;
		}
		if (s->options.crash_process == 3) {
			uint32_t node = SIM_FIRST_NODE + (uint32_t)(s->effects % s->node_count);

			node_crash(s, node, s->options.crash_mode == 2);
			sim_call(s, DAG_SECOND, node, false, node_boot, 0, 0);
			sim_call(s, DAG_MS, SIM_MANAGER, true, see_node_closed, node, 0);
			return false;
		}
		manager_crash(s);
		return true;
	}
	if (sim_chance(s, FAULT_MANAGER_POINT)) {
		manager_crash(s);
		return true;
	}
	return false;
}

/* ---- the journal ---- */

static void run_deferred(struct sim *s);
static void sync_journal(struct sim *s, uint32_t self, uint64_t a, uint64_t b);

static void on_synced(struct sim *s, uint32_t self, uint64_t upto, uint64_t b)
{
	struct sim_manager *m = s->manager;

	(void)b;
	m->syncing = false;
	m->durable = upto;
	oracle_durable(s, upto);
	run_deferred(s);
	sync_journal(s, self, 0, 0);
}

/* A group of facts goes to disk. */
static void sync_journal(struct sim *s, uint32_t self, uint64_t a, uint64_t b)
{
	struct sim_manager *m = s->manager;

	(void)self;
	(void)a;
	(void)b;
	if (m->syncing || m->durable == m->fact_count || m->dead)
		return;
	if (m->full) {
		sim_probe(s, PROBE_journal_full);
		sim_call(s, DAG_SECOND, SIM_MANAGER, true, sync_journal, 0, 0);
		return;
	}
	m->syncing = true;
	sim_call(s, (1 + (dag_instant)sim_draw(s, 10)) * DAG_MS, SIM_MANAGER, true, on_synced, m->fact_count,
		0);
}

static void probe_grouped(struct sim *s, uint32_t vertex)
{
	const struct graph_stage *stage = s->use->stages[s->use->vertex_stage[vertex]];

	for (const struct graph_edge *e = graph_out(s->use, stage->first_out); e;
		e = graph_out(s->use, e->next_out))
		if (e->pattern == GRAPH_GROUPS)
			sim_probe(s, jm_consumers(s->manager->jm, e, vertex - stage->first_vertex)
					     ? PROBE_grouped_again
					     : PROBE_ungrouped);
}

static void probe_fact(struct sim *s, const char *fact)
{
	struct sim_manager *m = s->manager;
	unsigned vertex, attempt, count;

	if (sscanf(fact, "copied %u %u", &vertex, &attempt) == 2) {
		sim_probe(s, PROBE_copied);
		m->copies[vertex] = attempt;
	} else if (sscanf(fact, "committed %u %u", &vertex, &attempt) == 2) {
		if (m->copies[vertex] == attempt)
			sim_probe(s, PROBE_copy_won);
		if (m->alone[vertex] == attempt)
			sim_probe(s, PROBE_alone_done);
		if (JM_ATTEMPT_EPOCH(attempt) < m->epoch)
			sim_probe(s, PROBE_sealed_adopted);
	} else if (sscanf(fact, "invalidated %u", &vertex) == 1) {
		probe_grouped(s, vertex);
		sim_probe(s, PROBE_invalidated);
		if (m->invalidated_at == m->steps)
			sim_probe(s, PROBE_upstream);
		m->invalidated_at = m->steps;
	} else if (!strncmp(fact, "grouped", 7)) {
		sim_probe(s, PROBE_grouped);
	} else if (sscanf(fact, "width %u %u", &vertex, &count) == 2) {
		if (count < s->use->stages[vertex]->width)
			sim_probe(s, PROBE_narrowed);
	} else if (!strncmp(fact, "adopted", 7))
		sim_probe(s, PROBE_adopted);
	else if (sscanf(fact, "alone %u %u", &vertex, &attempt) == 2) {
		sim_probe(s, PROBE_alone);
		m->alone[vertex] = attempt;
	} else if (sscanf(fact, "started %*u %u node=%*s count=%u", &attempt, &count) == 2 && count > 1 &&
		   JM_ATTEMPT_NUMBER(attempt) > 1)
		sim_probe(s, PROBE_gang_again);
}

static void append_fact(struct sim *s, const char *fact)
{
	struct sim_manager *m = s->manager;

	if (!strncmp(fact, "node-up", 7) && strstr(fact, "\\x"))
		sim_probe(s, PROBE_odd_name);
	sim_trace(s, "fact %s", fact);
	*DAG_APPEND(m->facts, m->fact_count, m->fact_cap) = base_strdup(fact);
	oracle_fact(s, fact);
	probe_fact(s, fact);
}

static void end_job(struct sim *s, const struct jm_effect *e)
{
	Dagrun__JobEnd end = DAGRUN__JOB_END__INIT;
	SIM_ENVELOPE(envelope, JOB_END);

	end.job = "job";
	envelope.job_end = &end;
	for (uint32_t i = 0; i < s->node_count; i++)
		if (s->manager->nodes[i].dialled && !s->manager->nodes[i].gone) {
			sim_send(s, SIM_MANAGER, &s->manager->nodes[i].session, &envelope);
			s->manager->nodes[i].told = s->manager->nodes[i].session.open;
		}
	s->ended = true;
	s->end_error = e->error;
	s->end_text = base_strdup(e->text);
	s->end_time = s->now;
	if (e->error)
		sim_probe(s, PROBE_failed_named);
}

static void carry_out(struct sim *s, const struct jm_effect *e)
{
	if (shell_dies_here(s))
		return;
	oracle_effect(s, e);
	switch (e->kind) {
	case JM_ACK:
		send_attempt(s, e, DAGRUN__ENVELOPE__BODY_ACK_DONE);
		break;
	case JM_RELEASE:
		sim_probe(s, PROBE_released);
		send_attempt(s, e, DAGRUN__ENVELOPE__BODY_KILL);
		break;
	case JM_TRIM:
		send_trim(s, e);
		break;
	case JM_KILL:
		send_attempt(s, e, DAGRUN__ENVELOPE__BODY_KILL);
		break;
	case JM_START:
		send_start(s, e);
		break;
	case JM_VERIFY:
		send_verify(s, e);
		break;
	case JM_WANT:
		send_want(s, e);
		break;
	case JM_RECALL:
		send_recall(s, e);
		break;
	case JM_FETCH:
		shell_fetch(s, e);
		break;
	case JM_PUBLISH:
		shell_publish(s);
		break;
	case JM_NOTE:
		sim_trace(s, "note %s", e->text);
		break;
	case JM_END:
		end_job(s, e);
		break;
	default:
		break;
	}
}

static void run_deferred(struct sim *s)
{
	struct sim_manager *m = s->manager;

	while (!m->dead && m->deferred_first < m->deferred_count &&
		m->deferred[m->deferred_first].seq <= m->durable && !s->ended) {
		struct deferred d = m->deferred[m->deferred_first++];

		carry_out(s, &d.effect);
		free((char *)d.effect.text);
	}
	if (m->deferred_first == m->deferred_count)
		m->deferred_first = m->deferred_count = 0;
}

static void on_wake(struct sim *s, uint32_t self, uint64_t a, uint64_t b)
{
	(void)self;
	(void)b;
	if (a == s->manager->steps)
		shell_step(s, &(struct jm_event){.kind = JM_TICK});
}

static void note_probes(struct sim *s, const char *text)
{
	if (strstr(text, "other bytes than the attempt before"))
		sim_probe(s, PROBE_differs);
	if (strstr(text, "it read other bytes"))
		sim_probe(s, PROBE_consumer_again);
	if (strstr(text, "and was given back"))
		sim_probe(s, PROBE_released_again);
	if (strstr(text, "failed and runs again in "))
		sim_probe(s, PROBE_paused);
	if (strstr(text, " is avoided"))
		sim_probe(s, PROBE_avoided);
}

void shell_step(struct sim *s, const struct jm_event *event)
{
	struct sim_manager *m = s->manager;
	struct jm_effects effects;
	struct jm_effect *copy;

	if (s->ended || m->dead)
		return;
	m->steps++;
	if (jm_step(m->jm, s->now, event) < 0)
		sim_violate(s, "the scheduler refused event %d", (int)event->kind);
	if (s->use->vertex_count <= 300 || m->steps % 4096 == 0)
		jm_check(m->jm);
	effects = jm_effects(m->jm);
	copy = base_alloc((effects.count + 1) * sizeof(*copy));
	for (size_t i = 0; i < effects.count; i++) {
		copy[i] = effects.items[i];
		if (copy[i].text)
			copy[i].text = base_strdup(copy[i].text);
	}
	if (effects.wake_at != DAG_NEVER)
		sim_call(s, DAG_MAX(effects.wake_at - s->now, (dag_instant)0) + DAG_MS, SIM_MANAGER, true,
			on_wake, m->steps, 0);
	for (size_t i = 0; i < effects.count; i++)
		if (copy[i].kind == JM_JOURNAL)
			append_fact(s, copy[i].text);
	if (!m->step_count || m->steps_end[m->step_count - 1] < m->fact_count)
		*DAG_APPEND(m->steps_end, m->step_count, m->step_cap) = m->fact_count;
	sync_journal(s, SIM_MANAGER, 0, 0);
	for (size_t i = 0; i < effects.count; i++) {
		struct jm_effect *e = &copy[i];

		if (m->dead || s->ended)
			; /* it died between two effects */
		else if (e->kind == JM_JOURNAL)
			shell_dies_here(s);
		else if (e->durable &&
			 (m->durable < m->fact_count || m->deferred_first < m->deferred_count)) {
			*DAG_APPEND(m->deferred, m->deferred_count, m->deferred_cap) =
				(struct deferred){m->fact_count, *e};
			e->text = NULL;
		} else {
			if (e->kind == JM_NOTE)
				note_probes(s, e->text);
			carry_out(s, e);
		}
		free((char *)e->text);
	}
	free(copy);
}

/* ---- time ---- */

void manager_tick(struct sim *s)
{
	struct sim_manager *m = s->manager;
	Dagrun__Watch watch = DAGRUN__WATCH__INIT;
	SIM_ENVELOPE(e, WATCH);

	if (!m->names.open) {
		session_open(s, SIM_MANAGER, &m->names, SIM_NAMES);
		e.watch = &watch;
		sim_send(s, SIM_MANAGER, &m->names, &e);
	}
	session_beat(s, SIM_MANAGER, &m->names);
	for (uint32_t i = 0; i < s->node_count; i++)
		session_beat(s, SIM_MANAGER, &m->nodes[i].session);
	if (s->ended)
		return;
	shell_tick_nodes(s);
	if (s->connections)
		shell_look_at_links(s);
}

/* ---- starts and ends ---- */

/* What is not volatile comes back with the facts. */
static void compare_dump(struct sim *s)
{
	struct sim_manager *m = s->manager;
	struct buffer now = {0};
	char *difference;

	if (!m->dump.len)
		return;
	jm_dump(m->jm, m->epoch - 1, &now);
	buffer_append(&now, "", 1);
	difference = jm_dump_difference((char *)m->dump.data, (char *)now.data);
	if (difference)
		sim_violate(s, "a crash changed what is known: %s", difference);
	sim_probe(s, PROBE_state_kept);
	buffer_fini(&now);
	free(difference);
}

void manager_boot(struct sim *s, uint32_t process, uint64_t a, uint64_t b)
{
	struct sim_manager *m = s->manager;

	(void)a;
	(void)b;
	if (s->processes[process].up || s->ended)
		return;
	process_start(s, process);
	m->dead = false;
	m->epoch++;
	sim_trace(s, "manager starts, epoch %u, %zu facts", m->epoch, m->fact_count);
	jm_destroy(&m->jm);
	jm_new(&m->jm,
		&(struct jm_config){
			.graph = s->use, .epoch = m->epoch, .seed = s->options.seed, .waits = sim_waits()});
	m->group_left = 0;
	for (size_t i = 0; i < m->fact_count; i++)
		if (jm_replay(m->jm, m->facts[i]) < 0)
			sim_violate(s, "fact %zu cannot be replayed: %s", i + 1, m->facts[i]);
		else if (!strncmp(m->facts[i], "grouped", 7))
			sim_probe(s, PROBE_group_kept);
		else if (!strncmp(m->facts[i], "added", 5))
			sim_probe(s, PROBE_added_kept);
	m->resuming = m->epoch > 1;
	if (m->resuming) {
		if (jm_fate(m->jm) == JM_FATE_DECIDED)
			sim_probe(s, PROBE_publication_resumed);
		jm_replayed(m->jm);
		compare_dump(s);
		shell_take_over_outputs(s);
		jm_check(m->jm);
	}
	m->booted = s->now;
	detector_init(&m->detector, s->now);
	m->names.open = false;
	client_begin(s);
	if (jm_fate(m->jm) >= JM_FATE_PUBLISHED) {
		s->ended = true; /* its end was journaled, only not told */
		s->end_error = jm_fate(m->jm) == JM_FATE_FAILED ? DAG_EFAILED : 0;
		s->end_text = base_strdup("ended before the crash");
		s->end_time = s->now;
		m->resuming = false;
	}
	manager_tick(s);
}

void manager_crash(struct sim *s)
{
	struct sim_manager *m = s->manager;
	size_t kept, written = 0, whole = 0;

	if (!s->processes[SIM_MANAGER].up || s->ended)
		return;
	/* What was being written may or may not be there. */
	while (written < m->step_count && m->steps_end[written] <= m->durable)
		written++;
	whole = written + sim_draw(s, m->step_count - written + 1);
	if (s->options.crash_process == 1 && s->options.crash_mode < 2)
		whole = s->options.crash_mode ? m->step_count : written;
	kept = whole ? m->steps_end[whole - 1] : 0;
	m->step_count = whole;
	sim_trace(s, "manager dies; %zu of %zu facts stay", kept, m->fact_count);
	if (kept < m->fact_count)
		sim_probe(s, PROBE_tail_lost);
	buffer_fini(&m->dump);
	if (kept == m->fact_count) {
		jm_dump(m->jm, m->epoch, &m->dump);
		buffer_append(&m->dump, "", 1);
	}
	oracle_lost(s, kept);
	while (m->fact_count > kept)
		free(m->facts[--m->fact_count]);
	m->durable = kept;
	m->dead = true;
	m->syncing = false;
	process_stop(s, SIM_MANAGER);
	for (size_t i = m->deferred_first; i < m->deferred_count; i++)
		free((char *)m->deferred[i].effect.text);
	m->deferred_first = m->deferred_count = 0;
	for (uint32_t i = 0; i < s->node_count; i++) {
		link_fini(&m->nodes[i].session.link);
		free(m->nodes[i].found);
		m->nodes[i] = (struct manager_node){0};
	}
	link_fini(&m->names.link);
	m->names.open = false;
	for (size_t i = 0; i < s->use->output_count; i++)
		m->outputs[i].asked = false;
	/* The core may be in the middle of a step's effects: it goes when the next one comes. */
	sim_call(s, DAG_SECOND + (dag_instant)sim_draw(s, 5000) * DAG_MS, SIM_MANAGER, false, manager_boot, 0,
		0);
}

void manager_fini(struct sim *s)
{
	struct sim_manager *m = s->manager;

	jm_destroy(&m->jm);
	buffer_fini(&m->dump);
	for (uint32_t i = 0; i < s->node_count; i++) {
		link_fini(&m->nodes[i].session.link);
		free(m->nodes[i].found);
	}
	link_fini(&m->names.link);
	for (size_t i = m->deferred_first; i < m->deferred_count; i++)
		free((char *)m->deferred[i].effect.text);
	for (size_t i = 0; i < m->fact_count; i++)
		free(m->facts[i]);
	for (size_t i = 0; i < s->use->output_count; i++)
		free(m->outputs[i].values);
	free(m->facts);
	free(m->deferred);
	free(m->steps_end);
	free(m->copies);
	free(m->alone);
	free(m->closed);
	free(m->outputs);
	free(m->nodes);
	free(m->by_number);
	free(m);
}

void manager_set_full(struct sim *s, bool full)
{
	s->manager->full = full;
}

const struct jm *manager_core(const struct sim *s)
{
	return s->manager->jm;
}

bool manager_told_end(const struct sim *s, uint32_t process)
{
	const struct manager_node *n = &s->manager->nodes[process - SIM_FIRST_NODE];

	return n->told && n->session.open && n->session.link.first == n->session.link.count &&
	       n->incarnation == s->processes[process].incarnation;
}
