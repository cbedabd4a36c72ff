# SPDX-License-Identifier: Apache-2.0
"""How fast vertices are started, run and noted: wide stages, chains, layers, stencils, programs."""
import os
import random
import statistics
import subprocess
import time

from measure import *

WIDE = "stages: {a: {plugin: bench, entry: nothing, width: %d}}\n"


def layers(args, depth, width, ns=0, pattern=">="):
    """A file of `depth` stages of `width` vertices that each work for `ns` nanoseconds; width and pattern may be functions of the stage's number."""
    of = lambda what, i: what(i) if callable(what) else what
    lines = [f"stages:\n  s0: {{plugin: bench, entry: first, width: {of(width, 0)}}}"]
    own = lambda i: f", width: {width(i)}" if callable(width) else ""
    lines += [f"  s{i}: {{plugin: bench, entry: work, params: {{ns: {ns}}}{own(i)}}}" for i in range(1, depth)]
    if pattern == ">=":
        lines.append("flow: [" + ", ".join(f"s{i} >= s{i + 1}" for i in range(depth - 1)) + "]")
    else:
        lines.append("flow:")
        lines += [f"  - {{from: s{i}, to: s{i + 1}, pattern: {of(pattern, i)}}}" for i in range(depth - 1)]
    return write(args, f"layers-{depth}-{of(width, 0)}-{ns}{'' if pattern == '>=' else '-other'}.yaml", "\n".join(lines) + "\n")


def startup(args):
    graph = os.path.join(BENCH, "nothing.yaml")
    command = [DAGRUN, "run", "-q", "-P", PLUGINS, graph]
    timed(command)
    with Cluster(args.dir, nodes=1, slots=2) as cluster:
        warm = [DAGRUN, "run", "-q", "-n", cluster.endpoint, "-P", PLUGINS, graph]
        timed(warm)
        values = turns(args.rounds * 4, {"alone": lambda: timed(command) * 1000, "on a warm cluster": lambda: timed(warm) * 1000})
    table("Start: `dagrun run` of one trivial plugin vertex, from typing to exit", values, "ms", 1)
    slow = write(args, "slow.yaml", "stages: {nothing: {plugin: bench, entry: nothing}, wait: {sh: 'sleep 0.2'}}\nflow: [nothing >= wait]\n")
    say(f"\nMemory of the whole (PSS of dagrun and its hosts): {statistics.median(peak_memory([*command[:-1], slow]) for _ in range(3)):.1f} MiB.")


def vertices(args):
    graphs = {n: write(args, f"wide-{n}.yaml", WIDE % n) for n in (10**4, 10**5, 10**6)}
    with Cluster(args.dir, nodes=1, slots=2) as cluster:
        values = turns(args.rounds, {
            "dagrun, 10^4": lambda: 1e4 / dagrun(graphs[10**4]),
            "dagrun, 10^5": lambda: 1e5 / dagrun(graphs[10**5]),
            "dagrun, 10^6": lambda: 1e6 / dagrun(graphs[10**6]),
            "dagrun, 10^6, a daemon of its own over TCP": lambda: 1e6 / dagrun("-n", cluster.endpoint, graphs[10**6]),
            "Ray, 10^4 tasks": lambda: rate(peer("ray_empty.py", "10000"), 1e4),
            "Dask, 10^4 tasks": lambda: rate(peer("dask_empty.py", "10000"), 1e4),
        }, few=("Ray, 10^4 tasks", "Dask, 10^4 tasks"))
        alone = peak_rss([DAGRUN, "run", "-q", "-n", cluster.endpoint, "-P", PLUGINS, graphs[10**6]])
    table("Empty plugin vertices in one stage, each with state and journal; the peers' start is left out", values, "vertices/s", 0)
    ratios(values, "dagrun, 10^6", more_is_better=True)
    whole = peak_rss([DAGRUN, "run", "-q", "-P", PLUGINS, graphs[10**6]])
    say(f"\nAt 10^6 the job manager of a cluster had {alone:.0f} MiB, {alone * 1.048576:.0f} bytes a vertex; manager and daemon in one process {whole:.0f} MiB.")


