# SPDX-License-Identifier: Apache-2.0
"""Programs in vertices: what they leave behind, their named pipes, how they are started, what they say on stderr."""
import os
import re
import resource
import signal
import subprocess
import time

from harness import Cluster, SLOW, SOURCE, check, job_id, main, parent_of, program, test

# Three ways to get away from the one that started it, and one that stays.
AWAY = ("setsid sleep {n}.1 & (sleep {n}.2 & exec sleep {n}.3) & (setsid sh -c 'sleep {n}.4 & wait' &) ; "
        "python3 -c 'import os, time\nif not os.fork():\n  os.setsid()\n  if not os.fork(): time.sleep({n})' ; echo x; : > ready; {then}")


def running(mark):
    """Who has this in its arguments, but shells and this test."""
    out = subprocess.run(["ps", "axo", "pid,args"], capture_output=True).stdout.decode().splitlines()
    return [int(line.split()[0]) for line in out if mark in line and line.split()[1] in ("sleep", "python3")]


def left_by(case, then="sleep {n}.5", outputs=""):
    """A graph whose vertex leaves processes behind, and their mark."""
    n = 100000 + os.getpid() % 100000
    script = AWAY.replace("{then}", then).replace("{n}", str(n)).replace(": > ready", f": > {case.path('ready')}")
    case.write("away.sh", script)
    case.write("away.yaml", "stages: {a: {program: [/bin/sh, away.sh], files: [away.sh]}}\n" + outputs)
    return str(n)


def started(case, mark):
    case.wait_for(lambda: os.path.exists(case.path("ready")) and len(running(mark)) >= 4, "processes of the vertex")


def none_left(case, mark):
    began = time.time()
    case.wait_for(lambda: not running(mark), "the end of all processes")
    check(time.time() - began < 2 * SLOW, "they ran for more than two seconds")


def host_and_guard(case):
    case.wait_for(lambda: case.hosts(), "a host")
    return case.hosts()[0], parent_of(case.hosts()[0])


@test
def nothing_is_left_of_a_vertex_that_ended(case):
    mark = left_by(case, then=":", outputs="outputs: {a: {file: a.txt}}\n")
    case.dagrun("run", "away.yaml")
    check(case.read("a.txt") == b"x\n" and not running(mark), "something is left of the vertex")


@test
def nothing_is_left_of_a_killed_run(case):
    mark = left_by(case)
    for sign in (signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGSEGV):
        p = case.start(program("dagrun"), "run", "-q", "away.yaml")
        started(case, mark)
        p.send_signal(sign)
        p.wait()
        none_left(case, mark)
        os.unlink(case.path("ready"))
        case.dagrun("clean", job_id(case))


@test
def nothing_is_left_of_a_killed_daemon(case):
    mark = left_by(case)
    cluster = Cluster(case, nodes=1)
    run = case.start(program("dagrun"), "run", "-q", "-n", cluster.endpoint, "away.yaml")
    started(case, mark)
    cluster.daemons[0].kill()
    none_left(case, mark)
    run.terminate()


@test
def nothing_is_left_of_a_killed_host(case):
    """The vertex runs again when all of its first attempt is gone. So it is where the host's guard is killed."""
    mark = left_by(case)
    case.write("away.sh", case.read("away.sh").replace(b"setsid sleep", b"if [ -n \"$(ps axo args | grep '^sleep '$M)\" ]; then : > $OUT; fi; setsid sleep", 1)
               .replace(b"$M", mark.encode()).replace(b"$OUT", case.path("beside").encode()))
    for which in (0, 1):
        p = case.start(program("dagrun"), "run", "away.yaml")
        started(case, mark)
        old = set(running(mark))
        os.unlink(case.path("ready"))
        os.kill(host_and_guard(case)[which], signal.SIGKILL)
        case.wait_for(lambda: not old & set(running(mark)), "the end of the first attempt")
        started(case, mark)
        check(not os.path.exists(case.path("beside")), "two attempts ran beside each other")
        p.terminate()
        p.wait()
        none_left(case, mark)
        os.unlink(case.path("ready"))


