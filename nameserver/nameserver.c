/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions in, registry, lists out to whoever watches. */
#include "nameserver.h"
#include "core/registry.h"
#include "os/os.h"
#include "wire/session.h"

#include <errno.h>
#include <stdio.h>

#define TICK_MS 250
#define NAME_MAX_LEN 256u
#define NODES_A_MESSAGE 1000u

struct watcher {
	struct session *session;
	struct watcher *next;
};

struct nameserver {
	struct session_server *server;
	struct registry registry;
	struct watcher *watchers;
	uv_timer_t tick;
	dag_instant last_tick;
	bool changed;
};

/* A session belongs to a node once it has registered: its heartbeats are the node's. */
struct registered {
	char *node;
	uint64_t incarnation;
};

static void free_info(void *info)
{
	dagrun__register__free_unpacked(info, NULL);
}

static Dagrun__Register *copy_info(const Dagrun__Register *info)
{
	size_t len = dagrun__register__get_packed_size(info);
	uint8_t *bytes = base_alloc(len);
	Dagrun__Register *copy;

	dagrun__register__pack(info, bytes);
	copy = dagrun__register__unpack(NULL, len, bytes);
	free(bytes);
	DAG_ASSERT(copy);
	return copy;
}

static void send_nodes(struct nameserver *ns, struct session *to)
{
	size_t at = 0;

	do {
		size_t n = DAG_MIN(ns->registry.count - at, (size_t)NODES_A_MESSAGE);
		Dagrun__Nodes message = DAGRUN__NODES__INIT;
		Dagrun__Node *nodes = base_alloc((n + 1) * sizeof(*nodes));
		SESSION_ENVELOPE(e, NODES);

		message.nodes = base_alloc((n + 1) * sizeof(*message.nodes));
		for (size_t i = 0; i < n; i++) {
			const struct registry_node *r = &ns->registry.nodes[at + i];

			dagrun__node__init(&nodes[i]);
			nodes[i].info = r->info;
			nodes[i].age_ms = (uint64_t)((os_now() - r->registered) / DAG_MS);
			nodes[i].suspect = r->suspect;
			message.nodes[message.n_nodes++] = &nodes[i];
		}
		message.more = at + n < ns->registry.count;
		e.nodes = &message;
		session_send(to, &e);
		free(message.nodes);
		free(nodes);
		at += n;
	} while (at < ns->registry.count);
}

/* No daemon of ours has a name with blanks or what a terminal would obey. */
static bool is_name(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] == 127)
			return false;
	return len && len < NAME_MAX_LEN;
}

static void on_message(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	struct nameserver *ns = ctx;
	struct registered *owner = session_owner(s);
	struct watcher *w;

	if (e->body_case == DAGRUN__ENVELOPE__BODY_LEAVE) {
		if (owner)
			ns->changed |= registry_remove(&ns->registry, owner->node, owner->incarnation);
	} else if (e->body_case == DAGRUN__ENVELOPE__BODY_REGISTER_NODE && is_name(e->register_node->node)) {
		if (!owner) {
			owner = base_alloc(sizeof(*owner));
			owner->node = base_strdup(e->register_node->node);
			session_set_owner(s, owner);
		}
		owner->incarnation = e->register_node->incarnation;
		ns->changed |= registry_put(&ns->registry, os_now(), owner->node, owner->incarnation,
			copy_info(e->register_node));
	} else if (e->body_case == DAGRUN__ENVELOPE__BODY_WATCH) {
		for (w = ns->watchers; w && w->session != s; w = w->next)
			continue;
		if (!w) {
			w = base_alloc(sizeof(*w));
			w->session = s;
			w->next = ns->watchers;
			ns->watchers = w;
		}
		send_nodes(ns, s);
	}
}

static void on_closed(void *ctx, struct session *s)
{
	struct nameserver *ns = ctx;
	struct registered *owner = session_owner(s);

	for (struct watcher **at = &ns->watchers; *at;) {
		struct watcher *w = *at;

		if (w->session != s) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
	if (owner) {
		free(owner->node);
		free(owner);
	}
}

static void on_opened(void *ctx, struct session *s, const Dagrun__Hello *hello)
{
	(void)ctx;
	(void)s;
	(void)hello;
}

static void on_refused(void *ctx, struct session *s, const char *text)
{
	(void)ctx;
	(void)s;
	(void)text;
}

static void on_notice(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "dagns: %s\n", text);
}

static const struct session_handlers handlers = {.on_notice = on_notice,
	.on_message = on_message,
	.on_opened = on_opened,
	.on_closed = on_closed,
	.on_refused = on_refused};

static void hear(void *ctx, struct session *s)
{
	struct nameserver *ns = ctx;
	struct registered *owner = session_owner(s);

	/* The registry's clock runs from the last word of the session, whatever that word was. */
	if (owner)
		ns->changed |=
			registry_heard(&ns->registry, session_last_heard(s), owner->node, owner->incarnation);
}

static void on_tick(uv_timer_t *tick)
{
	struct nameserver *ns = tick->data;
	dag_instant now = os_now();

	/* Our own stall is nobody's silence. */
	if (now - ns->last_tick > DAG_SECOND)
		for (size_t i = 0; i < ns->registry.count; i++)
			ns->registry.nodes[i].heard = now;
	ns->last_tick = now;
	session_server_each(ns->server, hear, ns);
	session_server_tick(ns->server, now);
	/* One that was forgotten and speaks again is refused, and registers anew. */
	session_server_expire(ns->server, now, REGISTRY_EXPIRY);
	ns->changed |= registry_expire(&ns->registry, now);
	if (ns->changed)
		for (struct watcher *w = ns->watchers; w; w = w->next)
			send_nodes(ns, w->session);
	ns->changed = false;
}

int nameserver_new(uv_loop_t *loop, struct wire_loop *wire, const char *listen, const struct wire_keys *keys,
	struct nameserver **ret_nameserver, char **ret_endpoint, struct dag_diag *diag)
{
	struct nameserver *ns = base_alloc(sizeof(*ns));
	int r = session_listen(wire, keys, listen, "nameserver", DAGRUN__ROLE__NAMESERVER, os_random(),
		&handlers, ns, &ns->server, ret_endpoint);

	if (r < 0) {
		dag_diag_add(diag, NULL, 0, 0, "cannot listen on %s: %s", listen, zmq_strerror(errno));
		free(ns);
		return r;
	}
	registry_init(&ns->registry, free_info);
	ns->last_tick = os_now();
	uv_timer_init(loop, &ns->tick);
	ns->tick.data = ns;
	uv_timer_start(&ns->tick, on_tick, TICK_MS, TICK_MS);
	*ret_nameserver = ns;
	return 0;
}

static void free_nameserver(uv_handle_t *handle)
{
	free(handle->data);
}

static void close_session(void *ctx, struct session *s)
{
	on_closed(ctx, s);
}

void nameserver_destroy(struct nameserver **nameserver)
{
	struct nameserver *ns = *nameserver;

	if (!ns)
		return;
	session_server_each(ns->server, close_session, ns);
	session_server_destroy(&ns->server);
	registry_fini(&ns->registry);
	uv_close((uv_handle_t *)&ns->tick, free_nameserver);
	*nameserver = NULL;
}
