/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes, as the job manager knows them: dialled, listened to, judged. */
#include "manager.h"

#include <stdio.h>

#define DIAL_AGAIN (5 * DAG_SECOND)
#define RESUME_PATIENCE (5 * DAG_SECOND)

struct manager_node *node_by_number(struct sim *s, uint32_t number)
{
	struct manager_node *n = number < s->node_count ? s->manager->by_number[number] : NULL;

	return n && n->up && n->number == number ? n : NULL;
}

static void send_peers(struct sim *s, struct manager_node *to, struct manager_node *peer)
{
	Dagrun__Peers peers = DAGRUN__PEERS__INIT;
	Dagrun__Peer item = DAGRUN__PEER__INIT, *items[] = {&item};
	SIM_ENVELOPE(e, PEERS);

	item.node = peer->number;
	item.gone = peer->gone;
	item.id = sim_node_name(s, peer->process - SIM_FIRST_NODE);
	peers.n_peers = 1;
	peers.peers = items;
	e.peers = &peers;
	sim_send(s, SIM_MANAGER, &to->session, &e);
	free(item.id);
}

static void node_gone(struct sim *s, struct manager_node *n, bool died)
{
	if (n->gone)
		return;
	n->gone = true;
	n->gone_at = s->now;
	n->session.open = false;
	if (s->only_mute)
		sim_violate(s, "mute links made a node lost");
	sim_trace(s, "manager: n%u is gone%s", n->process - SIM_FIRST_NODE, died ? ", its daemon ended" : "");
	if (!n->up)
		return;
	n->up = false;
	n->untold = true;
	for (uint32_t i = 0; i < s->use->output_count; i++)
		if (s->manager->outputs[i].asked && s->manager->outputs[i].node == n->number)
			shell_fail_fetch(s, i, DAG_EUNREACHABLE, "its node is gone");
	shell_step(s, &(struct jm_event){.kind = JM_NODE_DOWN, .node = n->number, .flag = died});
}

static void dial(struct sim *s, struct manager_node *n, uint64_t incarnation)
{
	Dagrun__JobOpen open = DAGRUN__JOB_OPEN__INIT;
	SIM_ENVELOPE(e, JOB_OPEN);

	sim_trace(s, "manager: dials n%u", n->process - SIM_FIRST_NODE);
	if (n->gone)
		sim_probe(s, PROBE_came_back);
	n->dialled = true;
	n->gone = n->up = n->suspect = n->untold = false;
	n->incarnation = incarnation;
	n->found_count = 0;
	session_open(s, SIM_MANAGER, &n->session, n->process);
	open.job = "job";
	open.epoch = s->manager->epoch;
	e.job_open = &open;
	sim_send(s, SIM_MANAGER, &n->session, &e);
}

static void on_nodes(struct sim *s, const Dagrun__Nodes *m)
{
	if (s->ended)
		return;
	for (uint32_t i = 0; i < s->node_count; i++)
		s->manager->nodes[i].listed = false;
	for (size_t i = 0; i < m->n_nodes; i++) {
		const Dagrun__Register *info = m->nodes[i]->info;
		uint32_t index = (uint32_t)strtoul(info->node + 1, NULL, 10);
		struct manager_node *n = &s->manager->nodes[index];

		n->process = SIM_FIRST_NODE + index;
		n->listed = !m->nodes[i]->suspect;
		if (!n->dialled || (n->gone && n->incarnation != info->incarnation))
			dial(s, n, info->incarnation);
	}
}

static void finish_resume(struct sim *s)
{
	struct sim_manager *m = s->manager;

	if (!m->resuming || (jm_expected_nodes(m->jm) && s->now - m->booted < RESUME_PATIENCE))
		return;
	m->resuming = false;
	sim_probe(s, PROBE_resumed);
	shell_step(s, &(struct jm_event){.kind = JM_RESUMED});
	client_gone(s);
}

