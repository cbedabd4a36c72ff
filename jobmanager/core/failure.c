/* SPDX-License-Identifier: Apache-2.0 */
/* What a failure means: rules 1 to 4, 6 and 7 of docs/FAILURES.md. */
#include "failure.h"
#include "alone.h"
#include "blame.h"
#include "edges.h"
#include "effects.h"
#include "found.h"
#include "gangs.h"
#include "nodes.h"
#include "output.h"
#include "pause.h"
#include "speculation.h"
#include "vertices.h"
#include "graph/edge.h"

#define TAIL_LINES_MAX 21               /* of which the first says how much was before them */
#define TAIL_LINE_BYTES_MAX 400         /* of each that is shown */
#define JM_LOSSES_MAX 32                /* of a vertex, one after the other, that its daemon gave up */
#define JM_BREAKS_MAX 12                /* of a gang whose members do not reach each other */
#define JM_BROKEN_WAIT (3 * DAG_SECOND) /* for the member of a gang that broke it to say why */

struct jm_complaint {
	uint32_t reader, producer, attempt, node; /* who could not read whose output */
	int error;
};

/* The last lines of a text. */
static const char *last_lines(const char *text)
{
	const char *c = text + strlen(text);

	if (c > text && c[-1] == '\n')
		c--;
	for (int n = 0; c > text; c--)
		if (c[-1] == '\n' && ++n == TAIL_LINES_MAX)
			break;
	return c;
}

static const char *indent_tail(struct jm *jm, const char *tail)
{
	struct buffer b = {0};
	const char *text;

	if (!tail || !*tail)
		return "";
	buffer_format(&b, "\n  its stderr ended:");
	tail = last_lines(tail);
	while (*tail) {
		size_t len = strcspn(tail, "\n");

		buffer_format(&b, "\n    %.*s%s", (int)DAG_MIN(len, (size_t)TAIL_LINE_BYTES_MAX), tail,
			len > TAIL_LINE_BYTES_MAX ? "…" : "");
		tail += len + (tail[len] == '\n');
	}
	text = arena_strndup(&jm->texts, (char *)b.data, b.len);
	buffer_fini(&b);
	return text;
}

/*
 * Two failures that are alike: the same code, signal and words. What ran into its time or its memory is alike
 * whatever the numbers in the words. A kill from outside says nothing about the vertex.
 */
static bool is_alike(const struct jm_failure *a, const struct jm_outcome *b)
{
	if (a->error != b->error || b->error == DAG_ELOST || b->error == DAG_ENOSPC || b->error == DAG_EBUSY)
		return false;
	if (b->error == DAG_ELIMIT || b->error == DAG_ETIMEDOUT)
		return true;
	return a->signal == b->signal && a->signal != 9 && !strcmp(a->text, b->text ? b->text : "");
}

/* Alone, or with its whole gang; what that lost is looked for first. */
static void run_again(struct jm *jm, uint32_t vertex, dag_instant pause)
{
	uint32_t gang = jm->graph->gang_of[vertex];

	if (alone_run(jm, vertex, pause))
		return;
	if (pause)
		pause_gang(jm, gang, pause);
	gang_rerun(jm, gang);
}

/* ---- rule 7 ---- */

/* Which record an attempt died on, in words: ` (record 3 of FILE)` or of a vertex; empty where that is not
 * known. */
static const char *record_text(struct jm *jm, uint32_t vertex, const struct jm_outcome *o)
{
	const struct graph_stage *s = vertex_stage(jm, vertex), *from;
	uint32_t index = graph_index(jm->graph, vertex), producer;
	unsigned long long number = o->at.number + 1;
	const struct graph_split *split;
	const struct graph_edge *e;

	if (!o->has_at || o->at.port >= s->in_count || s->in[o->at.port].edge == GRAPH_NONE)
		return "";
	e = jm->graph->edges[s->in[o->at.port].edge];
	if (o->at.producer >= jm_producers(jm, e, index))
		return "";
	from = jm->graph->stages[e->from];
	producer = jm_producer(jm, e, index, o->at.producer);
	if (from->kind != GRAPH_INPUT)
		return arena_format(&jm->texts, " (record %llu of %s[%u])", number, from->name, producer);
	split = &from->splits[producer];
	return split->offset ? arena_format(&jm->texts, " (record %llu of %s from byte %llu on)", number,
				       from->input_files[split->file].path, (unsigned long long)split->offset)
			     : arena_format(&jm->texts, " (record %llu of %s)", number,
				       from->input_files[split->file].path);
}

