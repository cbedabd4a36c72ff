/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon: attempts that take a while and then seal a value, what other nodes read of them, a lease, a
 * spool. */
#include "node.h"
#include "base/hash.h"
#include "daemon/core/slots.h"
#include "graph/graph.h"

#define LEASE (30 * DAG_SECOND)
#define LOOK_AGAIN (500 * DAG_MS)

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

struct attempt *node_find(struct sim_node *n, struct key key)
{
	struct attempt *a;

	HASH_FIND(hh, n->attempts, &key, sizeof(key), a);
	return a;
}

static void forget(struct sim_node *n, struct attempt *a)
{
	for (size_t i = 0; i < n->queue_count; i++)
		if (n->queue[i] == a) {
			memmove(n->queue + i, n->queue + i + 1, (n->queue_count - i - 1) * sizeof(*n->queue));
			n->queue_count--;
			break;
		}
	if (a->state == RUNNING)
		n->used -= a->shares;
	HASH_DEL(n->attempts, a);
	data_free(a);
	free(a->inputs);
	free(a);
}

/* ---- an attempt's life ---- */

static uint64_t inputs_digest(const struct attempt *a)
{
	struct buffer pairs = {0};
	uint64_t digest;

	for (size_t i = 0; i < a->input_count; i++) {
		uint32_t pair[2] = {a->inputs[i].vertex, a->inputs[i].attempt};

		if (!a->inputs[i].source && !a->inputs[i].again)
			buffer_append(&pairs, pair, sizeof(pair));
	}
	digest = hash_pairs((uint32_t *)pairs.data, pairs.len / (2 * sizeof(uint32_t)));
	buffer_fini(&pairs);
	return digest;
}

static void tell_done(struct sim *s, uint32_t self, const struct attempt *a)
{
	struct sim_node *n = node_of(s, self);
	Dagrun__DoneBatch batch = DAGRUN__DONE_BATCH__INIT;
	Dagrun__Done done = DAGRUN__DONE__INIT, *items[] = {&done};
	SIM_ENVELOPE(e, DONE);

	done.vertex = a->key.vertex;
	done.attempt = a->key.number;
	done.error = a->error;
	done.signal = a->signal;
	done.text = (char *)(a->text ? a->text : "");
	if (a->blamed) {
		done.blamed = true;
		done.blamed_vertex = a->inputs[a->blamed - 1].vertex;
		done.blamed_attempt = a->inputs[a->blamed - 1].attempt;
	}
	done.hash_low = done.hash_high = a->value;
	done.bytes = 1000;
	done.run_ns = a->run_ns;
	done.inputs = inputs_digest(a);
	batch.n_done = 1;
	batch.done = items;
	e.done = &batch;
	sim_send(s, self, &n->manager, &e);
}

static void run_queue(struct sim *s, uint32_t self);

static void end_attempt(struct sim *s, uint32_t self, struct attempt *a, int error, const char *text)
{
	struct sim_node *n = node_of(s, self);

	n->used -= a->shares;
	a->state = error ? FAILED : SEALED;
	a->error = error;
	a->text = text;
	a->run_ns = s->now - a->started;
	sim_trace(s, "n%u: %u attempt %x %s %s", self - SIM_FIRST_NODE, a->key.vertex, a->key.number,
		error ? "fails" : "seals", text ? text : "");
	if (!error) {
		uint32_t *vertices = base_alloc((a->input_count + 1) * sizeof(*vertices)),
			 *attempts = base_alloc((a->input_count + 1) * sizeof(*attempts));

		for (size_t i = 0; i < a->input_count; i++) {
			vertices[i] = a->inputs[i].vertex;
			attempts[i] = a->inputs[i].attempt;
		}
		oracle_sealed(s, a->key.vertex, a->key.number, a->value, vertices, attempts, a->input_count);
		free(vertices);
		free(attempts);
	}
	if (error)
		data_abandon(s, self, a->key);
	else
		data_sealed(s, self, a);
	tell_done(s, self, a);
	run_queue(s, self);
}

/* Vertices that give other bytes each time, drawn by the seed. */
static bool is_erratic(struct sim *s, uint32_t vertex)
{
	struct prng p = {s->options.seed ^ (uint64_t)vertex << 20};

	return s->faults[FAULT_NOT_DETERMINISTIC] && prng_below(&p, 1000) < s->rate[FAULT_NOT_DETERMINISTIC];
}

static void finish_if_whole(struct sim *s, uint32_t self, struct attempt *a)
{
	struct sim_node *n = node_of(s, self);
	uint64_t *values;

	if (!a->computed)
		return;
	for (size_t i = 0; i < a->input_count; i++)
		if (!a->inputs[i].have)
			return;
	if (n->full) {
		sim_probe(s, PROBE_disk_full);
		end_attempt(s, self, a, DAG_ENOSPC, "no space left");
		return;
	}
	values = base_alloc((a->input_count + 1) * sizeof(*values));
	for (size_t i = 0; i < a->input_count; i++)
		values[i] = channel_value(a->inputs[i].value, a->inputs[i].part);
	a->value = vertex_value(a->key.vertex, values, a->input_count);
	if (is_erratic(s, a->key.vertex))
		a->value ^= a->key.number * 0x9e3779b97f4a7c15u;
	free(values);
	end_attempt(s, self, a, 0, NULL);
}

