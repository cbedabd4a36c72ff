/* SPDX-License-Identifier: Apache-2.0 */
/* What of the scheduler a script of commands is too long for: depth, and what is drawn. */
#include "unit.h"
#include "jobmanager/core/jm.h"

#define DEPTH 60000u

static struct graph *graph;
static struct dag_diag diag;

static void begin(struct jm **ret_jm, uint64_t seed)
{
	if (graph_finish(graph, &diag) < 0)
		fail_msg("%s", diag.items[0].text);
	jm_new(ret_jm, &(struct jm_config){.graph = graph, .epoch = 1, .seed = seed});
}

static void node_up(struct jm *jm, dag_instant now, const char *name)
{
	uint32_t node = jm_node_number(jm, name);

	assert_int_equal(
		jm_step(jm, now,
			&(struct jm_event){.kind = JM_NODE_UP, .node = node, .name = name, .shares = 16}),
		0);
	assert_int_equal(
		jm_step(jm, now, &(struct jm_event){.kind = JM_NODE_GRANT, .node = node, .shares = 16}), 0);
}

static void end(struct jm *jm, dag_instant now, uint32_t vertex, int error, const char *text)
{
	uint32_t attempt, node;
	enum jm_state state;
	struct jm_outcome outcome = {.error = error, .text = text, .bytes = 1, .run_ns = 50 * DAG_MS};

	assert_true(jm_current(jm, vertex, &attempt, &node, &state));
	assert_int_equal(state, JM_RUNNING);
	assert_int_equal(jm_step(jm, now,
				 &(struct jm_event){.kind = JM_ENDED,
					 .vertex = vertex,
					 .attempt = attempt,
					 .node = node,
					 .outcome = &outcome}),
		0);
}

/* A job is as deep as it has vertices, and all of them are lost with their node: no stack holds that. */
static void all_of_a_deep_chain_is_lost(void **state)
{
	struct graph_stage *s, *last;
	struct graph_edge *e;
	struct jm *jm;
	struct jm_stage_view view;

	(void)state;
	graph_new(&graph, "deep", NULL);
	s = graph_add_stage(graph, GRAPH_PROGRAM, "task");
	last = graph_add_stage(graph, GRAPH_PROGRAM, "last");
	s->width = DEPTH + 1; /* so that it stays open */
	s->width_given = s->open = true;
	last->width = 1;
	last->width_given = true;
	e = graph_add_edge(graph, s->id, 0, s->id, 0, GRAPH_POINTWISE);
	graph_add_edge(graph, s->id, 0, last->id, 0, GRAPH_BIPARTITE)->partition.kind = GRAPH_BY_ALL;
	graph_add_output(graph, last->id, 0, "/out");
	begin(&jm, 1);
	node_up(jm, 0, "a");
	for (uint32_t i = 0; i < DEPTH; i++) {
		struct jm_read read = {e->id, i - 1};

		assert_int_equal(
			jm_step(jm, 0,
				&(struct jm_event){
					.kind = JM_ADD, .stage = s->id, .reads = &read, .read_count = i > 0}),
			0);
		end(jm, 0, s->first_vertex + i, 0, NULL);
	}
	assert_int_equal(jm_step(jm, 0, &(struct jm_event){.kind = JM_NODE_DOWN, .node = 0}), 0);
	node_up(jm, DAG_SECOND, "b");
	assert_false(jm_ended(jm));
	jm_stage_view(jm, s->id, &view);
	assert_int_equal(view.done, 0);
	assert_int_equal(view.running, 1);
	jm_check(jm);
	jm_destroy(&jm);
	graph_destroy(&graph);
}

/* When the vertex runs again after its `failures`-th failure in a row. */
static dag_instant pause_after(struct jm *jm, dag_instant *now, uint32_t vertex)
{
	dag_instant began = *now;
	uint32_t attempt, node;
	enum jm_state state;

	end(jm, *now, vertex, DAG_EFAILED, "no");
	while (!jm_current(jm, vertex, &attempt, &node, &state) || state != JM_RUNNING) {
		*now += DAG_MS;
		assert_int_equal(jm_step(jm, *now, &(struct jm_event){.kind = JM_TICK}), 0);
	}
	return *now - began;
}

static void pauses_double_up_to_half_a_minute(void **state)
{
	dag_instant pauses[2][10];
	struct jm *jm;

	(void)state;
	for (int seed = 0; seed < 2; seed++) {
		struct graph_stage *s;
		dag_instant now = 0, least = 200 * DAG_MS;

		graph_new(&graph, "pauses", NULL);
		s = graph_add_stage(graph, GRAPH_PROGRAM, "work");
		s->width = 1;
		s->width_given = s->retries_said = true;
		s->retries = 1000;
		graph_add_output(graph, s->id, 0, "/out");
		begin(&jm, (uint64_t)seed);
		node_up(jm, 0, "a");
		for (int i = 0; i < 10; i++, least = DAG_MIN(2 * least, 24 * DAG_SECOND)) {
			pauses[seed][i] = pause_after(jm, &now, s->first_vertex);
			assert_true(pauses[seed][i] >= least);
			assert_true(pauses[seed][i] <= least + least / 4 + DAG_MS);
		}
		jm_destroy(&jm);
		graph_destroy(&graph);
	}
	assert_memory_not_equal(pauses[0], pauses[1], sizeof(pauses[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_a_deep_chain_is_lost),
		cmocka_unit_test(pauses_double_up_to_half_a_minute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
