/* SPDX-License-Identifier: Apache-2.0 */
/* A job on this node: the files that are shipped for it, and the queue of what is to run. */
#include "node.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOSTS_AHEAD_MAX 64u
#define HASHED_AT_ONCE (256u << 10)
#define JOB_NAME_MAX 39u
#define FILES_MAX 16384u /* shipped for a job */
#define PEERS_MAX 100000u

struct job *job_find(struct daemon *d, const char *id)
{
	struct job *job;

	HASH_FIND_STR(d->jobs, id, job);
	return job;
}

/* ---- shipped files ---- */

static bool good_name(const char *name, size_t max)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return n && n <= max && !name[n] && name[0] != '.';
}

/* Whether the descriptor has its bytes, by their hash. */
static bool is_file(const struct job_file *f, int fd)
{
	struct hash_state *state = hash_state_new();
	unsigned char *chunk = base_alloc(HASHED_AT_ONCE);
	char hex[HASH_HEX_LEN + 1];
	uint64_t at = 0;
	ssize_t n;

	while (at <= f->size && (n = pread(fd, chunk, HASHED_AT_ONCE, (off_t)at)) > 0) {
		hash_state_update(state, chunk, (size_t)n);
		at += (uint64_t)n;
	}
	hash_hex(hash_state_digest(state), hex);
	hash_state_destroy(&state);
	free(chunk);
	return at == f->size && !strcmp(hex, f->hash);
}

/* In the cache, and what its name says: a folder on a disk is no proof. */
static bool is_cached(const struct job_file *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	bool ok;

	if (fd < 0)
		return false;
	ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->size && is_file(f, fd);
	close(fd);
	return ok;
}

const char *job_add_file(struct job *job, const Dagrun__File *m)
{
	struct job_file *f;

	if (!good_name(m->hash, HASH_HEX_LEN))
		return NULL;
	for (size_t i = 0; i < job->file_count; i++)
		if (!strcmp(job->files[i].hash, m->hash))
			return job->files[i].path;
	if (job->file_count == FILES_MAX)
		return NULL;
	f = DAG_APPEND(job->files, job->file_count, job->file_cap);
	f->hash = arena_strdup(&job->arena, m->hash);
	f->path = arena_format(&job->arena, "%s/%s", job->daemon->cache, m->hash);
	f->size = m->size;
	f->fd = -1;
	f->there = is_cached(f);
	return f->path;
}

static void ask_files(struct job *job)
{
	Dagrun__FileNeed m = DAGRUN__FILE_NEED__INIT;
	SESSION_ENVELOPE(e, FILE_NEED);

	m.hashes = base_alloc((job->file_count + 1) * sizeof(*m.hashes));
	for (size_t i = 0; i < job->file_count; i++)
		if (!job->files[i].there)
			m.hashes[m.n_hashes++] = job->files[i].hash;
	e.file_need = &m;
	if (m.n_hashes)
		session_send(job->manager, &e);
	job->ready = !m.n_hashes;
	free(m.hashes);
	if (!job->ready)
		return;
	host_prepare(job, DAG_MIN(DAG_MIN(job->hosts_hint, job->daemon->slots), HOSTS_AHEAD_MAX));
	job_tell_all(job);
}

static struct job_file *find_file(struct job *job, const char *hash)
{
	for (size_t i = 0; i < job->file_count; i++)
		if (!strcmp(job->files[i].hash, hash) && !job->files[i].there)
			return &job->files[i];
	return NULL;
}

/* Puts a piece of it into the file. NULL, or what is wrong, allocated. */
static char *keep_chunk(struct job *job, struct job_file *f, const Dagrun__FileChunk *m)
{
	int error;

	if (*m->error)
		return base_strdup(m->error);
	if (m->offset > f->size || m->data.len > f->size - m->offset)
		return base_format("of the shipped file %s comes more than its %llu bytes", f->hash,
			(unsigned long long)f->size);
	if (f->fd < 0) {
		f->temporary = arena_format(&job->arena, "%s.%s.%d", f->path, job->id, (int)getpid());
		f->fd = open(f->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0700);
	}
	error = f->fd < 0 ? errno : os_write_at(f->fd, m->data.data, m->data.len, m->offset);
	if (error)
		return base_format(
			"cannot keep a shipped file in %s: %s", job->daemon->cache, strerror(error));
	if (!m->last)
		return NULL;
	/* What came must be what was asked for: the content is its name. */
	if (!is_file(f, f->fd))
		return base_format("the shipped file %s does not have its hash", f->hash);
	if (rename(f->temporary, f->path) < 0)
		return base_format(
			"cannot keep a shipped file in %s: %s", job->daemon->cache, strerror(errno));
	f->there = true;
	return NULL;
}

static void on_file_chunk(struct job *job, const Dagrun__FileChunk *m)
{
	struct job_file *f = find_file(job, m->hash);
	char *wrong = f ? keep_chunk(job, f, m) : NULL;
	bool all = true;

	if (!f || (!wrong && !f->there))
		return;
	if (wrong) {
		job_send_ready(job, wrong);
		free(wrong);
	}
	if (f->fd >= 0) {
		close(f->fd);
		if (!f->there)
			unlink(f->temporary);
	}
	f->fd = -1;
	for (size_t i = 0; i < job->file_count; i++)
		all = all && job->files[i].there;
	if (all)
		ask_files(job);
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
			ask_files(job);
		if (other)
			input_ask_again(job);
		return;
	}
	if (!good_name(m->job, JOB_NAME_MAX)) {
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
		ask_files(job);
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
	if (job->attempt_count)
		return false;
	stages_close_specs(job);
	for (size_t i = 0; i < job->file_count; i++)
		if (job->files[i].fd >= 0) {
			close(job->files[i].fd);
			unlink(job->files[i].temporary);
		}
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
		on_file_chunk(job, e->file_chunk);
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
