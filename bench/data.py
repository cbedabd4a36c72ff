# SPDX-License-Identifier: Apache-2.0
"""How fast bytes go through jobs: counting, sorting, shuffling, pipes, files, records."""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from measure import *


PARTS = """
stages:
  write: {plugin: bench, entry: records, params: {n: 20000}, width: 600}
  read: {plugin: bench, entry: drain, width: 600}
flow: [{from: write, to: read, pattern: ">>", partition: {by: round-robin}}]
outputs: {read: {file: sums}}
"""


def generate(args, name, tool, size, memory=False):
    folder = memory_folder(args) if memory else args.dir
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        subprocess.run([program(tool), size], stdout=f, check=True)
    return path


def memory_folder(args):
    if not getattr(args, "memory", None):
        args.memory = tempfile.TemporaryDirectory(prefix="dagrun-bench-", dir="/dev/shm")
    return args.memory.name


def same(*paths):
    if any(subprocess.run(["cmp", "-s", paths[0], p]).returncode for p in paths[1:] if os.path.exists(p)):
        sys.exit(f"the outputs differ: {paths}")


def wordcount(args):
    text = generate(args, "text", "gen_text", args.size)
    out = {name: os.path.join(args.dir, "words-" + name) for name in ("ours", "one", "two", "mawk", "duckdb", "polars", "spark")}
    awk = "mawk '{for (i = 1; i <= NF; i++) c[$i]++} END {for (w in c) print w \"\\t\" c[w]}' "
    graph = os.path.join(ROOT, "graphs/wordcount/wordcount.yaml")
    few = ["mawk and sort", "DuckDB, 2 threads", "Polars, 2 threads", "Spark, local[2]"]
    values = turns(args.rounds, {
        "dagrun": lambda: timed([DAGRUN, "run", "-q", "--slots", "2", graph, "-p", f"text={text}", "-p", f"out={out['ours']}"]),
        "plain C, one thread": lambda: timed(["sh", "-c", f"{program('wc_plain')} {text} > {out['one']}"]),
        "plain C, two threads": lambda: timed(["sh", "-c", f"{program('wc_plain')} {text} 2 > {out['two']}"]),
        few[0]: lambda: timed(["sh", "-c", f"{awk}{text} | LC_ALL=C sort -k2,2nr -k1,1 > {out['mawk']}"]) if have("mawk") else None,
        few[1]: lambda: peer("wordcount.py", "duckdb", text, out["duckdb"]),
        few[2]: lambda: peer("wordcount.py", "polars", text, out["polars"]),
        few[3]: lambda: peer("wordcount.py", "spark", text, out["spark"]),
    }, few=few)
    same(*(out[n] for n in ("ours", "one", "two", "mawk", "duckdb", "polars")))
    table(f"Word count of {args.size} of Zipf text; all files are the same bytes (Spark's is a folder); the start of Python and Java is left out",
          values, "s")
    ratios(values, "dagrun")
    for path in (text, *out.values()):
        shutil.rmtree(path) if os.path.isdir(path) else os.path.exists(path) and os.unlink(path)


def toppages(args):
    log = generate(args, "log", "gen_log", args.size)
    out = {name: os.path.join(args.dir, "top-" + name) for name in ("ours", "one", "two", "mawk", "duckdb", "polars")}
    awk = "mawk '{c[$7]++} END {for (p in c) print p \"\\t\" c[p]}' "
    few = ["mawk and sort", "DuckDB, 2 threads", "Polars, 2 threads"]
    values = turns(args.rounds, {
        "dagrun, standard vertices": lambda: timed([DAGRUN, "run", "-q", "--slots", "2", os.path.join(BENCH, "toppages.yaml"), "-p", f"log={log}",
                                                    "-p", f"out={out['ours']}"]),
        "plain C, one thread": lambda: timed(["sh", "-c", f"{program('top_plain')} {log} > {out['one']}"]),
        "plain C, two threads": lambda: timed(["sh", "-c", f"{program('top_plain')} {log} 2 > {out['two']}"]),
        few[0]: lambda: timed(["sh", "-c", f"{awk}{log} | LC_ALL=C sort -k2,2nr | head > {out['mawk']}"]) if have("mawk") else None,
        few[1]: lambda: peer("toppages.py", "duckdb", log, out["duckdb"]),
        few[2]: lambda: peer("toppages.py", "polars", log, out["polars"]),
    }, few=few)
    same(*out.values())
    table(f"The ten pages asked for most in {args.size} of an access log; all files are the same bytes; the start of Python is left out", values, "s")
    ratios(values, "dagrun, standard vertices")
    for path in (log, *out.values()):
        os.path.exists(path) and os.unlink(path)


