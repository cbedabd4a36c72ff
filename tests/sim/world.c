/* SPDX-License-Identifier: Apache-2.0 */
/* Time, the network, and sessions over it. */
#include "sim.h"

#include <stdio.h>

const char *const sim_probe_texts[PROBE_COUNT] = {
#define X(name, text) text,
	SIM_PROBES(X)
#undef X
};

/* ---- what is drawn and told ---- */

uint64_t sim_draw(struct sim *s, uint64_t n)
{
	return prng_below(&s->prng, n);
}

bool sim_chance(struct sim *s, enum sim_fault fault)
{
	return s->faults[fault] && !s->calm && sim_draw(s, 1000) < s->rate[fault];
}

void sim_trace(struct sim *s, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	for (const char *c = text; *c; c++)
		s->trace_hash = (s->trace_hash ^ (unsigned char)*c) * 0x100000001b3u;
	s->trace_hash = (s->trace_hash ^ (uint64_t)s->now) * 0x100000001b3u;
	s->trace_lines++;
	if (s->options.trace)
		printf("%12.6f %s\n", (double)s->now / (double)DAG_SECOND, text);
	free(text);
}

void sim_violate(struct sim *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!s->violation)
		s->violation = base_vformat(format, args);
	va_end(args);
	sim_trace(s, "VIOLATION %s", s->violation);
}

/* ---- the queue: a binary heap ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->time != b->time ? a->time < b->time : a->seq < b->seq;
}

static void swap(struct sim_event *a, struct sim_event *b)
{
	struct sim_event t = *a;

	*a = *b;
	*b = t;
}

static void push(struct sim *s, struct sim_event event)
{
	size_t i = s->queue_count;

	*DAG_APPEND(s->queue, s->queue_count, s->queue_cap) = event;
	for (; i && is_before(&s->queue[i], &s->queue[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&s->queue[i], &s->queue[(i - 1) / 2]);
}

static struct sim_event pop(struct sim *s)
{
	struct sim_event top = s->queue[0];
	size_t i = 0;

	s->queue[0] = s->queue[--s->queue_count];
	for (;;) {
		size_t least = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < s->queue_count; child++)
			if (is_before(&s->queue[child], &s->queue[least]))
				least = child;
		if (least == i)
			return top;
		swap(&s->queue[i], &s->queue[least]);
		i = least;
	}
}

void sim_call(struct sim *s, dag_instant delay, uint32_t process, bool this_generation,
	void (*call)(struct sim *s, uint32_t process, uint64_t a, uint64_t b), uint64_t a, uint64_t b)
{
	push(s, (struct sim_event){.time = s->now + delay,
			.seq = ++s->seq,
			.kind = SIM_CALL,
			.process = process,
			.generation = this_generation ? s->processes[process].generation : 0,
			.call = call,
			.a = a,
			.b = b});
}

static void free_message(struct sim_message *m)
{
	if (m)
		free(m->bytes);
	free(m);
}

void world_fini(struct sim *s)
{
	for (size_t i = 0; i < s->queue_count; i++)
		free_message(s->queue[i].message);
	free(s->queue);
}

/* ---- processes ---- */

static void schedule_tick(struct sim *s, uint32_t process)
{
	push(s, (struct sim_event){.time = s->now + 250 * DAG_MS,
			.seq = ++s->seq,
			.kind = SIM_TICK,
			.process = process,
			.generation = s->processes[process].generation});
}

void process_start(struct sim *s, uint32_t process)
{
	struct sim_process *p = &s->processes[process];

	p->up = true;
	p->generation = ++s->generations;
	p->incarnation = prng_next(&s->prng) | 1;
	p->paused_until = 0;
	connections_begin(s, process);
	schedule_tick(s, process);
}

void process_stop(struct sim *s, uint32_t process)
{
	s->processes[process].up = false;
	s->processes[process].generation = ++s->generations;
}

