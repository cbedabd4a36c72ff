/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step: an event is judged for staleness here, once, and handed on.
 */
#include "attempt.h"
#include "blame.h"
#include "chain.h"
#include "edges.h"
#include "effects.h"
#include "failure.h"
#include "found.h"
#include "gangs.h"
#include "hopeless.h"
#include "nodes.h"
#include "open.h"
#include "output.h"
#include "pause.h"
#include "pipeline.h"
#include "queue.h"
#include "recall.h"
#include "refine.h"
#include "replay.h"
#include "resume.h"
#include "round.h"
#include "speculation.h"
#include "vertices.h"

/* An end that was told while the job is being resumed. */
struct jm_held {
	struct jm_event event;
	struct jm_outcome outcome;
};

void jm_new(struct jm **ret_jm, const struct jm_config *config)
{
	struct jm *jm = base_alloc(sizeof(*jm));
	const struct graph *g = config->graph;

	jm->graph = g;
	jm->epoch = config->epoch;
	jm->seed = config->seed;
	jm->waits = config->waits;
	hopeless_init(jm);
	effects_begin(jm);
	jm->vertices = base_alloc((g->vertex_count + 1) * sizeof(*jm->vertices));
	jm->gangs = base_alloc((g->gang_count + 1) * sizeof(*jm->gangs));
	jm->edges = base_alloc((g->edge_count + 1) * sizeof(*jm->edges));
	jm->stages = base_alloc((g->stage_count + 1) * sizeof(*jm->stages));
	queues_init(jm);
	outputs_init(jm);
	jm->partial = config->skipped != NULL;
	pipeline_init(jm);
	refine_init(jm);
	vertices_init(jm, config->skipped);
	attempts_init(jm);
	gangs_init(jm);
	if (config->like)
		replay_like(jm, config->like);
	for (uint32_t i = 0; i < g->gang_count; i++)
		gang_try_ready(jm, i);
	*ret_jm = jm;
}

void jm_destroy(struct jm **jmp)
{
	struct jm *jm = *jmp;

	if (!jm)
		return;
	nodes_free(jm);
	blame_fini(jm);
	failure_fini(jm);
	speculation_fini(jm);
	pauses_fini(jm);
	pipeline_fini(jm);
	outputs_fini(jm);
	queues_fini(jm);
	found_fini(jm);
	gangs_fini(jm);
	free(jm->vertices);
	free(jm->gangs);
	refine_fini(jm);
	free(jm->edges);
	free(jm->stages);
	for (size_t i = 0; i < jm->held_count; i++) {
		free((char *)jm->held[i].outcome.text);
		free((char *)jm->held[i].outcome.stderr_tail);
	}
	free(jm->held);
	effects_fini(jm);
	free(jm);
	*jmp = NULL;
}

/* ---- attempts ---- */

static void acknowledge(struct jm *jm, enum jm_effect_kind kind, const struct jm_event *event)
{
	if (!jm->ended)
		jm_emit_attempt(jm, kind, event->node, event->vertex, event->attempt);
}

/* Of an attempt that is not current: it changes nothing, and is told to go. Its bytes are compared before. */
static void on_late(struct jm *jm, const struct jm_event *event)
{
	const struct jm_vertex *v = &jm->vertices[event->vertex];
	const struct graph_stage *s = vertex_stage(jm, event->vertex);
	const struct jm_outcome *o = event->outcome;

	if (v->state == JM_DONE && v->attempt == event->attempt && v->node == event->node) {
		acknowledge(jm, JM_ACK, event); /* told again, since it was not acknowledged */
		return;
	}
	acknowledge(jm, JM_KILL, event);
	if (o->error || o->closed_early || !v->hashed ||
		(v->hash_low == o->hash_low && v->hash_high == o->hash_high))
		return;
	if (s->deterministic == GRAPH_DETERMINISTIC)
		jm_end(jm, DAG_EDIFFERS,
			"%s: attempt %s gave other bytes, and the stage is said to be deterministic",
			jm_attempt_name(jm, event->vertex), jm_attempt_text(jm, event->attempt));
	else
		jm_note(jm,
			"%s[%u] is not deterministic: attempt %s gave other bytes than the one that counts",
			s->name, graph_index(jm->graph, event->vertex), jm_attempt_text(jm, event->attempt));
}

