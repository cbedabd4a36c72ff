# SPDX-License-Identifier: Apache-2.0
"""The example graphs, embedded: each beside the same answer made by coreutils or by hand. And what channels promise."""
import glob
import json
import os
import random
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *


def text(case, size="3MiB", seed=1):
    data = subprocess.run([os.path.join(BUILD, "bench", "gen_text"), size, str(seed)], capture_output=True, check=True).stdout
    return case.write("text.txt", data)


COUNT = "tr -cs 'a-z0-9' '\\n' < text.txt | grep . | sort | uniq -c | awk '{print $2 \"\\t\" $1}' | sort -k2,2nr -k1,1"


@test
def vertices_that_wait_in_a_host_have_their_own_limits(case):
    """Short ones wait behind others in a host, which is bound to as many CPUs as their stage may have."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Skip("there is one CPU only")
    grep = "[grep, -h, Cpus_allowed_list, /proc/self/status]"
    case.write("g.yaml", f"stages:\n  bound: {{program: {grep}, width: 300, cpus: 1}}\n  free: {{program: {grep}, width: 300}}\n"
               "flow: [bound >= free]\noutputs: {bound: {file: bound}, free: {file: free}}\n")
    case.dagrun("run", "-s", "2", "g.yaml")
    own = [line for line in open("/proc/self/status") if line.startswith("Cpus_allowed_list")][0].encode()
    check(case.read("free") == own * 300, "a free vertex ran where another was bound")
    check(own not in case.read("bound"), "a bound vertex ran where another was free")


@test
def stages_that_are_alike_have_their_own_names_and_widths(case):
    long = "#" * 20000
    case.write("g.yaml", "stages:\n" + "".join(f"  {name}: {{sh: 'echo $DAGRUN_STAGE $DAGRUN_INDEX/$DAGRUN_WIDTH {comment}', width: {width}}}\n"
                                               for name, width, comment in (("a", 1, ""), ("b", 2, ""), ("c", 1, long), ("d", 1, long), ("e", 1, ""))) +
               "outputs: {" + ", ".join(f"{name}: {{file: {name}.out}}" for name in "abcde") + "}\n")
    case.dagrun("run", "-s", "1", "g.yaml")
    for name, text in (("a", "a 0/1\n"), ("b", "b 0/2\nb 1/2\n"), ("c", "c 0/1\n"), ("d", "d 0/1\n"), ("e", "e 0/1\n")):
        check(case.read(f"{name}.out").decode() == text, case.read(f"{name}.out"))


@test
def wordcount(case):
    text(case)
    case.dagrun("run", graph("wordcount"), "-p", "text=text.txt", "-p", "split=200KiB", "-p", "out=new/folder/words.tsv")
    check(case.read("new/folder/words.tsv") == case.shell(COUNT), "the counts differ")


@test
def mostfrequent(case):
    r = case.dagrun("run", graph("mostfrequent"))
    check(r.stdout == b"(1, 6)\n", r.stdout)


@test
def toppages(case):
    case.write("access.log", case.shell(os.path.join(SOURCE, "graphs/toppages/make_log.sh") + " 20000"))
    case.dagrun("run", graph("toppages"), "-p", "log=access.log", "-p", "split=100KiB", "-p", "pages=p", "-p", "clients=c")
    top = "sort | uniq -c | awk '{print $2 \"\t\" $1}' | sort -k2,2nr -k1,1 | head -n 5"
    check(case.read("p") == case.shell("awk '{print $7}' access.log | " + top), "the pages differ")
    check(case.read("c") == case.shell("awk '{print $1}' access.log | " + top), "the clients differ")


@test
def grep(case):
    text(case)
    r = case.dagrun("run", graph("grep"), "-p", "text=text.txt", "-p", "split=100KiB", "-p", "pattern=bada")
    check(r.stdout == case.shell("grep bada text.txt"), "the lines differ")


@test
def sort(case):
    text(case)
    case.dagrun("run", graph("sort"), "-p", "text=text.txt", "-p", "split=300KiB", "-p", "out=sorted")
    check(case.read("sorted") == case.shell("sort text.txt"), "the order differs")
    lines = [line for line in open(os.path.join(SOURCE, "graphs/sort/sort.c")) if line.strip()]
    check(len(lines) <= 50, f"the user's part has {len(lines)} lines")


@test
def join(case):
    case.write("l", case.shell("seq 1 3 9000 | awk '{print $1, \"left\" $1}'"))
    case.write("r", case.shell("seq 1 2 9000 | awk '{print $1, \"right\" $1}'"))
    r = case.dagrun("run", graph("join"), "-p", "left=l", "-p", "right=r", "-p", "split=10KiB")
    check(r.stdout == case.shell("sort -k1,1 l > ls; sort -k1,1 r > rs; join ls rs | sort"), "the join differs")


@test
def pipeline_ends_when_its_consumer_does(case):
    started = time.time()
    r = case.dagrun("run", graph("pipeline"), "-p", "lines=3")
    check(r.stdout == b"".join(b"%6d\tdagrun\n" % i for i in (1, 2, 3)), r.stdout)
    check(soon(started, 5), "it did not end promptly")


PACKED = """
params: {compress: {default: none}}
inputs: {t: {files: t.txt, split: 100KiB}}
stages:
  part: {use: partition}
  sort: {use: sort, width: 3}
  all: {use: merge}
