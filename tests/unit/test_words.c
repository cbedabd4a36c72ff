/* SPDX-License-Identifier: Apache-2.0 */
/* Words in braces and paths of the graph file: what they become, what is refused, what is left alone. */
#include "unit.h"
#include "base/buffer.h"
#include "graph/words.h"
#include "lang/graph_file.h"

static struct graph *parse(const char *text, const char *value, struct dag_diag *diag)
{
	struct graph_file_param param = {"p", value};
	struct graph_file_options options = {.params = &param, .param_count = value ? 1 : 0};
	struct graph *graph = NULL;

	graph_file_parse("/x/g.yaml", text, strlen(text), &options, &graph, diag);
	return graph;
}

/* What a program would get as this text, in a vertex 3 of 7, with `<in.0>` and its like for ports. */
static char *expand(const char *text)
{
	struct buffer b = {0};
	struct word w;
	char *result;

	while (*text) {
		text += words_next(text, &w);
		if (w.kind == WORD_TEXT)
			buffer_append(&b, w.text, w.len);
		else if (w.kind == WORD_INDEX || w.kind == WORD_WIDTH)
			buffer_format(&b, "%d", w.kind == WORD_INDEX ? 3 : 7);
		else
			buffer_format(&b, "<%s.%u%s>", w.kind == WORD_IN ? "in" : "out", w.port,
				w.each   ? ".*"
				: w.file ? ":file"
				: w.list ? ".list"
					 : "");
	}
	buffer_append(&b, "", 1);
	result = base_strdup((char *)b.data);
	buffer_fini(&b);
	return result;
}

/* `script` stands in `sh`, and may have ${p}. */
static void becomes(const char *script, const char *value, const char *want)
{
	char *text = base_format("params: {p: {default: x}}\n%sstages:\n  a:\n    sh: |\n      %s",
		strstr(script, "{out.4}") ? "outputs: {a.4: {file: x}}\n" : "", script);
	struct dag_diag diag = {0};
	struct graph *g = parse(text, value, &diag);
	char *got;

	if (!g)
		fail_msg("%s: %s", script, diag.items[0].text);
	got = expand(g->stages[0]->argv[g->stages[0]->argc - 1]);
	assert_string_equal(got, want);
	free(got);
	free(text);
	graph_destroy(&g);
}

static void refused(const char *text, int line, int column, const char *words)
{
	struct dag_diag diag = {0};

	if (parse(text, NULL, &diag))
		fail_msg("accepted: %s", text);
	if (diag.items[0].line != line || diag.items[0].column != column ||
		!strstr(diag.items[0].text, words))
		fail_msg("wanted %d:%d '%s', got %d:%d '%s'", line, column, words, diag.items[0].line,
			diag.items[0].column, diag.items[0].text);
	assert_int_equal(diag.count, 1);
	dag_diag_fini(&diag);
}

static void refused_script(const char *script, int column, const char *words)
{
	char *text = base_format("stages:\n  a:\n    sh: |\n      true\n      %s\n", script);

	refused(text, 5, 7 + column, words);
	free(text);
}

static void test_braces_of_shells_are_left_alone(void **state)
{
	static const char *const texts[] = {"awk '{print $1}'", "awk '{ print }'", "find . -exec wc {} +",
		"echo {1..5} {a..e} {a,b} {in,out}", "grep -E 'a{2}b{2,3}c{2,}'", "echo '{\"a\":{\"b\":1}}'",
		"awk '{for (i = 1; i <= NF; i++) {print $i}}'", "f() { echo x; }", "{ echo a; } >x",
		"awk '{n++}'", "awk '{s+=$1}END{print s}'", "sed 's/}}/{/'", "{", "}", "{$",
		"xargs -I{} rm {}"};

	(void)state;
	for (size_t i = 0; i < DAG_LENGTH(texts); i++)
		becomes(texts[i], NULL, texts[i]);
	becomes("echo $${x} $${index} $${x:-{}}", NULL, "echo ${x} ${index} ${x:-{}}");
}

static void test_known_words(void **state)
{
	char *text;

	(void)state;
	becomes("{index}{width}x{out.4}{", NULL, "37x<out.4>{");
	text = expand("{in.0}{in.1.*}{in.2:file}{in.3.list}{{in.0}}{in.16}{in.0.x}");
	assert_string_equal(text, "<in.0><in.1.*><in.2:file><in.3.list>{in.0}}{in.16}{in.0.x}");
	free(text);
}

