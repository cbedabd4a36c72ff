/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job manager: the scheduler's core with a shell that can die between any two of its effects. Its journal
 * keeps what was durable; the rest of its tail goes with it.
 */
#include "sim.h"
#include "graph/edge.h"

#include <stdio.h>

#define RESUME_PATIENCE (5 * DAG_SECOND)
#define DIAL_AGAIN (5 * DAG_SECOND)
#define FETCH_AGAIN (2 * DAG_SECOND)
#define FETCH_TRIES 5u

struct manager_node {
	uint32_t process;
	uint64_t incarnation;
	struct sim_session session;
	bool dialled, up, gone, suspect, listed, told;
	dag_instant gone_at;
	uint32_t number;
	struct jm_found *found;
	size_t found_count, found_cap;
};

struct output {
	uint64_t *values; /* fetched, beside the destination */
	bool asked;
	uint32_t vertex, attempt, node, tries;
	uint64_t fetch; /* number of this one */
	uint32_t next;  /* vertex that was not asked for yet */
};

struct deferred {
	uint64_t seq;
	struct jm_effect effect;
};

struct sim_manager {
	struct jm *jm;
	uint32_t epoch; /* durable before anything else */
	struct judge judge;
	struct sim_session names;
	struct manager_node **by_number;
	struct manager_node *nodes; /* by process − SIM_FIRST_NODE */
	struct output *outputs;
	/* The journal: facts, of which the first `durable` would outlive us. */
	char **facts;
	size_t fact_count, fact_cap, durable;
	size_t *steps_end; /* facts up to each step: those of one step are written together or not at all */
	size_t step_count, step_cap;
	bool syncing, full;
	struct deferred *deferred;
	size_t deferred_first, deferred_count, deferred_cap;
	dag_instant booted;
	bool resuming, dead;
	uint64_t last_fetch, steps, invalidated_at;
	uint32_t *copies;   /* the last one of each vertex */
	uint32_t *alone;    /* likewise */
	uint32_t published; /* outputs that are renamed, all in all */
};

void manager_init(struct sim *s)
{
	struct sim_manager *m = base_alloc(sizeof(*m));

	s->manager = m;
	m->copies = base_alloc((s->use->vertex_count + 1) * sizeof(*m->copies));
	m->alone = base_alloc((s->use->vertex_count + 1) * sizeof(*m->alone));
	m->by_number = base_alloc((s->node_count + 1) * sizeof(struct manager_node *));
	m->nodes = base_alloc(s->node_count * sizeof(*m->nodes));
	m->outputs = base_alloc((s->use->output_count + 1) * sizeof(*m->outputs));
	for (size_t i = 0; i < s->use->output_count; i++)
		m->outputs[i].values = base_alloc((s->use->stages[s->use->outputs[i].stage]->width + 1) *
						  sizeof(*m->outputs[i].values));
}

static void step(struct sim *s, const struct jm_event *event);

/* ---- crash points ---- */

static void see_node_closed(struct sim *s, uint32_t self, uint64_t node, uint64_t b)
{
	(void)self;
	(void)b;
	manager_connection_lost(s, (uint32_t)node);
}

/* Counts a point where the process could die; true where it does. */
static bool dies_here(struct sim *s)
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
	} else if (!strncmp(fact, "invalidated", 11)) {
		sim_probe(s, PROBE_invalidated);
		if (m->invalidated_at == m->steps)
			sim_probe(s, PROBE_upstream);
		m->invalidated_at = m->steps;
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

	sim_trace(s, "fact %s", fact);
	*DAG_APPEND(m->facts, m->fact_count, m->fact_cap) = base_strdup(fact);
	oracle_fact(s, fact);
	probe_fact(s, fact);
}

/* ---- effects ---- */

static struct manager_node *node_by_number(struct sim *s, uint32_t number)
{
	struct manager_node *n = number < s->node_count ? s->manager->by_number[number] : NULL;

	return n && n->up && n->number == number ? n : NULL;
}

static void send_attempt(struct sim *s, const struct jm_effect *e, Dagrun__Envelope__BodyCase body)
{
	struct manager_node *n = node_by_number(s, e->node);
	Dagrun__AttemptBatch batch = DAGRUN__ATTEMPT_BATCH__INIT;
	Dagrun__Attempt item = DAGRUN__ATTEMPT__INIT, *items[] = {&item};
	Dagrun__Envelope envelope = DAGRUN__ENVELOPE__INIT;

	if (!n)
		return;
	item.vertex = e->vertex;
	item.attempt = e->attempt;
	batch.n_attempts = 1;
	batch.attempts = items;
	envelope.body_case = body;
	envelope.kill = &batch;
	sim_send(s, SIM_MANAGER, &n->session, &envelope);
}