static void deliver(struct sim *s, struct sim_message *m)
{
	if (!connections_bring(s, m))
		return;
	if (m->data) {
		Dagrun__Data *d = dagrun__data__unpack(NULL, m->len, m->bytes);

		DAG_ASSERT(d);
		if (d->kind == DAGRUN__DATA_KIND__DATA_NONE) {
			if (m->asks) /* whether anybody is there */
				sim_send_data(s, m->to, m->from, false, d);
		} else if (m->to == SIM_MANAGER)
			manager_data(s, m->from, d);
		else if (m->to >= SIM_FIRST_NODE)
			node_data(s, m->to, m->from, d);
		dagrun__data__free_unpacked(d, NULL);
	} else {
		Dagrun__Envelope *e = dagrun__envelope__unpack(NULL, m->len, m->bytes);

		DAG_ASSERT(e);
		if (m->to == SIM_MANAGER)
			manager_envelope(s, m->from, e);
		else if (m->to == SIM_NAMES)
			names_envelope(s, m->from, e);
		else
			node_envelope(s, m->to, m->from, e);
		dagrun__envelope__free_unpacked(e, NULL);
	}
}

static void run_event(struct sim *s, struct sim_event *e)
{
	switch (e->kind) {
	case SIM_DELIVER:
		deliver(s, e->message);
		break;
	case SIM_TICK:
		schedule_tick(s, e->process);
		if (e->process == SIM_MANAGER)
			manager_tick(s);
		else if (e->process == SIM_NAMES)
			names_tick(s);
		else
			node_tick(s, e->process);
		break;
	case SIM_CALL:
		e->call(s, e->process, e->a, e->b);
		break;
	}
}

bool sim_step(struct sim *s)
{
	struct sim_event e;
	const struct sim_process *p;

	if (!s->queue_count)
		return false;
	e = pop(s);
	s->now = DAG_MAX(s->now, e.time);
	p = &s->processes[e.process];
	if (e.generation && (e.generation != p->generation || !p->up)) {
		free_message(e.message);
		return true;
	}
	/* A stopped process finds everything when it goes on, in the order in which it came. */
	if (e.generation && p->paused_until > s->now) {
		e.time = p->paused_until;
		push(s, e);
		return true;
	}
	run_event(s, &e);
	free_message(e.message);
	return true;
}

/* ---- the network ---- */

static dag_instant draw_delay(struct sim *s, size_t link)
{
	dag_instant delay = 50000 + (dag_instant)sim_draw(s, 300000);

	if (sim_chance(s, FAULT_DELAY))
		delay += (dag_instant)sim_draw(s, 200) * DAG_MS;
	return delay + (s->calm ? 0 : s->link_delay[link]);
}

static void transmit(struct sim *s, const struct sim_message *m)
{
	size_t link = (size_t)m->from * s->process_count + m->to;
	dag_instant at = s->now + draw_delay(s, link);
	struct sim_message *copy;

	/* In order, as TCP is, but for what the proxy does. */
	if (!sim_chance(s, FAULT_REORDER)) {
		at = DAG_MAX(at, s->last_delivery[link] + 1);
		s->last_delivery[link] = at;
	}
	copy = base_alloc(sizeof(*copy));
	*copy = *m;
	copy->bytes = base_alloc(m->len + 1);
	memcpy(copy->bytes, m->bytes, m->len);
	push(s, (struct sim_event){.time = at,
			.seq = ++s->seq,
			.kind = SIM_DELIVER,
			.process = m->to,
			.generation = s->processes[m->to].generation,
			.message = copy});
}

static void send_message(struct sim *s, struct sim_message *m)
{
	s->messages++;
	if (!connections_carry(s, m) || s->cut[(size_t)m->from * s->process_count + m->to] ||
		!s->processes[m->to].up)
		return;
	if (sim_chance(s, FAULT_LOSS)) {
		sim_probe(s, PROBE_message_lost);
		return;
	}
	transmit(s, m);
	if (sim_chance(s, FAULT_DOUBLE)) {
		sim_probe(s, PROBE_message_doubled);
		transmit(s, m);
	}
}

void sim_send_data(struct sim *s, uint32_t from, uint32_t to, bool asks, Dagrun__Data *data)
{
	struct sim_message m = {.from = from,
		.to = to,
		.data = true,
		.asks = asks,
		.len = dagrun__data__get_packed_size(data)};

	m.bytes = base_alloc(m.len + 1);
	dagrun__data__pack(data, m.bytes);
	send_message(s, &m);
	free(m.bytes);
}

/* ---- sessions: engine/wire/session.c without sockets ---- */

static void send_bytes(
	struct sim *s, uint32_t self, const struct sim_session *session, unsigned char *bytes, size_t len)
{
	struct sim_message m = {.from = self, .to = session->peer, .len = len, .bytes = bytes};

	send_message(s, &m);
}