flow:
  - t >= part
  - {from: part, to: sort, pattern: ">>", partition: {by: hash, key: 1}, compress: "${compress}"}
  - {from: sort, to: all, pattern: ">>", channel: pipe, compress: "${compress}"}
outputs: {all: {file: out.txt}}
"""


@test
def packed_edges_give_the_same_bytes(case):
    draw = random.Random(5)
    noise = b"".join(b"%032x\n" % draw.getrandbits(128) for _ in range(1000))
    case.write("t.txt", case.shell("seq 1000000 1040000") + noise)
    case.write("p.yaml", PACKED)
    wanted, written = case.shell("sort t.txt"), {}

    def stored(r):
        journal = os.path.join(case.state, "dagrun/jobs", re.search(rb"job (\S+)", r.stderr).group(1).decode(), "journal.db")
        with sqlite3.connect(journal) as db:
            facts = "".join(row[0] for row in db.execute("SELECT facts FROM facts ORDER BY seq"))
        return sum(int(n) for n in re.findall(r"^committed .* bytes=([0-9]+)", facts, re.M))

    for codec in ("none", "lz4", "zstd"):
        r = case.dagrun("run", "-p", f"compress={codec}", "p.yaml")
        check(case.read("out.txt") == wanted, codec)
        check(codec == "none" or f", {codec}".encode() in case.dagrun("plan", "-p", f"compress={codec}", "p.yaml").stdout, "plan")
        written[codec] = stored(r)
    check(written["zstd"] < written["lz4"] < 0.8 * written["none"], written)
    check(stored(case.dagrun("run", "-p", "compress=auto", "p.yaml")) == written["none"], "auto packs on one node")
    cluster = Cluster(case, nodes=2)
    check(stored(cluster.run("-p", "compress=auto", "p.yaml")) == written["lz4"], "auto does not pack between nodes")
    check(case.read("out.txt") == wanted, "auto")


DIAMOND = """
name: diamond
params: {n: {default: 100000}}
stages:
  a: {sh: "seq ${n}"}
  t: {plugin: std, entry: tee}
  b: {plugin: std, entry: cat}
  c: {program: [cat]}
  d: {sh: "cat {in.0} {in.1} | md5sum"}
flow:
  - {from: a, to: t, channel: pipe}
  - {from: t, to: b, channel: pipe}
  - {from: t.1, to: c, channel: pipe}
  - {from: b, to: d, channel: pipe}
  - {from: c, to: d, channel: pipe}
outputs:
  d: {file: "-"}
