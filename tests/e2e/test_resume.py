# SPDX-License-Identifier: Apache-2.0
"""The job manager is killed, at chosen and at random moments, and the job goes on."""
import glob
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time

from harness import Cluster, SLOW, check, is_noted, job_id, main, patience, processes, program, soon, test

SLOW_MAP = """
name: slow
inputs: {t: {files: text.txt, split: 64KiB}}
stages:
  map: {sh: "cat; echo $DAGRUN_INDEX >> RAN; sleep 0.3"}
  sum: {sh: "sort -n", width: 1}
flow: [t >= map >> sum]
outputs: {sum: {file: sorted.txt}}
"""


def prepare(case, lines=120000):
    case.write("text.txt", case.shell(f"seq {lines}"))
    case.write("slow.yaml", SLOW_MAP.replace("RAN", case.path("ran")))
    case.write("ran", "")


def jobs(case):
    return json.loads(case.dagrun("jobs", "--json").stdout)


def crash(case, *args, after):
    """Starts a run and kills it when so many map vertices have run."""
    p = case.start(program("dagrun"), "run", *args, "slow.yaml", stderr=subprocess.DEVNULL)
    case.wait_for(lambda: case.read("ran").count(b"\n") >= after, f"{after} vertices", timeout=30)
    time.sleep(0.1)
    p.kill()
    p.wait()


def check_result(case):
    check(case.read("sorted.txt") == case.read("text.txt"), "the bytes differ")
    check([j["state"] for j in jobs(case)] == ["done"], jobs(case))


@test
def F12_resume_here(case):
    prepare(case)
    crash(case, "-s", "2", after=5)
    check(jobs(case)[0]["state"] == "unfinished", jobs(case))
    r = case.dagrun("resume", job_id(case))
    check(b"resumed:" in r.stderr, r.stderr)
    check_result(case)
    ran = case.read("ran").split()
    check(len(ran) - len(set(ran)) <= 2, "vertices that were committed ran again")


@test
def F12_resume_on_a_cluster_adopts_what_runs(case):
    """The job manager stands still, which for the daemons is no death, and loses all that says that the job is its own."""
    prepare(case)
    gate = case.path("gate")
    case.write("slow.yaml", SLOW_MAP.replace("RAN", case.path("ran")).replace("sleep 0.3", f"while [ ! -e {gate} ]; do sleep 0.05; done"))
    cluster = Cluster(case, nodes=2)
    old = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "slow.yaml", stderr=subprocess.DEVNULL)
    case.wait_for(lambda: case.read("ran").count(b"\n") == 4 and is_noted(case), "vertices in all slots", timeout=30)
    old.send_signal(signal.SIGSTOP)
    folder = os.path.join(case.state, "dagrun/jobs", job_id(case))
    shutil.move(folder, case.path("moved"))
    shutil.copytree(case.path("moved"), folder)
    for lock in glob.glob(case.path(".dagrun-lock*")):
        os.unlink(lock)
    new = case.start(program("dagrun"), "resume", os.path.basename(folder))
    said = new.stderr.readline()
    while b"resumed:" not in said:
        check(said, "it did not resume")
        said = new.stderr.readline()
    check(b" 4 still run" in said, said)
    case.write("gate", "")
    check(new.wait(patience(60)) == 0, new.stderr.read())
    old.kill()
    check_result(case)
    ran = case.read("ran").split()
    check(len(ran) == len(set(ran)), "vertices that had begun ran again")


