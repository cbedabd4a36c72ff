/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_finish: from what was said to what follows from it. Here are ports, order and widths; streams.c has
 * formats and partitions, gang.c vertices and gangs. Every step goes on after an error, so that one pass
 * reports all of them; a step that cannot work on a broken graph is left out.
 */
#include "finish.h"
#include "edge.h"
#include "base/buffer.h"

/* One that the entry did not declare is as its last one. */
static void add_input(struct graph_stage *stage, uint32_t port)
{
	for (uint32_t p = stage->in_count; p <= port && p; p++)
		stage->in[p].format = stage->in[p - 1].format;
	stage->in_count = port + 1;
}

void graph_finish_ports(struct graph *graph, struct dag_diag *diag)
{
	for (size_t i = 0; i < graph->edge_count; i++) {
		struct graph_edge *e = graph->edges[i];
		struct graph_stage *from = graph->stages[e->from], *to = graph->stages[e->to];
		struct graph_port *port;

		graph_need_ports(graph, from, 0, e->from_port + 1);
		graph_need_ports(graph, to, e->to_port + 1, 0);
		port = &to->in[e->to_port];
		if (to->kind == GRAPH_INPUT) {
			graph_report(diag, e->place, "'%s' is an input of the job and cannot be written to",
				to->name);
			continue;
		}
		if (from->kind == GRAPH_INPUT && e->from_port)
			graph_report(diag, e->place, "input '%s' has one port, 0", from->name);
		if (from->kind == GRAPH_PLUGIN && e->from_port >= from->out_count)
			graph_report(diag, e->place,
				"stage '%s' has no output port %u: entry '%s' declares %u", from->name,
				e->from_port, from->entry, from->out_count);
		if (to->kind == GRAPH_PLUGIN && to->more_inputs && e->to_port >= to->in_count)
			add_input(to, e->to_port);
		if (to->kind == GRAPH_PLUGIN && e->to_port >= to->in_count)
			graph_report(diag, e->place,
				"stage '%s' has no input port %u: entry '%s' declares %u", to->name,
				e->to_port, to->entry, to->in_count);
		if (from->kind == GRAPH_PROGRAM)
			from->out_count = DAG_MAX(from->out_count, e->from_port + 1);
		if (to->kind == GRAPH_PROGRAM)
			to->in_count = DAG_MAX(to->in_count, e->to_port + 1);
		if (port->edge != GRAPH_NONE) {
			const struct graph_edge *first = graph->edges[port->edge];

			graph_report(diag, e->place,
				"two writers to input port %u of stage '%s': '%s' (line %d) and '%s'; join "
				"them "
				"before it in a stage {use: cat}",
				e->to_port, to->name, graph->stages[first->from]->name, first->place.line,
				from->name);
			continue;
		}
		port->edge = e->id;
		from->out[e->from_port].used = true;
	}
	for (size_t i = 0; i < graph->output_count; i++) {
		struct graph_output *o = &graph->outputs[i];
		struct graph_stage *stage = graph->stages[o->stage];

		graph_need_ports(graph, stage, 0, o->port + 1);
		if (stage->kind == GRAPH_PROGRAM)
			stage->out_count = DAG_MAX(stage->out_count, o->port + 1);
		if (o->port >= stage->out_count)
			graph_report(
				diag, o->place, "stage '%s' has no output port %u", stage->name, o->port);
		stage->out[o->port].used = true;
	}
	for (size_t i = 0; i < graph->stage_count; i++) {
		const struct graph_stage *s = graph->stages[i];

		for (uint32_t p = 0; p < s->in_count; p++)
			if (s->in[p].edge == GRAPH_NONE)
				graph_report(diag, s->place,
					"input port %u of stage '%s' is not joined to anything", p, s->name);
		if (s->kind == GRAPH_INPUT && !s->out[0].used)
			graph_report(diag, s->place, "input '%s' is not read by any stage", s->name);
	}
}

