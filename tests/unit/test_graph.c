/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"
#include "graph/dot.h"
#include "graph/edge.h"

static struct graph *graph;
static struct dag_diag diag;

static int setup(void **state)
{
	(void)state;
	graph_new(&graph, "test", NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	graph_destroy(&graph);
	dag_diag_fini(&diag);
	return 0;
}

static uint32_t stage(const char *name, uint32_t width)
{
	struct graph_stage *s = graph_add_stage(graph, GRAPH_PROGRAM, name);

	s->width = width;
	s->width_given = width > 0;
	return s->id;
}

static struct graph_edge *edge(uint32_t from, uint32_t to, uint32_t port, enum graph_pattern pattern)
{
	struct graph_edge *e = graph_add_edge(graph, from, 0, to, port, pattern);

	e->partition.kind = GRAPH_BY_ROUND_ROBIN;
	return e;
}

/* For every pattern the consumers of a producer and the producers of a consumer are the same channels. */
static void check_inverse(const struct graph_edge *e)
{
	uint64_t forward = 0, backward = 0;

	for (uint32_t c = 0; c < e->to_width; c++)
		for (uint32_t i = 0; i < edge_producers(e, c); i++) {
			uint32_t p = edge_producer(e, c, i), found = 0;

			assert_true(p < e->from_width);
			assert_true(i == 0 || edge_producer(e, c, i - 1) < p);
			for (uint32_t j = 0; j < edge_consumers(e, p); j++)
				found += edge_consumer(e, p, j) == c;
			assert_int_equal(found, 1);
			backward++;
		}
	for (uint32_t p = 0; p < e->from_width; p++)
		forward += edge_consumers(e, p);
	assert_true(forward == backward && forward == edge_channels(e));
}

static void test_patterns_are_their_own_inverse(void **state)
{
	static const uint32_t widths[][2] = {{1, 1}, {4, 4}, {8, 2}, {2, 8}, {1, 5}, {5, 1}};

	(void)state;
	for (size_t i = 0; i < DAG_LENGTH(widths); i++) {
		struct graph_edge e = {.from_width = widths[i][0], .to_width = widths[i][1], .parts = 1};

		e.pattern = GRAPH_POINTWISE;
		check_inverse(&e);
		e.pattern = GRAPH_BIPARTITE;
		check_inverse(&e);
	}
	for (uint32_t k = 0; k < 6; k++) {
		struct graph_edge e = {
			.from_width = 4, .to_width = 4, .pattern = GRAPH_NEIGHBOURS, .k = k, .parts = 1};

		check_inverse(&e);
	}
}

static void test_list_pattern(void **state)
{
	struct graph_list_pair list[] = {{2, 0}, {0, 1}, {2, 1}, {1, 3}};
	uint32_t by_producer[] = {1, 3, 0, 2};
	struct graph_edge e = {.pattern = GRAPH_LIST,
		.list = list,
		.by_producer = by_producer,
		.list_count = 4,
		.from_width = 3,
		.to_width = 4};

	(void)state;
	check_inverse(&e);
	assert_int_equal(edge_producers(&e, 2), 0);
}

static void test_widths_come_from_pointwise_neighbours(void **state)
{
	uint32_t a = stage("a", 6), b = stage("b", 0), c = stage("c", 0), d = stage("d", 0);

	(void)state;
	edge(a, b, 0, GRAPH_POINTWISE);
	edge(b, c, 0, GRAPH_POINTWISE);
	edge(c, d, 0, GRAPH_BIPARTITE);
	assert_int_equal(graph_finish(graph, &diag), 0);
	assert_int_equal(graph->stages[c]->width, 6);
	assert_int_equal(graph->stages[d]->width, 1);
	assert_int_equal(graph->vertex_count, 19);
	assert_int_equal(graph->stages[d]->depth, 3);
}

static void expect_error(const char *words)
{
	assert_int_equal(graph_finish(graph, &diag), DAG_EINVAL);
	assert_true(diag.count >= 1);
	if (!strstr(diag.items[0].text, words))
		fail_msg("'%s' is not in '%s'", words, diag.items[0].text);
}

static void test_widths_that_do_not_divide(void **state)
{
	(void)state;
	edge(stage("a", 6), stage("b", 4), 0, GRAPH_POINTWISE);
	expect_error("one width must divide");
}

static void test_cycle(void **state)
{
	uint32_t a = stage("a", 1), b = stage("b", 1), c = stage("c", 1);

	(void)state;
	edge(a, b, 0, GRAPH_POINTWISE);
	edge(b, c, 0, GRAPH_POINTWISE);
	edge(c, b, 1, GRAPH_POINTWISE);
	expect_error("b -> c -> b");
}

static void test_two_writers(void **state)
{
	uint32_t a = stage("a", 1), b = stage("b", 1);

	(void)state;
	edge(a, b, 0, GRAPH_POINTWISE);
	edge(a, b, 0, GRAPH_POINTWISE);
	expect_error("two writers");
}

/* ---- formats that nobody said ---- */

static uint32_t input(const char *name, bool split)
{
	struct graph_stage *s = graph_add_stage(graph, GRAPH_INPUT, name);

	s->width = 4;
	s->width_given = true;
	s->split = split;
	return s->id;
}

static uint32_t plugin(const char *name, uint32_t width, enum dag_format_kind format, bool passes_bytes)
{
	struct graph_stage *s = graph_add_stage(graph, GRAPH_PLUGIN, name);

	graph_need_ports(graph, s, 1, 1);
	s->entry = name;
	s->width = width;
	s->width_given = true;
	s->passes_bytes = passes_bytes;
	s->in_count = s->out_count = 1;
	s->in[0].format.kind = s->out[0].format.kind = format;
	return s->id;
}

static struct graph_edge *join(uint32_t from, uint32_t to)
{
	return graph_add_edge(graph, from, 0, to, 0, GRAPH_BIPARTITE);
}

static void expect_in(uint32_t stage, enum dag_format_kind kind)
{
	const struct graph_format *format = &graph->stages[stage]->in[0].format;

	assert_int_equal(format->kind, kind);
	if (kind == DAG_FORMAT_LINES)
		assert_true(graph_is_as_written(*format));
}

static void test_what_nobody_needs_as_records_is_bytes(void **state)
{
	uint32_t in = input("in", false), a = stage("a", 4), b = stage("b", 1),
		 cat = plugin("cat", 1, DAG_FORMAT_ANY, true),
		 raw = plugin("raw", 1, DAG_FORMAT_BYTES, false);

	(void)state;
	graph_add_edge(graph, in, 0, a, 0, GRAPH_POINTWISE);
	join(a, b);
	join(a, cat);
	join(a, raw);
	graph_add_output(graph, a, 0, "/o");
	assert_int_equal(graph_finish(graph, &diag), 0);
	for (uint32_t s = a; s <= raw; s++)
		expect_in(s, DAG_FORMAT_BYTES);
	assert_int_equal(graph->stages[a]->stream_count, 1);
	assert_int_equal(graph->stages[cat]->out[0].format.kind, DAG_FORMAT_BYTES);
}

/* A plugin of lines, one of anything, a partition, and a word of one at width 1. */
static void test_one_who_needs_records_makes_lines(void **state)
{
	static const struct {
		enum dag_format_kind plugin;
		uint32_t width;
		enum graph_partition_kind partition;
		int streams;
	} cases[] = {{DAG_FORMAT_LINES, 1, GRAPH_BY_DEFAULT, 1}, {DAG_FORMAT_ANY, 1, GRAPH_BY_DEFAULT, 1},
		{DAG_FORMAT_BYTES, 3, GRAPH_BY_ROUND_ROBIN, 2},
		{DAG_FORMAT_BYTES, 1, GRAPH_BY_ROUND_ROBIN, 2}};

	(void)state;
	for (size_t i = 0; i < DAG_LENGTH(cases); i++) {
		uint32_t in = input("in", false), a = stage("a", 4), b = stage("b", 1),
			 cat = plugin("cat", 1, DAG_FORMAT_ANY, true), c = stage("c", 1), reader;

		reader = cases[i].partition ? stage("reader", cases[i].width)
					    : plugin("reader", cases[i].width, cases[i].plugin, false);
		graph_add_edge(graph, in, 0, a, 0, GRAPH_POINTWISE);
		join(a, b);
		join(a, cat);
		join(cat, c);
		join(a, reader)->partition.kind = cases[i].partition;
		assert_int_equal(graph_finish(graph, &diag), 0);
		expect_in(a, DAG_FORMAT_BYTES);
		expect_in(b, DAG_FORMAT_LINES);
		expect_in(cat, DAG_FORMAT_LINES);
		expect_in(c, DAG_FORMAT_LINES);
		assert_int_equal(graph->stages[a]->stream_count, cases[i].streams);
		graph_destroy(&graph);
		graph_new(&graph, "test", NULL);
	}
}

/* It spreads back over what passes bytes on, but not over a program, and each reads an input in its own way.
 */
static void test_the_need_for_records_spreads(void **state)
{
	uint32_t in = input("in", false), a = stage("a", 4), cat = plugin("cat", 1, DAG_FORMAT_ANY, true),
		 again = plugin("again", 1, DAG_FORMAT_ANY, true),
		 count = plugin("count", 1, DAG_FORMAT_LINES, false),
		 other = plugin("other", 1, DAG_FORMAT_ANY, true),
		 lines = plugin("lines", 1, DAG_FORMAT_LINES, false), whole = stage("whole", 1),
		 cut = input("cut", true), b = stage("b", 4);

	(void)state;
	graph_add_edge(graph, in, 0, a, 0, GRAPH_POINTWISE);
	join(a, cat);
	join(cat, again);
	join(again, count);
	join(a, other);
	join(in, lines);
	join(in, whole);
	graph_add_edge(graph, cut, 0, b, 0, GRAPH_POINTWISE);
	assert_int_equal(graph_finish(graph, &diag), 0);
	expect_in(a, DAG_FORMAT_BYTES);
	expect_in(cat, DAG_FORMAT_LINES);
	expect_in(again, DAG_FORMAT_LINES);
	expect_in(other, DAG_FORMAT_LINES);
	expect_in(whole, DAG_FORMAT_BYTES);
	expect_in(b, DAG_FORMAT_LINES);
}

/* What passes on one port's records cannot join another's bytes to them. */
static void test_records_on_one_port_are_records_on_all(void **state)
{
	uint32_t a = stage("a", 4), lines = plugin("lines", 1, DAG_FORMAT_LINES, false),
		 both = plugin("both", 1, DAG_FORMAT_ANY, true), other = stage("other", 1);
	struct graph_stage *s = graph->stages[both];

	(void)state;
	graph_need_ports(graph, s, 2, 1);
	s->in_count = 2;
	s->in[1].format.kind = DAG_FORMAT_ANY;
	join(a, lines);
	join(lines, both);
	graph_add_edge(graph, other, 0, both, 1, GRAPH_BIPARTITE);
	assert_int_equal(graph_finish(graph, &diag), 0);
	assert_int_equal(s->in[1].format.kind, DAG_FORMAT_LINES);
	assert_int_equal(graph->stages[other]->out[0].format.kind, DAG_FORMAT_LINES);
}

static void test_a_format_that_was_said_holds(void **state)
{
	uint32_t in = input("in", false), a = stage("a", 4), b = stage("b", 1);

	(void)state;
	graph->stages[in]->format_said = graph->stages[a]->format_said = true;
	graph->stages[in]->out[0].format = (struct graph_format){DAG_FORMAT_FIXED, 7};
	graph_add_edge(graph, in, 0, a, 0, GRAPH_POINTWISE);
	join(a, b);
	assert_int_equal(graph_finish(graph, &diag), 0);
	expect_in(a, DAG_FORMAT_FIXED);
	assert_int_equal(graph->stages[b]->in[0].format.kind, DAG_FORMAT_LINES);
	assert_false(graph_is_as_written(graph->stages[b]->in[0].format));
}

/* Edges that partition a port alike share a stream; others have one each. */
static void test_streams_are_stored_once_where_equal(void **state)
{
	uint32_t a = stage("a", 2), b = stage("b", 3), c = stage("c", 3), d = stage("d", 2);

	(void)state;
	edge(a, b, 0, GRAPH_BIPARTITE);
	edge(a, c, 0, GRAPH_BIPARTITE);
	edge(a, d, 0, GRAPH_POINTWISE);
	assert_int_equal(graph_finish(graph, &diag), 0);
	assert_int_equal(graph->stages[a]->stream_count, 2);
	assert_int_equal(graph->edges[0]->stream, graph->edges[1]->stream);
	assert_int_equal(edge_part(graph->edges[0], 2), 2);
	assert_int_equal(edge_part(graph->edges[2], 1), 0);
}

/*
 *      +--> b --+
 *   a -+        +-> d      a diamond of pipes: one gang, and every pipe may have to stretch
 *      +--> c --+
 */
static void test_pipes_that_meet_again_are_elastic(void **state)
{
	uint32_t a = stage("a", 1), b = stage("b", 1), c = stage("c", 1), d = stage("d", 1);

	(void)state;
	edge(a, b, 0, GRAPH_POINTWISE)->channel = GRAPH_PIPE;
	edge(a, c, 0, GRAPH_POINTWISE)->channel = GRAPH_PIPE;
	edge(b, d, 0, GRAPH_POINTWISE)->channel = GRAPH_PIPE;
	edge(c, d, 1, GRAPH_POINTWISE)->channel = GRAPH_PIPE;
	assert_int_equal(graph_finish(graph, &diag), 0);
	assert_int_equal(graph->gang_count, 1);
	assert_int_equal(graph_gang_shares(graph, 0), 4);
	for (size_t i = 0; i < graph->edge_count; i++)
		assert_true(graph->edges[i]->elastic);
}

static void test_a_chain_of_pipes_is_not_elastic(void **state)
{
	uint32_t a = stage("a", 2), b = stage("b", 2);

	(void)state;
	edge(a, b, 0, GRAPH_POINTWISE)->channel = GRAPH_PIPE;
	assert_int_equal(graph_finish(graph, &diag), 0);
	assert_int_equal(graph->gang_count, 2);
	assert_false(graph->edges[0]->elastic);
}

static void test_file_inside_a_gang(void **state)
{
	uint32_t a = stage("a", 1), b = stage("b", 1);

	(void)state;
	edge(a, b, 0, GRAPH_POINTWISE)->channel = GRAPH_PIPE;
	edge(a, b, 1, GRAPH_POINTWISE)->channel = GRAPH_FILE;
	expect_error("must start together");
}

static void test_file_out_of_a_gang_and_back(void **state)
{
	uint32_t a = stage("a", 2), b = stage("b", 3), c = stage("c", 2);

	(void)state;
	edge(a, c, 0, GRAPH_POINTWISE)->channel = GRAPH_PIPE;
	edge(a, b, 0, GRAPH_BIPARTITE)->partition.kind = GRAPH_BY_ROUND_ROBIN;
	edge(b, c, 1, GRAPH_BIPARTITE)->partition.kind = GRAPH_BY_ROUND_ROBIN;
	expect_error("which waits for one of these to end");
}

/* What makes a stage's vertices run in another way: one word at a time. */
static void say_a_word(struct graph_stage *s, uint32_t word)
{
	static const char *one[] = {"a"}, *two[] = {"a", "b"}, *glued[] = {"ab"};
	static struct graph_pair pairs[] = {{"n", "v"}, {"n", "w"}};
	static int32_t codes[] = {0, 1};

	s->argv = one;
	s->argc = 1;
	switch (word) {
	case 0:
		s->argv = two;
		s->argc = 2;
		break;
	case 1:
		s->argv = glued;
		break;
	case 2:
		s->env = pairs;
		s->env_count = 1;
		break;
	case 3:
		s->env = pairs + 1;
		s->env_count = 1;
		break;
	case 4:
		s->files = s->file_names = one;
		s->file_count = 1;
		break;
	case 5:
		s->timeout = 1;
		break;
	case 6:
		s->memory = 1;
		break;
	case 7:
		s->cpu_shares = 1;
		break;
	case 8:
		s->isolate = true;
		break;
	case 9:
		s->exit_ok = codes;
		s->exit_ok_count = 2;
		break;
	case 10:
		s->params = pairs;
		s->param_count = 1;
		break;
	default:
		break;
	}
}

static void test_stages_that_run_alike(void **state)
{
	enum { WORDS = 11 };
	uint32_t others[WORDS], first = stage("first", 3), second = stage("second", 5), reads, writes;

	(void)state;
	say_a_word(graph->stages[first], UINT32_MAX);
	say_a_word(graph->stages[second], UINT32_MAX);
	for (uint32_t w = 0; w < WORDS; w++) {
		char name[8];

		snprintf(name, sizeof(name), "s%u", w);
		others[w] = stage(name, 3);
		say_a_word(graph->stages[others[w]], w);
	}
	writes = stage("writes", 3);
	reads = stage("reads", 3);
	say_a_word(graph->stages[writes], UINT32_MAX);
	say_a_word(graph->stages[reads], UINT32_MAX);
	edge(writes, reads, 0, GRAPH_POINTWISE);
	assert_int_equal(graph_finish(graph, &diag), 0);
	assert_int_equal(graph->stages[second]->like, first); /* names and widths are each one's own */
	for (uint32_t w = 0; w < WORDS; w++)
		assert_int_equal(graph->stages[others[w]]->like, others[w]);
	assert_int_equal(graph->stages[writes]->like, writes);
	assert_int_equal(graph->stages[reads]->like, reads);
}

static void test_dot_quotes_names(void **state)
{
	struct buffer text = {0};

	(void)state;
	stage("a\"b", 1);
	assert_int_equal(graph_finish(graph, &diag), 0);
	graph_write_dot(graph, &text);
	buffer_append(&text, "", 1);
	assert_non_null(strstr((char *)text.data, "a\\\"b"));
	buffer_fini(&text);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {T(test_patterns_are_their_own_inverse), T(test_list_pattern),
		T(test_widths_come_from_pointwise_neighbours), T(test_widths_that_do_not_divide),
		T(test_cycle), T(test_two_writers), T(test_streams_are_stored_once_where_equal),
		T(test_pipes_that_meet_again_are_elastic), T(test_a_chain_of_pipes_is_not_elastic),
		T(test_file_inside_a_gang), T(test_file_out_of_a_gang_and_back),
		T(test_what_nobody_needs_as_records_is_bytes), T(test_one_who_needs_records_makes_lines),
		T(test_the_need_for_records_spreads), T(test_records_on_one_port_are_records_on_all),
		T(test_a_format_that_was_said_holds), T(test_stages_that_run_alike),
		T(test_dot_quotes_names)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
