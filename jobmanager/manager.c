/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell: an event goes into the core, its effects are carried out in order. Facts go to the journal's
 * thread at once; an effect that must not outrun them is deferred until they are durable.
 */
#include "shell.h"
#include "verify.h"
#include "os/os.h"
#include "os/startup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 250
#define END_PATIENCE (1 * DAG_SECOND)    /* for daemons to hear of the end */
#define SIGNAL_PATIENCE (5 * DAG_SECOND) /* for disks, after a signal */
#define STUCK_PATIENCE (1 * DAG_SECOND)  /* then, for what threads are about just now */

/* ---- effects ---- */

/* Others see without opening the journal that the job needs nobody any more. */
static void mark_ended(struct manager *m)
{
	char *path = base_format("%s/ended", m->job_folder);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	free(path);
}

static void begin_end(struct manager *m, int error, const char *text)
{
	if (!m->fenced)
		mark_ended(m);
	notes_flush(m);
	m->ending = true;
	m->end_error = error;
	m->end_text = base_strdup(text);
	m->end_deadline = os_now() + END_PATIENCE;
	if (!m->fenced) /* then the job is another's, and goes on */
		nodes_end_job(m);
	m->stop = m->daemon != NULL;
	uv_stop(&m->loop);
}

static void carry_out(struct manager *m, const struct deferred *e)
{
	switch (e->kind) {
	case JM_ACK:
		nodes_send_attempt(m, JM_ACK, e->node, e->vertex, e->attempt);
		break;
	case JM_RELEASE:
		nodes_send_attempt(m, JM_KILL, e->node, e->vertex, e->attempt);
		break;
	case JM_TRIM:
		nodes_send_trim(m, e->node, e->stage, e->stream, e->parts);
		break;
	case JM_FETCH:
		outputs_fetch(m, e->output, e->vertex, e->attempt, e->node);
		break;
	case JM_PUBLISH:
		progress_hide(m); /* results may go to the same terminal */
		outputs_publish(m);
		break;
	case JM_END:
		begin_end(m, e->error, e->text);
		break;
	default:
		break;
	}
}

static struct deferred deferred_of(const struct manager *m, const struct jm_effect *e)
{
	return (struct deferred){.seq = m->journaled,
		.kind = e->kind,
		.node = e->node,
		.vertex = e->vertex,
		.attempt = e->attempt,
		.output = e->output,
		.error = e->error,
		.text = (char *)e->text};
}

static void defer(struct manager *m, const struct jm_effect *e)
{
	struct deferred *d = DAG_APPEND(m->deferred, m->deferred_count, m->deferred_cap);

	if (e->kind != JM_ACK && e->kind != JM_RELEASE && e->kind != JM_TRIM)
		journal_hurry(m->journal);
	*d = deferred_of(m, e);
	d->text = e->text ? base_strdup(e->text) : NULL;
}

static void run_deferred(struct manager *m, uint64_t durable)
{
	while (m->deferred_first < m->deferred_count && m->deferred[m->deferred_first].seq <= durable &&
		!m->ending) {
		struct deferred e = m->deferred[m->deferred_first++];

		carry_out(m, &e);
		free(e.text);
	}
	if (m->deferred_first == m->deferred_count)
		m->deferred_first = m->deferred_count = 0;
}

/* The journal cannot be written: an end that waits for it would wait for ever. */
static void end_without_journal(struct manager *m)
{
	for (size_t i = m->deferred_first; i < m->deferred_count && !m->ending; i++)
		if (m->deferred[i].kind == JM_END)
			carry_out(m, &m->deferred[i]);
}

static void run_effect(struct manager *m, const struct jm_effect *e)
{
	struct deferred now = deferred_of(m, e);

	if (e->kind == JM_PUBLISH)
		outputs_decide(m);
	if (e->durable &&
		(m->deferred_first < m->deferred_count || journal_durable(m->journal) < m->journaled)) {
		/* A job that fails because its journal cannot be written would wait for ever. */
		if (e->kind != JM_END || !m->paused) {
			defer(m, e);
			return;
		}
	}
	switch (e->kind) {
	case JM_START:
		nodes_send_start(m, e);
		break;
	case JM_KILL:
	case JM_VERIFY:
		nodes_send_attempt(m, e->kind, e->node, e->vertex, e->attempt);
		break;
	case JM_WANT:
		nodes_send_want(m, e->node, e->shares, e->least);
		break;
	case JM_RECALL:
		nodes_send_recall(m, e->node, e->shares);
		break;
	case JM_NOTE:
		notes_hear(m, e, os_now());
		break;
	default:
		carry_out(m, &now);
	}
}