static void test_doubled_braces_stand_for_themselves(void **state)
{
	(void)state;
	becomes("jq '{{width}}' {{index}} {{in.0}} {{name}}", NULL, "jq '{width}' {index} {in.0} {name}");
	becomes("{{{index}}}", NULL, "{3}");
	becomes("awk '{{print $1}}'", NULL, "awk '{print $1}'");
	becomes("awk '{if (x) {{print}}}'", NULL, "awk '{if (x) {print}}'");
	becomes("{{{{index}}}}", NULL, "{{index}}");
	becomes("{{}}", NULL, "{}");
}

static void test_values_of_parameters_are_never_expanded(void **state)
{
	(void)state;
	becomes("${p}", "{index} ${p} {{width}} {in.0} }}{", "{index} ${p} {{width}} {in.0} }}{");
	becomes("{${p}}", "index", "{index}");
	becomes("${p}index}", "{", "{index}");
	becomes("{{${p}index}}", "{", "{{index}");
	becomes("${p}{index}", "{", "{3");
	refused("params: {p: 0}\nstages: {a: {sh: 'cat {in.${p}}'}}\n", 2, 18,
		"a parameter cannot stand within a word");
}

static void test_unknown_words_are_errors(void **state)
{
	(void)state;
	refused_script("cat {in.0:fil}", 4, "'{in.0:fil}'; did you mean {in.0:file}?");
	refused_script("cat {in.3:fil}", 4, "did you mean {in.3:file}?");
	refused_script("cp a {out.0:file}", 5, "did you mean {out.0}?");
	refused_script("echo {index:03}", 5, "did you mean {index}?");
	refused_script("echo {index+1}", 5, "unknown word '{index+1}'");
	refused_script("echo {indx}", 5, "did you mean {index}?");
	refused_script("cat {in.x}", 4, "did you mean {in.0}?");
	refused_script("cat {in.0 }", 4, "did you mean {in.0}?");
	refused_script("cat {in.0*}", 4, "did you mean {in.0");
	refused_script("cat {in[0]}", 4, "unknown word");
	refused_script("cat {in.-1}", 4, "unknown word");
	refused_script("cat {in.00}", 4, "did you mean {in.0}?");
	refused_script("cat {in}", 4, "unknown word");
	refused_script("cat {in.16}", 4, "port 16: a stage has at most 16 ports a side");
	refused_script("cat {name}.txt", 4, "to mean the text itself write {{name}}");
	refused_script("awk '/x/{print}'", 8, "write {{print}}");
	refused("stages:\n  a: {program: [cat, '{input}']}\n", 2, 22, "unknown word '{input}'");
	refused("stages:\n  a: {sh: x, env: {A: '{out.0:file}'}}\n", 2, 23, "did you mean {out.0}?");
}

static void test_outputs_know_the_index_alone(void **state)
{
	struct dag_diag diag = {0};
	struct graph *g = parse("stages: {a: {sh: x, width: 2}, b: {sh: x}}\noutputs:\n"
				"  a: {file: '{{index}}/o{index}.txt'}\n  b: {file: 'o{{index}}'}\n",
		NULL, &diag);
	char *path;

	(void)state;
	assert_non_null(g);
	assert_true(g->outputs[0].per_vertex && !g->outputs[1].per_vertex);
	path = graph_output_path(&g->outputs[0], 1);
	assert_string_equal(path, "/x/{index}/o1.txt");
	assert_string_equal(g->outputs[1].path, "/x/o{index}");
	free(path);
	graph_destroy(&g);
	refused("stages: {a: {sh: x}}\noutputs:\n  a: {file: 'out/{name}.up'}\n", 3, 13,
		"'{name}' in the name of an output: there is {index} alone");
	refused("stages: {a: {sh: x}}\noutputs:\n  a: {file: 'o{index:03}.up'}\n", 3, 13,
		"did you mean {index}?");
	refused("stages: {a: {sh: x}}\noutputs:\n  a: {file: 'o{width}'}\n", 3, 13, "'{width}'");
	refused("stages: {a: {sh: x}}\noutputs:\n  a: {file: 'o{0}'}\n", 3, 13, "'{0}'");
	refused("stages: {a: {sh: x}}\noutputs:\n  a: {file: '{index}/x'}\n", 3, 13, "that of its folder");
	refused("stages: {a: {sh: x}}\noutputs:\n  a: {file: '{index}.{index}'}\n", 3, 13, "once");
}