/* Two attempts died on the same record: true where it may be passed over. */
static bool skip_record(struct jm *jm, uint32_t vertex, const struct jm_outcome *o, const char *text)
{
	struct jm_vertex *v = &jm->vertices[vertex];
	const struct graph_stage *s = vertex_stage(jm, vertex);

	if (blame_count_records(jm, s->id, vertex) >= s->skip_records)
		return false;
	jm_fact(jm, "skip %u %u %u %u %llu %s", vertex, v->attempt, o->at.port, o->at.producer,
		(unsigned long long)o->at.number, text);
	jm_note(jm, "%s died twice on record %llu of input port %u, which goes into quarantine: %s",
		jm_attempt_name(jm, vertex), (unsigned long long)o->at.number + 1, o->at.port, text);
	blame_record(jm, vertex, &o->at, text);
	return true;
}

static bool has_elsewhere(const struct jm *jm, uint32_t vertex)
{
	for (uint32_t i = 0; i < jm->node_count; i++)
		if (i != jm->vertices[vertex].node && node_could_run(jm, &jm->nodes[i], vertex))
			return true;
	return false;
}

/* Rule 1. */
static void charge(struct jm *jm, uint32_t vertex, const struct jm_outcome *o)
{
	struct jm_vertex *v = &jm->vertices[vertex];
	const struct graph_stage *s = vertex_stage(jm, vertex);
	const char *name = jm_attempt_name(jm, vertex),
		   *text = o->text && *o->text ? o->text : dag_strerror(o->error),
		   *record = record_text(jm, vertex, o);
	const struct jm_failure *last = v->last_failure ? &jm->failures[v->last_failure - 1] : NULL;
	/* Who says how often wants it so often. Twice on one node may be its fault, where there is another.
	 */
	bool alike = last && !s->retries_said && is_alike(last, o) &&
		     (last->node != v->node || !has_elsewhere(jm, vertex));
	dag_instant pause;

	bool same = last && last->has_at && o->has_at && blame_is_same_record(&last->at, &o->at);

	blame_failure(jm, vertex);
	jm_fact(jm, "failed %u %u node=%u error=%d signal=%d %s", vertex, v->attempt, v->node, o->error,
		o->signal, text);
	if (o->error == DAG_ENOSPC)
		node_rest(jm, v->node);
	if (o->error == DAG_ENOEXEC || o->error == DAG_EVERSION) {
		jm_end(jm, o->error, "%s: %s%s", name, text, indent_tail(jm, o->stderr_tail));
		return;
	}
	if (same && skip_record(jm, vertex, o, text)) {
		run_again(jm, vertex, 0);
		return;
	}
	if (same && (!s->retries_said || v->failures > s->retries)) {
		jm_end(jm, o->error, "%s: died twice on record %llu of input port %u%s: %s%s%s", name,
			(unsigned long long)o->at.number + 1, o->at.port,
			s->skip_records ? ", and no more records may be skipped" : "", text, record,
			indent_tail(jm, o->stderr_tail));
		return;
	}
	if (v->failures > s->retries || alike) {
		const char *why = "";

		if (alike && v->failures <= s->retries)
			why = " (twice the same, so it is not tried again)";
		else if (v->failures > 1)
			why = arena_format(&jm->texts, " (it failed %u times)", v->failures);
		jm_end(jm, o->error, "%s: %s%s%s%s", name, text, record, why,
			indent_tail(jm, o->stderr_tail));
		return;
	}
	pause = pause_time(jm, vertex, v->failures);
	jm_note_like(jm, vertex, text, "%s failed and runs again in %.1f s: %s%s%s", name,
		(double)pause / (double)DAG_SECOND, text, record, indent_tail(jm, o->stderr_tail));
	blame_remember(jm, vertex, v->node, o);
	v->avoid = v->node + 1;
	run_again(jm, vertex, pause);
}

/* ---- rule 2 ---- */