static void on_wake(uv_timer_t *wake)
{
	manager_step(wake->data, &(struct jm_event){.kind = JM_TICK});
}

/* The facts of a step are one unit: all of them outlive a crash, or none. */
static void append_facts(struct manager *m, const struct jm_effect *effects, size_t n)
{
	const char *some[8], **facts = n > DAG_LENGTH(some) ? base_alloc(n * sizeof(*facts)) : some;
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		if (effects[i].kind == JM_JOURNAL) {
			facts[count++] = effects[i].text;
			quarantine_fact(m, effects[i].text);
			if (m->config->verify)
				verify_fact(m->config->verify, effects[i].text);
		}
	if (count && !m->fenced) /* then the journal is another's */
		m->journaled = journal_append(m->journal, facts, count);
	if (facts != some)
		free(facts);
}

/* A step's effects, copied, since carrying one out may lead to the next step. Returns how many. */
static size_t copy_effects(const struct jm_effects *effects, struct jm_effect *copy)
{
	size_t n = 0;

	for (size_t i = 0; i < effects->count; i++) {
		if (effects->items[i].kind == JM_JOURNAL)
			continue;
		copy[n] = effects->items[i];
		if (copy[n].text)
			copy[n].text = base_strdup(copy[n].text);
		if (copy[n].like)
			copy[n].like = base_strdup(copy[n].like);
		n++;
	}
	return n;
}

void manager_step(struct manager *m, const struct jm_event *event)
{
	dag_instant now = os_now();
	struct jm_effects effects;
	struct jm_effect few[8], *copy = few;
	size_t n;

	if (m->ending)
		return;
	if (jm_step(m->jm, now, event) < 0) {
		progress_say(m, "internal error: the scheduler refused event %d", (int)event->kind);
		return;
	}
	effects = jm_effects(m->jm);
	if (effects.wake_at != DAG_NEVER) {
		dag_instant wait = effects.wake_at - now;

		uv_timer_start(&m->wake, on_wake, wait > 0 ? (uint64_t)(wait / DAG_MS) + 1 : 0, 0);
	}
	append_facts(m, effects.items, effects.count);
	if (effects.count > DAG_LENGTH(few))
		copy = base_alloc(effects.count * sizeof(*copy));
	n = copy_effects(&effects, copy);
	for (size_t i = 0; i < n; i++) {
		run_effect(m, &copy[i]);
		free((char *)copy[i].text);
		free((char *)copy[i].like);
	}
	if (copy != few)
		free(copy);
}

void manager_abort(struct manager *m, int error, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	manager_step(m, &(struct jm_event){.kind = JM_ABORT, .error = error, .text = text});
	free(text);
}

static void on_durable(void *ctx, uint64_t seq)
{
	run_deferred(ctx, seq);
}

static void on_trouble(void *ctx, const char *text, bool final)
{
	struct manager *m = ctx;

	m->paused = text != NULL;
	if (!text) {
		progress_say(m, "the journal can be written again; the job goes on");
		return;
	}
	progress_say(m, "%s", text);
	if (final)
		manager_abort(m, DAG_EIO, "%s", text);
	end_without_journal(m);
}

/* ---- time and signals ---- */

/* The job has ended, and the daemons know it. */
static void stop_if_quiet(struct manager *m)
{
	if (m->ending && (nodes_quiet(m) || os_now() > m->end_deadline)) {
		m->stop = true;
		uv_stop(&m->loop);
	}
}

static void on_tick(uv_timer_t *tick)
{
	struct manager *m = tick->data;
	dag_instant now = os_now();

	nodes_tick(m, now);
	notes_tick(m, now);
	progress_tick(m, now);
	m->last_tick = now;
	stop_if_quiet(m);
	/* A disk that is full or stands still keeps nobody here. */
	if (m->signal && !m->stop && now - m->signalled > SIGNAL_PATIENCE) {
		m->stop = true;
		uv_stop(&m->loop);
	}
}