static void send_verify(struct sim *s, const struct jm_effect *e)
{
	struct manager_node *n = node_by_number(s, e->node);
	Dagrun__Verify verify = DAGRUN__VERIFY__INIT;
	SIM_ENVELOPE(envelope, VERIFY);

	if (!n)
		return;
	verify.vertex = e->vertex;
	verify.attempt = e->attempt;
	envelope.verify = &verify;
	sim_send(s, SIM_MANAGER, &n->session, &envelope);
}

static void send_want(struct sim *s, const struct jm_effect *e)
{
	struct manager_node *n = node_by_number(s, e->node);
	Dagrun__Want want = DAGRUN__WANT__INIT;
	SIM_ENVELOPE(envelope, WANT);

	if (!n)
		return;
	want.slots = e->shares;
	want.least = e->least;
	envelope.want = &want;
	sim_send(s, SIM_MANAGER, &n->session, &envelope);
}

static void fill_input(
	struct sim *s, const struct graph_stage *stage, uint32_t index, uint32_t port, Dagrun__Input *in)
{
	const struct graph_edge *edge =
		stage->in[port].edge == GRAPH_NONE ? NULL : s->use->edges[stage->in[port].edge];
	const struct graph_stage *from = edge ? s->use->stages[edge->from] : NULL;

	dagrun__input__init(in);
	if (!edge)
		return;
	in->part = edge_part(edge, index);
	in->channel = edge->channel;
	in->n_vertices = edge_producers(edge, index);
	in->vertices = base_alloc((in->n_vertices + 1) * sizeof(*in->vertices));
	if (from->kind != GRAPH_INPUT) {
		in->n_attempts = in->n_nodes = in->n_vertices;
		in->attempts = base_alloc((in->n_vertices + 1) * sizeof(*in->attempts));
		in->nodes = base_alloc((in->n_vertices + 1) * sizeof(*in->nodes));
	}
	for (uint32_t i = 0; i < in->n_vertices; i++) {
		enum jm_state state;

		in->vertices[i] = from->first_vertex + edge_producer(edge, index, i);
		if (in->n_attempts)
			jm_current(s->manager->jm, in->vertices[i], &in->attempts[i], &in->nodes[i], &state);
	}
}

static void send_start(struct sim *s, const struct jm_effect *e)
{
	struct manager_node *n = node_by_number(s, e->node);
	const struct graph_stage *stage = s->use->stages[s->use->vertex_stage[e->vertex]];
	Dagrun__StartBatch batch = DAGRUN__START_BATCH__INIT;
	Dagrun__Start start = DAGRUN__START__INIT, *starts[] = {&start};
	Dagrun__Input inputs[GRAPH_PORTS_MAX], *pointers[GRAPH_PORTS_MAX];
	SIM_ENVELOPE(envelope, START);

	if (!n)
		return;
	start.stage = stage->id;
	start.index = e->vertex - stage->first_vertex;
	start.attempt = e->attempt;
	start.shares = e->shares;
	start.n_inputs = stage->in_count;
	start.inputs = pointers;
	for (uint32_t p = 0; p < stage->in_count; p++) {
		pointers[p] = &inputs[p];
		fill_input(s, stage, start.index, p, &inputs[p]);
	}
	batch.epoch = s->manager->epoch;
	batch.n_starts = 1;
	batch.starts = starts;
	envelope.start = &batch;
	sim_send(s, SIM_MANAGER, &n->session, &envelope);
	for (uint32_t p = 0; p < stage->in_count; p++) {
		free(inputs[p].vertices);
		free(inputs[p].attempts);
		free(inputs[p].nodes);
	}
}

/* ---- outputs ---- */

static void fail_fetch(struct sim *s, uint32_t output, int error, const char *text)
{
	struct output *o = &s->manager->outputs[output];

	o->asked = false;
	step(s, &(struct jm_event){.kind = JM_FETCH_FAILED,
			.output = output,
			.vertex = o->vertex,
			.attempt = o->attempt,
			.error = error,
			.text = text});
}

static void ask_output(struct sim *s, uint32_t self, uint64_t output, uint64_t fetch)
{
	struct output *o = &s->manager->outputs[output];
	struct manager_node *n;
	Dagrun__Data d = DAGRUN__DATA__INIT;

	(void)self;
	if (!o->asked || o->fetch != fetch)
		return;
	n = node_by_number(s, o->node);
	if (!n || o->tries++ >= FETCH_TRIES) {
		fail_fetch(s, (uint32_t)output, DAG_EUNREACHABLE, "its node does not answer");
		return;
	}
	d.kind = DAGRUN__DATA_KIND__OPEN;
	d.channel = output;
	d.seq = fetch;
	d.vertex = o->vertex;
	d.attempt = o->attempt;
	sim_send_data(s, SIM_MANAGER, n->process, &d);
	sim_call(s, FETCH_AGAIN, SIM_MANAGER, true, ask_output, output, fetch);
}

