/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can never run on the nodes that are there ends the job, in words that say what is asked for and what
 * there is. Every stage that still has something to run is looked at, whether its vertices are ready or not:
 * nobody should wait hours for an error that can be told now. Gangs are looked at when they are ready.
 *
 * Where a node that would do was there and is gone, it is waited for once something is ready that needs it.
 * Where none was, only those that are just joining are waited for.
 */
#include "hopeless.h"
#include "effects.h"
#include "nodes.h"
#include "queue.h"
#include "spread.h"
#include "vertices.h"
#include "base/size.h"

#define HOPELESS_CHECK (500 * DAG_MS)
#define COMING_MAX (300 * DAG_SECOND) /* for nodes that answer and do not come up */
#define QUEUES_A_CHECK 8              /* of nodes; in turn */
#define LABELS_SHOWN 8
#define STAGES_SHOWN 8

/* ---- words ---- */

static void say_labels(struct buffer *b, const struct graph_stage *s)
{
	for (uint32_t i = 0; i < s->label_count; i++)
		buffer_format(b, "%s%s=%s",
			i                    ? ", "
			: s->label_count > 1 ? "labels "
					     : "label ",
			s->labels[i].name, s->labels[i].value);
}

static void say_shares(struct buffer *b, uint64_t shares, const char *one, const char *more)
{
	buffer_format(b, "%g %s", (double)shares / GRAPH_CPU_SHARES, shares == GRAPH_CPU_SHARES ? one : more);
}

/* "label gpu=yes, memory 64.0 GiB and 8 cpus" */
static void say_wants(struct buffer *b, const struct graph_stage *s)
{
	char size[SIZE_TEXT_LEN];
	int parts = (s->label_count > 0) + (s->memory > 0) + (s->cpu_shares > 0);

	say_labels(b, s);
	if (s->memory)
		buffer_format(b, "%smemory %s",
			!s->label_count ? ""
			: s->cpu_shares ? ", "
					: " and ",
			size_format(s->memory, size));
	if (!s->cpu_shares)
		return;
	buffer_format(b, "%s", parts > 1 ? " and " : "");
	say_shares(b, s->cpu_shares, "cpu", "cpus");
}

static uint32_t count_up(const struct jm *jm)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < jm->node_count; i++)
		n += jm->nodes[i].up;
	return n;
}

static bool is_shown(const struct jm *jm, uint32_t node, uint32_t label)
{
	const struct graph_pair *p = &jm->nodes[node].labels[label];

	for (uint32_t i = 0; i <= node; i++)
		for (uint32_t j = 0; jm->nodes[i].up && j < (i < node ? jm->nodes[i].label_count : label);
			j++)
			if (!strcmp(jm->nodes[i].labels[j].name, p->name) &&
				!strcmp(jm->nodes[i].labels[j].value, p->value))
				return true;
	return false;
}

static void say_labels_there(struct buffer *b, const struct jm *jm)
{
	uint32_t shown = 0;

	for (uint32_t i = 0; i < jm->node_count && shown <= LABELS_SHOWN; i++)
		for (uint32_t j = 0; jm->nodes[i].up && j < jm->nodes[i].label_count && shown <= LABELS_SHOWN;
			j++) {
			const struct graph_pair *p = &jm->nodes[i].labels[j];

			if (is_shown(jm, i, j))
				continue;
			shown++;
			if (shown > LABELS_SHOWN)
				buffer_format(b, ", and more");
			else
				buffer_format(b, "%s%s=%s", shown > 1 ? ", " : "", p->name, p->value);
		}
	if (!shown)
		buffer_format(b, "none");
}

/* What the nodes lack, each thing by itself. */
static void say_lacks(struct buffer *b, const struct jm *jm, const struct graph_stage *s, uint32_t shares)
{
	const struct jm_node *memory = NULL, *slots = NULL;
	const char *between = "";
	bool labels = false;
	char size[SIZE_TEXT_LEN];

	for (uint32_t i = 0; i < jm->node_count; i++) {
		const struct jm_node *n = &jm->nodes[i];

		if (!n->up)
			continue;
		labels = labels || node_has_labels(n, s);
		if (!memory || !n->memory || (memory->memory && n->memory > memory->memory))
			memory = n;
		if (!slots || n->total > slots->total)
			slots = n;
	}
	if (!labels) {
		buffer_format(b, "the labels that are there: ");
		say_labels_there(b, jm);
		between = "; ";
	}
	if (!node_has_memory(memory, 0, s->memory)) {
		buffer_format(b, "%sthe node with the most memory, %s, has %s", between, memory->name,
			size_format(memory->memory, size));
		between = "; ";
	}
	if (shares > slots->total) {
		buffer_format(b, "%sthe largest node, %s, has ", between, slots->name);
		say_shares(b, slots->total, "slot", "slots");
		between = "; ";
	}
	if (!*between)
		buffer_format(b, "each of it is there, but not together on one node");
}

