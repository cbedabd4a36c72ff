# SPDX-License-Identifier: Apache-2.0
"""What is decided while a job runs: aggregation trees by node and rack, widths by data, broadcast by a tree."""
import collections
import glob
import os
import re
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

TREE = """
inputs: {t: {files: t.txt, split: 20KiB}}
stages:
  count: {sh: "cat; echo $DAGRUN_INDEX >> RAN; sleep SLEEP"}
  pairs: {use: count}
  node: {use: sum}
  rack: {use: sum}
  total: {use: sum, width: 2}
  out: {use: sort}
flow:
  - t >= count >= pairs
  - {from: pairs, to: node, groups: {by: node, least: 2, most: 3}}
  - {from: node, to: rack, groups: {by: rack, least: 2, most: 8}}
  - rack >> total >> out
outputs: {out: {file: out.txt}}
"""

BY_DATA = """
inputs: {t: {files: t.txt, split: 20KiB}}
stages:
  cut: {use: cut, params: {fields: 1}}
  sort: {use: sort, width: {per: PER, of: data, most: 12}}
  low: {sh: "echo $DAGRUN_INDEX of $DAGRUN_WIDTH; wc -l"}
flow:
  - t >= cut
  - {from: cut, to: sort, pattern: ">>", partition: {by: range}}
  - sort >= low
outputs: {sort: {file: sorted.txt}, low: {file: "low.{index}"}}
"""


def prepare(case, sleep="0", lines=40000):
    case.write("t.txt", "".join(f"w{i * 7919 % 1009} {i}\n" for i in range(lines)))
    case.write("tree.yaml", TREE.replace("RAN", case.path("ran")).replace("SLEEP", sleep).replace("{use: count}", "{use: count, params: {key: 1}}"))
    case.write("ran", "")


def expected(case):
    return case.shell("cut -d' ' -f1 t.txt | sort | uniq -c | awk '{print $2 \"\\t\" $1}' | sort")


def facts(case):
    """The last job's, one a line."""
    path = max(glob.glob(os.path.join(case.state, "dagrun/jobs/*/journal.db")), key=os.path.getmtime)
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        return "".join(row[0] for row in db.execute("SELECT facts FROM facts ORDER BY seq")).splitlines()


def groups(lines):
    """Edge to its groups."""
    found = collections.defaultdict(list)
    for words in (line.split() for line in lines):
        if words[0] == "grouped":
            check(int(words[2]) == len(found[words[1]]), "a group out of turn")
            found[words[1]].append([int(w) for w in words[3:]])
    return found


@test
def tree_on_one_node(case):
    prepare(case)
    r = case.dagrun("plan", "tree.yaml").stdout.decode()
    widths = dict(re.findall(r"^  (\w+) .* width (to \d+|\d+)", r, re.M))
    n = int(widths["pairs"])
    check(widths["node"] == f"to {(n + 1) // 2}", r)
    case.dagrun("run", "tree.yaml")
    check(case.read("out.txt") == expected(case), "the counts differ")
    found = groups(facts(case))
    nodes, racks = (found[e] for e in sorted(found))
    check(sorted(sum(nodes, [])) == list(range(n)) and all(len(g) <= 3 for g in nodes), nodes)
    check(sorted(sum(racks, [])) == list(range(len(nodes))) and all(len(g) <= 8 for g in racks), racks)
    r = case.dagrun("verify", job_id(case), "node", "rack").stdout
    check(b"all gave the same bytes" in r, r)
    r = case.dagrun("jobs", job_id(case)).stdout.decode()
    check(re.search(rf"^node +{len(nodes)} +{len(nodes)} ", r, re.M), r)