/* Finds a cycle among the stages that Kahn's algorithm left over, and reports it as it runs. */
static void report_cycle(const struct graph *graph, const uint32_t *missing, struct dag_diag *diag)
{
	size_t n = graph->stage_count;
	uint32_t at = 0, *seen_at = base_alloc(n * sizeof(*seen_at)),
		 *path = base_alloc((n + 1) * sizeof(*path));
	uint32_t len = 0;
	struct buffer text = {0};
	struct graph_place place = {0};

	while (!missing[at])
		at++;
	/* Every stage left over has a producer left over: walking backwards must meet itself. */
	while (!seen_at[at]) {
		seen_at[at] = ++len;
		path[len - 1] = at;
		for (size_t i = 0; i < graph->edge_count; i++)
			if (graph->edges[i]->to == at && missing[graph->edges[i]->from]) {
				place = graph->edges[i]->place;
				at = graph->edges[i]->from;
				break;
			}
	}
	buffer_format(&text, "%s", graph->stages[at]->name);
	for (uint32_t i = len; i-- > seen_at[at];)
		buffer_format(&text, " -> %s", graph->stages[path[i]]->name);
	buffer_format(&text, " -> %s", graph->stages[at]->name);
	graph_report(diag, place, "the flow has a cycle: %.*s", (int)text.len, (char *)text.data);
	buffer_fini(&text);
	free(seen_at);
	free(path);
}

/* Vertices of an open stage may read those that were added before. */
static bool reads_itself(const struct graph_edge *e)
{
	return e->pattern == GRAPH_ADDED && e->from == e->to;
}

const uint32_t *graph_finish_order(struct graph *graph, struct dag_diag *diag)
{
	size_t n = graph->stage_count, done = 0, count = 0;
	uint32_t *order = arena_alloc(&graph->arena, (n + 1) * sizeof(*order));
	uint32_t *missing = base_alloc((n + 1) * sizeof(*missing));

	for (size_t i = 0; i < graph->edge_count; i++)
		missing[graph->edges[i]->to] += !reads_itself(graph->edges[i]);
	for (uint32_t i = 0; i < n; i++)
		if (!missing[i])
			order[count++] = i;
	while (done < count) {
		uint32_t from = order[done++];

		for (const struct graph_edge *e = graph_out(graph, graph->stages[from]->first_out); e;
			e = graph_out(graph, e->next_out)) {
			struct graph_stage *to = graph->stages[e->to];

			if (reads_itself(e))
				continue;
			to->depth = DAG_MAX(to->depth, graph->stages[from]->depth + 1);
			if (!--missing[e->to])
				order[count++] = e->to;
		}
	}
	if (count < n) {
		report_cycle(graph, missing, diag);
		order = NULL;
	}
	free(missing);
	return order;
}

static bool joins_widths(const struct graph_edge *e)
{
	return e->pattern == GRAPH_POINTWISE || e->pattern == GRAPH_NEIGHBOURS;
}

static void compare_width(const struct graph *graph, const struct graph_stage *stage,
	const struct graph_edge *e, const struct graph_stage **first, struct dag_diag *diag)
{
	const struct graph_stage *other = graph->stages[e->from == stage->id ? e->to : e->from];

	if (!joins_widths(e) || !other->width)
		return;
	if (*first && (*first)->width != other->width)
		graph_report(diag, stage->place,
			"the width of stage '%s' is not said, and its pointwise neighbours disagree: '%s' "
			"has %u, "
			"'%s' has %u",
			stage->name, (*first)->name, (*first)->width, other->name, other->width);
	if (!*first)
		*first = other;
}

/* Gives `stage` the width of its pointwise neighbours that have one. Returns true where it got one now. */
static bool infer_width(struct graph *graph, struct graph_stage *stage, struct dag_diag *diag)
{
	const struct graph_stage *first = NULL;

	if (stage->copies_for != GRAPH_NONE)
		return graph_width_of_copies(graph, stage);
	if (graph_is_grouped(graph, stage))
		return graph_width_of_groups(graph, stage);
	for (uint32_t p = 0; p < stage->in_count; p++)
		if (stage->in[p].edge != GRAPH_NONE)
			compare_width(graph, stage, graph->edges[stage->in[p].edge], &first, diag);
	for (const struct graph_edge *e = graph_out(graph, stage->first_out); e;
		e = graph_out(graph, e->next_out))
		compare_width(graph, stage, e, &first, diag);
	if (!first)
		return false;
	stage->width = first->width;
	return true;
}

/* Stages that are to be looked at, as pass and id: a heap, the least first. */
struct turns {
	uint64_t *items;
	size_t count, cap;
};

static void add_turn(struct turns *t, uint32_t pass, uint32_t stage)
{
	size_t i = t->count;

	*DAG_APPEND(t->items, t->count, t->cap) = (uint64_t)pass << 32 | stage;
	for (; i && t->items[i] < t->items[(i - 1) / 2]; i = (i - 1) / 2) {
		uint64_t parent = t->items[(i - 1) / 2];

		t->items[(i - 1) / 2] = t->items[i];
		t->items[i] = parent;
	}
}

