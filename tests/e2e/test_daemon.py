# SPDX-License-Identifier: Apache-2.0
"""A daemon and what it is given: descriptors, folders, limits, names; and vertices and peers that mean it ill."""
import glob
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

ONE = 'stages: {a: {program: [echo, hi]}}\noutputs: {a: {file: o.txt}}\n'


@test
def standard_descriptors_that_are_closed(case):
    case.write("g.yaml", ONE)
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        for at in ([], ["--slots", "1"]):
            r = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", program("dagrun"), "run", "-q", *at, "g.yaml"], env=case.env, cwd=case.dir,
                               capture_output=True, timeout=60)
            check(r.returncode == 0 and case.read("o.txt") == b"hi\n", f"{closed}: {r.returncode} {r.stderr}")
            os.unlink(case.path("o.txt"))
    # What cannot be read or written is not taken for empty, or for done.
    case.write("in.yaml", "inputs: {i: {files: '-'}}\nstages: {a: {program: [cat]}}\nflow: [i >> a]\noutputs: {a: {file: o.txt}}\n")
    r = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", program("dagrun"), "run", "in.yaml"], env=case.env, cwd=case.dir, capture_output=True)
    check(r.returncode not in (0, 70), f"a closed stdin was taken for an empty one: {r.returncode} {r.stderr}")
    # Daemons too: the first descriptors that they open must not be taken for these.
    ns = case.start("sh", "-c", 'exec "$@" <&- >&-', "sh", program("dagns"), "--listen", "tcp://127.0.0.1:*")
    endpoint = ns.stderr.readline().decode().split()[3]
    case.start("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", program("dagd"), "-n", endpoint, "--node", f"n0-{os.getpid()}", "--spool", case.path("spool"))
    case.wait_for(lambda: b" up " in case.dagrun("nodes", "-n", endpoint, rc=None).stdout, "the daemon to register")
    case.dagrun("run", "-n", endpoint, "g.yaml")
    check(case.read("o.txt") == b"hi\n", "its output")


@test
def a_fifo_group_of_a_hundred(case):
    graph = """
stages: {a: {sh: "seq 5000"}, b: {program: [cat], width: 100}}
flow: [{from: a, to: b, channel: fifo, pattern: ">>", partition: {by: round-robin}}]
outputs: {b: {file: "-"}}
"""
    case.write("g.yaml", graph)
    lines = case.dagrun("run", "-q", "--slots", "8", "g.yaml").stdout.split()
    check(sorted(map(int, lines)) == list(range(1, 5001)), f"{len(lines)} lines")
    cluster = Cluster(case, nodes=1, slots=8)
    check(sorted(cluster.run("g.yaml").stdout.split()) == sorted(lines), "on a cluster")
    bad(case, graph.replace("width: 100", "width: 1024"), "g.yaml:3", "'a'", "1025 vertices", "1024", "pipe")


def hostile(case, cluster, entry, *words, code=1):
    """One of the vertices of hostile.c is run and fails as such; no daemon minds, and the next job is right."""
    case.write("bad.yaml", f"stages: {{a: {{plugin: {os.path.join(BUILD, 'tests', 'hostile.so')}, entry: {entry}, retries: 2}}}}\n"
               "outputs: {a: {file: '-'}}\n")
    r = cluster.run("bad.yaml", rc=code)
    for word in words:
        check(word in r.stderr.decode(errors="replace"), f"{entry}: no '{word}' in {r.stderr.decode(errors='replace')}")
    for d in cluster.daemons:
        check(d.poll() is None, f"{entry}: a daemon ended with {d.returncode}")
    case.write("good.yaml", "stages: {g: {sh: 'seq 1000000', width: 2}}\noutputs: {g: {file: '-'}}\n")
    check(cluster.run("good.yaml").stdout == b"".join(b"%d\n" % i for i in range(1, 1000001)) * 2, f"{entry}: the next job's bytes")


@test
def vertices_that_break_the_rules(case):
    cluster = Cluster(case, nodes=2, slots=2)
    descriptors = [len(os.listdir(f"/proc/{d.pid}/fd")) for d in cluster.daemons]
    hostile(case, cluster, "skips", "a[0]", "skips more records than it may")
    hostile(case, cluster, "cuts_and_ends", "a[0]", "damaged")
    hostile(case, cluster, "cuts_and_dies", "a[0]")
    hostile(case, cluster, "future_end", "a[0]", "messages that do not come")
    hostile(case, cluster, "damaged_ring", "a[0]", "ring of ends is damaged")
    hostile(case, cluster, "closes_socket", "a[0]", "closed the connection to its daemon")
    hostile(case, cluster, "nonsense", "a[0]", "protocol")
    hostile(case, cluster, "wants_space", "a[0]", "segments")
    hostile(case, cluster, "claims_loss", "a[0]")
    hostile(case, cluster, "places_block", "a[0]", "block")
    hostile(case, cluster, "descriptors", code=None)
    case.wait_for(lambda: all(len(os.listdir(f"/proc/{d.pid}/fd")) < n + 64 for d, n in zip(cluster.daemons, descriptors)),
                  "the descriptors that came beside messages to be closed")


if __name__ == "__main__":
    main()
