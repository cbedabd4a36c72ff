/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon says, as events for the core. */
#include "shell.h"
#include "os/os.h"

static void on_ready(struct node *node, const Dagrun__JobReady *ready)
{
	struct manager *m = node->manager;
	struct node **all;
	size_t n = 0, cap = 0;

	if (*ready->error) {
		manager_abort(m, DAG_EFAILED, "node %s cannot take the job: %s", node->id, ready->error);
		return;
	}
	if (node->up)
		return;
	node->up = true;
	node->number = jm_node_number(m->jm, node->id);
	m->last_node = os_now();
	all = NULL;
	for (struct node *other = m->nodes; other; other = other->next)
		if (other->up && !other->gone)
			*DAG_APPEND(all, n, cap) = other;
	nodes_send_peers(node, all, n);
	for (size_t i = 0; i < n; i++)
		if (all[i] != node)
			nodes_send_peers(all[i], &node, 1);
	free(all);
	manager_step(m, &(struct jm_event){.kind = JM_NODE_UP,
				.node = node->number,
				.name = node->id,
				.rack = node->rack,
				.memory = node->memory,
				.labels = node->labels,
				.label_count = node->label_count,
				.shares = ready->slots,
				.found = node->found,
				.found_count = node->found_count});
	resume_tick(m);
}

static void add_counter(struct manager *m, uint32_t stage, const Dagrun__Counter *c)
{
	struct counter *counter = NULL;

	for (size_t i = 0; i < m->counter_count && !counter; i++)
		if (m->counters[i].stage == stage &&
			!strncmp(m->counters[i].name, c->name, sizeof(counter->name) - 1))
			counter = &m->counters[i];
	if (!counter) {
		counter = DAG_APPEND(m->counters, m->counter_count, m->counter_cap);
		counter->stage = stage;
		strncpy(counter->name, c->name, sizeof(counter->name) - 1);
	}
	counter->value += c->value;
}

/* Counters are added where the attempt is the current one, which is about to be committed. */
static void add_counters(struct manager *m, const struct node *node, const Dagrun__Done *d)
{
	if (d->error || d->vertex >= m->graph->vertex_count ||
		!jm_is_live(m->jm, d->vertex, d->attempt, node->number))
		return;
	for (size_t i = 0; i < d->n_counters; i++)
		add_counter(m, m->graph->vertex_stage[d->vertex], d->counters[i]);
}

static void on_ended(struct node *node, uint32_t vertex, uint32_t attempt, const struct jm_outcome *outcome)
{
	manager_step(node->manager, &(struct jm_event){.kind = JM_ENDED,
					    .node = node->number,
					    .vertex = vertex,
					    .attempt = attempt,
					    .outcome = outcome});
}

static void on_sealed(struct node *node, const Dagrun__Sealed *m)
{
	size_t n = m->n_vertices;

	if (m->n_attempts != n || m->n_hash_low != n || m->n_hash_high != n || m->n_inputs != n ||
		m->n_bytes != n || m->n_records_in != n || m->n_bytes_in != n || m->n_records_out != n ||
		m->n_bytes_out != n || m->n_run_ns != n) {
		manager_abort(node->manager, DAG_EPROTO, "node %s tells of ends in a way that makes no sense",
			node->id);
		return;
	}
	for (size_t i = 0; i < n; i++)
		on_ended(node, m->vertices[i], m->attempts[i],
			&(struct jm_outcome){.hash_low = m->hash_low[i],
				.hash_high = m->hash_high[i],
				.inputs = m->inputs[i],
				.bytes = m->bytes[i],
				.records_in = m->records_in[i],
				.bytes_in = m->bytes_in[i],
				.records_out = m->records_out[i],
				.bytes_out = m->bytes_out[i],
				.run_ns = m->run_ns[i]});
}