static uint64_t take_turn(struct turns *t)
{
	uint64_t first = t->items[0], last = t->items[--t->count];
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < t->count; i = child) {
		if (child + 1 < t->count && t->items[child + 1] < t->items[child])
			child++;
		if (last <= t->items[child])
			break;
		t->items[i] = t->items[child];
	}
	t->items[i] = last;
	return first;
}

/*
 * All stages in their order, again and again until nothing changes; but looked at again is only who has a
 * neighbour that got a width: a chain may run against the order of the file.
 */
static void infer_widths(struct graph *graph, struct dag_diag *diag)
{
	struct turns turns = {0};

	for (uint32_t i = 0; i < graph->stage_count; i++)
		if (!graph->stages[i]->width)
			add_turn(&turns, 0, i);
	while (turns.count) {
		uint64_t turn = take_turn(&turns);
		uint32_t pass = (uint32_t)(turn >> 32), id = (uint32_t)turn;
		struct graph_stage *s = graph->stages[id];

		if (s->width || !infer_width(graph, s, diag))
			continue;
		for (uint32_t p = 0; p < s->in_count; p++)
			if (s->in[p].edge != GRAPH_NONE) {
				uint32_t from = graph->edges[s->in[p].edge]->from;

				add_turn(&turns, pass + (from < id), from);
			}
		for (const struct graph_edge *e = graph_out(graph, s->first_out); e;
			e = graph_out(graph, e->next_out))
			add_turn(&turns, pass + (e->to < id), e->to);
	}
	free(turns.items);
}

/* The bytes of the job's inputs that reach the stage; `seen` is of each stage. */
static uint64_t input_bytes(const struct graph *graph, const struct graph_stage *stage, bool *seen)
{
	uint64_t bytes = 0;

	if (seen[stage->id])
		return 0;
	seen[stage->id] = true;
	for (uint32_t i = 0; stage->kind == GRAPH_INPUT && i < stage->width; i++)
		bytes += stage->splits[i].length;
	for (uint32_t p = 0; p < stage->in_count; p++)
		if (stage->in[p].edge != GRAPH_NONE)
			bytes += input_bytes(
				graph, graph->stages[graph->edges[stage->in[p].edge]->from], seen);
	return bytes;
}

static void set_width_by_bytes(struct graph *graph, struct graph_stage *stage, struct dag_diag *diag)
{
	bool *seen = base_alloc(graph->stage_count * sizeof(*seen)), any = false;
	uint64_t bytes = input_bytes(graph, stage, seen),
		 width = bytes / stage->width_per + (bytes % stage->width_per > 0);

	for (size_t i = 0; i < graph->stage_count; i++)
		any = any || (seen[i] && graph->stages[i]->kind == GRAPH_INPUT);
	free(seen);
	if (!any)
		graph_report(diag, stage->place,
			"no input of the job reaches stage '%s', so its width cannot go by their bytes: "
			"give a number, or {per: …, of: data}",
			stage->name);
	if (width > GRAPH_PARTS_MAX)
		graph_report(diag, stage->place,
			"stage '%s' would have width %llu for %llu bytes of input; the limit is %u: make "
			"'per' larger",
			stage->name, (unsigned long long)width, (unsigned long long)bytes, GRAPH_PARTS_MAX);
	stage->width = (uint32_t)DAG_MIN(DAG_MAX(width, 1ull), (uint64_t)GRAPH_PARTS_MAX);
}

