# SPDX-License-Identifier: Apache-2.0
"""A name server and three daemons on loopback, with things that die while a job runs: the output is the same, byte for byte."""
import glob
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *


def text(case, size):
    data = subprocess.run([os.path.join(BUILD, "bench", "gen_text"), size, "3"], capture_output=True, check=True).stdout
    case.write("text.txt", data)


def wordcount(case, cluster, *args):
    return case.start(program("dagrun"), "run", "-n", cluster.endpoint, graph("wordcount"), "-p", "text=text.txt", "-p", "out=words.tsv", *args)


def reference(case):
    case.dagrun("run", "-q", graph("wordcount"), "-p", "text=text.txt", "-p", "out=reference.tsv")
    return case.read("reference.tsv")


def finish(case, p, rc=0, timeout=90):
    out, err = p.communicate(timeout=patience(timeout))
    check(p.returncode == rc, f"exit code {p.returncode}: {err.decode()[-3000:]}")
    return out, err


@test
def examples_give_the_same_on_a_cluster(case):
    text(case, "2MiB")
    cluster = Cluster(case)
    finish(case, wordcount(case, cluster, "-p", "split=100KiB"))
    check(case.read("words.tsv") == reference(case), "the counts differ")
    for name, args in (("grep", ["-p", "text=text.txt", "-p", "split=300KiB", "-p", "pattern=bada"]), ("mostfrequent", []), ("join", []),
                       ("pipeline", []), ("sort", ["-p", "text=text.txt", "-p", "split=300KiB"])):
        check(cluster.run(graph(name), *args).stdout == case.dagrun("run", graph(name), *args).stdout, name)
    tree = [r.stdout.splitlines() for r in (cluster.run(graph("tree"), "-p", "split=2KiB"), case.dagrun("run", graph("tree")))]
    check(sorted(tree[0]) == sorted(tree[1]) and len(tree[0]) == 143, "tree")  # clients of one number in the order of the groups


@test
def daemons_of_one_machine_bind_to_different_cpus(case):
    cpus = len(os.sched_getaffinity(0))
    if cpus < 2:
        raise Skip("there is one CPU only")
    meet = f"touch {case.path('at')}$DAGRUN_INDEX; until [ -e {case.path('at0')} -a -e {case.path('at1')} ]; do sleep 0.02; done"
    case.write("g.yaml", f"stages: {{a: {{sh: '{meet}; grep Cpus_allowed_list /proc/self/status', width: 2, cpus: 1}}}}\noutputs: {{a: {{file: '-'}}}}\n")
    cluster = Cluster(case, nodes=1, slots=1)
    while True:
        second = cluster.add(1, slots=1)
        if (second.pid - cluster.daemons[0].pid) % cpus:
            break  # where each begins goes by its id
        second.terminate()
        second.wait()
    case.wait_for(lambda: cluster.count() == 2, "the daemons to register")
    lines = cluster.run("g.yaml").stdout.splitlines()
    check(len(lines) == 2 and lines[0] != lines[1], lines)


@test
def pipes_between_daemons(case):
    case.write("p.yaml", """
stages:
  a: {sh: "seq {index} 3 300000", width: 3, cpus: 2}
  b: {plugin: std, entry: cat, width: 3, cpus: 2}
  c: {sh: "cat {in.0} | md5sum"}
flow:
  - {from: a, to: b, channel: pipe, pattern: ">>", partition: {by: round-robin}}
  - {from: b, to: c, channel: pipe}
outputs: {c: {file: "-"}}
""".replace("{from: b, to: c, channel: pipe}", "{from: b, to: c, channel: pipe, pattern: '>>'}"))
    cluster = Cluster(case, nodes=4, slots=4)
    check(cluster.run("p.yaml").stdout == case.dagrun("run", "--slots", "16", "p.yaml").stdout, "the bytes differ")


@test
def F09_killed_daemon(case):
    text(case, "200MiB")
    cluster = Cluster(case)
    p = wordcount(case, cluster, "-p", "split=1MiB")
    case.wait_for(lambda: len(case.hosts()) >= 5, "hosts")
    time.sleep(0.4 * SLOW)
    cluster.daemons[1].kill()
    out, err = finish(case, p)
    check(b"its daemon has ended" in err, err)
    check(case.read("words.tsv") == reference(case), "the counts differ")