@test
def a_resumed_job_runs_beside_nobody(case):
    mark = left_by(case, then="sleep {n}.5")
    p = case.start(program("dagrun"), "run", "-q", "away.yaml")
    started(case, mark)
    old = set(running(mark))
    os.unlink(case.path("ready"))
    p.kill()
    p.wait()
    p = case.start(program("dagrun"), "resume", "-q", job_id(case))
    started(case, mark)
    check(not old & set(running(mark)), "the first attempt is still there")
    p.terminate()
    p.wait()
    none_left(case, mark)


ONE = "inputs: {{t: {{files: in.txt}}}}\nstages: {{a: {{{stage}, retries: 0}}}}\nflow: [t >= a]\noutputs: {{{outputs}}}\n"


def run_one(case, stage, outputs="a: {file: o.txt}", rc=0, lines="1\n2\n3\n", **options):
    """A vertex that reads some lines; what it wrote to its outputs, or the error."""
    case.write("in.txt", lines)
    case.write("one.yaml", ONE.format(stage=stage, outputs=outputs))
    for name in ("o.txt", "p.txt"):
        if os.path.exists(case.path(name)):
            os.unlink(case.path(name))
    r = case.dagrun("run", "-q", "one.yaml", rc=rc, timeout=20, **options)
    if rc:
        return r.stderr.decode()
    return b"".join(case.read(name) for name in ("o.txt", "p.txt") if os.path.exists(case.path(name)))


@test
def a_pipe_is_read_once(case):
    """Whoever opens an input's pipe again, in turn or at once, is told of {in.0:file} instead of waiting, or getting a share."""
    for script in ("wc -l {in.0}; cat {in.0}", "for i in 1 2; do cat {in.0}; done", "paste {in.0} {in.0}", "f={in.0}; cat $f; cat $f >&2",
                   "cat $(cat {in.0.list}); cat $(cat {in.0.list})"):
        err = run_one(case, f'sh: "{script}"', rc=1)
        check("opened input port 0 a second time" in err and "{in.0:file}" in err, err)
    check("second time" in run_one(case, 'program: [paste, "{in.0}", "{in.0}"]', rc=1), "two arguments")
    check("but its bytes come once" in run_one(case, 'sh: "cat {in.0.*} {in.0:file}"', rc=3), "two ways")
    three = b"1\n2\n3\n"
    check(run_one(case, 'sh: "if true; then cat {in.0}; else cat {in.0}; fi"') == three, "one of two places")
    check(run_one(case, 'sh: "wc -l < {in.0:file}; cat {in.0}; cat {in.0:file}"') == b"3\n" + three + three, "a file and a pipe of it")
    check(run_one(case, 'program: [cat, "{in.0.*}"]') == three, "a pipe for each producer")
    check(run_one(case, 'sh: "cat {in.0.list}; cat $(cat {in.0.list})"') == b"in.0.0\n" + three, "a list")


@test
def an_output_is_a_pipe_to_write_to(case):
    """It may be opened again to write more; who reads it waits for nobody."""
    two = "a: {file: o.txt}, a.1: {file: p.txt}"
    check(run_one(case, "sh: 'cat {in.0:file}; echo a > {out.1}; echo b >> {out.1}; sleep 0.1; echo c >> {out.1}'", two) == b"1\n2\n3\na\nb\nc\n", "three writers")
    check(run_one(case, "sh: 'cat; : {out.1}'", two) == b"1\n2\n3\n", "one that nobody opens")
    for script in ("cat {out.0}; echo x > {out.0}", "echo x > {out.0}; cat {out.0}", "exec 5>&1; (exec setsid cat {out.0}); echo x > {out.0}"):
        err = run_one(case, f'sh: "{script}"', rc=1)
        check("waits to open output port 0, {out.0}, for reading" in err, err)
    err = run_one(case, "sh: 'echo x > {in.0}'", rc=1)
    check("waits to open input port 0, {in.0}, for writing" in err, err)
    # Its reader has gone: a later writer does not wait for another one.
    case.write("g.yaml", "stages: {a: {sh: 'yes | head -c 9000000 > {out.1} || :; echo more > {out.1}; echo end'}, b: {sh: 'head -n 1'}}\n"
               "flow: [{from: a.1, to: b, channel: pipe}]\noutputs: {a: {file: o.txt}, b: {file: p.txt}}\n")
    case.dagrun("run", "-q", "g.yaml")
    check(case.read("o.txt") == b"end\n" and case.read("p.txt") == b"y\n", "the files differ")


