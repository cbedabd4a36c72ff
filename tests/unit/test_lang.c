/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"
#include "base/buffer.h"
#include "lang/flow.h"
#include "lang/graph_file.h"

static struct graph *parse(const char *text, struct dag_diag *diag)
{
	struct graph_file_param param = {"given", "a/b"};
	struct graph_file_options options = {.params = &param, .param_count = strstr(text, "given") ? 1 : 0};
	struct graph *graph = NULL;

	graph_file_parse("/x/g.yaml", text, strlen(text), &options, &graph, diag);
	return graph;
}

/* One error, at this place, with these words. */
static void expect(const char *text, int line, int column, const char *words)
{
	struct dag_diag diag = {0};

	assert_null(parse(text, &diag));
	assert_true(diag.count >= 1);
	if (diag.items[0].line != line || diag.items[0].column != column ||
		!strstr(diag.items[0].text, words))
		fail_msg("wanted %d:%d '%s', got %d:%d '%s'", line, column, words, diag.items[0].line,
			diag.items[0].column, diag.items[0].text);
	dag_diag_fini(&diag);
}

static void test_errors_have_their_place(void **state)
{
	(void)state;
	expect("", 0, 0, "is empty");
	expect("- a\n", 1, 1, "must be a map");
	expect("stages:\n  a: {sh: x, with: 3}\n", 2, 14, "did you mean 'width'");
	expect("stages:\n  9a: {sh: x}\n", 2, 3, "is no name");
	expect("stages:\n  a: {sh: x, cpus: lots}\n", 2, 20, "cpus must be");
	expect("stages:\n  a: {sh: x, memory: 5 bananas}\n", 2, 22, "must be a size");
	expect("stages:\n  a: {sh: x, isolate: yes}\n", 2, 23, "true or false");
	expect("stages:\n  a: {sh: x, program: [y]}\n", 2, 3, "exactly one of");
	expect("stages:\n  a: {program: []}\n", 2, 16, "empty list");
	expect("stages:\n  a: {sh: '{in.99}'}\n", 2, 11, "at most 16 ports");
	expect("stages:\n  a: {sh: '${x'}\n", 2, 11, "without its '}'");
	expect("stages:\n  a: {sh: x, format: xml}\n", 2, 22, "format must be");
	expect("stages:\n  a: {sh: x}\nflow:\n  - a > a\n", 4, 7, "expected '>=', '>>' or '||'");
	expect("stages:\n  a: {sh: x}\nflow:\n  - {from: a}\n", 4, 5, "has no 'to'");
	expect("stages:\n  a: {sh: x}\n  b: {sh: x, width: 2}\nflow:\n  - {from: a, to: b, pattern: '>>', "
	       "partition: {by: hahs}}\n",
		5, 53, "did you mean 'hash'");
	expect("stages:\n  a: {sh: x}\noutputs:\n  a: {}\n", 4, 3, "has no file");
	expect("stages:\n  a: {sh: x}\noutputs:\n  zed: {file: x}\n", 4, 3, "unknown stage");
}

static void test_ports_are_given_out_in_the_order_of_the_flow(void **state)
{
	struct dag_diag diag = {0};
	struct graph *g = parse("stages: {a: {sh: x}, b: {sh: x}, c: {sh: x}, d: {sh: 'x {in.1} {in.2}'}}\n"
				"flow: [a >= d, b >= d.1, c >= d]\n",
		&diag);

	(void)state;
	assert_non_null(g);
	assert_int_equal(g->edges[0]->to_port, 0);
	assert_int_equal(g->edges[1]->to_port, 1);
	assert_int_equal(g->edges[2]->to_port, 2);
	graph_destroy(&g);
}

static void test_union_makes_one_stage_of_one_name(void **state)
{
	struct dag_diag diag = {0};
	struct graph *g =
		parse("stages: {a: {sh: x}, b: {sh: x}, c: {sh: x}}\nflow: ['a^3 >= b || a >= c']\n", &diag);

	(void)state;
	assert_non_null(g);
	assert_int_equal(g->stage_count, 3);
	assert_int_equal(g->stages[2]->width, 3);
	graph_destroy(&g);
}

static void test_widths_of_every_form(void **state)
{
	struct dag_diag diag = {0};
	struct graph *g = parse("stages:\n"
				"  a: {sh: x, width: 3}\n"
				"  b: {sh: x, width: {per: 1MiB, of: data, most: 7}}\n"
				"  c: {sh: x, width: {per: 1MiB, of: data}}\n"
				"  d: {sh: x, width: open}\n"
				"  e: {sh: x, width: {open: 5}}\n"
				"flow:\n"
				"  - {from: a, to: b, pattern: '>>', partition: {by: part}}\n"
				"  - {from: a, to: c, pattern: '>>', partition: {by: part}}\n",
		&diag);

	(void)state;
	if (!g)
		fail_msg("%s", diag.items[0].text);
	assert_int_equal(g->stages[0]->width, 3);
	assert_true(g->stages[1]->width == 7 && g->stages[1]->width_by_data);
	assert_true(g->stages[2]->width == GRAPH_RUNNING_WIDTH_MAX && g->stages[2]->width_by_data);
	assert_true(g->stages[3]->width == GRAPH_OPEN_MOST && g->stages[3]->open);
	assert_true(g->stages[4]->width == 5 && g->stages[4]->open);
	graph_destroy(&g);
	expect("stages:\n  a: {sh: x, width: {of: data}}\n", 2, 21, "needs a 'per'");
	expect("stages:\n  a: {sh: x, width: {per: 1MiB, most: 3}}\n", 2, 39, "most goes with");
	expect("stages:\n  a: {sh: x, width: {open: none}}\n", 2, 28, "must be a whole number");
}