@test
def F10_stopped_daemon_returns(case):
    text(case, "100MiB")
    cluster = Cluster(case)
    p = wordcount(case, cluster, "-p", "split=1MiB")
    case.wait_for(lambda: len(case.hosts()) >= 5, "hosts")
    time.sleep(0.3)
    cluster.daemons[0].send_signal(signal.SIGSTOP)
    try:
        finish(case, p)
    finally:
        cluster.daemons[0].send_signal(signal.SIGCONT)
    check(case.read("words.tsv") == reference(case), "the counts differ")


def cgroup2():
    with open("/proc/mounts") as f:
        return [line.split()[1] for line in f if line.split()[2] == "cgroup2"]


@test
def cgroup_holds_all_that_a_vertex_starts(case):
    """Each host in a group of its own; what left its session is killed with it, and the groups are removed."""
    group = os.path.join((cgroup2() or ["/none"])[0], f"dagrun-test-{os.getpid()}")
    try:
        os.mkdir(group)
    except OSError as e:
        raise Skip(f"no control groups of version 2 to make one in: {e}")
    try:
        case.write("s.yaml", """
stages:
  a: {sh: "cat /proc/self/cgroup > GROUP; setsid sh -c 'echo $$ > PID; sleep 100' < /dev/null > /dev/null 2>&1 & while [ ! -s PID ]; do sleep 0.01; done; cat PID"}
outputs: {a: {file: pid.txt}}
""".replace("GROUP", case.path("group")).replace("PID", case.path("pid")))
        cluster = Cluster(case, nodes=1, extra=("--cgroup", group))
        cluster.run("s.yaml")
        check(f"dagrun-test-{os.getpid()}/host-" in case.read("group").decode(), case.read("group"))
        pid = int(case.read("pid.txt"))
        case.wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the child that left its session")
        case.wait_for(lambda: not glob.glob(group + "/host-*"), "the groups to go")
        case.stop()
    finally:
        os.rmdir(group)
    p = subprocess.run([program("dagd"), "--nameserver", "tcp://127.0.0.1:1", "--cgroup", case.dir], capture_output=True, env=case.env, timeout=patience(20))
    check(p.returncode != 0 and b"not of version 2" in p.stderr, p.stderr)


ALONE = """
stages:
  a: {sh: "echo $DAGRUN_ATTEMPT >> A; seq 300000", retries: 20}
  b: {sh: "echo $DAGRUN_ATTEMPT $$ >> B; head -c 200000; sleep SLEEP; if mkdir FLAG 2>/dev/null; then WAIT; fi; cat", retries: 20}
flow: [{from: a, to: b, channel: pipe}]
outputs: {b: {file: out.txt}}
"""


def prepare_alone(case, wait, sleep="0"):
    text = ALONE.replace("FLAG", case.path("flag")).replace("WAIT", wait).replace("SLEEP", sleep)
    for name in "AB":
        case.write(name, "")
        text = text.replace(f">> {name}", ">> " + case.path(name))
    case.write("alone.yaml", text)


def check_alone(case, err):
    check(case.read("out.txt") == case.shell("seq 300000"), "the bytes differ")
    check(case.read("A").count(b"\n") == 1 and case.read("B").count(b"\n") == 2, [case.read("A"), case.read("B"), err])


@test
def rule4_last_of_a_pipeline_runs_again_alone(case):
    prepare_alone(case, "kill -9 $$")
    check_alone(case, case.dagrun("run", "alone.yaml").stderr)


@test
def rule4_between_daemons(case):
    """Slots of one each, so that the two members run on different nodes."""
    prepare_alone(case, "sleep 60")
    cluster = Cluster(case, nodes=3, slots=1)
    case.write("alone.yaml", case.read("alone.yaml").decode().replace(", retries: 20}", ", retries: 20, cpus: 1}"))
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "alone.yaml")
    case.wait_for(lambda: os.path.exists(case.path("flag")), "the consumer to be half way")
    daemon = int(case.read("B").split()[1])
    for _ in ("the host", "its guard", "the daemon"):
        daemon = parent_of(daemon)
    [d for d in cluster.daemons if d.pid == daemon][0].kill()
    err = p.communicate(timeout=patience(60))[1]
    check(p.returncode == 0, err)
    check_alone(case, err)