@test
def F12_what_runs_ends_with_its_job_manager(case):
    """Killed, on a cluster: what runs is gone soon, and long before the lease is over. What was finished stays, and does not run again."""
    prepare(case)
    word = f"left-{os.getpid()}"
    hold = (f"if [ $(wc -l < {case.path('ran')}) -gt 4 ]; then setsid sh -c 'sleep 1000; : {word}' > /dev/null 2>&1 & "
            f"while [ ! -e {case.path('gate')} ]; do sleep 0.05; done; fi; echo $DAGRUN_INDEX >> {case.path('ended')}")
    case.write("slow.yaml", SLOW_MAP.replace("RAN", case.path("ran")).replace("sleep 0.3", hold))
    case.write("ended", "")
    cluster = Cluster(case, nodes=2)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "slow.yaml", stderr=subprocess.DEVNULL)
    case.wait_for(lambda: len(processes(word)) == 8, "two processes in all slots", timeout=30)
    ended = case.read("ended").split()
    killed = time.time()
    p.kill()
    p.wait()
    case.wait_for(lambda: not processes(word), "what vertices started to end")
    check(soon(killed, 10), f"it took {time.time() - killed:.1f} s")
    case.write("gate", "")
    r = case.dagrun("resume", job_id(case))
    check(b"the job manager was gone" in r.stderr, r.stderr)
    check_result(case)
    ran = case.read("ran").split()
    check(ended and all(ran.count(i) == 1 for i in ended), "what was finished ran again")


@test
def F12_resume_of_what_came_on_stdin(case):
    """It is kept while the job may go on, whoever looks at the job, and no longer."""
    prepare(case)
    case.write("slow.yaml", case.read("slow.yaml").decode().replace("files: text.txt", 'files: "-"'))
    p = case.start("sh", "-c", f"exec {program('dagrun')} run -s 2 slow.yaml < text.txt", stderr=subprocess.DEVNULL)
    case.wait_for(lambda: case.read("ran").count(b"\n") >= 3, "vertices", timeout=30)
    case.dagrun("resume", job_id(case), rc=3)  # it runs
    p.kill()
    p.wait()
    case.dagrun("jobs", job_id(case))
    graph = case.read("slow.yaml")
    case.write("slow.yaml", graph.replace(b"sleep", b"sleep 0; sleep"))
    case.dagrun("resume", job_id(case), rc=3)
    case.write("slow.yaml", graph)
    case.dagrun("resume", job_id(case))
    check_result(case)
    check(not glob.glob(os.path.join(case.state, "dagrun/stdin-*")), "what came on stdin is left")
    r = case.dagrun("verify", job_id(case), rc=3)
    check(b"read its input from stdin, which was kept only until the job was done" in r.stderr, r.stderr)


@test
def F12_resume_of_a_gang(case):
    case.write("text.txt", case.shell("seq 300000"))
    case.write("p.yaml", """
inputs: {t: {files: text.txt}}
stages:
  a: {program: [cat]}
  b: {sh: "cat; sleep 2"}
  c: {program: [cat]}
flow: [t >= a, {from: a, to: b, channel: pipe}, {from: b, to: c, channel: pipe}]
outputs: {c: {file: out.txt}}
""")
    cluster = Cluster(case, nodes=2)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "p.yaml", stderr=subprocess.DEVNULL)
    case.wait_for(lambda: len(case.hosts()) >= 3, "hosts")
    time.sleep(0.7 * SLOW)
    p.kill()
    p.wait()
    case.dagrun("resume", job_id(case))
    check(case.read("out.txt") == case.read("text.txt"), "the bytes differ")


@test
def F12_killed_at_random_again_and_again(case):
    prepare(case)
    draw = random.Random(7)
    p = case.start(program("dagrun"), "run", "-s", "2", "slow.yaml", stderr=subprocess.DEVNULL)
    case.wait_for(lambda: glob.glob(os.path.join(case.state, "dagrun/jobs/*/journal.db")), "a journal")
    for _ in range(12):
        time.sleep(draw.uniform(0.05, 0.8) * SLOW)
        p.kill()
        p.wait()
        p = case.start(program("dagrun"), "resume", job_id(case))
    err = p.communicate(timeout=patience(60))[1]
    check(p.returncode == 0, err)
    check_result(case)