static void complain(struct jm *jm, uint32_t vertex, const struct jm_outcome *o)
{
	struct jm_vertex *v = &jm->vertices[vertex], *p = &jm->vertices[o->blamed_vertex];
	uint32_t reader_node = v->node;

	jm_fact(jm, "unread %u %u from=%u %u error=%d", vertex, v->attempt, o->blamed_vertex,
		o->blamed_attempt, o->error);
	jm_note_like(jm, vertex, "could not read its input", "%s could not read %s: %s",
		jm_attempt_name(jm, vertex), jm_attempt_name(jm, o->blamed_vertex),
		o->text && *o->text ? o->text : dag_strerror(o->error));
	v->avoid = reader_node + 1;
	if (p->state != JM_DONE || p->attempt != o->blamed_attempt) {
		run_again(jm, vertex, 0); /* that output is being made again already */
		return;
	}
	if (!jm->nodes[p->node].up) {
		run_again(jm, vertex, 0);
		gang_invalidate(jm, o->blamed_vertex, "its node is gone");
		return;
	}
	/* The holder looks before anyone is blamed; the reader waits in its state until then. */
	*DAG_APPEND(jm->complaints, jm->complaint_count, jm->complaint_cap) =
		(struct jm_complaint){vertex, o->blamed_vertex, o->blamed_attempt, reader_node, o->error};
	gang_reset(jm, jm->graph->gang_of[vertex], true);
	jm_emit_attempt(jm, JM_VERIFY, p->node, o->blamed_vertex, o->blamed_attempt);
}

static void blame_source(struct jm *jm, uint32_t vertex, const struct jm_outcome *o)
{
	struct jm_vertex *v = &jm->vertices[vertex];
	const struct graph_stage *in = vertex_stage(jm, o->blamed_vertex);
	const struct graph_file *file =
		&in->input_files[in->splits[o->blamed_vertex - in->first_vertex].file];
	const char *text = o->text && *o->text ? o->text : dag_strerror(o->error);

	if (++v->source_failures >= JM_SOURCE_TRIES || o->error == DAG_ECHANGED || o->error == DAG_EFORMAT) {
		jm_end(jm, o->error, "%s: cannot read the input '%s', file %s: %s",
			jm_attempt_name(jm, vertex), in->name, file->path, text);
		return;
	}
	jm_note_like(jm, vertex, text, "%s could not read %s and runs again: %s", jm_attempt_name(jm, vertex),
		file->path, text);
	run_again(jm, vertex, pause_time(jm, vertex, v->source_failures));
}

/* The complaint about intact data: the reader's own node is at fault. */
static void on_intact(struct jm *jm, const struct jm_complaint *c)
{
	const struct jm_vertex *v = &jm->vertices[c->reader];
	uint32_t complaints = node_complain(jm, c->node);

	if (complaints == JM_NODE_COMPLAINTS_MAX)
		jm_note(jm, "node %s complained %u times about data that is intact", jm->nodes[c->node].name,
			complaints);
	if (complaints >= JM_NODE_COMPLAINTS_MAX) {
		jm_fact(jm, "misread %u %u from=%u %u error=%d", c->reader, v->attempt, c->producer,
			c->attempt, c->error);
		blame_reader(jm, c->reader);
		if (v->failures > vertex_stage(jm, c->reader)->retries) {
			jm_end(jm, c->error, "%s: cannot read %s, which is intact on node %s",
				jm_attempt_name(jm, c->reader), jm_attempt_name(jm, c->producer),
				jm->nodes[jm->vertices[c->producer].node].name);
			return;
		}
		pause_gang(jm, jm->graph->gang_of[c->reader], pause_time(jm, c->reader, v->failures));
	}
	gang_try_ready(jm, jm->graph->gang_of[c->reader]);
}

void failure_on_verified(struct jm *jm, uint32_t vertex, uint32_t attempt, int error)
{
	for (size_t i = 0; i < jm->complaint_count && !jm->ended;) {
		struct jm_complaint c = jm->complaints[i];

		if (c.producer != vertex || c.attempt != attempt) {
			i++;
			continue;
		}
		jm->complaints[i] = jm->complaints[--jm->complaint_count];
		if (error && jm->vertices[vertex].state == JM_DONE && jm->vertices[vertex].attempt == attempt)
			gang_invalidate(jm, vertex,
				error == DAG_ECORRUPT ? "its output is damaged" : "its output is missing");
		if (error && !jm->ended)
			gang_try_ready(jm, jm->graph->gang_of[c.reader]);
		else if (!jm->ended)
			on_intact(jm, &c);
	}
}

/*
 * A pipe of the same gang broke: the member that broke it tells of it by itself, or its node's end does. A
 * restart before that would make its word a late one, and the cause would never be mended.
 */