@test
def rule4_whole_gang_where_the_first_blocks_are_gone(case):
    """An eighth of a quarter of the node's memory is 2 MiB; the consumer fails after more."""
    prepare_alone(case, "head -c 4000000 > x; kill -9 $$")
    case.write("alone.yaml", case.read("alone.yaml").decode().replace("seq 300000", "seq 2000000"))
    Cluster(case, nodes=1, slots=1, extra=("--memory", "64MiB")).run("alone.yaml")
    check(case.read("out.txt") == case.shell("seq 2000000"), "the bytes differ")
    check(case.read("A").count(b"\n") == 2, case.read("A"))


@test
def F07_killed_consumer_of_a_pipe(case):
    case.write("p.yaml", """
stages:
  a: {sh: "seq 20000000"}
  b: {program: [cat]}
  c: {program: [md5sum]}
flow: [{from: a, to: b, channel: pipe}, {from: b, to: c, channel: pipe}]
outputs: {c: {file: "-"}}
""")
    cluster = Cluster(case, nodes=2)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "p.yaml")
    case.wait_for(lambda: len(case.hosts()) >= 3, "hosts")
    time.sleep(0.2)
    os.kill(max(case.hosts()), signal.SIGKILL)
    out, err = finish(case, p)
    check(out == case.shell("seq 20000000 | md5sum"), "the bytes differ")


def damage_and_run(case, codec):
    case.write("p.yaml", """
inputs: {t: {files: text.txt, split: 200KiB}}
stages:
  a: {plugin: std, entry: cat}
  w: {sh: "cat > x; sleep 2; echo"}
  b: {sh: "cat {in.1} > y; cat {in.0} | md5sum"}
flow:
  - t >= a
  - {from: a, to: w, pattern: ">>", compress: CODEC}
  - w >= b.1
  - {from: a, to: b.0, pattern: ">>", compress: CODEC}
outputs: {b: {file: "-"}}
""".replace("CODEC", codec))
    cluster = Cluster(case, nodes=2)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "p.yaml")
    case.wait_for(lambda: glob.glob(case.path("spool*/scratch/*/*/x")), "the second stage")
    time.sleep(0.5)
    damaged = 0
    for path in glob.glob(f"/dev/shm/dagrun-{os.getuid()}/n*-{os.getpid()}/seg-*"):
        with open(path, "r+b") as f:
            f.seek(5000)
            byte = f.read(1)
            f.seek(5000)
            f.write(bytes([byte[0] ^ 1]))
            damaged += 1
    check(damaged, "there was nothing to damage")
    out, err = finish(case, p)
    check(out == case.shell("md5sum < text.txt"), (out, err))
    check(b"its output is damaged" in err, err)


@test
def F63_damaged_outputs_are_made_again(case):
    case.write("text.txt", case.shell("seq 400000"))
    damage_and_run(case, "none")


@test
def F63_damaged_packed_outputs_are_made_again(case):
    case.write("text.txt", case.shell("seq 400000"))
    damage_and_run(case, "zstd")


@test
def F53_name_server_may_go_while_a_job_runs(case):
    case.write("s.yaml", "stages: {a: {sh: 'sleep 3; echo x'}}\noutputs: {a: {file: '-'}}\n")
    cluster = Cluster(case, nodes=1)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "s.yaml")
    case.wait_for(lambda: case.hosts(), "a host")
    port = cluster.endpoint
    cluster.nameserver.kill()
    cluster.nameserver.wait()
    case.start(program("dagns"), "--listen", port)
    check(finish(case, p)[0] == b"x\n", "the job did not end well")
    case.wait_for(lambda: cluster.count() == 1, "the daemon to register again")


@test
def two_jobs_share_the_slots(case):
    case.write("s.yaml", "params: {n: {}}\nstages: {a: {sh: 'sleep 0.1; echo {index}', width: 20}}\noutputs: {a: {file: '${n}'}}\n")
    cluster = Cluster(case, nodes=1, slots=2)
    jobs = [case.start(program("dagrun"), "run", "-q", "-n", cluster.endpoint, "s.yaml", "-p", f"n={case.path(f'o{i}')}") for i in range(2)]
    for p in jobs:
        finish(case, p)
    check(case.read("o0") == case.read("o1") == b"".join(b"%d\n" % i for i in range(20)), "an output differs")


@test
def cancelled_job_leaves_nothing_at_daemons(case):
    case.write("s.yaml", "stages: {a: {sh: 'echo x; sleep 100', width: 4}}\noutputs: {a: {file: x}}\n")
    cluster = Cluster(case)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "s.yaml")
    case.wait_for(lambda: len(case.hosts()) >= 4, "hosts")
    p.send_signal(signal.SIGINT)
    finish(case, p, rc=130)
    case.wait_for(lambda: not case.hosts(), "the hosts to end")
    case.wait_for(lambda: not glob.glob(case.path("spool*/scratch/*")), "the scratch folders to go")