@test
def jobs_tells_what_became_of_one(case):
    case.write("j.yaml", """
stages:
  a: {sh: "mkdir FLAG$DAGRUN_INDEX 2>/dev/null && exit 3; echo $DAGRUN_INDEX", width: 3}
  b: {sh: "sort; exit CODE", retries: 0}
flow: [a >> b]
outputs: {b: {file: x.txt}}
""".replace("FLAG", case.path("flag")).replace("CODE", "4"))
    case.dagrun("run", "j.yaml", rc=1)
    text = case.dagrun("jobs", job_id(case)).stdout.decode()
    check(f"job {job_id(case)} of 'j': failed: b[0] attempt 1 on " in text and "a[2] attempt 1 failed: /bin/sh ended with exit code 3" in text, text)
    check(["a", "3", "3", "6", "3"] in [line.split()[:5] for line in text.splitlines()], text)
    check(b"there is no job" in case.dagrun("jobs", "nobody", rc=3).stderr, "nobody")
    for name in ("", ".", "..", "../jobs"):
        check(b"there is no job '%s'" % name.encode() in case.dagrun("resume", name, rc=3).stderr, name)
    check(b"exit code 4" in case.dagrun("resume", job_id(case), rc=1).stderr, "resume of a failed one")


@test
def jobs_counts_the_attempts_of_each_stage_of_a_gang(case):
    case.write("g.yaml", """
stages:
  a: {sh: "seq 10", width: 4}
  b: {sh: "sort -n"}
flow: [{from: a, to: b, pattern: ">>", channel: pipe}]
outputs: {b: {file: x.txt}}
""")
    case.dagrun("run", "g.yaml")
    text = case.dagrun("jobs", job_id(case)).stdout.decode()
    lines = [line.split()[:5] for line in text.splitlines()]
    check(["a", "4", "4", "4", "0"] in lines and ["b", "1", "1", "1", "0"] in lines, text)


VERIFIED = """
inputs: {t: {files: text.txt, split: 64KiB}}
stages:
  map: {sh: "cat; echo $DAGRUN_INDEX >> RAN"}
  odd: {sh: "cat; [ $DAGRUN_INDEX != 3 ] || date +%N"}
  sum: {sh: "sort -n", width: 1}
  end: {sh: "sort -n | md5sum"}
flow: [t >= map >= odd, map >> sum, {from: odd, to: end, pattern: ">>", channel: pipe}]
outputs: {sum: {file: sorted.txt}, end: {file: "-"}}
"""


def verify(case, *args, **options):
    r = case.dagrun("verify", job_id(case), *args, **options)
    return r.stdout.decode()


@test
def verify_compares_a_sample(case):
    prepare(case)
    case.write("v.yaml", VERIFIED.replace("RAN", case.path("ran")))
    case.dagrun("run", "v.yaml")
    whole, published = case.read("ran").count(b"\n"), case.read("sorted.txt")
    check(whole > 5, "too few vertices")
    case.write("sorted.txt", "not touched")
    check("1 vertex drawn, 1 run with all that it reads from, 1 compared: all gave the same" in verify(case, "map[2]"), "map[2]")
    check(case.read("ran").count(b"\n") == whole + 1, "more ran than was asked for")
    check("all gave the same" in verify(case, "sum", "--quiet"), "sum")
    check(case.read("ran").count(b"\n") == 2 * whole + 1, "all of map feeds sum")
    text = verify(case, "--sample", "100", rc=1)
    check("odd[3] gave other bytes, and read the same" in text and "end[0] gave" not in text and "2 gave other bytes" in text, text)
    a, b = (case.dagrun("verify", job_id(case), "-s", "1", "--seed", "5", rc=None).stdout for _ in range(2))
    check(a.splitlines()[-1] == b.splitlines()[-1], (a, b))
    check(case.read("sorted.txt") == b"not touched" and published, "verification published")
    check(len(jobs(case)) == 1, "verification left a job")
    check(b"no stage or vertex" in case.dagrun("verify", job_id(case), "map[99]", rc=3).stderr, "map[99]")
    case.write("v.yaml", case.read("v.yaml").replace(b"sort -n\"", b"sort -n; true\""))
    check(b"cannot be verified: stage 'sum'" in case.dagrun("verify", job_id(case), rc=3).stderr, "changed")


@test
def verify_on_a_cluster_of_a_job_that_died(case):
    prepare(case)
    cluster = Cluster(case, nodes=2)
    crash(case, "-n", cluster.endpoint, after=5)
    check("all gave the same" in verify(case, "map[0]"), "map[0]")
    check(b"did not come to commit" in case.dagrun("verify", job_id(case), "sum", rc=3).stderr, "sum")
    case.dagrun("resume", job_id(case))
    check_result(case)
    check("all gave the same" in verify(case, "-s", "30%"), "30%")