@test
def paths_need_no_quotes(case):
    """Ports have names in the working folder: whatever that is called, inside of quotes and outside."""
    for name in ("My Home", "it's", "a$b", "a;b", 'q"q'):
        state = case.path(name)
        for script in ("cat {in.0:file} > {out.1}; echo z", "cat '{in.0:file}' > '{out.1}'; echo z", r'cat \"{in.0}\" > \"{out.1}\"; echo z'):
            got = run_one(case, f'sh: "{script}"', "a: {file: o.txt}, a.1: {file: p.txt}", env=dict(case.env, XDG_STATE_HOME=state))
            check(got == b"z\n1\n2\n3\n", f"{name}: {script}: {got}")


@test
def many_producers_have_a_pipe_each(case):
    """Their number costs what it is, and not its square; so do the places that name them."""
    case.write("in.txt", "".join(f"{i}\n" for i in range(3000)))
    text = ("inputs: {{t: {{files: in.txt}}}}\nstages: {{p: {{use: partition, width: 1}}, s: {{use: sort, params: {{type: number}}, width: 1500}}, "
            "all: {{{all}}}}}\nflow: [t >= p, {{from: p, to: s, pattern: '>>', partition: {{by: round-robin}}}}, s >> all]\noutputs: {{all: {{file: o.txt}}}}\n")
    took = []
    for stage in ("use: merge, params: {type: number}", "program: [sort, -mn, '{in.0.*}']", "sh: 'sort -mn {in.0.*}'",
                  "sh: 'tr \"\\n\" \"\\0\" < {in.0.list} > l; sort -mn --files0-from=l'"):
        case.write("g.yaml", text.format(all=stage))
        began = time.time()
        case.dagrun("run", "-q", "g.yaml")
        took.append(time.time() - began)
        check(case.read("o.txt") == case.read("in.txt"), stage)
    check(max(took[1:]) < 10 * took[0] + 2, f"{took}")


@test
def why_a_program_cannot_be_started(case):
    def refused(name, text, *words, mode=0o755):
        case.write(name, text)
        os.chmod(case.path(name), mode)
        err = run_one(case, f"program: [./{name}]", rc=1)
        for word in words:
            check(word in err, err)

    refused("cr.sh", "#!/bin/sh\r\necho x\r\n", "ends in a carriage return", "#!/bin/sh,")
    refused("no.sh", "#!/nowhere/perl -w\necho x\n", "the interpreter '/nowhere/perl', which is not on this node", "/no.sh'")
    refused("elf", b"\177ELF" + bytes(200), "Exec format error", "another machine", "/elf'")
    refused("env.sh", "#!/usr/bin/env no-such-language\nx\n", "exit code 127", "asks env for 'no-such-language'")
    refused("envcr.sh", "#!/usr/bin/env sh\r\nx\r\n", "exit code 127", "for 'sh', ends in a carriage return")
    check("exit code 127 (a command was not found)" in run_one(case, "sh: no-such-command", rc=1), "a command of a script")
    case.write("plain", "echo from sh; cat\n")
    os.chmod(case.path("plain"), 0o755)
    check(run_one(case, "program: [./plain]") == b"from sh\n1\n2\n3\n", "a script without a first line")
    err = run_one(case, "program: [no-such-program]", rc=1)
    check("PATH has none of this name" in err, err)


WORDS = """
#include <dagrun/vertex.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
static int say(struct dag_vertex *v)
{
	fprintf(stderr, "word of %u;\\n", dag_index(v));
	return dag_index(v) == 177 ? dag_fail(v, "it is 177") : 0;
}
static int replace(struct dag_vertex *v)
{
	if (dag_index(v))
		return fprintf(stderr, "the second is heard\\n") < 0 ? 0 : dag_fail(v, "it is 1");
	for (int fd = 1; fd < 3; fd++)
		dup2(open("/dev/null", O_WRONLY), fd);
	sleep(2);
	return 0;
}
DAG_PLUGIN(words, DAG_ENTRY(say, DAG_OUT(LINES), "says something"), DAG_ENTRY(replace, DAG_OUT(LINES), "closes what it writes to"));
"""


