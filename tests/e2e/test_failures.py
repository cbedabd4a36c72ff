# SPDX-License-Identifier: Apache-2.0
"""What is tried again, how often and when; and what can never run, which is told instead of waited for."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *


def run(case, stage, *args, rc=1):
    case.write("g.yaml", "stages: {a: {%s}}\noutputs: {a: {file: out}}\n" % stage)
    start = time.monotonic()
    r = case.dagrun("run", "g.yaml", "--slots", "2", *args, rc=rc)
    return r.stderr.decode(), time.monotonic() - start


def attempts(case):
    return case.read("N").decode().split() if os.path.exists(case.path("N")) else []


@test
def retries_that_a_user_wrote_are_kept_to_with_pauses(case):
    err, took = run(case, "sh: 'date +%%s.%%N >> %s; exit 5', retries: 3" % case.path("N"))
    times = [float(t) for t in attempts(case)]
    check(len(times) == 4, err)
    pauses = [b - a for a, b in zip(times, times[1:])]
    check(all(p >= least for p, least in zip(pauses, (0.2, 0.4, 0.8))), pauses)
    check("exit code 5 (it failed 4 times)" in err and "runs again in 0.2 s" in err, err)


@test
def a_server_that_comes_up_late_is_reached(case):
    run(case, "sh: 'echo x >> %s; test $(wc -l < %s) -ge 4', retries: 10" % (case.path("N"), case.path("N")), rc=0)
    check(len(attempts(case)) == 4, attempts(case))


@test
def without_retries_two_alike_are_enough(case):
    err, took = run(case, "sh: 'echo x >> %s; exit 5'" % case.path("N"))
    check(len(attempts(case)) == 2 and took >= 0.2, err)
    check("twice the same" in err, err)


@test
def no_retries_are_none(case):
    err, _ = run(case, "sh: 'echo x >> %s; exit 5', retries: 0" % case.path("N"))
    check(len(attempts(case)) == 1, err)


@test
def too_much_memory_twice_is_alike(case):
    hog = "import random, time; x = bytearray((200 << 20) + random.randrange(64 << 20)); time.sleep(20)"
    case.write("hog.py", hog)
    err, _ = run(case, "sh: 'echo x >> %s; python3 %s', memory: 100MiB" % (case.path("N"), case.path("hog.py")))
    check(len(attempts(case)) == 2 and "killed:" in err and "twice the same" in err, err)


@test
def a_timeout_twice_is_alike(case):
    err, _ = run(case, "sh: 'echo x >> %s; sleep 20', timeout: 300ms" % case.path("N"))
    check(len(attempts(case)) == 2 and "timeout" in err, err)


@test
def the_last_reader_of_a_pipe_is_tried_again_after_a_pause(case):
    case.write("g.yaml", """stages:
  a: {sh: "seq 1000"}
  b: {sh: "date +%%s.%%N >> %s; cat; exit 5", retries: 2}
flow: [{from: a, to: b, channel: pipe}]
outputs: {b: {file: out}}
""" % case.path("N"))
    err = case.dagrun("run", "g.yaml", rc=1).stderr.decode()
    times = [float(t) for t in attempts(case)]
    check(len(times) == 3 and times[1] - times[0] >= 0.2 and times[2] - times[1] >= 0.4, (times, err))


@test
def what_this_machine_cannot_run_is_told_at_once(case):
    for asked, words in (("labels: {gpu: '1'}", ("gpu=1", "none")), ("memory: 64TiB", ("memory 64.0 TiB", "the most memory")),
                         ("labels: {a: b}, memory: 64TiB", ("a=b", "64.0 TiB"))):
        case.write("g.yaml", "stages: {first: {sh: 'sleep 30'}, a: {sh: cat, %s}}\nflow: [first >= a]\noutputs: {a: {file: out}}\n" % asked)
        start = time.monotonic()
        err = case.dagrun("run", "g.yaml", rc=1).stderr.decode()
        check(time.monotonic() - start < 10 * SLOW, "it took long")
        check(all(w in err for w in ("'a'", "1 node is there", *words)), err)


@test
def a_hundred_that_fifos_join_run_on_one_slot(case):
    case.write("f.yaml", """stages: {a: {sh: "seq 1000"}, b: {program: [cat], width: 100}}
