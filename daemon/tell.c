/* SPDX-License-Identifier: Apache-2.0 */
/* What a job manager is told of its job here: that it is ready, what is held, what has ended, what vertices
 * say. */
#include "node.h"

#define HELD_BATCH_MAX 5000u
#define RESULT_BYTES_MAX 4096u         /* of an output that a client will probably ask for */
#define RESULTS_BYTES_MAX (128u << 10) /* of those that go out together */

void daemon_send_ready(struct daemon *d, struct session *s, const char *error)
{
	Dagrun__JobReady m = DAGRUN__JOB_READY__INIT;
	SESSION_ENVELOPE(e, JOB_READY);

	m.node = d->id;
	m.slots = d->slots * GRAPH_CPU_SHARES;
	m.error = (char *)(error ? error : "");
	e.job_ready = &m;
	session_send(s, &e);
}

void job_send_ready(struct job *job, const char *error)
{
	if (job->manager)
		daemon_send_ready(job->daemon, job->manager, error);
}

struct inventory {
	struct job *job;
	Dagrun__Inventory m;
	Dagrun__Held *items, **pointers;
	size_t max; /* of a message */
};

static void send_held(struct inventory *inv)
{
	SESSION_ENVELOPE(e, INVENTORY);

	e.inventory = &inv->m;
	if (inv->m.n_held)
		session_send(inv->job->manager, &e);
	inv->m.n_held = 0;
}

static void add_held(struct attempt *a, void *ctx)
{
	struct inventory *inv = ctx;
	Dagrun__Held *h = &inv->items[inv->m.n_held];

	if (a->discarded)
		return;
	dagrun__held__init(h);
	h->vertex = a->key.vertex;
	h->attempt = a->key.number;
	h->sealed = a->state == ATTEMPT_SEALED;
	if (h->sealed) {
		struct dag_hash hash = attempt_hash(a);

		h->hash_low = hash.low;
		h->hash_high = hash.high;
	}
	/* Committed ones are not compared by what they read. */
	h->inputs = a->acked ? 0 : attempt_inputs(a);
	inv->pointers[inv->m.n_held++] = h;
	if (inv->m.n_held == inv->max)
		send_held(inv);
}

/* What is here of earlier sessions with the job, in messages of a bounded size. */
static void send_inventory(struct job *job)
{
	struct inventory inv = {.job = job, .max = DAG_MIN(DAG_MAX(job->attempt_count, 1u), HELD_BATCH_MAX)};

	dagrun__inventory__init(&inv.m);
	inv.items = base_alloc(inv.max * sizeof(*inv.items));
	inv.pointers = base_alloc(inv.max * sizeof(*inv.pointers));
	inv.m.held = inv.pointers;
	attempt_each(job, add_held, &inv);
	send_held(&inv);
	free(inv.items);
	free(inv.pointers);
}

static void tell_again(struct attempt *a, void *ctx)
{
	struct job *job = ctx;

	if (!a->acked && !a->discarded && a->state >= ATTEMPT_SEALED)
		*DAG_APPEND(job->ended, job->ended_count, job->ended_cap) = a;
}

/* A job manager has opened the job: it hears what is here, and what has ended and was not acknowledged. */
void job_tell_all(struct job *job)
{
	restore_job(job);
	send_inventory(job);
	job_send_ready(job, NULL);
	job->ended_count = 0;
	attempt_each(job, tell_again, job);
}

void job_log(struct job *job, uint32_t vertex, const char *text, size_t len, uint32_t note)
{
	Dagrun__LogLine m = DAGRUN__LOG_LINE__INIT;
	SESSION_ENVELOPE(e, LOG_LINE);

	if (!job->manager)
		return;
	m.vertex = vertex;
	m.text = base_strndup(text, len);
	m.note = note;
	e.log_line = &m;
	session_send(job->manager, &e);
	free(m.text);
}

