/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon: what its job manager says, a lease, a spool, its starts and ends. */
#include "node.h"
#include "daemon/core/slots.h"
#include "graph/graph.h"
#include "wire/starts.h"

#define LEASE (30 * DAG_SECOND)

uint32_t node_slots(const struct sim *s, uint32_t process)
{
	return node_of(s, process)->slots;
}

void nodes_init(struct sim *s)
{
	s->nodes = base_alloc(s->node_count * sizeof(*s->nodes));
	for (uint32_t i = 0; i < s->node_count; i++)
		s->nodes[i].slots = s->options.slots ? s->options.slots : 1 + (uint32_t)sim_draw(s, 4);
}

/* ---- the job manager ---- */

static void on_start(struct sim *s, uint32_t self, const Dagrun__Start *m)
{
	struct sim_node *n = node_of(s, self);
	uint32_t vertex = s->use->stages[m->stage]->first_vertex + m->index;
	struct attempt *a = node_find(n, (struct key){vertex, m->attempt});

	if (a)
		return;
	a = base_alloc(sizeof(*a));
	a->key = (struct key){vertex, m->attempt};
	a->shares = m->shares;
	a->instance = ++s->generations;
	for (size_t p = 0; p < m->n_inputs; p++)
		for (size_t c = 0; c < m->inputs[p]->n_vertices * DAG_MAX(m->inputs[p]->parts, 1u); c++) {
			const Dagrun__Input *in = m->inputs[p];
			uint32_t parts = DAG_MAX(in->parts, 1u);
			size_t i = c / parts;
			bool source = !in->n_attempts;

			*DAG_APPEND(a->inputs, a->input_count, a->input_cap) =
				(struct input){.vertex = in->vertices[i],
					.attempt = source ? 0 : in->attempts[i],
					.node = source ? 0 : in->nodes[i],
					.stream = in->stream,
					.part = in->part + (uint32_t)(c % parts),
					.again = c % parts > 0,
					.source = source,
					.live = in->channel == GRAPH_PIPE || in->channel == GRAPH_FIFO};
		}
	HASH_ADD(hh, n->attempts, key, sizeof(a->key), a);
	*DAG_APPEND(n->queue, n->queue_count, n->queue_cap) = a;
	a->chained = node_is_behind(n, a);
	if (a->chained)
		sim_probe(s, PROBE_chained);
	data_started(s, self, a);
}

static void on_starts(struct sim *s, uint32_t self, const Dagrun__StartBatch *m)
{
	struct arena arena = {0};
	Dagrun__Start **starts;
	size_t n;

	DAG_ASSERT(starts_unpack(m, &arena, &starts, &n) == 0);
	for (size_t i = 0; i < n; i++)
		on_start(s, self, starts[i]);
	arena_fini(&arena);
}

static void send_inventory(struct sim *s, uint32_t self)
{
	struct sim_node *n = node_of(s, self);
	Dagrun__Inventory inventory = DAGRUN__INVENTORY__INIT;
	Dagrun__JobReady ready = DAGRUN__JOB_READY__INIT;
	Dagrun__Held *items = base_alloc((HASH_COUNT(n->attempts) + 1) * sizeof(*items));
	struct attempt *a, *next;
	SIM_ENVELOPE(e, INVENTORY);

	inventory.held = base_alloc((HASH_COUNT(n->attempts) + 1) * sizeof(*inventory.held));
	HASH_ITER(hh, n->attempts, a, next) {
		Dagrun__Held *h = &items[inventory.n_held];

		dagrun__held__init(h);
		h->vertex = a->key.vertex;
		h->attempt = a->key.number;
		h->sealed = a->state == SEALED;
		h->hash_low = h->hash_high = a->value;
		h->inputs = node_inputs(a);
		inventory.held[inventory.n_held++] = h;
	}
	e.inventory = &inventory;
	sim_send(s, self, &n->manager, &e);
	free(inventory.held);
	free(items);
	e.body_case = DAGRUN__ENVELOPE__BODY_JOB_READY;
	ready.slots = n->slots * GRAPH_CPU_SHARES;
	e.job_ready = &ready;
	sim_send(s, self, &n->manager, &e);
	HASH_ITER(hh, n->attempts, a, next)
		if (!a->acked && a->state >= SEALED)
			node_tell(s, self, a);
}

static void forget_all(struct sim_node *n)
{
	struct attempt *a, *next;

	HASH_ITER(hh, n->attempts, a, next)
		node_forget(n, a);
}

