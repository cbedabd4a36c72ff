/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An attempt here: queued, running, sealed or failed, discarded. Sealed means that its index was checked
 * against the segments which its host really owns, so that nothing a host says can make the daemon read
 * elsewhere.
 */
#include "node.h"
#include "base/hash.h"
#include "os/os.h"

#define RUN_MAX (10 * 365 * 24 * 3600 * DAG_SECOND)

struct attempt *attempt_find(struct job *job, uint32_t vertex, uint32_t number)
{
	struct attempt *a = vertex < job->vertex_count ? job->attempts[vertex] : NULL;

	while (a && a->key.number != number)
		a = a->same;
	return a;
}

void attempt_each(struct job *job, void (*f)(struct attempt *a, void *ctx), void *ctx)
{
	for (uint32_t v = 0; v < job->vertex_count && job->attempt_count; v++)
		for (struct attempt *a = job->attempts[v], *next; a; a = next) {
			next = a->same;
			f(a, ctx);
		}
}

static void forget(struct attempt *a)
{
	struct attempt **at = &a->job->attempts[a->key.vertex];

	while (*at != a)
		at = &(*at)->same;
	*at = a->same;
	a->job->attempt_count--;
}

void attempt_pin(struct attempt *a)
{
	a->pins++;
}

static void free_inputs(struct attempt *a)
{
	for (uint32_t p = 0; p < a->input_count; p++) {
		struct input_port *in = &a->inputs[p];

		for (uint32_t i = 0; in->sources && i < in->count; i++)
			free(in->sources[i].path);
		free(in->sources);
		free(in->channels);
	}
	a->inputs = NULL;
	a->input_count = 0;
}

static void free_run(struct attempt *a)
{
	struct attempt_run *run = a->run;

	if (!run)
		return;
	for (size_t i = 0; i < run->skipped_count; i++)
		dagrun__record__free_unpacked(run->skipped[i], NULL);
	free(run->skipped);
	free(run->skips);
	free(run->argument);
	free(run->counters);
	free(run->text);
	free(run->stderr_tail);
	free(run);
	a->run = NULL;
}

static void free_attempt(struct attempt *a)
{
	serve_fini_streams(a);
	for (uint32_t i = 0; i < a->segment_count; i++)
		spool_unref(a->job->daemon->spool, attempt_segment(a, i));
	if (a->segment_count > 1)
		free(a->segments);
	free_inputs(a);
	free_run(a);
	free(a->index_copy);
	forget(a);
	free(a);
}

void attempt_unpin(struct attempt *a)
{
	DAG_ASSERT(a->pins > 0);
	/* A running one is freed when its host has ended. */
	if (--a->pins == 0 && a->discarded && a->state != ATTEMPT_RUNNING)
		free_attempt(a);
}

static void close_inputs(struct attempt *a, void *ctx)
{
	(void)ctx;
	input_close_all(a);
}

void attempt_close_inputs(struct job *job)
{
	attempt_each(job, close_inputs, NULL);
}

static void free_pinned(struct attempt *a, void *ctx)
{
	(void)ctx;
	a->pins = 0;
	free_attempt(a);
}

void attempt_free_all(struct job *job)
{
	attempt_close_inputs(job);
	attempt_each(job, free_pinned, NULL);
}

void attempt_take_out(struct attempt **list, size_t first, size_t *count, const struct attempt *a)
{
	for (size_t i = first; i < *count; i++)
		if (list[i] == a) {
			memmove(list + i, list + i + 1, (*count - i - 1) * sizeof(*list));
			--*count;
			return;
		}
}

void attempt_acknowledge(struct attempt *a)
{
	a->acked = true;
	if (a->state == ATTEMPT_FAILED) {
		attempt_discard(a);
		return;
	}
	keep_note(a->job->daemon->keep, KEEP_ACKED, a->job->kept_as, a->key.vertex, a->key.number, NULL, 0);
	if (a->state != ATTEMPT_SEALED)
		return;
	attempt_take_out(a->job->ended, 0, &a->job->ended_count, a);
	free_inputs(a);
	free_run(a);
}

/* A group runs whole or not at all: what is left of it in the queue would wait for ever. */
static void fail_rest_of_group(struct attempt *a)
{
	struct job *job = a->job;

	for (size_t i = job->queue_first; i < job->queue_count; i++) {
		struct attempt *other = job->queue[i];

		if (other == a || other->run->group != a->run->group)
			continue;
		attempt_take_out(job->queue, i--, &job->queue_count, other);
		attempt_fail(other, DAG_ELOST, 0, base_strdup("a member of its group was taken back"));
	}
}

