# SPDX-License-Identifier: Apache-2.0
"""Programs in vertices: what they leave behind, their named pipes, how they are started, what they say on stderr."""
import os
import signal
import subprocess
import time

from harness import Cluster, SLOW, check, job_id, main, parent_of, program, test

# Three ways to get away from the one that started it, and one that stays.
AWAY = ("setsid sleep {n}.1 & (sleep {n}.2 & exec sleep {n}.3) & (setsid sh -c 'sleep {n}.4 & wait' &) ; "
        "python3 -c 'import os, time\nif not os.fork():\n  os.setsid()\n  if not os.fork(): time.sleep({n})' ; echo x; : > ready; {then}")


def running(mark):
    """Who has this in its arguments, but shells and this test."""
    out = subprocess.run(["ps", "axo", "pid,args"], capture_output=True).stdout.decode().splitlines()
    return [int(line.split()[0]) for line in out if mark in line and line.split()[1] in ("sleep", "python3")]


def left_by(case, then="sleep {n}.5", outputs=""):
    """A graph whose vertex leaves processes behind, and their mark."""
    n = 100000 + os.getpid() % 100000
    script = AWAY.replace("{then}", then).replace("{n}", str(n)).replace(": > ready", f": > {case.path('ready')}")
    case.write("away.sh", script)
    case.write("away.yaml", "stages: {a: {program: [/bin/sh, away.sh], files: [away.sh]}}\n" + outputs)
    return str(n)


def started(case, mark):
    case.wait_for(lambda: os.path.exists(case.path("ready")) and len(running(mark)) >= 4, "processes of the vertex")


def none_left(case, mark):
    began = time.time()
    case.wait_for(lambda: not running(mark), "the end of all processes")
    check(time.time() - began < 2 * SLOW, "they ran for more than two seconds")


def host_and_guard(case):
    case.wait_for(lambda: case.hosts(), "a host")
    return case.hosts()[0], parent_of(case.hosts()[0])


@test
def nothing_is_left_of_a_vertex_that_ended(case):
    mark = left_by(case, then=":", outputs="outputs: {a: {file: a.txt}}\n")
    case.dagrun("run", "away.yaml")
    check(case.read("a.txt") == b"x\n" and not running(mark), "something is left of the vertex")


@test
def nothing_is_left_of_a_killed_run(case):
    mark = left_by(case)
    for sign in (signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGSEGV):
        p = case.start(program("dagrun"), "run", "-q", "away.yaml")
        started(case, mark)
        p.send_signal(sign)
        p.wait()
        none_left(case, mark)
        os.unlink(case.path("ready"))
        case.dagrun("clean", job_id(case))


@test
def nothing_is_left_of_a_killed_daemon(case):
    mark = left_by(case)
    cluster = Cluster(case, nodes=1)
    run = case.start(program("dagrun"), "run", "-q", "-n", cluster.endpoint, "away.yaml")
    started(case, mark)
    cluster.daemons[0].kill()
    none_left(case, mark)
    run.terminate()


@test
def nothing_is_left_of_a_killed_host(case):
    """The vertex runs again when all of its first attempt is gone. So it is where the host's guard is killed."""
    mark = left_by(case)
    case.write("away.sh", case.read("away.sh").replace(b"setsid sleep", b"if [ -n \"$(ps axo args | grep '^sleep '$M)\" ]; then : > $OUT; fi; setsid sleep", 1)
               .replace(b"$M", mark.encode()).replace(b"$OUT", case.path("beside").encode()))
    for which in (0, 1):
        p = case.start(program("dagrun"), "run", "away.yaml")
        started(case, mark)
        old = set(running(mark))
        os.unlink(case.path("ready"))
        os.kill(host_and_guard(case)[which], signal.SIGKILL)
        case.wait_for(lambda: not old & set(running(mark)), "the end of the first attempt")
        started(case, mark)
        check(not os.path.exists(case.path("beside")), "two attempts ran beside each other")
        p.terminate()
        p.wait()
        none_left(case, mark)
        os.unlink(case.path("ready"))


@test
def a_resumed_job_runs_beside_nobody(case):
    mark = left_by(case, then="sleep {n}.5")
    p = case.start(program("dagrun"), "run", "-q", "away.yaml")
    started(case, mark)
    old = set(running(mark))
    os.unlink(case.path("ready"))
    p.kill()
    p.wait()
    p = case.start(program("dagrun"), "resume", "-q", job_id(case))
    started(case, mark)
    check(not old & set(running(mark)), "the first attempt is still there")
    p.terminate()
    p.wait()
    none_left(case, mark)


@test
def dagrun_leaves_alone_what_is_not_its_own(case):
    """What the caller started before it became dagrun is a child of dagrun, too; what that leaves behind is nobody's here."""
    case.write("g.yaml", "stages: {a: {sh: 'setsid sleep 60 & echo x'}, b: {sh: 'exit 3', retries: 0}}\n")
    p = case.start("sh", "-c", f"exec 2>/dev/null; sleep 3600.5 >&2 & echo $!; (sleep 3600.6 >&2 & echo $!); exec {program('dagrun')} run -q g.yaml")
    pids = [int(p.stdout.readline()) for _ in range(2)]
    p.communicate()
    check(p.returncode == 1, f"exit code {p.returncode}")
    for pid in pids:
        os.kill(pid, signal.SIGTERM)  # fails where it is gone


if __name__ == "__main__":
    main()
