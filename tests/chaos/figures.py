# SPDX-License-Identifier: Apache-2.0
"""How fast a death is noticed, whether the living are taken for dead, and what a death costs: real processes on loopback.

  figures.py notice [TIMES]       kills a daemon, stops one, kills a host, and waits for dagrun's word about it
  figures.py load [SECONDS]       8 busy daemons; counts nodes that were taken for dead or suspected
  figures.py sort [TIMES] [MB]    a sort on 16 daemons of 2 slots, undisturbed and with 4 of the 32 hosts killed, in turn"""
import glob
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from harness import BUILD, Case, Cluster, program  # noqa: E402


class Run:
    """A job manager whose words are kept with the times at which they came."""

    def __init__(self, case, *args):
        self.process = case.start(program("dagrun"), "run", *args)
        self.words = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.words.append((time.time(), line.decode(errors="replace").rstrip()))

    def wait_for(self, since, *texts, timeout=60):
        while time.time() < since + timeout:
            for when, line in self.words:
                if when >= since and all(t in line for t in texts):
                    return when - since
            time.sleep(0.002)
        raise SystemExit(f"waited in vain for {texts}: {self.words[-5:]}")

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.reader.join()


def table(what, values, bound):
    print(f"| {what} | {min(values):.2f} | {statistics.median(values):.2f} | {max(values):.2f} | {bound} |", flush=True)


def parent(pid):
    with open(f"/proc/{pid}/stat") as f:
        return int(f.read().rsplit(")", 1)[1].split()[1])


def notice(times):
    print("| what | minimum | median | maximum | bound |\n|---|---|---|---|---|")
    seconds = {"a daemon is killed": [], "a daemon is stopped": [], "a host is killed": []}
    for _ in range(times):
        case = Case("notice")
        case.write("s.yaml", 'stages: {a: {sh: "sleep 100", width: 8, retries: 20}}\noutputs: {a: {file: "-"}}\n')
        cluster = Cluster(case, nodes=4)
        run = Run(case, "-n", cluster.endpoint, "s.yaml")
        case.wait_for(lambda: len(case.hosts()) >= 8, "hosts")
        time.sleep(2)
        name = f"n0-{os.getpid()}"
        since = time.time()
        cluster.daemons[0].kill()
        seconds["a daemon is killed"].append(run.wait_for(since, "node " + name, "is gone"))
        since = time.time()
        host = next(h for h in case.hosts() if parent(parent(h)) == cluster.daemons[2].pid)
        os.kill(host, signal.SIGKILL)
        seconds["a host is killed"].append(run.wait_for(since, "failed and runs again"))
        since = time.time()
        os.kill(cluster.daemons[1].pid, signal.SIGSTOP)
        seconds["a daemon is stopped"].append(run.wait_for(since, f"node n1-{os.getpid()}", "is gone"))
        os.kill(cluster.daemons[1].pid, signal.SIGCONT)
        run.end()
        case.stop()
        case.close()
    table("a daemon is killed, until the job manager says so (s)", seconds["a daemon is killed"], "3")
    table("a daemon is stopped (s)", seconds["a daemon is stopped"], "12")
    table("a host is killed (s)", seconds["a host is killed"], "at once")


def load(seconds):
    case = Case("load")
    case.write("in.txt", case.shell("seq 2000000"))
    case.write("l.yaml", """
inputs: {t: {files: in.txt, split: 256KiB}}
stages: {work: {sh: "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; sort -r"}, spread: {plugin: std, entry: cat}, sum: {sh: "sort | md5sum", width: 16}}
flow: [t >= work >= spread, {from: spread, to: sum, pattern: ">>", partition: {by: hash, key: 1}}]
outputs: {sum: {file: "out{index}.txt"}}
""")
    cluster = Cluster(case, nodes=8)
    begin, jobs, gone, suspected = time.time(), 0, [], 0
    with open("/proc/stat") as f:
        before = [int(x) for x in f.readline().split()[1:]]
    while time.time() < begin + seconds:
        run = Run(case, "-n", cluster.endpoint, "l.yaml")
        while run.process.poll() is None:
            time.sleep(0.5)
        run.reader.join()
        gone += [line for _, line in run.words if "is gone" in line or "cut off" in line]
        suspected += sum("silent" in line for _, line in run.words)
        if run.process.returncode:
            raise SystemExit(f"a job failed: {run.words[-5:]}")
        jobs += 1
    with open("/proc/stat") as f:
        after = [int(x) for x in f.readline().split()[1:]]
    spent = [b - a for a, b in zip(before, after)]
    print(f"{time.time() - begin:.0f} s, 8 daemons of 2 slots on {os.cpu_count()} cores, {jobs} jobs, "
          f"{100 * (1 - spent[3] / sum(spent[:8])):.0f} % of all cores busy: {len(gone)} nodes taken for dead, {suspected} words of silence")
    for line in gone:
        print("  " + line)
    case.stop()
    case.close()


