# SPDX-License-Identifier: Apache-2.0
"""The standard vertices (`use:`), beside what coreutils, awk and Python make of the same lines."""
import collections
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *


def make_text(case, lines=40000, seed=1):
    draw = random.Random(seed)
    rows = [f"{draw.choice('abcdefgh') * draw.randrange(1, 12)}{draw.randrange(900)} {draw.randrange(-500, 500)} {draw.random():.4f} x{i % 7}"
            for i in range(lines)]
    case.write("a.txt", "\n".join(rows) + "\n")
    return rows


def use(case, vertex, params="", split="", flow="t >= s", more="", width="", **options):
    case.write("u.yaml", f"""
inputs: {{t: {{files: a.txt{', split: ' + split if split else ''}}}}}
stages:
  s: {{use: {vertex}, {width}params: {{{params}}}}}
{more}
flow: [{flow}]
outputs: {{{'m' if more else 's'}: {{file: out.txt}}}}
""")
    r = case.dagrun("run", "u.yaml", **options)
    return case.read("out.txt") if r.returncode == 0 else r.stderr


@test
def keys_with_tabs_are_not_written_as_lines(case):
    case.write("a.txt", b"a\tb\na\tb\n")
    case.write("g.yaml", "inputs: {t: {files: a.txt}}\nstages: {c: {use: count}}\nflow: [t >= c]\noutputs: {c: {file: out}}\n")
    r = case.dagrun("run", "g.yaml", rc=1)
    check(b"a record of 'c' has a line feed in it, or a tab in its key" in r.stderr, r.stderr)
    check(not os.path.exists(case.path("out")), "an output was published")


@test
def sort_orders_as_sort_does(case):
    make_text(case)
    for params, words in (("", ""), ("key: 1", "-s -k1,1"), ("key: 2, type: number", "-s -k2,2n"), ("key: 2, type: number, order: desc", "-s -k2,2nr"),
                          ("key: 4, order: desc", "-s -k4,4r"), ("key: 3, type: number, memory: 1MiB", "-s -k3,3g"),
                          ("memory: 1MiB", ""), ("key: 2, delimiter: x", "-s -t x -k2,2")):
        check(use(case, "sort", params) == case.shell(f"sort {words} a.txt"), params)


@test
def sort_and_merge_of_many_splits(case):
    make_text(case)
    got = use(case, "sort", "key: 2, type: number", "100KiB", "t >= s, s >> m", "  m: {use: merge, params: {key: 2, type: number}}")
    check(got == case.shell("sort -s -k2,2n a.txt"), "the order differs")


@test
def sort_of_keys_that_begin_alike(case):
    """Enough of them for each way of sorting: by bytes of the prefix, twice where they are the same, by the rest of the keys."""
    draw = random.Random(3)
    shapes = {
        "many of few": lambda i: f"{draw.choice('abc') * draw.randrange(1, 4)} {draw.choice((-1, 0, 1)) * draw.randrange(3)} {i}",
        "same beginnings": lambda i: f"https://example.org/{draw.randrange(1 << 30):x} {draw.random() * 10 ** draw.randrange(-200, 200)} {i}",
        "two clusters": lambda i: f"{draw.choice(('aaaa', 'zzzz'))}{draw.randrange(1 << 16):05d} {draw.choice((1, 1e15)) + draw.randrange(70000)} {i}",
    }
    for name, line in shapes.items():
        case.write("a.txt", "".join(line(i) + "\n" for i in range(150000)))
        for params, words in (("key: 1", "-k1,1"), ("key: 1, order: desc", "-k1,1r"), ("key: 2, type: general", "-k2,2g"),
                              ("key: 2, type: general, order: desc", "-k2,2gr")):
            want = case.shell(f"sort -s {words} a.txt")
            check(use(case, "sort", params) == want, f"{name}: {params}")
            check(use(case, "sort", params, "500KiB", f"{{from: t, to: s, pattern: '>>', partition: {{by: range, {params}, sample: 500}}}}",
                      width="width: {per: 400KiB}, ") == want, f"{name}, by ranges: {params}")


