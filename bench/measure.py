# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: building, timing in turns, tables."""
import functools
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build-release")
DAGRUN = os.path.join(BUILD, "dagrun")
PLUGINS = os.path.join(BUILD, "bench")
BENCH = os.path.join(ROOT, "bench")
PEERS = os.path.join(ROOT, "build-peers", "bin", "python")
LINES = []
# Figures without keys go on being of what they were: on loopback dagrun would use the user's own.
os.environ["DAGRUN_KEYS"] = "none"


def say(line=""):
    print(line, flush=True)
    LINES.append(line)


def build():
    if not os.path.isdir(BUILD):
        subprocess.run(["meson", "setup", BUILD, ROOT, "--buildtype=release"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", BUILD], check=True, stdout=subprocess.DEVNULL)


def machine():
    with open("/proc/cpuinfo") as f:
        cpu = [line.split(":")[1].strip() for line in f if line.startswith("model name")][0]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    return f"Machine: {os.cpu_count()} cores ({cpu}), {memory} GiB, Linux {platform.release()}."


def program(name):
    return os.path.join(BUILD, "bench", name)


def timed(command, **options):
    """Seconds of a command; its output goes nowhere, but for what one that fails had to say."""
    started = time.perf_counter()
    p = subprocess.run(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
    seconds = time.perf_counter() - started
    if p.returncode:
        sys.exit(f"{' '.join(command)} ended with {p.returncode}:\n{p.stderr.decode()}")
    return seconds


def dagrun(*args, **options):
    """Seconds that the job itself took, as it says."""
    p = subprocess.run([DAGRUN, "run", "-P", PLUGINS, *args], check=True, capture_output=True, text=True, **options)
    return float(re.search(r" done: .* ([0-9.]+) s\n", p.stderr).group(1))


def write(args, name, text):
    path = os.path.join(args.dir, name)
    with open(path, "w") as f:
        f.write(text)
    return path


def figure(*args):
    """The number that a job of the bench plugin writes to its output."""
    return float(subprocess.run([DAGRUN, "run", "-q", "-P", PLUGINS, *args], check=True, capture_output=True, text=True).stdout.split()[0])


def turns(rounds, functions, few=()):
    """Calls each in turn, `rounds` times (those of `few` twice): {name: [values]}. One that returns None is left out."""
    values = {name: [] for name in functions}
    for i in range(rounds):
        for name, function in functions.items():
            value = function() if i < 2 or name not in few else None
            if value is not None:
                values[name].append(value)
    return {name: v for name, v in values.items() if v}


def table(title, values, unit, digits=2):
    say(f"\n### {title}\n")
    say("| what | minimum | median | maximum | unit | runs |")
    say("|---|---|---|---|---|---|")
    for name, v in values.items():
        say(f"| {name} | {min(v):.{digits}f} | {statistics.median(v):.{digits}f} | {max(v):.{digits}f} | {unit} | {len(v)} |")


def ratios(values, ours, more_is_better=False):
    """One line: how we stand to each other row, by medians."""
    m = {name: statistics.median(v) for name, v in values.items()}
    said = [f"{(m[ours] / m[n] if more_is_better else m[n] / m[ours]):.2f} × {n}" for n in m if n != ours]
    if said:
        say(f"\n**{ours}** has the speed of " + ", ".join(said) + ".")


def have(name):
    return shutil.which(name) is not None


def peer(script, *args):
    """Seconds that a Python peer says it took, without its start; None where it cannot be had."""
    if not os.path.exists(PEERS):
        return None
    p = subprocess.run([PEERS, os.path.join(BENCH, "peers", script), *args], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if p.returncode:
        print(f"# {script} {' '.join(args)}: {p.stderr.strip().splitlines()[-1] if p.stderr else p.returncode}", file=sys.stderr)
        return None
    return float(p.stdout.split()[-1])


def peak_memory(command, children=True):
    """MiB: the largest sum of the proportional shares (PSS) of a program and its hosts."""
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while p.poll() is None:
        pids = [p.pid]
        if children:
            pids += [int(c) for c in subprocess.run(["pgrep", "-P", str(p.pid)], capture_output=True, text=True).stdout.split()]
        most = max(most, sum(pss(pid) for pid in pids))
        time.sleep(0.01)
    return most / 1024


def peak_rss(command):
    """MiB of the largest resident set that the process itself had."""
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        sys.exit(f"{command} ended with {p.returncode}")
    return usage.ru_maxrss / 1024


def pss(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            return sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    except OSError:
        return 0


def use_share(i, n):
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[i::n] or cpus)


class Cluster:
    """A name server and daemons on loopback, each with its number as the label `n` and with cores of its own, as on machines of their own."""

    def __init__(self, folder, nodes=2, slots=1, options=(), keys=()):
        self.keys = keys
        self.nameserver = subprocess.Popen([os.path.join(BUILD, "dagns"), "--listen", "tcp://127.0.0.1:*", *keys], stderr=subprocess.PIPE)
        self.endpoint = self.nameserver.stderr.readline().decode().split()[3]
        self.daemons = [subprocess.Popen([os.path.join(BUILD, "dagd"), "--nameserver", self.endpoint, "--slots", str(slots), "--node",
                                          f"bench{os.getpid()}-{i}", "--label", f"n={i}", "--spool",
                                          os.path.join(folder, f"spool{i}"), *keys, *options],
                                         stderr=subprocess.DEVNULL, preexec_fn=functools.partial(use_share, i, nodes)) for i in range(nodes)]

    def __enter__(self):
        while subprocess.run([DAGRUN, "nodes", "-n", self.endpoint, *self.keys], capture_output=True).stdout.count(b" up ") < len(self.daemons):
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        for p in [*self.daemons, self.nameserver]:
            p.send_signal(signal.SIGTERM)
        for p in [*self.daemons, self.nameserver]:
            p.wait()
