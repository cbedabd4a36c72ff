# SPDX-License-Identifier: Apache-2.0
"""Bad input: each gives a line that a person can act on, the right exit code, and leaves nothing behind."""
import os
import re
import resource
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

OK = "stages: {a: {sh: 'echo x'}}\noutputs: {a: {file: '-'}}\n"


@test
def yaml_syntax(case):
    bad(case, "stages: {a: [\n", "g.yaml:2:1")


@test
def wrong_type(case):
    bad(case, "stages: [a]\n", "g.yaml:1:9", "stages must be a map, not a list")


@test
def unknown_key_with_the_nearest(case):
    bad(case, "stages: {a: {progam: [x]}}\n", "g.yaml:1:14", "'progam'", "did you mean 'program'")


@test
def duplicate_key(case):
    bad(case, "stages: {a: {sh: x}, a: {sh: y}}\n", "g.yaml:1:22", "'a' is there twice")


@test
def missing_file_and_empty_glob(case):
    bad(case, "inputs: {i: {files: nope.txt}, j: {files: 'no*'}}\nstages: {a: {sh: x}}\nflow: [i >= a, j >= a]\n", "nope.txt", "No such file",
        "no file matches")


@test
def missing_parameter(case):
    bad(case, "params: {p: {help: x}}\nstages: {a: {sh: '${p} ${q}'}}\n", "'p' has no default", "add -p p=VALUE", "unknown parameter ${q}")
    bad(case, OK, "the graph has no parameter", args=("-p", "x=1"))


@test
def unknown_stage_or_port(case):
    bad(case, "stages: {alpha: {sh: x}, b: {plugin: std, entry: cat}}\nflow: [alhpa >= b, alpha >= b.3]\n", "unknown stage or input 'alhpa'",
        "did you mean 'alpha'")
    bad(case, "stages: {alpha: {sh: x}, b: {plugin: std, entry: sort}}\nflow: [alpha >= b, alpha >= b.3]\n", "no input port 3")
    bad(case, "stages: {alpha: {sh: x}, b: {use: cat}}\nflow: [alpha >= b, alpha >= b.3]\n", "input port 1 of stage 'b' is not joined")


@test
def cycle_is_printed_as_the_cycle(case):
    bad(case, "stages: {a: {sh: x}, b: {sh: x}, c: {sh: x}}\nflow: [a >= b >= c, c >= a]\n", "cycle: ", "a -> b -> c -> a")


@test
def two_writers_to_one_port(case):
    bad(case, "stages: {a: {sh: x}, b: {sh: x}, c: {sh: x}}\nflow: [a >= c.0, b >= c.0]\n", "two writers to input port 0 of stage 'c'")


@test
def widths(case):
    bad(case, "stages: {a: {sh: x, width: 3}, b: {sh: x, width: 2}}\nflow: [a >= b]\n", "one width must divide the other")
    bad(case, "stages: {a: {sh: x, width: 3}, b: {sh: x}, c: {sh: x, width: 2}}\nflow: [a >= b >= c]\n", "disagree")
    bad(case, "stages: {a: {sh: x, width: 0}, b: {sh: x, width: 1000000000000}}\n", "width is 0", "width is 1000000000000")
    bad(case, "stages: {a: {sh: x}, b: {sh: x, width: 4}}\nflow: ['a^2 >> b']\n", "needs a partition")
    bad(case, "inputs: {i: {files: g.yaml}}\nstages: {b: {sh: x, width: 4}}\nflow: [i >> b]\n", "an input goes >=", "[cat]")


@test
def a_graph_of_many_megabytes(case):
    """Its description goes to the daemon in pieces."""
    case.write("g.yaml", "params: {a: {}}\nstages:\n" + "".join(f"  x{i}: {{sh: 'true {i} ${{a}}'}}\n" for i in range(220)))
    r = case.dagrun("run", "g.yaml", "-p", "a=" + "x" * 100000)
    check(b"220 vertices, 220 attempts" in r.stderr, r.stderr)


@test
def range_partitions(case):
    edge = "stages: {a: {sh: x}, b: {sh: x, width: 3}}\nflow: [{from: a, to: b, %s}]\n"
    bad(case, edge % "pattern: '>=', partition: {by: range}", "{by: range} goes with the pattern '>>'")
    bad(case, edge % "pattern: '>>', partition: {by: range, kee: 1}", "g.yaml:2:", "unknown key 'kee' in partition; did you mean 'key'?")
    bad(case, edge % "pattern: '>>', partition: {by: range, key: one}", "key must be a whole number, not 'one'")
    bad(case, edge % "pattern: '>>', partition: {by: range, order: down}", "order must be asc or desc, not 'down'")
    bad(case, edge % "pattern: '>>', partition: {by: range, sample: 0}", "sample is 0")
    bad(case, edge % "pattern: '>>', partition: {by: rang}", "partition by 'rang' is unknown", "did you mean 'range'?")


