# SPDX-License-Identifier: Apache-2.0
"""Numbers in the standard vertices beside coreutils and Python's exact ones; and what is wrong with parameters, said when the graph is
loaded."""
import collections
import fractions
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *


def graph(case, stages, flow="t >= s", files="a.txt", more=""):
    case.write("g.yaml", f"inputs: {{t: {{files: {files}}}{more}}}\nstages: {{{stages}}}\nflow: [{flow}]\noutputs: {{s: {{file: out.txt}}}}\n")


def use(case, vertex, params, rc=0, flow="t >= s", more="", **words):
    graph(case, f"s: {{use: {vertex}, params: {{{params}}}{''.join(f', {k}: {v}' for k, v in words.items())}}}", flow, more=more)
    r = case.dagrun("run", "g.yaml", rc=rc)
    return case.read("out.txt") if rc == 0 else r.stderr


def spelt(draw):
    """A number as people and programs write it."""
    digits = "".join(draw.choice("0123456789") for _ in range(draw.choice((1, 2, 5, 15, 16, 17, 18, 19, 20, 38, 60))))
    if draw.random() < .5:
        digits = draw.choice(("1", "9007199254740992", "123456789012345678")) + digits[:2]
    at = draw.randrange(len(digits) + 1)
    text = draw.choice((digits, digits, digits[:at] + "." + digits[at:], "000" + digits, "0." + "0" * draw.randrange(40) + digits, digits + ".000"))
    return draw.choice(("", "", "-")) + text