@test
def labels_choose_nodes(case):
    case.write("l.yaml", "stages: {a: {sh: 'echo x', labels: {disk: ssd}, width: 4}}\noutputs: {a: {file: '-'}}\n")
    cluster = Cluster(case, nodes=1)
    r = cluster.run("l.yaml", rc=1)
    check(b"no node can run stage 'a', which asks for label disk=ssd" in r.stderr, r.stderr)
    cluster.add(7, extra=["--label", "disk=ssd", "--rack", "r1"])
    case.wait_for(lambda: cluster.count() == 2, "the second node")
    check(cluster.run("l.yaml").stdout == b"x\n" * 4, "the output differs")
    check(b"r1" in case.dagrun("nodes", "-n", cluster.endpoint).stdout, "no rack")


@test
def work_that_waits_behind_a_long_vertex_goes_to_another_node(case):
    """One that ends only when all others have: what was started ahead on its node must leave it, without a second attempt of it."""
    os.mkdir(case.path("ran"))
    case.write("g.yaml", """
stages:
  a: {sh: 'touch %s/{index}; test {index} != 60 || until [ $(ls %s | wc -l) = 120 ]; do sleep 0.05; done; echo {index}', width: 120,
      deterministic: false}
outputs: {a: {file: "-"}}
""" % (case.path("ran"), case.path("ran")))
    cluster = Cluster(case, nodes=2, slots=1)
    r = cluster.run("g.yaml")
    check(r.stdout.split() == [b"%d" % i for i in range(120)], r.stdout)
    check(b"120 vertices, 120 attempts" in r.stderr, r.stderr)


@test
def two_gangs_that_want_two_thirds_each(case):
    """Equal shares would give neither of them what it needs, for ever."""
    case.write("p.yaml", """
params: {out: {}}
stages:
  a: {sh: "seq 100000; sleep 1", cpus: 1}
  b: {program: [cat], cpus: 1}
  c: {program: [cat], cpus: 1}
  d: {program: [md5sum], cpus: 1}
flow: [{from: a, to: b, channel: pipe}, {from: b, to: c, channel: pipe}, {from: c, to: d, channel: pipe}]
outputs: {d: {file: "${out}"}}
""")
    cluster = Cluster(case, nodes=2, slots=3)
    both = [case.start(program("dagrun"), "run", "-n", cluster.endpoint, "p.yaml", "-p", f"out=sum{i}") for i in range(2)]
    for p in both:
        finish(case, p)
    check(case.read("sum0") == case.read("sum1") == case.shell("seq 100000 | md5sum"), "the bytes differ")


@test
def F08_what_a_vertex_leaves_behind_ends(case):
    mark = f"9{os.getpid()}"
    case.write("p.yaml", f"""
stages: {{a: {{sh: "setsid sleep {mark} & (setsid sh -c 'sleep {mark} & sleep {mark}' &); sleep 0.2; echo hi"}}}}
outputs: {{a: {{file: out.txt}}}}
""")
    cluster = Cluster(case, nodes=1)
    cluster.run("p.yaml")
    check(case.read("out.txt") == b"hi\n", "its output")
    left = subprocess.run(["pgrep", "-f", f"sleep {mark}"], capture_output=True).stdout.split()
    check(not [p for p in left if int(p) != os.getpid()], left)


@test
def F75_memory(case):
    case.write("p.yaml", """
stages: {hog: {sh: "python3 -c 'import time; x = bytearray(300 << 20); time.sleep(20)'", memory: 100MiB, retries: 0}}
outputs: {hog: {file: out.txt}}
""")
    cluster = Cluster(case, nodes=1)
    r = cluster.run("p.yaml", rc=1)
    check(b"MiB > memory 100.0 MiB" in r.stderr, r.stderr)


@test
def a_daemon_that_starts_anew_while_a_job_starts(case):
    case.write("l.yaml", "stages: {a: {sh: 'echo x', labels: {disk: ssd}}}\noutputs: {a: {file: '-'}}\n")
    cluster = Cluster(case, nodes=1)
    old = cluster.add(7, extra=["--label", "disk=ssd"])
    case.wait_for(lambda: cluster.count() == 2, "the labelled daemon")
    old.kill()
    old.wait()
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "l.yaml")
    time.sleep(0.5 * SLOW)  # it knows the old one only, which does not answer
    cluster.add(7, extra=["--label", "disk=ssd"])
    started = time.time()
    out, _ = finish(case, p, timeout=30)
    check(out == b"x\n", out)
    check(soon(started, 8), "the new daemon was found only when the old one was given up")


