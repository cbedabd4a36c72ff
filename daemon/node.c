/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's shell: sessions with job managers and the name server, heartbeats, and slots among jobs. */
#include "node.h"
#include "core/slots.h"
#include "os/container.h"
#include "os/os.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 2
#define TICK_MS 250
#define NS_PAUSE (1 * DAG_SECOND)    /* between two dialled sessions */
#define NS_PATIENCE (3 * DAG_SECOND) /* with its silence */
#define SILENT (3 * DAG_SECOND)      /* a job manager that may be gone */

/* ---- the name server ---- */

static void send_register(struct daemon *d)
{
	Dagrun__Register m = DAGRUN__REGISTER__INIT;
	SESSION_ENVELOPE(e, REGISTER_NODE);
	Dagrun__Label *labels = base_alloc((d->label_count + 1) * sizeof(*labels));

	m.node = d->id;
	m.incarnation = d->incarnation;
	m.control = d->advertise ? d->advertise : d->control_endpoint;
	m.data = d->data_endpoint;
	m.slots = d->slots;
	m.memory = d->memory;
	m.rack = d->rack;
	m.labels = base_alloc((d->label_count + 1) * sizeof(*m.labels));
	for (uint32_t i = 0; i < d->label_count; i++) {
		dagrun__label__init(&labels[i]);
		labels[i].name = (char *)d->labels[i].name;
		labels[i].value = (char *)d->labels[i].value;
		m.labels[m.n_labels++] = &labels[i];
	}
	e.register_node = &m;
	session_send(d->ns, &e);
	free(m.labels);
	free(labels);
}

static void on_ns_message(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	(void)ctx;
	(void)s;
	(void)e;
}

static void dial_nameserver(struct daemon *d);

static void on_ns_refused(void *ctx, struct session *s, const char *text)
{
	struct daemon *d = ctx;

	(void)s;
	free(d->ns_refusal);
	d->ns_refusal = base_strdup(text);
	session_destroy(&d->ns);
	/* It was started anew, and knows nobody: register again, in a new session. */
	if (os_now() - d->ns_dialled > NS_PAUSE)
		dial_nameserver(d);
}

static const struct session_handlers ns_handlers = {.on_message = on_ns_message, .on_refused = on_ns_refused};

static void dial_nameserver(struct daemon *d)
{
	d->ns_dialled = os_now();
	d->ns = session_dial(d->wire, d->keys, d->nameserver, d->id, DAGRUN__ROLE__DAEMON, d->incarnation,
		&ns_handlers, d);
	if (!d->ns)
		return;
	session_expect(d->ns, "nameserver");
	send_register(d);
}

/* Without a name server nobody finds this node: whoever started it must hear of that. */
static void look_after_nameserver(struct daemon *d, dag_instant now)
{
	const char *trouble;

	if (!d->nameserver)
		return;
	if (!d->ns && now - d->ns_dialled > NS_PAUSE)
		dial_nameserver(d);
	if (d->ns)
		session_tick(d->ns, now);
	if (d->ns && d->ns_heard != session_last_heard(d->ns) && *session_peer(d->ns)) {
		d->ns_heard = session_last_heard(d->ns);
		if (d->ns_troubled)
			fprintf(stderr, "dagd: the name server at %s answers\n", d->nameserver);
		d->ns_troubled = false;
	}
	trouble = d->ns ? session_trouble(d->ns, now) : d->ns_refusal;
	if (d->ns_troubled || !trouble || now - d->ns_heard < NS_PATIENCE)
		return;
	d->ns_troubled = true;
	fprintf(stderr, "dagd: the name server at %s does not answer: %s; trying on\n", d->nameserver,
		trouble);
}

/* ---- job managers ---- */

static void on_manager_opened(void *ctx, struct session *s, const Dagrun__Hello *hello)
{
	(void)ctx;
	(void)s;
	(void)hello;
}

static void on_manager_message(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	struct daemon *d = ctx;
	struct job *job = session_owner(s);

	if (e->body_case == DAGRUN__ENVELOPE__BODY_JOB_OPEN)
		job_open(d, s, e->job_open);
	else if (e->body_case == DAGRUN__ENVELOPE__BODY_JOB_END) {
		job = job_find(d, e->job_end->job);
		/* Of a job manager that is gone, whoever says it. */
		if (job && (job->manager == s || !job->manager || session_is_cut(job->manager) ||
				   os_now() - session_last_heard(job->manager) > SILENT))
			job_destroy(&job);
		if (!job_find(d, e->job_end->job))
			restore_drop(d, e->job_end->job);
		session_tick(s, os_now()); /* the manager waits to hear that this was heard */
	} else if (job)
		job_message(job, e);
}

