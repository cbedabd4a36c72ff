/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open stages: vertices that are added while the job runs, each with what it reads and an argument, until the
 * stage is closed. Numbers are given in their order; those that nobody took are left out at the end. That a
 * vertex was added is a fact:
 *
 *   added STAGE INDEX ARGUMENT EDGE:PRODUCER…      the argument in hexadecimal digits, or "-"
 */
#include "open.h"
#include "edges.h"
#include "effects.h"
#include "facts.h"
#include "gangs.h"
#include "vertices.h"

#include <stdio.h>

struct jm_argument {
	unsigned char *data;
	size_t len;
};

/* False where the text is none. */
static bool from_hex(const char *text, size_t digits, struct jm_argument *ret)
{
	*ret = (struct jm_argument){0};
	if (digits == 1 && *text == '-')
		return true;
	if (digits % 2)
		return false;
	ret->data = base_alloc(digits / 2 + 1);
	ret->len = digits / 2;
	for (size_t i = 0; i < ret->len; i++) {
		int byte = fact_byte(text + 2 * i);

		if (byte < 0) {
			free(ret->data);
			return false;
		}
		ret->data[i] = (unsigned char)byte;
	}
	return true;
}

bool jm_may_add(const struct jm *jm, uint32_t stage, const struct jm_read *reads, size_t n)
{
	const struct graph_stage *s = jm->graph->stages[stage];

	if (!s->open || jm->stages[stage].settled || jm->stages[stage].added == s->width)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct graph_edge *e =
			reads[i].edge < jm->graph->edge_count ? jm->graph->edges[reads[i].edge] : NULL;

		if (!e || e->to != stage || reads[i].producer >= jm_readable(jm, e->from))
			return false;
	}
	return true;
}

static void note(struct jm *jm, uint32_t stage, uint32_t index, const struct jm_argument *argument,
	const struct jm_read *reads, size_t n)
{
	struct buffer fact = {0};

	buffer_hex(&fact, argument->data, argument->len);
	if (!argument->len)
		buffer_append(&fact, "-", 1);
	for (size_t i = 0; i < n; i++)
		buffer_format(&fact, " %u:%u", reads[i].edge, reads[i].producer);
	jm_fact(jm, "added %u %u %.*s", stage, index, (int)fact.len, (char *)fact.data);
	buffer_fini(&fact);
}

/* Takes the argument. */
static void add(
	struct jm *jm, uint32_t stage, struct jm_argument argument, const struct jm_read *reads, size_t n)
{
	struct jm_stage *s = &jm->stages[stage];
	uint32_t index = s->added++, vertex = jm->graph->stages[stage]->first_vertex + index;

	if (!jm->replaying)
		note(jm, stage, index, &argument, reads, n);
	s->arguments[index] = argument;
	vertex_wait(jm, vertex, -1); /* to be added */
	for (size_t i = 0; i < n; i++) {
		const struct graph_edge *e = jm->graph->edges[reads[i].edge];
		uint32_t producer = jm->graph->stages[e->from]->first_vertex + reads[i].producer;

		jm_list_append(&jm->edges[e->id].added->consumers[reads[i].producer], index);
		jm_list_append(&jm->edges[e->id].added->producers[index], reads[i].producer);
		vertex_wait(jm, vertex, jm->vertices[producer].state != JM_DONE);
	}
	/* What nobody has read before may be gone by now. */
	if (!jm->replaying)
		vertex_each_producer(jm, vertex, gang_invalidate_if_gone, NULL);
	gang_try_ready(jm, jm->graph->gang_of[vertex]);
}

int open_add(struct jm *jm, const struct jm_event *event)
{
	struct jm_argument argument = {base_alloc(event->argument_len + 1), event->argument_len};

	if (event->stage >= jm->graph->stage_count ||
		!jm_may_add(jm, event->stage, event->reads, event->read_count)) {
		free(argument.data);
		return DAG_EINVAL;
	}
	if (event->argument_len)
		memcpy(argument.data, event->argument, event->argument_len);
	add(jm, event->stage, argument, event->reads, event->read_count);
	return 0;
}

int open_unread(struct jm *jm, const struct jm_event *event)
{
	const struct jm_vertex *v = &jm->vertices[event->vertex];

	if (v->state == JM_DONE && v->attempt == event->attempt)
		gang_invalidate(jm, event->vertex, "its result could not be read");
	return 0;
}

