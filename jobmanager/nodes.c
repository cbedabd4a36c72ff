/* SPDX-License-Identifier: Apache-2.0 */
/* The name server says which nodes there are; here they are dialled, listened to, and judged. */
#include "shell.h"
#include "os/os.h"

#include <stdio.h>

struct node *nodes_find(struct manager *m, uint32_t number)
{
	for (struct node *n = m->nodes; n; n = n->next)
		if (n->number == number && !n->gone)
			return n;
	return NULL;
}

/* ---- who lives ---- */

static void send_watch(struct manager *m)
{
	Dagrun__Watch watch = DAGRUN__WATCH__INIT;
	SESSION_ENVELOPE(e, WATCH);

	e.watch = &watch;
	session_send(m->ns, &e);
}

static void node_gone(struct node *node, const char *why, bool died)
{
	struct manager *m = node->manager;

	if (node->gone)
		return;
	node->gone = true;
	node->gone_at = os_now();
	if (!node->up)
		return;
	progress_say(m, "node %s: %s", node->id, why);
	if (m->ns)
		send_watch(m); /* a newer one of its name may have been passed over while this was known */
	outputs_node_gone(m, node->number);
	manager_step(m, &(struct jm_event){.kind = JM_NODE_DOWN, .node = node->number, .flag = died});
}

/* Who is in the midst of reading from there would find out by itself, but late. */
static void tell_gone(struct manager *m)
{
	struct node **gone = NULL;
	size_t n = 0, cap = 0;

	for (struct node *node = m->nodes; node; node = node->next)
		if (node->gone && node->up && !node->told_gone) {
			node->told_gone = true;
			*DAG_APPEND(gone, n, cap) = node;
		}
	for (struct node *to = n ? m->nodes : NULL; to; to = to->next)
		if (to->up && !to->gone)
			nodes_send_peers(to, gone, n);
	free(gone);
}

static void on_refused(void *ctx, struct session *s, const char *text)
{
	struct node *node = ctx;
	struct manager *m = node->manager;

	(void)s;
	/* Ours is never started anew: it has not taken what it was told. */
	if (m->daemon && !m->ending)
		manager_abort(m, DAG_ELIMIT, "the job cannot go on: %s", text);
	node_gone(node, text, true); /* another process answers under its name */
}

struct probe {
	uv_tcp_t tcp;
	uv_connect_t connect;
	struct node *node;
};

static void on_probe_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_probed(uv_connect_t *connect, int status)
{
	struct probe *p = connect->data;

	if (p->node) {
		p->node->probe = NULL;
		/* The machine answers and nobody listens there: the daemon has ended. */
		if (status == UV_ECONNREFUSED)
			node_gone(p->node, "its daemon has ended", true);
	}
	uv_close((uv_handle_t *)&p->tcp, on_probe_closed);
}

/* Sees whether the daemon still listens. */
static void probe_node(struct node *node)
{
	struct sockaddr_storage address;
	socklen_t len;
	struct probe *p;

	/* To look a name up could take long. */
	if (node->gone || node->probe || node->manager->ending || endpoint_is_named(node->control) ||
		endpoint_address(node->control, &address, &len) != 0)
		return;
	p = base_alloc(sizeof(*p));
	p->node = node;
	p->connect.data = p->tcp.data = p;
	node->probe = p;
	uv_tcp_init(&node->manager->loop, &p->tcp);
	if (uv_tcp_connect(&p->connect, &p->tcp, (struct sockaddr *)&address, on_probed) < 0) {
		node->probe = NULL;
		uv_close((uv_handle_t *)&p->tcp, on_probe_closed);
	}
}

/* The connection broke. A process that is being killed may still listen for a moment, so it is asked some
 * times. */
static void on_disconnected(void *ctx, struct session *s)
{
	struct node *node = ctx;

	(void)s;
	node->lost_at = os_now();
	probe_node(node);
}

static const struct session_handlers node_handlers = {
	.on_message = nodes_hear, .on_refused = on_refused, .on_disconnected = on_disconnected};

static void judge(struct manager *m, dag_instant now)
{
	struct detector_node *judged = NULL;
	struct node **nodes = NULL;
	size_t n = 0, cap = 0, node_cap = 0, count;

	for (struct node *node = m->nodes; node; node = node->next) {
		if (node->gone || !node->session)
			continue;
		/* What is heard soon after may have come before: it waited to be read. */
		if (node->lost_at && session_last_heard(node->session) > node->lost_at + DAG_SECOND)
			node->lost_at = 0;
		if (node->lost_at)
			probe_node(node);
		count = n;
		*DAG_APPEND(nodes, count, node_cap) = node;
		*DAG_APPEND(judged, n, cap) = (struct detector_node){
			session_last_heard(node->session), !node->listed, DETECTOR_LIVES};
	}
	detector_look(&m->detector, now, m->ns ? session_last_heard(m->ns) : DAG_NEVER, judged, n);
	if (m->detector.cut_off != m->cut_off) {
		m->cut_off = m->detector.cut_off;
		progress_say(
			m, m->cut_off ? "nobody is heard, neither the name server nor any node: this machine "
					"seems to be cut off; the job waits"
				      : "somebody is heard again; the job goes on");
	}
	for (size_t i = 0; i < n && !m->ending; i++) {
		bool suspect = judged[i].verdict != DETECTOR_LIVES;

		if (nodes[i]->up && nodes[i]->suspect != suspect) {
			nodes[i]->suspect = suspect;
			manager_step(m,
				&(struct jm_event){
					.kind = JM_NODE_SUSPECT, .node = nodes[i]->number, .flag = suspect});
		}
		if (judged[i].verdict == DETECTOR_IS_DEAD)
			node_gone(nodes[i], "no sign of life", false);
	}
	free(judged);
	free(nodes);
}