@test
def sort_of_odd_records(case):
    case.write("a.txt", b"\n\n\0\n\xff\na\0b\na\nab\n" + b"y" * 3000000 + b"\n" + b"y" * 2999999 + b"\nlast without a line feed")
    check(use(case, "sort", "memory: 1MiB") == case.shell("sort a.txt"), "the order differs")
    draw = random.Random(7)
    zeros = [bytes(draw.choice(b"\0a") for _ in range(draw.choice((draw.randrange(40), draw.randrange(10)) ))) for _ in range(30000)]
    nested = [b"ab" * draw.randrange(2000) for _ in range(1500)]
    alike = [b"x" * draw.choice((4000, 4001)) for _ in range(1000)]
    for name, lines in (("zeros", zeros), ("nested", nested), ("alike", alike), ("all", zeros + nested + alike)):
        case.write("a.txt", b"\n".join(lines) + b"\n")
        for params, words in (("", ""), ("order: desc", "-r")):
            check(use(case, "sort", params) == case.shell(f"sort {words} a.txt"), f"{name}: {params}")
    case.write("a.txt", "")
    for vertex in ("sort", "merge", "distinct", "count", "sum", "top", "head", "sample", "cut", "grep", "cat"):
        check(use(case, vertex, {"grep": "pattern: a", "sum": "value: 1"}.get(vertex, "")) == b"", f"{vertex} of nothing")


@test
def count_sum_and_distinct(case):
    rows = make_text(case)
    counted = use(case, "count", "key: 4").split(b"\n")[:-1]
    want = collections.Counter(r.split()[3] for r in rows)
    check(dict(line.decode().split("\t") for line in counted) == {k: str(n) for k, n in want.items()}, counted)
    summed = use(case, "sum", "key: 4, value: 2").split(b"\n")[:-1]
    want = collections.Counter()
    for r in rows:
        want[r.split()[3]] += int(r.split()[1])
    check(dict(line.decode().split("\t") for line in summed) == {k: str(n) for k, n in want.items()}, summed)
    check(use(case, "distinct", "key: 1") == case.shell("awk '!seen[$1]++' a.txt"), "distinct")
    check(use(case, "distinct") == case.shell("awk '!seen[$0]++' a.txt"), "distinct lines")
    more = "  m: {use: sum}"
    case.write("u.yaml", "")
    got = use(case, "count", "key: 1", "100KiB", "t >= s, {from: s, to: m, pattern: '>>', partition: {by: hash}}", more)
    check(sorted(got.split(b"\n")[:-1]) == case.shell("awk -v OFS='\\t' '{n[$1]++} END {for (k in n) print k, n[k]}' a.txt | sort").split(b"\n")[:-1], "count and sum")


@test
def top_head_sample_cut_grep(case):
    rows = make_text(case)
    check(use(case, "top", "key: 2, type: number, order: desc, n: 25") == case.shell("sort -s -k2,2nr a.txt | head -n 25"), "top")
    check(use(case, "top", "key: 2, type: number, n: 25") == case.shell("sort -s -k2,2nr a.txt | head -n 25"), "the largest come first")
    check(use(case, "top", "n: 7, order: asc") == case.shell("sort a.txt | head -n 7"), "top by line, from the smallest")
    check(use(case, "top", "n: 7") == case.shell("sort -r a.txt | head -n 7"), "top by line")
    check(use(case, "head", "n: 3") == case.shell("head -n 3 a.txt"), "head")
    check(use(case, "cut", "'fields': '4,2,9,1'") == case.shell("awk '{print $4, $2, $9, $1}' a.txt"), "cut")
    check(use(case, "cut", "fields: 2, delimiter: x") == case.shell("cut -d x -f 2 a.txt"), "cut at x")
    check(use(case, "grep", "pattern: '^(a+|b{3,5})[0-9]+ -\\d'") == case.shell(r"grep -P '^(a+|b{3,5})[0-9]+ -\d' a.txt"), "grep")
    check(use(case, "grep", "pattern: x3, invert: true") == case.shell("grep -v x3 a.txt"), "grep -v")
    drawn = use(case, "sample", "n: 500").decode().split("\n")[:-1]
    check(len(drawn) == 500 and len(set(drawn)) > 490 and set(drawn) <= set(rows), "sample")
    check(drawn == use(case, "sample", "n: 500").decode().split("\n")[:-1], "another sample of the same lines")
    check(b"at 1: " in use(case, "grep", "pattern: '('", rc=3), "a bad pattern")