static void on_job_open(struct sim *s, uint32_t self, const Dagrun__JobOpen *m)
{
	struct sim_node *n = node_of(s, self);

	if (m->epoch < n->epoch) {
		Dagrun__Fenced fenced = DAGRUN__FENCED__INIT;
		SIM_ENVELOPE(e, FENCED);

		sim_probe(s, PROBE_fenced);
		fenced.epoch = n->epoch;
		e.fenced = &fenced;
		sim_send(s, self, &n->manager, &e);
		return;
	}
	sim_trace(s, "n%u: job opened, epoch %u", self - SIM_FIRST_NODE, m->epoch);
	n->epoch = m->epoch;
	n->open = true;
	n->want = n->grant = 0;
	send_inventory(s, self);
	sources_ask_again(s, self);
}

static void on_want(struct sim *s, uint32_t self, uint32_t want, uint32_t least)
{
	struct sim_node *n = node_of(s, self);
	Dagrun__Grant grant = DAGRUN__GRANT__INIT;
	SIM_ENVELOPE(e, GRANT);

	n->want = want;
	n->least = least;
	slots_divide(n->slots * GRAPH_CPU_SHARES, &n->want, &n->least, &n->grant, 1);
	grant.slots = n->grant;
	e.grant = &grant;
	sim_send(s, self, &n->manager, &e);
}

static bool is_followed(const struct sim_node *n, const struct attempt *a)
{
	for (size_t i = 0; i < n->queue_count; i++)
		for (size_t k = 0; k < n->queue[i]->input_count; k++)
			if (n->queue[i]->inputs[k].vertex == a->key.vertex &&
				n->queue[i]->inputs[k].attempt == a->key.number)
				return true;
	return false;
}

static void on_recall(struct sim *s, uint32_t self, uint32_t shares)
{
	struct sim_node *n = node_of(s, self);

	for (size_t i = n->queue_count; i-- > 0 && shares;) {
		struct attempt *a = n->queue[i];

		if (s->use->gangs[s->use->gang_of[a->key.vertex]].count > 1 || node_is_behind(n, a) ||
			is_followed(n, a))
			continue;
		sim_probe(s, PROBE_given_back);
		shares -= DAG_MIN(shares, a->shares);
		node_unqueue(n, i);
		a->state = FAILED;
		a->error = DAG_ECANCELED;
		node_tell(s, self, a);
	}
}

static void on_peer_gone(struct sim *s, uint32_t self, uint32_t peer)
{
	struct sim_node *n = node_of(s, self);

	struct attempt *a, *next;

	HASH_ITER(hh, n->attempts, a, next)
		for (size_t k = 0; a->state == RUNNING && k < a->input_count; k++)
			if (!a->inputs[k].source && a->inputs[k].node == peer && !a->inputs[k].have &&
				!a->inputs[k].live) {
				sim_probe(s, PROBE_reader_freed);
				a->blamed = k + 1;
				node_end(s, self, a, DAG_EUNREACHABLE, "its input's node is gone");
			}
}

static void on_peers(struct sim *s, uint32_t self, const Dagrun__Peers *m)
{
	struct sim_node *n = node_of(s, self);

	for (size_t i = 0; i < m->n_peers; i++) {
		if (m->peers[i]->gone)
			on_peer_gone(s, self, m->peers[i]->node);
		while (n->peer_count <= m->peers[i]->node)
			DAG_APPEND(n->peers, n->peer_count, n->peer_cap);
		n->peers[m->peers[i]->node] =
			(uint32_t)strtoul(m->peers[i]->id + 1, NULL, 10) + SIM_FIRST_NODE;
	}
}

static void on_attempts(struct sim *s, uint32_t self, const Dagrun__AttemptBatch *m, bool kill)
{
	struct sim_node *n = node_of(s, self);

	for (size_t i = 0; i < m->n_attempts; i++) {
		struct key key = {m->vertices[i], m->attempts[i]};
		struct attempt *a = node_find(n, key);

		if (!a)
			continue;
		a->acked = true;
		if (!kill && a->state != FAILED)
			continue;
		if (a->chained && a->state == QUEUED)
			sim_probe(s, PROBE_chain_broken);
		data_abandon(s, self, key);
		node_forget(n, a);
	}
}

