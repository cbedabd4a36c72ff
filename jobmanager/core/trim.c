/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the outputs of a stage's first vertices are on disk, nobody will read again what was made for them
 * alone: their parts of a shuffle. They are given back while the rest goes on, so that its result finds the
 * memory which its inputs had. Should one be wanted all the same, it is missing, and its producer runs again.
 */
#include "trim.h"
#include "effects.h"
#include "nodes.h"
#include "vertices.h"

/* Each part of the edge is for one consumer, and nobody else reads the stream. */
static bool has_own_parts(const struct jm *jm, const struct graph_edge *edge)
{
	const struct graph_stage *from = jm->graph->stages[edge->from];

	if (edge->pattern != GRAPH_BIPARTITE || edge->channel != GRAPH_FILE || edge->parts < 2 ||
		edge->parts != edge->to_width || from->width_of != GRAPH_NONE ||
		jm->graph->stages[edge->to]->width_of != GRAPH_NONE || from->kind == GRAPH_INPUT)
		return false;
	for (const struct graph_edge *e = graph_out(jm->graph, from->first_out); e;
		e = graph_out(jm->graph, e->next_out))
		if (e != edge && e->stream == edge->stream)
			return false;
	for (size_t i = 0; i < jm->graph->output_count; i++)
		if (jm->graph->outputs[i].stage == from->id && jm->graph->outputs[i].stream == edge->stream)
			return false;
	return true;
}

static void trim(struct jm *jm, const struct graph_edge *edge, uint32_t parts)
{
	for (uint32_t n = 0; n < jm->node_count; n++) {
		struct jm_effect *e;

		if (!jm->nodes[n].up)
			continue;
		e = jm_emit(jm, JM_TRIM);
		e->node = n;
		e->stage = edge->from;
		e->stream = edge->stream;
		e->parts = parts;
	}
}

void trim_inputs(struct jm *jm, const struct graph_stage *s)
{
	uint32_t *released = &jm->stages[s->id].released, before = *released;

	while (*released < s->width && jm->vertices[s->first_vertex + *released].released)
		++*released;
	/* At the end of the job all of it goes. */
	if (*released == before || jm->replaying || !jm->outputs_left)
		return;
	for (uint32_t p = 0; p < s->in_count; p++) {
		const struct graph_edge *edge =
			s->in[p].edge == GRAPH_NONE ? NULL : jm->graph->edges[s->in[p].edge];

		if (edge && has_own_parts(jm, edge))
			trim(jm, edge, *released);
	}
}
