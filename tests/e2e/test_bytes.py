# SPDX-License-Identifier: Apache-2.0
"""What a program writes is what the next program or the file gets, byte for byte; and what is said where records are needed of what is no text."""
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

# Random bytes, no line feed at all, none at the end, one at the start, nothing, a NUL, blocks' sizes.
PIECES = [random.Random(1).randbytes(1500007), b"a\nb", bytes(100), b"", b"\nx\n\n", b"c\nd\0", b"x" * 4096, b"\n", bytes(range(256)) * 4100]
WHOLE = b"".join(PIECES)


def pieces(case):
    for i, piece in enumerate(PIECES):
        case.write(f"in/{i}", piece)


def same(got, wanted, what):
    check(got == wanted, f"{what}: {len(got)} bytes {hashlib.sha256(got).hexdigest()}, not {len(wanted)} {hashlib.sha256(wanted).hexdigest()}")


def quiet(r):
    check(b"format" not in r.stderr, f"something is said of formats: {r.stderr.decode()}")


def formats(case, path="g.yaml"):
    """How each edge is read, as `plan` says it."""
    lines = case.dagrun("plan", path).stdout.decode().split("\n")
    return {line.split(":")[0].strip(): line.split(", ")[1] for line in lines if " channel" in line and ", " in line}


@test
def bytes_through_programs_in_a_row(case):
    """Each file on its own and all together, through what each channel is."""
    pieces(case)
    for channel in ("file", "pipe", "fifo"):
        for codec in ("none", "lz4", "zstd") if channel != "fifo" else ("none",):
            case.write("g.yaml", f"""
inputs: {{t: {{files: "in/*"}}}}
stages:
  a: {{program: [cat]}}
  b: {{program: [gzip, -nc]}}
  c: {{program: [gunzip, -c]}}
  d: {{program: [cat]}}
flow:
  - t >= a
  - {{from: a, to: b, channel: {channel}, compress: {codec}}}
  - {{from: b, to: c, channel: {channel}, compress: {codec}}}
  - {{from: c, to: d, channel: {channel}, compress: {codec}, pattern: ">>"}}
outputs: {{c: {{file: "{channel}.{{index}}"}}, d: {{file: {channel}.whole}}}}
""")
            quiet(case.dagrun("run", "-s", "20", "g.yaml"))
            for i, piece in enumerate(PIECES):
                same(case.read(f"{channel}.{i}"), piece, f"{channel} {codec} {i}")
            same(case.read(f"{channel}.whole"), WHOLE, f"{channel} {codec} whole")
    check(set(formats(case).values()) == {"bytes"}, formats(case))


@test
def bytes_through_xz_and_back(case):
    pieces(case)
    tools = [t for t in ("xz", "zstd", "bzip2", "openssl") if subprocess.run(["sh", "-c", f"command -v {t}"], capture_output=True).returncode == 0]
    if not tools:
        raise Skip("there is none of xz, zstd, bzip2, openssl")
    for tool in tools:
        pack, unpack = (f"{tool} -c", f"{tool} -dc") if tool != "openssl" else ("openssl enc -aes-128-ctr -K 00 -iv 00 2>&-", "openssl enc -d -aes-128-ctr -K 00 -iv 00 2>&-")
        case.write("g.yaml", f"inputs: {{t: {{files: 'in/*'}}}}\nstages: {{a: {{sh: '{pack}'}}, b: {{sh: '{unpack}'}}}}\n"
                   f"flow: [t >= a >= b]\noutputs: {{a: {{file: '{tool}/{{index}}'}}, b: {{file: {tool}.whole}}}}\n")
        quiet(case.dagrun("run", "g.yaml"))
        same(case.read(f"{tool}.whole"), WHOLE, tool)
        if tool != "openssl":
            same(case.shell(f"{tool} -dc < {tool}/0"), PIECES[0], tool)