static void on_manager_closed(void *ctx, struct session *s)
{
	struct job *job = session_owner(s);

	(void)ctx;
	if (job && job->manager == s)
		job->manager = NULL;
}

static void on_manager_refused(void *ctx, struct session *s, const char *text)
{
	(void)text;
	on_manager_closed(ctx, s);
}

static void on_notice(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "dagd: %s\n", text);
}

static const struct session_handlers manager_handlers = {.on_notice = on_notice,
	.on_message = on_manager_message,
	.on_opened = on_manager_opened,
	.on_closed = on_manager_closed,
	.on_refused = on_manager_refused,
	.message_max = WIRE_MESSAGE_MAX};

/* ---- slots ---- */

/* An embedded daemon's job manager is in this thread: it is silent where a disk keeps both of them waiting.
 */
static dag_instant silence_of(const struct job *job)
{
	return job->daemon->embedded ? 0 : os_boottime() - job->last_heard;
}

/* What the job may count on before the others have theirs: a job manager that is silent keeps what runs. */
static uint32_t claim(const struct job *job, bool *ret_silent)
{
	dag_instant silence = silence_of(job);

	*ret_silent = job->lease_over || silence > SILENT;
	return job->lease_over ? 0 : *ret_silent ? DAG_MIN(job->want, job->running) : job->want;
}

void daemon_divide_slots(struct daemon *d)
{
	size_t n = HASH_COUNT(d->jobs), i = 0;
	uint32_t few[3 * 4] = {0}, *wants = base_room(few, sizeof(few), 3 * n * sizeof(*wants)),
			 *leasts = wants + n, *grants = leasts + n;
	struct job *job, *next;
	uint32_t left = d->slots * GRAPH_CPU_SHARES;

	HASH_ITER(hh, d->jobs, job, next) {
		bool silent;

		wants[i] = claim(job, &silent);
		leasts[i++] = silent ? 0 : job->least;
	}
	slots_divide(left, wants, leasts, grants, n);
	for (i = 0; i < n; i++)
		left -= grants[i];
	i = 0;
	HASH_ITER(hh, d->jobs, job, next) {
		Dagrun__Grant m = DAGRUN__GRANT__INIT;
		SESSION_ENVELOPE(e, GRANT);

		if (!job->lease_over && job->want > wants[i]) { /* nobody else needs it */
			uint32_t more = DAG_MIN(left, job->want - wants[i]);

			grants[i] += more;
			left -= more;
		}
		if (grants[i] != job->grant) {
			job->grant = grants[i];
			m.slots = grants[i];
			e.grant = &m;
			if (job->manager)
				session_send(job->manager, &e);
			job_run(job);
		}
		i++;
	}
	base_room_free(wants, few);
}

/* ---- the mover ---- */

static void on_data_event(void *ctx, const struct data_event *event)
{
	struct daemon *d = ctx;

	switch (event->kind) {
	case DATA_OPENED:
	case DATA_CREDITED:
	case DATA_CLOSED:
	case DATA_SENT:
		serve_on_data(d, event);
		break;
	case DATA_NOTICE:
		on_notice(d, event->text);
		break;
	case DATA_NEED_SEGMENT:
		input_segment_wanted(d, event->bytes);
		break;
	default:
		input_on_data(d, event);
	}
	free(event->text);
}

/* ---- time ---- */

static void free_ended_jobs(struct daemon *d)
{
	for (struct job **at = &d->ended_jobs; *at;) {
		struct job *job = *at;

		*at = job->next_ended;
		if (!job_try_free(job)) {
			*at = job;
			at = &job->next_ended;
		}
	}
}

static void check_deadline(struct attempt *a, void *ctx)
{
	const dag_instant *now = ctx;

	if (a->state != ATTEMPT_RUNNING || *now < a->run->deadline || a->timed_out)
		return;
	a->timed_out = true;
	attempt_kill(a);
}

static void check_deadlines(struct job *job, dag_instant now)
{
	bool any = false;

	for (uint32_t i = 0; i < job->stage_count && !any; i++)
		any = job->stages[i].timeout != 0;
	if (any)
		attempt_each(job, check_deadline, &now);
}

