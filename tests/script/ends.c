/* SPDX-License-Identifier: Apache-2.0 */
/* How a script's job manager dies and another takes over, and how its job is brought to an end. */
#include "script.h"

#define FINISH_ROUNDS 2000

static void print_dump_difference(struct script *s, struct buffer *before, struct buffer *after)
{
	char *difference;

	buffer_append(before, "", 1);
	buffer_append(after, "", 1);
	difference = jm_dump_difference((char *)before->data, (char *)after->data);
	if (difference)
		script_wrong(s, "a crash changed what is known: %s", difference);
	free(difference);
}

void script_begin_core(struct script *s)
{
	jm_new(&s->jm, &(struct jm_config){.graph = s->graph, .epoch = ++s->epoch, .waits = s->waits});
}

/* The job manager dies; the next one replays what is in the journal, but for the last `lost` facts. */
void script_crash(struct script *s)
{
	size_t lost = s->count > 1 ? script_number(s, 1) : 0, n = s->fact_count - lost;
	struct buffer before = {0}, after = {0};

	jm_dump(s->jm, s->epoch, &before);
	jm_destroy(&s->jm);
	script_begin_core(s);
	while (s->fact_count > n)
		free(s->facts[--s->fact_count]);
	for (size_t i = 0; i < n; i++)
		if (jm_replay(s->jm, s->facts[i]) < 0)
			script_wrong(s, "not replayed: %s", s->facts[i]);
	jm_replayed(s->jm);
	jm_dump(s->jm, s->epoch - 1, &after);
	if (!lost && !s->invented)
		print_dump_difference(s, &before, &after);
	buffer_fini(&before);
	buffer_fini(&after);
	jm_check(s->jm);
	buffer_format(s->out, "  epoch %u, %u nodes expected\n", s->epoch, jm_expected_nodes(s->jm));
}

/* Answers one thing that nobody has answered; false where there is none. */
static bool answer(struct script *s)
{
	struct jm_effect e;

	for (size_t i = 0; i < SCRIPT_OUTPUTS_MAX; i++)
		if (s->fetch[i].text) {
			e = s->fetch[i];
			s->fetch[i].text = NULL;
			script_step(s, &(struct jm_event){.kind = JM_FETCHED,
					       .output = e.output,
					       .vertex = e.vertex,
					       .attempt = e.attempt});
			return true;
		}
	if (s->verify.text) {
		e = s->verify;
		s->verify.text = NULL;
		script_step(
			s, &(struct jm_event){.kind = JM_VERIFIED, .vertex = e.vertex, .attempt = e.attempt});
	} else if (s->publish.text) {
		s->publish.text = NULL;
		script_step(s, &(struct jm_event){.kind = JM_PUBLISHED});
	} else
		return false;
	return true;
}

static bool end_running(struct script *s)
{
	struct jm_outcome o = {.bytes = 100, .run_ns = 50 * DAG_MS};
	bool any = false;

	for (uint32_t v = 0; v < s->graph->vertex_count; v++) {
		uint32_t attempt, node;
		enum jm_state state;

		if (!jm_current(s->jm, v, &attempt, &node, &state) || state != JM_RUNNING)
			continue;
		any = true;
		script_step(s, &(struct jm_event){.kind = JM_ENDED,
				       .vertex = v,
				       .attempt = attempt,
				       .node = node,
				       .outcome = &o});
	}
	return any;
}

/* Outputs are asked for one after the other: what was asked for meanwhile is found in the core's state. */
void script_finish(struct script *s)
{
	s->quiet = true;
	for (int round = 0; round < FINISH_ROUNDS && !jm_ended(s->jm); round++) {
		if (answer(s) || end_running(s))
			continue;
		s->now += 250 * DAG_MS;
		script_step(s, &(struct jm_event){.kind = JM_TICK});
	}
	s->quiet = false;
	if (!jm_ended(s->jm) || jm_failure(s->jm))
		script_wrong(s, "it cannot be finished");
}