@test
def bytes_of_several_stand_one_behind_the_other(case):
    """Gathered into stdin, named pipes, a path each, a file, a plugin, an output; and straight from the input."""
    pieces(case)
    case.write("g.yaml", """
inputs: {t: {files: "in/*"}}
stages:
  a: {program: [cat]}
  stdin: {program: [cat]}
  pipe: {sh: "cat {in.0}"}
  each: {sh: "cat {in.0.*}"}
  file: {sh: "cat {in.0:file}"}
  named: {sh: "cat > {out.1}"}
  use: {use: cat}
  tee: {use: tee}
  tee2: {use: cat}
  all: {program: [cat], width: 2}
  gz: {program: [gzip, -nc]}
  straight: {program: [cat]}
  plugin: {use: cat}
flow:
  - t >= a >= gz
  - a >> stdin
  - a >> pipe
  - a >> each
  - a >> file
  - a >> named
  - a >> use
  - a >= tee
  - tee.1 >> tee2
  - {from: a, to: all, pattern: ">>", partition: {by: all}}
  - t >> straight
  - t >> plugin
outputs:
  a: {file: o.a}
  stdin: {file: o.stdin}
  pipe: {file: o.pipe}
  each: {file: o.each}
  file: {file: o.file}
  named.1: {file: o.named}
  use: {file: o.use}
  tee: {file: o.tee}
  tee2: {file: o.tee2}
  all: {file: "o.all{index}"}
  straight: {file: o.straight}
  plugin: {file: o.plugin}
  gz: {file: gz}
""")
    quiet(case.dagrun("run", "g.yaml"))
    for path in ("a", "stdin", "pipe", "each", "file", "named", "use", "tee", "tee2", "all0", "all1", "straight", "plugin"):
        same(case.read(f"o.{path}"), WHOLE, path)
    same(case.shell("gunzip -c gz"), WHOLE, "several outputs of gzip, one behind the other")
    check(set(formats(case).values()) == {"bytes"}, formats(case))


@test
def bytes_beside_who_reads_records(case):
    """One needs records and another does not, of the same output: the other still gets what was written."""
    text = [b"b 1\na 2\n", b"c 3\nlast", b"", b"\n\nx 1\n", b"only"]
    for i, piece in enumerate(text):
        case.write(f"in/{i}", piece)
    whole = b"".join(text)
    for channel in ("file", "pipe"):
        case.write("g.yaml", f"""
inputs: {{t: {{files: "in/*"}}}}
stages:
  a: {{program: [cat]}}
  sort: {{use: sort}}
  parts: {{program: [sort], width: 3}}
  b: {{program: [cat]}}
  c: {{program: [cat]}}
  d: {{use: cat}}
  e: {{use: tee}}
  f: {{program: [cat]}}
  g: {{sh: "cat {{in.0:file}}"}}
  h: {{program: [cat]}}
  i: {{use: cat}}
  j: {{program: [cat]}}
flow:
  - t >= a
  - d >= h
  - d >= i.0
  - sort >= i.1
  - i >= j
  - a >> sort
  - {{from: a, to: parts, pattern: ">>", partition: {{by: hash, key: 1}}}}
  - {{from: a, to: b, channel: {channel}}}
  - {{from: a, to: c, pattern: ">>", channel: {channel}}}
  - {{from: a, to: d, pattern: ">>", channel: {channel}}}
  - {{from: a, to: e, channel: {channel}}}
  - e.1 >> f
  - a >> g
outputs: {{a: {{file: a}}, b: {{file: "b.{{index}}"}}, c: {{file: c}}, d: {{file: d}}, e: {{file: e}}, f: {{file: f}}, g: {{file: g}}, h: {{file: h}}, j: {{file: j}}, sort: {{file: sort}}, parts: {{file: parts}}}}
""")
        r = case.dagrun("run", "-s", "20", "g.yaml")
        for i, piece in enumerate(text):
            same(case.read(f"b.{i}"), piece, f"{channel} b.{i}")
        for path in "acdefgh":
            same(case.read(path), whole, f"{channel} {path}")
        lines = sorted(line for piece in text for line in piece.removesuffix(b"\n").split(b"\n") if piece)
        same(case.read("j"), whole + case.read("sort"), "what was written, and records behind it")
        same(case.read("sort"), b"".join(line + b"\n" for line in lines), "sort")
        check(sorted(case.read("parts").split(b"\n")[:-1]) == lines, case.read("parts"))
        check(r.stderr.count(b"no line feed") == 1 and r.stderr.count(b"format: bytes") == 1, r.stderr.decode())
    check(formats(case)["a.0 >= b.0"] == "lines", formats(case))