static struct attempt *of_timer(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = node_find(node_of(s, self), (struct key){(uint32_t)(key >> 32), (uint32_t)key});

	return a && a->state == RUNNING && a->instance == instance ? a : NULL;
}

static uint64_t key_of(const struct attempt *a)
{
	return (uint64_t)a->key.vertex << 32 | a->key.number;
}

static void on_computed(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = of_timer(s, self, key, instance);

	if (!a)
		return;
	a->computed = true;
	finish_if_whole(s, self, a);
}

static void on_timeout(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = of_timer(s, self, key, instance);

	if (!a)
		return;
	sim_probe(s, PROBE_timed_out);
	end_attempt(s, self, a, DAG_ETIMEDOUT, "its time is over");
}

static void on_vertex_crash(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = of_timer(s, self, key, instance);

	if (!a)
		return;
	a->signal = 9;
	end_attempt(s, self, a, DAG_ESIGNAL, "killed by signal 9");
}

static void ask(struct sim *s, uint32_t self, const struct attempt *a, size_t i, bool open)
{
	const struct sim_node *n = node_of(s, self);
	const struct input *in = &a->inputs[i];
	Dagrun__Data d = DAGRUN__DATA__INIT;

	d.vertex = in->vertex;
	d.attempt = in->attempt;
	d.channel = i;
	d.reader = a->key.vertex;
	d.reader_port = a->key.number;
	d.stream = in->stream;
	d.part = in->part;
	if (in->node < n->peer_count && n->peers[in->node])
		reading_ask(s, self, n->peers[in->node], &in->reading, open, &d);
}

static void on_input(struct sim *s, uint32_t self, struct attempt *a, size_t i, const Dagrun__Data *d)
{
	struct input *in = &a->inputs[i];
	enum reading_verdict verdict;

	if (in->have)
		return;
	verdict = reading_take(s, &in->reading, d);
	if (verdict == READING_AGAIN || verdict == READING_CREDIT)
		ask(s, self, a, i, verdict == READING_AGAIN);
	if (verdict < READING_DONE)
		return;
	if (verdict == READING_DONE) {
		in->have = true;
		in->value = in->reading.sum;
		finish_if_whole(s, self, a);
		return;
	}
	a->blamed = i + 1;
	end_attempt(s, self, a, verdict == READING_DAMAGED ? DAG_ECORRUPT : d->error, "its input");
}

static void look_at_inputs(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = of_timer(s, self, key, instance);
	bool waiting = false;

	for (size_t i = 0; a && i < a->input_count; i++) {
		enum fetch_action action =
			a->inputs[i].have ? FETCH_NOTHING : fetch_tick(&a->inputs[i].reading.fetch, s->now);

		waiting = waiting || !a->inputs[i].have;
		if (action == FETCH_OPEN)
			ask(s, self, a, i, true);
		if (action == FETCH_UNREACHABLE) {
			a->blamed = i + 1;
			end_attempt(s, self, a, DAG_EUNREACHABLE, "its input's node does not answer");
			return;
		}
	}
	if (waiting)
		sim_call(s, LOOK_AGAIN, self, true, look_at_inputs, key, instance);
}

/* A block of what a pipe carries, while the vertex runs. */
static void on_emit(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = of_timer(s, self, key, instance);

	if (a)
		data_emit(s, self, a);
}

static bool feeds_pipe(const struct sim *s, uint32_t vertex)
{
	for (size_t i = 0; i < s->use->edge_count; i++)
		if (s->use->edges[i]->from == s->use->vertex_stage[vertex] &&
			(s->use->edges[i]->channel == GRAPH_PIPE || s->use->edges[i]->channel == GRAPH_FIFO))
			return true;
	return false;
}

static dag_instant draw_time(struct sim *s, uint32_t vertex)
{
	struct prng p = {s->options.seed + s->use->vertex_stage[vertex]};
	dag_instant base = s->options.vertex_time ? s->options.vertex_time
						  : (20 + (dag_instant)prng_below(&p, 1500)) * DAG_MS;
	struct prng short_ones = {s->options.seed ^ 0xc4a1};

	/* In a quarter of the runs they are so short that they are started one behind the other. */
	if (!s->options.vertex_time && prng_below(&short_ones, 4) == 0)
		base /= 1000;
	return base / 2 + (dag_instant)sim_draw(s, (uint64_t)base);
}

