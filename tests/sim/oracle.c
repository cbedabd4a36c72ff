/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sequential interpreter of the graph, and an auditor of what the job manager wrote and did. It shares no
 * code with the engine: edges are walked by its own arithmetic, commits are counted from the journal's text.
 */
#include "sim.h"
#include "graph/graph.h"
#include "base/table.h"

#include <stdio.h>

struct sealed_key {
	uint32_t vertex, attempt;
};

struct sealed {
	struct sealed_key key;
	uint64_t value;
	uint32_t *vertices, *attempts;
	size_t n;
	bool committed; /* ever, by the journal */
	UT_hash_handle hh;
};

struct started {
	uint32_t attempt, node; /* 0: not */
};

struct committed {
	uint32_t attempt; /* 0: none */
	uint64_t fact;    /* its number, from 1 */
};

struct sim_oracle {
	uint64_t *expected;
	bool *known;
	struct committed *committed;
	struct started *started; /* last, by the job manager that runs */
	char **facts;
	size_t fact_count, fact_cap;
	uint64_t durable, publishing, ended; /* numbers of facts */
	struct sealed *sealed;
	bool *visible; /* of outputs */
	uint32_t visible_count;
	uint32_t *width;   /* of each stage, as the journal says */
	uint32_t **groups; /* of each edge of that pattern: each producer's consumer + 1 */
	uint32_t *group_count;
	struct jm_read **added; /* what each vertex of an open stage reads */
	size_t *added_count;
	uint32_t *added_in; /* vertices of each open stage */
	bool *closed;       /* stages whose width is decided */
};

/* ---- the graph, walked by its definition ---- */

static bool is_joined(struct sim *s, const struct graph_edge *e, uint32_t p, uint32_t c)
{
	uint32_t from = e->from_width, to = e->to_width;

	switch (e->pattern) {
	case GRAPH_BIPARTITE:
		return true;
	case GRAPH_POINTWISE:
		return from >= to ? p / (from / to) == c : c / (to / from) == p;
	case GRAPH_NEIGHBOURS:
		return p <= c + e->k && c <= p + e->k;
	case GRAPH_LIST:
		for (uint32_t i = 0; i < e->list_count; i++)
			if (e->list[i].producer == p && e->list[i].consumer == c)
				return true;
		return false;
	case GRAPH_ADDED:
		return false; /* nobody adds here */
	case GRAPH_GROUPS:
		return s->oracle->groups[e->id][p] == c + 1;
	}
	return false;
}

/* The first part that c reads; the next consumer's is behind its last. */
static uint32_t part_of(struct sim *s, const struct graph_edge *e, uint32_t c)
{
	if (e->parts <= 1)
		return 0;
	if (s->use->stages[e->to]->width_by_data)
		return c * e->parts / s->oracle->width[e->to];
	return e->pattern == GRAPH_BIPARTITE ? c : c % (e->to_width / e->from_width);
}

static uint32_t parts_of(struct sim *s, const struct graph_edge *e, uint32_t c)
{
	if (e->parts <= 1 || !s->use->stages[e->to]->width_by_data)
		return 1;
	return part_of(s, e, c + 1) - part_of(s, e, c);
}

/* The producers of c on an edge are among these. */
static void bounds(struct sim *s, const struct graph_edge *e, uint32_t c, uint32_t *first, uint32_t *end)
{
	*first = 0;
	*end = s->oracle->width[e->from];
	if (e->pattern == GRAPH_POINTWISE) {
		*first = (uint32_t)((uint64_t)c * e->from_width / e->to_width);
		*end = DAG_MAX(*first + 1, (uint32_t)(((uint64_t)c + 1) * e->from_width / e->to_width));
	}
}

struct reads {
	uint32_t *vertices, *parts;
	bool *waited; /* committed before the reader starts */
	size_t n;
};

static struct reads read_by(struct sim *s, uint32_t vertex)
{
	const struct graph_stage *stage = s->use->stages[s->use->vertex_stage[vertex]];
	uint32_t index = vertex - stage->first_vertex;
	struct reads r = {0};
	size_t cap = 0, cap_parts = 0, cap_waited = 0, n;