@test
def compress_has_its_place(case):
    two = "inputs: {t: {files: g.yaml}}\nstages: {a: {sh: x}, b: {sh: x}}\nflow: [%s]\n"
    bad(case, two % "{from: a, to: b, compress: lz5}", "compress 'lz5' is unknown; it is none, lz4, zstd or auto", "did you mean 'lz4'?")
    bad(case, two % "{from: a, to: b, channel: fifo, compress: zstd}", "the fifo from 'a' to 'b' never leaves memory")
    bad(case, two % "{from: t, to: a, compress: lz4}", "'t' is an input of the job")


@test
def widths_by_bytes(case):
    stages = "inputs: {t: {files: [x, x2]}}\nstages: {a: {sh: x}, b: {sh: x, width: %s}}\nflow: [%s]\n"
    edge = "{from: a, to: %s, pattern: '>>', partition: {by: round-robin}}"
    flow = "t >> a, " + edge % "b"
    case.write("x", "0123456789" * 100)
    case.write("x2", "0123456789" * 50 + "x")
    for per, width in (("1KiB", 2), ("100", 16), ("1501", 1), ("1500", 2)):
        case.write("w.yaml", stages % (f"{{per: {per}}}", flow))
        plan = case.dagrun("plan", "w.yaml").stdout
        check(re.search(rb"\bb +program +width %d " % width, plan), (per, plan))
    bad(case, stages % ("{per: 0}", flow), "per must be a size")
    bad(case, stages % ("{pro: 1}", flow), "did you mean 'per'?", "needs a 'per'")
    bad(case, stages % ("{per: 10}", "t >> a, " + edge % "b^3"), "'b^3': its width goes by bytes")
    case.write("x", "0123456789" * 10000)
    bad(case, stages % ("{per: 1}", flow), "stage 'b' would have width 100501 for 100501 bytes of input")
    bad(case, "stages: {a: {sh: x}, b: {sh: x, width: {per: 1MiB}}}\nflow: [%s]\n" % edge % "b", "no input of the job reaches stage 'b'")


@test
def accept_needs_one_reader(case):
    bad(case, "stages: {a: {sh: x, deterministic: accept}, b: {sh: x}, c: {sh: x}}\nflow: [a >= b, a >= c]\n", "has 2 readers")


@test
def several_errors_in_one_go(case):
    r = bad(case, "stages: {a: {sh: x, widht: 2}, b: {sh: x, retries: -1}}\nflow: [a >= zed]\n", "widht", "retries", "zed")
    check(r.stderr.count(b"g.yaml:") == 3, r.stderr)


@test
def gang_beyond_the_slots(case):
    bad(case, "stages: {a: {sh: x, width: 40}, b: {sh: x, width: 40}}\nflow: [{from: a, to: b, channel: pipe, pattern: '>>', partition: {by: all}}]\n",
        "must run together", "2 slots", args=("--slots", "2"), command="run")


@test
def output_that_cannot_be_written(case):
    case.write("file", "x")
    bad(case, "stages: {a: {sh: x}}\noutputs: {a: {file: file/out}}\n", "cannot write the output")
    os.mkdir(case.path("folder"))
    bad(case, "stages: {a: {sh: x}}\noutputs: {a: {file: folder}}\n", "is not a regular file")


@test
def F88_hostile_files(case):
    bomb = "a: &a [x, x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20))
    for text in ("[" * 100000, bomb, 'stages: {a: {sh: "x\\0y"}}\n', b"stages: \xff\xfe\xfa", "{" * 100000, b"\0" * 1000, "x" * 2000000, "- " * 50000):
        case.write("g.yaml", text)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        case.dagrun("check", "g.yaml", rc=3)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        check(took < (0.2 if not SANITIZED else 2), f"took {took:.2f} s of CPU")


