/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vertex may take its daemon with it, by all of a node's memory for instance, and then the next one. It
 * must not get all nodes, and others must not be blamed for it.
 *
 * What counts is a daemon whose process ended while its machine answers; one that was silent may have been
 * cut off. All that ran there are suspects. A vertex has failed where two daemons ended under it and no other
 * suspect ran beside it the second time, or where three did, in any company. In both cases those must be more
 * than half of all daemons that ended: where they end everywhere (a cluster that is restarted), no vertex is
 * to blame.
 */
#include "blame.h"
#include "effects.h"
#include "list.h"
#include "nodes.h"
#include "speculation.h"
#include "vertices.h"

#define NAMES_MAX 3           /* of vertices in the reason */
#define JM_DEATHS_ALONE 2     /* daemons that ended under a vertex, where no other is suspected, */
#define JM_DEATHS_MAX 3       /* and where others are */
#define JM_DEATHS_NOTED 255   /* of a vertex */
#define JM_BAD_RECORDS_MAX 32 /* of one vertex */

void blame_add_death(struct jm *jm, uint32_t vertex, uint32_t node)
{
	struct jm_vertex *v = &jm->vertices[vertex];

	if (v->deaths == JM_DEATHS_NOTED)
		return;
	v->deaths++;
	*DAG_APPEND(jm->deaths, jm->death_count, jm->death_cap) = (struct jm_death){vertex, node};
}

/* Vertices that ran there, speculative attempts too, without those that certainly had not begun. */
static struct jm_list find_running(const struct jm *jm, uint32_t node)
{
	struct jm_list list = {0};

	for (uint32_t v = 0; v < jm->graph->vertex_count; v++)
		if (jm->vertices[v].state == JM_RUNNING && jm->vertices[v].node == node &&
			!jm->vertices[v].chained)
			jm_list_append(&list, v);
	for (size_t i = 0; i < jm->speculation_count; i++)
		if (jm->speculations[i].node == node)
			jm_list_append(&list, jm->speculations[i].vertex);
	return list;
}

static bool is_guilty(const struct jm *jm, uint32_t vertex, uint32_t suspects)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);
	uint32_t deaths = jm->vertices[vertex].deaths, may = suspects == 1 ? JM_DEATHS_ALONE : JM_DEATHS_MAX;

	if (s->retries_said)
		may = DAG_MAX(may, DAG_MIN((uint32_t)s->retries + 1, JM_DEATHS_NOTED));
	return deaths >= may && deaths * 2 > jm->node_deaths;
}

static void say_nodes(struct buffer *b, const struct jm *jm, uint32_t vertex)
{
	const char *between = "";

	for (size_t i = 0; i < jm->death_count; i++)
		if (jm->deaths[i].vertex == vertex) {
			buffer_format(b, "%son %s", between, jm->nodes[jm->deaths[i].node].name);
			between = " and ";
		}
}

static void end_for(struct jm *jm, const struct jm_list *guilty)
{
	struct buffer b = {0};
	uint32_t deaths = jm->vertices[guilty->items[0]].deaths;

	for (size_t i = 0; i < guilty->count && i < NAMES_MAX; i++)
		buffer_format(&b, "%s%s[%u]", i ? ", " : "", vertex_stage(jm, guilty->items[i])->name,
			graph_index(jm->graph, guilty->items[i]));
	if (guilty->count > NAMES_MAX)
		buffer_format(&b, " or one of %zu others", guilty->count - NAMES_MAX);
	if (deaths == 2)
		buffer_format(&b, ": its daemon ended twice while it ran: ");
	else
		buffer_format(&b, ": its daemon ended %u times while it ran: ", deaths);
	say_nodes(&b, jm, guilty->items[0]);
	buffer_format(&b, "; does it take more memory than a node has?");
	jm_end(jm, DAG_ELIMIT, "%.*s", (int)b.len, (char *)b.data);
	buffer_fini(&b);
}

void blame_deaths(struct jm *jm, uint32_t node)
{
	struct jm_list running = find_running(jm, node), guilty = {0};
	uint32_t suspects = 0;

	for (size_t i = 0; i < running.count; i++)
		suspects += jm->vertices[running.items[i]].deaths > 0;
	for (size_t i = 0; i < running.count; i++) {
		uint32_t v = running.items[i];

		jm_fact(jm, "died %u %u node=%u", v, jm->vertices[v].attempt, node);
		blame_add_death(jm, v, node);
		if (is_guilty(jm, v, suspects))
			jm_list_append(&guilty, v);
	}
	if (guilty.count)
		end_for(jm, &guilty);
	free(running.items);
	free(guilty.items);
}