	for (uint32_t p = 0; p < stage->in_count; p++) {
		const struct graph_edge *e;
		uint32_t first, end;

		if (stage->in[p].edge == GRAPH_NONE)
			continue;
		e = s->use->edges[stage->in[p].edge];
		for (size_t i = 0; i < s->oracle->added_count[vertex]; i++) {
			const struct jm_read *read = &s->oracle->added[vertex][i];

			if (read->edge != e->id)
				continue;
			n = r.n;
			*DAG_APPEND(r.parts, n, cap_parts) = 0;
			n = r.n;
			*DAG_APPEND(r.waited, n, cap_waited) = true;
			*DAG_APPEND(r.vertices, r.n, cap) =
				s->use->stages[e->from]->first_vertex + read->producer;
		}
		bounds(s, e, index, &first, &end);
		for (uint32_t i = first; i < end; i++)
			for (uint32_t k = 0; is_joined(s, e, i, index) && k < parts_of(s, e, index); k++) {
				n = r.n;
				*DAG_APPEND(r.parts, n, cap_parts) = part_of(s, e, index) + k;
				n = r.n;
				*DAG_APPEND(r.waited, n, cap_waited) =
					e->channel != GRAPH_PIPE && e->channel != GRAPH_FIFO;
				*DAG_APPEND(r.vertices, r.n, cap) = s->use->stages[e->from]->first_vertex + i;
			}
	}
	return r;
}

static void free_reads(struct reads *r)
{
	free(r->vertices);
	free(r->parts);
	free(r->waited);
}

static bool is_source(struct sim *s, uint32_t vertex)
{
	return s->use->stages[s->use->vertex_stage[vertex]]->kind == GRAPH_INPUT;
}

static uint64_t interpret(struct sim *s, uint32_t vertex)
{
	struct sim_oracle *o = s->oracle;
	struct reads r;
	uint64_t *values;

	if (o->known[vertex])
		return o->expected[vertex];
	if (is_source(s, vertex))
		return source_value(vertex);
	r = read_by(s, vertex);
	values = base_alloc((r.n + 1) * sizeof(*values));
	for (size_t i = 0; i < r.n; i++)
		values[i] = channel_value(interpret(s, r.vertices[i]), r.parts[i]);
	o->expected[vertex] = vertex_value(vertex, values, r.n);
	o->known[vertex] = true;
	free(values);
	free_reads(&r);
	return o->expected[vertex];
}

/* ---- the journal ---- */

static void forget_gang(struct sim *s, uint32_t vertex)
{
	const struct graph_gang *g = &s->use->gangs[s->use->gang_of[vertex]];

	for (uint32_t i = 0; i < g->count; i++) {
		s->oracle->committed[s->use->gang_members[g->first + i]] = (struct committed){0};
		s->oracle->started[s->use->gang_members[g->first + i]] = (struct started){0};
	}
}

static bool is_alone(const struct sim *s, uint32_t vertex)
{
	return s->use->gangs[s->use->gang_of[vertex]].count == 1;
}

/* Whatever was promised when it was started: what it has read was committed before it. */
static void check_read(struct sim *s, const struct sealed *sealed)
{
	for (size_t i = 0; i < sealed->n && is_alone(s, sealed->key.vertex); i++) {
		struct sealed_key key = {sealed->vertices[i], sealed->attempts[i]};
		struct sealed *read;

		HASH_FIND(hh, s->oracle->sealed, &key, sizeof(key), read);
		if (!is_source(s, key.vertex) && is_alone(s, key.vertex) && (!read || !read->committed))
			sim_violate(s, "%u is committed and has read attempt %x of %u, which never was",
				sealed->key.vertex, key.attempt, key.vertex);
	}
}

static void read_group(struct sim *s, unsigned edge, unsigned consumer, const char *rest)
{
	struct sim_oracle *o = s->oracle;
	const struct graph_edge *e = s->use->edges[edge];
	uint32_t members = 0;
	unsigned producer;

	if (consumer != o->group_count[edge]++ || consumer >= e->to_width)
		sim_violate(s, "edge %u has a group %u that is not the next", edge, consumer);
	for (int n; sscanf(rest, "%u%n", &producer, &n) == 1; rest += n) {
		if (producer >= o->width[e->from] || o->groups[edge][producer])
			sim_violate(s, "edge %u has %u in two groups, or it is none", edge, producer);
		else
			o->groups[edge][producer] = consumer + 1;
		members++;
	}
	if (!members || members > e->groups.most)
		sim_violate(
			s, "edge %u has a group of %u, and %u are the most", edge, members, e->groups.most);
}

