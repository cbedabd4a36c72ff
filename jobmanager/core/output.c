/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outputs come over one vertex after the other, as those are committed. What is on disk beside its
 * destination is there for the next run of the job manager too, so its vertex's node may have its memory
 * back.
 */
#include "output.h"
#include "effects.h"
#include "gangs.h"
#include "nodes.h"
#include "trim.h"
#include "vertices.h"

#include <stdio.h>

void outputs_init(struct jm *jm)
{
	jm->outputs = base_alloc((jm->graph->output_count + 1) * sizeof(*jm->outputs));
	jm->outputs_left = (uint32_t)jm->graph->output_count;
}

void output_fetch_next(struct jm *jm, uint32_t output)
{
	const struct graph_output *o = &jm->graph->outputs[output];
	const struct graph_stage *s = jm->graph->stages[o->stage];
	struct jm_output *state = &jm->outputs[output];
	uint32_t vertex = s->first_vertex + state->fetched;
	struct jm_effect *e;

	if (jm->ended || state->asked || state->fetched == jm_width(jm, s->id) ||
		jm->vertices[vertex].state != JM_DONE)
		return;
	if (jm->vertices[vertex].released) {
		gang_invalidate(jm, vertex, "its output is to be written anew, and was given back");
		return;
	}
	if (!jm->nodes[jm->vertices[vertex].node].up) {
		gang_invalidate(jm, vertex, "its node is gone");
		return;
	}
	if (state->anew)
		jm_fact(jm, "refetched %u", output);
	state->asked = state->fetched + 1;
	e = jm_emit_attempt(jm, JM_FETCH, jm->vertices[vertex].node, vertex, jm->vertices[vertex].attempt);
	e->output = output;
	e->durable = state->anew;
}

void jm_forget_output(struct jm *jm, uint32_t output)
{
	struct jm_output *state = &jm->outputs[output];

	if (state->fetched == jm_width(jm, jm->graph->outputs[output].stage))
		jm->outputs_left++;
	*state = (struct jm_output){.anew = true};
}

void output_refetch(struct jm *jm, uint32_t output)
{
	if (jm->outputs[output].synced)
		jm_fact(jm, "refetched %u", output);
	jm_forget_output(jm, output);
}

void output_on_fetch_failed(struct jm *jm, const struct jm_event *event)
{
	struct jm_output *state = &jm->outputs[event->output];
	struct jm_vertex *v = &jm->vertices[event->vertex];

	if (event->error == DAG_ENOSPC || event->error == DAG_EIO || event->error == DAG_EFORMAT) {
		jm_end(jm, event->error, "%s", event->text);
		return;
	}
	if (!state->asked)
		return;
	state->asked = 0;
	jm_note(jm, "the output of %s could not be fetched: %s", jm_attempt_name(jm, event->vertex),
		event->text);
	if (v->state == JM_DONE && v->attempt == event->attempt)
		gang_invalidate(jm, event->vertex, "its output could not be fetched");
}

/* ---- on disk ---- */

static bool is_kept(const struct jm *jm, const struct graph_stage *s, uint32_t index)
{
	for (uint32_t i = 0; i < jm->graph->output_count; i++)
		if (jm->graph->outputs[i].stage == s->id && jm->outputs[i].synced <= index)
			return true;
	return s->first_out != GRAPH_NONE;
}

/* What no vertex reads, and all outputs have. */
static void release(struct jm *jm, const struct graph_stage *s, uint32_t index)
{
	const struct jm_vertex *v = &jm->vertices[s->first_vertex + index];

	if (v->state != JM_DONE || v->released || is_kept(jm, s, index))
		return;
	vertex_release(jm, s->first_vertex + index);
	/* At the end of the job all of it goes. */
	if (!jm->replaying && jm->nodes[v->node].up && jm->outputs_left)
		jm_emit_attempt(jm, JM_RELEASE, v->node, s->first_vertex + index, v->attempt);
}