@test
def join_of_two_inputs(case):
    make_text(case, 3000)
    case.write("b.txt", "".join(f"{i % 9} name{i}\n" for i in range(4, 16)))
    left = [line.split() for line in case.read("a.txt").decode().splitlines()]
    right = [line.split() for line in case.read("b.txt").decode().splitlines()]
    for kind in ("inner", "left", "semi", "anti"):
        want = []
        for l in left:
            hits = [r for r in right if r[0] == l[3][1:] ]
            if kind in ("inner", "left"):
                want += [f"{l[3][1:]}\t{' '.join(l)}\t{' '.join(r)}" for r in hits]
            if kind == "left" and not hits:
                want.append(f"{l[3][1:]}\t{' '.join(l)}\t")
            if kind == ("semi" if hits else "anti"):
                want.append(f"{l[3][1:]}\t{' '.join(l)}")
        case.write("j.yaml", f"""
inputs: {{a: {{files: a.txt}}, b: {{files: b.txt}}}}
stages:
  j: {{use: join, params: {{key: 2, delimiter: x, kind: {kind}}}}}
  k: {{sh: "sed 's/ /x/'", }}
flow: [a >= j.0, b >= k, k >= j.1]
outputs: {{j: {{file: out.txt}}}}
""".replace("key: 2", "key: 2, right: 1"))
        case.dagrun("run", "j.yaml")
        got = case.read("out.txt").decode().replace("x name", " name").splitlines()
        got = [g.replace("xname", " name") for g in got]
        check(got == want, f"{kind}: {got[:3]} {want[:3]} {len(got)} {len(want)}")


@test
def join_of_lines_with_counts(case):
    """`right: 0` is the key of key-value records; without it the right side's is as the left's, here the count."""
    case.write("names.txt", "x a\ny b\nz c\n")
    case.write("seen.txt", "a\nb\na\nd\n")
    for right, want in ((", right: 0", b"a\tx a\t2\nb\ty b\t1\n"), ("", b"")):
        case.write("j.yaml", f"""
inputs: {{names: {{files: names.txt}}, seen: {{files: seen.txt}}}}
stages:
  count: {{use: count}}
  join: {{use: join, params: {{key: 2{right}}}}}
flow: [seen >= count, names >= join.0, count >= join.1]
outputs: {{join: {{file: out.txt}}}}
""")
        case.dagrun("run", "j.yaml")
        check(case.read("out.txt") == want, (right, case.read("out.txt")))


@test
def merge_join_of_sorted_inputs(case):
    """Beside the join by hash, over several producers a side; what is not sorted is said."""
    case.write("a.txt", "".join(f"k{i * 7919 % 500:03} a{i}\n" for i in range(3000)))
    case.write("b.txt", "".join(f"k{i * 104729 % 350 * 2:03} b{i}\n" for i in range(0, 2100, 3)))
    for kind in ("inner", "left", "semi", "anti"):
        got = {}
        for method in ("hash", "merge"):
            case.write("j.yaml", f"""
inputs: {{a: {{files: a.txt, split: 8KiB}}, b: {{files: b.txt, split: 4KiB}}}}
stages:
  left: {{use: sort, params: {{key: 1}}}}
  right: {{use: sort, params: {{key: 1}}}}
  join: {{use: join, params: {{key: 1, kind: {kind}, method: {method}}}, width: 2}}
flow:
  - a >= left
  - b >= right
  - {{from: left, to: join.0, pattern: ">>", partition: {{by: hash, key: 1}}}}
  - {{from: right, to: join.1, pattern: ">>", partition: {{by: hash, key: 1}}}}
outputs: {{join: {{file: "{method}{{index}}.txt"}}}}
""")
            case.dagrun("run", "j.yaml")
            got[method] = [sorted(case.read(f"{method}{i}.txt").splitlines()) for i in (0, 1)]
        check(got["hash"] == got["merge"] and (kind == "inner" or any(got["merge"])), kind)
        check(kind != "inner" or len(got["merge"][0]) > 100, "no partners")
    keys = [line.split(b"\t")[0] for line in case.read("merge0.txt").splitlines()]
    check(keys == sorted(keys), "it does not come in order")
    case.write("u.yaml", """
inputs: {a: {files: a.txt}, b: {files: b.txt}}
stages: {join: {use: join, params: {key: 1, method: merge}}}
flow: [a >= join.0, b >= join.1]
outputs: {join: {file: u.txt}}
""")
    r = case.dagrun("run", "u.yaml", rc=1)
    check(b"the left side of the join is not sorted by its key: on input port 0 record 3, '" in r.stderr and b"or take method: hash" in r.stderr, r.stderr)
    case.write("a.txt", "a 1\nb 1\n")
    case.write("b.txt", "a 1\nc 1\nb 1\n")
    r = case.dagrun("run", "u.yaml", rc=1)
    check(b"the right side of the join is not sorted by its key: on input port 1 record 3, 'b', belongs before record 2, 'c'" in r.stderr, r.stderr)


