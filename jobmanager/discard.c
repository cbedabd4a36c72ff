/* SPDX-License-Identifier: Apache-2.0 */
/* Tells every daemon of a cluster that a job is over. */
#include "manager.h"
#include "daemon/folder.h"
#include "os/marks.h"
#include "os/os.h"
#include "wire/cluster.h"
#include "wire/session.h"

#define PATIENCE (4 * DAG_SECOND)
#define TICK_MS 100

struct told {
	struct told *next;
	struct session *session;
	bool refused;
};

struct discard {
	uv_loop_t loop;
	struct wire_loop *wire;
	struct wire_keys *keys;
	const char *job;
	struct session *ns;
	struct told *told;
	bool answered;
	uv_timer_t tick;
	dag_instant started;
};

static void on_daemon(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	(void)ctx;
	(void)s;
	(void)e;
}

static void on_daemon_refused(void *ctx, struct session *s, const char *text)
{
	(void)s;
	(void)text;
	((struct told *)ctx)->refused = true;
}

static const struct session_handlers daemon_handlers = {
	.on_message = on_daemon, .on_refused = on_daemon_refused};

static void tell(struct discard *d, const Dagrun__Register *node)
{
	Dagrun__JobEnd end = DAGRUN__JOB_END__INIT;
	struct told *t = base_alloc(sizeof(*t));
	char *id = base_format("clean.%s.%s", d->job, node->node);
	SESSION_ENVELOPE(e, JOB_END);

	end.job = (char *)d->job;
	e.job_end = &end;
	t->session = session_dial(
		d->wire, d->keys, node->control, id, DAGRUN__ROLE__MANAGER, os_random(), &daemon_handlers, t);
	if (t->session) {
		session_expect(t->session, node->node);
		session_send(t->session, &e);
	}
	t->next = d->told;
	d->told = t;
	free(id);
}

static void on_nodes(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	struct discard *d = ctx;

	(void)s;
	if (e->body_case != DAGRUN__ENVELOPE__BODY_NODES || d->answered)
		return;
	d->answered = !e->nodes->more;
	for (size_t i = 0; i < e->nodes->n_nodes; i++)
		if (e->nodes->nodes[i]->info)
			tell(d, e->nodes->nodes[i]->info);
}

static void on_ns_refused(void *ctx, struct session *s, const char *text)
{
	struct discard *d = ctx;

	(void)s;
	(void)text;
	uv_stop(&d->loop);
}

static bool all_heard(const struct discard *d)
{
	for (const struct told *t = d->told; t; t = t->next)
		if (t->session && !t->refused && !session_all_acknowledged(t->session))
			return false;
	return d->answered;
}

static void on_tick(uv_timer_t *tick)
{
	struct discard *d = tick->data;

	session_tick(d->ns, os_now());
	for (struct told *t = d->told; t; t = t->next)
		if (t->session)
			session_tick(t->session, os_now());
	if (all_heard(d) || os_now() - d->started > PATIENCE)
		uv_stop(&d->loop);
}

int manager_discard(const char *nameserver, const char *keys, const char *job)
{
	static const struct session_handlers handlers = {.on_message = on_nodes, .on_refused = on_ns_refused};
	struct discard d = {.job = job, .started = os_now()};
	struct dag_diag diag = {0};
	Dagrun__Watch watch = DAGRUN__WATCH__INIT;
	SESSION_ENVELOPE(e, WATCH);

	if (cluster_find_keys(keys, nameserver, &d.keys, &diag) < 0) {
		dag_diag_fini(&diag);
		return DAG_EUNREACHABLE;
	}
	dag_diag_fini(&diag);
	uv_loop_init(&d.loop);
	wire_loop_new(&d.wire, &d.loop);
	uv_timer_init(&d.loop, &d.tick);
	d.tick.data = &d;
	d.ns = session_dial(
		d.wire, d.keys, nameserver, "clean", DAGRUN__ROLE__MANAGER, os_random(), &handlers, &d);
	if (d.ns) {
		e.watch = &watch;
		session_send(d.ns, &e);
		uv_timer_start(&d.tick, on_tick, TICK_MS, TICK_MS);
		uv_run(&d.loop, UV_RUN_DEFAULT);
	}
	while (d.told) {
		struct told *t = d.told;

		d.told = t->next;
		session_destroy(&t->session);
		free(t);
	}
	session_destroy(&d.ns);
	uv_close((uv_handle_t *)&d.tick, NULL);
	wire_loop_destroy(&d.wire);
	while (uv_run(&d.loop, UV_RUN_NOWAIT) != 0)
		;
	uv_loop_close(&d.loop);
	keys_destroy(&d.keys);
	return d.answered ? 0 : DAG_EUNREACHABLE;
}

size_t manager_remove_dead_memory(void)
{
	mark_end_dead();
	return folder_remove_dead(NULL);
}