static void on_trim(struct sim_node *n, const Dagrun__Trim *m)
{
	struct attempt *a, *next;

	HASH_ITER(hh, n->attempts, a, next)
		if (a->key.vertex >= m->first_vertex && a->key.vertex - m->first_vertex < m->vertices &&
			a->state == SEALED && m->stream < GRAPH_PORTS_MAX)
			a->trimmed[m->stream] = DAG_MAX(a->trimmed[m->stream], m->parts);
}

static bool is_trimmed(const struct attempt *a)
{
	for (size_t i = 0; i < GRAPH_PORTS_MAX; i++)
		if (a->trimmed[i])
			return true;
	return false;
}

static void on_verify(struct sim *s, uint32_t self, const Dagrun__Verify *m)
{
	struct sim_node *n = node_of(s, self);
	struct attempt *a = node_find(n, (struct key){m->vertex, m->attempt});
	Dagrun__Verified verified = DAGRUN__VERIFIED__INIT;
	SIM_ENVELOPE(e, VERIFIED);

	verified.vertex = m->vertex;
	verified.attempt = m->attempt;
	verified.error = !a || a->state != SEALED || is_trimmed(a) ? DAG_EMISSING
			 : a->damaged                              ? DAG_ECORRUPT
								   : 0;
	sim_probe(s, verified.error == DAG_ECORRUPT ? PROBE_corrupt_found : PROBE_intact);
	e.verified = &verified;
	sim_send(s, self, &n->manager, &e);
}

static void on_manager(struct sim *s, uint32_t self, const Dagrun__Envelope *e)
{
	struct sim_node *n = node_of(s, self);

	n->last_heard = s->now;
	slots_divide(n->slots * GRAPH_CPU_SHARES, &n->want, &n->least, &n->grant, 1);
	if (e->body_case == DAGRUN__ENVELOPE__BODY_JOB_OPEN)
		on_job_open(s, self, e->job_open);
	if (!n->open)
		return;
	switch (e->body_case) {
	case DAGRUN__ENVELOPE__BODY_WANT:
		on_want(s, self, e->want->slots, e->want->least);
		break;
	case DAGRUN__ENVELOPE__BODY_RECALL:
		on_recall(s, self, e->recall->slots);
		break;
	case DAGRUN__ENVELOPE__BODY_PEERS:
		on_peers(s, self, e->peers);
		break;
	case DAGRUN__ENVELOPE__BODY_START:
		if (e->start->epoch != n->epoch) {
			sim_probe(s, PROBE_fenced);
			break;
		}
		on_starts(s, self, e->start);
		break;
	case DAGRUN__ENVELOPE__BODY_ACK_DONE:
		on_attempts(s, self, e->ack_done, false);
		break;
	case DAGRUN__ENVELOPE__BODY_KILL:
		on_attempts(s, self, e->kill, true);
		break;
	case DAGRUN__ENVELOPE__BODY_TRIM:
		on_trim(n, e->trim);
		break;
	case DAGRUN__ENVELOPE__BODY_VERIFY:
		on_verify(s, self, e->verify);
		break;
	case DAGRUN__ENVELOPE__BODY_SOURCE_DATA:
		source_take(s, self, e->source_data);
		break;
	case DAGRUN__ENVELOPE__BODY_JOB_END:
		forget_all(n);
		n->open = false;
		break;
	default:
		break;
	}
	node_run(s, self);
}

void node_envelope(struct sim *s, uint32_t self, uint32_t from, const Dagrun__Envelope *e)
{
	struct sim_node *n = node_of(s, self);
	bool refused;

	if (from == SIM_NAMES) {
		session_take(s, self, &n->names, e, &refused);
		if (refused)
			n->names.open = false; /* dialled anew by the tick */
		return;
	}
	if (e->session != n->manager.link.session || !n->manager.open) {
		if (e->body_case != DAGRUN__ENVELOPE__BODY_HELLO || e->seq != 1) {
			session_refuse(s, self, from, e->session);
			return;
		}
		session_accept(s, self, &n->manager, from, e->session);
		n->open = false;
	}
	if (session_take(s, self, &n->manager, e, &refused))
		on_manager(s, self, e);
	else if (n->open)
		n->last_heard = s->now;
}

/* ---- time, starts and ends ---- */