bool jm_is_live(const struct jm *jm, uint32_t vertex, uint32_t attempt, uint32_t node)
{
	const struct jm_vertex *v = &jm->vertices[vertex];

	if (v->state != JM_RUNNING)
		return false;
	for (size_t i = 0; v->has_speculation && i < jm->speculation_count; i++)
		if (jm->speculations[i].vertex == vertex && jm->speculations[i].attempt == attempt &&
			jm->speculations[i].node == node)
			return true;
	return v->attempt == attempt && v->node == node;
}

/* While the job is resumed, nobody is judged before all is known. */
static void hold_back(struct jm *jm, const struct jm_event *event)
{
	struct jm_held *h = DAG_APPEND(jm->held, jm->held_count, jm->held_cap);

	h->event = *event;
	h->outcome = *event->outcome;
	h->outcome.text = base_strdup(h->outcome.text ? h->outcome.text : "");
	h->outcome.stderr_tail = base_strdup(h->outcome.stderr_tail ? h->outcome.stderr_tail : "");
}

static void on_ended(struct jm *jm, const struct jm_event *event);

static void release_held(struct jm *jm)
{
	for (size_t i = 0; i < jm->held_count; i++) {
		struct jm_held *h = &jm->held[i];

		h->event.outcome = &h->outcome;
		if (!jm->ended && jm->nodes[h->event.node].up)
			on_ended(jm, &h->event);
		free((char *)h->outcome.text);
		free((char *)h->outcome.stderr_tail);
	}
	jm->held_count = 0;
}

static void commit(struct jm *jm, uint32_t vertex, const struct jm_outcome *outcome)
{
	bool differs = gang_commit(jm, vertex, outcome);

	refine_look(jm);
	if (differs)
		failure_on_differs(jm, vertex);
	chain_committed(jm, vertex);
}

static void on_ended(struct jm *jm, const struct jm_event *event)
{
	struct jm_vertex *v = &jm->vertices[event->vertex];

	if (jm->resuming) {
		hold_back(jm, event);
		return;
	}
	if (!jm_is_live(jm, event->vertex, event->attempt, event->node)) {
		on_late(jm, event);
		return;
	}
	if (v->has_speculation && event->outcome->error) { /* the other one goes on */
		jm_fact(jm, "failed-copy %u %u", event->vertex, event->attempt);
		if (v->attempt == event->attempt)
			gang_promote_speculation(jm, event->vertex);
		else
			speculation_drop(jm, event->vertex);
		acknowledge(jm, JM_ACK, event);
		return;
	}
	if (event->outcome->error == DAG_ECANCELED) {
		recall_returned(jm, event->vertex);
		return;
	}
	node_moved(jm, event->node);
	if (v->attempt != event->attempt)
		gang_promote_speculation(jm, event->vertex);
	if (v->chained) { /* it ended before what it reads did: nobody knows of what */
		gang_reset(jm, jm->graph->gang_of[event->vertex], true);
		return;
	}
	if (event->outcome->error)
		failure_on_failed(jm, event->vertex, event->outcome);
	else
		commit(jm, event->vertex, event->outcome);
	acknowledge(jm, JM_ACK, event);
}

static void finish(struct jm *jm)
{
	for (uint32_t i = 0; i < jm->graph->output_count; i++)
		output_fetch_next(jm, i);
	if (jm->ended || jm->publishing || jm->outputs_left || jm->open_left ||
		(jm->vertices_left && jm->fate != JM_FATE_DECIDED))
		return;
	jm->publishing = true;
	jm_fact(jm, "publishing");
	jm_emit(jm, JM_PUBLISH);
}