@test
def a_merge_of_what_is_not_sorted_names_the_records(case):
    """By each kind of key, from files, from vertices, through pipes; the way out is said, and nothing is published."""
    case.write("a.txt", "1 a\n2 b\n3 c\n")
    for params, rows, before, after in (("", "9 d\n10 e\n", "'10 e'", "'9 d'"), ("key: 1, type: number", "4 d\n10 e\n9.5 f\n", "'9.5'", "'10'"),
                                        ("key: 1, type: number, order: desc", "10 e\n4 d\n5 f\n", "'5'", "'4'"),
                                        ("key: 2, type: general", "x 1e3\ny 2e2\n", "'2e2'", "'1e3'"),
                                        ("", "the same beginning 2\nthe same beginning 1\n", "'the same beginning 1'", "'the same beginning 2'")):
        case.write("b.txt", rows)
        number = rows.count("\n")
        case.write("empty.txt", "")
        first = "a.txt" if "general" not in params and "desc" not in params else "empty.txt"
        for stages, flow, producer, origin in (("", "t >> m", " from producer 1", "b.txt"), ("c: {use: cat, width: 2}, ", "t >= c, c >> m", " from producer 1", "c[1]"),
                                               ("c: {program: [cat], width: 2}, ", "t >= c, {from: c, to: m, pattern: '>>', channel: pipe}", " from producer 1", None)):
            case.write("g.yaml", f"inputs: {{t: {{files: [{first}, b.txt]}}}}\nstages: {{{stages}m: {{use: merge, params: {{{params}}}}}}}\n"
                       f"flow: [{flow}]\noutputs: {{m: {{file: out}}}}\n")
            err = case.dagrun("run", "g.yaml", rc=1).stderr.decode()
            check(f"on input port 0{producer} record {number}, {before}, belongs before record {number - 1}, {after}" in err and "use: sort" in err, [params, flow, err])
            check(origin is None or f"(record {number} of " in err and f"{origin})" in err, [params, flow, err])
            check(not os.path.exists(case.path("out")), "an output was published")
    case.write("b.txt", "0 d\nx\n1 e\nnone\n2 f\n")
    case.write("g.yaml", "inputs: {t: {files: [a.txt, b.txt]}}\nstages: {m: {use: merge, params: {key: 1, type: number, invalid: skip}}}\n"
               "flow: [t >> m]\noutputs: {m: {file: out}}\n")
    case.dagrun("run", "g.yaml")
    check(case.read("out") == b"0 d\n1 a\n1 e\n2 b\n2 f\n3 c\n", case.read("out"))


@test
def a_sample_that_is_not_sorted_names_the_records(case):
    case.write("a.txt", "".join(f"{i}\n" for i in range(50)))
    case.write("g.yaml", """
inputs: {t: {files: a.txt}}
stages: {range: {use: range, params: {key: 1, type: number}}, s: {use: cat, width: 2}, sample: {bash: "seq 5; echo 3"}}
flow: [t >= range.0, sample >= range.1, {from: range, to: s, pattern: ">>", partition: {by: part}}]
outputs: {s: {file: out}}
""")
    err = case.dagrun("run", "g.yaml", rc=1).stderr
    check(b"the sample is not sorted by its key: on input port 1 record 6, '3', belongs before record 5, '5'" in err and b"sort -n" in err, err)


@test
def the_documented_example_runs(case):
    with open(os.path.join(SOURCE, "VERTICES.md")) as f:
        example = f.read().split("```yaml\n")[1].split("```")[0]
    case.write("v.yaml", example)
    case.write("access.log", case.shell(os.path.join(SOURCE, "graphs/toppages/make_log.sh") + " 20000"))
    got = case.dagrun("run", "v.yaml").stdout.split()
    want = case.shell("awk '{print $1}' access.log | sort | uniq -c | sort -k1,1nr | head -n 5 | awk '{print $1}'").split()
    check(got[1::2] == want, [got, want])