flow: [{from: a, to: b, pattern: ">>", channel: fifo, partition: {by: round-robin}}]
outputs: {b: {file: out}}
""")
    case.dagrun("run", "f.yaml", "--slots", "1")
    check(sorted(case.read("out").split()) == sorted(b"%d" % i for i in range(1, 1001)), "the bytes differ")


@test
def a_label_that_no_node_has_is_told_where_the_input_is(case):
    cluster = Cluster(case, nodes=2)
    case.write("g.yaml", "stages: {a: {sh: 'echo x'}, b: {sh: cat, labels: {gpu: '1'}}}\nflow: [a >= b]\noutputs: {b: {file: out}}\n")
    err = cluster.run("g.yaml", rc=1).stderr.decode()
    check("label gpu=1; 2 nodes are there, and the labels that are there: none" in err, err)
    case.write("p.yaml", case.read("g.yaml").decode().replace("a >= b", "{from: a, to: b, channel: pipe}"))
    check("label gpu=1" in cluster.run("p.yaml", "--wait-for-nodes", "0s", rc=1).stderr.decode(), "a second member")
    job = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "g.yaml", "--wait-for-nodes", "60s")
    cluster.add(7, extra=["--label", "gpu=1"])
    job.communicate(timeout=60 * SLOW)
    check(job.returncode == 0 and case.read("out") == b"x\n", "the node that came was not used")


@test
def a_vertex_under_which_two_daemons_ended_has_failed(case):
    case.write("end", """p=$$
while [ "$(cat /proc/$p/comm)" != dagd ]; do p=$(awk '/^PPid/ {print $2}' /proc/$p/status); done
kill -9 $p
sleep 20
""")
    case.write("g.yaml", "stages: {bad: {sh: '. %s'}, good: {sh: 'echo x', width: 3}}\noutputs: {bad: {file: a}, good: {file: b}}\n" % case.path("end"))
    cluster = Cluster(case, nodes=3)
    err = cluster.run("g.yaml", rc=1).stderr.decode()
    check("bad[0]: its daemon ended twice while it ran: on n" in err, err)
    check(sum(d.poll() is None for d in cluster.daemons) == 1, "the third daemon has ended too")


@test
def a_job_without_any_node_says_how_long_it_waited(case):
    cluster = Cluster(case, nodes=0)
    case.write("g.yaml", "stages: {a: {sh: 'echo x'}}\noutputs: {a: {file: out}}\n")
    err = cluster.run("g.yaml", "--wait-for-nodes", "1s", rc=4).stderr.decode()
    check("no node is there" in err and "1 s" in err and "null" not in err, err)
    check("whole number" in case.dagrun("run", "g.yaml", "--wait-for-nodes", "soon", rc=2).stderr.decode(), "no word about the option")


@test
def a_limit_of_file_sizes_is_the_reason(case):
    """Of the spool: which folder, and how large a file may be."""
    case.write("g.yaml", "stages: {a: {bash: 'seq 300000', retries: 0}}\noutputs: {a: {file: out}}\n")
    r = subprocess.run(["bash", "-c", f"ulimit -f 1000; exec {program('dagrun')} run -q g.yaml"], cwd=case.dir, env=case.env,
                       capture_output=True, timeout=patience(60))
    check(r.returncode == 1 and b"File too large: a file may have 1024000 bytes here (ulimit -f 1000)" in r.stderr and b"is full" not in r.stderr, r.stderr)
    check(not os.path.exists(case.path("out")), "an output was published")


@test
def a_journal_that_cannot_be_written_ends_the_job(case):
    """The only vertex fails first: its end waits for a journal that says nothing more."""
    case.write("g.yaml", "stages: {a: {bash: 'seq 300000', retries: 0}}\noutputs: {a: {file: out}}\n")
    r = subprocess.run(["bash", "-c", f"ulimit -f 8; exec {program('dagrun')} run -q g.yaml"], cwd=case.dir, env=case.env,
                       capture_output=True, timeout=patience(60))
    check(r.returncode == 1 and not os.path.exists(case.path("out")), r.stderr)
    check(b"cannot be written" in r.stderr and b"failed" in r.stderr, r.stderr)


if __name__ == "__main__":
    main()
