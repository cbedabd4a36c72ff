/* SPDX-License-Identifier: Apache-2.0 */
/* The name server around its registry. */
#include "sim.h"

struct sim_names {
	struct registry registry;
	struct sim_session *sessions; /* of each process */
	bool watched;
	bool changed;
	dag_instant last_tick;
};

static void free_info(void *info)
{
	dagrun__register__free_unpacked(info, NULL);
}

void names_init(struct sim *s)
{
	s->names = base_alloc(sizeof(*s->names));
	s->names->sessions = base_alloc(s->process_count * sizeof(*s->names->sessions));
}

void names_boot(struct sim *s, uint32_t process, uint64_t a, uint64_t b)
{
	(void)a;
	(void)b;
	if (s->processes[process].up)
		return;
	sim_trace(s, "name server starts");
	process_start(s, process);
	registry_init(&s->names->registry, free_info);
	s->names->watched = false;
	s->names->last_tick = s->now;
}

void names_crash(struct sim *s)
{
	struct sim_names *n = s->names;

	if (!s->processes[SIM_NAMES].up)
		return;
	sim_trace(s, "name server dies");
	sim_probe(s, PROBE_names_gone);
	process_stop(s, SIM_NAMES);
	registry_fini(&n->registry);
	for (uint32_t i = 0; i < s->process_count; i++) {
		link_fini(&n->sessions[i].link);
		n->sessions[i].open = false;
	}
}

static void send_nodes(struct sim *s)
{
	struct sim_names *n = s->names;
	Dagrun__Nodes message = DAGRUN__NODES__INIT;
	Dagrun__Node *nodes = base_alloc((n->registry.count + 1) * sizeof(*nodes));
	SIM_ENVELOPE(e, NODES);

	message.nodes = base_alloc((n->registry.count + 1) * sizeof(*message.nodes));
	for (size_t i = 0; i < n->registry.count; i++) {
		dagrun__node__init(&nodes[i]);
		nodes[i].info = n->registry.nodes[i].info;
		nodes[i].suspect = n->registry.nodes[i].suspect;
		message.nodes[message.n_nodes++] = &nodes[i];
	}
	e.nodes = &message;
	sim_send(s, SIM_NAMES, &n->sessions[SIM_MANAGER], &e);
	free(message.nodes);
	free(nodes);
}

void names_tick(struct sim *s)
{
	struct sim_names *n = s->names;

	/* Its own stall is nobody's silence. */
	for (size_t i = 0; s->now - n->last_tick > DAG_SECOND && i < n->registry.count; i++)
		n->registry.nodes[i].heard = s->now;
	n->last_tick = s->now;
	n->changed = registry_expire(&n->registry, s->now) || n->changed;
	for (uint32_t i = 0; i < s->process_count; i++) {
		if (s->now - n->sessions[i].link.last_heard > REGISTRY_EXPIRY && i != SIM_MANAGER)
			n->sessions[i].open = false; /* a node that comes back registers again */
		session_beat(s, SIM_NAMES, &n->sessions[i]);
	}
	if (n->changed && n->watched)
		send_nodes(s);
	n->changed = false;
}

static char *node_name(const struct sim *s, uint32_t process)
{
	return sim_node_name(s, process - SIM_FIRST_NODE);
}

static void note_heard(struct sim *s, uint32_t from)
{
	char *name = node_name(s, from);

	if (from >= SIM_FIRST_NODE)
		s->names->changed |=
			registry_heard(&s->names->registry, s->now, name, s->processes[from].incarnation);
	free(name);
}

void names_envelope(struct sim *s, uint32_t from, const Dagrun__Envelope *e)
{
	struct sim_names *n = s->names;
	struct sim_session *session = &n->sessions[from];
	bool refused;

	if (e->session != session->link.session || !session->open) {
		if (e->body_case != DAGRUN__ENVELOPE__BODY_HELLO || e->seq != 1) {
			session_refuse(s, SIM_NAMES, from, e->session);
			return;
		}
		session_accept(s, SIM_NAMES, session, from, e->session);
		n->watched = n->watched && from != SIM_MANAGER;
	}
	note_heard(s, from);
	if (!session_take(s, SIM_NAMES, session, e, &refused))
		return;
	if (e->body_case == DAGRUN__ENVELOPE__BODY_REGISTER_NODE) {
		size_t len = dagrun__register__get_packed_size(e->register_node);
		unsigned char *bytes = base_alloc(len + 1);

		dagrun__register__pack(e->register_node, bytes);
		n->changed |= registry_put(&n->registry, s->now, e->register_node->node,
			e->register_node->incarnation, dagrun__register__unpack(NULL, len, bytes));
		free(bytes);
	} else if (e->body_case == DAGRUN__ENVELOPE__BODY_WATCH) {
		n->watched = true;
		send_nodes(s);
	}
}

void names_fini(struct sim *s)
{
	if (s->processes[SIM_NAMES].up)
		registry_fini(&s->names->registry);
	for (uint32_t i = 0; i < s->process_count; i++)
		link_fini(&s->names->sessions[i].link);
	free(s->names->sessions);
	free(s->names);
}