static void on_flush(uv_prepare_t *flush)
{
	outputs_tell_nothing(flush->data);
	nodes_flush(flush->data);
	stop_if_quiet(flush->data);
}

void manager_cancel(struct manager *m, int signal)
{
	/* Asked twice: at once. But files that get their names just now are waited for. */
	if (m->signal && !outputs_publishing(m)) {
		m->stop = true;
		uv_stop(&m->loop);
	}
	if (!m->signal)
		m->signalled = os_now();
	m->signal = signal;
	outputs_cancel(m);
	manager_step(m, &(struct jm_event){.kind = JM_CANCEL});
}

static void on_signal(uv_signal_t *handle, int signal)
{
	manager_cancel(handle->data, signal);
}

/* ---- start and stop ---- */

/* Sortable by time, short, and different from all others: 20261121-143005-k3f9. */
static void make_job_id(struct manager *m)
{
	static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
	time_t now = time(NULL);
	struct tm tm;
	uint64_t r = os_random();
	char random[7] = {0};

	gmtime_r(&now, &tm);
	for (int i = 0; i < 6; i++, r /= 32)
		random[i] = letters[r % 32];
	strftime(m->job, sizeof(m->job), "%Y%m%d-%H%M%S-", &tm);
	memcpy(m->job + strlen(m->job), random, sizeof(random));
}

static int start_embedded(struct manager *m, struct dag_diag *diag)
{
	char *control = base_format("inproc://control-%s", m->job),
	     *data = base_format("inproc://data-%s", m->job);
	char *cache = base_format("%s/cache", m->state_folder);
	struct daemon_config config = {.node = "local",
		.listen = control,
		.data_listen = data,
		.slots = m->config->slots,
		.memory = m->memory,
		.spool_memory = m->memory / 4,
		.spool = m->spool_folder,
		.host_program = m->config->host_program,
		.embedded = true,
		.cache = cache};
	char *spool_name = base_format("run-%s", m->job);
	int r;

	config.spool_name = spool_name;
	r = daemon_new(&m->loop, m->wire, &config, &m->daemon, diag);
	free(spool_name);
	free(control);
	free(data);
	free(cache);
	return r;
}

static int take_lock(struct manager *m, struct dag_diag *diag)
{
	struct stat held, there;
	int r;

	/* `clean` may take a folder without a journal for that of a job that was killed. */
	for (;;) {
		r = os_make_folders(m->job_folder);
		if (r == 0)
			r = journal_lock(m->job_folder, true, &m->lock_fd);
		if (r < 0 || (fstat(m->lock_fd, &held) == 0 && stat(m->job_folder, &there) == 0 &&
				     held.st_ino == there.st_ino))
			break;
		close(m->lock_fd);
		m->lock_fd = -1;
	}
	if (r < 0) {
		dag_diag_add(diag, NULL, 0, 0, "cannot make the job's folder %s: %s", m->job_folder,
			strerror(errno));
		return DAG_EIO;
	}
	return 0;
}

static int describe(struct manager *m, struct dag_diag *diag)
{
	int r = ship_prepare(m, diag);

	if (r == 0)
		resume_describe(m);
	return r;
}

