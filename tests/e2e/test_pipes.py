# SPDX-License-Identifier: Apache-2.0
"""Pipes of one node that are fast enough to go on from host to host, without the daemon."""
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

GRAPH = """
params: {last: {}, format: {default: bytes}, compress: {default: none}}
inputs: {t: {files: t.txt, format: "${format}"}}
stages:
  a: {use: cat}
  b: {use: cat}
  c: {sh: "${last}"}
flow:
  - t >= a
  - {from: a, to: b, channel: pipe, compress: "${compress}"}
  - {from: b, to: c, channel: pipe, compress: "${compress}"}
outputs: {c: {file: "-"}}
"""
# Reads a good part of it, and the rest when there is a file "go".
IN_TWO = "head -c 30000000; touch half; while [ ! -e go ]; do sleep 0.05; done; cat"

FAST = 0.25  # seconds for that part: more than 64 KiB a millisecond, and 8 MiB


def prepare(case, bytes=64 << 20):
    case.write("p.yaml", GRAPH)
    case.shell(f"seq 100000000 | head -c {bytes} > t.txt")
    return "(cd %s; %s) | md5sum" % (case.path(), IN_TWO)


def direct(case):
    """How many ends of direct pipes the case's hosts have."""
    ends = 0
    for pid in case.hosts():
        try:
            with open(f"/proc/{pid}/maps") as f:
                ends += len(re.findall("memfd:dagrun-pipe", f.read()))
        except OSError:
            pass
    return ends


def start(case, *words):
    """Once more where half of it took so long that the pipe need not have been a fast one; one that was must go on by itself."""
    for _ in range(10):
        begun = time.monotonic()
        p = case.start(program("dagrun"), "run", "p.yaml", *words)
        case.wait_for(lambda: os.path.exists(case.path("half")), "half of it to be read")
        fast = time.monotonic() - begun < FAST
        try:
            case.wait_for(lambda: direct(case) == 4 or SANITIZED, "both pipes to go on by themselves", 20 if fast else 2)
            return p
        except AssertionError:
            if fast:
                raise
        p.terminate()
        p.wait(10)
        os.unlink(case.path("half"))
    raise Skip("this machine is too busy: half of it always took too long to tell")


def finish(case, p):
    out, err = p.communicate(timeout=patience(60))
    check(p.returncode == 0, err)
    check(out == case.shell("md5sum < t.txt"), "the bytes differ")
    return err


@test
def go_direct(case):
    p = start(case, "-p", "last=" + prepare(case))
    case.write("go", "")
    finish(case, p)


@test
def of_long_and_short_records(case):
    last = prepare(case)
    case.shell("for i in 1 2 3; do seq 1000000; seq 700000 | tr '\\n' ' '; echo; seq 5; seq 3000000 | tr '\\n' ' '; echo; done > t.txt")
    p = start(case, "-p", "format=lines", "-p", "last=" + last)
    case.write("go", "")
    finish(case, p)


@test
def packed(case):
    """Half of it cannot be packed, so it is fast, and sent as it is."""
    last = prepare(case)
    case.shell("split -b 2M t.txt x; for f in x*; do cat $f; head -c 2M /dev/urandom; done > t.txt; rm x*")
    p = start(case, "-p", "compress=lz4", "-p", "last=" + last)
    case.write("go", "")
    finish(case, p)


def host_of(case, of):
    """The host that has that many ends of pipes."""
    for pid in case.hosts():
        with open(f"/proc/{pid}/maps") as f:
            if len(re.findall("memfd:dagrun-pipe", f.read())) == of:
                return pid
    return min(case.hosts())


def kill(case, host):
    """One host; all of them end, where their pipes went direct."""
    before = {host} if SANITIZED else set(case.hosts())
    os.kill(host, signal.SIGKILL)
    case.wait_for(lambda: not before & set(case.hosts()), "the whole gang to begin again")


@test
def killed_in_the_middle(case):
    """Whoever of them dies: what it had got is gone with the pipe, so all of them begin again."""
    p = start(case, "-p", "last=" + prepare(case))
    kill(case, host_of(case, 2))
    case.write("go", "")
    check(b"killed by signal 9" in finish(case, p), "who died is not said")


@test
def killed_reader(case):
    p = start(case, "-p", "last=sleep 1000 & " + prepare(case).replace("head", "echo $PPID > host; head", 1))
    kill(case, int(case.read("host")))
    case.write("go", "")
    finish(case, p)


@test
def reader_that_has_enough(case):
    p = start(case, "-p", "last=" + prepare(case).replace("cat)", "true)"))
    case.write("go", "")
    out, err = p.communicate(timeout=patience(60))
    check(p.returncode == 0, err)
    check(out == case.shell("head -c 30000000 t.txt | md5sum"), "the bytes differ")


@test
def two_readers_go_by_the_daemon(case):
    last = prepare(case)
    case.write("p.yaml", GRAPH.replace("outputs: {", 'outputs: {d: {file: d.txt}, ').replace("flow:", '  d: {sh: "md5sum"}\nflow:\n  - {from: b, to: d, channel: pipe}'))
    p = case.start(program("dagrun"), "run", "p.yaml", "-p", "last=" + last)
    case.wait_for(lambda: os.path.exists(case.path("half")), "half of it")
    check(direct(case) <= 2, "a pipe of two readers went direct")
    case.write("go", "")
    finish(case, p)
    check(case.read("d.txt") == case.shell("md5sum < t.txt"), "the bytes differ")


main()