void attempt_discard(struct attempt *a)
{
	struct job *job = a->job;

	if (a->discarded)
		return;
	attempt_kill(a);
	if (a->state == ATTEMPT_QUEUED)
		chain_unlink(a);
	attempt_take_out(job->queue, job->queue_first, &job->queue_count, a);
	if (a->state == ATTEMPT_QUEUED && a->run->group && !job->ending)
		fail_rest_of_group(a);
	attempt_take_out(job->ended, 0, &job->ended_count, a);
	if (a->state == ATTEMPT_SEALED && !job->ending)
		keep_note(job->daemon->keep, KEEP_GONE, job->kept_as, a->key.vertex, a->key.number, NULL, 0);
	a->discarded = true;
	/* A running one is freed when its host has ended. */
	if (!a->pins && a->state != ATTEMPT_RUNNING)
		free_attempt(a);
}

/* What it reads, as the job manager compares it after a restart. */
uint64_t attempt_inputs(const struct attempt *a)
{
	uint32_t few[2 * 8] = {0}, *pairs, n = 0, most = 0;
	uint64_t digest;

	for (uint32_t p = 0; p < a->input_count; p++)
		most += a->inputs[p].attempts ? a->inputs[p].count : 0;
	pairs = base_room(few, sizeof(few), 2ull * most * sizeof(*pairs));
	for (uint32_t p = 0; p < a->input_count; p++) {
		const struct input_port *in = &a->inputs[p];

		for (uint32_t i = 0; in->attempts && i < in->count; i += in->parts) {
			pairs[n++] = in->vertices[i];
			pairs[n++] = in->attempts[i];
		}
	}
	digest = hash_pairs(pairs, n / 2);
	base_room_free(pairs, few);
	return digest;
}

/* ---- its end ---- */

void attempt_log(struct attempt *a, const void *text, size_t len)
{
	if (a->run->log_lines++ < LOG_LINES_MAX) {
		job_log(a->job, a->key.vertex, text, len, 0);
		return;
	}
	if (!a->run->log.tail_max)
		excerpt_init(&a->run->log, 0, LOG_TAIL);
	excerpt_add(&a->run->log, text, len);
	excerpt_add(&a->run->log, "\n", 1);
}

static void log_rest(struct attempt *a)
{
	char *rest = excerpt_text(&a->run->log),
	     *line = rest ? base_format("after %u lines:%s%s", LOG_LINES_MAX, *rest == '\n' ? "" : "\n", rest)
			  : NULL;

	if (line)
		job_log(a->job, a->key.vertex, line, strlen(line), 0);
	free(rest);
	free(line);
	excerpt_fini(&a->run->log);
}

static void note_run_time(dag_instant *mean, dag_instant run_ns)
{
	*mean = *mean ? (7 * *mean + run_ns) / 8 : DAG_MAX(run_ns, 1);
}

static void end_attempt(struct attempt *a, enum attempt_state state)
{
	struct job *job = a->job;

	log_rest(a);
	if (a->state == ATTEMPT_RUNNING && !a->ahead) {
		struct job_stage *stage = &job->stages[a->stage];

		job->running -= a->run->shares;
		a->run->run_ns = state == ATTEMPT_SEALED ? a->run->done.run_ns : os_now() - a->run->started;
		note_run_time(&stage->run_ns, a->run->run_ns);
		note_run_time(&job->stages[stage->kind].kind_run_ns, a->run->run_ns);
	}
	a->ahead = false;
	a->state = state;
	input_close_all(a);
	chain_unlink(a);
	if (a->run->done.scratch_used || state == ATTEMPT_FAILED) {
		char *scratch = base_format("%s/%u-%u", job->scratch, a->key.vertex, a->key.number);

		disk_remove_tree(job->daemon->disk, scratch);
		free(scratch);
	}
	if (a->discarded) {
		if (!a->pins)
			free_attempt(a);
		return;
	}
	*DAG_APPEND(job->ended, job->ended_count, job->ended_cap) = a;
}

void attempt_fail(struct attempt *a, int error, int signal, char *text)
{
	a->run->done.error = error;
	a->run->done.signal = signal;
	free(a->run->text);
	a->run->text = text;
	end_attempt(a, ATTEMPT_FAILED);
}

void attempt_kill(struct attempt *a)
{
	/* One that waits in its host is passed over when its turn has come: the one before must go on. */
	if (a->state == ATTEMPT_RUNNING && a->host && !a->ahead)
		host_kill(a->host);
}

static void lose(struct attempt *a, void *ctx)
{
	(void)ctx;
	a->lost = a->lost || a->state == ATTEMPT_RUNNING;
}

void attempt_lose_all(struct job *job)
{
	attempt_each(job, lose, NULL);
	for (struct host *h = job->daemon->hosts; h; h = h->next)
		if (h->job == job && !h->retiring)
			host_kill(h);
	stages_close_specs(job);
}

static struct spool_segment *find_segment(struct spool *spool, const struct host *host, uint32_t id)
{
	return !host || host_has_grant(host, id) ? spool_find(spool, id) : NULL;
}

