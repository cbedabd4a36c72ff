/* SPDX-License-Identifier: Apache-2.0 */
/* A job on this node: who manages it, and the queue of what is to run. */
#include "node.h"
#include "os/os.h"

#include <errno.h>

#define JOB_NAME_MAX 39u
#define PEERS_MAX 100000u

struct job *job_find(struct daemon *d, const char *id)
{
	struct job *job;

	HASH_FIND_STR(d->jobs, id, job);
	return job;
}

/* ---- opening and closing ---- */

static void send_fenced(struct session *s, uint32_t epoch)
{
	Dagrun__Fenced m = DAGRUN__FENCED__INIT;
	SESSION_ENVELOPE(e, FENCED);

	m.epoch = epoch;
	e.fenced = &m;
	session_send(s, &e);
}

static void take_manager(struct job *job, struct session *s, uint32_t epoch)
{
	if (job->manager && job->manager != s)
		session_set_owner(job->manager, NULL);
	job->manager = s;
	job->epoch = epoch;
	job->last_heard = os_boottime();
	session_set_owner(s, job);
}

static int by_id(const struct job *a, const struct job *b)
{
	return strcmp(a->id, b->id);
}

void job_open(struct daemon *d, struct session *s, const Dagrun__JobOpen *m)
{
	struct job *job = job_find(d, m->job);

	if (job && m->epoch < job->epoch) {
		send_fenced(s, job->epoch); /* an older run of the job manager */
		return;
	}
	if (job) {
		bool other = job->manager != s;

		if (job->manager && other && m->epoch > job->epoch)
			send_fenced(job->manager, m->epoch);
		take_manager(job, s, m->epoch);
		job->want = job->least = job->grant = 0;
		if (job->ready)
			job_tell_all(job);
		else
			files_ask_again(job);
		if (other)
			input_ask_again(job);
		return;
	}
	if (!files_is_name(m->job, JOB_NAME_MAX)) {
		daemon_send_ready(d, s, "its name is none that a job can have");
		return;
	}
	job = base_alloc(sizeof(*job));
	job->daemon = d;
	job->id = base_strdup(m->job);
	job->kept_as = keep_job_number(job->id);
	job->hosts_hint = m->hosts_hint;
	job->own_node = UINT32_MAX;
	/* Not of the id alone: one that has ended under it removes its own when its hosts have gone. */
	job->scratch = base_format("%s/scratch/%s-%u", spool_folder(d->spool), m->job, ++d->scratch_count);
	HASH_ADD_KEYPTR(hh, d->jobs, job->id, strlen(job->id), job);
	HASH_SORT(d->jobs, by_id); /* every node gives gangs their slots in the same order */
	take_manager(job, s, m->epoch);
	if (stages_take(job, m)) {
		job->attempts = base_alloc((job->vertex_count + 1ull) * sizeof(struct attempt *));
		files_open(job);
		return;
	}
	/* Nothing of it stays: whoever opens it again describes it anew. */
	job->vertex_count = 0;
	job_send_ready(job, "the job's description makes no sense to this daemon");
	job_destroy(&job);
}

static void discard(struct attempt *a, void *ctx)
{
	(void)ctx;
	attempt_discard(a);
}

void job_destroy(struct job **jobp)
{
	struct job *job = *jobp;
	struct daemon *d = job->daemon;

	if (job->manager)
		session_set_owner(job->manager, NULL);
	attempt_close_inputs(job);
	serve_forget_job(job);
	/* Hosts point to their job until they are buried: kill them and wait for the kernel, which takes no
	 * time. */
	for (struct host *h = d->hosts; h; h = h->next)
		if (h->job == job)
			host_kill(h);
	job->manager = NULL;
	job->ready = false;
	HASH_DEL(d->jobs, job);
	job->queue_first = job->queue_count = 0;
	job->ended_count = 0;
	job->ending = true;
	attempt_each(job, discard, NULL);
	files_drop(job);
	keep_note(d->keep, KEEP_JOB_GONE, job->kept_as, 0, 0, NULL, 0);
	job->next_ended = d->ended_jobs;
	d->ended_jobs = job;
	*jobp = NULL;
}

