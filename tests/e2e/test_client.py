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
    error = end(start(case, 3, "tcp://127.0.0.1:9"), 1)[1]
    check("does not answer: " in error and "(-7)" in error, error)
    case.write("closed.yaml", "stages: {square: {sh: x}, sum: {sh: x, width: open}}\nflow: [square >= sum]\nparams: {out: {}}\n")
    check("(-1)" in end(start(case, 3, graph=case.path("closed.yaml")), 1)[1], "a stage that is not open")
    r = case.dagrun("run", GRAPH, rc=3)
    check(b"tasks.yaml:7:3: stage 'square' is open" in r.stderr, r.stderr)


@test
def misuse_gives_errors_and_no_more(case):
    reads = case.write("stdin.yaml", 'inputs: {t: {files: "-"}}\nstages: {a: {program: [cat]}}\nflow: [t >= a]\n')
    p = case.start(program("tests/misuse"), GRAPH, f"out={case.path('out.txt')}", reads)
    err = end(p)[1]
    check("said: " + reads + ": an input \"-\" is stdin" in err, err)
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
    case.write("g.yaml", two.replace("b: {sh: x", "b: {sh: 'x {in.1}'") % ("t >= a >= b, b >= b, b >= c", "c: {file: 'x.{index}'}"))
    case.dagrun("check", "g.yaml")


EXITS = r"""
#include <dagrun/job.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct dag_job_options options = {sizeof(options), .graph = argv[1], .params = (const char *const[]){argv[3], NULL},
		.nameserver = getenv("NAMESERVER")};
	struct sigaction before, after;
	struct dag_job *job;
	uint32_t index;
	void *data;
	size_t len;
	int r;

	(void)argc;
	sigaction(SIGPIPE, NULL, &before);
	r = dag_job_open(&job, &options);
	sigaction(SIGPIPE, NULL, &after);
	if (before.sa_handler != after.sa_handler || fcntl(0, F_GETFD) < 0)
		return 9;
	if (r < 0)
		return 8;
	if (dag_job_add(job, "square", "12", 2, NULL, 0, &index) < 0 || dag_job_add(job, NULL, "1", 1, NULL, 0, &index) != DAG_EINVAL ||
		dag_job_add(job, "square", NULL, 1, NULL, 0, &index) != DAG_EINVAL || dag_job_add(job, "sum", "1", 1, NULL, 2, &index) != DAG_EINVAL)
		return 7;
	if (!strcmp(argv[2], "read") && dag_job_read(job, "square", 0, 0, &data, &len) < 0)
		return 6;
	if (!strcmp(argv[2], "poll"))
		dag_job_poll(job, 50);
	return 0;
}
"""


@test
def a_program_that_exits_in_the_midst(case):
    """Without dag_job_destroy: it exits, and nothing of the job is left; its signals and descriptors are its own."""
    case.env["ASAN_OPTIONS"] = "detect_leaks=0"  # what it still holds when it exits is no leak
    case.write("exits.c", EXITS)
    case.shell(f"gcc {' '.join(SANITIZE)} -I{SOURCE}/engine/include exits.c -o exits -L{BUILD} -ldagrun -Wl,-rpath,{BUILD}")
    cluster = Cluster(case, nodes=1)
    for nameserver in (None, cluster.endpoint):
        for how in ("read", "poll", "at once"):
            env = dict(case.env, **({"NAMESERVER": nameserver} if nameserver else {}))
            started = time.time()
            r = subprocess.run([case.path("exits"), GRAPH, how, f"out={case.path('out.txt')}"], env=env, capture_output=True, stdin=subprocess.DEVNULL,
                               timeout=patience(10))
            check(r.returncode == 0, f"{nameserver} {how}: {r}")
            check(soon(started, 4), f"{nameserver} {how}: it took {time.time() - started:.1f} s")
            left = [p for p in os.listdir(case.dir) if p.startswith(".dagrun-")]
            check(not left and not os.path.exists(case.path("out.txt")), left)
    case.wait_for(lambda: not [h for h in case.hosts() if h not in case.hosts(daemon=cluster.daemons[0].pid)], "the hosts to end")
    os.mkdir(case.path("out.txt"))
    r = subprocess.run([case.path("exits"), GRAPH, "read", f"out={case.path('out.txt')}"], env=case.env, capture_output=True, stdin=subprocess.DEVNULL)
    check(r.returncode == 8 and b"not a regular file" in r.stderr, r)


if __name__ == "__main__":
    main()