static void send_progress(struct job *job)
{
	Dagrun__Progress m = DAGRUN__PROGRESS__INIT;
	SESSION_ENVELOPE(e, PROGRESS);

	for (struct host *h = job->daemon->hosts; h; h = h->next)
		if (h->job == job && h->task_count)
			m.bytes_read += atomic_load(&h->status->bytes_read);
	e.progress = &m;
	if (job->manager && job->running)
		session_send(job->manager, &e);
}

/* Its job manager's process is gone. What is finished stays, for one that resumes the job. */
static bool is_orphan(const struct job *job)
{
	return job->manager && session_is_cut(job->manager);
}

static void on_tick(uv_timer_t *tick)
{
	struct daemon *d = tick->data;
	dag_instant now = os_now(), boot = os_boottime();
	struct job *job, *next;

	for (struct host *h = d->hosts; h; h = h->next) {
		talk_hear_ends(h); /* before anybody is judged */
		talk_check(h);
	}
	spool_rest(d->spool);
	session_server_tick(d->control, now);
	if (!d->embedded)
		session_server_expire(d->control, now, 2 * JOB_LEASE);
	look_after_nameserver(d, now);
	HASH_ITER(hh, d->jobs, job, next) {
		if (job->manager)
			job->last_heard =
				DAG_MAX(job->last_heard, boot - (now - session_last_heard(job->manager)));
		check_deadlines(job, now);
		job_run(job); /* what waits behind a long vertex may go elsewhere */
		host_check_memory(job);
		send_progress(job);
		job->lease_over = silence_of(job) > JOB_LEASE || is_orphan(job);
		if (job->lease_over)
			attempt_lose_all(job);
		if (silence_of(job) > DATA_KEPT)
			job_destroy(&job);
	}
	free_ended_jobs(d);
	limits_tick(d);
	host_tick(d);
	if (d->orphan_count && boot - d->started > DATA_KEPT)
		restore_drop(d, NULL);
}

static void on_look(uv_timer_t *look)
{
	(void)look; /* the flush that follows looks into the rings */
}

/* A host that has more vertices after one that ended says so only now and then. */
static void watch_ends(struct daemon *d)
{
	bool any = false;

	for (struct host *h = d->hosts; h && !any; h = h->next)
		any = h->task_count > 1 && h->tasks[1]->ahead;
	if (any && !uv_is_active((uv_handle_t *)&d->look))
		uv_timer_start(&d->look, on_look, LOOK_MS, LOOK_MS);
	else if (!any)
		uv_timer_stop(&d->look);
}

static bool is_slot_free(struct daemon *d)
{
	uint32_t running = 0;
	struct job *job, *next;

	HASH_ITER(hh, d->jobs, job, next)
		running += job->running;
	return running < d->slots * GRAPH_CPU_SHARES;
}

/* Threads that use a core now: ours, those that carry what we say to others, and what hosts run. */
static bool is_core_free(const struct daemon *d)
{
	uint32_t busy = d->embedded ? 1 : 2;

	for (const struct host *h = d->hosts; h && busy <= d->cores; h = h->next)
		for (size_t i = 0; i < h->task_count && !h->tasks[i]->ahead; i++)
			busy += h->job->stages[h->tasks[i]->stage].spec->kind == GRAPH_PROGRAM ? 2 : 1;
	return busy <= d->cores;
}

static void tell_hosts_what_is_free(struct daemon *d)
{
	bool slot = is_slot_free(d), core = is_core_free(d);

	for (struct host *h = slot == d->slot_free && core == d->core_free ? NULL : d->hosts; h;
		h = h->next) {
		atomic_store(&h->status->slot_free, slot);
		atomic_store(&h->status->core_free, core);
	}
	d->slot_free = slot;
	d->core_free = core;
	if (core && d->spoken)
		wire_loop_linger(d->wire, os_now() + HOST_LINGER);
	d->spoken = false;
}

/* Before the loop sleeps: everything that came of this round goes out together. */
static void on_flush(uv_prepare_t *flush)
{
	struct daemon *d = flush->data;
	struct job *job, *next;

	for (struct host *h = d->hosts; h; h = h->next)
		talk_hear_ends(h);
	daemon_divide_slots(d);
	keep_flush(d->keep); /* before anybody is told of it */
	HASH_ITER(hh, d->jobs, job, next)
		job_flush(job);
	for (struct host *h = d->hosts; h; h = h->next)
		talk_flush(h);
	tell_hosts_what_is_free(d);
	watch_ends(d);
	if (d->ended_jobs)
		free_ended_jobs(d);
}