/* "'a', which asks for 8 cpus" and what of it is not there, by what `between` leads to. */
static void say_stage(struct buffer *b, const struct jm *jm, const struct graph_stage *s, const char *between)
{
	uint32_t shares = graph_vertex_shares(jm->graph, s->first_vertex);

	buffer_format(b, "stage '%s', which asks for ", s->name);
	if (s->label_count || s->memory || s->cpu_shares)
		say_wants(b, s);
	else
		say_shares(b, shares, "slot", "slots");
	buffer_format(b, "%s", between);
	say_lacks(b, jm, s, shares);
}

/* All of them at once: who mends one should not wait for the next. */
static void end_for_stages(struct jm *jm, const uint32_t *stages, uint32_t count, uint32_t beyond)
{
	uint32_t up = count_up(jm);
	char *between = base_format("; %u node%s there, and ", up, up == 1 ? " is" : "s are");
	struct buffer b = {0};

	for (uint32_t i = 0; i < count; i++) {
		buffer_format(&b, "%s", i ? "; nor " : "");
		say_stage(&b, jm, jm->graph->stages[stages[i]], i ? ": " : between);
	}
	if (beyond)
		buffer_format(&b, "; nor %u other stage%s", beyond, DAG_S(beyond));
	jm_end(jm, DAG_ELIMIT, "no node can run %.*s", (int)b.len, (char *)b.data);
	buffer_fini(&b);
	free(between);
}

static void end_for_gang(struct jm *jm, uint32_t gang, uint32_t misfit)
{
	const struct graph_gang *g = &jm->graph->gangs[gang];
	const struct graph_stage *s = vertex_stage(jm, misfit);
	uint64_t shares = graph_gang_shares(jm->graph, gang), total = 0, memory = 0, has = 0;
	uint32_t up = count_up(jm);
	bool known = true;
	char size[SIZE_TEXT_LEN];
	struct buffer b = {0};

	for (uint32_t i = 0; i < g->count; i++)
		memory += vertex_stage(jm, jm->graph->gang_members[g->first + i])->memory;
	for (uint32_t i = 0; i < jm->node_count; i++) {
		total += jm->nodes[i].up ? jm->nodes[i].total : 0;
		has += jm->nodes[i].up ? jm->nodes[i].memory : 0;
		known = known && (!jm->nodes[i].up || jm->nodes[i].memory);
	}
	buffer_format(&b, "the %u vertices that pipes join to '%s' must run together, and need ", g->count,
		vertex_stage(jm, jm->graph->gang_members[g->first])->name);
	say_shares(&b, shares, "slot", "slots");
	if (memory)
		buffer_format(&b, " and %s of memory", size_format(memory, size));
	buffer_format(&b, "; the %u node%s there ha%s ", up, up == 1 ? " that is" : "s that are",
		up == 1 ? "s" : "ve");
	say_shares(&b, total, "slot", "slots");
	if (memory && known)
		buffer_format(&b, " and %s", size_format(has, size));
	buffer_format(&b, ", and no room is left for stage '%s'", s->name);
	if (s->label_count || s->memory || s->cpu_shares) {
		buffer_format(&b, ", which asks for ");
		say_wants(&b, s);
	}
	jm_end(jm, DAG_ELIMIT, "%.*s", (int)b.len, (char *)b.data);
	buffer_fini(&b);
}

/* ---- what is hopeless ---- */

enum hope { HOPE, HOPE_GONE, HOPE_NONE }; /* GONE: a node that would do was there */

/* Most stages ask for nothing that a node could lack. */
static bool is_easy(const struct jm *jm, const struct graph_stage *s, uint32_t most)
{
	return !s->label_count && !s->memory && graph_vertex_shares(jm->graph, s->first_vertex) <= most;
}

static enum hope stage_hope(const struct jm *jm, const struct graph_stage *s)
{
	enum hope hope = HOPE_NONE;

	for (uint32_t i = 0; i < jm->node_count; i++) {
		const struct jm_node *n = &jm->nodes[i];

		if (node_could_run(jm, n, s->first_vertex))
			return HOPE;
		/* Of one that is only known from the journal nobody knows what it has. */
		if (n->expected || (!n->up && node_would_suit(jm, n, s->first_vertex)))
			hope = HOPE_GONE;
	}
	return hope;
}