@test
def F15_everything_dies(case):
    prepare(case)
    cluster = Cluster(case, nodes=2)
    crash(case, "-n", cluster.endpoint, after=6)
    for d in cluster.daemons:
        d.kill()
        d.wait()
    cluster.daemons = [cluster.add(0), cluster.add(1)]
    r = case.dagrun("resume", job_id(case))
    check(b"resumed: 0 vertices" not in r.stderr, r.stderr)
    check_result(case)


@test
def F14_two_job_managers(case):
    prepare(case, 600000)
    cluster = Cluster(case, nodes=2)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "slow.yaml")
    case.wait_for(lambda: case.read("ran").count(b"\n") >= 2, "vertices")
    r = case.dagrun("resume", job_id(case), rc=3)
    check(b"is running already" in r.stderr, r.stderr)
    finish = p.communicate(timeout=patience(60))
    check(p.returncode == 0, finish)


@test
def F14_a_copy_of_the_journal(case):
    """The daemons know the later epoch, and the job manager of the earlier one stops."""
    prepare(case)
    case.write("slow.yaml", case.read("slow.yaml").decode().replace("sorted.txt", '"-"'))
    cluster = Cluster(case, nodes=2)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "slow.yaml")
    case.wait_for(lambda: case.read("ran").count(b"\n") >= 2 and is_noted(case), "vertices")
    other = case.path("other")
    subprocess.run(["cp", "-r", case.state, other], check=True)
    r = case.dagrun("resume", job_id(case), env=dict(case.env, XDG_STATE_HOME=other))
    check(r.stdout == case.read("text.txt"), "the bytes differ")
    out, err = p.communicate(timeout=patience(60))
    check(p.returncode == 1 and b"another job manager runs this job now" in err and not out, err)


@test
def F14_the_earlier_one_ends_the_job_nowhere(case):
    """A daemon that hears of the end of the earlier job manager before it hears of the later one would end what it runs."""
    prepare(case, 300000)
    case.write("slow.yaml", case.read("slow.yaml").decode().replace("sorted.txt", '"-"'))
    cluster = Cluster(case, nodes=2)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "slow.yaml")
    case.wait_for(lambda: case.read("ran").count(b"\n") >= 2 and is_noted(case), "vertices")
    other, last = case.path("other"), cluster.daemons[1]
    subprocess.run(["cp", "-r", case.state, other], check=True)
    last.send_signal(signal.SIGSTOP)
    hosts = case.hosts(last.pid)
    r = case.start(program("dagrun"), "resume", job_id(case), env=dict(case.env, XDG_STATE_HOME=other))
    err = p.communicate(timeout=patience(60))[1]
    check(p.returncode == 1 and b"another job manager runs this job now" in err, err)
    ran = case.read("ran").count(b"\n")
    last.send_signal(signal.SIGCONT)
    case.wait_for(lambda: case.read("ran").count(b"\n") > ran + 6, "vertices of the later job manager")
    check(set(hosts) <= set(case.hosts(last.pid)), "hosts were killed")
    out, err = r.communicate(timeout=patience(60))
    check(r.returncode == 0 and out == case.read("text.txt"), err)


@test
def F65_a_damaged_journal_is_refused(case):
    prepare(case)
    crash(case, "-s", "2", after=3)
    path = os.path.join(case.state, "dagrun/jobs", job_id(case), "journal.db")
    db = sqlite3.connect(path)
    row = db.execute("SELECT max(seq) FROM facts WHERE facts LIKE '%hash=%'").fetchone()[0]
    db.execute("UPDATE facts SET facts = replace(facts, 'hash=', 'hash=f') WHERE seq = ?", (row,))
    db.commit()
    db.close()
    r = case.dagrun("resume", job_id(case), rc=3)
    check(b"row %d of table facts is damaged" % row in r.stderr, r.stderr)
    check(b"row %d" % row in case.dagrun("jobs").stdout or b"unfinished" in case.dagrun("jobs").stdout, "jobs")
    case.dagrun("clean", job_id(case))
    check(jobs(case) == [], jobs(case))


