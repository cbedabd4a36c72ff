/* SPDX-License-Identifier: Apache-2.0 */
/* Random layered graphs, and what their vertices compute. */
#include "sim.h"
#include "base/diag.h"
#include "graph/graph.h"

#include <stdio.h>

static uint64_t mix(uint64_t h, uint64_t x)
{
	struct prng p = {h ^ (x + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2))};

	return prng_next(&p);
}

uint64_t vertex_value(uint32_t vertex, const uint64_t *inputs, size_t n)
{
	uint64_t h = mix(1, vertex);

	for (size_t i = 0; i < n; i++)
		h = mix(h, inputs[i]);
	return h;
}

uint64_t channel_value(uint64_t value, uint32_t part)
{
	return mix(value, part);
}

uint64_t source_value(uint32_t vertex)
{
	return mix(2, vertex);
}

static struct graph_stage *add_stage(struct sim *s, uint32_t number, uint32_t width, bool input)
{
	char *name = base_format("%s%u", input ? "in" : "s", number);
	struct graph_stage *stage = graph_add_stage(
		s->graph, input ? GRAPH_INPUT : GRAPH_PROGRAM, arena_strdup(&s->graph->arena, name));

	free(name);
	stage->width = width;
	stage->width_given = true;
	if (input) {
		stage->input_files = arena_alloc(&s->graph->arena, sizeof(*stage->input_files));
		stage->input_files->path = "/data";
		stage->splits = arena_alloc(&s->graph->arena, width * sizeof(*stage->splits));
	}
	return stage;
}

bool sim_is_refined(const struct sim *s)
{
	struct prng prng = {s->options.seed ^ 0x726566696e656421u};

	return !s->options.graph && !s->options.vertices && prng_below(&prng, 3) == 0;
}

static void add_edge(struct sim *s, const struct graph_stage *from, const struct graph_stage *to,
	uint32_t port, bool complete, enum graph_channel channel)
{
	struct graph_edge *e = graph_add_edge(
		s->graph, from->id, 0, to->id, port, complete ? GRAPH_BIPARTITE : GRAPH_POINTWISE);

	e->partition.kind = GRAPH_BY_ROUND_ROBIN;
	e->channel = channel;
}

/* The stage's width is decided while the job runs: by groups, or by how much there is. */
static void add_refined(
	struct sim *s, struct prng *prng, const struct graph_stage *from, struct graph_stage *to)
{
	struct graph_edge *e;

	if (prng_below(prng, 4) == 0) {
		to->open = true;
		to->width = 2 + (uint32_t)prng_below(prng, 8);
		graph_add_edge(s->graph, from->id, 0, to->id, 0, GRAPH_POINTWISE);
		if (prng_below(prng, 2))
			graph_add_edge(s->graph, to->id, 0, to->id, 1, GRAPH_POINTWISE);
		return;
	}
	add_edge(s, from, to, 0, true, GRAPH_AUTO);
	e = s->graph->edges[s->graph->edge_count - 1];
	if (prng_below(prng, 3) == 0) {
		to->width_by_data = true;
		to->width_per = 500 + prng_below(prng, 3000);
		return;
	}
	to->width = 0;
	to->width_given = false;
	e->pattern = GRAPH_GROUPS;
	e->groups.by = (enum graph_group_by)prng_below(prng, 3);
	e->groups.least = 1 + (uint32_t)prng_below(prng, 3);
	e->groups.most = e->groups.least + (uint32_t)prng_below(prng, 3);
	e->groups.bytes = 1000 + prng_below(prng, 6000);
}

/* MapReduce's shape, for large jobs. */
static void build_large(struct sim *s, uint32_t vertices)
{
	uint32_t r = DAG_MAX(vertices / 101, 1u);
	struct graph_stage *map = add_stage(s, 1, 50 * r, false), *sort = add_stage(s, 2, 50 * r, false),
			   *reduce = add_stage(s, 3, r, false), *out = add_stage(s, 4, 1, false);

	add_edge(s, map, sort, 0, false, GRAPH_AUTO);
	add_edge(s, sort, reduce, 0, false, GRAPH_AUTO);
	add_edge(s, reduce, out, 0, true, GRAPH_AUTO);
	graph_add_output(s->graph, out->id, 0, "/out");
}