bool job_try_free(struct job *job)
{
	for (struct host *h = job->daemon->hosts; h; h = h->next)
		if (h->job == job)
			return false;
	if (job->attempt_count || job->files_busy)
		return false;
	stages_close_specs(job);
	for (size_t i = 0; i < job->peer_count; i++) {
		free(job->peers[i].id);
		free(job->peers[i].data);
	}
	disk_remove_tree(job->daemon->disk, job->scratch);
	free(job->peers);
	free(job->numbers);
	free(job->files);
	free(job->attempts);
	free(job->stages);
	free(job->queue);
	free(job->ended);
	free(job->scratch);
	free(job->id);
	arena_fini(&job->arena);
	free(job);
	return true;
}

/* ---- running ---- */

/* reason: an errno. */
static void fail_start(struct attempt *a, int error, int reason)
{
	a->state = ATTEMPT_RUNNING; /* so that its shares are given back */
	a->job->running += a->run->shares;
	attempt_fail(a, error, 0,
		base_format(error == DAG_ENOEXEC ? "cannot start daghost: %s"
						 : "the node cannot start another process: %s",
			strerror(reason)));
}

void job_begin(struct attempt *a)
{
	dag_instant timeout = a->job->stages[a->stage].timeout;

	a->state = ATTEMPT_RUNNING;
	a->ahead = false;
	a->run->started = os_now();
	a->run->deadline = timeout ? a->run->started + timeout : DAG_NEVER;
	a->job->running += a->run->shares;
}

void job_queue(struct attempt *a)
{
	struct job *job = a->job;

	*DAG_APPEND(job->queue, job->queue_count, job->queue_cap) = a;
}

void job_requeue(struct attempt *a)
{
	struct job *job = a->job;

	a->state = ATTEMPT_QUEUED;
	a->ahead = false;
	input_close_all(a); /* what came with its start */
	a->host = NULL;
	if (a->run->behind)
		return;
	if (!job->queue_first) {
		DAG_APPEND(job->queue, job->queue_count, job->queue_cap);
		memmove(job->queue + 1, job->queue, (job->queue_count - 1) * sizeof(struct attempt *));
		job->queue[0] = a;
	} else
		job->queue[--job->queue_first] = a;
}

/* Of the group that begins at the front, whose members follow each other. */
static size_t count_members(const struct job *job)
{
	struct attempt *const *group = &job->queue[job->queue_first];
	size_t most = DAG_MIN(job->queue_count - job->queue_first, (size_t)group[0]->run->group_size), n = 1;

	while (n < most && group[n]->run->group == group[0]->run->group)
		n++;
	return n;
}

/* Not in the queue any more. A failure may change that one: the group is the caller's own. */
static void fail_group(struct attempt **group, size_t n, int error, const char *text)
{
	for (size_t i = 0; i < n; i++)
		attempt_fail(group[i], error, 0, base_strdup(text));
}

static void begin_group(struct job *job, struct attempt **group, size_t n)
{
	struct host *host;
	int r = host_get(job, job->stages[group[0]->stage].isolate, &host), reason = errno;

	for (size_t i = 0; i < n; i++)
		if (r < 0)
			fail_start(group[i], r, reason);
		else
			job_begin(group[i]);
	if (r < 0)
		return;
	r = host_run(host, group, n);
	if (r < 0)
		fail_group(group, n, r, "the host cannot be reached");
	for (size_t i = 0; i < n && r == 0; i++)
		serve_started(group[i]);
}

bool job_runs_before(const struct attempt *a)
{
	bool runs = false;

	for (struct attempt *o = a->job->attempts[a->key.vertex]; o; o = o->same)
		if (o->key.number < a->key.number && o->state == ATTEMPT_RUNNING && o->host && !o->ahead) {
			if (!o->host->retiring)
				attempt_kill(o);
			runs = true;
		}
	return runs;
}

/* Starts the first of the queue, with its group. False where it must wait. */
static bool run_first(struct job *job)
{
	struct attempt *group[HOST_TASKS_MAX];
	size_t n = count_members(job), size = job->queue[job->queue_first]->run->group_size;
	bool cut_off = n < job->queue_count - job->queue_first; /* something else follows */
	uint64_t shares = 0;

	if (n < size && !cut_off)
		return false;
	memcpy(group, &job->queue[job->queue_first], n * sizeof(*group));
	for (size_t i = 0; i < n; i++)
		shares += group[i]->run->shares;
	if (n == size && shares <= job->daemon->slots * (uint64_t)GRAPH_CPU_SHARES &&
		job->running + shares > job->grant)
		return false;
	for (size_t i = 0; i < n; i++)
		if (job_runs_before(group[i]))
			return false;
	job->queue_first += n;
	if (n < size)
		fail_group(group, n, DAG_EPROTO, "this daemon cannot take its start: its group is not whole");
	else if (shares > job->daemon->slots * (uint64_t)GRAPH_CPU_SHARES)
		fail_group(group, n, DAG_EPROTO,
			"this daemon cannot take its start: it needs more slots than the node has");
	else
		begin_group(job, group, n);
	return true;
}