/* Once, of what stands above the number that the graph says, and with all that have its width. */
static void read_width(struct sim *s, unsigned stage, unsigned width)
{
	struct sim_oracle *o = s->oracle;

	for (size_t i = 0; i < s->use->stage_count; i++)
		if (s->use->stages[i]->width_of == stage) {
			if (o->width[i] != s->use->stages[i]->width || width > o->width[i] ||
				(s->use->stages[stage]->open && width != o->added_in[stage]))
				sim_violate(
					s, "stage %zu of width %u gets the width %u", i, o->width[i], width);
			o->width[i] = width;
			o->closed[i] = true;
		}
	for (size_t i = 0; i < s->use->edge_count; i++) {
		const struct graph_edge *e = s->use->edges[i];

		if (e->to != stage || e->pattern != GRAPH_GROUPS)
			continue;
		if (width != o->group_count[i])
			sim_violate(
				s, "stage %u has %u vertices for %u groups", stage, width, o->group_count[i]);
		for (uint32_t p = 0; p < o->width[e->from]; p++)
			if (!o->groups[i][p])
				sim_violate(s, "edge %zu: %u is in no group", i, p);
	}
}

static void read_added(struct sim *s, unsigned stage, unsigned index, const char *rest)
{
	struct sim_oracle *o = s->oracle;
	uint32_t vertex = s->use->stages[stage]->first_vertex + index;
	struct jm_read read;
	size_t cap = 0;

	if (index != o->added_in[stage]++ || index >= o->width[stage])
		sim_violate(s, "stage %u gets vertex %u, which is not the next", stage, index);
	rest += strcspn(rest, " ");
	for (int n; sscanf(rest, " %u:%u%n", &read.edge, &read.producer, &n) == 2; rest += n)
		*DAG_APPEND(o->added[vertex], o->added_count[vertex], cap) = read;
}

static void forget_refined(struct sim *s)
{
	struct sim_oracle *o = s->oracle;

	for (uint32_t v = 0; v < s->use->vertex_count; v++) {
		free(o->added[v]);
		o->added[v] = NULL;
		o->added_count[v] = 0;
	}
	memset(o->closed, 0, s->use->stage_count);
	memset(o->added_in, 0, s->use->stage_count * sizeof(*o->added_in));

	memset(o->known, 0, s->use->vertex_count);
	for (size_t i = 0; i < s->use->stage_count; i++)
		o->width[i] = s->use->stages[i]->width;
	for (size_t i = 0; i < s->use->edge_count; i++) {
		o->group_count[i] = 0;
		if (o->groups[i])
			memset(o->groups[i], 0, s->use->edges[i]->from_width * sizeof(**o->groups));
	}
}

static void read_fact(struct sim *s, const char *fact, uint64_t number)
{
	struct sim_oracle *o = s->oracle;
	unsigned vertex, attempt;
	int end = 0;
	unsigned long long hash;
	struct sealed *sealed;
	struct sealed_key key;

	if (sscanf(fact, "committed %u %u node=%*s hash=%16llx", &vertex, &attempt, &hash) == 3) {
		if (o->committed[vertex].attempt)
			sim_violate(s, "I1: %u is committed twice: attempts %x and %x", vertex,
				o->committed[vertex].attempt, attempt);
		key = (struct sealed_key){vertex, attempt};
		HASH_FIND(hh, o->sealed, &key, sizeof(key), sealed);
		if (!sealed || sealed->value != hash)
			sim_violate(
				s, "I2: %u attempt %x is committed and was not sealed so", vertex, attempt);
		o->committed[vertex] = (struct committed){attempt, number};
		if (sealed) {
			check_read(s, sealed);
			sealed->committed = true;
		}
	} else if (sscanf(fact, "reset %u %u", &vertex, &attempt) == 2)
		forget_gang(s, vertex);
	else if (sscanf(fact, "grouped %u %u%n", &vertex, &attempt, &end) == 2)
		read_group(s, vertex, attempt, fact + end);
	else if (sscanf(fact, "added %u %u %n", &vertex, &attempt, &end) == 2)
		read_added(s, vertex, attempt, fact + end);
	else if (sscanf(fact, "width %u %u", &vertex, &attempt) == 2)
		read_width(s, vertex, attempt);
	else if (!strcmp(fact, "publishing")) {
		o->publishing = number;
		for (size_t i = 0; i < s->use->stage_count; i++)
			if (s->use->stages[i]->open && !o->closed[i])
				sim_violate(s, "the job is published, and stage %zu is open", i);
	} else if (!strncmp(fact, "ended", 5))
		o->ended = number;
}

void oracle_fact(struct sim *s, const char *fact)
{
	struct sim_oracle *o = s->oracle;

	*DAG_APPEND(o->facts, o->fact_count, o->fact_cap) = base_strdup(fact);
	read_fact(s, fact, o->fact_count);
}

void oracle_durable(struct sim *s, uint64_t facts)
{
	s->oracle->durable = facts;
}