"""


@test
def diamond_of_pipes_does_not_deadlock(case):
    case.write("d.yaml", DIAMOND)
    n = 300000 if SANITIZED else 3000000
    r = case.dagrun("run", "d.yaml", "-p", f"n={n}")
    check(r.stdout == case.shell(f"(seq {n}; seq {n}) | md5sum"), "the bytes differ")


@test
def fifo_runs_in_one_host(case):
    case.write("f.yaml", """
stages:
  a: {sh: "seq 200000"}
  b: {plugin: std, entry: cat}
  c: {sh: "cat {in.0}; echo $DAGRUN_STAGE"}
flow:
  - {from: a, to: b, channel: fifo}
  - {from: b, to: c, channel: fifo}
outputs: {c: {file: "-"}}
""")
    r = case.dagrun("run", "f.yaml")
    check(r.stdout == case.shell("seq 200000; echo c"), "the bytes differ")


@test
def a_fifo_that_one_reader_closes_goes_on_for_the_other(case):
    case.write("f.yaml", """
stages:
  a: {sh: "seq 1000000"}
  b: {program: [head, -n, "1"]}
  c: {program: [md5sum]}
flow:
  - {from: a, to: b, channel: fifo}
  - {from: a, to: c, channel: fifo}
outputs: {b: {file: b}, c: {file: c}}
""")
    case.dagrun("run", "f.yaml")
    check(case.read("b") == b"1\n", case.read("b"))
    check(case.read("c") == case.shell("seq 1000000 | md5sum"), "the other reader's stream was cut")


@test
def program_ports_environment_and_files(case):
    case.write("extra.txt", "shipped\n")
    case.write("tool.sh", "#!/bin/sh\ncat extra.txt; echo $1 $2; pwd | grep -c scratch\n")
    os.chmod(case.path("tool.sh"), 0o755)
    case.write("p.yaml", """
inputs: {nums: {files: nums.txt}}
stages:
  split: {sh: "grep 1 < {in.0:file} > {out.1}; grep 2 {in.0:file}", width: 1}
  merge: {sh: "sort -m {in.0.*}"}
  both:  {sh: "cat {in.0} {in.1} > {out.0}; echo $LC_ALL $TZ $X $DAGRUN_STAGE $DAGRUN_INDEX $DAGRUN_WIDTH {index} {width}; test $HOME = $PWD", env: {X: "a b"}}
  tool:  {program: [./tool.sh, "{index}", "$${HOME}"], files: [extra.txt], width: 2}
flow:
  - nums >= split
  - split.0 >> merge
  - merge >= both.0
  - split.1 >= both.1
outputs:
  both: {file: both.txt}
  tool: {file: "tool-{index}.txt"}
""")
    case.write("nums.txt", "1\n2\n12\n")
    case.dagrun("run", "p.yaml")
    check(case.read("both.txt") == b"2\n12\n1\n12\n", case.read("both.txt"))
    check(case.read("tool-1.txt") == b"shipped\n1 ${HOME}\n1\n", case.read("tool-1.txt"))


@test
def each_attempt_finds_a_folder_of_its_own_and_empty(case):
    """Whatever those before it did with theirs: nothing, files, other rights, a process that stays."""
    case.write("s.yaml", """
stages:
  s:
    sh: |
      basename $PWD; ls -A | wc -l; stat -c %a .
      case $(({index} % 5)) in
      1) touch left; mkdir -p sub/sub;;
      2) chmod 500 .;;
      3) setsid sleep 1000 <&- >&- 2>&- & ;;
      4) chmod 755 .; rmdir "$PWD";;
      esac
    width: 40
  all: {sh: "cat {in.0.*}"}
flow: [s >> all]
outputs: {all: {file: "-"}}
""")
    r = case.dagrun("run", "--slots", "2", "s.yaml")
    lines = r.stdout.decode().split()
    check(lines[1::3] == ["0"] * 40 and lines[2::3] == ["700"] * 40, r.stdout)
    check(len(set(lines[0::3])) == 40, r.stdout)


@test
def stdin_and_stdout(case):
    case.write("s.yaml", """