static void on_segment_removed(void *ctx, uint32_t segment)
{
	host_forget_segment(ctx, segment);
}

/* ---- start and stop ---- */

/* The real data endpoint as others dial it: the host that is advertised, with the data port. */
static void advertise_data(struct daemon *d)
{
	char *dialled;

	if (!d->advertise || strncmp(d->data_endpoint, "tcp:", 4))
		return;
	dialled = wire_with_port(d->advertise, strrchr(d->data_endpoint, ':') + 1);
	free(d->data_endpoint);
	d->data_endpoint = dialled;
}

/* An advertised endpoint without a port, or with *, gets the one that was bound. */
static void complete_advertise(struct daemon *d)
{
	const char *port = strrchr(d->control_endpoint, ':'),
		   *own = d->advertise ? strrchr(d->advertise, ':') : NULL;

	if (!d->advertise)
		return;
	if (!own || own == strchr(d->advertise, ':') || !strcmp(own, ":*")) {
		size_t len = own && own != strchr(d->advertise, ':') ? (size_t)(own - d->advertise)
								     : strlen(d->advertise);
		char *whole = base_format("%.*s%s", (int)len, d->advertise, port);

		free(d->advertise);
		d->advertise = whole;
	}
}

/* What lies there is run. */
static int check_cache(const struct daemon *d, struct dag_diag *diag)
{
	char *why = NULL;
	int fd = os_open_own_folder(d->cache, &why);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	dag_diag_add(diag, NULL, 0, 0, "the folder of shipped files %s %s", d->cache, why);
	free(why);
	return DAG_EIO;
}

static int listen_on(struct daemon *d, const struct daemon_config *c, struct dag_diag *diag)
{
	char *data_listen = c->data_listen ? base_strdup(c->data_listen) : wire_with_port(c->listen, "*");
	int r;

	r = session_listen(d->wire, d->keys, c->listen, d->id, DAGRUN__ROLE__DAEMON, d->incarnation,
		&manager_handlers, d, &d->control, &d->control_endpoint);
	if (r < 0)
		dag_diag_add(diag, NULL, 0, 0, "cannot listen on %s: %s", c->listen, zmq_strerror(errno));
	if (r == 0) {
		r = data_new(d->loop, d->keys, data_listen, d->keys && !d->embedded, on_data_event, d,
			&d->server, &d->data_endpoint);
		if (r == 0)
			r = data_new(d->loop, d->keys, NULL, !d->embedded, on_data_event, d, &d->data, NULL);
		if (r < 0)
			dag_diag_add(diag, NULL, 0, 0, "cannot listen on %s: %s", data_listen,
				zmq_strerror(errno));
	}
	free(data_listen);
	return r;
}

int daemon_new(uv_loop_t *loop, struct wire_loop *wire, const struct daemon_config *c,
	struct daemon **ret_daemon, struct dag_diag *diag)
{
	struct daemon *d = base_alloc(sizeof(*d));
	int r;