void job_run(struct job *job)
{
	if (!job->ready || job->lease_over)
		return;
	do
		while (job->queue_first < job->queue_count && run_first(job))
			;
	while (job->queue_first == job->queue_count && ahead_take_back(job));
	ahead_send(job);
	if (job->queue_first == job->queue_count)
		job->queue_first = job->queue_count = 0;
}

uint32_t job_peer_of(const struct job *job, uint32_t node)
{
	return node < job->number_count ? job->numbers[node] : UINT32_MAX;
}

/* A job manager that resumes the job may number the nodes anew, while what runs goes on reading from them. */
static void on_peers(struct job *job, const Dagrun__Peers *m)
{
	for (size_t i = 0; i < m->n_peers; i++) {
		const Dagrun__Peer *p = m->peers[i];
		uint32_t ours = 0;

		if (p->node > PEERS_MAX)
			continue; /* who reads from there is told that it is not known */
		while (ours < job->peer_count && strcmp(job->peers[ours].id, p->id))
			ours++;
		if (p->gone) {
			input_peer_gone(job, ours);
			continue;
		}
		if (ours > PEERS_MAX)
			continue;
		if (ours == job->peer_count)
			DAG_APPEND(job->peers, job->peer_count, job->peer_cap)->id = base_strdup(p->id);
		free(job->peers[ours].data);
		job->peers[ours].data = base_strdup(p->data);
		while (job->number_count <= p->node)
			*DAG_APPEND(job->numbers, job->number_count, job->number_cap) = UINT32_MAX;
		job->numbers[p->node] = ours;
		if (!strcmp(p->id, job->daemon->id))
			job->own_node = ours;
	}
}

static void on_each(struct job *job, const Dagrun__AttemptBatch *m, void (*act)(struct attempt *a))
{
	for (size_t i = 0; i < DAG_MIN(m->n_vertices, m->n_attempts); i++) {
		struct attempt *a = attempt_find(job, m->vertices[i], m->attempts[i]);

		if (a)
			act(a);
	}
}

static void on_want(struct job *job, const Dagrun__Want *m)
{
	job->want = m->slots;
	job->least = m->least;
	/* What is to run comes just behind, and should not all go to one host. */
	if (DAG_MIN(job->want, job->daemon->slots * GRAPH_CPU_SHARES) > job->grant)
		daemon_divide_slots(job->daemon);
}

void job_message(struct job *job, const Dagrun__Envelope *e)
{
	job->last_heard = os_boottime();
	job->lease_over = false;
	switch (e->body_case) {
	case DAGRUN__ENVELOPE__BODY_FILE_CHUNK:
		files_take(job, e->file_chunk);
		break;
	case DAGRUN__ENVELOPE__BODY_WANT:
		on_want(job, e->want);
		break;
	case DAGRUN__ENVELOPE__BODY_RECALL:
		ahead_recall(job, e->recall->slots);
		job_run(job);
		break;
	case DAGRUN__ENVELOPE__BODY_PEERS:
		on_peers(job, e->peers);
		break;
	case DAGRUN__ENVELOPE__BODY_START:
		start_batch(job, e->start);
		break;
	case DAGRUN__ENVELOPE__BODY_ACK_DONE:
		on_each(job, e->ack_done, attempt_acknowledge);
		break;
	case DAGRUN__ENVELOPE__BODY_KILL:
	case DAGRUN__ENVELOPE__BODY_DISCARD:
		on_each(job, e->body_case == DAGRUN__ENVELOPE__BODY_KILL ? e->kill : e->discard,
			attempt_discard);
		job_run(job);
		break;
	case DAGRUN__ENVELOPE__BODY_TRIM:
		trim_job(job, e->trim);
		break;
	case DAGRUN__ENVELOPE__BODY_VERIFY:
		attempt_verify(job, e->verify->vertex, e->verify->attempt);
		break;
	case DAGRUN__ENVELOPE__BODY_SOURCE_DATA:
		input_on_source(job, e->source_data);
		break;
	default:
		break;
	}
}