@test
def F84_a_changed_job_is_refused(case):
    prepare(case)
    crash(case, "-s", "2", after=3)
    graph = case.read("slow.yaml").decode()
    for what, text in {"stage 'map'": graph.replace("sleep", "sleep 0; sleep"), "stage 'sum'": graph.replace("sort -n", "sort -g"),
                       "its list of edges": graph.replace("[t >= map >> sum]", "[t >= map, {from: map, to: sum, pattern: '>>', compress: lz4}]"),
                       "its list of outputs": graph.replace("sorted.txt", "other.txt")}.items():
        case.write("slow.yaml", text)
        r = case.dagrun("resume", job_id(case), rc=3)
        check(f"{what} is not what it was".encode() in r.stderr, r.stderr)
    case.write("slow.yaml", graph)
    case.write("text.txt", case.shell("seq 120001"))
    r = case.dagrun("resume", job_id(case), rc=3)
    check(b"input 't' is not what it was" in r.stderr, r.stderr)
    case.dagrun("clean", "--all")


@test
def jobs_and_clean(case):
    prepare(case, 20000)
    check(b"no jobs" in case.dagrun("jobs").stdout, "jobs")
    crash(case, "-s", "2", after=1)
    r = case.dagrun("run", "-s", "2", "slow.yaml")
    check(b"did not end; 'dagrun resume " in r.stderr, r.stderr)
    table = case.dagrun("jobs").stdout
    check(b"unfinished" in table and b"done" in table, table)
    check(b"nothing to remove" in case.dagrun("clean").stdout, "young jobs stay")
    check(b"there is no job 'x'" in case.dagrun("clean", "x", rc=3).stderr, "clean x")
    case.dagrun("clean", "--all")
    check(jobs(case) == [], jobs(case))


@test
def clean_frees_what_daemons_hold(case):
    prepare(case)
    cluster = Cluster(case, nodes=2)
    crash(case, "-n", cluster.endpoint, after=6)
    time.sleep(3.5)  # until the daemons take the job manager for gone
    case.dagrun("clean", "--all")
    case.wait_for(lambda: not case.hosts(), "the hosts to end")


def crash_with_output_on_disk(case):
    """A job is killed when the first of its output's vertices have given back what they held."""
    case.write("g.yaml", """
stages: {gen: {sh: "seq $((DAGRUN_INDEX * 4000000)) $((DAGRUN_INDEX * 4000000 + 3999999)); echo $DAGRUN_INDEX >> RAN; sleep 0.5", width: 8}}
outputs: {gen: {file: all.txt}}
""".replace("RAN", case.path("ran")))
    case.write("ran", "")
    p = case.start(program("dagrun"), "run", "-s", "1", "g.yaml", stderr=subprocess.DEVNULL)

    def is_synced():
        with sqlite3.connect(f"file:{case.state}/dagrun/jobs/{job_id(case)}/journal.db?mode=ro", uri=True) as db:
            return db.execute("SELECT 1 FROM facts WHERE facts LIKE '%synced %'").fetchone()

    case.wait_for(lambda: case.read("ran").count(b"\n") >= 5 and is_synced(), "the output")
    p.kill()
    p.wait()


@test
def what_is_on_disk_is_not_made_again(case):
    crash_with_output_on_disk(case)
    r = case.dagrun("resume", job_id(case))
    check(b" 0 run again" in r.stderr, r.stderr)
    check(case.read("all.txt") == case.shell("seq 0 31999999"), "the bytes differ")
    check(sorted(set(case.read("ran").split())) == [b"%d" % i for i in range(8)], case.read("ran"))
    check(len(case.read("ran").split()) <= 9, case.read("ran"))


@test
def what_was_on_disk_and_is_gone_is_made_again(case):
    crash_with_output_on_disk(case)
    os.unlink(glob.glob(case.path(".dagrun-2*"))[0])
    r = case.dagrun("resume", job_id(case))
    check(b" 0 run again" not in r.stderr, r.stderr)
    check(case.read("all.txt") == case.shell("seq 0 31999999"), "the bytes differ")