inputs: {in: {files: "-", split: 1KiB}}
stages: {up: {program: [tr, a-z, A-Z]}}
flow: [in >= up]
outputs: {up: {file: "-"}}
""")
    data = b"".join(b"line %d\n" % i for i in range(5000)) + b"the last has no line feed"
    r = case.dagrun("run", "s.yaml", input=data)
    check(r.stdout == data.upper(), "the bytes differ")


@test
def formats(case):
    case.write("fixed.bin", bytes(range(250)) * 40)
    case.write("kv.txt", "b\t2\na\t1\nb\t3\n")
    case.write("f.yaml", """
inputs:
  fixed: {files: fixed.bin, split: 1KiB, format: {fixed: 100}}
  kv:    {files: kv.txt, format: kv}
stages:
  f: {plugin: std, entry: cat}
  g: {program: [cat], format: {fixed: 100}}
  k: {plugin: std, entry: cat}
  s: {program: [sort], format: kv, width: 3}
  m: {plugin: std, entry: merge}
flow:
  - fixed >= f >= g
  - kv >= k >> s >> m
outputs:
  g: {file: fixed.out}
  m: {file: kv.out}
""")
    case.dagrun("run", "f.yaml")
    check(case.read("fixed.out") == case.read("fixed.bin"), "fixed records differ")
    check(case.read("kv.out") == b"a\t1\nb\t2\nb\t3\n", case.read("kv.out"))


@test
def partitions_reach_the_right_consumers(case):
    case.write("p.yaml", """
inputs: {nums: {files: nums.txt, split: 1KiB}}
stages:
  src:  {plugin: std, entry: cat}
  rr:   {sh: "wc -l", width: 4}
  all:  {sh: "wc -l", width: 3}
  near: {sh: "wc -l"}
  hash: {sh: "awk '{print $2}' | sort -u", width: 4}
flow:
  - nums >= src
  - {from: src, to: rr, pattern: ">>", partition: {by: round-robin}}
  - {from: src, to: all, pattern: ">>", partition: {by: all}}
  - {from: src, to: near, neighbours: 1}
  - {from: src, to: hash, pattern: ">>", partition: {by: hash, key: 2}}
outputs:
  rr: {file: rr}
  all: {file: all}
  near: {file: near}
  hash: {file: hash}