@test
def bad_plugins(case):
    case.write("x.so", "no shared object")
    bad(case, "stages: {a: {plugin: ./x.so, entry: e}}\n", "is not a shared object")
    bad(case, "stages: {a: {plugin: nope, entry: e}}\n", "there is no plugin 'nope': looked for nope.so in ")
    bad(case, "stages: {a: {plugin: std, entry: cta}}\n", "has no entry 'cta'", "did you mean 'cat'")
    case.write("p.c", "#include <dagrun/vertex.h>\nstatic int e(struct dag_vertex *v) { (void)v; return 0; }\n"
               "static const struct dag_entry x[] = {DAG_ENTRY(e)};\n"
               "const struct dag_plugin dag_plugin = {99, sizeof(struct dag_entry), \"p\", 1, x};\n")
    case.shell(f"gcc -w -shared -fPIC -I{SOURCE}/engine/include p.c -o p.so; echo 'int x;' > q.c; gcc -shared -fPIC q.c -o q.so")
    bad(case, "stages: {a: {plugin: p, entry: e}}\n", "was built for ABI 99")
    bad(case, "stages: {a: {plugin: q, entry: e}}\n", "declares no DAG_PLUGIN")


def fails(case, stage, *words):
    r = bad(case, "stages: {a: {%s}}\noutputs: {a: {file: out}}\n" % stage, *words, rc=1, command="run")
    check(not os.path.exists(case.path("out")), "an output was left")
    return r


@test
def programs_that_cannot_start_fail_or_are_killed(case):
    r = fails(case, "program: [no-such-program]", "a[0] attempt 1", "cannot start program 'no-such-program'", "No such file")
    check(b"runs again" not in r.stderr, "it was tried again")
    fails(case, "sh: 'echo why >&2; exit 7', retries: 0", "exit code 7", "why")
    fails(case, "sh: 'kill -11 $$', retries: 0", "signal 11")


@test
def F79_floods_of_messages_keep_their_last_lines(case):
    case.write("s.yaml", 'stages: {a: {sh: "seq 500000 >&2; false", retries: 0}}\noutputs: {a: {file: "-"}}\n')
    err = case.dagrun("run", "s.yaml", rc=1).stderr
    check(b"bytes before" in err and b"    499981\n" in err and b"499980" not in err and b"    500000\n" in err and len(err) < 2000, err[-3000:])
    case.write("chatty.c", """
#include <dagrun/vertex.h>
static int talk(struct dag_vertex *v)
{
	for (int i = 0; i < 100000; i++)
		dag_log(v, "line %d", i);
	return 0;
}
DAG_PLUGIN(chatty, DAG_ENTRY(talk, "says a lot"));
""")
    case.shell(f"gcc -shared -fPIC -I{SOURCE}/engine/include chatty.c -o chatty.so")
    case.write("c.yaml", 'stages: {a: {plugin: chatty, entry: talk}, b: {sh: "echo done"}}\noutputs: {b: {file: "-"}}\n')
    err = case.dagrun("run", "c.yaml").stderr
    check(b"line 0\n" in err and b"line 99\n" in err and b"after 100 lines:" in err and b"line 99999\n" in err and len(err) < 20000, err[-3000:])


@test
def cpus_bind_a_vertex_and_its_programs(case):
    case.write("c.yaml", """
stages:
  one: {sh: "nproc", cpus: 1}
  half: {sh: "nproc", cpus: 0.5}
  any: {sh: "nproc"}
  all: {sh: "cat {in.0} {in.1} {in.2}"}
flow: [one >= all, half >= all, any >= all]
outputs: {all: {file: "-"}}
""")
    out = case.dagrun("run", "-s", "1", "c.yaml").stdout.split()
    check(out == [b"1", b"1", str(len(os.sched_getaffinity(0))).encode()], out)


@test
def F79_endless_stderr_is_capped(case):
    r = fails(case, "sh: 'head -c 200000000 /dev/zero | tr \"\\\\0\" x >&2; exit 1', retries: 0", "exit code 1")
    check(len(r.stderr) < 20000, f"{len(r.stderr)} bytes of stderr were passed on")


@test
def name_server_that_does_not_answer(case):
    case.write("g.yaml", OK)
    r = case.dagrun("run", "-n", "tcp://127.0.0.1:9", "g.yaml", rc=4)
    check(b"does not answer" in r.stderr, r.stderr)
    r = case.dagrun("nodes", "-n", "tcp://127.0.0.1:9", rc=4)
    check(b"does not answer" in r.stderr, r.stderr)


@test
def F98_no_keys_off_loopback(case):
    for command in (["dagns", "--listen", "tcp://0.0.0.0:*"], ["dagd", "--nameserver", "tcp://127.0.0.1:9", "--listen", "tcp://*:*"]):
        p = case.start(program(command[0]), *command[1:])
        check(p.wait(10) == 2 and b"needs --keys" in p.stderr.read(), "it did not refuse")