void blame_remember(struct jm *jm, uint32_t vertex, uint32_t node, const struct jm_outcome *o)
{
	struct jm_vertex *v = &jm->vertices[vertex];
	struct jm_failure *f;

	if (!v->last_failure) {
		DAG_APPEND(jm->failures, jm->failure_count, jm->failure_cap);
		v->last_failure = (uint32_t)jm->failure_count;
	}
	f = &jm->failures[v->last_failure - 1];
	free(f->text);
	*f = (struct jm_failure){.error = o->error,
		.signal = o->signal,
		.text = base_strdup(o->text ? o->text : ""),
		.node = node,
		.has_at = o->has_at,
		.at = {o->at.port, o->at.producer, o->at.number, NULL, 0}};
}

static void blame_failed_node(struct jm *jm, uint32_t vertex)
{
	struct jm_vertex *v = &jm->vertices[vertex];
	struct jm_failure *f = v->last_failure ? &jm->failures[v->last_failure - 1] : NULL;

	if (!f || f->blamed || f->node == v->node || f->node >= jm->node_count)
		return;
	f->blamed = true;
	if (!node_blame(jm, f->node))
		return;
	jm_note(jm,
		"node %s is avoided: %u vertices failed there and then ran elsewhere, the last one %s[%u]: "
		"%s",
		jm->nodes[f->node].name, jm->nodes[f->node].bad, vertex_stage(jm, vertex)->name,
		graph_index(jm->graph, vertex), f->text);
}

void blame_committed(struct jm *jm, uint32_t vertex)
{
	jm->vertices[vertex].losses = 0;
	blame_failed_node(jm, vertex);
}

void blame_failure(struct jm *jm, uint32_t vertex)
{
	jm->vertices[vertex].failures++;
	jm->stages[jm->graph->vertex_stage[vertex]].failures++;
}

void blame_reader(struct jm *jm, uint32_t vertex)
{
	jm->vertices[vertex].failures++;
}

uint32_t blame_loss(struct jm *jm, uint32_t vertex)
{
	return ++jm->vertices[vertex].losses;
}

uint32_t blame_rerun(struct jm *jm, uint32_t vertex)
{
	return ++jm->vertices[vertex].reruns;
}

void blame_record(struct jm *jm, uint32_t vertex, const struct jm_record *record, const char *reason)
{
	struct jm_vertex *v = &jm->vertices[vertex];

	*DAG_APPEND(jm->bad, jm->bad_count, jm->bad_cap) = (struct jm_bad_record){
		vertex, {record->port, record->producer, record->number, NULL, 0}, base_strdup(reason)};
	if (v->last_failure)
		jm->failures[v->last_failure - 1].has_at = false;
	v->failures = 0;
}

bool jm_skip(const struct jm *jm, uint32_t vertex, uint32_t i, struct jm_record *ret)
{
	for (size_t j = 0; j < jm->bad_count; j++)
		if (jm->bad[j].vertex == vertex && i-- == 0) {
			*ret = jm->bad[j].record;
			return true;
		}
	return false;
}

bool blame_is_same_record(const struct jm_record *a, const struct jm_record *b)
{
	return a->port == b->port && a->producer == b->producer && a->number == b->number;
}

void blame_note_skipped(struct jm *jm, uint32_t vertex, const struct jm_record *record)
{
	struct buffer hex = {0};
	const char *reason = "";

	buffer_hex(&hex, record->data, record->len);
	buffer_append(&hex, "", 1);
	for (size_t i = 0; i < jm->bad_count; i++)
		if (jm->bad[i].vertex == vertex && blame_is_same_record(&jm->bad[i].record, record))
			reason = jm->bad[i].reason;
	jm_fact(jm, "quarantined %u %u %u %u %llu %s %s", vertex, jm->vertices[vertex].attempt, record->port,
		record->producer, (unsigned long long)record->number, record->len ? (char *)hex.data : "-",
		reason);
	buffer_fini(&hex);
}

uint32_t blame_count_records(const struct jm *jm, uint32_t stage, uint32_t vertex)
{
	uint32_t n = 0, own = 0;

	for (size_t i = 0; i < jm->bad_count; i++) {
		n += jm->graph->vertex_stage[jm->bad[i].vertex] == stage;
		own += jm->bad[i].vertex == vertex;
	}
	return own >= JM_BAD_RECORDS_MAX ? UINT32_MAX : n;
}

void blame_fini(struct jm *jm)
{
	for (size_t i = 0; i < jm->failure_count; i++)
		free(jm->failures[i].text);
	free(jm->failures);
	for (size_t i = 0; i < jm->bad_count; i++)
		free(jm->bad[i].reason);
	free(jm->bad);
	free(jm->deaths);
}