static void break_gang(struct jm *jm, uint32_t reader, uint32_t producer)
{
	uint32_t gang = jm->graph->gang_of[reader];

	if (jm->gangs[gang].broken_at != DAG_NEVER)
		return;
	gang_break(jm, reader, producer);
	*DAG_APPEND(jm->broken, jm->broken_count, jm->broken_cap) = gang;
}

/* Members may be on nodes that never reach each other, where nobody but they can know it. */
static void rerun_unexplained(struct jm *jm, uint32_t gang)
{
	struct jm_gang *g = &jm->gangs[gang];

	if (++g->breaks > JM_BREAKS_MAX) {
		jm_end(jm, DAG_EUNREACHABLE,
			"%s could not read the pipe from %s, %u times; do their nodes reach each other?",
			jm_attempt_name(jm, g->reader), jm_attempt_name(jm, g->producer), g->breaks);
		return;
	}
	jm_note(jm, "%s could not read the pipe from %s; their gang runs again",
		jm_attempt_name(jm, g->reader), jm_attempt_name(jm, g->producer));
	pause_gang(jm, gang, pause_time(jm, g->reader, g->breaks));
	gang_rerun(jm, gang);
}

void failure_rerun_broken(struct jm *jm)
{
	for (size_t i = 0; i < jm->broken_count && !jm->ended;) {
		uint32_t gang = jm->broken[i];
		dag_instant at = jm->gangs[gang].broken_at;

		if (at != DAG_NEVER && jm->now - at < JM_BROKEN_WAIT) {
			jm_wake(jm, at + JM_BROKEN_WAIT);
			i++;
			continue;
		}
		jm->broken[i] = jm->broken[--jm->broken_count];
		if (at != DAG_NEVER)
			rerun_unexplained(jm, gang);
	}
}

/* Its daemon gave it up: uncharged, as if the node were gone. But not without end, and not at once again and
 * again. */
static void lose(struct jm *jm, uint32_t vertex, const char *text)
{
	uint32_t losses = blame_loss(jm, vertex);

	if (losses > JM_LOSSES_MAX) {
		jm_end(jm, DAG_ELOST, "%s was lost %u times: %s", jm_attempt_name(jm, vertex), losses, text);
		return;
	}
	jm_note_like(
		jm, vertex, "was lost", "%s was lost and runs again: %s", jm_attempt_name(jm, vertex), text);
	run_again(jm, vertex, losses > 1 ? pause_time(jm, vertex, losses - 1) : 0);
}

void failure_on_failed(struct jm *jm, uint32_t vertex, const struct jm_outcome *o)
{
	bool input_error = o->error == DAG_EMISSING || o->error == DAG_ECORRUPT ||
			   o->error == DAG_EUNREACHABLE || o->error == DAG_EIO || o->error == DAG_ECHANGED;

	if (o->blamed && o->blamed_vertex < jm->graph->vertex_count &&
		vertex_stage(jm, o->blamed_vertex)->kind == GRAPH_INPUT)
		blame_source(jm, vertex, o);
	else if (o->blamed && o->blamed_vertex < jm->graph->vertex_count && input_error &&
		 jm->graph->gang_of[o->blamed_vertex] != jm->graph->gang_of[vertex])
		complain(jm, vertex, o);
	else if (o->blamed && input_error && alone_reads(jm, vertex, o->blamed_vertex)) {
		jm_note(jm, "%s cannot read %s from its first block; their gang runs again",
			jm_attempt_name(jm, vertex), jm_attempt_name(jm, o->blamed_vertex));
		gang_rerun(jm, jm->graph->gang_of[vertex]);
	} else if (o->blamed && input_error)
		break_gang(jm, vertex, o->blamed_vertex);
	else if (o->error == DAG_ELOST)
		lose(jm, vertex, o->text && *o->text ? o->text : dag_strerror(o->error));
	else
		charge(jm, vertex, o);
}

/* ---- rule 6 ---- */

static void rerun_consumer(struct jm *jm, uint32_t consumer, void *ctx)
{
	const struct jm_vertex *v = &jm->vertices[consumer];
	uint32_t producer = *(const uint32_t *)ctx;

	if (v->skipped || jm->graph->gang_of[consumer] == jm->graph->gang_of[producer] ||
		(v->state != JM_RUNNING && v->state != JM_DONE))
		return;
	jm_note_like(jm, consumer, "read other bytes", "%s runs again: it read other bytes than %s has now",
		jm_attempt_name(jm, consumer), jm_attempt_name(jm, producer));
	gang_rerun(jm, jm->graph->gang_of[consumer]);
}

