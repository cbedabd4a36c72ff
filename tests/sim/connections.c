/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies beneath sessions and channels: connections, each dialled by one end. After one wrong byte, or
 * where a stranger answered, one is mute in both directions, without a word to anybody, until its dialler
 * gives it up by the real rule (wire/silence.c). The other end answers where it was spoken to last.
 */
#include "node.h"

#define ASK_AFTER (1 * DAG_SECOND)   /* of silence: whether anybody is there */
#define MUTE_PAUSE (20 * DAG_SECOND) /* where nothing else goes wrong: until a link may fall mute again */
#define STRANGERS 8u                 /* one of so many diallings is answered by one */

struct sim_connection {
	uint32_t number;   /* of its dialling; 0: never */
	uint32_t answered; /* the other end was spoken to last on that one */
	bool mute, reached, dialled_anew, used;
	dag_instant muted, heard, asked;
	struct silence silence;
};

static struct sim_connection *of(const struct sim *s, uint32_t dialler, uint32_t listener, bool data)
{
	size_t n = s->process_count;

	return &s->connections[((data ? n : 0) + dialler) * n + listener];
}

static bool is_dialled_by(const struct sim_message *m)
{
	if (m->data)
		return m->asks;
	return m->to == SIM_NAMES || (m->from == SIM_MANAGER && m->to >= SIM_FIRST_NODE);
}

static struct sim_connection *of_message(const struct sim *s, const struct sim_message *m)
{
	return is_dialled_by(m) ? of(s, m->from, m->to, m->data) : of(s, m->to, m->from, m->data);
}

void connections_init(struct sim *s)
{
	size_t n = s->process_count;

	if (s->faults[FAULT_MUTE])
		s->connections = base_alloc(2 * n * n * sizeof(*s->connections));
}

/* Others may break a link at any time; alone, it leaves time to dial anew. */
static bool may_fall_mute(const struct sim *s, const struct sim_connection *c)
{
	return !s->calm && !c->mute && (!s->only_mute || !c->muted || s->now - c->muted > MUTE_PAUSE);
}

static void fall_mute(struct sim *s, uint32_t dialler, uint32_t listener, bool data)
{
	struct sim_connection *c = of(s, dialler, listener, data);

	if (!may_fall_mute(s, c))
		return;
	sim_trace(s, "%s link %u -> %u falls mute", data ? "data" : "control", dialler, listener);
	c->mute = true;
	c->muted = s->now;
}

static void dial(struct sim *s, uint32_t dialler, uint32_t listener, bool data)
{
	struct sim_connection *c = of(s, dialler, listener, data);

	c->number++;
	c->mute = c->reached = c->dialled_anew = false;
	silence_begin(&c->silence, s->now);
	/* What is still on its way came over another connection. */
	s->last_delivery[(size_t)dialler * s->process_count + listener] = 0;
	s->last_delivery[(size_t)listener * s->process_count + dialler] = 0;
	if (sim_draw(s, STRANGERS) == 0)
		fall_mute(s, dialler, listener, data);
}

void connections_dialled(struct sim *s, uint32_t dialler, uint32_t listener)
{
	if (s->connections)
		dial(s, dialler, listener, false);
}

void connections_begin(struct sim *s, uint32_t process)
{
	for (uint32_t i = 0; s->connections && i < s->process_count; i++)
		for (int data = 0; data < 2; data++) {
			struct sim_connection *c = of(s, process, i, data);

			*c = (struct sim_connection){.number = c->number + 1, .muted = c->muted};
		}
}

/* ---- messages ---- */

bool connections_carry(struct sim *s, struct sim_message *m)
{
	const struct sim_connection *c;

	if (!s->connections)
		return true;
	c = of_message(s, m);
	m->connection = is_dialled_by(m) ? c->number : c->answered;
	return !c->mute;
}

bool connections_bring(struct sim *s, const struct sim_message *m)
{
	struct sim_connection *c;

	if (!s->connections)
		return true;
	c = of_message(s, m);
	if (is_dialled_by(m)) {
		c->answered = m->connection;
		return true;
	}
	if (c->mute || c->number != m->connection)
		return false;
	c->heard = s->now;
	c->reached = true;
	c->silence.hasted = false;
	if (c->dialled_anew)
		sim_probe(s, m->data                ? PROBE_mute_data
			     : m->from == SIM_NAMES ? PROBE_mute_names
						    : PROBE_mute_daemon);
	c->dialled_anew = false;
	return true;
}

/* ---- silence ---- */

bool connections_control_is_over(struct sim *s, uint32_t self, uint32_t peer, dag_instant heard)
{
	struct sim_connection *c = s->connections ? of(s, self, peer, false) : NULL;
	bool was_mute = c && c->mute;

	if (!c || !silence_is_over(&c->silence, heard, c->mute && !c->reached, s->now))
		return false;
	sim_trace(s, "%u dials %u anew", self, peer);
	dial(s, self, peer, false);
	c->dialled_anew = was_mute;
	return true;
}

void connections_use(struct sim *s, uint32_t self, uint32_t peer)
{
	struct sim_connection *c = s->connections ? of(s, self, peer, true) : NULL;

	if (!c || c->used)
		return;
	c->used = true;
	c->silence.since = s->now;
	if (!c->number)
		dial(s, self, peer, true);
}

static void ask_whether_there(struct sim *s, uint32_t self, uint32_t peer, struct sim_connection *c)
{
	Dagrun__Data d = DAGRUN__DATA__INIT;

	if (s->now - c->heard < ASK_AFTER || s->now - c->asked < ASK_AFTER)
		return;
	c->asked = s->now;
	sim_send_data(s, self, peer, true, &d);
}

bool connections_data_is_over(struct sim *s, uint32_t self, uint32_t peer, bool wanted)
{
	struct sim_connection *c = s->connections ? of(s, self, peer, true) : NULL;
	bool was_mute = c && c->mute;

	if (!c)
		return false;
	c->used = wanted;
	if (!wanted)
		return false;
	if (!silence_is_over(&c->silence, c->heard, !c->reached, s->now)) {
		ask_whether_there(s, self, peer, c);
		return false;
	}
	sim_trace(s, "%u dials the data of %u anew", self, peer);
	dial(s, self, peer, true);
	c->dialled_anew = was_mute;
	return true;
}

/* ---- the fault ---- */

void connections_fall_mute(struct sim *s)
{
	uint32_t n = s->node_count, node = SIM_FIRST_NODE + (uint32_t)sim_draw(s, n), reader = SIM_MANAGER,
		 first;

	switch (sim_draw(s, 4)) {
	case 0:
		fall_mute(s, SIM_MANAGER, node, false);
		break;
	case 1:
		fall_mute(s, sim_draw(s, n + 1) ? node : SIM_MANAGER, SIM_NAMES, false);
		break;
	default: /* one that is in use, if there is any */
		first = (uint32_t)sim_draw(s, (uint64_t)s->process_count * n);
		for (uint32_t i = 0; i < s->process_count * n; i++) {
			uint32_t pair = (first + i) % (s->process_count * n);

			reader = pair / n;
			node = SIM_FIRST_NODE + pair % n;
			if (of(s, reader, node, true)->used)
				break;
		}
		fall_mute(s, reader, node, true);
		break;
	}
}