@test
def range_partition_sorts_without_a_merge(case):
    make_text(case, 60000)
    with open(os.path.join(SOURCE, "VERTICES.md")) as f:
        example = f.read().split("```yaml\n")[2].split("```")[0]
    case.write("r.yaml", example.replace("16MiB", "300KiB"))
    case.dagrun("run", "r.yaml")
    check(case.read("sorted.txt") == case.shell("sort a.txt"), "the order differs")
    case.write("a.txt", "b\na\nc\n")
    case.dagrun("run", "r.yaml")
    check(case.read("sorted.txt") == b"a\nb\nc\n", "three lines over eight parts")
    make_text(case, 60000)
    key = "key: 2, type: number, order: desc"
    case.write("r.yaml", example.replace("16MiB", "300KiB").replace("use: sort", "use: sort, params: {" + key + "}").replace("by: range", "by: range, sample: 300, " + key))
    case.dagrun("run", "r.yaml")
    check(case.read("sorted.txt") == case.shell("sort -s -k2,2nr a.txt"), "the order by number differs")


@test
def range_parts_come_out_about_equal(case):
    """Also where the bounds are the same in their first bytes."""
    draw = random.Random(5)
    case.write("a.txt", "".join(f"https://example.org/{draw.randrange(1 << 30):08x}\n" for i in range(40000)))
    for order in ("asc", "desc"):
        case.write("r.yaml", f"""
inputs: {{t: {{files: a.txt, split: 300KiB}}}}
stages: {{s: {{use: sort, width: 5, params: {{order: {order}}}}}}}
flow: [{{from: t, to: s, pattern: ">>", partition: {{by: range, order: {order}, sample: 2000}}}}]
outputs: {{s: {{file: "{order}{{index}}.txt"}}}}
""")
        case.dagrun("run", "r.yaml")
        parts = [case.read(f"{order}{i}.txt") for i in range(5)]
        check(b"".join(parts) == case.shell(f"sort {'-r' if order == 'desc' else ''} a.txt"), "the order differs")
        check(all(abs(p.count(b"\n") - 8000) < 1600 for p in parts), [p.count(b"\n") for p in parts])


@test
def range_partitions_of_vertices_and_of_several_edges(case):
    make_text(case, 20000)
    case.write("r.yaml", """
inputs: {t: {files: a.txt, split: 100KiB}}
stages:
  odd:  {use: grep, params: {pattern: "[13579]$"}}
  even: {use: grep, params: {pattern: "[13579]$", invert: true}}
  sort: {sh: "sort -s -k3,3 {in.0.*} && echo -- && sort -s -k3,3 {in.1.*}", width: 3}
  whole: {use: cat, width: 3}
flow:
  - t >= odd
  - t >= even
  - {from: odd, to: sort, pattern: ">>", partition: {by: range, key: 3}}
  - {from: even, to: sort.1, pattern: ">>", partition: {by: range, key: 3}, channel: pipe}
  - {from: t, to: whole, pattern: ">>", partition: {by: range, key: 3}, compress: lz4}
outputs: {sort: {file: "out{index}.txt"}, whole: {file: whole.txt}}
""")
    case.dagrun("run", "r.yaml")
    parts = [case.read(f"out{i}.txt").split(b"--\n") for i in range(3)]
    for side, invert in ((0, ""), (1, "-v")):
        want = case.shell(f"grep {invert} '[13579]$' a.txt | sort -s -k3,3")
        check(b"".join(p[side] for p in parts) == want, f"side {side} is not in order")
        check(all(len(p[side]) > len(want) / 6 for p in parts), "the parts are far from equal")
    check(sorted(case.read("whole.txt").splitlines()) == sorted(case.read("a.txt").splitlines()), "the records differ")
    names = case.dagrun("plan", "r.yaml").stdout
    check(b"sort:range " in names and b"sort:range2 " in names and b"whole:bounds " in names, names)


@test
def parameters_are_checked(case):
    case.write("a.txt", "x\n")
    case.write("u.yaml", """
inputs: {t: {files: a.txt}}
stages:
  a: {use: sort, params: {kee: 1}}
  b: {use: sort, params: {key: one}}
  c: {use: sort, params: {order: down}}
  d: {use: sort, params: {memory: much}}
  e: {use: sourt}
flow: [t >= a >= b >= c >= d >= e]
outputs: {e: {file: "-"}}
""")
    err = case.dagrun("check", "u.yaml", rc=3).stderr
    for words in (b"u.yaml:4:27: 'sort' has no parameter 'kee'; did you mean 'key'?", b"key must be a whole number, not 'one'", b"order must be asc or desc, not 'down' (which comes first)",
                  b"memory must be a size such as 64MiB, not 'much'", b"there is no standard vertex 'sourt'; did you mean 'sort'?"):
        check(words in err, [words, err])