@test
def jobs_whose_managers_are_gone_hold_no_slots(case):
    case.write("many.yaml", "stages: {a: {sh: 'sleep 0.3', width: 300}}\noutputs: {a: {file: '-'}}\n")
    case.write("one.yaml", "stages: {a: {sh: 'echo x'}}\noutputs: {a: {file: '-'}}\n")
    cluster = Cluster(case, nodes=1, slots=2)
    gone = [case.start(program("dagrun"), "run", "-n", cluster.endpoint, "many.yaml") for _ in range(3)]
    case.wait_for(lambda: len(case.hosts()) >= 2, "hosts")
    time.sleep(1 * SLOW)  # until each has said what it wants
    for p in gone:
        p.kill()
        p.wait()
    started = time.time()
    check(cluster.run("one.yaml").stdout == b"x\n", "its output")
    check(soon(started, 12), "it waited for those that nobody leads")


@test
def F46_deleted_segments_that_nobody_uses(case):
    case.write("p.yaml", "stages: {a: {sh: 'seq 100000', width: 4}, b: {sh: md5sum}}\nflow: [a >> b]\noutputs: {b: {file: '-'}}\n")
    cluster = Cluster(case, nodes=1)
    want = cluster.run("p.yaml").stdout
    segments = glob.glob(f"/dev/shm/dagrun-{os.getuid()}/n0-{os.getpid()}/seg-*")
    check(segments, "segments are kept for their pages")
    for path in segments:
        os.unlink(path)
    r = cluster.run("p.yaml")
    check(r.stdout == want and b"full" not in r.stderr, r.stderr)


@test
def chains_whose_daemon_is_killed(case):
    want = chains(case, 300, 12, 300000)
    cluster = Cluster(case)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "-P", os.path.join(BUILD, "bench"), "chain.yaml")
    case.wait_for(lambda: case.hosts(cluster.daemons[0].pid), "hosts of the first daemon")
    time.sleep(0.2)
    cluster.daemons[0].kill()
    out, err = finish(case, p)
    check(b"its daemon has ended" in err, err)
    check(case.read("sums") == want, "the sums differ")


@test
def F09_daemon_that_is_killed_while_its_output_is_fetched(case):
    case.write("o.yaml", "stages: {a: {sh: 'seq 40000000'}}\noutputs: {a: {file: all.txt}}\n")
    cluster = Cluster(case, nodes=1)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "o.yaml")
    half = lambda: [f for f in glob.glob(case.path(".dagrun-2*")) if os.path.getsize(f) > 20 << 20]
    while not half() and p.poll() is None:
        time.sleep(0.001)
    cluster.daemons[0].kill()
    cluster.add(1)
    out, err = finish(case, p)
    check(b"its node is gone" in err, err)
    case.shell("seq 40000000 | cmp - all.txt")


@test
def readers_hear_that_a_node_is_gone(case):
    """A reader in the midst of what a node held need not find out by itself."""
    case.write("r.yaml", """
stages:
  a: {sh: "seq 10000000", labels: {holds: "yes"}}
  b: {sh: "head -c 1000; touch ${TMPDIR:-/tmp}/reads; sleep 2; cat", labels: {holds: "no"}}
  c: {program: [md5sum], labels: {holds: "no"}}
flow: [a >= b, b >= c]
outputs: {c: {file: sum}}
""".replace("${TMPDIR:-/tmp}", case.dir))
    cluster = Cluster(case, nodes=1, extra=["--label", "holds=no"])
    holder = cluster.add(1, extra=["--label", "holds=yes"])
    case.wait_for(lambda: cluster.count() == 2, "the daemons to register")
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "r.yaml")
    case.wait_for(lambda: os.path.exists(case.path("reads")), "the reader")
    holder.kill()
    cluster.add(2, extra=["--label", "holds=yes"])
    out, err = finish(case, p)
    check(b"the node that holds the data is gone" in err, err)
    check(case.read("sum") == case.shell("seq 10000000 | md5sum"), "the bytes differ")


if __name__ == "__main__":
    main()