static bool is_committed(const struct sim *s, uint32_t node, uint32_t vertex, uint32_t attempt)
{
	uint32_t current, holder;
	enum jm_state state;

	return jm_current(s->manager->jm, vertex, &current, &holder, &state) && state == JM_DONE &&
	       current == attempt && holder == node;
}

static void on_ready(struct sim *s, struct manager_node *n, const Dagrun__JobReady *ready)
{
	static const char *const racks[] = {"a", "b", ""};
	char *name;
	struct graph_pair label;

	if (n->up)
		return;
	name = sim_node_name(s, n->process - SIM_FIRST_NODE);
	label = sim_node_label(s, n->process - SIM_FIRST_NODE);
	n->up = true;
	n->number = jm_node_number(s->manager->jm, name);
	s->manager->by_number[n->number] = n;
	for (size_t i = 0; i < n->found_count && !s->manager->resuming; i++)
		if (is_committed(s, n->number, n->found[i].vertex, n->found[i].attempt))
			sim_probe(s, PROBE_held_back);
	for (uint32_t i = 0; i < s->node_count; i++) {
		struct manager_node *other = &s->manager->nodes[i];

		if (!other->up)
			continue;
		send_peers(s, n, other);
		if (other != n)
			send_peers(s, other, n);
	}
	shell_step(s, &(struct jm_event){.kind = JM_NODE_UP,
			      .node = n->number,
			      .name = name,
			      .rack = sim_is_refined(s) ? racks[('0' + n->process - SIM_FIRST_NODE) % 3] : "",
			      .shares = ready->slots,
			      .labels = &label,
			      .label_count = 1,
			      .memory = sim_node_memory(s, n->process - SIM_FIRST_NODE),
			      .found = n->found,
			      .found_count = n->found_count});
	free(name);
	finish_resume(s);
}

static void on_inventory(struct manager_node *n, const Dagrun__Inventory *m)
{
	for (size_t i = 0; i < m->n_held; i++) {
		const Dagrun__Held *h = m->held[i];

		*DAG_APPEND(n->found, n->found_count, n->found_cap) = (struct jm_found){
			h->vertex, h->attempt, h->sealed, h->hash_low, h->hash_high, h->inputs};
	}
}

static void on_done(struct sim *s, const struct manager_node *n, const Dagrun__DoneBatch *m)
{
	for (size_t i = 0; i < m->n_done; i++) {
		const Dagrun__Done *d = m->done[i];
		struct jm_outcome outcome = {.error = d->error,
			.signal = d->signal,
			.text = d->text,
			.blamed = d->blamed,
			.blamed_vertex = d->blamed_vertex,
			.blamed_attempt = d->blamed_attempt,
			.hash_low = d->hash_low,
			.hash_high = d->hash_high,
			.bytes = d->bytes,
			.run_ns = d->run_ns,
			.inputs = d->inputs};

		if (is_committed(s, n->number, d->vertex, d->attempt))
			sim_probe(s, PROBE_done_repeated);
		else if (!jm_is_live(s->manager->jm, d->vertex, d->attempt, n->number) &&
			 !s->manager->resuming)
			sim_probe(s, PROBE_late_refused);
		shell_step(s, &(struct jm_event){.kind = JM_ENDED,
				      .node = n->number,
				      .vertex = d->vertex,
				      .attempt = d->attempt,
				      .outcome = &outcome});
	}
}

static void on_node(struct sim *s, struct manager_node *n, const Dagrun__Envelope *e)
{
	switch (e->body_case) {
	case DAGRUN__ENVELOPE__BODY_INVENTORY:
		on_inventory(n, e->inventory);
		return;
	case DAGRUN__ENVELOPE__BODY_JOB_READY:
		on_ready(s, n, e->job_ready);
		return;
	case DAGRUN__ENVELOPE__BODY_SOURCE_REQUEST:
		shell_serve_source(s, n, e->source_request);
		return;
	default:
		break;
	}
	if (!n->up)
		return;
	switch (e->body_case) {
	case DAGRUN__ENVELOPE__BODY_GRANT:
		shell_step(s, &(struct jm_event){
				      .kind = JM_NODE_GRANT, .node = n->number, .shares = e->grant->slots});
		break;
	case DAGRUN__ENVELOPE__BODY_DONE:
		on_done(s, n, e->done);
		break;
	case DAGRUN__ENVELOPE__BODY_VERIFIED:
		shell_step(s, &(struct jm_event){.kind = JM_VERIFIED,
				      .node = n->number,
				      .vertex = e->verified->vertex,
				      .attempt = e->verified->attempt,
				      .error = e->verified->error});
		break;
	default:
		break;
	}
}

