# SPDX-License-Identifier: Apache-2.0
"""Jobs from a C program (dagrun/job.h): vertices are added while the job runs, and their results are read."""
import glob
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

GRAPH = os.path.join(SOURCE, "graphs/tasks/tasks.yaml")


def squares(n):
    return n * (n + 1) * (2 * n + 1) // 6


def start(case, n, nameserver=None, graph=GRAPH, prefix=()):
    env = dict(case.env, **({"NAMESERVER": nameserver} if nameserver else {}))
    return case.start(program("graphs/client"), graph, str(n), f"out={case.path('out.txt')}", env=env, prefix=prefix)


def end(p, rc=0, timeout=60):
    out, err = p.communicate(timeout=patience(timeout))
    check(p.returncode == rc, f"exit code {p.returncode}: {err.decode()[-2000:]}")
    return out.decode(), err.decode()


def check_squares(case, n, out):
    check(out == f"{squares(n)}\n", out)
    check(case.read("out.txt").split() == [b"%d" % (i * i) for i in range(1, n + 1)], "the file differs")


@test
def tasks_of_a_program(case):
    for n in (1, 9, 1000):
        check_squares(case, n, end(start(case, n))[0])
    job = job_id(case)
    r = case.dagrun("jobs", job).stdout.decode()
    check("square                   1000     1000" in r, r)
    r = case.dagrun("verify", job, "sum[7]", "square[3]").stdout
    check(b"all gave the same bytes as then" in r, r)


@test
def tasks_on_a_cluster(case):
    cluster = Cluster(case)
    check_squares(case, 300, end(start(case, 300, cluster.endpoint))[0])


SLOW_TASKS = """
params: {out: {}}
stages:
  square: {sh: 'sleep 0.3; echo $((DAGRUN_ARGUMENT * DAGRUN_ARGUMENT)); echo x >> RAN', width: open}
  sum:    {plugin: tasks, entry: sum, width: open}
  all:    {program: [sort, -n]}
flow: [square >= sum.0, sum >= sum.1, square >> all]
outputs: {all: {file: "${out}"}}
"""


def slow(case):
    case.write("slow.yaml", SLOW_TASKS.replace("RAN", case.path("ran")))
    case.write("ran", "")
    return case.path("slow.yaml")


def ran(case):
    return case.read("ran").count(b"x")


@test
def tasks_of_a_killed_daemon_run_again(case):
    cluster = Cluster(case)
    p = start(case, 60, cluster.endpoint, slow(case))
    case.wait_for(lambda: ran(case) >= 20, "twenty tasks")
    cluster.daemons[1].kill()
    out, err = end(p)
    check_squares(case, 60, out)
    check("run again" in err, err)


def check_resumed(case, *args):
    p = start(case, 40, *args, graph=slow(case))
    case.wait_for(lambda: ran(case) >= 10, "ten tasks")
    p.kill()
    p.wait()
    check(b"unfinished" in case.dagrun("jobs").stdout, "jobs")
    case.dagrun("resume", job_id(case))
    check(case.read("out.txt").split() == [b"%d" % (i * i) for i in range(1, 41)], "the file differs")
    check(ran(case) < 60, ran(case))


@test
def what_a_killed_program_added_is_finished_by_resume(case):
    check_resumed(case)


@test
def what_a_killed_program_added_to_a_cluster_is_finished_by_resume(case):
    check_resumed(case, Cluster(case).endpoint)


@test
def a_program_that_leaves_publishes_nothing(case):
    p = start(case, 30, graph=slow(case))
    case.wait_for(lambda: ran(case) >= 3, "three tasks")
    p.terminate()
    p.wait()
    check(not os.path.exists(case.path("out.txt")), "an output")
    case.dagrun("clean", job_id(case))
    case.wait_for(lambda: not case.hosts(), "the hosts to go")


@test
def errors_reach_the_program(case):
    out, err = end(start(case, 3, graph="none.yaml"), 3)
    check("none.yaml" in err and "No such file" in err, err)
    case.write("bad.yaml", "stages: {square: {sh: x, wdth: open}}\n")
    check("bad.yaml:1:" in end(start(case, 3, graph=case.path("bad.yaml")), 3)[1], "the place")
    case.write("few.yaml", open(GRAPH).read().replace("100000", "5").replace("plugin: tasks", "plugin: " + program("graphs/tasks.so")))
    check("(-16)" in end(start(case, 6, graph=case.path("few.yaml")), 1)[1], "the limit")
    case.write("fails.yaml", SLOW_TASKS.replace("sleep 0.3; ", "exit 3; "))
    err = end(start(case, 3, graph=case.path("fails.yaml")), 1)[1]
    check("square[" in err and "exit code 3" in err, err)
    check("does not answer (-7)" in end(start(case, 3, "tcp://127.0.0.1:9"), 1)[1], "no cluster")
    case.write("closed.yaml", "stages: {square: {sh: x}, sum: {sh: x, width: open}}\nflow: [square >= sum]\nparams: {out: {}}\n")
    check("(-1)" in end(start(case, 3, graph=case.path("closed.yaml")), 1)[1], "a stage that is not open")
    r = case.dagrun("run", GRAPH, rc=3)
    check(b"tasks.yaml:7:3: stage 'square' is open" in r.stderr, r.stderr)


@test
def misuse_gives_errors_and_no_more(case):
    p = case.start(program("tests/misuse"), GRAPH, f"out={case.path('out.txt')}")
    err = end(p)[1]
    check(case.read("out.txt") == b"9\n", "the file differs")
    check("said: dag_job_open needs the path of a graph file" in err and "said: a parameter must be NAME=VALUE, not 'novalue'" in err, err)
    check("internal error" not in err, err)


@test
def what_an_open_stage_cannot_be(case):
    two = "inputs: {t: {files: g.yaml}}\nstages: {a: {sh: x}, b: {sh: x, width: open}, c: {sh: x}}\nflow: [%s]\noutputs: {%s}\n"
    bad(case, two % ("a >> b", ""), "what a vertex of 'b' reads is said when it is added: write 'a >= b'")
    bad(case, two % ("t >= b", ""), "'t' is an input of the job, and the stage 'b' is open")
    bad(case, two % ("a >= b, {from: b, to: c, channel: pipe}", ""), "stage 'b' is open: its channels are always files")
    bad(case, two % ("a >= b >= c", "c: {file: x}"), "stage 'b' is open: write a file for each of 'c', with {index}")
    bad(case, two.replace("open", "{open: 0}") % ("a >= b", ""), "open is 0")
    case.write("g.yaml", two % ("t >= a >= b, b >= b, b >= c", "c: {file: 'x.{index}'}"))
    case.dagrun("check", "g.yaml")


if __name__ == "__main__":
    main()