/* Where a part's blocks lie one behind the other in one, and are few bytes, they come with the word of its
 * end. */
static void put_result(struct arena *arena, Dagrun__Done *m, struct attempt *a, uint32_t port, uint32_t *room)
{
	uint32_t stream = a->job->stages[a->stage].result_streams[port];
	const struct index_view view = attempt_view(a);
	const struct index_part *part = index_part(&view, stream, 0);
	const struct block_ref *block = part ? &view.blocks[part->first_block] : NULL;
	struct spool *spool = a->job->daemon->spool;
	struct spool_segment *segment;
	unsigned char *bytes = NULL;
	Dagrun__Result *r;

	if (!part || part->block_count > 1 || part->bytes > DAG_MIN(RESULT_BYTES_MAX, *room))
		return;
	if (part->block_count) {
		segment = spool_find(spool, block->segment);
		if (!segment || block->kind != BLOCK_DATA || block->length > part->bytes)
			return;
		bytes = arena_alloc(arena, block->length + 1);
		if (spool_read(spool, segment, block->offset, bytes, block->length) < 0)
			return;
	}
	r = arena_alloc(arena, sizeof(*r));
	dagrun__result__init(r);
	r->port = port;
	r->hash_low = part->hash.low;
	r->hash_high = part->hash.high;
	if (bytes)
		r->data = (ProtobufCBinaryData){block->length, bytes};
	*room -= (uint32_t)r->data.len;
	m->results[m->n_results++] = r;
}

static void put_results(struct arena *arena, Dagrun__Done *m, struct attempt *a, uint32_t *room)
{
	const struct job_stage *stage = &a->job->stages[a->stage];

	m->results = arena_alloc(arena, (stage->spec->out_count + 1) * sizeof(*m->results));
	for (uint32_t p = 0; stage->result_streams && p < stage->spec->out_count; p++)
		put_result(arena, m, a, p, room);
}

static void fill_done(struct arena *arena, Dagrun__Done *m, struct attempt *a, uint32_t *room)
{
	const struct host_done *d = &a->run->done;

	m->vertex = a->key.vertex;
	m->attempt = a->key.number;
	m->error = d->error;
	m->text = a->run->text ? a->run->text : "";
	m->stderr_tail = a->run->stderr_tail ? a->run->stderr_tail : "";
	m->stderr_bytes = a->run->stderr_bytes;
	m->signal = d->signal;
	if (d->error && d->blamed && d->port < a->input_count && d->producer < a->inputs[d->port].count) {
		const struct input_port *in = &a->inputs[d->port];

		m->blamed = true;
		m->blamed_vertex = in->vertices[d->producer];
		m->blamed_attempt = in->attempts ? in->attempts[d->producer] : 0;
	}
	m->closed_early = d->closed_early;
	m->records_in = d->records_in;
	m->bytes_in = d->bytes_in;
	m->records_out = d->records_out;
	m->bytes_out = d->bytes_out;
	m->run_ns = a->run->run_ns;
	m->bytes = a->stored;
	m->inputs = attempt_inputs(a);
	m->n_skipped = a->run->skipped_count;
	m->skipped = a->run->skipped;
	if (a->run->at_record) {
		m->at = arena_alloc(arena, sizeof(*m->at));
		dagrun__record__init(m->at);
		m->at->port = a->run->at.port;
		m->at->producer = a->run->at.producer;
		m->at->number = a->run->at.number;
	}
	if (a->state == ATTEMPT_SEALED) {
		struct dag_hash hash = attempt_hash(a);

		m->hash_low = hash.low;
		m->hash_high = hash.high;
		put_results(arena, m, a, room);
	}
	m->n_counters = d->counter_count;
	m->counters = arena_alloc(arena, (m->n_counters + 1) * sizeof(*m->counters));
	for (size_t i = 0; i < m->n_counters; i++) {
		m->counters[i] = arena_alloc(arena, sizeof(**m->counters));
		dagrun__counter__init(m->counters[i]);
		m->counters[i]->name = a->run->counters[i].name;
		a->run->counters[i].name[sizeof(a->run->counters[i].name) - 1] = 0;
		m->counters[i]->value = a->run->counters[i].value;
	}
}