""")
    case.write("nums.txt", case.shell("seq 1 1000 | awk '{print $1, $1 % 10}'"))
    case.dagrun("run", "p.yaml")
    check(sum(map(int, case.read("rr").split())) == 1000, "round-robin lost or doubled records")
    check(case.read("all").split() == [b"1000"] * 3, case.read("all"))
    check(sorted(case.read("hash").split()) == [b"%d" % i for i in range(10)], "a key reached two consumers")
    near = [int(n) for n in case.read("near").split()]
    check(len(near) > 3 and sum(near) > 2000, near)


@test
def plan_and_dry_run(case):
    plan = json.loads(case.dagrun("plan", graph("wordcount"), "--format", "json").stdout)
    check([s["name"] for s in plan["stages"]] == ["text", "count", "sum", "rank"], plan)
    check(b"digraph" in case.dagrun("plan", graph("wordcount"), "--format", "dot").stdout, "no dot")
    check(b"stages:" in case.dagrun("run", "--dry-run", graph("wordcount")).stdout, "no plan")
    check(not os.path.exists(os.path.join(SOURCE, "graphs/wordcount/out")), "a dry run made a folder")


SLEEPER = "stages: {a: {sh: 'echo x; sleep 100'}}\noutputs: {a: {file: o/x}}\n"


def interrupt(case, how):
    case.write("s.yaml", SLEEPER)
    p = case.start(program("dagrun"), "run", "s.yaml")
    case.wait_for(lambda: case.hosts(), "a host")
    time.sleep(0.3)
    p.send_signal(how)
    p.wait(patience(10))
    check(p.returncode == 128 + how, f"exit code {p.returncode}")
    check(not os.path.exists(case.path("o")), "half an output is left")


@test
def ctrl_c_leaves_nothing(case):
    interrupt(case, signal.SIGINT)


@test
def sigterm_leaves_nothing(case):
    interrupt(case, signal.SIGTERM)


@test
def F01_killed_host_runs_its_vertex_again(case):
    case.write("d.yaml", DIAMOND)
    n = 15000000
    p = case.start(program("dagrun"), "run", "d.yaml", "-p", f"n={n}")
    case.wait_for(lambda: len(case.hosts()) == 5, "five hosts")
    time.sleep(0.3)
    os.kill(max(case.hosts()), signal.SIGKILL)  # the last that was started: it reads until the end
    out, err = p.communicate(timeout=patience(60))
    check(p.returncode == 0, err.decode())
    check(out == case.shell(f"(seq {n}; seq {n}) | md5sum"), "the bytes differ")
    check(b"runs again" in err, "the kill was not told of")


@test
def F03_failing_vertex_publishes_nothing(case):
    case.write("f.yaml", "stages: {a: {sh: 'seq 100'}, b: {sh: 'cat; exit 3', retries: 0}}\nflow: [a >= b]\noutputs: {a: {file: a}, b: {file: b}}\n")
    case.write("b", "old")
    r = case.dagrun("run", "f.yaml", rc=1)
    check(b"b[0] attempt 1" in r.stderr and b"exit code 3" in r.stderr, r.stderr)
    check(case.read("b") == b"old" and not os.path.exists(case.path("a")), "something was published")


@test
def F53_two_jobs_for_one_output(case):
    case.write("s.yaml", "stages: {a: {sh: 'sleep 2; echo x'}}\noutputs: {a: {file: same}}\n")
    first = case.start(program("dagrun"), "run", "s.yaml")
    case.wait_for(lambda: case.hosts(), "a host")
    time.sleep(0.2)
    r = case.dagrun("run", "s.yaml", rc=1)
    check(b"is writing the output" in r.stderr, r.stderr)
    first.wait(patience(20))
    check(first.returncode == 0 and case.read("same") == b"x\n", "the first job was disturbed")


@test
def bad_records_go_into_quarantine(case):
    case.write("picky.c", r"""
#include <dagrun/vertex.h>
#include <signal.h>
#include <string.h>
static int eat(struct dag_vertex *v)
{
	struct dag_record r;
	while (dag_read(v, 0, &r) > 0) {
		if (r.len == 4 && !memcmp(r.data, "boom", 4)) { signal(SIGSEGV, SIG_DFL); raise(SIGSEGV); }
		if (r.len == 3 && !memcmp(r.data, "bad", 3)) return dag_fail(v, "no number");
		dag_write(v, 0, r.data, r.len);
	}
	return 0;
}
DAG_PLUGIN(picky, DAG_ENTRY(eat, DAG_IN(LINES), DAG_OUT(LINES), "is picky"));
""")
    case.shell(f"gcc -shared -fPIC -I{SOURCE}/engine/include picky.c -o picky.so")
    case.write("n.txt", "1\n2\nboom\n3\nbad\n4\n")
    text = "inputs: {n: {files: n.txt}}\nstages: {c: {plugin: picky, entry: eat, skip_records: LIMIT}}\nflow: [n >= c]\noutputs: {c: {file: out.txt}}\n"
    case.write("p.yaml", text.replace("LIMIT", "2"))
    r = case.dagrun("run", "p.yaml")
    check(case.read("out.txt") == b"1\n2\n3\n4\n", case.read("out.txt"))
    lines = case.read("out.txt.quarantine").split(b"\n")
    check(len(lines) == 3 and b"c[0] port 0 producer 0 record 3\t" in lines[0] and lines[0].endswith(b"\tboom"), lines)
    check(b"record 5\tno number" in lines[1] and lines[1].endswith(b"\tbad"), lines)
    check(b"died twice on record 3 of input port 0, which goes into quarantine: killed by signal 11" in r.stderr, r.stderr)
    check(b"at record 3 of input port 0" in r.stderr and b"record 2 " not in r.stderr, r.stderr)
    told = case.dagrun("jobs", job_id(case)).stdout
    check(b"died twice on record 5 of input port 0" in told and b"record 4 " not in told, told)
    os.unlink(case.path("out.txt"))
    for limit, word in (("1", b"no more records may be skipped"), ("0", b"died twice on record 3")):
        case.write("p.yaml", text.replace("LIMIT", limit))
        r = case.dagrun("run", "p.yaml", rc=1)
        check(b"died twice on record" in r.stderr and word in r.stderr, r.stderr)
        check(not os.path.exists(case.path("out.txt")), "something was published")
    case.write("p.yaml", text.replace("skip_records: LIMIT", "retries: 2"))
    r = case.dagrun("run", "p.yaml", rc=1)
    check(b"c[0] attempt 3" in r.stderr, r.stderr)


@test
def F04_crashing_plugin_names_signal_and_record(case):
    case.write("crash.c", r"""