def plugin(case, name, text):
    case.write(name + ".c", text)
    case.shell(f"cc -shared -fPIC -I{os.path.join(SOURCE, 'engine/include')} -o {name}.so {name}.c")


@test
def stderr_is_of_the_vertex_that_wrote_it(case):
    """Also where vertices are short, and are started before the one in front of them has ended."""
    plugin(case, "words", WORDS)
    case.write("plugin.yaml", "stages: {a: {plugin: ./words.so, entry: say, width: 400, retries: 0}}\n")
    case.write("program.yaml", "stages: {a: {sh: 'echo \"word of {index};\" >&2; [ {index} != 177 ]', width: 400, retries: 0}}\n")
    for name in ("plugin", "program"):
        for slots in ("1", "4"):
            err = case.dagrun("run", "-q", "-s", slots, name + ".yaml", rc=1).stderr.decode()
            check(err.count("word of 177;") == 1 and err.count("word of") == 1, f"{name}: {err[-2000:]}")


@test
def who_closes_its_stderr_keeps_nobody_busy(case):
    plugin(case, "words", WORDS)
    case.write("g.yaml", "stages: {a: {plugin: ./words.so, entry: replace, width: 2, retries: 0}}\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    err = case.dagrun("run", "-q", "-s", "1", "g.yaml", rc=1).stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    check(b"the second is heard" in err, err)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    check(used < 0.7 * SLOW, f"{used:.2f} s of CPU for 2 s of sleep")


@test
def dagrun_leaves_alone_what_is_not_its_own(case):
    """What the caller started before it became dagrun is a child of dagrun, too; what that leaves behind is nobody's here."""
    case.write("g.yaml", "stages: {a: {sh: 'setsid sleep 60 & echo x'}, b: {sh: 'exit 3', retries: 0}}\n")
    p = case.start("sh", "-c", f"exec 2>/dev/null; sleep 3600.5 >&2 & echo $!; (sleep 3600.6 >&2 & echo $!); exec {program('dagrun')} run -q g.yaml")
    pids = [int(p.stdout.readline()) for _ in range(2)]
    p.communicate()
    check(p.returncode == 1, f"exit code {p.returncode}")
    for pid in pids:
        os.kill(pid, signal.SIGTERM)  # fails where it is gone


@test
def a_named_pipe_that_is_replaced_is_an_error(case):
    for number, command in enumerate(("echo hi > t; mv -f t {out.1}", "sleep 0.2; rm -f {out.1}; echo hi > {out.1}", "rm -f {out.1}; sleep 0.2")):
        case.write("g.yaml", f"stages: {{a: {{sh: '{command}', retries: 0}}}}\noutputs: {{a.1: {{file: o{number}}}}}\n")
        err = case.dagrun("run", "-q", "g.yaml", rc=1).stderr
        check(b"removed or replaced the named pipe {out.1}" in err and not os.path.exists(case.path(f"o{number}")), f"{command}: {err}")
    case.write("t.txt", "1\n2\n")
    case.write("g.yaml", "inputs: {t: {files: t.txt}}\nstages: {a: {sh: 'rm -f {in.0}; echo x'}}\nflow: [t >= a]\noutputs: {a: {file: '-'}}\n")
    check(case.dagrun("run", "-q", "g.yaml").stdout == b"x\n", "an input that is not wanted may be removed")


@test
def what_nobody_reads_of_stdout_is_kept(case):
    for name, text in (("named", "stages: {a: {sh: 'echo lost; echo kept > {out.0}'}}\noutputs: {a: {file: '-'}}\n"),
                       ("unread", "stages: {a: {sh: 'echo lost; echo kept > {out.1}'}}\noutputs: {a.1: {file: '-'}}\n")):
        case.write("g.yaml", text)
        r = case.dagrun("run", "g.yaml")
        notes = re.search(rb"are in (\S+)", r.stderr)
        check(r.stdout == b"kept\n" and notes, f"{name}: {r}")
        check(b"lost" in case.shell(f"cat {notes.group(1).decode()}"), f"{name}: {r.stderr}")


if __name__ == "__main__":
    main()