@test
def no_text_where_records_are_needed_is_told_once(case):
    """With the way out; and not where it is said that these are lines."""
    for i in range(40):
        case.write(f"in/{i:02}", b"a\0b\n" * 3)
    case.write("one", b"x\ny")
    graph = """inputs: {{t: {{files: "{files}"{words}}}}}
stages: {{a: {{program: [cat]{format}}}, n: {{use: count}}}}
flow: ["{flow} n"]
outputs: {{n: {{file: "-"}}}}
"""
    for files, words, format, flow, times, word in (
            ("in/*", "", "", "t >= a >>", 1, "NUL"), ("in/*", "", "", "t >>", 1, "NUL"), ("in/*", ", split: 5B", "", "t >= a >>", 1, "NUL"),
            ("in/*", "", ", format: lines", "t >= a >>", 0, ""), ("in/*", ", format: lines", "", "t >>", 0, ""),
            ("one", "", "", "t >= a >>", 0, ""), ("one", "", "", "t >>", 0, "")):
        case.write("g.yaml", graph.format(files=files, words=words, format=format, flow=flow).replace("{a: {program: [cat]}, ", "{a: {program: [cat]}, " if " a " in flow else "{"))
        r = case.dagrun("run", "-s", "4", "g.yaml")
        said = r.stderr.decode()
        check(said.count("format: bytes") == times and word in said, f"{files}{words}{format} {flow}: {said}")


@test
def a_partition_gets_a_line_of_its_own_from_each(case):
    """What is parted are records: the last line of one producer and the first one of the next stay two, whatever the width."""
    case.write("in/0", b"a")
    case.write("in/1", b"b")
    for width in (1, 2):
        case.write("g.yaml", f"""
inputs: {{t: {{files: "in/*"}}}}
stages: {{a: {{program: [cat]}}, b: {{program: [sort], width: {width}}}, c: {{program: [sort]}}}}
flow:
  - t >= a
  - {{from: a, to: b, pattern: ">>", partition: {{by: hash, key: 1}}}}
  - b >> c
outputs: {{c: {{file: c}}, a: {{file: a}}}}
""")
        case.dagrun("run", "g.yaml")
        same(case.read("c"), b"a\nb\n", f"width {width}")
        same(case.read("a"), b"ab", f"width {width}")


@test
def said_lines_end_with_a_line_feed(case):
    case.write("t", b"a\nb")
    case.write("g.yaml", "inputs: {t: {files: [t, t], format: lines}}\nstages: {a: {program: [cat]}, b: {program: [cat], format: lines}}\n"
               "flow: [t >= a, t >= b]\noutputs: {a: {file: a}, b: {file: b}}\n")
    case.dagrun("run", "g.yaml")
    same(case.read("a"), b"a\nb\n" * 2, "an input")
    same(case.read("b"), b"a\nb\n" * 2, "a program")


@test
def a_split_into_programs_loses_no_byte(case):
    data = b"".join(b"line %d\n" % i for i in range(5000)) + b"last"
    case.write("t", data)
    case.write("g.yaml", 'inputs: {t: {files: t, split: 1000B}}\nstages: {a: {program: [cat]}, b: {use: cat}}\nflow: [t >= a, t >= b]\n'
               "outputs: {a: {file: a}, b: {file: b}}\n")
    case.dagrun("run", "g.yaml")
    same(case.read("a"), data, "by a program")
    same(case.read("b"), data, "by a standard vertex")


@test
def bytes_are_the_same_when_they_run_again(case):
    """However a program's bytes come, the hash of what it wrote is theirs."""
    case.write("g.yaml", """
stages:
  a: {sh: "for i in 1 2 3 4 5 6 7; do head -c 3$i$i$i /dev/zero; sleep 0.0$i; done; printf end"}
  b: {program: [cat], width: 3}
  c: {use: cat}
flow:
  - {from: a, to: b, pattern: ">>", partition: {by: all}, channel: pipe}
  - {from: b, to: c, pattern: ">>", channel: pipe}
outputs: {c: {file: c}}
""")
    case.dagrun("run", "-s", "5", "g.yaml")
    wanted = bytes(sum(int(f"3{i}{i}{i}") for i in range(1, 8))) + b"end"
    same(case.read("c"), wanted * 3, "pipes")
    r = case.dagrun("verify", "--sample", "100", job_id(case))
    check(b"gave the same bytes" in r.stdout, r.stdout + r.stderr)


@test
def bytes_between_nodes(case):
    pieces(case)
    cluster = Cluster(case, nodes=2)
    for channel in ("file", "pipe"):
        case.write("g.yaml", f"""
inputs: {{t: {{files: "in/*"}}}}
stages: {{a: {{program: [cat]}}, b: {{program: [cat]}}, s: {{use: sort}}, c: {{use: cat}}}}
flow:
  - t >= a
  - {{from: a, to: b, pattern: ">>", channel: {channel}}}
  - a >> s
  - {{from: b, to: c, channel: {channel}}}
outputs: {{a: {{file: a}}, b: {{file: b}}, c: {{file: c}}}}
""")
        cluster.run("g.yaml")
        for path in "abc":
            same(case.read(path), WHOLE, f"{channel} {path}")