#include <dagrun/vertex.h>
#include <signal.h>
static int boom(struct dag_vertex *v) { struct dag_record r; while (dag_read(v, 0, &r) > 0) if (r.number == 41) { signal(SIGSEGV, SIG_DFL); raise(SIGSEGV); } return 0; }
static int bad(struct dag_vertex *v) { return dag_fail(v, "no column %d", 7); }
DAG_PLUGIN(crash, DAG_ENTRY(boom, DAG_IN(LINES), "crashes"), DAG_ENTRY(bad, DAG_IN(LINES), "fails"));
""")
    case.shell(f"gcc -shared -fPIC -I{SOURCE}/engine/include crash.c -o crash.so")
    case.write("n.txt", case.shell("seq 100"))
    for entry, words in (("boom", [b"signal 11", b"record 42"]), ("bad", [b"no column 7"])):
        case.write("c.yaml", f"inputs: {{n: {{files: n.txt}}}}\nstages: {{c: {{plugin: crash, entry: {entry}}}}}\nflow: [n >= c]\n")
        r = case.dagrun("run", "c.yaml", rc=1)
        for word in words:
            check(word in r.stderr, r.stderr)


API = r"""
#include <dagrun/vertex.h>
#include <stdio.h>
#include <string.h>
static int gen(struct dag_vertex *v)
{
	char *at;
	for (unsigned i = 0; i < 1000; i++) {
		if (dag_reserve(v, 0, 64, (void **)&at) < 0)
			return -1;
		if (dag_commit(v, 0, (size_t)snprintf(at, 64, "%u.%u", dag_index(v), i)) < 0)
			return -1;
	}
	return 0;
}
static int take(struct dag_vertex *v)
{
	struct dag_record r[7], one;
	char line[200], path[300];
	unsigned long any = 0, batch = 0, from = 0;
	int n;
	FILE *f;
	while ((n = dag_read_any(v, 0, &one)) > 0)
		any++;
	while ((n = dag_read_batch(v, 1, r, 7)) > 0)
		batch += (unsigned)n;
	for (unsigned p = dag_producers(v, 2); p-- > 0;)
		while ((n = dag_read_from(v, 2, p, &one)) > 0)
			from += one.producer == p && one.number < 1000;
	dag_count(v, "records", (int64_t)(any + batch + from));
	dag_log(v, "hello from %u", dag_index(v));
	snprintf(path, sizeof(path), "%s/x", dag_scratch(v));
	f = fopen(path, "w");
	if (!f || fclose(f))
		return dag_fail(v, "no scratch");
	n = snprintf(line, sizeof(line), "%lu %lu %lu %u %s %d", any, batch, from, dag_width(v), dag_param(v, "p"), dag_param(v, "q") == NULL);
	return dag_write(v, 0, line, (size_t)n);
}
DAG_PLUGIN(api, DAG_ENTRY(gen, DAG_OUT(LINES), "lines"),
	DAG_ENTRY_FLAGS(take, DAG_ORDER_BLIND, DAG_IN(LINES), DAG_IN(LINES), DAG_IN(LINES), DAG_OUT(LINES), "counts"));