@test
def a_large_file_is_sampled_at_places_and_sorted_by_ranges(case):
    draw = random.Random(5)
    rows = [f"{draw.randrange(10**9):09d} {i:07d}" + "." * draw.randrange(60) for i in range(130000)]
    case.write("a.txt", "\n".join(rows) + "\n")
    drawn = use(case, "sample", "n: 320, by: place").decode().splitlines()
    numbers = [int(d[10:17]) for d in drawn]
    check(len(drawn) == 320 and set(drawn) <= set(rows) and numbers == sorted(numbers), drawn[:5])
    firsts = [n for n, before in zip(numbers, [-2, *numbers]) if n != before + 1]
    check(50 < len(firsts) <= 64 and numbers[0] < 2700 and numbers[-1] > 127500, f"at {len(firsts)} places, from {numbers[0]} to {numbers[-1]}")
    check(drawn == use(case, "sample", "n: 320, by: place").decode().splitlines(), "another sample of the same lines")
    check(len(use(case, "sample", "n: 7, by: place", "1MiB").splitlines()) == 7 * 6, "splits that are too small for places")
    case.write("r.yaml", """
inputs: {t: {files: a.txt}}
stages: {sort: {use: sort, width: 8}}
flow: [{from: t, to: sort, pattern: ">>", partition: {by: range}}]
outputs: {sort: {file: "part{index}"}}
""")
    case.dagrun("run", "r.yaml")
    parts = [case.read(f"part{i}") for i in range(8)]
    check(b"".join(parts) == case.shell("sort a.txt"), "the order differs")
    sizes = [p.count(b"\n") for p in parts]
    check(max(sizes) < 2 * len(rows) / 8, sizes)


TERA = """
inputs: {t: {files: t.bin, split: 30000B, format: {fixed: 100}}}
stages:
  before: {use: check}
  sum:    {use: sum, params: {invalid: skip}}
  sample: {use: sample, params: {n: 50}}
  bounds: {use: sort, params: {to: 10}}
  range:  {use: range, params: {to: 10}}
  sort:   {use: sort, width: 3, params: {to: 10}}
  after:  {use: check, params: {from: 1, to: 10}}
flow:
  - t >= before >> sum
  - t >= sample >> bounds
  - t >= range.0
  - {from: bounds, to: range.1, pattern: ">>", partition: {by: all}}
  - {from: range, to: sort, pattern: ">>", partition: {by: part}}
  - sort >> after
outputs: {sort: {file: sorted.bin}, before: {file: "before{index}.txt"}, after: {file: after.txt}}
"""


@test
def records_of_fixed_size_sorted_by_their_first_bytes_and_checked(case):
    draw = random.Random(3)
    rows = [bytes(draw.randrange(4) for _ in range(10)) + b"%090d" % i for i in range(5000)]
    case.write("t.bin", b"".join(rows))
    case.write("tera.yaml", TERA)
    case.dagrun("run", "tera.yaml")
    wanted = sorted(rows, key=lambda r: r[:10])
    check(case.read("sorted.bin") == b"".join(wanted), "the order differs")
    after = dict(line.split("\t") for line in case.read("after.txt").decode().splitlines())
    repeated = sum(a[:10] == b[:10] for a, b in zip(wanted, wanted[1:]))
    check((after["records"], after["bytes"], after["unordered"], after["repeated"]) == ("5000", "500000", "0", str(repeated)), after)
    parts = [dict(line.split("\t") for line in case.read(f"before{i}.txt").decode().splitlines()) for i in range(17)]
    check(sum(int(p["sum"], 16) for p in parts) % 2**64 == int(after["sum"], 16), "the sums differ")
    check(sum(int(p["unordered"]) for p in parts) > 1000, "unordered")


@test
def split_gives_runs_to_the_parts(case):
    rows = make_text(case, 1000)
    case.write("u.yaml", """
inputs: {t: {files: a.txt}}
stages: {s: {use: split, params: {n: 300}}, m: {use: cat, width: 3}}
flow: [t >= s, {from: s, to: m, pattern: '>>', partition: {by: part}}]
outputs: {m: {file: "out{index}.txt"}}
""")
    case.dagrun("run", "u.yaml")
    lines = case.read("a.txt").splitlines(True)
    check([case.read(f"out{i}.txt") for i in range(3)] == [b"".join(lines[a:b]) for a, b in ((0, 300), (300, 600), (600, 1000))], "the runs differ")
    check(use(case, "sort", "key: 1, from: 2, to: 3") == case.shell("LC_ALL=C sort -s -k1.2,1.3 a.txt") and rows, "bytes of a field")



if __name__ == "__main__":
    main()