static void build_small(struct sim *s, uint32_t vertices, uint32_t try)
{
	uint32_t widths[] = {1, 2, 4, 8, 3, 6}, layers = 2 + (uint32_t)sim_draw(s, 4);
	struct graph_stage *stages[8];
	bool read[8] = {false};
	uint32_t n = 0;
	bool pipes = sim_draw(s, 3) == 0, refined = sim_is_refined(s), running[8] = {false};
	struct prng prng = {s->options.seed};

	if (vertices) { /* a fixed shape of about so many */
		widths[0] = DAG_MAX(1u, vertices / 4);
		stages[n++] = add_stage(s, 0, widths[0], false);
		stages[n++] = add_stage(s, 1, widths[0], false);
		stages[n++] = add_stage(s, 2, widths[0], false);
		stages[n++] = add_stage(s, 3, DAG_MAX(1u, vertices - 3 * widths[0]), false);
		add_edge(s, stages[0], stages[1], 0, false, GRAPH_AUTO);
		add_edge(s, stages[1], stages[2], 0, true, GRAPH_AUTO);
		add_edge(s, stages[2], stages[3], 0, true, GRAPH_AUTO);
		graph_add_output(s->graph, stages[3]->id, 0, "/out3");
		return;
	}
	if (sim_draw(s, 2))
		stages[n++] = add_stage(s, 0, widths[sim_draw(s, 4)], true);
	for (uint32_t l = 0; l < layers; l++) {
		uint32_t ports = n ? 1 + (n > 1 && sim_draw(s, 3) == 0) : 0, from[2] = {n - 1, 0};
		struct graph_stage *to;
		uint32_t width = widths[sim_draw(s, 6)], unused;

		if (ports == 2)
			from[1] = (uint32_t)sim_draw(s, n);
		/* An input of the job goes pointwise. */
		for (uint32_t p = 0; p < ports; p++)
			if (stages[from[p]]->kind == GRAPH_INPUT)
				width = stages[from[p]]->width;
		to = add_stage(s, n, width, false);
		for (uint32_t p = 0; p < ports; p++) {
			const struct graph_stage *f = stages[from[p]];
			bool input = f->kind == GRAPH_INPUT,
			     fits = !(f->width % width) || !(width % f->width);
			bool complete = !input && (!fits || sim_draw(s, 2));
			bool pipe = !input && pipes && sim_draw(s, 2);
			enum graph_channel channel = GRAPH_AUTO;

			read[from[p]] = true;
			if (refined && ports == 1 && !input && prng_below(&prng, 2)) {
				running[n] = true;
				add_refined(s, &prng, f, to);
				continue;
			}
			if (running[from[p]] && ports == 1 && prng_below(&prng, 2)) {
				running[n] = true;
				to->width = 0;
				complete = false;
			} else if (running[from[p]]) {
				complete = true;
				pipe = false;
			}
			if (pipe)
				channel = traits_pipe(s, try, n, ports == 1 ? &width : &unused);
			if (width != to->width && to->width) { /* so wide that only all can read it */
				to->width = width;
				complete = true;
			}
			add_edge(s, f, to, p, complete, channel);
		}
		stages[n++] = to;
	}
	for (uint32_t i = 0; i < n; i++)
		if (!read[i] && stages[i]->kind != GRAPH_INPUT) {
			char path[32];

			snprintf(path, sizeof(path), "/out%u.{index}", i);
			graph_add_output(s->graph, stages[i]->id, 0, arena_strdup(&s->graph->arena, path));
		}
}

void workload_draw(struct sim *s)
{
	struct dag_diag diag = {0};
	uint32_t try = 0;

	if (s->options.graph) {
		s->use = s->options.graph;
		return;
	}
	/* Some draws of pipes are refused, as they should be. */
	do {
		dag_diag_fini(&diag);
		graph_destroy(&s->graph);
		graph_new(&s->graph, "sim", "sim");
		if (s->options.vertices > 300)
			build_large(s, s->options.vertices);
		else
			build_small(s, s->options.vertices, try++);
		for (size_t i = 0; i < s->graph->stage_count; i++)
			traits_of_stage(s, s->graph->stages[i]);
	} while (graph_finish(s->graph, &diag) < 0);
	/* One entry for all, as far as the scheduler knows; ports were not declared before. */
	for (size_t i = 0; i < s->graph->stage_count; i++)
		if (s->graph->stages[i]->kind == GRAPH_PROGRAM) {
			s->graph->stages[i]->kind = GRAPH_PLUGIN;
			s->graph->stages[i]->plugin = s->graph->stages[i]->entry = "sim";
		}
	s->use = s->graph;
}