static int start(struct manager *m, struct dag_diag *diag)
{
	struct journal_config journal = {.on_durable = on_durable, .on_trouble = on_trouble, .ctx = m};
	const struct journal_saved *saved = m->config->saved;
	struct verify *verify = m->config->verify;
	char *why = NULL;
	int r = 0;

	m->state_folder = os_state_folder_or(&why);
	if (!m->state_folder) {
		dag_diag_add(diag, NULL, 0, 0, "%s", why);
		free(why);
		return DAG_EIO;
	}
	m->job_folder = base_format("%s/jobs/%s", m->state_folder, m->job);
	m->spool_folder = base_format("%s/spool/run-%s", m->state_folder, m->job);
	journal.folder = m->job_folder;
	m->epoch = saved ? saved->epoch + 1 : 1;
	detector_init(&m->detector, m->started);
	if (saved || verify) { /* nothing is touched before it is clear that the job is the same */
		r = describe(m, diag);
		if (r == 0 && verify)
			r = resume_check_same(m, verify_saved(verify), m->config->verified, "verified", diag);
		m->graph = verify ? verify_graph(verify) : m->graph;
	}
	jm_new(&m->jm, &(struct jm_config){.graph = m->graph,
			       .epoch = m->epoch,
			       .seed = m->incarnation,
			       .waits = nodes_waits(m->config),
			       .skipped = verify ? verify_skipped(verify) : NULL,
			       .like = verify ? verify_then(verify) : NULL});
	if (saved) {
		r = r == 0 ? resume_replay(m, diag) : r;
		journal.existing = true;
		journal.first = saved->fact_count;
		journal.first_row = saved->row_count;
		journal.first_sum = saved->last_sum;
	}
	/* The daemon first: its hosts start while the journal is opened. */
	if (r == 0 && !m->config->nameserver)
		r = start_embedded(m, diag);
	if (r == 0 && !saved)
		r = take_lock(m, diag);
	if (r == 0)
		r = outputs_prepare(m, diag);
	if (r == 0 && !saved) {
		r = verify ? 0 : describe(m, diag);
		journal.meta = m->meta;
		journal.meta_count = m->meta_count;
	}
	if (r == 0)
		r = journal_new(&m->loop, &journal, &m->journal, diag);
	if (r == 0)
		r = data_new(&m->loop, m->config->keys, NULL, false, outputs_on_data, m, &m->data, NULL);
	if (r < 0)
		return r;
	data_lend(m->data);
	if (saved)
		progress_say(m, "resuming job %s of '%s' in epoch %u: %zu facts", m->job, m->graph->name,
			m->epoch, saved->fact_count);
	return nodes_start(m);
}

void manager_arm(struct manager *m, bool signals)
{
	uv_timer_init(&m->loop, &m->tick);
	uv_timer_init(&m->loop, &m->wake);
	uv_prepare_init(&m->loop, &m->flush);
	uv_signal_init(&m->loop, &m->on_int);
	uv_signal_init(&m->loop, &m->on_term);
	uv_signal_init(&m->loop, &m->on_hup);
	m->tick.data = m->wake.data = m->flush.data = m->on_int.data = m->on_term.data = m->on_hup.data = m;
	uv_timer_start(&m->tick, on_tick, TICK_MS, TICK_MS);
	uv_prepare_start(&m->flush, on_flush);
	if (signals) {
		uv_signal_start(&m->on_int, on_signal, SIGINT);
		uv_signal_start(&m->on_term, on_signal, SIGTERM);
		if (startup_ends_on_hangup())
			uv_signal_start(&m->on_hup, on_signal, SIGHUP);
	}
}

void manager_disarm(struct manager *m)
{
	uv_close((uv_handle_t *)&m->tick, NULL);
	uv_close((uv_handle_t *)&m->wake, NULL);
	uv_close((uv_handle_t *)&m->flush, NULL);
	uv_close((uv_handle_t *)&m->on_int, NULL);
	uv_close((uv_handle_t *)&m->on_term, NULL);
	uv_close((uv_handle_t *)&m->on_hup, NULL);
}

void manager_end(struct manager *m)
{
	bool began = m->journal != NULL;

	outputs_destroy(m);
	results_destroy(m);
	nodes_destroy(m);
	data_destroy(&m->data);
	daemon_destroy(&m->daemon);
	sources_destroy(m);
	ship_destroy(m);
	wire_loop_destroy(&m->wire);
	journal_destroy(&m->journal);
	while (uv_run(&m->loop, UV_RUN_NOWAIT) != 0)
		;
	uv_loop_close(&m->loop);
	if (m->spool_folder && !m->config->nameserver && (m->ending || m->signal || !m->config->saved))
		os_remove_tree(m->spool_folder);
	if (m->job_folder && (m->config->verify || (!began && !m->config->saved)))
		os_remove_tree(m->job_folder); /* nobody needs it */
	jm_destroy(&m->jm);
	notes_destroy(m);
	said_destroy(m);
	progress_destroy(m);
	for (size_t i = m->deferred_first; i < m->deferred_count; i++)
		free(m->deferred[i].text);
	free(m->deferred);
	free(m->counters);
	free(m->noted);
	quarantine_destroy(m);
	for (size_t i = 0; i < m->meta_count; i++) {
		free((char *)m->meta[i].name);
		free((char *)m->meta[i].value);
	}
	free(m->meta);
	if (m->lock_fd >= 0)
		close(m->lock_fd);
	free(m->state_folder);
	free(m->job_folder);
	free(m->spool_folder);
	free(m->end_text);
}