static void start_attempt(struct sim *s, uint32_t self, struct attempt *a)
{
	struct sim_node *n = node_of(s, self);
	dag_instant time = draw_time(s, a->key.vertex);
	uint64_t key = key_of(a), instance = a->instance;

	sim_trace(s, "n%u: %u attempt %x runs", self - SIM_FIRST_NODE, a->key.vertex, a->key.number);
	a->state = RUNNING;
	a->started = s->now;
	n->used += a->shares;
	s->attempts++;
	if (sim_chance(s, FAULT_VERTEX_CRASH))
		sim_call(s, time / 2, self, true, on_vertex_crash, key, instance);
	if (sim_chance(s, FAULT_VERTEX_SLOW))
		time *= 20;
	/* Twice the same would end the job, as it should. */
	if (JM_ATTEMPT_NUMBER(a->key.number) == 1 && JM_ATTEMPT_EPOCH(a->key.number) == 1 &&
		sim_chance(s, FAULT_VERTEX_WEDGED))
		sim_call(s, 60 * DAG_SECOND, self, true, on_timeout, key, instance);
	else
		sim_call(s, time, self, true, on_computed, key, instance);
	for (uint32_t i = 1; i < data_blocks(s, a->key.vertex) && feeds_pipe(s, a->key.vertex); i++)
		sim_call(s, time * i / data_blocks(s, a->key.vertex), self, true, on_emit, key, instance);
	for (size_t i = 0; i < a->input_count; i++) {
		reading_begin(&a->inputs[i].reading, a->inputs[i].live, s->now);
		if (a->inputs[i].source) {
			a->inputs[i].have = true;
			a->inputs[i].value = source_value(a->inputs[i].vertex);
		} else
			ask(s, self, a, i, true);
	}
	sim_call(s, LOOK_AGAIN, self, true, look_at_inputs, key, instance);
}

/* What it reads has not ended here. */
static bool is_behind(struct sim_node *n, const struct attempt *a)
{
	for (size_t i = 0; i < a->input_count; i++) {
		const struct input *in = &a->inputs[i];
		const struct attempt *from =
			in->source || in->live ? NULL : node_find(n, (struct key){in->vertex, in->attempt});

		if (from && (from->state == QUEUED || from->state == RUNNING))
			return true;
	}
	return false;
}

static void run_queue(struct sim *s, uint32_t self)
{
	struct sim_node *n = node_of(s, self);

	for (size_t i = 0; i < n->queue_count && n->used + n->queue[i]->shares <= n->grant;) {
		struct attempt *a = n->queue[i];

		if (is_behind(n, a)) {
			i++;
			continue;
		}
		memmove(n->queue + i, n->queue + i + 1, (--n->queue_count - i) * sizeof(*n->queue));
		start_attempt(s, self, a);
	}
}

void node_data(struct sim *s, uint32_t self, uint32_t from, const Dagrun__Data *d)
{
	struct attempt *a;

	if (d->kind == DAGRUN__DATA_KIND__OPEN) {
		data_on_open(s, self, from, d);
		return;
	}
	if (d->kind == DAGRUN__DATA_KIND__CREDIT) {
		data_on_credit(s, self, from, d);
		return;
	}
	a = node_find(node_of(s, self), (struct key){d->vertex, d->attempt});
	if (a && a->state == RUNNING && d->channel < a->input_count)
		on_input(s, self, a, d->channel, d);
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
	a->chained = is_behind(n, a);
	if (a->chained)
		sim_probe(s, PROBE_chained);
	data_started(s, self, a);
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
		h->inputs = inputs_digest(a);
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
			tell_done(s, self, a);
}

static void forget_all(struct sim_node *n)
{
	struct attempt *a, *next;

	HASH_ITER(hh, n->attempts, a, next)
		forget(n, a);
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

static void on_peer_gone(struct sim *s, uint32_t self, uint32_t peer)
{
	struct sim_node *n = node_of(s, self);

	struct attempt *a, *next;

	HASH_ITER(hh, n->attempts, a, next)
		for (size_t k = 0; a->state == RUNNING && k < a->input_count; k++)
			if (a->inputs[k].node == peer && !a->inputs[k].have && !a->inputs[k].live) {
				sim_probe(s, PROBE_reader_freed);
				a->blamed = k + 1;
				end_attempt(s, self, a, DAG_EUNREACHABLE, "its input's node is gone");
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
		forget(n, a);
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
	case DAGRUN__ENVELOPE__BODY_PEERS:
		on_peers(s, self, e->peers);
		break;
	case DAGRUN__ENVELOPE__BODY_START:
		if (e->start->epoch != n->epoch) {
			sim_probe(s, PROBE_fenced);
			break;
		}
		for (size_t i = 0; i < e->start->n_starts; i++)
			on_start(s, self, e->start->starts[i]);
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
	case DAGRUN__ENVELOPE__BODY_JOB_END:
		forget_all(n);
		n->open = false;
		break;
	default:
		break;
	}
	run_queue(s, self);
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
	m.node = base_format("n%u", self - SIM_FIRST_NODE);
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
			end_attempt(s, self, a, DAG_ELOST, "the job manager was silent");
		}
}

void node_tick(struct sim *s, uint32_t self)
{
	struct sim_node *n = node_of(s, self);

	if (!n->names.open)
		register_node(s, self);
	session_beat(s, self, &n->names);
	session_beat(s, self, &n->manager);
	if (s->now - n->last_heard > LEASE)
		end_lease(s, self);
	data_tick(s, self);
	run_queue(s, self);
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
			forget(n, a);
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
			forget(n, a);
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
