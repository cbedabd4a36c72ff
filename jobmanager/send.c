/* SPDX-License-Identifier: Apache-2.0 */
/* What goes out to daemons, batched until the loop sleeps. */
#include "shell.h"
#include "wire/starts.h"

#define BATCH_BYTES (400u << 10) /* of one StartBatch, well below the frame limit */

void nodes_send_peers(struct node *to, struct node *const *peers, size_t n)
{
	Dagrun__Peers message = DAGRUN__PEERS__INIT;
	Dagrun__Peer *items = base_alloc((n + 1) * sizeof(*items));
	SESSION_ENVELOPE(e, PEERS);

	message.peers = base_alloc((n + 1) * sizeof(*message.peers));
	for (size_t i = 0; i < n; i++) {
		dagrun__peer__init(&items[i]);
		items[i].node = peers[i]->number;
		items[i].id = peers[i]->id;
		items[i].data = peers[i]->data;
		items[i].gone = peers[i]->gone;
		message.peers[message.n_peers++] = &items[i];
	}
	e.peers = &message;
	session_send(to->session, &e);
	free(message.peers);
	free(items);
}

/* It changes more often than anybody must know. */
void nodes_send_want(struct manager *m, uint32_t number, uint32_t shares, uint32_t least)
{
	struct node *node = nodes_find(m, number);

	if (node)
		node->want = (struct node_want){shares, least};
}

void nodes_send_recall(struct manager *m, uint32_t number, uint32_t shares)
{
	struct node *node = nodes_find(m, number);
	Dagrun__Recall recall = DAGRUN__RECALL__INIT;
	SESSION_ENVELOPE(e, RECALL);

	if (!node)
		return;
	recall.slots = shares;
	e.recall = &recall;
	session_send(node->session, &e);
}

static void flush_want(struct node *n)
{
	Dagrun__Want want = DAGRUN__WANT__INIT;
	SESSION_ENVELOPE(e, WANT);

	if (n->want.shares == n->told.shares && n->want.least == n->told.least)
		return;
	n->told = n->want;
	want.slots = n->want.shares;
	want.least = n->want.least;
	e.want = &want;
	session_send(n->session, &e);
}

static void flush_starts(struct node *n)
{
	Dagrun__StartBatch batch = DAGRUN__START_BATCH__INIT;
	SESSION_ENVELOPE(e, START);

	if (!n->start_count)
		return;
	batch.epoch = n->manager->epoch;
	starts_pack(&batch, n->starts, n->start_count, &n->arena);
	e.start = &batch;
	session_send(n->session, &e);
	n->start_count = 0;
	n->start_bytes = 0;
}

static void flush_attempts(struct node *n, struct attempt_list *list, Dagrun__Envelope__BodyCase body)
{
	Dagrun__AttemptBatch batch = DAGRUN__ATTEMPT_BATCH__INIT;
	Dagrun__Envelope e = DAGRUN__ENVELOPE__INIT;

	for (size_t at = 0; at < list->vertex_count; at += batch.n_vertices) {
		batch.n_vertices = batch.n_attempts = DAG_MIN(list->vertex_count - at, (size_t)10000);
		batch.vertices = list->vertices + at;
		batch.attempts = list->attempts + at;
		e.body_case = body;
		e.ack_done = &batch;
		session_send(n->session, &e);
	}
	list->vertex_count = list->attempt_count = 0;
}

/* Kills before starts: what is freed may be taken. */
void nodes_flush(struct manager *m)
{
	for (struct node *n = m->nodes; n; n = n->next) {
		if (n->gone || !n->session)
			continue;
		flush_attempts(n, &n->kills, DAGRUN__ENVELOPE__BODY_KILL);
		flush_want(n);
		flush_starts(n);
		flush_attempts(n, &n->acks, DAGRUN__ENVELOPE__BODY_ACK_DONE);
		arena_reset(&n->arena);
	}
}

void nodes_send_start(struct manager *m, const struct jm_effect *effect)
{
	struct node *node = nodes_find(m, effect->node);
	Dagrun__Start *start;

	if (!node)
		return;
	flush_attempts(node, &node->kills, DAGRUN__ENVELOPE__BODY_KILL);
	start = ship_start(m, &node->arena, effect);
	*DAG_APPEND(node->starts, node->start_count, node->start_cap) = start;
	node->start_bytes += starts_size(start);
	if (node->start_bytes > BATCH_BYTES)
		flush_starts(node);
}

void nodes_send_attempt(
	struct manager *m, enum jm_effect_kind kind, uint32_t number, uint32_t vertex, uint32_t attempt)
{
	struct node *node = nodes_find(m, number);
	struct attempt_list *list;

	if (!node)
		return;
	if (kind == JM_VERIFY) {
		Dagrun__Verify verify = DAGRUN__VERIFY__INIT;
		SESSION_ENVELOPE(e, VERIFY);

		verify.vertex = vertex;
		verify.attempt = attempt;
		e.verify = &verify;
		session_send(node->session, &e);
		return;
	}
	list = kind == JM_ACK ? &node->acks : &node->kills;
	/* A start that has not left yet must leave first, or it would arrive after its kill. */
	if (kind != JM_ACK)
		flush_starts(node);
	*DAG_APPEND(list->vertices, list->vertex_count, list->vertex_cap) = vertex;
	*DAG_APPEND(list->attempts, list->attempt_count, list->attempt_cap) = attempt;
}

void nodes_send_trim(struct manager *m, uint32_t number, uint32_t stage, uint32_t stream, uint32_t parts)
{
	const struct graph_stage *s = m->graph->stages[stage];
	struct node *node = nodes_find(m, number);
	Dagrun__Trim trim = DAGRUN__TRIM__INIT;
	SESSION_ENVELOPE(e, TRIM);

	if (!node)
		return;
	trim.first_vertex = s->first_vertex;
	trim.vertices = s->width;
	trim.stream = stream;
	trim.parts = parts;
	e.trim = &trim;
	session_send(node->session, &e);
}

void nodes_end_job(struct manager *m)
{
	Dagrun__JobEnd end = DAGRUN__JOB_END__INIT;
	SESSION_ENVELOPE(e, JOB_END);

	nodes_flush(m);
	end.job = m->job;
	e.job_end = &end;
	for (struct node *n = m->nodes; n; n = n->next)
		if (n->session && !n->gone)
			session_send(n->session, &e);
}

bool nodes_quiet(const struct manager *m)
{
	for (struct node *n = m->nodes; n; n = n->next)
		if (n->session && !n->gone && !session_all_acknowledged(n->session))
			return false;
	return true;
}