"""


@test
def the_vertex_api(case):
    case.write("api.c", API)
    case.shell(f"gcc -Wall -Wextra -Werror -shared -fPIC -I{SOURCE}/engine/include api.c -o api.so")
    case.write("a.yaml", """
stages:
  gen:  {plugin: api, entry: gen, width: 3}
  take: {plugin: api, entry: take, width: 2, params: {p: v}}
flow:
  - {from: gen, to: take.0, pattern: ">>", partition: {by: all}}
  - {from: gen, to: take.1, pattern: ">>", partition: {by: all}, channel: file}
  - {from: gen, to: take.2, list: [[0, 0], [2, 0], [1, 1]]}
outputs: {take: {file: "-"}}
""")
    r = case.dagrun("run", "a.yaml")
    check(r.stdout == b"3000 3000 2000 2 v 1\n3000 3000 1000 2 v 1\n", r.stdout)
    check(b"take: records: 15000" in r.stderr and b"take[1]: hello from 1" in r.stderr, r.stderr)


@test
def timeout_and_isolate(case):
    case.write("t.yaml", "stages: {a: {sh: 'sleep 60', timeout: 300ms, retries: 0, isolate: true}}\n")
    r = case.dagrun("run", "t.yaml", rc=1)
    check(b"longer than its timeout" in r.stderr, r.stderr)


@test
def a_changed_input_is_an_error(case):
    case.write("in.txt", "a\nb\n")
    case.write("c.yaml", "inputs: {i: {files: in.txt}}\nstages: {w: {sh: 'sleep 1'}, c: {sh: 'cat {in.0} {in.1}'}}\nflow: [w >= c.0, i >= c.1]\noutputs: {c: {file: '-'}}\n")
    p = case.start(program("dagrun"), "run", "c.yaml")
    case.wait_for(lambda: case.hosts(), "a host")
    case.write("in.txt", "changed meanwhile\n")
    out, err = p.communicate(timeout=patience(60))
    check(p.returncode == 1 and b"in.txt" in err and b"changed" in err, err)


@test
def crash_among_short_vertices_charges_only_its_own(case):
    """Short vertices wait in a host behind others: those go elsewhere when it crashes, or ends for a failure."""
    case.write("mine.c", """
#include <dagrun/vertex.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/stat.h>
static int work(struct dag_vertex *v)
{
	char path[4096], text[32];
	uint32_t i = dag_index(v);
	snprintf(path, sizeof(path), "%s%u", dag_param(v, "flag"), i);
	if (i % 100 == 50 && mkdir(path, 0700) == 0)
		abort();
	if (i % 100 == 80 && mkdir(path, 0700) == 0)
		return dag_fail(v, "once");
	return dag_write(v, 0, text, (size_t)snprintf(text, sizeof(text), "%u", i));
}
DAG_PLUGIN(mine, DAG_ENTRY(work, DAG_OUT(LINES), "its index"));
""")
    case.shell(f"gcc -shared -fPIC -I{SOURCE}/engine/include mine.c -o mine.so")
    case.write("m.yaml", """
stages: {w: {plugin: mine, entry: work, width: 2000, params: {flag: FLAG}}}
outputs: {w: {file: out.txt}}
""".replace("FLAG", case.path("flag")))
    err = case.dagrun("run", "-s", "2", "m.yaml").stderr
    check(case.read("out.txt") == case.shell("seq 0 1999"), "the output differs")
    check(b"2000 vertices, 2040 attempts" in err, err[-300:])


@test
def short_vertices_do_not_wait_behind_a_long_one(case):
    case.write("mine.c", """