def lines(args):
    """Lines of a log by all of their bytes, whose first are much the same: in one vertex, and by ranges."""
    log = generate(args, "log", "gen_log", args.size, memory=True)
    folder = memory_folder(args)
    out = {name: os.path.join(folder, "lines-" + name) for name in ("one", "ranges", "gnu")}
    one = write(args, "one.yaml", f"""
inputs: {{t: {{files: {log}}}}}
stages: {{sort: {{use: sort, params: {{memory: 8GiB}}}}}}
flow: [t >= sort]
outputs: {{sort: {{file: {out["one"]}}}}}
""")
    ranges = write(args, "ranges.yaml", f"""
inputs: {{t: {{files: {log}, split: 64MiB}}}}
stages: {{sort: {{use: sort, width: {{per: 64MiB}}}}}}
flow: [{{from: t, to: sort, pattern: ">>", partition: {{by: range}}}}]
outputs: {{sort: {{file: {out["ranges"]}}}}}
""")
    env = dict(os.environ, LC_ALL="C", TMPDIR=folder)

    def run(name, command):
        """Each makes its output anew."""
        if os.path.exists(out[name]):
            os.unlink(out[name])
        return timed(command, env=env)

    values = turns(args.rounds, {
        "dagrun, `use: sort` by ranges": lambda: run("ranges", [DAGRUN, "run", "-q", "--slots", "2", ranges]),
        "dagrun, `use: sort`, one vertex": lambda: run("one", [DAGRUN, "run", "-q", "--slots", "2", one]),
        "GNU sort -S 8G --parallel=2": lambda: run("gnu", ["sort", "-S", "8G", "--parallel=2", log, "-o", out["gnu"]]),
    })
    same(*out.values())
    table(f"{args.size} of an access log, its lines sorted, in tmpfs; all files are the same bytes", values, "s")
    ratios(values, "dagrun, `use: sort` by ranges")
    for path in (log, *out.values()):
        os.unlink(path)


def sort(args):
    text = generate(args, "lines", "gen_sort", args.sort, memory=True)
    folder = memory_folder(args)
    out = {name: os.path.join(folder, "sorted-" + name) for name in ("ours", "gnu", "one", "two")}
    env = dict(os.environ, LC_ALL="C", TMPDIR=folder)
    commands = {
        "dagrun": ("ours", [DAGRUN, "run", "-q", "--slots", "2", os.path.join(BENCH, "terasort.yaml"), "-p", f"records={text}", "-p", f"out={out['ours']}"]),
        "GNU sort -S 8G --parallel=2": ("gnu", ["sort", "-S", "8G", "--parallel=2", "-s", "-k1.1,1.10", text, "-o", out["gnu"]]),
        "plain C, two threads": ("two", [program("sort_plain"), text, out["two"], "2"]),
        "plain C, one thread": ("one", [program("sort_plain"), text, out["one"], "1"]),
    }

    def run(name):
        """Each is alone with its output: fresh memory is slow here, and all shall have the same."""
        took = timed(commands[name][1], env=env)
        os.unlink(out[commands[name][0]])
        return took

    for name in ("dagrun", "GNU sort -S 8G --parallel=2"):
        timed(commands[name][1], env=env)
    same(out["ours"], out["gnu"])
    check = [subprocess.run([DAGRUN, "run", "-q", os.path.join(BENCH, "validate.yaml"), "-p", f"records={p}"], check=True,
                            capture_output=True, text=True).stdout for p in (text, out["ours"])]
    fields = [dict(line.split("\t") for line in c.splitlines()) for c in check]
    if fields[1]["unordered"] != "0" or any(fields[0][k] != fields[1][k] for k in ("records", "bytes", "sum")):
        sys.exit(f"the sort is wrong: {check}")
    os.unlink(out["ours"])
    os.unlink(out["gnu"])
    values = turns(args.rounds, {name: lambda name=name: run(name) for name in commands}, few=list(commands)[3:])
    table(f"TeraSort: {args.sort} of 100-byte records by their first ten bytes, in tmpfs; validated, and the same bytes as GNU sort's", values, "s")
    ratios(values, "dagrun")
    say(f"\nThat is {os.path.getsize(text) / 1e6 / statistics.median(values['dagrun']):.0f} MB/s.")
    os.unlink(text)