static void check_widths(const struct graph_edge *e, const struct graph *graph, struct dag_diag *diag)
{
	const struct graph_stage *from = graph->stages[e->from], *to = graph->stages[e->to];
	uint32_t wide = DAG_MAX(from->width, to->width), narrow = DAG_MIN(from->width, to->width);

	if (e->pattern == GRAPH_POINTWISE && wide % narrow)
		graph_report(diag, e->place,
			"'%s' (width %u) >= '%s' (width %u): for a pointwise edge one width must divide the "
			"other",
			from->name, from->width, to->name, to->width);
	if (e->pattern == GRAPH_NEIGHBOURS && wide != narrow)
		graph_report(diag, e->place,
			"'%s' (width %u) and '%s' (width %u): neighbours need equal widths", from->name,
			from->width, to->name, to->width);
	if (from->kind == GRAPH_INPUT && e->pattern == GRAPH_BIPARTITE && to->width > 1)
		graph_report(diag, e->place,
			"input '%s' >> '%s' (width %u): an input goes >= into a stage, or >> into width 1; "
			"put a stage between that reads it: {program: [cat]}",
			from->name, to->name, to->width);
	if (from->kind == GRAPH_INPUT && e->pattern == GRAPH_POINTWISE && to->width > from->width)
		graph_report(diag, e->place,
			"input '%s' has %u splits, fewer than the width %u of '%s'; split it smaller, or put "
			"a stage "
			"between that reads it: {program: [cat]}",
			from->name, from->width, to->width, to->name);
	for (uint32_t i = 0; e->pattern == GRAPH_LIST && i < e->list_count; i++)
		if (e->list[i].producer >= from->width || e->list[i].consumer >= to->width) {
			graph_report(diag, e->place,
				"list pair [%u, %u] is outside of '%s' (width %u) and '%s' (width %u)",
				e->list[i].producer, e->list[i].consumer, from->name, from->width, to->name,
				to->width);
			break;
		}
}

void graph_finish_widths(struct graph *graph, struct dag_diag *diag)
{
	uint64_t total = 0;

	for (size_t i = 0; i < graph->stage_count; i++)
		if (graph->stages[i]->width_by_data)
			graph_width_by_data(graph, graph->stages[i], diag);
		else if (graph->stages[i]->width_per)
			set_width_by_bytes(graph, graph->stages[i], diag);
		else if (graph->stages[i]->width && graph_is_grouped(graph, graph->stages[i]))
			graph_report(diag, graph->stages[i]->place,
				"the width of stage '%s' follows from the groups that feed it: leave it out",
				graph->stages[i]->name);
	infer_widths(graph, diag);
	for (size_t i = 0; i < graph->stage_count; i++) {
		struct graph_stage *s = graph->stages[i];

		if (!s->width)
			s->width = 1;
		if (s->width > GRAPH_WIDTH_MAX)
			graph_report(diag, s->place, "stage '%s' has width %u; the limit is %u", s->name,
				s->width, GRAPH_WIDTH_MAX);
		total += s->width;
	}
	if (total > GRAPH_VERTICES_MAX)
		graph_report(diag, (struct graph_place){graph->file, 0, 0},
			"the graph has %llu vertices; the limit is %u", (unsigned long long)total,
			GRAPH_VERTICES_MAX);
	for (size_t i = 0; i < graph->edge_count; i++) {
		graph->edges[i]->from_width = graph->stages[graph->edges[i]->from]->width;
		graph->edges[i]->to_width = graph->stages[graph->edges[i]->to]->width;
		if (graph->edges[i]->pattern == GRAPH_LIST &&
			graph->stages[graph->edges[i]->from]->copies_for != GRAPH_NONE)
			graph_spread_copies(graph, graph->edges[i]);
		check_widths(graph->edges[i], graph, diag);
	}
}

/* Another output of a rerun is as good only where nobody else has read the first one. */
static void check_accept(const struct graph *graph, struct dag_diag *diag)
{
	for (size_t i = 0; i < graph->stage_count; i++) {
		const struct graph_stage *s = graph->stages[i];
		uint32_t readers = 0;

		if (s->deterministic != GRAPH_ACCEPT)
			continue;
		for (const struct graph_edge *e = graph_out(graph, s->first_out); e;
			e = graph_out(graph, e->next_out))
			readers += e->to_width;
		for (size_t j = 0; j < graph->output_count; j++)
			readers += graph->outputs[j].stage == s->id;
		if (readers > 1)
			graph_report(diag, s->place,
				"'deterministic: accept' needs a stage that one vertex reads; '%s' has %u "
				"readers",
				s->name, readers);
	}
}

int graph_finish(struct graph *graph, struct dag_diag *diag)
{
	size_t errors = diag->count + diag->dropped;
	const uint32_t *order;

	graph_finish_open(graph, diag);
	graph_finish_ports(graph, diag);
	order = graph_finish_order(graph, diag);
	graph_finish_widths(graph, diag);
	check_accept(graph, diag);
	if (order) {
		graph_finish_running(graph, order, diag);
		graph_finish_streams(graph, order, diag);
	}
	if (diag->count + diag->dropped > errors)
		return DAG_EINVAL;
	graph_finish_gangs(graph, diag);
	graph_finish_alike(graph);
	return diag->count + diag->dropped > errors ? DAG_EINVAL : 0;
}
