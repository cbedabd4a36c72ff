/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun/job.h: the job manager inside of a user's program, which runs its loop in each call. */
#include "dagrun/job.h"
#include "load.h"
#include "origin.h"
#include "os/os.h"
#include "results.h"
#include "wire/cluster.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

struct dag_job {
	struct manager manager;
	struct manager_config config;
	struct origin origin;
	struct load load;
	struct cluster cluster;
	bool begun;
	uv_timer_t poll;
	bool polled;
	pid_t process;
	pthread_t thread;
	struct dag_job *next; /* of those that live */
};

/* A program may exit in the midst: what its jobs left beside their outputs goes, as far as this thread may.
 */
static struct {
	pthread_mutex_t lock;
	struct dag_job *first;
	bool watched;
} living = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void say_nothing(void *ctx, const char *line)
{
	(void)ctx;
	(void)line;
}

static struct dag_job *find_own(void)
{
	struct dag_job *job;

	pthread_mutex_lock(&living.lock);
	job = living.first;
	while (job && (job->process != getpid() || !pthread_equal(job->thread, pthread_self())))
		job = job->next;
	pthread_mutex_unlock(&living.lock);
	return job;
}

static void on_exit_of_process(void)
{
	struct dag_job *job;

	while ((job = find_own())) {
		job->config.say = say_nothing; /* where lines went may be gone */
		dag_job_destroy(&job);
	}
}

static void begin_life(struct dag_job *job)
{
	job->process = getpid();
	job->thread = pthread_self();
	pthread_mutex_lock(&living.lock);
	job->next = living.first;
	living.first = job;
	if (!living.watched)
		atexit(on_exit_of_process);
	living.watched = true;
	pthread_mutex_unlock(&living.lock);
}

static void end_life(struct dag_job *job)
{
	pthread_mutex_lock(&living.lock);
	for (struct dag_job **at = &living.first; *at; at = &(*at)->next)
		if (*at == job) {
			*at = job->next;
			break;
		}
	pthread_mutex_unlock(&living.lock);
}

/* ---- opening ---- */

static int load(struct dag_job *job, const struct dag_job_options *o, struct dag_diag *diag)
{
	int r;

	origin_begin(&job->origin, o->graph);
	for (size_t i = 0; o->params && o->params[i]; i++) {
		if (load_param(&job->load, o->params[i]) < 0) {
			dag_diag_add(
				diag, NULL, 0, 0, "a parameter must be NAME=VALUE, not '%s'", o->params[i]);
			return DAG_EINVAL;
		}
		origin_add(&job->origin, "param ", i, o->params[i]);
	}
	origin_add(&job->origin, "nameserver", 0, job->cluster.nameserver);
	origin_add(&job->origin, "keys", 0, job->cluster.keys_said);
	job->load.path = o->graph;
	r = load_graph(&job->load, diag);
	if (r < 0 || !load_reads_stdin(&job->load))
		return r;
	dag_diag_add(diag, o->graph, 0, 0,
		"an input \"-\" is stdin, which belongs to the program that runs the job: give a file");
	return DAG_EINVAL;
}

static int begin(struct dag_job *job, const struct dag_job_options *o, struct dag_diag *diag)
{
	int r = cluster_find(&job->cluster, o->nameserver, o->keys, diag);

	if (r < 0)
		return DAG_EPERM;
	r = load(job, o, diag);
	if (r == 0)
		r = manager_check_outputs(job->load.graph, diag);
	if (r < 0)
		return r;
	job->config.graph = job->load.graph;
	job->config.nameserver = job->cluster.nameserver;
	job->config.keys = job->cluster.keys;
	job->config.slots = o->slots;
	job->config.host_program = job->load.host_program;
	job->config.quiet = job->config.client = true;
	job->config.meta = job->origin.items;
	job->config.meta_count = job->origin.count;
	job->begun = true;
	return manager_begin(&job->manager, &job->config, diag);
}

int dag_job_open(struct dag_job **ret_job, const struct dag_job_options *options)
{
	struct dag_job_options o = {0};
	struct dag_job *job = base_alloc(sizeof(*job));
	struct dag_diag diag = {0};
	int r = DAG_EINVAL;

	*ret_job = NULL;
	if (options)
		memcpy(&o, options, DAG_MIN(options->size, sizeof(o)));
	job->config.say = o.say;
	job->config.say_ctx = o.ctx;
	if (o.graph)
		r = begin(job, &o, &diag);
	else
		dag_diag_add(&diag, NULL, 0, 0, "dag_job_open needs the path of a graph file");
	manager_tell(&job->config, &diag);
	if (r < 0) {
		dag_job_destroy(&job);
		return r;
	}
	manager_arm(&job->manager, false);
	uv_timer_init(&job->manager.loop, &job->poll);
	job->poll.data = job;
	begin_life(job);
	*ret_job = job;
	return 0;
}

/* ---- its life ---- */

static int end_of(const struct dag_job *job)
{
	return job->manager.end_error ? job->manager.end_error : DAG_ECANCELED;
}

static void on_poll(uv_timer_t *timer)
{
	((struct dag_job *)timer->data)->polled = true;
}

int dag_job_poll(struct dag_job *job, uint32_t milliseconds)
{
	struct manager *m = &job->manager;

	job->polled = !milliseconds;
	if (milliseconds)
		uv_timer_start(&job->poll, on_poll, milliseconds, 0);
	do
		uv_run(&m->loop, milliseconds ? UV_RUN_ONCE : UV_RUN_NOWAIT);
	while (!job->polled && !m->ending);
	uv_timer_stop(&job->poll);
	return m->ending && m->end_error ? end_of(job) : 0;
}