static void test_paths(void **state)
{
	struct dag_diag diag = {0};
	struct graph *g;
	char *old = getenv("HOME") ? base_strdup(getenv("HOME")) : NULL;

	(void)state;
	setenv("HOME", "/home/ann", 1);
	g = parse("params: {p: {default: x}}\nstages: {a: {sh: x}, b: {sh: x}}\n"
		  "outputs: {a: {file: '~/y/o.txt'}, b: {file: 'd/${p}'}}\n",
		"a$b", &diag);
	assert_non_null(g);
	assert_string_equal(g->outputs[0].path, "/home/ann/y/o.txt");
	assert_string_equal(g->outputs[1].path, "/x/d/a$b");
	graph_destroy(&g);
	refused("stages: {a: {sh: x}}\noutputs:\n  a: {file: $HOME/o}\n", 3, 13, "'$HOME'");
	refused("stages: {a: {sh: x}}\noutputs:\n  a: {file: $HOME/o}\n", 3, 13, "${HOME}");
	refused("params: {dir: d}\nstages: {a: {sh: x}}\noutputs:\n  a: {file: '${dir}/$dir/o'}\n", 4, 13,
		"${dir} is a parameter of this graph");
	refused("inputs: {i: {files: '$HOME/x'}}\nstages: {a: {sh: x}}\n", 1, 21, "'$HOME'");
	refused("stages: {a: {program: [$TOOL/x]}}\n", 1, 24, "'$TOOL'");
	refused("stages: {a: {sh: x, files: [$D/x]}}\n", 1, 29, "'$D'");
	refused("stages: {a: {sh: x}}\noutputs:\n  a: {file: ~bob/o}\n", 3, 13, "write './~bob/o'");
	if (old)
		setenv("HOME", old, 1);
	free(old);
}

static void test_ports_that_nobody_serves(void **state)
{
	struct dag_diag diag = {0};
	struct graph *g = parse("stages: {a: {sh: x}, b: {sh: x}, s: {program: [diff, '{in.0}', '{in.1}']}}\n"
				"flow: [a >> s, b >> s]\n",
		NULL, &diag);

	(void)state;
	assert_non_null(g);
	graph_destroy(&g);
	refused("stages: {a: {sh: x}, b: {sh: x}, s: {program: [wc]}}\nflow:\n  - a >= s || b >= s\n", 3, 20,
		"Name {in.1} in it, or join its inputs before it in a stage {use: cat}");
	refused("stages: {a: {sh: x}, b: {sh: x}, s: {bash: wc}}\nflow:\n  - a >> s\n  - b >> s\n", 4, 10,
		"names no {in.1}");
	refused("stages: {a: {sh: x}, s: {sh: 'wc {in.0}'}}\nflow:\n  - a >> s.1\n", 3, 10,
		"names no {in.1}");
	refused("stages: {a: {sh: x}, s: {sh: wc}}\nflow:\n  - a.2 >> s\n", 3, 12, "names no {out.2}");
	refused("stages: {a: {sh: 'x {out.0}'}}\noutputs:\n  a.1: {file: o}\n", 3, 3, "names no {out.1}");
}

static void test_scripts_of_shells_are_found(void **state)
{
	const char *const sh[] = {"/bin/sh", "-ec", "x"},
			  *const bash[] = {"bash", "-euo", "pipefail", "-c", "x"},
			  *const file[] = {"sh", "script.sh", "-c", "x"}, *const awk[] = {"awk", "-c", "x"};

	(void)state;
	assert_int_equal(words_script(sh, 3), 2);
	assert_int_equal(words_script(bash, 5), 4);
	assert_int_equal(words_script(file, 4), 4);
	assert_int_equal(words_script(awk, 3), 3);
	assert_int_equal(words_script(NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_braces_of_shells_are_left_alone),
		cmocka_unit_test(test_known_words),
		cmocka_unit_test(test_doubled_braces_stand_for_themselves),
		cmocka_unit_test(test_values_of_parameters_are_never_expanded),
		cmocka_unit_test(test_unknown_words_are_errors),
		cmocka_unit_test(test_outputs_know_the_index_alone), cmocka_unit_test(test_paths),
		cmocka_unit_test(test_ports_that_nobody_serves),
		cmocka_unit_test(test_scripts_of_shells_are_found)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