void failure_on_differs(struct jm *jm, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);

	if (s->deterministic == GRAPH_DETERMINISTIC) {
		jm_end(jm, DAG_EDIFFERS,
			"%s gave other bytes than the attempt before, and the stage is said to be "
			"deterministic",
			jm_attempt_name(jm, vertex));
		return;
	}
	jm_note_like(jm, vertex, "gave other bytes",
		"%s gave other bytes than the attempt before; is '%s' deterministic?",
		jm_attempt_name(jm, vertex), s->name);
	if (s->deterministic == GRAPH_ACCEPT)
		return;
	vertex_each_consumer(jm, vertex, rerun_consumer, &vertex);
	for (uint32_t i = 0; i < jm->graph->output_count; i++)
		if (jm->graph->outputs[i].stage == s->id && jm->outputs[i].fetched > vertex - s->first_vertex)
			output_refetch(jm, i);
}

/* ---- rule 3 ---- */

struct need {
	bool needed;
};

static void look_at_consumer(struct jm *jm, uint32_t consumer, void *ctx)
{
	struct need *need = ctx;

	if (jm->vertices[consumer].state == JM_WAITING || jm->vertices[consumer].state == JM_READY)
		need->needed = true;
}

static bool is_needed(struct jm *jm, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);
	struct need need = {false};

	for (size_t i = 0; i < jm->graph->output_count; i++)
		if (jm->graph->outputs[i].stage == s->id &&
			jm->outputs[i].fetched <= vertex - s->first_vertex)
			return true;
	for (const struct graph_edge *e = graph_out(jm->graph, s->first_out); e;
		e = graph_out(jm->graph, e->next_out))
		if (edges_is_ungrouped(jm, e, vertex - s->first_vertex))
			return true; /* somebody will */
	vertex_each_consumer(jm, vertex, look_at_consumer, &need);
	return need.needed;
}

/* From the last vertices to the first: a consumer that must run again makes its producers needed. */
void failure_rerun_lost(struct jm *jm, bool (*is_lost)(const struct jm *jm, uint32_t vertex, const void *ctx),
	const void *ctx, uint32_t *ret_count)
{
	for (uint32_t v = jm->graph->vertex_count; v-- > 0 && !jm->ended;)
		if (jm->vertices[v].state == JM_DONE && jm->vertices[v].node != JM_NODE_NONE &&
			is_lost(jm, v, ctx) && is_needed(jm, v)) {
			++*ret_count;
			gang_invalidate(jm, v, "its node is gone");
		}
}

static bool is_on_node(const struct jm *jm, uint32_t vertex, const void *ctx)
{
	return jm->vertices[vertex].node == *(const uint32_t *)ctx;
}

void failure_on_node_down(struct jm *jm, uint32_t node, bool died)
{
	uint32_t lost = 0;

	node_down(jm, node, died);
	if (jm->resuming) { /* resume_adopt sees what is gone */
		found_forget(jm, node);
		return;
	}
	if (died)
		blame_deaths(jm, node);
	for (size_t i = 0; i < jm->speculation_count && !jm->ended;) {
		struct jm_speculation second = jm->speculations[i];

		if (second.node == node)
			speculation_drop(jm, second.vertex);
		else if (jm->vertices[second.vertex].node == node)
			gang_promote_speculation(jm, second.vertex);
		else
			i++;
	}
	for (uint32_t v = 0; v < jm->graph->vertex_count && !jm->ended; v++)
		if (jm->vertices[v].node == node && jm->vertices[v].state == JM_RUNNING) {
			lost++;
			run_again(jm, v, 0);
		}
	failure_rerun_lost(jm, is_on_node, &node, &lost);
	for (size_t i = 0; i < jm->complaint_count && !jm->ended; i++)
		if (jm->vertices[jm->complaints[i].producer].node == node) {
			failure_on_verified(
				jm, jm->complaints[i].producer, jm->complaints[i].attempt, DAG_EMISSING);
			i = (size_t)-1;
		}
	outputs_look_again(jm);
	if (!jm->ended)
		jm_note(jm, "node %s is gone; %u %s again", jm->nodes[node].name, lost,
			lost == 1 ? "vertex runs" : "vertices run");
}

void failure_fini(struct jm *jm)
{
	free(jm->complaints);
	free(jm->broken);
}