int open_replay(struct jm *jm, const char *rest)
{
	struct jm_read *reads = NULL;
	size_t count = 0, cap = 0, digits;
	struct jm_argument argument;
	unsigned stage, index;
	uint32_t edge, producer;
	int n = 0, r = DAG_EFORMAT;

	if (sscanf(rest, "%u %u %n", &stage, &index, &n) != 2 || !n || stage >= jm->graph->stage_count ||
		index != jm->stages[stage].added)
		return DAG_EFORMAT;
	rest += n;
	digits = strcspn(rest, " ");
	if (!from_hex(rest, digits, &argument))
		return DAG_EFORMAT;
	for (rest += digits; fact_number(&rest, &edge) && *rest++ == ':' && fact_number(&rest, &producer);)
		*DAG_APPEND(reads, count, cap) = (struct jm_read){edge, producer};
	if (jm_may_add(jm, stage, reads, count)) {
		add(jm, stage, argument, reads, count);
		r = 0;
	} else
		free(argument.data);
	free(reads);
	return r;
}

void open_like(struct jm *jm, const struct jm *like)
{
	for (uint32_t i = 0; i < jm->graph->stage_count; i++)
		for (uint32_t c = 0; c < like->stages[i].added; c++) {
			const struct graph_stage *s = jm->graph->stages[i];
			const struct jm_argument *from = &like->stages[i].arguments[c];
			struct jm_argument argument = {base_alloc(from->len + 1), from->len};
			struct jm_read *reads = NULL;
			size_t count = 0, cap = 0;

			if (from->len)
				memcpy(argument.data, from->data, from->len);
			for (uint32_t p = 0; p < s->in_count; p++) {
				const struct graph_edge *e = jm->graph->edges[s->in[p].edge];

				for (uint32_t k = 0; k < jm_producers(like, e, c); k++)
					*DAG_APPEND(reads, count, cap) =
						(struct jm_read){e->id, jm_producer(like, e, c, k)};
			}
			add(jm, i, argument, reads, count);
			free(reads);
		}
}

void open_init(struct jm *jm)
{
	for (size_t i = 0; i < jm->graph->stage_count; i++)
		if (jm->graph->stages[i]->open && ++jm->open_left)
			jm->stages[i].arguments =
				base_alloc(jm->graph->stages[i]->width * sizeof(*jm->stages[i].arguments));
	for (size_t i = 0; i < jm->graph->edge_count; i++) {
		const struct graph_edge *e = jm->graph->edges[i];
		struct jm_added *a;

		if (e->pattern != GRAPH_ADDED)
			continue;
		jm->edges[i].added = a = base_alloc(sizeof(*a));
		a->consumers = base_alloc(e->from_width * sizeof(*a->consumers));
		a->producers = base_alloc(e->to_width * sizeof(*a->producers));
	}
}

void open_closed(struct jm *jm)
{
	jm->open_left--;
}

static void free_lists(struct jm_list *lists, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		free(lists[i].items);
	free(lists);
}

void open_fini(struct jm *jm)
{
	for (size_t i = 0; i < jm->graph->stage_count; i++) {
		for (uint32_t c = 0; c < jm->stages[i].added; c++)
			free(jm->stages[i].arguments[c].data);
		free(jm->stages[i].arguments);
	}
	for (size_t i = 0; i < jm->graph->edge_count; i++) {
		const struct graph_edge *e = jm->graph->edges[i];

		if (!jm->edges[i].added)
			continue;
		free_lists(jm->edges[i].added->consumers, e->from_width);
		free_lists(jm->edges[i].added->producers, e->to_width);
		free(jm->edges[i].added);
	}
}

uint32_t jm_readable(const struct jm *jm, uint32_t stage)
{
	if (jm->graph->stages[stage]->open)
		return jm->stages[stage].added;
	return jm->stages[stage].settled ? jm->stages[stage].width : 0;
}

uint32_t jm_added(const struct jm *jm, uint32_t stage)
{
	return jm->stages[stage].added;
}

const void *jm_argument(const struct jm *jm, uint32_t vertex, size_t *ret_len)
{
	uint32_t stage = jm->graph->vertex_stage[vertex];
	const struct jm_argument *a =
		jm->stages[stage].arguments
			? &jm->stages[stage].arguments[vertex - jm->graph->stages[stage]->first_vertex]
			: NULL;

	*ret_len = a ? a->len : 0;
	return a ? a->data : NULL;
}