static void on_done(struct node *node, const Dagrun__DoneBatch *batch)
{
	if (batch->sealed)
		on_sealed(node, batch->sealed);
	for (size_t i = 0; i < batch->n_done; i++) {
		const Dagrun__Done *d = batch->done[i];
		struct jm_outcome outcome = {.error = d->error,
			.signal = d->signal,
			.text = d->text,
			.stderr_tail = d->stderr_tail,
			.blamed = d->blamed,
			.blamed_vertex = d->blamed_vertex,
			.blamed_attempt = d->blamed_attempt,
			.closed_early = d->closed_early,
			.hash_low = d->hash_low,
			.hash_high = d->hash_high,
			.bytes = d->bytes,
			.records_in = d->records_in,
			.bytes_in = d->bytes_in,
			.records_out = d->records_out,
			.bytes_out = d->bytes_out,
			.run_ns = d->run_ns,
			.inputs = d->inputs};

		struct jm_record *skipped = d->n_skipped ? base_alloc(d->n_skipped * sizeof(*skipped)) : NULL;

		for (size_t j = 0; j < d->n_skipped; j++)
			skipped[j] = (struct jm_record){d->skipped[j]->port, d->skipped[j]->producer,
				d->skipped[j]->number, d->skipped[j]->data.data, d->skipped[j]->data.len};
		outcome.skipped = skipped;
		outcome.skipped_count = d->n_skipped;
		outcome.has_at = d->at != NULL;
		if (d->at)
			outcome.at = (struct jm_record){d->at->port, d->at->producer, d->at->number, NULL, 0};
		add_counters(node->manager, node, d);
		said_hear(node->manager, node, d);
		if (node->manager->config->client)
			results_keep(node->manager, d);
		on_ended(node, d->vertex, d->attempt, &outcome);
		free(skipped);
	}
}

static void on_inventory(struct node *node, const Dagrun__Inventory *m)
{
	for (size_t i = 0; i < m->n_held; i++) {
		const Dagrun__Held *h = m->held[i];

		*DAG_APPEND(node->found, node->found_count, node->found_cap) = (struct jm_found){
			h->vertex, h->attempt, h->sealed, h->hash_low, h->hash_high, h->inputs};
	}
}

/* What vertices of a stage find alike is said once. */
static bool is_said(struct manager *m, uint32_t stage, uint32_t note)
{
	uint32_t bit = 1u << note % 32;

	if (!note)
		return false;
	if (!m->noted)
		m->noted = base_alloc(m->graph->stage_count * sizeof(*m->noted));
	if (m->noted[stage] & bit)
		return true;
	m->noted[stage] |= bit;
	return false;
}

static void hear_line(struct manager *m, const Dagrun__LogLine *line)
{
	const struct graph_stage *stage;

	if (line->vertex >= m->graph->vertex_count)
		return;
	stage = m->graph->stages[m->graph->vertex_stage[line->vertex]];
	if (!is_said(m, stage->id, line->note))
		progress_say(m, "%s[%u]: %s", stage->name, graph_index(m->graph, line->vertex), line->text);
}

void nodes_hear(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	struct node *node = ctx;
	struct manager *m = node->manager;

	(void)s;
	if (node->gone || m->ending)
		return;
	switch (e->body_case) {
	case DAGRUN__ENVELOPE__BODY_FILE_NEED:
		ship_files(m, node, e->file_need);
		return;
	case DAGRUN__ENVELOPE__BODY_JOB_READY:
		on_ready(node, e->job_ready);
		return;
	case DAGRUN__ENVELOPE__BODY_INVENTORY:
		on_inventory(node, e->inventory);
		return;
	case DAGRUN__ENVELOPE__BODY_FENCED:
		m->fenced = true;
		manager_abort(m, DAG_EBUSY,
			"another job manager runs this job now, in epoch %u; this one, of epoch %u, has "
			"stopped",
			e->fenced->epoch, m->epoch);
		return;
	case DAGRUN__ENVELOPE__BODY_SOURCE_REQUEST:
		sources_serve(m, node, e->source_request);
		return;
	default:
		break;
	}
	if (!node->up)
		return;
	switch (e->body_case) {
	case DAGRUN__ENVELOPE__BODY_GRANT:
		manager_step(
			m, &(struct jm_event){
				   .kind = JM_NODE_GRANT, .node = node->number, .shares = e->grant->slots});
		break;
	case DAGRUN__ENVELOPE__BODY_DONE:
		on_done(node, e->done);
		break;
	case DAGRUN__ENVELOPE__BODY_VERIFIED:
		manager_step(m, &(struct jm_event){.kind = JM_VERIFIED,
					.node = node->number,
					.vertex = e->verified->vertex,
					.attempt = e->verified->attempt,
					.error = e->verified->error});
		break;
	case DAGRUN__ENVELOPE__BODY_PROGRESS:
		node->bytes_read = e->progress->bytes_read;
		break;
	case DAGRUN__ENVELOPE__BODY_LOG_LINE:
		hear_line(m, e->log_line);
		break;
	default:
		break;
	}
}
