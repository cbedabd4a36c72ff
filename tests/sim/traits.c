/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes are called, have and lack, what stages ask for, and whether a job's reason to fail is one. Drawn
 * beside the run's own numbers, so that a seed's other draws do not depend on it.
 */
#include "manager.h"

#include <stdio.h>

#define FIFO_WIDE 70 /* and more: vertices that one fifo edge joins */

static uint64_t draw(const struct sim *s, uint64_t what, uint64_t of, uint64_t n)
{
	struct prng prng = {s->options.seed ^ what << 32 ^ of << 8};

	prng_next(&prng);
	return prng_below(&prng, n);
}

static bool is_plain(const struct sim *s)
{
	return s->options.graph || s->options.vertices;
}

/* Stages ask for labels and memory in a quarter of the runs. */
static bool is_choosy(const struct sim *s)
{
	return !is_plain(s) && draw(s, 'c', 0, 4) == 0;
}

char *sim_node_name(const struct sim *s, uint32_t index)
{
	static const char *const tails[] = {"", " of rack 7", "\\x41\\", "\nnode-down n0", "\t%s"};

	return base_format(
		"n%u%s", index, is_plain(s) || draw(s, 'o', 0, 3) ? "" : tails[draw(s, 'o', 1 + index, 5)]);
}

struct jm_waits sim_waits(void)
{
	/* All that is down or out of reach comes back in that time. */
	return (struct jm_waits){300 * DAG_SECOND, 150 * DAG_SECOND};
}

struct graph_pair sim_node_label(const struct sim *s, uint32_t index)
{
	return (struct graph_pair){"zone", draw(s, 'l', index, 2) ? "a" : "b"};
}

uint64_t sim_node_memory(const struct sim *s, uint32_t index)
{
	return !is_choosy(s) || draw(s, 'm', 0, 2) ? 0 : 1000 + draw(s, 'm', 1 + index, 3) * 1000;
}

void traits_of_stage(struct sim *s, struct graph_stage *stage)
{
	struct graph_pair *label = arena_alloc(&s->graph->arena, sizeof(*label));

	if (!is_choosy(s) || stage->kind == GRAPH_INPUT)
		return;
	if (draw(s, 'S', stage->id, 3) == 0) {
		uint64_t zone = draw(s, 'Z', stage->id, 16);

		/* Seldom one that no node has. */
		*label = (struct graph_pair){"zone", zone == 0 ? "c" : zone % 2 ? "a" : "b"};
		stage->labels = label;
		stage->label_count = 1;
	}
	if (draw(s, 'M', stage->id, 3) == 0)
		stage->memory = 200 + draw(s, 'N', stage->id, 900);
}

/* The k-th try to draw a graph: a pipe that may be a fifo, perhaps into very many vertices. */
enum graph_channel traits_pipe(const struct sim *s, uint32_t try, uint32_t stage, uint32_t *ret_width)
{
	if (draw(s, 'f', try * 64 + stage, 3))
		return GRAPH_PIPE;
	if (draw(s, 'w', try * 64 + stage, 4) == 0)
		*ret_width = FIFO_WIDE + (uint32_t)draw(s, 'W', stage, 40);
	return GRAPH_FIFO;
}

static bool suits(const struct sim *s, uint32_t index, const struct graph_stage *stage)
{
	uint64_t memory = sim_node_memory(s, index);

	return (!stage->label_count || !strcmp(stage->labels->value, sim_node_label(s, index).value)) &&
	       (!memory || stage->memory <= memory);
}

/* Of the same fifo group: they follow each other, and are on one node. */
static void check_group(struct sim *s, const struct jm_effect *e)
{
	struct sim_manager *m = s->manager;

	if (m->group_left && (e->group != m->group || e->node != m->group_node))
		sim_violate(s, "a fifo group is torn: %u starts on %u", e->vertex, e->node);
	if (!m->group_left && e->group) {
		m->group = e->group;
		m->group_left = e->group_size;
		m->group_node = e->node;
		if (e->group_size > 64)
			sim_probe(s, PROBE_fifo_wide);
	}
	m->group_left -= m->group_left > 0;
}

void traits_check_start(struct sim *s, const struct jm_effect *e)
{
	const struct graph_stage *stage = s->use->stages[s->use->vertex_stage[e->vertex]];
	const struct manager_node *n = node_by_number(s, e->node);

	check_group(s, e);
	if (!n || (!stage->label_count && !stage->memory))
		return;
	sim_probe(s, PROBE_choosy);
	if (!suits(s, n->process - SIM_FIRST_NODE, stage))
		sim_violate(s, "%u starts on n%u, which does not have what '%s' asks for", e->vertex,
			n->process - SIM_FIRST_NODE, stage->name);
}

static const struct graph_stage *quoted_stage(const struct sim *s, const char *text)
{
	for (size_t i = 0; i < s->use->stage_count; i++) {
		char quoted[32];

		snprintf(quoted, sizeof(quoted), "'%s'", s->use->stages[i]->name);
		if (strstr(text, quoted))
			return s->use->stages[i];
	}
	return NULL;
}

/* A vertex is said to end daemons: they did, under it, as often as is said. */
static void check_blame(struct sim *s, const char *text)
{
	char name[16];
	unsigned index, vertex, deaths = 0, of;
	const struct graph_stage *stage;

	sim_probe(s, PROBE_blamed);
	if (sscanf(text, "%15[^[][%u]", name, &index) != 2 || !(stage = graph_find_stage(s->use, name))) {
		sim_violate(s, "no vertex is named: %s", text);
		return;
	}
	vertex = stage->first_vertex + index;
	for (size_t i = 0; i < s->manager->fact_count; i++)
		deaths += sscanf(s->manager->facts[i], "died %u", &of) == 1 && of == vertex;
	if (deaths < 2)
		sim_violate(s, "%u daemons ended under %u: %s", deaths, vertex, text);
}

void traits_check_end(struct sim *s)
{
	const char *text = s->end_text;
	const struct graph_stage *stage;

	if (strstr(text, "no node can run stage")) {
		sim_probe(s, PROBE_hopeless);
		stage = quoted_stage(s, text);
		for (uint32_t i = 0; i < s->node_count && stage; i++)
			if (suits(s, i, stage))
				sim_violate(s, "n%u can: %s", i, text);
		if (!stage)
			sim_violate(s, "no stage is named: %s", text);
	}
	sources_check_end(s, text);
	if (strstr(text, "its daemon ended"))
		check_blame(s, text);
}