void oracle_lost(struct sim *s, uint64_t facts_left)
{
	struct sim_oracle *o = s->oracle;
	struct sealed *sealed, *next;

	while (o->fact_count > facts_left)
		free(o->facts[--o->fact_count]);
	o->durable = facts_left;
	o->publishing = o->ended = 0;
	memset(o->committed, 0, s->use->vertex_count * sizeof(*o->committed));
	memset(o->started, 0, s->use->vertex_count * sizeof(*o->started));
	HASH_ITER(hh, o->sealed, sealed, next)
		sealed->committed = false;
	forget_refined(s);
	for (size_t i = 0; i < o->fact_count; i++)
		read_fact(s, o->facts[i], i + 1);
}

/* ---- what is done ---- */

static void check_start(struct sim *s, const struct jm_effect *e)
{
	struct sim_oracle *o = s->oracle;
	struct reads r = read_by(s, e->vertex);

	uint32_t behind = 0;

	/* One of what it reads may still run, before it on the same node. */
	for (size_t i = 0; i < r.n; i++) {
		const struct started *from = &o->started[r.vertices[i]];

		if (!r.waited[i] || is_source(s, r.vertices[i]) || o->committed[r.vertices[i]].attempt)
			continue;
		if (!from->attempt || from->node != e->node || behind++)
			sim_violate(
				s, "%u starts, and its input %u is not committed", e->vertex, r.vertices[i]);
	}
	o->started[e->vertex] = (struct started){e->attempt, e->node};
	if (o->committed[e->vertex].attempt)
		sim_violate(s, "%u starts, and is committed", e->vertex);
	free_reads(&r);
}

void oracle_effect(struct sim *s, const struct jm_effect *e)
{
	struct sim_oracle *o = s->oracle;

	if (e->kind == JM_START) {
		check_start(s, e);
		traits_check_start(s, e);
	} else if (e->kind == JM_ACK && o->committed[e->vertex].attempt == e->attempt &&
		   o->committed[e->vertex].fact > o->durable)
		sim_violate(s, "I6: %u attempt %x is acknowledged before its commit is durable", e->vertex,
			e->attempt);
	else if (e->kind == JM_PUBLISH && (!o->publishing || o->publishing > o->durable))
		sim_violate(s, "I6: publication before its intent is durable");
	else if (e->kind == JM_END && (!o->ended || o->ended > o->durable))
		sim_violate(s, "I6: the end before it is durable");
}

void oracle_sealed(struct sim *s, uint32_t vertex, uint32_t attempt, uint64_t value, const uint32_t *vertices,
	const uint32_t *attempts, size_t n)
{
	struct sim_oracle *o = s->oracle;
	struct sealed_key key = {vertex, attempt};
	struct sealed *x;

	HASH_FIND(hh, o->sealed, &key, sizeof(key), x);
	if (x) {
		sim_violate(s, "%u attempt %x ran twice", vertex, attempt);
		return;
	}
	x = base_alloc(sizeof(*x));
	x->key = key;
	x->value = value;
	x->n = n;
	x->vertices = base_alloc((n + 1) * sizeof(*x->vertices));
	x->attempts = base_alloc((n + 1) * sizeof(*x->attempts));
	if (n) {
		memcpy(x->vertices, vertices, n * sizeof(*vertices));
		memcpy(x->attempts, attempts, n * sizeof(*attempts));
	}
	HASH_ADD(hh, o->sealed, key, sizeof(key), x);
}

void oracle_visible(struct sim *s, uint32_t output, const uint64_t *values, size_t n)
{
	struct sim_oracle *o = s->oracle;
	const struct graph_stage *stage = s->use->stages[s->use->outputs[output].stage];

	if (!o->publishing || o->publishing > o->durable)
		sim_violate(s, "I5: output %u is visible before that was decided", output);
	o->visible_count += !o->visible[output];
	o->visible[output] = true;
	if (n != o->width[stage->id])
		sim_violate(s, "output %u has %zu vertices of %u", output, n, o->width[stage->id]);
	for (size_t i = 0; i < n; i++) {
		uint32_t vertex = stage->first_vertex + (uint32_t)i;
		struct sealed_key key = {vertex, o->committed[vertex].attempt};
		struct sealed *x;

		if (!s->faults[FAULT_NOT_DETERMINISTIC] && values[i] != interpret(s, vertex))
			sim_violate(s, "output %u holds wrong bytes of %u", output, vertex);
		HASH_FIND(hh, o->sealed, &key, sizeof(key), x);
		if (!x || x->value != values[i])
			sim_violate(
				s, "output %u holds other bytes of %u than were committed", output, vertex);
	}
}