static unsigned char *pack_envelope(
	const struct sim_session *session, Dagrun__Envelope *e, uint64_t seq, size_t *ret_len)
{
	unsigned char *bytes;

	e->session = session->link.session;
	e->seq = seq;
	e->ack = session->link.received;
	e->server = session->dialled ? 0 : session->opening;
	*ret_len = dagrun__envelope__get_packed_size(e);
	bytes = base_alloc(*ret_len + 1);
	dagrun__envelope__pack(e, bytes);
	return bytes;
}

void sim_send(struct sim *s, uint32_t self, struct sim_session *session, Dagrun__Envelope *e)
{
	size_t len;
	unsigned char *bytes;

	if (!session->open)
		return;
	bytes = pack_envelope(session, e, link_next(&session->link), &len);
	send_bytes(s, self, session, bytes, len);
	link_sent(&session->link, bytes, len, s->now);
}

static void send_unnumbered(struct sim *s, uint32_t self, struct sim_session *session, Dagrun__Envelope *e)
{
	size_t len;
	unsigned char *bytes = pack_envelope(session, e, 0, &len);

	send_bytes(s, self, session, bytes, len);
	link_acked(&session->link, s->now);
	free(bytes);
}

void session_open(struct sim *s, uint32_t self, struct sim_session *session, uint32_t peer)
{
	Dagrun__Hello hello = DAGRUN__HELLO__INIT;
	SIM_ENVELOPE(e, HELLO);

	link_fini(&session->link);
	link_init(&session->link, prng_next(&s->prng), s->now);
	session->peer = peer;
	session->dialled = session->open = true;
	session->peer_opening = 0;
	connections_dialled(s, self, peer);
	hello.version_min = hello.version_max = 1;
	hello.incarnation = s->processes[self].incarnation;
	e.hello = &hello;
	sim_send(s, self, session, &e);
}

void session_accept(struct sim *s, uint32_t self, struct sim_session *session, uint32_t peer, uint64_t id)
{
	link_fini(&session->link);
	link_init(&session->link, id, s->now);
	session->peer = peer;
	session->incarnation = s->processes[peer].incarnation;
	session->open = true;
	session->opening = s->processes[self].incarnation + ++s->openings;
}

void session_beat(struct sim *s, uint32_t self, struct sim_session *session)
{
	Dagrun__Envelope heartbeat = DAGRUN__ENVELOPE__INIT;
	const struct link_message *repeat;
	size_t n;

	if (!session->open)
		return;
	if (session->dialled && connections_control_is_over(s, self, session->peer, session->link.last_heard))
		link_dialled(&session->link, s->now);
	n = link_repeat(&session->link, s->now, &repeat);
	for (size_t i = 0; i < n; i++) {
		sim_probe(s, PROBE_repeated);
		send_bytes(s, self, session, repeat[i].data, repeat[i].len);
	}
	if (s->now - session->link.last_sent >= LINK_HEARTBEAT ||
		session->link.received > session->link.ack_sent)
		send_unnumbered(s, self, session, &heartbeat);
}

void session_refuse(struct sim *s, uint32_t self, uint32_t peer, uint64_t id)
{
	struct sim_session session = {.peer = peer, .open = true};
	Dagrun__Refused refused = DAGRUN__REFUSED__INIT;
	SIM_ENVELOPE(e, REFUSED);

	session.link.session = id;
	refused.reason = "no such session";
	e.refused = &refused;
	sim_probe(s, PROBE_session_refused);
	send_unnumbered(s, self, &session, &e);
}

bool session_take(struct sim *s, uint32_t self, struct sim_session *session, const Dagrun__Envelope *e,
	bool *ret_refused)
{
	Dagrun__Envelope heartbeat = DAGRUN__ENVELOPE__INIT;

	*ret_refused = false;
	if (!session->open || e->session != session->link.session)
		return false;
	if (session->dialled && (e->body_case == DAGRUN__ENVELOPE__BODY_REFUSED ||
					(session->peer_opening && e->server != session->peer_opening))) {
		*ret_refused = true;
		session->open = false;
		return false;
	}
	session->peer_opening = e->server;
	if (link_receive(&session->link, e->seq, e->ack, s->now) != LINK_DELIVER)
		return false;
	if (link_owes_ack(&session->link))
		send_unnumbered(s, self, session, &heartbeat);
	return true;
}
