/* SPDX-License-Identifier: Apache-2.0 */
/* What a job manager is told of its job here: that it is ready, what is held, what has ended, what vertices
 * say. */
#include "node.h"

#define HELD_BATCH_MAX 5000u

void job_send_ready(struct job *job, const char *error)
{
	Dagrun__JobReady m = DAGRUN__JOB_READY__INIT;
	SESSION_ENVELOPE(e, JOB_READY);

	if (!job->manager)
		return;
	m.node = job->daemon->id;
	m.slots = job->daemon->slots * GRAPH_CPU_SHARES;
	m.error = (char *)(error ? error : "");
	e.job_ready = &m;
	session_send(job->manager, &e);
}

/* What is here of earlier sessions with the job, in messages of a bounded size. */
static void send_inventory(struct job *job)
{
	Dagrun__Inventory m = DAGRUN__INVENTORY__INIT;
	Dagrun__Held *items = base_alloc(HELD_BATCH_MAX * sizeof(*items));
	struct attempt *a, *next;
	SESSION_ENVELOPE(e, INVENTORY);

	m.held = base_alloc(HELD_BATCH_MAX * sizeof(*m.held));
	e.inventory = &m;
	HASH_ITER(hh, job->attempts, a, next) {
		Dagrun__Held *h = &items[m.n_held];

		if (a->discarded)
			continue;
		dagrun__held__init(h);
		h->vertex = a->key.vertex;
		h->attempt = a->key.number;
		h->sealed = a->state == ATTEMPT_SEALED;
		if (h->sealed) {
			struct dag_hash hash = index_hash(&a->view);

			h->hash_low = hash.low;
			h->hash_high = hash.high;
		}
		/* Committed ones are not compared by what they read. */
		h->inputs = a->acked ? 0 : attempt_inputs(a);
		m.held[m.n_held++] = h;
		if (m.n_held == HELD_BATCH_MAX) {
			session_send(job->manager, &e);
			m.n_held = 0;
		}
	}
	if (m.n_held)
		session_send(job->manager, &e);
	free(m.held);
	free(items);
}

/* A job manager has opened the job: it hears what is here, and what has ended and was not acknowledged. */
void job_tell_all(struct job *job)
{
	struct attempt *a, *next;

	restore_job(job);
	send_inventory(job);
	job_send_ready(job, NULL);
	job->ended_count = 0;
	HASH_ITER(hh, job->attempts, a, next)
		if (!a->acked && !a->discarded && a->state >= ATTEMPT_SEALED)
			*DAG_APPEND(job->ended, job->ended_count, job->ended_cap) = a;
}

void job_log(struct job *job, uint32_t vertex, const char *text, size_t len)
{
	Dagrun__LogLine m = DAGRUN__LOG_LINE__INIT;
	SESSION_ENVELOPE(e, LOG_LINE);

	if (!job->manager)
		return;
	m.vertex = vertex;
	m.text = base_strndup(text, len);
	e.log_line = &m;
	session_send(job->manager, &e);
	free(m.text);
}

static void fill_done(Dagrun__Done *m, struct attempt *a)
{
	const struct host_done *d = &a->done;

	m->vertex = a->key.vertex;
	m->attempt = a->key.number;
	m->error = d->error;
	m->text = a->text ? a->text : "";
	m->stderr_tail = a->stderr_tail ? a->stderr_tail : "";
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
	m->run_ns = a->run_ns;
	m->bytes = a->stored;
	m->inputs = attempt_inputs(a);
	m->n_skipped = a->skipped_count;
	m->skipped = a->skipped;
	if (a->at_record) {
		m->at = base_alloc(sizeof(*m->at));
		dagrun__record__init(m->at);
		m->at->port = a->at.port;
		m->at->producer = a->at.producer;
		m->at->number = a->at.number;
	}
	if (a->state == ATTEMPT_SEALED) {
		struct dag_hash hash = index_hash(&a->view);

		m->hash_low = hash.low;
		m->hash_high = hash.high;
	}
	m->n_counters = d->counter_count;
	m->counters = base_alloc((m->n_counters + 1) * sizeof(*m->counters));
	for (size_t i = 0; i < m->n_counters; i++) {
		m->counters[i] = base_alloc(sizeof(**m->counters));
		dagrun__counter__init(m->counters[i]);
		m->counters[i]->name = a->counters[i].name;
		a->counters[i].name[sizeof(a->counters[i].name) - 1] = 0;
		m->counters[i]->value = a->counters[i].value;
	}
}

void job_flush(struct job *job)
{
	while (job->ended_count && job->manager) {
		Dagrun__DoneBatch batch = DAGRUN__DONE_BATCH__INIT;
		SESSION_ENVELOPE(e, DONE);
		size_t n = DAG_MIN(job->ended_count, (size_t)DONE_BATCH_MAX);

		batch.n_done = n;
		batch.done = base_alloc(n * sizeof(*batch.done));
		for (size_t i = 0; i < n; i++) {
			batch.done[i] = base_alloc(sizeof(**batch.done));
			dagrun__done__init(batch.done[i]);
			fill_done(batch.done[i], job->ended[i]);
		}
		e.done = &batch;
		session_send(job->manager, &e);
		for (size_t i = 0; i < n; i++) {
			for (size_t c = 0; c < batch.done[i]->n_counters; c++)
				free(batch.done[i]->counters[c]);
			free(batch.done[i]->counters);
			free(batch.done[i]->at);
			free(batch.done[i]);
		}
		free(batch.done);
		job->ended_count -= n;
		memmove(job->ended, job->ended + n, job->ended_count * sizeof(*job->ended));
	}
}