@test
def F97_wrong_keys_are_refused(case):
    for name in ("ours", "theirs"):
        case.dagrun("keygen", name)
    case.dagrun("keygen", "ours", rc=1)
    case.write("g.yaml", OK)
    ns = case.start(program("dagns"), "--listen", "tcp://127.0.0.1:*", "--keys", "ours")
    endpoint = ns.stderr.readline().decode().split()[3]
    check(case.dagrun("nodes", "-n", endpoint, "--keys", "ours").returncode == 0, "our key was refused")
    for args in (["--keys", "theirs"], []):
        r = case.dagrun("nodes", "-n", endpoint, *args, rc=4)
        check(b"does not answer" in r.stderr, r.stderr)
    os.chmod(case.path("ours/cluster.key_secret"), 0o644)
    r = case.dagrun("run", "-n", endpoint, "--keys", "ours", "g.yaml", rc=4)
    check(b"chmod 600" in r.stderr, r.stderr)


@test
def F58_full_disk(case):
    os.mkdir(case.path("small"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", case.path("small")], capture_output=True).returncode:
        raise Skip("mount is not allowed here")
    try:
        case.write("g.yaml", "stages: {a: {sh: 'seq 3000000'}}\noutputs: {a: {file: small/out}}\n")
        r = case.dagrun("run", "g.yaml", rc=1)
        check(b"No space left" in r.stderr, r.stderr)
        check(not os.listdir(case.path("small")), os.listdir(case.path("small")))
    finally:
        subprocess.run(["umount", case.path("small")], check=True)


@test
def F58_a_program_that_finds_the_disk_full(case):
    """It is its node's trouble: alike failures do not end the job, and the node rests before the next try."""
    case.write("s.yaml", """
stages: {a: {sh: "echo x >> N; [ $(wc -l < N) -gt 2 ] || { echo 'sort: write failed: No space left on device' >&2; exit 2; }; echo done"}}
outputs: {a: {file: "-"}}
""".replace("N;", case.path("n") + ";").replace("< N", "< " + case.path("n")))
    begin = time.time()
    r = case.dagrun("run", "s.yaml")
    check(r.stdout == b"done\n" and case.read("n") == b"x\n" * 3 and time.time() - begin > 2.9, r.stderr)


@test
def F40_too_few_descriptors(case):
    case.write("g.yaml", OK)
    for limit in (16, 32, 64, 100):
        r = case.dagrun("run", "g.yaml", rc=None, timeout=20,
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
        check(r.returncode in (1, 3) and r.stderr, f"{limit}: {r.returncode} {r.stderr}")


@test
def two_daemons_of_one_name(case):
    """The second one works, without memory, and says so."""
    first = Cluster(case, nodes=1)
    name = case.dagrun("nodes", "-n", first.endpoint).stdout.decode().splitlines()[1].split()[0]
    p = case.start(program("dagd"), "--nameserver", first.endpoint, "--node", name, "--spool", case.path("another"))
    check(b" listening on " in p.stderr.readline(), "it does not start")
    line = p.stderr.readline()
    check(b"outputs go to the disk, not to memory: " in line and b" is in use by another daemon of this name" in line, line)


@test
def two_daemons_with_one_spool(case):
    cluster = Cluster(case, nodes=1)
    p = case.start(program("dagd"), "--nameserver", cluster.endpoint, "--spool", case.path("spool0"))
    check(p.wait(10) == 1, "it did not refuse")
    check(b"is in use by another daemon" in p.stderr.read(), "it did not say why")


@test
def usage(case):
    for args, words in ((["rnu"], b"did you mean 'run'"), (["run", "--slto", "1"], b"unknown option"), (["run"], b"needs GRAPH.yaml"),
                        (["run", "x.yaml", "--slto"], b"unknown option '--slto'"), (["run", "x.yaml", "-qZ"], b"unknown option '-Z'"),
                        (["run", "--slots"], b"needs a value"), (["run", "--slots", "x", "g"], b"--slots x")):
        r = case.dagrun(*args, rc=2)
        check(words in r.stderr, r.stderr)
    for command in ("run", "check", "plan", "nodes", "keygen"):
        check(b"usage: dagrun " + command.encode() in case.dagrun(command, "--help").stdout, command)
    check(b".TH DAGRUN" in case.dagrun("--man").stdout and b"complete" in case.dagrun("--completion").stdout, "man, completion")


if __name__ == "__main__":
    main()
