# SPDX-License-Identifier: Apache-2.0
"""Nobody is left behind, also where all that could have ended a process was killed in one moment."""
import os
import signal
import subprocess

from harness import Cluster, main, parent_of, patience, processes, program, test


def begin(case, *args):
    """A vertex that starts a process in a session of its own, and lasts. The pids of its host and guard, and a word that both processes have."""
    word = f"{os.path.basename(case.dir)}-"
    case.write("g.yaml", f"stages: {{a: {{sh: \"setsid sh -c 'sleep 1000; : {word}'$DAGRUN_ATTEMPT'-far' & sleep 1000; : {word}\"}}}}\noutputs: {{a: {{file: o.txt}}}}\n")
    p = case.start(program("dagrun"), "run", *args, "g.yaml", stderr=subprocess.DEVNULL)
    case.wait_for(lambda: processes(f"{word}1-far"), "a process in a session of its own")
    vertex = [x for x in processes(word) if b"daghost" in command(parent_of(x))][0]
    host = parent_of(vertex)
    return p, host, parent_of(host), word


def command(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        return f.read()


def kill(*pids):
    """In one moment: none of them sees another die."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def host_and_guard(case, *args):
    p, host, guard, word = begin(case, *args)
    kill(guard, host)
    case.wait_for(lambda: not processes(f"{word}1-far"), "what the first attempt started to end")
    case.wait_for(lambda: processes(f"{word}2-far"), "the second attempt")
    p.send_signal(signal.SIGINT)
    p.wait(patience(20))  # a second signal would cut it short
    case.wait_for(lambda: not processes(word), "all to end")


@test
def a_host_and_its_guard_are_killed(case):
    host_and_guard(case)


@test
def a_host_and_its_guard_are_killed_on_a_cluster(case):
    host_and_guard(case, "-n", Cluster(case, nodes=1).endpoint)


@test
def a_daemon_its_host_and_guard_are_killed(case):
    """The next daemon of this machine ends what is left, before it has anything to do."""
    cluster = Cluster(case, nodes=1)
    p, host, guard, word = begin(case, "-n", cluster.endpoint)
    p.send_signal(signal.SIGSTOP)
    kill(cluster.daemons[0].pid, guard, host)
    cluster.daemons[0].wait()
    cluster.add(1)
    case.wait_for(lambda: not processes(f"{word}1-far"), "what is left to end")
    p.kill()
    p.wait()
    case.dagrun("clean", "--all")


@test
def a_run_its_host_and_guard_are_killed(case):
    p, host, guard, word = begin(case)
    kill(p.pid, guard, host)
    p.wait()
    case.dagrun("clean", "--all")
    case.wait_for(lambda: not processes(word), "what is left to end")


if __name__ == "__main__":
    main()