@test
def tree_on_a_cluster_stays_on_its_nodes(case):
    prepare(case, "0.05")
    cluster = Cluster(case, nodes=0)
    cluster.daemons = [cluster.add(i, 2, ("--rack", f"r{i % 2}")) for i in range(4)]
    case.wait_for(lambda: cluster.count() == 4, "the daemons")
    cluster.run("tree.yaml")
    check(case.read("out.txt") == expected(case), "the counts differ")
    lines = facts(case)
    node = {int(w[1]): w[3] for w in (line.split() for line in lines) if w[0] == "committed"}
    first = min(v for v in node if v >= 2 * case.read("ran").count(b"\n"))  # of pairs, behind input and count
    members = groups(lines)[min(groups(lines))]
    same = [len({node[first + p] for p in g}) == 1 for g in members]
    check(sum(same) >= len(same) / 2, (members, same))


def check_resumed(case, kill, *args):
    p = case.start(program("dagrun"), "run", *args, "tree.yaml", stderr=subprocess.DEVNULL)
    case.wait_for(lambda: case.read("ran").count(b"\n") >= 6 and groups(facts(case)), "a group")
    kill(p)
    before = groups(facts(case))
    r = case.dagrun("resume", job_id(case))
    check(b"resumed:" in r.stderr and case.read("out.txt") == expected(case), "the counts differ")
    after = groups(facts(case))
    check(before and all(after[e][:len(before[e])] == before[e] for e in before), (before, after))


def kill(p):
    p.kill()
    p.wait()


@test
def groups_are_kept_over_a_resume(case):
    prepare(case, "0.3")
    check_resumed(case, kill, "-s", "2")


@test
def groups_are_kept_where_daemon_and_job_manager_die(case):
    prepare(case, "0.5")
    cluster = Cluster(case)

    def both(p):
        kill(p)
        kill(cluster.daemons[0])
        cluster.daemons[0] = cluster.add(7)

    check_resumed(case, both, "-n", cluster.endpoint)


@test
def grouped_vertices_of_a_killed_daemon_run_again(case):
    prepare(case, "0.1")
    cluster = Cluster(case)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "tree.yaml")
    case.wait_for(lambda: case.read("ran").count(b"\n") >= 12, "twelve vertices")
    kill(cluster.daemons[1])
    err = p.communicate(timeout=patience(60))[1]
    check(p.returncode == 0 and case.read("out.txt") == expected(case), err)
    found = groups(facts(case))
    check(all(len(sum(g, [])) == len(set(sum(g, []))) for g in found.values()), found)


def run_by_data(case, per, width, run=None):
    case.write("by.yaml", BY_DATA.replace("PER", per))
    for old in glob.glob(case.path("low.*")):
        os.unlink(old)
    r = (run or (lambda *a: case.dagrun("run", *a)))("by.yaml")
    check(case.read("sorted.txt") == case.shell("cut -d' ' -f1 t.txt | sort"), "the order differs")
    low = [case.read(f"low.{i}").split() for i in range(len(glob.glob(case.path("low.*"))))]
    check([w[:3] for w in low] == [[b"%d" % i, b"of", b"%d" % len(low)] for i in range(len(low))], low)
    check(sum(int(w[3]) for w in low) == 40000, low)
    check(len(low) in width, (len(low), width))
    return r


@test
def width_by_data(case):
    prepare(case)
    run_by_data(case, "1MiB", [1])
    run_by_data(case, "100KiB", range(3, 7))
    job = job_id(case)
    r = case.dagrun("verify", job, "sort", "low").stdout
    check(b"all gave the same bytes" in r, r)
    cluster = Cluster(case)
    run_by_data(case, "100KiB", range(3, 7), cluster.run)


@test
def more_data_than_the_most_vertices_take(case):
    prepare(case)
    r = run_by_data(case, "1KiB", [12])
    check(b"stage 'sort' would have" in r.stderr and b"it has 12, which read more each" in r.stderr, r.stderr)
    case.write("empty", "")
    case.write("by.yaml", BY_DATA.replace("PER", "1KiB").replace("t.txt", "empty"))
    case.dagrun("run", "by.yaml")
    check(case.read("sorted.txt") == b"" and case.read("low.0").split() == [b"0", b"of", b"1", b"0"], "of nothing")