/* Paths of the file are relative to it; paths that -p gave, to the working folder; $${ is a dollar, and {{ a
 * brace (which words.h has doubled before what would be a word). */
static void test_parameters_and_paths(void **state)
{
	struct dag_diag diag = {0};
	struct graph *g =
		parse("params: {given: {}, own: out}\n"
		      "stages: {a: {sh: 'echo $${HOME} $PATH ${own} {out.1} {{{width}} {{index}} {{}}'}}\n"
		      "outputs: {a: {file: '${own}/o'}, a.1: {file: '${given}/o'}}\n",
			&diag);
	char cwd[512], *want;

	(void)state;
	assert_non_null(g);
	assert_string_equal(g->stages[0]->argv[2], "echo ${HOME} $PATH out {out.1} {{{width}} {{index} {}");
	assert_string_equal(g->outputs[0].path, "/x/out/o");
	want = base_format("%s/a/b/o", getcwd(cwd, sizeof(cwd)));
	assert_string_equal(g->outputs[1].path, want);
	free(want);
	graph_destroy(&g);
}

static void test_aliases_and_merge_keys(void **state)
{
	struct dag_diag diag = {0};
	struct graph *g = parse("x-base: &base {retries: 7, memory: 1MiB, timeout: 3s}\n"
				"x-more: &more {memory: 2MiB, cpus: 2}\n"
				"stages:\n"
				"  a: &a {sh: x, <<: *base, retries: 1}\n"
				"  b: {<<: [*more, *base], sh: y}\n"
				"  c: *a\n"
				"  d: {program: [cat, &word text, *word], '<<': *base}\n",
		&diag);

	(void)state;
	assert_null(g); /* quoted, it is a key as any other */
	assert_non_null(strstr(diag.items[0].text, "unknown key '<<'"));
	dag_diag_fini(&diag);
	g = parse("x-base: &base {retries: 7, memory: 1MiB, timeout: 3s}\n"
		  "x-more: &more {memory: 2MiB, cpus: 2}\n"
		  "stages:\n"
		  "  a: &a {sh: x, <<: *base, retries: 1}\n"
		  "  b: {<<: [*more, *base], sh: y}\n"
		  "  c: *a\n"
		  "  d: {program: [cat, &word text, *word]}\n",
		&diag);
	if (!g)
		fail_msg("%s", diag.items[0].text);
	assert_true(g->stages[0]->retries == 1 && g->stages[0]->memory == 1 << 20);
	assert_true(g->stages[1]->retries == 7 && g->stages[1]->memory == 2 << 20 &&
		    g->stages[1]->cpu_shares == 32);
	assert_true(g->stages[2]->retries == 1 && g->stages[2]->timeout == 3 * DAG_SECOND);
	assert_string_equal(g->stages[3]->argv[2], "text");
	graph_destroy(&g);
	expect("stages:\n  a: {sh: *x}\n", 2, 11, "there is no '&x' before");
	expect("stages:\n  a: &x {sh: *x}\n", 2, 14, "stands inside of what it names");
	expect("stages:\n  a: {sh: x, <<: y}\n", 2, 18, "takes a map");
	expect("stages:\n  a: {sh: x}\n\tb: {sh: y}\n", 3, 1, "a tab cannot indent");
	expect("stages:\n  a: {sh: awk -F, '{print $1}'}\n", 2, 19, "a comma ends a text");
}

/* A few lines that would be 10^9 parts, or nested without end. */
static void test_aliases_are_bounded(void **state)
{
	struct buffer b = {0};

	(void)state;
	buffer_format(&b, "x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 10; i++) {
		buffer_format(&b, "x-%d: &a%d [", i, i);
		for (int j = 0; j < 10; j++)
			buffer_format(&b, "*a%d%s", i - 1, j < 9 ? ", " : "]\n");
	}
	buffer_append(&b, "", 1);
	expect((char *)b.data, 8, 16, "too many parts, with those that aliases name");
	b.len = 0;
	buffer_format(&b, "x-0: &a0 [x]\n");
	for (int i = 1; i < 70; i++)
		buffer_format(&b, "x-%d: &a%d [*a%d]\n", i, i, i - 1);
	buffer_append(&b, "", 1);
	expect((char *)b.data, 65, 13, "nested too deep");
	buffer_fini(&b);
}

static void test_flow_text(void **state)
{
	struct arena arena = {0};
	struct flow flow = {0};
	char *error = NULL;
	int column;

	(void)state;
	assert_int_equal(flow_parse(" a.1>=b.2 >> c^4||d ", &arena, &flow, &error, &column), 0);
	assert_int_equal(flow.joint_count, 2);
	assert_int_equal(flow.end_count, 4);
	assert_int_equal(flow.joints[0].from.out_port, 1);
	assert_int_equal(flow.joints[0].to.in_port, 2);
	assert_int_equal(flow.joints[1].from.out_port, FLOW_PORT_NEXT);
	assert_true(flow.joints[1].complete && !flow.joints[0].complete);
	assert_int_equal(flow.joints[1].to.clones, 4);
	flow_fini(&flow);
	assert_int_equal(flow_parse("a >= ", &arena, &flow, &error, &column), DAG_EINVAL);
	assert_int_equal(column, 5);
	free(error);
	flow_fini(&flow);
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_errors_have_their_place),
		cmocka_unit_test(test_ports_are_given_out_in_the_order_of_the_flow),
		cmocka_unit_test(test_union_makes_one_stage_of_one_name),
		cmocka_unit_test(test_widths_of_every_form), cmocka_unit_test(test_parameters_and_paths),
		cmocka_unit_test(test_flow_text), cmocka_unit_test(test_aliases_and_merge_keys),
		cmocka_unit_test(test_aliases_are_bounded)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