def write_numbers(case, lines, seed, blanks=True):
    draw = random.Random(seed)
    pool = [spelt(draw) for _ in range(lines // 3)]
    rows = [(draw.choice(("", "", " ", "\t ")) if blanks else "") + draw.choice(pool) for _ in range(lines)]
    case.write("a.txt", "\n".join(rows) + "\n")
    return rows


@test
def order_is_that_of_sort_n(case):
    for seed, lines in ((1, 200), (2, 5000), (3, 60000)):
        write_numbers(case, lines, seed)
        up, down = case.shell("sort -s -n a.txt"), case.shell("sort -s -nr a.txt")
        check(use(case, "sort", "type: number") == up, "sort")
        check(use(case, "sort", "type: number, memory: 256KiB") == up, "sort with runs on disk")
        check(use(case, "sort", "type: number, order: desc") == down, "the order turned round")
        check(use(case, "top", "type: number, n: 100") == b"".join(down.splitlines(True)[:100]), "top")
        check(use(case, "top", "type: number, n: 100, order: asc") == b"".join(up.splitlines(True)[:100]), "top from the smallest")
        for order, want in (("asc", up), ("desc", down)):
            by = f"type: number, order: {order}"
            check(use(case, "sort", by, width=5, flow=f"{{from: t, to: s, pattern: '>>', partition: {{by: range, {by}}}}}") == want, f"by ranges, {order}")


@test
def order_of_general_numbers_is_that_of_sort_g(case):
    draw = random.Random(4)
    words = ["inf", "-inf", "nan", "Infinity", "0x1p3", "0x1.8p-2", "-0x10", "1e3", "1E3", "+5", "-0", "0", "1e-400", "-1e-400", "1e4000", "1e-4940",
             "3e-4945", "2.5e10", ".5e1", "1e99999", "-1e99999"]
    rows = [draw.choice(words) if draw.random() < .5 else f"{draw.uniform(-1, 1) * 10 ** draw.randrange(-300, 300)}" for _ in range(4000)]
    rows += [str(9223372036854775807 - i // 2) for i in range(100)]
    draw.shuffle(rows)
    case.write("a.txt", "\n".join(rows) + "\n")
    up, down = case.shell("sort -s -g a.txt"), case.shell("sort -s -gr a.txt")
    check(use(case, "sort", "type: general") == up, "sort")
    check(use(case, "sort", "type: general, order: desc") == down, "the order turned round")
    check(use(case, "sort", "type: general", width=4, flow="{from: t, to: s, pattern: '>>', partition: {by: range, type: general}}") == up, "by ranges")
    check(use(case, "top", "type: general, n: 50") == b"".join(down.splitlines(True)[:50]), "top")


def written(x):
    digits = 0
    while (x * 10 ** digits).denominator != 1:
        digits += 1
    text = str(abs(x * 10 ** digits).numerator).rjust(digits + 1, "0")
    return ("-" if x < 0 else "") + text[:len(text) - digits] + ("." + text[len(text) - digits:] if digits else "")


@test
def sums_are_exact(case):
    draw = random.Random(6)
    rows, sums = [], collections.defaultdict(fractions.Fraction)
    for i in range(20000):
        key, kind = f"k{draw.randrange(300)}", draw.randrange(4)
        text = (str(draw.randrange(-10 ** 6, 10 ** 6)) if kind == 0 else f"{draw.uniform(-100, 100):.{draw.randrange(17)}f}" if kind == 1 else
                spelt(draw) if key < "k2" else "9223372036854775807")
        rows.append(f"{key} {text}")
        sums[key] += fractions.Fraction(text)
    case.write("a.txt", "\n".join(rows) + "\n")
    got = dict(line.split("\t") for line in use(case, "sum", "key: 1, value: 2").decode().splitlines())
    check(got == {k: written(x) for k, x in sums.items()}, [(k, got.get(k), written(x)) for k, x in sums.items() if got.get(k) != written(x)][:3])
    for values, total in ((("0.1", "0.2"), "0.3"), (("1.50", "1.5"), "3"), (("-0", "0.0"), "0"), (("5", "-5.0"), "0"),
                          (("170141183460469231731687303715884105727", "1"), "170141183460469231731687303715884105728"),
                          (("9223372036854775807", "1", "-9223372036854775809"), "-1"),
                          (("-9223372036854775808", "-1"), "-9223372036854775809"), (("1" + "0" * 50, "-0." + "0" * 50 + "1"), "9" * 50 + "." + "9" * 51)):
        case.write("a.txt", "".join(f"k {v}\n" for v in values))
        check(use(case, "sum", "key: 1, value: 2") == f"k\t{total}\n".encode(), [values, total, case.read("out.txt")])
    case.write("a.txt", "k 1e3\nk .5\nk 0x10\n")
    check(use(case, "sum", "key: 1, value: 2, type: general") == b"k\t1016.5\n", "general numbers")
    case.write("a.txt", "k 9007199254740993\nk +9007199254740993\nj inf\nj -inf\n")
    check(use(case, "sum", "key: 1, value: 2, type: general") == b"k\t18014398509481986\nj\tnan\n", "whole numbers of many digits")


@test
def what_is_no_number_is_named_skipped_or_zero(case):
    for junk in ("1,000", "12abc", "abc", "$5", "+5", "1e3", "0x10", "inf", "1.2.3", "--1", "-", ".", "1_0"):
        case.write("a.txt", f"k 7\nk {junk}\nk 1\n")
        err = use(case, "sum", "key: 1, value: 2", rc=1)
        check(f"record 2 of input port 0: '{junk}' in field 2 is no number".encode() in err and b"invalid: skip" in err and b"s[0]" in err, err)
        check(b"(record 2 of " in err and b"a.txt)" in err, err)
        check((b"type: general" in err) == (junk in ("+5", "1e3", "0x10", "inf")), err)
        for vertex in ("sort", "top", "merge", "distinct", "count", "check") if junk == "12abc" else ("sort",):
            err = use(case, vertex, "key: 2, type: number", rc=1)
            check(f"record 2 of input port 0: '{junk}' in field 2 is no number".encode() in err, [vertex, err])
        check(use(case, "sum", "key: 1, value: 2, invalid: skip") == b"k\t8\n", "skipped")
        check(use(case, "sum", "key: 1, value: 2, invalid: zero") == b"k\t8\n", "zero")
        check(use(case, "sort", "key: 2, type: number, invalid: skip") == b"k 1\nk 7\n", "skipped in a sort")
        check(use(case, "sort", "key: 2, type: number, invalid: zero") == f"k {junk}\nk 1\nk 7\n".encode(), "zero in a sort")
    case.write("a.txt", "k 1\nk\n")
    check(b"record 2 of input port 0: nothing in field 2 is no number" in use(case, "sum", "key: 1, value: 2", rc=1), "no field")
    case.write("a.txt", b"k 1\nk \xff\x1b[31m" + b"x" * 100 + b"\n")
    err = use(case, "sum", "key: 1, value: 2", rc=1)
    check(b"'\\xff\\x1b[31m" in err and b"x" * 30 in err and b"x" * 80 not in err, err)
    case.write("a.txt", b"k,1\r\nk,2\r\n")
    check(use(case, "sum", "key: 1, value: 2, delimiter: ','") == b"k\t3\n", "lines of Windows")
    by = "key: 2, type: number"
    case.write("a.txt", "".join(f"k {i % 7 if i != 500 else 'x'}\n" for i in range(1000)))
    flow = "{from: t, to: s, pattern: '>>', partition: {by: range, " + by + "}}"
    err = use(case, "sort", by, rc=1, width=3, flow=flow)
    check(b"s:range[0]" in err and b"record 501 of input port 0: 'x' in field 2 is no number" in err, err)
    skip = flow.replace("type: number", "type: number, invalid: skip")
    check(use(case, "sort", by, width=3, flow=skip).count(b"\n") == 999, "skipped by a range partition")


@test
def both_methods_of_join_agree_on_numbers(case):
    draw = random.Random(8)
    spellings = ["1", "01", "1.0", " 1", "-0", "0", "0.50", ".5", "9007199254740993", "9007199254740992", "9007199254740993.0", "7", "-7", "-7.00"]
    for side, rows in (("a", 300), ("b", 60)):
        case.write(f"{side}.txt", "".join(f"{draw.choice(spellings)},{side}{i}\n" for i in range(rows)))
    number = lambda row: fractions.Fraction(row.split(",")[0].strip())
    left, right = ([*sorted(case.read(f"{side}.txt").decode().splitlines(), key=number)] for side in "ab")
    want = [f"{written(number(x))}\t{x}\t{y}" for x in left for y in right if number(x) == number(y)]
    got = {}
    for method in ("hash", "merge"):
        case.write("j.yaml", f"""
inputs: {{a: {{files: a.txt}}, b: {{files: b.txt}}}}
stages:
  l: {{use: sort, params: {{key: 1, delimiter: ",", type: number}}}}
  r: {{use: sort, params: {{key: 1, delimiter: ",", type: number}}}}
  s: {{use: join, params: {{key: 1, delimiter: ",", type: number, method: {method}}}}}
flow: [a >= l >= s.0, b >= r >= s.1]
outputs: {{s: {{file: out.txt}}}}
""")
        case.dagrun("run", "j.yaml")
        got[method] = case.read("out.txt").decode().splitlines()
    check(got["merge"] == want, "merge")
    check(got["hash"] == want, "hash")
    case.write("a.txt", "1 x\n1.0 y\n01 z\n2 w\n")
    check(use(case, "distinct", "key: 1, type: number") == b"1 x\n2 w\n", "distinct")
    check(use(case, "count", "key: 1, type: number") == b"1\t3\n2\t1\n", "count")


REFUSED = {
    "grep, params: {}": "grep needs a pattern",
    "grep, params: {pattern: 'a('}": "pattern 'a(', at 2",
    "grep, params: {pattern: '[z-a]'}": "pattern '[z-a]', at",
    "cut, params: {fields: '1-2'}": "'1-2' is not a list",
    "cut, params: {fields: '3-1'}": "'3-1' is not a list",
    "cut, params: {fields: '0'}": "from 1 to",
    "cut, params: {fields: ''}": "is not a list",
    "cut, params: {fields: '1,'}": "is not a list",
    "cut, params: {fields: '1,,2'}": "is not a list",
    "cut, params: {fields: '99999999999999999999'}": "from 1 to",
    "cut, params: {delimiter: ';;'}": "has 2 bytes",
    "cut, params: {delimiter: 'é'}": "has 2 bytes",
    "sort, params: {delimiter: 'tabs'}": "has 4 bytes",
    "sort, params: {from: 4, to: 3}": "from: 4 is behind to: 3",
    "sort, params: {key: 4294967297}": "at most 1048576",
    "sort, params: {from: 4294967297}": "at most",
    "sort, params: {type: numeric}": "must be",
    "sort, params: {type: number, invalid: ignore}": "must be",
    "sum, params: {value: 4294967297}": "at most 1048576",
    "count, params: {order: desc}": "has no parameter 'order'",
    "top, params: {n: -1}": "must be a whole number, not '-1'",
    "split, params: {n: 0}": "at least one record",
}


@test
def parameters_are_looked_at_when_the_graph_is_loaded(case):
    case.write("a.txt", "a b\n")
    for stage, words in REFUSED.items():
        graph(case, f"s: {{use: {stage}}}")
        err = case.dagrun("check", "g.yaml", rc=3).stderr.decode()
        check(words in err and "g.yaml:2:" in err, [stage, err])
    graph(case, "s: {use: sort, width: 2}", "{from: t, to: s, pattern: '>>', partition: {by: range, delimiter: ab}}")
    check(b"g.yaml:3:" in case.dagrun("check", "g.yaml", rc=3).stderr, "of a range partition")
    graph(case, "s: {use: cat, width: 2}", "{from: t, to: s, pattern: '>>', partition: {by: hash, key: 1, delimiter: é}}")
    check(b"has 2 bytes" in case.dagrun("check", "g.yaml", rc=3).stderr, "of a hash partition")
    # All of them at once, each at its place.
    graph(case, "a: {use: grep, params: {pattern: '('}}, b: {use: cut, params: {fields: x}}, s: {use: sort, params: {delimiter: ab}}", "t >= a >= b >= s")
    err = case.dagrun("check", "g.yaml", rc=3).stderr.decode()
    check(err.count("g.yaml:2:") == 3, err)
    graph(case, "s: {sh: cat, skip_records: 3}")
    check(b"skip_records is for plugins" in case.dagrun("check", "g.yaml", rc=3).stderr, "skip_records")


SIDES = """
inputs: {{a: {{files: a.txt, split: 64B}}, b: {{files: b.txt, split: 64B}}}}
stages:
  ca: {{use: cat}}
  cb: {{use: cat}}
  l: {{use: sort, params: {{key: 1}}, width: 3}}
  s: {{use: join, params: {{{params}}}, width: 3}}
flow:
  - a >= ca
  - b >= cb
  - {{from: ca, to: l, pattern: ">>", partition: {{{left}}}}}
  - l >= s.0
  - {{from: cb, to: s.1, pattern: ">>", partition: {{{right}}}}}
outputs: {{s: {{file: "out{{index}}.txt"}}}}
"""


@test
def sides_of_a_join_are_partitioned_alike(case):
    for side in "ab":
        case.write(f"{side}.txt", "".join(f"k{i} {i % 5} {side}\n" for i in range(40)))
    for params, left, right, words in (
            ("key: 1", "by: hash, key: 1", "by: hash, key: 1", None),
            ("key: 1", "by: hash, key: 1", "by: all", None),
            ("key: 1", "by: round-robin", "by: all", None),
            ("key: 1", "by: range, key: 1", "by: all", None),
            ("key: 1", "by: all", "by: hash, key: 1", None),
            ("key: 1, right: 2", "by: hash, key: 1", "by: hash, key: 2", None),
            ("key: 0", "by: hash, key: 2", "by: hash, key: 2", None),
            ("key: 1", "by: hash, key: 1", "by: hash, key: 2", "joins port 1 by field 1 (delimiter ''), but it is partitioned by field 2"),
            ("key: 2", "by: hash, key: 1", "by: hash, key: 1", "joins port 0 by field 2"),
            ("key: 1, right: 2", "by: hash, key: 1", "by: hash, key: 1", "joins port 1 by field 2"),
            ("key: 1, delimiter: k", "by: hash, key: 1", "by: hash, key: 1", "delimiter 'k'"),
            ("key: 0", "by: hash, key: 2", "by: hash, key: 1", "by field 0"),
            ("key: 1, to: 2", "by: hash, key: 1", "by: hash, key: 1", "some bytes of its key"),
            ("key: 2, type: number", "by: hash, key: 2", "by: hash, key: 2", "joins by numbers"),
            ("key: 1", "by: hash, key: 1", "by: round-robin", "partitioned unlike, by hash and by round-robin"),
            ("key: 1", "by: round-robin", "by: round-robin", "partitioned unlike"),
            ("key: 1", "by: range, key: 1", "by: range, key: 1", "bounds of its own"),
            ("key: 1", "by: range, key: 1", "by: hash, key: 1", "by range and by hash"),
            ("key: 1, kind: left", "by: all", "by: hash, key: 1", "each would write it"),
            ("key: 1", "by: all", "by: all", "each would write it")):
        case.write("j.yaml", SIDES.format(params=params, left=left, right=right))
        r = case.dagrun("check", "j.yaml", rc=3 if words else 0)
        check(not words or words.encode() in r.stderr, [params, left, right, r.stderr])
        if not words and "key: 1" in params and "right" not in params:
            case.dagrun("run", "j.yaml")
            check(sum(case.read(f"out{i}.txt").count(b"\n") for i in range(3)) == 40, [left, right])


@test
def a_side_as_its_input_is_split_is_not_partitioned(case):
    for side in "ab":
        case.write(f"{side}.txt", "".join(f"k{i} {side}\n" for i in range(40)))
    for program, left in (("", "a >= s.0"), ("p: {sh: cat}, ", "a >= p >= s.0")):
        for by, refused in (("hash, key: 1", "by the splits of an input and by hash"), ("all", None)):
            case.write("j.yaml", f"""
inputs: {{a: {{files: a.txt, split: 64B}}, b: {{files: b.txt}}}}
stages: {{{program}c: {{use: cat}}, s: {{use: join, params: {{key: 1}}}}}}
flow:
  - {left}
  - b >= c
  - {{from: c, to: s.1, pattern: ">>", partition: {{by: {by}}}}}
outputs: {{s: {{file: out.txt}}}}
""")
            r = case.dagrun("check" if refused else "run", "j.yaml", rc=3 if refused else 0)
            check(not refused or refused.encode() in r.stderr, r.stderr)
            check(refused or case.read("out.txt").count(b"\n") == 40, left)


@test
def counts_and_sums_of_lines_with_tabs_are_seen_beforehand(case):
    case.write("a.txt", "x\n")
    for program, vertex, words in (
            ("sh: 'printf \"a\\tb\\n\"'", "count", "key: 1"), ("program: [awk, '{print $1 \"\\t\" 1}']", "count", "format: kv"),
            ("sh: cat", "sum", "format: kv"), ("sh: cat", "sum, params: {key: 1}", "value: 2"),
            ("sh: cat", "count", None), ("sh: 'printf \"a\\tb\\n\"'", "count, params: {key: 1}", None), ("sh: 'printf \"a\\t1\\n\"', format: kv", "sum", None),
            ("sh: 'printf \"a\\t1\\n\"'", "sum, params: {key: 1, value: 2}", None), ("sh: 'printf \"a\\t1\\n\"', format: kv", "count", None)):
        graph(case, f"p: {{{program}}}, s: {{use: {vertex}}}", "t >= p >= s")
        r = case.dagrun("check" if words else "run", "g.yaml", rc=3 if words else 0)
        check(not words or words.encode() in r.stderr, [program, vertex, r.stderr])


@test
def numbers_do_not_go_behind_a_hash_partition(case):
    case.write("a.txt", "".join(f"{i % 5}{'.0' if i % 3 else ''} x\n" for i in range(60)))
    for vertex, want in (("count", [b"0\t12", b"1\t12", b"2\t12", b"3\t12", b"4\t12"]), ("distinct", None)):
        stages = f"c: {{use: cat}}, s: {{use: {vertex}, width: 3, params: {{key: 1, type: number}}}}"
        graph(case, stages, "t >= c, {from: c, to: s, pattern: '>>', partition: {by: hash, key: 1}}")
        err = case.dagrun("check", "g.yaml", rc=3).stderr
        check(b"goes by numbers, but {by: hash} by bytes" in err, err)
        graph(case, stages, "t >= c, {from: c, to: s, pattern: '>>', partition: {by: range, key: 1, type: number}}")
        case.dagrun("run", "g.yaml")
        got = case.read("out.txt").splitlines()
        check(len(got) == 5 and (not want or sorted(got) == want), got)


@test
def a_sample_for_ranges_has_the_beginning_of_long_records(case):
    case.write("a.txt", "".join(f"{i:03} {'x' * (3000000 if i == 50 else 10)}\n" for i in range(100)))
    graph(case, "s: {use: sort, width: 8}", "{from: t, to: s, pattern: '>>', partition: {by: range}}", "a.txt, split: 200KiB")
    err = case.dagrun("run", "--slots", "2", "g.yaml").stderr.decode()
    check(case.read("out.txt") == case.read("a.txt"), "the order differs")
    read = float(err.split(" read, ")[0].split(", ")[-1].split()[0])
    check("MiB read" in err and read < 20, err)


@test
def as_many_as_asked_for_need_no_memory_beforehand(case):
    case.write("a.txt", "".join(f"{i}\n" for i in range(1000)))
    for vertex in ("top", "sample"):
        check(use(case, vertex, "n: 9223372036854775807").count(b"\n") == 1000, vertex)
    check(use(case, "sample", "n: 10, bytes: 1").split() != [], "a sample of beginnings")
    check(all(len(line) == 1 for line in case.read("out.txt").split()), case.read("out.txt"))


PLUGIN = """
#include <dagrun/vertex.h>
#include <stdlib.h>
#include <string.h>
static int pass(struct dag_vertex *v)
{
	struct dag_record r;
	int n;

	while ((n = dag_read(v, 0, &r)) > 0)
		if ((n = dag_write(v, 0, r.data, r.len)) < 0)
			return n;
	return n;
}
static int even(struct dag_vertex *v)
{
	const char *n = dag_param(v, "n");

	if (n && !strcmp(n, "die"))
		abort();
	return n && atoi(n) % 2 ? dag_fail(v, "n: %s is odd\\nand that will not do", n) : 0;
}
DAG_PLUGIN(mine, DAG_ENTRY_CHECKED(pass, even, DAG_IN(LINES), DAG_OUT(LINES), DAG_PARAM("n=0: even"), "passes"));
"""


@test
def a_plugin_may_look_at_its_own_parameters(case):
    case.write("mine.c", PLUGIN)
    include = os.path.join(SOURCE, "engine/include")
    build = f"cc -shared -fPIC -I{include} -o {case.path('mine.so')} {case.path('mine.c')}"
    case.shell(build)
    case.write("a.txt", "a\n")
    for n, words in ((2, None), (3, b"n: 3 is odd and that will not do"), ("die", b"the check of 'pass'")):
        graph(case, f"s: {{plugin: ./mine.so, entry: pass, params: {{n: {n}}}}}")
        r = case.dagrun("run", "g.yaml", rc=3 if words else 0)
        check(not words or words in r.stderr, r.stderr)
    # One that was built when entries had no check.
    header = open(os.path.join(include, "dagrun/vertex.h")).read()
    begin = header.index("\t/*\n\t * What is wrong with the stage's parameters")
    old = header[:begin] + header[header.index("(*check)", begin):].split(";\n", 1)[1]
    os.makedirs(case.path("old/dagrun"), exist_ok=True)
    case.write("old/dagrun/vertex.h", old)
    case.write("mine.c", PLUGIN.replace("DAG_ENTRY_CHECKED(pass, even, ", "DAG_ENTRY(pass, "))
    case.shell(build.replace(include, case.path("old")))
    graph(case, "s: {plugin: ./mine.so, entry: pass, params: {n: 3}}")
    case.dagrun("run", "g.yaml")
    check(case.read("out.txt") == b"a\n", "an older plugin")


if __name__ == "__main__":
    main()