/* ---- dialling ---- */

static void free_node(struct node *n)
{
	if (n->probe)
		n->probe->node = NULL;
	session_destroy(&n->session);
	arena_fini(&n->arena);
	for (uint32_t i = 0; i < n->label_count; i++) {
		free((char *)n->labels[i].name);
		free((char *)n->labels[i].value);
	}
	free(n->labels);
	free(n->found);
	free(n->starts);
	free(n->acks.vertices);
	free(n->acks.attempts);
	free(n->kills.vertices);
	free(n->kills.attempts);
	free(n->id);
	free(n->control);
	free(n->data);
	free(n->rack);
	free(n);
}

static struct node *add_node(
	struct manager *m, const char *id, uint64_t incarnation, const char *control, const char *data)
{
	struct node *n = base_alloc(sizeof(*n)), **at = &m->nodes;
	char *name = base_format("%s.%s", m->job, id);

	n->manager = m;
	n->id = base_strdup(id);
	n->control = base_strdup(control);
	n->data = base_strdup(data);
	n->rack = base_strdup("");
	n->incarnation = incarnation;
	n->number = JM_NODE_NONE;
	while (*at)
		at = &(*at)->next;
	*at = n;
	n->session = session_dial(m->wire, m->config->keys, control, name, DAGRUN__ROLE__MANAGER,
		m->incarnation, &node_handlers, n);
	free(name);
	n->dialled_at = os_now();
	if (n->session) {
		session_expect(n->session, id);
		ship_open(m, n);
	} else
		n->gone = true;
	return n;
}

/* One that was given up may only have been out of reach. Its daemon still has what it sealed. */
static void dial_again(struct manager *m, dag_instant now)
{
	for (struct node **at = &m->nodes; *at; at = &(*at)->next) {
		struct node *old = *at, *n;

		if (!old->gone || !old->listed || now - old->gone_at < DIAL_AGAIN)
			continue;
		n = add_node(m, old->id, old->incarnation, old->control, old->data);
		n->listed = true;
		free(n->rack);
		n->rack = base_strdup(old->rack);
		n->memory = old->memory;
		n->labels = old->labels;
		n->label_count = old->label_count;
		old->labels = NULL;
		old->label_count = 0;
		*at = old->next;
		free_node(old);
		return; /* one a tick */
	}
}

/* One that has answered is known by its name until it is given up; one that has not, only as itself. */
static bool is_known(const struct manager *m, const Dagrun__Register *info)
{
	for (struct node *n = m->nodes; n; n = n->next)
		if (!strcmp(n->id, info->node) &&
			(n->incarnation == info->incarnation || (n->up && !n->gone)))
			return true;
	return false;
}

/* A daemon was started anew under the name of one that never answered. */
static void give_up_older(struct manager *m, const Dagrun__Register *info)
{
	for (struct node *n = m->nodes; n; n = n->next)
		if (!n->up && !strcmp(n->id, info->node) && n->incarnation != info->incarnation)
			node_gone(n, "its daemon was started anew", true);
}

static void on_nodes(struct manager *m, const Dagrun__Nodes *nodes)
{
	if (!m->ns_answered)
		m->last_node = os_now();
	m->ns_answered = true;
	m->has_network = m->has_network || nodes->n_nodes > 1 || nodes->more;
	for (struct node *n = m->nodes; n && !m->nodes_more; n = n->next)
		n->listed = false;
	m->nodes_more = nodes->more;
	for (size_t i = 0; i < nodes->n_nodes; i++)
		for (struct node *n = m->nodes; n; n = n->next)
			if (nodes->nodes[i]->info && !strcmp(n->id, nodes->nodes[i]->info->node) &&
				n->incarnation == nodes->nodes[i]->info->incarnation)
				n->listed = !nodes->nodes[i]->suspect;
	for (size_t i = 0; i < nodes->n_nodes; i++) {
		const Dagrun__Register *info = nodes->nodes[i]->info;
		struct node *n;

		if (!info || nodes->nodes[i]->suspect || is_known(m, info))
			continue;
		give_up_older(m, info);
		n = add_node(m, info->node, info->incarnation, info->control, info->data);
		free(n->rack);
		n->rack = base_strdup(info->rack);
		n->listed = true;
		n->memory = info->memory;
		n->labels = base_alloc((info->n_labels + 1) * sizeof(*n->labels));
		for (size_t j = 0; j < info->n_labels; j++)
			n->labels[n->label_count++] = (struct graph_pair){
				base_strdup(info->labels[j]->name), base_strdup(info->labels[j]->value)};
	}
}