static void add_segment(struct attempt *a, struct spool_segment *segment)
{
	uint32_t n = a->segment_count++;
	struct spool_segment **more = n > 1 ? a->segments : NULL;

	spool_ref(segment);
	if (n == 0) {
		a->segment = segment;
		return;
	}
	if (!(n & (n - 1)))
		more = base_realloc(more, 2ull * n * sizeof(struct spool_segment *));
	if (n == 1)
		more[0] = a->segment;
	more[n] = segment;
	a->segments = more;
}

/* The segment is one of the host's, and the attempt has it now. NULL where it is not. */
static struct spool_segment *adopt(struct attempt *a, const struct host *host, uint32_t id)
{
	struct spool_segment *segment;

	for (uint32_t i = a->segment_count; i-- > 0;)
		if (attempt_segment(a, i)->id == id)
			return attempt_segment(a, i);
	segment = find_segment(a->job->daemon->spool, host, id);
	/* A host can cut its own short: who reads it then would die of it. */
	if (!segment || !spool_is_whole(a->job->daemon->spool, segment))
		return NULL;
	add_segment(a, segment);
	return segment;
}

/* The segments that an index names must be the host's own, and every place within them. */
int attempt_adopt_segments(struct attempt *a, struct host *host, const struct block_ref *index)
{
	struct spool *spool = a->job->daemon->spool;
	struct spool_segment *segment = find_segment(spool, host, index->segment);
	struct index_view view;

	if (!segment || index->offset > segment->size || index->length > segment->size - index->offset ||
		index->offset % BLOCK_ALIGN)
		return DAG_ENOTSEALED;
	a->place = *index;
	a->index_copy = base_alloc(DAG_MAX(index->length, 1u));
	if (spool_read(spool, segment, index->offset, a->index_copy, index->length) < 0)
		return DAG_ENOTSEALED;
	if (index_check(a->index_copy, index->length, &view) < 0)
		return DAG_ENOTSEALED;
	if (view.header->streams != a->stream_count)
		return DAG_ENOTSEALED;
	for (uint32_t i = 0; i < a->stream_count; i++)
		if (view.streams[i].parts != a->streams[i].part_count)
			return DAG_ENOTSEALED;
	add_segment(a, segment);
	a->stored = index->length;
	for (uint32_t i = 0; i < view.header->blocks; i++) {
		const struct block_ref *b = &view.blocks[i];

		segment = adopt(a, host, b->segment);
		if (!segment || b->offset < BLOCK_HEADER_SIZE || b->offset > segment->size ||
			b->length > segment->size - b->offset)
			return DAG_ENOTSEALED;
		a->stored += b->length;
	}
	return 0;
}

/* A program's words for a full disk, which is its node's trouble rather than its own: LC_ALL is C. */
static bool says_no_space(const struct attempt *a)
{
	return a->run->done.error == DAG_EFAILED && a->run->stderr_tail &&
	       strstr(a->run->stderr_tail, "No space left on device");
}

/* What a host may say of an end: not that its node has gone, or that somebody wanted it to end. */
static void judge_done(struct host_done *done)
{
	if (done->error > 0 || done->error == DAG_ELOST || done->error == DAG_ECANCELED ||
		done->error == DAG_EDIFFERS)
		done->error = DAG_EPROTO;
	done->run_ns = DAG_MIN(DAG_MAX(done->run_ns, 0), RUN_MAX);
}

/* The host's words, where it had all the facts. */
static char *failure_text(struct host *host, const struct host_done *done, const char *words, size_t len)
{
	if (host->refused && (done->error == DAG_ENOSPC || done->error == DAG_EBUSY))
		return base_strdup(host->refused); /* which folder had no room */
	return host_why_killed(host->daemon, done->signal,
		len ? base_strndup(words, len) : base_strdup(dag_strerror(done->error)));
}

bool attempt_on_done(
	struct attempt *a, struct host *host, const struct host_done *done, const char *tail, size_t tail_len)
{
	size_t counters =
		DAG_MIN(done->counter_count, (uint32_t)HOST_COUNTERS_MAX) * sizeof(*a->run->counters);

	a->run->done = *done;
	judge_done(&a->run->done);
	done = &a->run->done;
	counters = counters > tail_len ? 0 : counters;
	a->run->done.counter_count = (uint32_t)(counters / sizeof(*a->run->counters));
	if (counters) {
		a->run->counters = base_alloc(counters);
		memcpy(a->run->counters, tail, counters);
	}
	if (done->error) {
		attempt_fail(a, says_no_space(a) ? DAG_ENOSPC : done->error, done->signal,
			failure_text(host, done, tail + counters, tail_len - counters));
		return true;
	}
	if (attempt_adopt_segments(a, host, &done->index) < 0) {
		attempt_fail(a, DAG_ENOTSEALED, 0, base_strdup("the index of its outputs is damaged"));
		return false;
	}
	serve_sealed(a);
	keep_note(a->job->daemon->keep, KEEP_SEALED, a->job->kept_as, a->key.vertex, a->key.number,
		&done->index, keep_index_hash(a->index_copy, done->index.length));
	end_attempt(a, ATTEMPT_SEALED);
	return true;
}