static void set_synced(struct jm *jm, uint32_t output, uint32_t count, uint64_t bytes)
{
	const struct graph_stage *s = jm->graph->stages[jm->graph->outputs[output].stage];
	uint32_t before = jm->outputs[output].synced;

	jm->outputs[output].synced = count;
	jm->outputs[output].bytes = bytes;
	for (uint32_t i = before; i < count; i++)
		release(jm, s, i);
	trim_inputs(jm, s);
}

void output_on_synced(struct jm *jm, const struct jm_event *event)
{
	const struct jm_output *state = &jm->outputs[event->output];
	uint32_t count =
		event->vertex - jm->graph->stages[jm->graph->outputs[event->output].stage]->first_vertex + 1;

	if (count > state->fetched || count <= state->synced)
		return; /* it is written anew */
	jm_fact(jm, "synced %u %u %llu", event->output, event->vertex, (unsigned long long)event->bytes);
	set_synced(jm, event->output, count, event->bytes);
}

void output_on_fetched(struct jm *jm, const struct jm_event *event)
{
	const struct graph_output *o = &jm->graph->outputs[event->output];
	const struct graph_stage *s = jm->graph->stages[o->stage];
	struct jm_output *state = &jm->outputs[event->output];

	if (!state->asked || s->first_vertex + state->fetched != event->vertex)
		return;
	state->asked = 0;
	if (jm->vertices[event->vertex].state != JM_DONE ||
		jm->vertices[event->vertex].attempt != event->attempt)
		return; /* of an attempt that does not count any more */
	state->anew = false;
	state->fetched++;
	if (state->fetched == jm_width(jm, s->id))
		jm->outputs_left--;
	if (event->flag)
		output_on_synced(jm, event);
}

int output_replay(struct jm *jm, const char *word, const char *rest)
{
	unsigned output, vertex;
	unsigned long long bytes;
	const struct graph_stage *s;

	if (sscanf(rest, "%u", &output) != 1 || output >= jm->graph->output_count)
		return DAG_EFORMAT;
	s = jm->graph->stages[jm->graph->outputs[output].stage];
	if (!strcmp(word, "refetched")) {
		jm->outputs[output] = (struct jm_output){0};
		return 0;
	}
	if (sscanf(rest, "%*u %u %llu", &vertex, &bytes) != 2 || vertex < s->first_vertex ||
		vertex - s->first_vertex >= jm_width(jm, s->id))
		return DAG_EFORMAT;
	set_synced(jm, output, vertex - s->first_vertex + 1, bytes);
	return 0;
}

void outputs_replayed(struct jm *jm)
{
	for (uint32_t i = 0; i < jm->graph->output_count; i++) {
		struct jm_output *state = &jm->outputs[i];
		uint32_t width = jm_width(jm, jm->graph->outputs[i].stage);

		/* After the intent every output's file is whole, but what goes to stdout was not kept. */
		state->fetched = state->synced;
		if (jm->fate == JM_FATE_DECIDED && strcmp(jm->graph->outputs[i].path, "-"))
			state->fetched = width;
		jm->outputs_left -= state->fetched == width;
	}
}

uint32_t jm_synced(const struct jm *jm, uint32_t output, uint64_t *ret_bytes)
{
	*ret_bytes = jm->outputs[output].bytes;
	return jm->outputs[output].synced;
}

void outputs_settled(struct jm *jm, uint32_t root, uint32_t width)
{
	for (uint32_t i = 0; i < jm->graph->output_count; i++) {
		const struct graph_stage *s = jm->graph->stages[jm->graph->outputs[i].stage];

		if (s->width_of == root && width < s->width && jm->outputs[i].fetched == width)
			jm->outputs_left--; /* all of it was fetched before */
	}
}

void outputs_look_again(struct jm *jm)
{
	for (uint32_t i = 0; i < jm->graph->output_count; i++) {
		const struct graph_stage *s = jm->graph->stages[jm->graph->outputs[i].stage];

		if (jm->outputs[i].asked &&
			jm->vertices[s->first_vertex + jm->outputs[i].asked - 1].state != JM_DONE)
			jm->outputs[i].asked = 0;
	}
}

void outputs_fini(struct jm *jm)
{
	free(jm->outputs);
}