void manager_envelope(struct sim *s, uint32_t from, const Dagrun__Envelope *e)
{
	struct sim_manager *m = s->manager;
	struct manager_node *n;
	bool refused;

	if (from == SIM_NAMES) {
		if (session_take(s, SIM_MANAGER, &m->names, e, &refused) &&
			e->body_case == DAGRUN__ENVELOPE__BODY_NODES)
			on_nodes(s, e->nodes);
		return;
	}
	n = &m->nodes[from - SIM_FIRST_NODE];
	if (!n->dialled)
		return;
	if (session_take(s, SIM_MANAGER, &n->session, e, &refused))
		on_node(s, n, e);
	else if (refused)
		node_gone(s, n, true);
}

/* The connection broke and nobody listens there. */
void manager_connection_lost(struct sim *s, uint32_t process)
{
	struct manager_node *n = &s->manager->nodes[process - SIM_FIRST_NODE];

	if (n->dialled && !n->gone && s->processes[SIM_MANAGER].up)
		node_gone(s, n, true);
}

static void look_around(struct sim *s)
{
	struct sim_manager *m = s->manager;
	struct detector_node *judged = base_alloc(s->node_count * sizeof(*judged));
	struct manager_node **nodes = base_alloc(s->node_count * sizeof(*nodes));
	size_t n = 0;

	for (uint32_t i = 0; i < s->node_count; i++)
		if (m->nodes[i].dialled && !m->nodes[i].gone) {
			judged[n] = (struct detector_node){
				m->nodes[i].session.link.last_heard, !m->nodes[i].listed, DETECTOR_LIVES};
			nodes[n++] = &m->nodes[i];
		}
	detector_look(&m->detector, s->now, m->names.open ? m->names.link.last_heard : DAG_NEVER, judged, n);
	if (m->detector.cut_off)
		sim_probe(s, PROBE_cut_off);
	for (size_t i = 0; i < n && !m->dead; i++) {
		bool suspect = judged[i].verdict != DETECTOR_LIVES;

		if (nodes[i]->up && nodes[i]->suspect != suspect) {
			nodes[i]->suspect = suspect;
			shell_step(s,
				&(struct jm_event){
					.kind = JM_NODE_SUSPECT, .node = nodes[i]->number, .flag = suspect});
		}
		if (judged[i].verdict == DETECTOR_IS_DEAD && !m->dead) {
			if (m->detector.suspects * 3 > n)
				sim_probe(s, PROBE_many_dead);
			node_gone(s, nodes[i], false);
		}
	}
	free(judged);
	free(nodes);
}

static void tell_gone(struct sim *s)
{
	struct manager_node *nodes = s->manager->nodes;

	for (uint32_t i = 0; i < s->node_count; i++) {
		if (!nodes[i].untold)
			continue;
		nodes[i].untold = false;
		for (uint32_t to = 0; to < s->node_count; to++)
			if (nodes[to].up)
				send_peers(s, &nodes[to], &nodes[i]);
	}
}

void shell_tick_nodes(struct sim *s)
{
	struct sim_manager *m = s->manager;

	look_around(s);
	if (!m->dead)
		tell_gone(s);
	/* One that was given up may only have been out of reach. */
	for (uint32_t i = 0; i < s->node_count && !m->dead; i++)
		if (m->nodes[i].gone && m->nodes[i].listed && s->now - m->nodes[i].gone_at > DIAL_AGAIN)
			dial(s, &m->nodes[i], m->nodes[i].incarnation);
	if (!m->dead)
		finish_resume(s);
}