#include <dagrun/vertex.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
static int work(struct dag_vertex *v)
{
	struct timespec t;
	char text[64];
	if (dag_index(v) == 200)
		sleep(3);
	clock_gettime(CLOCK_REALTIME, &t);
	return dag_write(v, 0, text, (size_t)snprintf(text, sizeof(text), "%u %ld.%09ld", dag_index(v), (long)t.tv_sec, t.tv_nsec));
}
DAG_PLUGIN(mine, DAG_ENTRY(work, DAG_OUT(LINES), "its index, and when"));
""")
    case.shell(f"gcc -shared -fPIC -I{SOURCE}/engine/include mine.c -o mine.so")
    case.write("m.yaml", "stages: {w: {plugin: mine, entry: work, width: 1000}}\noutputs: {w: {file: out.txt}}\n")
    case.dagrun("run", "-s", "2", "m.yaml")
    rows = [line.split() for line in case.read("out.txt").decode().splitlines()]
    check([int(r[0]) for r in rows] == list(range(1000)), "the output differs")
    end = float(rows[200][1])
    late = [r for r in rows if r[0] != "200" and float(r[1]) > end - 0.5]
    check(not late, f"these waited behind it: {late}")


@test
def stalled_consumer_bounds_the_producer(case):
    case.write("s.yaml", """
stages:
  a: {sh: "yes 0123456789012345678901234567890123456789 | head -c 300000000"}
  b: {sh: "until [ -e GO ]; do sleep 0.05; done; wc -c"}
flow: [{from: a, to: b, channel: pipe}]
outputs: {b: {file: "-"}}
""".replace("GO", case.path("go")))
    p = case.start(program("dagrun"), "run", "s.yaml")
    seen = [0]

    def stalled():
        """The consumer waits, and the producer has written nothing for a second. This job's own folder: other tests spool beside it."""
        used = sum(int(subprocess.run(["du", "-sk", folder], capture_output=True).stdout.split()[0]) for folder in
                   (f"/dev/shm/dagrun-{os.getuid()}/run-{job_id(case)}",) if os.path.exists(folder)) if glob.glob(case.state + "/dagrun/jobs/*") else 0
        seen.append(used)
        time.sleep(0.1)
        return used > 10000 and seen[-10:] == [used] * 10

    case.wait_for(stalled, "the producer to stop")
    most = max(seen) // 1024
    case.write("go", "")
    out, err = p.communicate(timeout=patience(60))
    check(p.returncode == 0 and int(out) == 300000000, out + err)
    check(most < 50, f"{most} MiB were spooled for a window of 16 MiB")


@test
def chains_of_short_vertices(case):
    """Three that take turns, and one alone, which goes on before it has ended."""
    for depth, width in ((500, 3), (1500, 1)):
        want = chains(case, depth, width, 0, retries=50)
        r = case.dagrun("run", "-P", os.path.join(BUILD, "bench"), "chain.yaml")
        check(case.read("sums") == want, "the sums differ")
        check(b"1500 vertices, 1500 attempts" in r.stderr, r.stderr)


@test
def chains_whose_hosts_are_killed(case):
    for depth, width in ((400, 8), (2000, 1)):
        want = chains(case, depth, width, 500000, retries=50)
        p = case.start(program("dagrun"), "run", "-P", os.path.join(BUILD, "bench"), "--slots", "2", "chain.yaml")
        killed = 0
        while p.poll() is None:
            time.sleep(0.15)
            hosts = case.hosts()
            if hosts and killed < 4:
                os.kill(hosts[killed % len(hosts)], signal.SIGKILL)
                killed += 1
        _, err = p.communicate()
        check(p.returncode == 0 and killed >= 2, err.decode()[-2000:])
        check(case.read("sums") == want, "the sums differ")
        check(b"killed by signal 9" in err, err)


@test
def who_waits_sleeps(case):
    """Host and daemon look for each other's next word for some microseconds only."""
    case.write("g.yaml", "stages: {a: {sh: 'for i in 1 2 3 4 5 6 7 8; do echo; sleep 0.25; done'}, b: {sh: 'wc -l'}}\n"
               "flow: [{from: a, to: b, pattern: '>=', channel: pipe}]\noutputs: {b: {file: '-'}}\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    r = case.dagrun("run", "g.yaml")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    check(r.stdout == b"8\n", r.stdout)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    check(used < 0.7 * SLOW, f"{used:.2f} s of CPU for 2 s of sleep")


if __name__ == "__main__":
    main()