static const struct graph_stage *find_open(const struct dag_job *job, const char *name)
{
	const struct graph_stage *s = name ? graph_find_stage(job->load.graph, name) : NULL;

	return s && s->open ? s : NULL;
}

static const struct graph_edge *find_edge(
	const struct dag_job *job, const struct graph_stage *to, const char *from)
{
	for (uint32_t p = 0; p < to->in_count; p++) {
		const struct graph_edge *e = job->load.graph->edges[to->in[p].edge];

		if (!strcmp(job->load.graph->stages[e->from]->name, from))
			return e;
	}
	return NULL;
}

/* The end of a job is told when it is durable. */
static bool has_ended(struct dag_job *job)
{
	while (jm_ended(job->manager.jm) && !job->manager.ending)
		uv_run(&job->manager.loop, UV_RUN_ONCE);
	return job->manager.ending;
}

int dag_job_add(struct dag_job *job, const char *stage, const void *argument, size_t argument_len,
	const struct dag_job_input *inputs, size_t input_count, uint32_t *ret_index)
{
	struct manager *m = &job->manager;
	const struct graph_stage *s = find_open(job, stage);
	uint32_t index = s ? jm_added(m->jm, s->id) : 0;
	struct jm_read *reads;
	bool may;

	if (has_ended(job))
		return end_of(job);
	if (!s || (!argument && argument_len) || (!inputs && input_count))
		return DAG_EINVAL;
	if (index == s->width || argument_len > DAG_ARGUMENT_MAX)
		return DAG_ELIMIT;
	reads = base_alloc((input_count + 1) * sizeof(*reads));
	for (size_t i = 0; i < input_count; i++) {
		const struct graph_edge *e = inputs[i].stage ? find_edge(job, s, inputs[i].stage) : NULL;

		reads[i] = (struct jm_read){e ? e->id : GRAPH_NONE, inputs[i].index};
	}
	may = jm_may_add(m->jm, s->id, reads, input_count);
	if (may)
		manager_step(m, &(struct jm_event){.kind = JM_ADD,
					.stage = s->id,
					.reads = reads,
					.read_count = input_count,
					.argument = argument,
					.argument_len = argument_len});
	free(reads);
	if (!may)
		return DAG_EINVAL;
	*ret_index = index;
	dag_job_poll(job, 0);
	return 0;
}

static enum jm_state state_of(const struct dag_job *job, uint32_t vertex)
{
	uint32_t attempt, node;
	enum jm_state state = JM_WAITING;

	jm_current(job->manager.jm, vertex, &attempt, &node, &state);
	return state;
}

int dag_job_ended(struct dag_job *job, const char *stage, uint32_t index)
{
	const struct graph_stage *s = find_open(job, stage);

	if (!s || index >= jm_added(job->manager.jm, s->id))
		return DAG_EINVAL;
	dag_job_poll(job, 0);
	if (job->manager.ending && job->manager.end_error)
		return end_of(job);
	return state_of(job, s->first_vertex + index) == JM_DONE;
}

int dag_job_read(struct dag_job *job, const char *stage, uint32_t index, uint32_t port, void **ret_data,
	size_t *ret_len)
{
	struct manager *m = &job->manager;
	const struct graph_stage *s = find_open(job, stage);
	struct result r = {0};
	uint32_t vertex;

	if (!s || index >= jm_added(m->jm, s->id) || port >= s->out_count)
		return DAG_EINVAL;
	vertex = s->first_vertex + index;
	while (!r.there) {
		if (m->ending)
			return end_of(job);
		if (state_of(job, vertex) != JM_DONE) {
			uv_run(&m->loop, UV_RUN_ONCE);
			continue;
		}
		result_fetch(m, &r, s, port, vertex);
		while (r.channel && !m->ending)
			uv_run(&m->loop, UV_RUN_ONCE);
		if (!r.there) {
			int error = r.error;

			result_fini(m, &r);
			if (error == DAG_EFORMAT)
				return error;
			manager_step(m, &(struct jm_event){
						.kind = JM_UNREAD, .vertex = vertex, .attempt = r.attempt});
		}
	}
	buffer_append(&r.bytes, "", 1);
	*ret_data = r.bytes.data;
	*ret_len = r.bytes.len - 1;
	r.bytes = (struct buffer){0};
	result_fini(m, &r);
	return 0;
}

int dag_job_close(struct dag_job *job, const char *stage)
{
	const struct graph_stage *s = find_open(job, stage);

	if (!s)
		return DAG_EINVAL;
	if (!job->manager.ending)
		manager_step(&job->manager, &(struct jm_event){.kind = JM_CLOSE, .stage = s->id});
	return job->manager.ending && job->manager.end_error ? end_of(job) : 0;
}

int dag_job_finish(struct dag_job *job)
{
	struct manager *m = &job->manager;

	manager_close_open(m);
	while (!m->stop)
		uv_run(&m->loop, UV_RUN_ONCE);
	return m->ending && !m->end_error ? 0 : end_of(job);
}

const char *dag_job_error(const struct dag_job *job)
{
	return job->manager.end_error && job->manager.end_text ? job->manager.end_text : "";
}

void dag_job_destroy(struct dag_job **jobp)
{
	struct dag_job *job = *jobp;

	if (!job)
		return;
	end_life(job);
	if (job->poll.data) {
		if (!job->manager.ending)
			manager_cancel(&job->manager, SIGTERM);
		while (!job->manager.stop)
			uv_run(&job->manager.loop, UV_RUN_ONCE);
		uv_close((uv_handle_t *)&job->poll, NULL);
		manager_disarm(&job->manager);
	}
	if (job->begun)
		manager_end(&job->manager);
	origin_fini(&job->origin);
	load_fini(&job->load);
	cluster_fini(&job->cluster);
	free(job);
	*jobp = NULL;
}