static bool is_valid(const struct jm *jm, const struct jm_event *e)
{
	switch (e->kind) {
	case JM_NODE_GRANT:
	case JM_NODE_SUSPECT:
	case JM_NODE_DOWN:
		return e->node < jm->node_count;
	case JM_ENDED:
		return e->node < jm->node_count && e->vertex < jm->graph->vertex_count && e->outcome &&
		       vertex_stage(jm, e->vertex)->kind != GRAPH_INPUT;
	case JM_VERIFIED:
	case JM_UNREAD:
		return e->vertex < jm->graph->vertex_count;
	case JM_FETCHED:
	case JM_SYNCED:
	case JM_FETCH_FAILED:
		return e->output < jm->graph->output_count && e->vertex < jm->graph->vertex_count;
	default:
		return true;
	}
}

int jm_step(struct jm *jm, dag_instant now, const struct jm_event *event)
{
	int r = 0;

	effects_begin(jm);
	jm->now = now;
	if (jm->ended)
		return 0;
	if (!is_valid(jm, event))
		return DAG_EINVAL;
	switch (event->kind) {
	case JM_NODE_UP:
		r = node_up(jm, event);
		break;
	case JM_NODE_GRANT:
		node_grant(jm, event->node, event->shares);
		queues_steal_at(jm, 0);
		break;
	case JM_NODE_SUSPECT:
		node_suspect(jm, event->node, event->flag);
		break;
	case JM_NODE_DOWN:
		if (jm->nodes[event->node].up)
			failure_on_node_down(jm, event->node, event->flag);
		break;
	case JM_NODES_COMING:
		hopeless_coming(jm, event->flag);
		break;
	case JM_RESUMED:
		if (!jm->resuming)
			return DAG_EINVAL;
		replay_over(jm);
		resume_adopt(jm);
		release_held(jm);
		break;
	case JM_ENDED:
		on_ended(jm, event);
		break;
	case JM_VERIFIED:
		failure_on_verified(jm, event->vertex, event->attempt, event->error);
		break;
	case JM_FETCHED:
		output_on_fetched(jm, event);
		break;
	case JM_SYNCED:
		output_on_synced(jm, event);
		break;
	case JM_FETCH_FAILED:
		output_on_fetch_failed(jm, event);
		break;
	case JM_PUBLISHED:
		if (!jm->publishing)
			return DAG_EINVAL;
		if (!event->error)
			jm_fact(jm, "published");
		jm_end(jm, event->error, "%s", event->text ? event->text : "done");
		break;
	case JM_ADD:
		r = open_add(jm, event);
		break;
	case JM_CLOSE:
		r = refine_close(jm, event->stage);
		break;
	case JM_UNREAD:
		r = open_unread(jm, event);
		break;
	case JM_CANCEL:
		if (!jm->publishing &&
			jm->fate != JM_FATE_DECIDED) /* after the intent the publication goes forward */
			jm_end(jm, DAG_ECANCELED, "cancelled");
		break;
	case JM_ABORT:
		jm_end(jm, event->error, "%s", event->text);
		break;
	case JM_TICK:
		break;
	}
	if (r == 0 && !jm->ended && !jm->resuming) {
		failure_rerun_broken(jm);
		pauses_look(jm);
	}
	if (r < 0 || jm->ended || jm->resuming)
		return r;
	round_start(jm);
	finish(jm);
	round_start(jm);
	recall_look(jm);
	speculation_look(jm);
	return 0;
}

void jm_stage_view(const struct jm *jm, uint32_t stage, struct jm_stage_view *ret)
{
	const struct jm_stage *s = &jm->stages[stage];
	/* Of an open stage there are those that were added. */
	uint32_t none = jm->graph->stages[stage]->open && !s->settled ? s->width - s->added : 0;

	*ret = (struct jm_stage_view){s->width - none, s->waiting - none, s->ready, s->running, s->done,
		s->attempts, s->failures, s->bytes_in, s->bytes_out, s->records_in, s->records_out,
		s->run_ns};
}

bool jm_current(const struct jm *jm, uint32_t vertex, uint32_t *ret_attempt, uint32_t *ret_node,
	enum jm_state *ret_state)
{
	const struct jm_vertex *v = &jm->vertices[vertex];

	*ret_attempt = v->attempt;
	*ret_node = v->node;
	*ret_state = (enum jm_state)v->state;
	return v->node != JM_NODE_NONE;
}