static int exit_code(const struct manager *m)
{
	if (m->ending && !m->end_error) /* a signal that came too late changes nothing */
		return MANAGER_DONE;
	if (m->reader_left)
		return MANAGER_SIGNALLED + SIGPIPE;
	if (m->signal)
		return MANAGER_SIGNALLED + m->signal;
	if (!m->ending)
		return MANAGER_FAILED;
	return m->end_error == DAG_EUNREACHABLE || m->end_error == DAG_ELOST || m->end_error == DAG_EPERM
		       ? MANAGER_UNREACHABLE
		       : MANAGER_FAILED;
}

void manager_close_open(struct manager *m)
{
	for (uint32_t i = 0; i < m->graph->stage_count && !m->ending; i++)
		if (m->graph->stages[i]->open)
			manager_step(m, &(struct jm_event){.kind = JM_CLOSE, .stage = i});
}

int manager_begin(struct manager *m, struct manager_config *config, struct dag_diag *diag)
{
	*m = (struct manager){.config = config, .graph = config->graph};
	m->memory = os_memory();
	if (!config->slots)
		config->slots = (uint32_t)os_cores();
	config->slots = DAG_MIN(config->slots, os_slots_max());
	if (config->saved)
		snprintf(m->job, sizeof(m->job), "%s", config->job);
	else
		make_job_id(m);
	m->lock_fd = config->saved ? config->lock_fd : -1;
	m->incarnation = os_random();
	m->started = m->last_tick = m->last_node = os_now();
	uv_loop_init(&m->loop);
	wire_loop_new(&m->wire, &m->loop);
	progress_new(m);
	return start(m, diag);
}

void manager_tell(const struct manager_config *config, struct dag_diag *diag)
{
	os_tell(diag, "dagrun", config->say, config->say_ctx);
}

/* Without having ended: the journal could not be written in time, or somebody asked twice. */
static void say_stopped(struct manager *m)
{
	enum outputs_fate fate = outputs_fate(m);
	bool known = m->config->saved || journal_durable(m->journal);

	progress_say(m, "job %s stopped by signal %d; %s%s", m->job, m->signal,
		fate == OUTPUTS_NONE  ? "nothing was published"
		: fate == OUTPUTS_ALL ? "all its outputs were published"
				      : "perhaps not all was published",
		known ? "; 'dagrun resume' goes on with it" : "");
}

static bool has_files(const struct manager *m)
{
	for (size_t i = 0; i < m->graph->output_count; i++)
		if (strcmp(m->graph->outputs[i].path, "-"))
			return true;
	return false;
}

static void say_end(struct manager *m, int code)
{
	if (code == MANAGER_DONE)
		progress_summary(m);
	else if (m->reader_left && !has_files(m))
		progress_hide(m); /* as any program whose reader has had enough */
	else if (m->reader_left)
		progress_say(m, "job %s ended, as nobody reads %s any more; nothing was published", m->job,
			m->reader_left);
	else if (m->signal && !m->ending)
		say_stopped(m);
	else if (m->signal)
		progress_say(m, "job %s cancelled by signal %d; nothing was published", m->job, m->signal);
	else
		progress_say(m, "job %s failed: %s", m->job, m->end_text ? m->end_text : "it did not end");
}

int manager_run(const struct manager_config *given)
{
	struct manager_config config = *given;
	struct manager m;
	struct dag_diag diag = {0};
	int r = manager_begin(&m, &config, &diag), code;

	manager_tell(&config, &diag);
	if (r == 0) {
		manager_arm(&m, true);
		while (!m.stop)
			uv_run(&m.loop, UV_RUN_DEFAULT);
		manager_disarm(&m);
		code = exit_code(&m);
		say_end(&m, code);
		/* A disk that stands still keeps nobody here, and resume sees to the rest, as after a
		 * crash. */
		if (!m.ending && !outputs_settle(&m, STUCK_PATIENCE))
			_exit(code);
		if (!m.ending)
			journal_hasten(m.journal, STUCK_PATIENCE);
	} else {
		code = r == DAG_EUNREACHABLE ? MANAGER_UNREACHABLE
		       : r == DAG_ECHANGED   ? MANAGER_INVALID
					     : MANAGER_FAILED;
	}
	manager_end(&m);
	return code;
}