static void register_node(struct sim *s, uint32_t self)
{
	struct sim_node *n = node_of(s, self);
	Dagrun__Register m = DAGRUN__REGISTER__INIT;
	SIM_ENVELOPE(e, REGISTER_NODE);

	session_open(s, self, &n->names, SIM_NAMES);
	m.node = sim_node_name(s, self - SIM_FIRST_NODE);
	m.incarnation = s->processes[self].incarnation;
	m.slots = n->slots;
	e.register_node = &m;
	sim_send(s, self, &n->names, &e);
	free(m.node);
}

static void end_lease(struct sim *s, uint32_t self)
{
	struct sim_node *n = node_of(s, self);
	struct attempt *a, *next;

	n->grant = 0; /* until the job manager is heard again */
	HASH_ITER(hh, n->attempts, a, next)
		if (a->state == RUNNING) {
			sim_probe(s, PROBE_lease_over);
			node_end(s, self, a, DAG_ELOST, "the job manager was gone or silent");
		}
}

/* The kernel of the job manager's machine closes the connection of a process that ended. */
static void look_at_manager(struct sim *s, uint32_t self)
{
	struct sim_session *session = &node_of(s, self)->manager;
	const struct sim_process *peer = &s->processes[session->peer];
	bool told = !s->cut[(size_t)session->peer * s->process_count + self];

	if (session->open && told && (!peer->up || peer->incarnation != session->incarnation))
		link_closed(&session->link, s->now);
	link_look(&session->link);
}

void node_tick(struct sim *s, uint32_t self)
{
	struct sim_node *n = node_of(s, self);

	if (!n->names.open)
		register_node(s, self);
	session_beat(s, self, &n->names);
	session_beat(s, self, &n->manager);
	look_at_manager(s, self);
	if (s->now - n->last_heard > LEASE || link_is_cut(&n->manager.link))
		end_lease(s, self);
	data_tick(s, self);
	if (s->connections)
		node_look_at_links(s, self);
	node_run(s, self);
}

void node_boot(struct sim *s, uint32_t self, uint64_t a, uint64_t b)
{
	(void)a;
	(void)b;
	if (s->processes[self].up)
		return;
	sim_trace(s, "n%u starts", self - SIM_FIRST_NODE);
	process_start(s, self);
	node_of(s, self)->last_heard = s->now;
	register_node(s, self);
}

void node_crash(struct sim *s, uint32_t self, bool disk_too)
{
	struct sim_node *n = node_of(s, self);
	struct attempt *a, *next;

	if (!s->processes[self].up)
		return;
	sim_trace(s, "n%u dies%s", self - SIM_FIRST_NODE, disk_too ? " with its disk" : "");
	process_stop(s, self);
	HASH_ITER(hh, n->attempts, a, next)
		if (a->state != SEALED || disk_too)
			node_forget(n, a);
	n->used = n->epoch = 0;
	n->open = false;
	n->queue_count = n->parked_count = n->peer_count = 0;
	link_fini(&n->manager.link);
	link_fini(&n->names.link);
	n->manager.open = n->names.open = false;
}

void node_damage(struct sim *s, uint32_t self, bool lose)
{
	struct sim_node *n = node_of(s, self);
	uint64_t skip = HASH_COUNT(n->attempts) ? sim_draw(s, HASH_COUNT(n->attempts)) : 0;
	struct attempt *a, *next;

	HASH_ITER(hh, n->attempts, a, next) {
		if (skip-- || a->state != SEALED)
			continue;
		sim_trace(s, "n%u: %u attempt %x is %s", self - SIM_FIRST_NODE, a->key.vertex, a->key.number,
			lose ? "lost" : "damaged");
		if (lose && a->acked)
			node_forget(n, a);
		else
			a->damaged = true;
		return;
	}
}

void node_set_full(struct sim *s, uint32_t self, bool full)
{
	node_of(s, self)->full = full;
}

uint32_t nodes_left_over(const struct sim *s)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < s->node_count; i++) {
		struct attempt *a, *next;

		HASH_ITER(hh, s->nodes[i].attempts, a, next)
			left += s->processes[SIM_FIRST_NODE + i].up &&
				(a->state == RUNNING || manager_told_end(s, SIM_FIRST_NODE + i));
	}
	return left;
}

void nodes_fini(struct sim *s)
{
	for (uint32_t i = 0; i < s->node_count; i++) {
		struct sim_node *n = &s->nodes[i];

		forget_all(n);
		link_fini(&n->manager.link);
		link_fini(&n->names.link);
		free(n->queue);
		free(n->peers);
		free(n->parked);
	}
	free(s->nodes);
}