def added(args):
    """A program adds one vertex to a running job and reads its result: medians of many."""
    graph = os.path.join(ROOT, "graphs/tasks/tasks.yaml")

    def one(*cluster):
        lines = subprocess.run([program("add_vertex"), graph, "2000", *cluster], check=True, capture_output=True, text=True).stdout.split()
        return statistics.median(map(float, lines))

    def other(script):
        seconds = peer(script, "2000")
        return None if seconds is None else seconds * 1e6

    with Cluster(args.dir, nodes=1, slots=2) as cluster:
        values = turns(args.rounds, {
            "dagrun, embedded": one,
            "dagrun, a daemon of its own over TCP": lambda: one(cluster.endpoint),
            "Ray": lambda: other("ray_one.py"),
            "Dask": lambda: other("dask_one.py"),
        }, few=("Ray", "Dask"))
    table("One vertex added to a running job by a C program, until its result is read: medians of 2,000", values, "us", 0)
    ratios(values, "dagrun, embedded")


def rate(seconds, count):
    return None if seconds is None else count / seconds


def shuffle_plan(args):
    """From the file to the first start, where every one of 3,000 consumers reads every one of 3,000 producers."""
    graph = write(args, "plan.yaml", """
stages:
  more: {plugin: bench, entry: nothing, width: 994000}
  a: {plugin: bench, entry: first, width: 3000}
  b: {plugin: bench, entry: work, width: 3000, params: {ns: 0}}
flow:
  - {from: a, to: b, pattern: ">>", partition: {by: round-robin}}
""")
    values = turns(args.rounds, {"dagrun check": lambda: timed([DAGRUN, "check", "-P", PLUGINS, graph]),
                                 "until the first vertex is told as done": lambda: first_done(graph)})
    table("10^6 vertices with a shuffle of 3,000 × 3,000: from the command on", values, "s")


def first_done(graph):
    state = os.path.join(os.environ["XDG_STATE_HOME"], "dagrun", "jobs")
    before = set(os.listdir(state)) if os.path.isdir(state) else set()
    started = time.perf_counter()
    p = subprocess.Popen([DAGRUN, "run", "-P", PLUGINS, graph], stderr=subprocess.DEVNULL)
    took = None
    while p.poll() is None and took is None:
        for job in set(os.listdir(state)) - before if os.path.isdir(state) else ():
            r = subprocess.run(["sqlite3", os.path.join(state, job, "journal.db"), "select count(*) from facts where facts like '%committed%'"],
                               capture_output=True, text=True)
            if r.stdout.strip() not in ("", "0"):
                took = time.perf_counter() - started
        time.sleep(0.01)
    p.terminate()
    p.wait()
    return took


def chain(args):
    """The hops alone are from the first vertex's time to the last one's, which the first writes and the last compares with its own."""
    n = 10000
    graph = layers(args, n, 1)
    with open(graph) as f:
        hops = write(args, "hops.yaml", f.read().replace("entry: first", "entry: now")
                     .replace(f"s{n - 1}: {{plugin: bench, entry: work, params: {{ns: 0}}}}", f"s{n - 1}: {{plugin: bench, entry: since}}")
                     + f"outputs: {{s{n - 1}: {{file: '-'}}}}\n")
    unfused = layers(args, n, 1, pattern="'>>'")
    apart = write(args, "apart.yaml", "\n".join(["stages:", *(f"  s{i}: {{plugin: bench, entry: first}}" for i in range(n))]) + "\n")
    hop = 1e6 / n
    values = turns(args.rounds * 2, {
        "a chain, all of the job": lambda: dagrun(graph) * hop,
        "a chain, its hops alone": lambda: figure(hops) / 1000 / (n - 1),
        "not fused (edges `>>`), all of the job": lambda: dagrun(unfused) * hop,
        "as many stages, none behind another": lambda: dagrun(apart) * hop,
    })
    table("10,000 stages of one vertex of one record each, one after the other", values, "µs a vertex", 1)


def layered(args):
    graph = layers(args, 1000, 64)
    values = turns(args.rounds, {"dagrun": lambda: 64000 / dagrun(graph)})
    table("1,000 layers of 64 vertices, pointwise, one record each, journal on", values, "vertices/s", 0)


def shapes(args):
    """Graphs of other forms: one vertex feeds all and all feed one; a tree of pairs; layers whose vertices read two drawn at random."""
    n, depth = 1 << 16, 16
    fan = write(args, "fan.yaml", "stages:\n  one: {plugin: bench, entry: first}\n"
                f"  many: {{plugin: bench, entry: work, params: {{ns: 0}}, width: {n}}}\n  end: {{plugin: bench, entry: work, params: {{ns: 0}}}}\n"
                "flow:\n  - {from: one, to: many, pattern: '>>', partition: {by: all}}\n  - {from: many, to: end, pattern: '>>'}\n")
    tree = layers(args, depth + 1, lambda i: n >> i)
    draw = random.Random(1)
    two = lambda i: {"list": [[a, b] for b in range(256) for a in sorted(draw.sample(range(256), 2))]}
    drawn = layers(args, 64, lambda i: 256, pattern=two)
    values = turns(args.rounds, {
        f"a fan: 1, {n:,} that read it, 1 that reads all": lambda: (n + 2) / dagrun(fan),
        f"a tree: {n:,} to 1 by pairs": lambda: (2 * n - 1) / dagrun(tree),
        "64 layers of 256, each vertex reads two drawn at random": lambda: 64 * 256 / dagrun(drawn),
    })
    table("Graphs of other forms, one record a channel, journal on", values, "vertices/s", 0)