PARTS = """
inputs: {t: {files: text.txt, split: 4MiB}}
stages:
  cut: {use: cat}
  sum: {sh: "cat > x; while [ $DAGRUN_INDEX = 3 ] && [ ! -e GO ]; do sleep 0.05; done; cat x", width: 4}
flow: [{from: t, to: cut}, {from: cut, to: sum, pattern: ">>", partition: {by: round-robin}}]
outputs: {sum: {file: "part.{index}"}}
"""


def given_back(case):
    """Bytes of the case's spools that are holes in their files."""
    files = [os.stat(path) for path in glob.glob(f"/dev/shm/dagrun-{os.getuid()}/n*-{os.getpid()}/seg-*")]
    return sum(f.st_size - f.st_blocks * 512 for f in files)


def start_parts(case):
    """Three of four parts are on disk, and the last one waits: the cluster, and dagrun."""
    case.write("text.txt", case.shell("seq 4000000"))
    case.write("parts.yaml", PARTS.replace("GO", case.path("go")))
    cluster = Cluster(case, nodes=1, slots=1)
    p = case.start(program("dagrun"), "run", "-n", cluster.endpoint, "parts.yaml")
    case.wait_for(lambda: given_back(case) > 16e6, "three parts of 30 MB, which nobody needs, to be given back")
    return cluster, p


def check_parts(case):
    parts = [case.read(f"part.{i}") for i in range(4)]
    check(sorted(b"".join(parts).splitlines()) == sorted(case.read("text.txt").splitlines()), "the bytes differ")
    check(len({len(p) // 1000000 for p in parts}) == 1, "the parts are not alike")


@test
def parts_are_given_back_when_what_came_of_them_is_on_disk(case):
    _, p = start_parts(case)
    case.write("go", "")
    err = p.communicate(timeout=patience(60))[1]
    check(p.returncode == 0, err)
    check(b"runs again" not in err, err)
    check_parts(case)


@test
def parts_that_were_given_back_are_made_again(case):
    _, p = start_parts(case)
    p.kill()
    p.wait()
    os.unlink(glob.glob(case.path(".dagrun-2*-1"))[0])
    case.write("go", "")
    r = case.dagrun("resume", job_id(case))
    check(b"is missing" in r.stderr, r.stderr)
    check_parts(case)


@test
def a_new_daemon_does_not_know_what_was_given_back(case):
    """It takes up the spool as it lies there, with holes in it, and offers it."""
    cluster, p = start_parts(case)
    for process in (p, cluster.daemons[0]):
        process.kill()
        process.wait()
    os.unlink(glob.glob(case.path(".dagrun-2*-1"))[0])
    case.write("go", "")
    cluster.add(0, slots=1)
    case.wait_for(lambda: cluster.count() == 1, "the new daemon")
    r = case.dagrun("resume", job_id(case))
    check_parts(case)
    check(b"run again" in r.stderr, r.stderr)


@test
def F52_a_publication_that_was_cut_is_completed(case):
    """The journal says that it was decided; one output has its name, the other has not."""
    prepare(case, 20000)
    case.write("two.yaml", """
inputs: {t: {files: text.txt}}
stages: {a: {program: [cat]}, b: {sh: "wc -l"}}
flow: [t >= a, a >= b]
outputs: {a: {file: a.txt}, b: {file: b.txt}}
""")
    draw = random.Random(3)
    for _ in range(8):
        p = case.start(program("dagrun"), "run", "two.yaml", stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.0, 0.06) * SLOW)
        p.kill()
        p.wait()
        for job in jobs(case):
            if job["state"] == "unfinished":
                case.dagrun("resume", job["job"])
                check(case.read("a.txt") == case.read("text.txt") and case.read("b.txt").split() == [b"20000"], "bytes")
        case.dagrun("clean", "--all")
        for name in ("a.txt", "b.txt"):
            if os.path.exists(case.path(name)):
                os.unlink(case.path(name))


if __name__ == "__main__":
    main()