SORT = """
inputs: {t: {files: in.txt, split: SPLIT}}
stages:
  piece: {sh: "echo $DAGRUN_INDEX $DAGRUN_ATTEMPT $PPID $(date +%s.%N) >> STARTS; sort -S 200M --parallel=1", retries: 20}
  spread: {plugin: std, entry: cat}
  merge: {sh: "echo m$DAGRUN_INDEX $DAGRUN_ATTEMPT $PPID $(date +%s.%N) >> STARTS; sort -S 200M --parallel=1", width: 64, retries: 20}
flow: [t >= piece >= spread, {from: spread, to: merge, pattern: ">>", partition: {by: hash, key: 1}}]
outputs: {merge: {file: "out{index}.txt"}}
"""


def starts(case):
    """host → when its last vertex began"""
    last = {}
    for line in case.read("starts").decode().splitlines():
        _, _, pid, when = line.split()
        last[int(pid)] = float(when)
    return last


def sort_once(case, cluster, victims):
    """Seconds that the job took, and those that its lost attempts had run. The victims die one after the other in its middle half."""
    case.write("starts", "")
    begin, lost, killed = time.time(), 0, 0
    run = Run(case, "-q", "-n", cluster.endpoint, "s.yaml")
    at = [SORT_SECONDS[0] * (0.25 + 0.5 * (i + 1) / (victims + 1)) for i in range(victims)]
    while run.process.poll() is None:
        time.sleep(0.01)
        if killed < len(at) and time.time() - begin > at[killed]:
            running = starts(case)
            hosts = [h for h in case.hosts() if h in running and children(h)]
            if hosts:
                host = random.choice(hosts)
                os.kill(host, signal.SIGKILL)
                lost += time.time() - running[host]
                killed += 1
    run.reader.join()
    if run.process.returncode or killed < victims:
        raise SystemExit(f"{killed} killed, {run.words[-5:]}")
    return time.time() - begin, lost


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return f.read().split()
    except OSError:
        return []


SORT_SECONDS = [60.0]  # of the first run
LINES_A_MB = 12787  # of 82 bytes


def sort(times, megabytes):
    case = Case("sort")
    random.seed(5)
    with open(case.path("in.txt"), "w") as f:
        for _ in range(megabytes):
            f.write("".join(f"{random.getrandbits(64):016x} {random.getrandbits(256):064x}\n" for _ in range(LINES_A_MB)))
    case.write("s.yaml", SORT.replace("STARTS", case.path("starts")).replace("SPLIT", f"{max(megabytes // 96, 1)}MiB"))
    cluster = Cluster(case, nodes=16, extra=("--memory", "2GiB"))
    clean, disturbed, ratios, losses = [], [], [], []
    SORT_SECONDS[0] = sort_once(case, cluster, 0)[0]
    print(f"# a first run of {megabytes} MB: {SORT_SECONDS[0]:.1f} s", flush=True)
    for _ in range(times):
        plain, _ = sort_once(case, cluster, 0)
        hurt, lost = sort_once(case, cluster, 4)
        want = subprocess.run("sort -c out*.txt 2>/dev/null; cat out*.txt | wc -l", shell=True, cwd=case.dir, capture_output=True).stdout
        if int(want) != megabytes * LINES_A_MB:
            raise SystemExit(f"{want} lines came out")
        clean.append(plain)
        disturbed.append(hurt)
        losses.append(lost)
        ratios.append((hurt - lost / os.cpu_count()) / plain)
        print(f"# {plain:.1f} s, {hurt:.1f} s with 4 hosts killed, whose attempts had run {lost:.1f} s", flush=True)
    print("| what | minimum | median | maximum | bound |\n|---|---|---|---|---|")
    table(f"sort of {megabytes} MB on 16 daemons of 2 slots, {os.cpu_count()} cores (s)", clean, "")
    table("the same with 4 of the 32 hosts killed (s)", disturbed, "")
    table("run time of the lost attempts, over the cores (s)", [x / os.cpu_count() for x in losses], "")
    table("disturbed, without what was lost, over undisturbed", ratios, "1.05")
    case.stop()
    case.close()


if __name__ == "__main__":
    numbers = [int(a) for a in sys.argv[2:]]
    if sys.argv[1:2] == ["notice"]:
        notice(*numbers or [5])
    elif sys.argv[1:2] == ["load"]:
        load(*numbers or [600])
    elif sys.argv[1:2] == ["sort"]:
        sort(*(numbers + [3, 2400][len(numbers):]))
    else:
        sys.exit(__doc__)