def external(args):
    """More than its memory: the spool is on disk beyond the budget."""
    text = generate(args, "lines", "gen_sort", args.external)
    out, copy = os.path.join(args.dir, "sorted"), os.path.join(args.dir, "copy")
    with Cluster(args.dir, nodes=1, slots=2, options=["--memory", "2GiB"]) as cluster:
        values = turns(max(args.rounds // 2, 1), {
            "dagrun, a node of 2 GiB": lambda: timed([DAGRUN, "run", "-q", "-n", cluster.endpoint, os.path.join(BENCH, "terasort.yaml"),
                                                      "-p", f"records={text}", "-p", f"out={out}"]),
            "dd, there and back": lambda: sum(timed(["dd", f"if={a}", f"of={b}", "bs=1M", "conv=fsync"]) for a, b in ((text, copy), (copy, out + ".dd"))),
        })
    table(f"TeraSort of {args.external} on disk with 2 GiB", values, "s", 1)
    ratios(values, "dagrun, a node of 2 GiB")
    for path in (text, out, copy, out + ".dd"):
        os.unlink(path)


def shuffle(args):
    text = generate(args, "lines", "gen_sort", args.size, memory=True)
    folder = os.path.join(memory_folder(args), "parts")
    size = os.path.getsize(text)
    split = (size // 100 + 7) // 8 * 100

    def plain():
        os.mkdir(folder)
        took = timed([program("shuffle_plain"), text, folder, "8"])
        shutil.rmtree(folder)
        return size / 1e9 / took

    values = turns(args.rounds, {
        "dagrun": lambda: size / 1e9 / timed([DAGRUN, "run", "-q", "--slots", "2", "-P", PLUGINS, os.path.join(BENCH, "shuffle.yaml"),
                                              "-p", f"records={text}", "-p", f"split={split}B"]),
        "plain C, two processes, a file a channel": plain,
    })
    table(f"Shuffle of {args.size} of 100-byte records, 8 × 8, in memory: partitioned, written, read", values, "GB/s")
    ratios(values, "dagrun", more_is_better=True)
    os.unlink(text)


def parts(args):
    """Many small channels: what a channel costs."""
    graph = write(args, "parts.yaml", PARTS)
    with Cluster(args.dir) as cluster:
        values = turns(args.rounds, {
            "one node": lambda: dagrun(graph) / 600**2 * 1e6,
            "two daemons over TCP on loopback": lambda: dagrun("-n", cluster.endpoint, graph) / 600**2 * 1e6,
        })
    table("A shuffle of 600 × 600 channels of 2 KiB, from the job's start to its end", values, "µs a channel", 1)


def bare(*words):
    """What a program that a pipe is compared with prints first: GB/s."""
    return float(subprocess.run([program(words[0]), *words[1:]], check=True, capture_output=True).stdout.split()[0])


def pipe(args):
    graph = os.path.join(BENCH, "pipe.yaml")
    with Cluster(args.dir) as cluster:
        values = turns(args.rounds, {
            "dagrun, one node": lambda: figure(graph),
            "dagrun, a fifo: two threads of one host": lambda: figure("--slots", "2", graph, "-p", "cpus=1", "-p", "channel=fifo"),
            "bare pool of blocks in shared memory, hashed on both sides (bench/pool_pipe.c)": lambda: bare("pool_pipe", "4GiB"),
            "dagrun, two daemons over TCP on loopback": lambda: figure("-n", cluster.endpoint, graph, "-p", "cpus=1"),
            "bare TCP on loopback, 256 KiB at a time (bench/socket_pipe.c)": lambda: bare("socket_pipe", "4GiB"),
            "bare ZeroMQ PUSH/PULL over TCP on loopback, 1 MiB messages, no copy (bench/zmq_pipe.c)": lambda: bare("zmq_pipe", "4GiB"),
        })
    table("A pipe of 4 GiB between two vertices, hashes on, records of 64 KiB; every byte is read once", values, "GB/s")
    m = [statistics.median(v) for name, v in values.items() if "fifo" not in name]
    say(f"\nOn one node **{m[0] / m[1] * 100:.0f} %** of the bare pool; between daemons **{m[2] / m[3] * 100:.0f} %** of a bare socket, "
        f"**{m[2] / m[4] * 100:.0f} %** of bare ZeroMQ.")


def keys(args):
    """A pipe between daemons that encrypt and authenticate all that they say."""
    folder = os.path.join(args.dir, "keys")
    subprocess.run([DAGRUN, "keygen", folder], check=True, stdout=subprocess.DEVNULL)
    words = ["--keys", folder]
    with Cluster(args.dir, keys=words) as cluster:
        values = turns(args.rounds, {
            "dagrun, two daemons with keys": lambda: figure("-n", cluster.endpoint, *words, os.path.join(BENCH, "pipe.yaml"), "-p", "cpus=1", "-p", "bytes=1073741824"),
            "bare ZeroMQ with CURVE, one buffer again and again": lambda: bare("zmq_pipe", "1GiB", "curve"),
            "bare ZeroMQ with CURVE, each message filled anew": lambda: bare("zmq_pipe", "1GiB", "curve", "made"),
        })
    table("A pipe of 1 GiB between two daemons with keys, over TCP on loopback", values, "GB/s")
    ratios(values, list(values)[0], more_is_better=True)


def records(args):
    graph = os.path.join(BENCH, "records.yaml")
    values = turns(args.rounds, {
        "written and read one call each": lambda: figure(graph),
        "written and read in batches of 256": lambda: figure(graph, "-p", "records=records_batch", "-p", "drain=drain_batch"),
    })
    table("Records of 64 bytes through a pipe", values, "million/s", 1)


def files(args):
    """A file channel: read, written, read again; and a file to a file, which is published at the end."""
    for where, folder in (("tmpfs", memory_folder(args)), ("disk", args.dir)):
        text = os.path.join(folder, "bytes")
        with open(text, "wb") as f:
            subprocess.run([program("gen_sort"), args.size], stdout=f, check=True)
        out = {n: os.path.join(folder, "copy-" + n) for n in ("ours", "cat")}
        with Cluster(folder, nodes=1, slots=2, options=[] if where == "tmpfs" else ["--memory", "64MiB"]) as cluster:
            run = [DAGRUN, "run", "-q", "-n", cluster.endpoint, "-P", PLUGINS]
            through = turns(args.rounds, {
                "dagrun": lambda: timed([*run, os.path.join(BENCH, "through.yaml"), "-p", f"file={text}"]),
                "cat and cat": lambda: timed(["sh", "-c", f"cat {text} > {out['cat']} && cat {out['cat']} > /dev/null"]),
            })
            copied = turns(args.rounds, {
                "dagrun": lambda: timed([*run, os.path.join(BENCH, "copy.yaml"), "-p", f"file={text}", "-p", f"out={out['ours']}"]),
                "cat and sync": lambda: timed(["sh", "-c", f"cat {text} > {out['cat']} && sync {out['cat']}"]),
            })
        same(*out.values())
        table(f"{args.size} from a file through a vertex, a file channel and a vertex that reads every byte; {where}, not synced", through, "s")
        ratios(through, "dagrun")
        table(f"A file of {args.size} to a file through one vertex, published; {where}, both synced", copied, "s")
        ratios(copied, "dagrun")
        for path in (text, *out.values()):
            os.unlink(path)


def stalled(args):
    """A reader that stops must neither fill memory nor slow the other one of its connection."""
    graph = os.path.join(BENCH, "stalled.yaml")
    memory = []

    def run(cluster, seconds):
        most, stop = [0], threading.Event()

        def watch():
            while not stop.wait(0.05):
                most[0] = max(most[0], sum(pss(p.pid) for p in cluster.daemons))

        t = threading.Thread(target=watch)
        t.start()
        value = figure("-n", cluster.endpoint, graph, "-p", f"s={seconds}")
        stop.set()
        t.join()
        memory.append((seconds, most[0] / 1024))
        return value

    with Cluster(args.dir) as cluster:
        values = turns(args.rounds, {"alone (the other closed at once)": lambda: run(cluster, 0), "beside a reader that stalls for 8 s": lambda: run(cluster, 8)})
    table("A pipe beside a stalled one over the same connection", values, "GB/s")
    m = [statistics.median(v) for v in values.values()]
    say(f"\nBeside the stalled one {m[1] / m[0] * 100:.0f} %. Both daemons together had at most {max(x for s, x in memory if s):.0f} MiB "
        f"(PSS) with the stall, {max(x for s, x in memory if not s):.0f} MiB without.")


ALL = [wordcount, toppages, lines, sort, external, shuffle, parts, pipe, keys, records, files, stalled]