@test
def broadcast_by_a_tree(case):
    prepare(case)
    case.write("some.txt", "w1\nw7\nw1000\n")
    case.write("b.yaml", """
inputs: {t: {files: t.txt, split: 50KiB}, w: {files: some.txt}}
stages:
  words: {use: cat}
  text: {use: cat}
  hits: {use: join, params: {kind: semi, key: 1}, width: 11}
flow:
  - t >= text
  - {from: text, to: hits, pattern: ">>", partition: {by: round-robin}}
  - w >= words
  - {from: words, to: hits, pattern: ">>", partition: {by: all, tree: true}}
outputs: {hits: {file: "-"}}
""")
    r = case.dagrun("plan", "b.yaml").stdout
    check(re.search(rb"hits:copies +plugin +width 4 ", r) and b"hits:copies.0 list hits.1: 11 channels" in r, r)
    got = sorted(line.split(b"\t")[1].split() for line in case.dagrun("run", "b.yaml").stdout.splitlines())
    want = sorted(line.split() for line in case.shell("grep -E '^w(1|7|1000) ' t.txt").splitlines())
    check(got == want, (got[:3], want[:3]))


@test
def what_cannot_be(case):
    two = "inputs: {t: {files: g.yaml}}\nstages: {a: {sh: x, width: 40}, b: {sh: x%s}, c: {sh: x%s}, d: {sh: x, width: 3}}\nflow: [%s]\n"
    group = "{from: a, to: b, groups: node}"
    bad(case, two % (", width: 3", "", group), "the width of stage 'b' follows from the groups that feed it")
    bad(case, two % ("", "", "{from: a, to: b, groups: nodes}"), "groups by 'nodes' is unknown", "did you mean 'node'?")
    bad(case, two % ("", "", "{from: a, to: b, groups: {least: 9, most: 8}}"), "at least 9 cannot have at most 8")
    bad(case, two % ("", "", "{from: a, to: b, pattern: '>>', groups: node}"), "groups or another pattern, not both")
    bad(case, two % ("", "", "{from: t, to: b, groups: node}"), "'t' is an input of the job: groups are of stages")
    bad(case, two % ("", "", "{from: a, to: b, groups: node, channel: pipe}"), "its channel is always a file")
    bad(case, two % ("", ", width: 1", group + ", b >= c"), "'c' must have the same: leave its width out")
    bad(case, two % ("", "", group + ", {from: b, to: c, neighbours: 1}"), "it can be read by '>=', '>>' and groups")
    bad(case, two % ("", "", group + ", {from: b, to: c, pattern: '>>', channel: pipe}"), "'>>' from it goes by files only")
    bad(case, two.replace("c: {sh: x", "c: {sh: 'x {in.1}'") % ("", "", group + ", b >= c, d >= c"), "what 'd' writes would have no reader")
    bad(case, two.replace("b: {sh: x", "b: {sh: 'x {in.1}'") % ("", "", group + ", d >> b, {from: d, to: c}"), "groups feed 'b', so its other edges must be '>>' with {by: all}")
    by = ", width: {per: 1MiB, of: data}"
    bad(case, two % (by, "", "a >= b"), "the width of 'b' goes by data, so every edge into it must be '>>' from a stage")
    bad(case, two % (", width: {per: 1MiB, of: date}", "", "a >> b"), "a width goes by the bytes of 'inputs'")
    bad(case, two % (", width: {per: 1MiB, most: 7}", "", "t >= b"), "most goes with")
    every = "{from: a, to: d, pattern: '%s', partition: {by: %s, tree: true}}"
    bad(case, two % ("", "", every % (">>", "round-robin")), "a tree goes with {by: all}")
    bad(case, two % ("", "", every % (">=", "all")), "a tree goes with the pattern '>>'")


if __name__ == "__main__":
    main()