static void start_fetch(struct sim *s, const struct jm_effect *e)
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
	o->tries = 0;
	o->fetch = ++m->last_fetch;
	sim_call(s, 0, SIM_MANAGER, true, ask_output, e->output, o->fetch);
}

void manager_data(struct sim *s, uint32_t from, const Dagrun__Data *d)
{
	struct sim_manager *m = s->manager;
	const struct graph_stage *stage;
	struct output *o;

	(void)from;
	if (d->channel >= s->use->output_count)
		return;
	o = &m->outputs[d->channel];
	if (!o->asked || o->fetch != d->seq)
		return;
	if (d->kind != DAGRUN__DATA_KIND__END || d->hash_low != d->hash_high) {
		fail_fetch(s, (uint32_t)d->channel,
			d->kind == DAGRUN__DATA_KIND__END ? DAG_ECORRUPT : d->error, "it is not whole");
		return;
	}
	stage = s->use->stages[s->use->outputs[d->channel].stage];
	o->values[o->vertex - stage->first_vertex] = d->hash_low;
	o->asked = false;
	step(s, &(struct jm_event){.kind = JM_FETCHED,
			.output = (uint32_t)d->channel,
			.vertex = o->vertex,
			.attempt = o->attempt});
}

/* One file after the other gets its name; those of an earlier run have theirs. */
static void publish_next(struct sim *s, uint32_t self, uint64_t a, uint64_t b)
{
	struct sim_manager *m = s->manager;
	uint32_t i = m->published;

	(void)self;
	(void)a;
	(void)b;
	if (dies_here(s)) {
		if (i)
			sim_probe(s, PROBE_publication_cut);
		return;
	}
	if (i < s->use->output_count) {
		oracle_visible(s, i, m->outputs[i].values, s->use->stages[s->use->outputs[i].stage]->width);
		m->published++;
		sim_call(s, DAG_MS, SIM_MANAGER, true, publish_next, 0, 0);
		return;
	}
	step(s, &(struct jm_event){.kind = JM_PUBLISHED});
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
	if (dies_here(s))
		return;
	oracle_effect(s, e);
	switch (e->kind) {
	case JM_ACK:
		send_attempt(s, e, DAGRUN__ENVELOPE__BODY_ACK_DONE);
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
	case JM_FETCH:
		start_fetch(s, e);
		break;
	case JM_PUBLISH:
		sim_call(s, 0, SIM_MANAGER, true, publish_next, 0, 0);
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
		step(s, &(struct jm_event){.kind = JM_TICK});
}

static void note_probes(struct sim *s, const char *text)
{
	if (strstr(text, "other bytes than the attempt before"))
		sim_probe(s, PROBE_differs);
	if (strstr(text, "it read other bytes"))
		sim_probe(s, PROBE_consumer_again);
	if (strstr(text, " is avoided"))
		sim_probe(s, PROBE_avoided);
}

static void step(struct sim *s, const struct jm_event *event)
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
			dies_here(s);
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

/* ---- nodes ---- */

static void node_gone(struct sim *s, struct manager_node *n, bool died)
{
	if (n->gone)
		return;
	n->gone = true;
	n->gone_at = s->now;
	n->session.open = false;
	sim_trace(s, "manager: n%u is gone%s", n->process - SIM_FIRST_NODE, died ? ", its daemon ended" : "");
	if (!n->up)
		return;
	n->up = false;
	for (uint32_t i = 0; i < s->use->output_count; i++)
		if (s->manager->outputs[i].asked && s->manager->outputs[i].node == n->number)
			fail_fetch(s, i, DAG_EUNREACHABLE, "its node is gone");
	step(s, &(struct jm_event){.kind = JM_NODE_DOWN, .node = n->number, .flag = died});
}

static void dial(struct sim *s, struct manager_node *n, uint64_t incarnation)
{
	Dagrun__JobOpen open = DAGRUN__JOB_OPEN__INIT;
	SIM_ENVELOPE(e, JOB_OPEN);

	sim_trace(s, "manager: dials n%u", n->process - SIM_FIRST_NODE);
	if (n->gone)
		sim_probe(s, PROBE_came_back);
	n->dialled = true;
	n->gone = n->up = n->suspect = false;
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

static void send_peers(struct sim *s, struct manager_node *to, struct manager_node *peer)
{
	Dagrun__Peers peers = DAGRUN__PEERS__INIT;
	Dagrun__Peer item = DAGRUN__PEER__INIT, *items[] = {&item};
	SIM_ENVELOPE(e, PEERS);

	item.node = peer->number;
	item.id = base_format("n%u", peer->process - SIM_FIRST_NODE);
	peers.n_peers = 1;
	peers.peers = items;
	e.peers = &peers;
	sim_send(s, SIM_MANAGER, &to->session, &e);
	free(item.id);
}

static void finish_resume(struct sim *s)
{
	struct sim_manager *m = s->manager;

	if (!m->resuming || (jm_expected_nodes(m->jm) && s->now - m->booted < RESUME_PATIENCE))
		return;
	m->resuming = false;
	sim_probe(s, PROBE_resumed);
	step(s, &(struct jm_event){.kind = JM_RESUMED});
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
	char name[16];

	if (n->up)
		return;
	snprintf(name, sizeof(name), "n%u", n->process - SIM_FIRST_NODE);
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
	step(s, &(struct jm_event){.kind = JM_NODE_UP,
			.node = n->number,
			.name = name,
			.shares = ready->slots,
			.found = n->found,
			.found_count = n->found_count});
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
		step(s, &(struct jm_event){.kind = JM_ENDED,
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
	default:
		break;
	}
	if (!n->up)
		return;
	switch (e->body_case) {
	case DAGRUN__ENVELOPE__BODY_GRANT:
		step(s, &(struct jm_event){
				.kind = JM_NODE_GRANT, .node = n->number, .shares = e->grant->slots});
		break;
	case DAGRUN__ENVELOPE__BODY_DONE:
		on_done(s, n, e->done);
		break;
	case DAGRUN__ENVELOPE__BODY_VERIFIED:
		step(s, &(struct jm_event){.kind = JM_VERIFIED,
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

/* ---- time ---- */

static void look_around(struct sim *s)
{
	struct sim_manager *m = s->manager;
	struct judge_node *judged = base_alloc(s->node_count * sizeof(*judged));
	struct manager_node **nodes = base_alloc(s->node_count * sizeof(*nodes));
	size_t n = 0;

	for (uint32_t i = 0; i < s->node_count; i++)
		if (m->nodes[i].dialled && !m->nodes[i].gone) {
			judged[n] = (struct judge_node){
				m->nodes[i].session.link.last_heard, !m->nodes[i].listed, JUDGE_LIVES};
			nodes[n++] = &m->nodes[i];
		}
	judge_look(&m->judge, s->now, m->names.open ? m->names.link.last_heard : DAG_NEVER, judged, n);
	if (m->judge.cut_off)
		sim_probe(s, PROBE_cut_off);
	for (size_t i = 0; i < n && !m->dead; i++) {
		bool suspect = judged[i].verdict != JUDGE_LIVES;

		if (nodes[i]->up && nodes[i]->suspect != suspect) {
			nodes[i]->suspect = suspect;
			step(s, &(struct jm_event){
					.kind = JM_NODE_SUSPECT, .node = nodes[i]->number, .flag = suspect});
		}
		if (judged[i].verdict == JUDGE_IS_DEAD && !m->dead) {
			if (m->judge.suspects * 3 > n)
				sim_probe(s, PROBE_many_dead);
			node_gone(s, nodes[i], false);
		}
	}
	free(judged);
	free(nodes);
}

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
	look_around(s);
	/* One that was given up may only have been out of reach. */
	for (uint32_t i = 0; i < s->node_count && !m->dead; i++)
		if (m->nodes[i].gone && m->nodes[i].listed && s->now - m->nodes[i].gone_at > DIAL_AGAIN)
			dial(s, &m->nodes[i], m->nodes[i].incarnation);
	if (!m->dead)
		finish_resume(s);
}

/* ---- starts and ends ---- */

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
	jm_new(&m->jm, &(struct jm_config){s->use, m->epoch});
	for (size_t i = 0; i < m->fact_count; i++)
		if (jm_replay(m->jm, m->facts[i]) < 0)
			sim_violate(s, "fact %zu cannot be replayed: %s", i + 1, m->facts[i]);
	m->resuming = m->epoch > 1;
	if (m->resuming) {
		if (jm_fate(m->jm) == JM_FATE_DECIDED)
			sim_probe(s, PROBE_publication_resumed);
		jm_replayed(m->jm);
		jm_check(m->jm);
	}
	m->booted = s->now;
	judge_init(&m->judge, s->now);
	m->names.open = false;
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