def copy(case, files, words=""):
    case.write("g.yaml", f"inputs: {{t: {{files: {files}{words}}}}}\nstages: {{a: {{program: [cat]}}}}\nflow: [t >= a]\noutputs: {{a: {{file: o}}}}\n")


@test
def what_is_no_file_is_refused_before_anything_runs(case):
    """Made when it is read, or no file at all, with the way out; `check` says it too."""
    os.mkfifo(case.path("fifo"))
    os.mkdir(case.path("folder"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(case.path("socket"))
    paths = [("fifo", "named pipe"), ("socket", "a socket"), ("folder", "folder/*"), ("/dev/null", "a device"), ("/proc/version", "when it is read"),
             ("/sys/kernel/mm/transparent_hugepage/enabled", "when it is read"), ("/proc/self/fdinfo", "a folder")]
    for path, word in paths:
        if path.startswith("/sys") and not os.path.exists(path):
            continue
        for command in ("check", "run"):
            copy(case, path)
            r = case.dagrun(command, "g.yaml", rc=3)
            check(word.encode() in r.stderr and path.encode() in r.stderr, r.stderr)
    listener.close()
    case.write("g.yaml", "stages: {a: {program: [cat, version], files: [/proc/version]}}\noutputs: {a: {file: o}}\n")
    r = case.dagrun("run", "g.yaml", rc=None)
    check(r.returncode and b"/proc/version" in r.stderr and not os.path.exists(case.path("o")), r.stderr)
    copy(case, '"-"')
    with open("/proc/version", "rb") as stdin:
        subprocess.run([program("dagrun"), "run", "g.yaml"], cwd=case.dir, env=case.env, stdin=stdin, check=True, capture_output=True)
    with open("/proc/version", "rb") as f:
        same(case.read("o"), f.read(), "stdin from /proc")


@test
def a_file_that_grows_is_an_error(case):
    """While a vertex reads it; nothing is made of a part of it."""
    os.mkfifo(case.path("go"))
    case.write("t", b"x" * 3000000)
    case.write("g.yaml", "inputs: {t: {files: t}}\nstages: {a: {sh: 'read x < %s; cat'}}\nflow: [t >= a]\noutputs: {a: {file: o}}\n" % case.path("go"))
    p = case.start(program("dagrun"), "run", "g.yaml")
    with open(case.path("go"), "w") as go:  # returns when the program reads
        with open(case.path("t"), "ab") as f:
            f.write(b"more")
        go.write("\n")
    _, err = p.communicate(timeout=60)
    check(p.returncode and b"changed" in err, err)
    check(not os.path.exists(case.path("o")), "there is an output")


@test
def stdin_is_all_of_it_or_an_error(case):
    """A limit of files' sizes, a full disk, an error of reading, nothing there at all."""
    data = b"".join(b"%d\n" % i for i in range(600000))
    copy(case, '"-"')

    def run(shell, stdin=data, **options):
        return subprocess.run(["sh", "-c", shell, program("dagrun")], cwd=case.dir, env=case.env, input=stdin, capture_output=True, timeout=60, **options)

    def failed(r, *words):
        check(r.returncode == 1 and all(word in r.stderr for word in words), (r.returncode, r.stderr))
        check(not os.path.exists(case.path("o")), "there is an output")
        check(not [f for f in os.listdir(os.path.join(case.state, "dagrun")) if f.startswith("stdin")], "what was kept stays")

    for shell in ("ulimit -f 1000; exec \"$0\" run g.yaml", "trap '' XFSZ; ulimit -f 1000; exec \"$0\" run g.yaml"):
        failed(run(shell), b"stdin", b"File too large")
    failed(run('exec "$0" run g.yaml < .', stdin=None), b"cannot read stdin", b"directory")
    failed(run('exec "$0" run g.yaml <&-', stdin=None), b"cannot read stdin")
    r, w = os.pipe2(os.O_NONBLOCK)
    p = subprocess.Popen([program("dagrun"), "run", "g.yaml"], cwd=case.dir, env=case.env, stdin=r, stderr=subprocess.PIPE)
    case.started.append(p)
    os.close(r)
    os.set_blocking(w, True)
    with open(w, "wb") as pipe:
        pipe.write(data)
    _, err = p.communicate(timeout=60)
    check(p.returncode == 0, err)
    same(case.read("o"), data, "a pipe that does not block")


if __name__ == "__main__":
    main()