def stencil(args):
    """Task Bench's METG(50 %): the shortest vertices with which half of the time is work."""
    depth, rows = 200, {}
    for us in (1000, 500, 200, 100, 50, 20, 10):
        graph = layers(args, depth, 64, us * 1000, "{neighbours: 1}")
        rows[f"{us} µs"] = [depth * 64 * us / 1e6 / 2 / dagrun(graph) * 100 for _ in range(3)]
    table("Stencil, 64 columns, each vertex reads its neighbours, 2 slots: share of the time that is work", rows, "%", 0)
    metg = [name for name, v in rows.items() if statistics.median(v) >= 50]
    say(f"\nHalf of both slots is used from vertices of **{metg[-1] if metg else 'more than 1 ms'}** on (METG 50 %).")


def programs(args):
    n = 1000
    graph = write(args, "true.yaml", "stages: {a: {program: ['true'], width: %d}}\n" % n)
    folder = os.path.join(args.dir, "true")
    os.makedirs(folder, exist_ok=True)
    names = [f"o{i}" for i in range(n)]
    for name, text in (
            ("build.ninja", "rule t\n  command = true\n" + "".join(f"build {o}: t\n" for o in names) + f"default {' '.join(names)}\n"),
            ("Makefile", f"all: {' '.join(names)}\n" + "".join(f"{o}:\n\t@true\n" for o in names)),
            ("makeflow", "".join(f"{o}:\n\ttouch {o}\n\n" for o in names[:n // 10])),
            ("Snakefile", f"rule all:\n  input: expand('s{{i}}', i=range({n // 10}))\nrule one:\n  output: 's{{i}}'\n  shell: 'touch {{output}}'\n")):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)

    def tool(name, *command, count=n):
        if not have(name):
            return None
        for o in (*names, *(f"s{i}" for i in range(n // 10)), ".ninja_log", "makeflow.makeflowlog"):
            if os.path.exists(os.path.join(folder, o)):
                os.unlink(os.path.join(folder, o))
        try:
            return timed([name, *command], cwd=folder) * n / count
        except subprocess.CalledProcessError:
            return None  # installed, and does not run here

    many = [str(i) for i in range(n)]
    values = turns(args.rounds, {
        "dagrun": lambda: timed([DAGRUN, "run", "-q", graph]),
        "ninja -j2": lambda: tool("ninja", "-j2"),
        "make -j2": lambda: tool("make", "-j2"),
        "xargs -P2 -n1": lambda: timed(["xargs", "-a", write(args, "many", "\n".join(many)), "-P2", "-n1", "true"]),
        "GNU parallel -j2": lambda: tool("parallel", "-j2", "true", ":::", *many),
        "Makeflow (CCTools), local, -j2, from 100": lambda: tool("makeflow", "-T", "local", "-j2", "makeflow", count=n // 10),
        "snakemake -c2, from 100": lambda: tool("snakemake", "-q", "-c2", count=n // 10),
    }, few=("GNU parallel -j2", "Makeflow (CCTools), local, -j2, from 100", "snakemake -c2, from 100"))
    table("1,000 programs (`true`), from typing to exit", values, "s")
    ratios(values, "dagrun")


def overhead(args):
    """The same function from main() and as vertices: what the engine costs a job of ten seconds."""
    iterations, n = 120_000_000, 128
    graph = write(args, "burn.yaml", "stages: {a: {plugin: bench, entry: burn, width: %d, params: {n: %d}}}\n" % (n, iterations))
    half = [program("burn_plain"), str(iterations), str(n // 2)]
    values = turns(args.rounds, {"dagrun, 128 vertices, 2 slots": lambda: dagrun(graph),
                                 "the same calls from main(), two processes": lambda: both(half)})
    table("A job of computation alone", values, "s")
    ratios(values, "dagrun, 128 vertices, 2 slots")


def both(command):
    started = time.perf_counter()
    ps = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    for p in ps:
        p.wait()
    return time.perf_counter() - started


ALL = [startup, vertices, added, shuffle_plan, chain, layered, shapes, stencil, programs, overhead]
