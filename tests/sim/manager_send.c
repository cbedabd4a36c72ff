/* SPDX-License-Identifier: Apache-2.0 */
/* What the job manager sends: each effect as its message. */
#include "manager.h"
#include "wire/starts.h"

void send_attempt(struct sim *s, const struct jm_effect *e, Dagrun__Envelope__BodyCase body)
{
	struct manager_node *n = node_by_number(s, e->node);
	Dagrun__AttemptBatch batch = DAGRUN__ATTEMPT_BATCH__INIT;
	uint32_t vertex = e->vertex, attempt = e->attempt;
	Dagrun__Envelope envelope = DAGRUN__ENVELOPE__INIT;

	if (!n)
		return;
	batch.n_vertices = batch.n_attempts = 1;
	batch.vertices = &vertex;
	batch.attempts = &attempt;
	envelope.body_case = body;
	envelope.kill = &batch;
	sim_send(s, SIM_MANAGER, &n->session, &envelope);
}

void send_verify(struct sim *s, const struct jm_effect *e)
{
	struct manager_node *n = node_by_number(s, e->node);
	Dagrun__Verify verify = DAGRUN__VERIFY__INIT;
	SIM_ENVELOPE(envelope, VERIFY);

	if (!n)
		return;
	verify.vertex = e->vertex;
	verify.attempt = e->attempt;
	envelope.verify = &verify;
	sim_send(s, SIM_MANAGER, &n->session, &envelope);
}

void send_trim(struct sim *s, const struct jm_effect *e)
{
	struct manager_node *n = node_by_number(s, e->node);
	const struct graph_stage *stage = s->use->stages[e->stage];
	Dagrun__Trim trim = DAGRUN__TRIM__INIT;
	SIM_ENVELOPE(envelope, TRIM);

	if (!n)
		return;
	trim.first_vertex = stage->first_vertex;
	trim.vertices = stage->width;
	trim.stream = e->stream;
	trim.parts = e->parts;
	envelope.trim = &trim;
	sim_probe(s, PROBE_trimmed);
	sim_send(s, SIM_MANAGER, &n->session, &envelope);
}

void send_want(struct sim *s, const struct jm_effect *e)
{
	struct manager_node *n = node_by_number(s, e->node);
	Dagrun__Want want = DAGRUN__WANT__INIT;
	SIM_ENVELOPE(envelope, WANT);

	if (!n)
		return;
	want.slots = e->shares;
	want.least = e->least;
	envelope.want = &want;
	sim_send(s, SIM_MANAGER, &n->session, &envelope);
}

void send_recall(struct sim *s, const struct jm_effect *e)
{
	struct manager_node *n = node_by_number(s, e->node);
	Dagrun__Recall recall = DAGRUN__RECALL__INIT;
	SIM_ENVELOPE(envelope, RECALL);

	if (!n)
		return;
	recall.slots = e->shares;
	envelope.recall = &recall;
	sim_send(s, SIM_MANAGER, &n->session, &envelope);
}

static void fill_input(
	struct sim *s, const struct graph_stage *stage, uint32_t index, uint32_t port, Dagrun__Input *in)
{
	const struct graph_edge *edge =
		stage->in[port].edge == GRAPH_NONE ? NULL : s->use->edges[stage->in[port].edge];
	const struct graph_stage *from = edge ? s->use->stages[edge->from] : NULL;

	dagrun__input__init(in);
	if (!edge)
		return;
	in->part = jm_first_part(s->manager->jm, edge, index, &in->parts);
	in->channel = edge->channel;
	in->n_vertices = jm_producers(s->manager->jm, edge, index);
	in->vertices = base_alloc((in->n_vertices + 1) * sizeof(*in->vertices));
	if (from->kind != GRAPH_INPUT) {
		in->n_attempts = in->n_nodes = in->n_vertices;
		in->attempts = base_alloc((in->n_vertices + 1) * sizeof(*in->attempts));
		in->nodes = base_alloc((in->n_vertices + 1) * sizeof(*in->nodes));
	}
	for (uint32_t i = 0; i < in->n_vertices; i++) {
		enum jm_state state;

		in->vertices[i] = from->first_vertex + jm_producer(s->manager->jm, edge, index, i);
		if (in->n_attempts)
			jm_current(s->manager->jm, in->vertices[i], &in->attempts[i], &in->nodes[i], &state);
	}
}

void send_start(struct sim *s, const struct jm_effect *e)
{
	struct manager_node *n = node_by_number(s, e->node);
	const struct graph_stage *stage = s->use->stages[s->use->vertex_stage[e->vertex]];
	Dagrun__StartBatch batch = DAGRUN__START_BATCH__INIT;
	Dagrun__Start start = DAGRUN__START__INIT, *starts[] = {&start};
	Dagrun__Input inputs[GRAPH_PORTS_MAX], *pointers[GRAPH_PORTS_MAX];
	struct arena arena = {0};
	SIM_ENVELOPE(envelope, START);

	if (!n)
		return;
	start.stage = stage->id;
	start.index = e->vertex - stage->first_vertex;
	start.attempt = e->attempt;
	start.shares = e->shares;
	start.n_inputs = stage->in_count;
	start.inputs = pointers;
	for (uint32_t p = 0; p < stage->in_count; p++) {
		pointers[p] = &inputs[p];
		fill_input(s, stage, start.index, p, &inputs[p]);
	}
	batch.epoch = s->manager->epoch;
	starts_pack(&batch, starts, 1, &arena);
	envelope.start = &batch;
	sim_send(s, SIM_MANAGER, &n->session, &envelope);
	arena_fini(&arena);
	for (uint32_t p = 0; p < stage->in_count; p++) {
		free(inputs[p].vertices);
		free(inputs[p].attempts);
		free(inputs[p].nodes);
	}
}