	d->loop = loop;
	d->wire = wire;
	d->keys = c->keys;
	d->id = base_strdup(c->node);
	d->incarnation = os_random();
	d->ns_heard = os_now();
	d->rack = base_strdup(c->rack ? c->rack : "");
	d->host_program = base_strdup(c->host_program);
	d->slots = c->slots;
	d->cores = (uint32_t)os_cores();
	d->memory = c->memory;
	d->fetch_window = DAG_MIN(DAG_MAX(c->memory / FETCH_SHARE, FETCH_WINDOW_MIN), FETCH_WINDOW_MAX);
	d->kills = container_own()->kills;
	d->embedded = c->embedded;
	d->nameserver = c->nameserver ? base_strdup(c->nameserver) : NULL;
	d->advertise = c->advertise ? base_strdup(c->advertise) : NULL;
	d->labels = base_alloc((c->label_count + 1) * sizeof(*d->labels));
	for (uint32_t i = 0; i < c->label_count; i++)
		d->labels[i] =
			(struct graph_pair){base_strdup(c->labels[i].name), base_strdup(c->labels[i].value)};
	d->label_count = c->label_count;
	uv_timer_init(loop, &d->tick);
	uv_timer_init(loop, &d->look);
	uv_prepare_init(loop, &d->flush);
	d->tick.data = d->look.data = d->flush.data = d;
	d->handles = 3;
	d->kept_max = c->spool_memory / 8;
	if (!d->embedded)
		mark_end_dead(); /* nothing runs twice beside what an earlier daemon started */
	r = c->cgroup ? cgroup_new(&d->cgroup, strcmp(c->cgroup, "own") ? c->cgroup : NULL, diag) : 0;
	if (r == 0)
		r = spool_new(
			c->spool_name ? c->spool_name : d->id, c->spool, c->spool_memory, &d->spool, diag);
	if (r == 0) {
		d->cache = c->cache ? base_strdup(c->cache) : base_format("%s/cache", c->spool);
		disk_new(loop, &d->disk);
		disk_new(loop, &d->cache_disk);
		spool_set_disk(d->spool, d->disk);
		spool_on_removed(d->spool, on_segment_removed, d);
		d->started = os_boottime();
		restore_orphans(d);
		r = check_cache(d, diag);
	}
	if (r == 0)
		r = listen_on(d, c, diag);
	if (r < 0) {
		daemon_destroy(&d);
		return r;
	}
	complete_advertise(d);
	advertise_data(d);
	uv_timer_start(&d->tick, on_tick, TICK_MS, TICK_MS);
	uv_prepare_start(&d->flush, on_flush);
	if (d->nameserver)
		dial_nameserver(d);
	*ret_daemon = d;
	return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct daemon *d = handle->data;

	if (--d->handles)
		return;
	for (uint32_t i = 0; i < d->label_count; i++) {
		free((char *)d->labels[i].name);
		free((char *)d->labels[i].value);
	}
	free(d->labels);
	free(d->id);
	free(d->rack);
	free(d->host_program);
	free(d->nameserver);
	free(d->ns_refusal);
	free(d->control_endpoint);
	free(d->data_endpoint);
	free(d->advertise);
	free(d->cache);
	arena_fini(&d->scratch);
	free(d);
}

void daemon_leave(struct daemon *d)
{
	Dagrun__Leave m = DAGRUN__LEAVE__INIT;
	SESSION_ENVELOPE(e, LEAVE);

	e.leave = &m;
	if (d->ns)
		session_send(d->ns, &e);
}

void daemon_destroy(struct daemon **daemon)
{
	struct daemon *d = *daemon;
	struct job *job, *next;

	if (!d)
		return;
	d->stopping = true;
	host_end_all(d);
	HASH_ITER(hh, d->jobs, job, next)
		job_destroy(&job);
	session_destroy(&d->ns);
	session_server_destroy(&d->control);
	data_destroy(&d->server);
	data_destroy(&d->data);
	verify_abandon_all(d);
	for (job = d->ended_jobs; job; job = job->next_ended)
		attempt_free_all(job);
	disk_destroy(&d->cache_disk);
	disk_destroy(&d->disk);
	if (d->spool)
		spool_set_disk(d->spool, NULL);
	stash_fini(d);
	free_ended_jobs(d);
	if (d->spool) {
		char *scratch = base_format("%s/scratch", spool_folder(d->spool));

		os_remove_tree(scratch);
		free(scratch);
	}
	restore_drop(d, NULL);
	keep_destroy(&d->keep);
	spool_destroy(&d->spool);
	for (int i = 0; i < 100 && d->dead_group_count; i++) {
		limits_tick(d);
		usleep(d->dead_group_count ? 1000 : 0);
	}
	for (size_t i = 0; i < d->dead_group_count; i++)
		free(d->dead_groups[i]);
	free(d->dead_groups);
	cgroup_destroy(&d->cgroup);
	uv_close((uv_handle_t *)&d->flush, on_handle_closed);
	uv_close((uv_handle_t *)&d->look, on_handle_closed);
	uv_close((uv_handle_t *)&d->tick, on_handle_closed);
	*daemon = NULL;
}

const char *daemon_node(const struct daemon *d)
{
	return d->id;
}

const char *daemon_control(const struct daemon *d)
{
	return d->advertise ? d->advertise : d->control_endpoint;
}

const char *daemon_data(const struct daemon *d)
{
	return d->data_endpoint;
}