static bool is_over(const struct jm *jm, enum hope hope)
{
	dag_instant waited = jm->now - jm->hopeless_since;

	if (hope == HOPE_GONE)
		return waited >= jm->waits.node;
	if (jm->nodes_coming && waited < COMING_MAX)
		return false;
	return jm->now - DAG_MAX(jm->hopeless_since, jm->joined_at) >= jm->waits.joining ||
	       waited >= DAG_MAX(jm->waits.node, jm->waits.joining);
}

/* Notes since when, and when to look again. */
static bool give_up(struct jm *jm, enum hope hope)
{
	if (jm->hopeless_since == DAG_NEVER)
		jm->hopeless_since = jm->now;
	if (is_over(jm, hope))
		return true;
	jm_wake(jm, jm->now + HOPELESS_CHECK);
	return false;
}

/* Of a stage that has something to run: HOPE where it may wait. */
static enum hope look_at(const struct jm *jm, const struct graph_stage *s, uint32_t most)
{
	const struct jm_stage *state = &jm->stages[s->id];
	enum hope hope;

	if (s->kind == GRAPH_INPUT || (!state->ready && (!state->waiting || s->open)) || is_easy(jm, s, most))
		return HOPE;
	hope = stage_hope(jm, s);
	return hope == HOPE_GONE && !state->ready ? HOPE : hope;
}

static bool check_stages(struct jm *jm, uint32_t most)
{
	uint32_t over[STAGES_SHOWN], count = 0, beyond = 0;
	bool hopeless = false;

	for (uint32_t i = 0; i < jm->graph->stage_count; i++) {
		enum hope hope = look_at(jm, jm->graph->stages[i], most);

		if (hope == HOPE)
			continue;
		hopeless = true;
		if (!give_up(jm, hope))
			continue;
		if (count < STAGES_SHOWN)
			over[count++] = i;
		else
			beyond++;
	}
	if (count)
		end_for_stages(jm, over, count, beyond);
	return hopeless;
}

static bool check_gang(struct jm *jm, uint32_t gang)
{
	uint32_t misfit;

	if (gang == GRAPH_NONE || jm->graph->gangs[gang].count == 1 || jm->ended)
		return false;
	misfit = spread_misfit(jm, gang);
	if (misfit == GRAPH_NONE)
		return false;
	if (give_up(jm, count_up(jm) < jm->node_count ? HOPE_GONE : HOPE_NONE))
		end_for_gang(jm, gang, misfit);
	return true;
}

/* Those that wait longest in their queues: the others come there when these were started. */
static bool check_gangs(struct jm *jm)
{
	bool hopeless = false;

	for (uint32_t d = 0; d < jm->queue_top; d++)
		hopeless = check_gang(jm, jm->queues[d].first) || hopeless;
	for (uint32_t i = 0; i < QUEUES_A_CHECK && i < jm->node_count; i++) {
		/* Where one is hopeless, the same are looked at until it is given up. */
		uint32_t node = (jm->hopeless_next + i) % (uint32_t)jm->node_count;

		hopeless = check_gang(jm, jm->nodes[node].queue.first) || hopeless;
	}
	if (!hopeless && jm->node_count)
		jm->hopeless_next = (jm->hopeless_next + QUEUES_A_CHECK) % (uint32_t)jm->node_count;
	return hopeless;
}

void hopeless_init(struct jm *jm)
{
	jm->hopeless_since = DAG_NEVER;
}

void hopeless_coming(struct jm *jm, bool coming)
{
	jm->nodes_coming = coming;
	jm->hopeless_checked = jm->now - 2 * HOPELESS_CHECK; /* long enough ago to look again */
}

void hopeless_check(struct jm *jm)
{
	uint32_t most = 0;
	bool hopeless;

	if (!jm->nodes_changed && jm->now - jm->hopeless_checked < HOPELESS_CHECK) {
		if (jm->ready_count || jm->hopeless_since != DAG_NEVER)
			jm_wake(jm, jm->hopeless_checked + HOPELESS_CHECK);
		return;
	}
	if (!jm->nodes_changed && !jm->ready_count && jm->hopeless_since == DAG_NEVER)
		return;
	jm->hopeless_checked = jm->now;
	for (uint32_t i = 0; i < jm->node_count; i++)
		if (jm->nodes[i].up)
			most = DAG_MAX(most, jm->nodes[i].total);
	if (!count_up(jm)) { /* that is for the shell to judge */
		jm->hopeless_since = DAG_NEVER;
		return;
	}
	hopeless = check_stages(jm, most);
	if (jm->large_ready && !jm->ended)
		hopeless = check_gangs(jm) || hopeless;
	if (!hopeless)
		jm->hopeless_since = DAG_NEVER;
}