static void on_ns_message(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	(void)s;
	if (e->body_case == DAGRUN__ENVELOPE__BODY_NODES)
		on_nodes(ctx, e->nodes);
}

static int dial_nameserver(struct manager *m);

static void on_ns_refused(void *ctx, struct session *s, const char *text)
{
	struct manager *m = ctx;

	(void)s;
	if (strstr(text, "version"))
		manager_abort(m, DAG_EUNREACHABLE, "the name server at %s refuses: %s", m->config->nameserver,
			text);
	free(m->ns_refusal);
	m->ns_refusal = base_strdup(text);
	session_destroy(&m->ns);
	m->nodes_more = false;
	if (os_now() - m->ns_dialled > NS_PAUSE)
		dial_nameserver(m); /* it was started anew */
}

static const struct session_handlers ns_handlers = {.on_message = on_ns_message, .on_refused = on_ns_refused};

static int dial_nameserver(struct manager *m)
{
	m->ns_dialled = os_now();
	m->ns = session_dial(m->wire, m->config->keys, m->config->nameserver, m->job, DAGRUN__ROLE__MANAGER,
		m->incarnation, &ns_handlers, m);
	if (!m->ns) {
		fprintf(stderr, "dagrun: '%s' is no endpoint; write tcp://HOST:PORT\n",
			m->config->nameserver);
		return DAG_EUNREACHABLE;
	}
	session_expect(m->ns, "nameserver");
	send_watch(m);
	return 0;
}

int nodes_start(struct manager *m)
{
	if (m->config->nameserver)
		return dial_nameserver(m);
	add_node(m, daemon_node(m->daemon), 1, daemon_control(m->daemon), daemon_data(m->daemon))->memory =
		m->memory;
	m->ns_answered = true;
	return 0;
}

struct jm_waits nodes_waits(const struct manager_config *config)
{
	if (!config->nameserver) /* there is one node, and never another */
		return (struct jm_waits){0, 0};
	if (config->wait_said)
		return (struct jm_waits){config->wait_for_nodes, config->wait_for_nodes};
	return (struct jm_waits){NODE_WAIT, JOINING_WAIT};
}

/* Those that have answered and are not ready yet may be what the job waits for. */
static void look_who_comes(struct manager *m, dag_instant now)
{
	bool coming = false;

	for (struct node *n = m->nodes; n; n = n->next)
		coming = coming ||
			 (!n->up && !n->gone && n->session && session_last_heard(n->session) > n->dialled_at);
	if (coming == (m->coming_since > 0))
		return;
	m->coming_since = coming ? now : 0;
	manager_step(m, &(struct jm_event){.kind = JM_NODES_COMING, .flag = coming});
}

static bool any_up(const struct manager *m)
{
	for (struct node *n = m->nodes; n; n = n->next)
		if (n->up && !n->gone)
			return true;
	return false;
}

void nodes_tick(struct manager *m, dag_instant now)
{
	const char *trouble;
	dag_instant wait;

	if (m->ns_refusal && !m->ns && now - m->ns_dialled > NS_PAUSE)
		dial_nameserver(m);
	if (m->ns)
		session_tick(m->ns, now);
	trouble = m->ns_refusal && !m->ns_answered ? m->ns_refusal
		  : m->ns                          ? session_trouble(m->ns, now)
						   : NULL;
	for (struct node *n = m->nodes; n; n = n->next)
		if (n->session && !n->gone)
			session_tick(n->session, now);
	if (m->ending)
		return;
	resume_tick(m);
	if (m->daemon) /* it is in this process: however slow a disk makes it, it will be there */
		return;
	judge(m, now);
	tell_gone(m);
	dial_again(m, now);
	if (!m->ending)
		look_who_comes(m, now);
	if (m->ending)
		return;
	if (any_up(m) || (m->coming_since && now - m->coming_since < COMING_WAIT)) {
		m->last_node = now;
		return;
	}
	wait = nodes_waits(m->config).node;
	if (!m->ns_answered && now - m->started > DAG_MAX(NAMESERVER_PATIENCE, m->config->wait_for_nodes))
		manager_abort(m, DAG_EUNREACHABLE, "the name server at %s does not answer%s%s",
			m->config->nameserver, trouble ? ": " : "", trouble ? trouble : "");
	else if (m->ns_answered && now - m->last_node > wait)
		manager_abort(m, DAG_EUNREACHABLE,
			"no node is there to run the job: the name server at %s knows of none that answers; "
			"one was waited for %lld s (--wait-for-nodes)",
			m->config->nameserver, (long long)(wait / DAG_SECOND));
}

void nodes_destroy(struct manager *m)
{
	session_destroy(&m->ns);
	free(m->ns_refusal);
	while (m->nodes) {
		struct node *n = m->nodes;

		m->nodes = n->next;
		free_node(n);
	}
}