/* It ended well, and there is no more to say of it than a row of columns holds. */
static bool is_plain(const struct attempt *a)
{
	const struct attempt_run *run = a->run;

	return a->state == ATTEMPT_SEALED && !run->done.error && !run->done.closed_early &&
	       !run->done.counter_count && !run->text && !run->stderr_tail && !run->skipped_count &&
	       !run->at_record && !a->job->stages[a->stage].result_streams;
}

/* Empty ones, with room for n rows. */
static void init_columns(Dagrun__Sealed *m, struct arena *arena, size_t n)
{
	uint32_t *halves = arena_alloc(arena, 2 * n * sizeof(*halves));
	uint64_t *words = arena_alloc(arena, 9 * n * sizeof(*words));

	dagrun__sealed__init(m);
	m->vertices = halves;
	m->attempts = halves + n;
	m->hash_low = words;
	m->hash_high = words + n;
	m->inputs = words + 2 * n;
	m->bytes = words + 3 * n;
	m->records_in = words + 4 * n;
	m->bytes_in = words + 5 * n;
	m->records_out = words + 6 * n;
	m->bytes_out = words + 7 * n;
	m->run_ns = (int64_t *)words + 8 * n;
}

static void add_row(Dagrun__Sealed *m, struct attempt *a)
{
	const struct host_done *d = &a->run->done;
	struct dag_hash hash = attempt_hash(a);
	size_t i = m->n_vertices;

	m->vertices[i] = a->key.vertex;
	m->attempts[i] = a->key.number;
	m->hash_low[i] = hash.low;
	m->hash_high[i] = hash.high;
	m->inputs[i] = attempt_inputs(a);
	m->bytes[i] = a->stored;
	m->records_in[i] = d->records_in;
	m->bytes_in[i] = d->bytes_in;
	m->records_out[i] = d->records_out;
	m->bytes_out[i] = d->bytes_out;
	m->run_ns[i] = a->run->run_ns;
	m->n_vertices = m->n_attempts = m->n_hash_low = m->n_hash_high = m->n_inputs = m->n_bytes =
		m->n_records_in = m->n_bytes_in = m->n_records_out = m->n_bytes_out = m->n_run_ns = i + 1;
}

static void send_ended(struct job *job, struct arena *arena, struct attempt **ended, size_t n)
{
	Dagrun__DoneBatch batch = DAGRUN__DONE_BATCH__INIT;
	uint32_t room = RESULTS_BYTES_MAX;
	Dagrun__Sealed sealed;
	SESSION_ENVELOPE(e, DONE);

	init_columns(&sealed, arena, n);
	batch.done = arena_alloc(arena, n * sizeof(*batch.done));
	for (size_t i = 0; i < n; i++) {
		Dagrun__Done *m;

		if (is_plain(ended[i])) {
			add_row(&sealed, ended[i]);
			continue;
		}
		m = batch.done[batch.n_done++] = arena_alloc(arena, sizeof(*m));
		dagrun__done__init(m);
		fill_done(arena, m, ended[i], &room);
	}
	batch.sealed = sealed.n_vertices ? &sealed : NULL;
	e.done = &batch;
	session_send(job->manager, &e);
}

void job_flush(struct job *job)
{
	struct arena *arena = &job->daemon->scratch;

	while (job->ended_count && job->manager) {
		size_t n = DAG_MIN(job->ended_count, (size_t)DONE_BATCH_MAX);

		send_ended(job, arena, job->ended, n);
		arena_reset(arena);
		job->ended_count -= n;
		memmove(job->ended, job->ended + n, job->ended_count * sizeof(*job->ended));
	}
}