void oracle_hidden(struct sim *s, uint32_t output)
{
	s->oracle->visible_count -= s->oracle->visible[output];
	s->oracle->visible[output] = false;
}

/* I4: what each committed vertex read is what the committed attempt of its producer gave. */
static void check_lineage(struct sim *s)
{
	struct sim_oracle *o = s->oracle;

	for (uint32_t v = 0; v < s->use->vertex_count && !s->violation; v++) {
		struct sealed_key key = {v, o->committed[v].attempt};
		struct sealed *x, *read, *now;

		if (is_source(s, v) || v - s->use->stages[s->use->vertex_stage[v]]->first_vertex >=
					       o->width[s->use->vertex_stage[v]])
			continue;
		HASH_FIND(hh, o->sealed, &key, sizeof(key), x);
		if (!x) {
			sim_violate(s, "the job is done and %u is not", v);
			return;
		}
		for (size_t i = 0; i < x->n; i++) {
			struct sealed_key was = {x->vertices[i], x->attempts[i]},
					  is = {x->vertices[i], o->committed[x->vertices[i]].attempt};

			if (is_source(s, x->vertices[i]))
				continue;
			HASH_FIND(hh, o->sealed, &was, sizeof(was), read);
			HASH_FIND(hh, o->sealed, &is, sizeof(is), now);
			if (!read || !now || read->value != now->value)
				sim_violate(s, "I4: %u read attempt %x of %u, and %x counts with other bytes",
					v, was.attempt, was.vertex, is.attempt);
		}
	}
}

void oracle_end(struct sim *s)
{
	struct sim_oracle *o = s->oracle;

	if (s->end_error && o->visible_count)
		sim_violate(s, "I5: the job failed (%s) and %u of its outputs are visible", s->end_text,
			o->visible_count);
	if (s->end_error && !*s->end_text)
		sim_violate(s, "the job failed and does not say why");
	if (s->end_error)
		traits_check_end(s);
	if (s->end_error)
		return;
	if (o->visible_count != s->use->output_count)
		sim_violate(s, "I5: the job is done and %u of %zu outputs are visible", o->visible_count,
			s->use->output_count);
	check_lineage(s);
}

void oracle_init(struct sim *s)
{
	struct sim_oracle *o = base_alloc(sizeof(*o));

	s->oracle = o;
	o->expected = base_alloc((s->use->vertex_count + 1) * sizeof(*o->expected));
	o->known = base_alloc(s->use->vertex_count + 1);
	o->committed = base_alloc((s->use->vertex_count + 1) * sizeof(*o->committed));
	o->started = base_alloc((s->use->vertex_count + 1) * sizeof(*o->started));
	o->visible = base_alloc(s->use->output_count + 1);
	o->width = base_alloc((s->use->stage_count + 1) * sizeof(*o->width));
	o->groups = base_alloc((s->use->edge_count + 1) * sizeof(*o->groups));
	o->group_count = base_alloc((s->use->edge_count + 1) * sizeof(*o->group_count));
	o->added = base_alloc((s->use->vertex_count + 1) * sizeof(*o->added));
	o->added_count = base_alloc((s->use->vertex_count + 1) * sizeof(*o->added_count));
	o->closed = base_alloc(s->use->stage_count + 1);
	o->added_in = base_alloc((s->use->stage_count + 1) * sizeof(*o->added_in));
	for (size_t i = 0; i < s->use->edge_count; i++)
		if (s->use->edges[i]->pattern == GRAPH_GROUPS)
			o->groups[i] = base_alloc(s->use->edges[i]->from_width * sizeof(**o->groups));
	forget_refined(s);
}

void oracle_fini(struct sim *s)
{
	struct sim_oracle *o = s->oracle;
	struct sealed *x, *next;

	HASH_ITER(hh, o->sealed, x, next) {
		HASH_DEL(o->sealed, x);
		free(x->vertices);
		free(x->attempts);
		free(x);
	}
	for (size_t i = 0; i < o->fact_count; i++)
		free(o->facts[i]);
	free(o->facts);
	free(o->expected);
	free(o->known);
	free(o->committed);
	free(o->started);
	free(o->visible);
	for (size_t i = 0; i < s->use->edge_count; i++)
		free(o->groups[i]);
	free(o->groups);
	free(o->group_count);
	for (uint32_t v = 0; v < s->use->vertex_count; v++)
		free(o->added[v]);
	free(o->added);
	free(o->added_count);
	free(o->added_in);
	free(o->closed);
	free(o->width);
	free(o);
}
