# SPDX-License-Identifier: Apache-2.0
"""Outputs appear together or not at all, whatever stands in their way; and a job that a signal or a reader who leaves ends."""
import glob
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

TWO = """
stages: {a: {sh: "echo new; while [ ! -e GO ]; do sleep 0.02; done"}, b: {program: [echo, new]}}
outputs: {a: {file: d1/a.txt}, b: {file: d2/b.txt}}
"""
BEHIND_STDOUT = """
stages: {a: {program: [echo, new]}, b: {program: [echo, new]}, big: {sh: "seq 200000"}}
outputs: {a: {file: a.txt}, b: {file: b.txt}, big: {file: "-"}}
"""


def hidden(case):
    """What lies beside outputs while a job runs."""
    return [p for p in glob.glob(case.path("**", ".*"), recursive=True) if os.path.basename(p).startswith(".dagrun-")]


def as_root():
    if os.geteuid():
        raise Skip("needs root")


def waiting_for_go(case, text=TWO, **options):
    """A job whose last vertex waits for the file GO; the first output's file is written."""
    case.write("g.yaml", text.replace("GO", case.path("go")))
    p = case.start(program("dagrun"), "run", "-s", "2", "g.yaml", **options)
    case.wait_for(lambda: len(case.hosts()) >= 2, "both hosts")
    return p


def fails(case, p, *words):
    case.write("go", "")
    err = p.communicate(timeout=patience(20))[1]
    check(p.returncode == 1, f"{p.returncode}: {err}")
    for word in words:
        check(word in err, f"'{word}' is not in: {err}")
    check(not hidden(case), hidden(case))


@test
def a_folder_that_is_gone_changes_nothing(case):
    for gone in ("d1", "d2"):
        case.write("d1/a.txt", "old a")
        case.write("d2/b.txt", "old b")
        p = waiting_for_go(case)
        case.shell(f"rm -r {gone}")
        fails(case, p, gone.encode())
        for path, text in (("d1/a.txt", b"old a"), ("d2/b.txt", b"old b")):
            check(path.startswith(gone) or case.read(path) == text, f"{path} was changed")
        os.unlink(case.path("go"))


@test
def what_cannot_be_replaced_changes_nothing(case):
    """Each becomes so while the job runs; the other output has its old bytes afterwards, and what was not there is not there."""
    as_root()
    for first in (b"old a", None):
        for harm, mend in (("rm d2/b.txt; mkdir d2/b.txt", "rmdir d2/b.txt"), ("chattr +i d2", "chattr -i d2"),
                           ("chattr +i d2/b.txt", "chattr -i d2/b.txt"), ("chattr +a d2", "chattr -a d2"),
                           ("ln -sf nowhere d2/b.txt", "rm d2/b.txt"), ("rm d2/.dagrun-2*", ":")):
            for d in ("d1", "d2"):
                os.makedirs(case.path(d), exist_ok=True)
            case.write("d2/b.txt", "old b")
            if first:
                case.write("d1/a.txt", first)
            p = waiting_for_go(case)
            if subprocess.run(["sh", "-c", harm], cwd=case.dir, capture_output=True).returncode:
                p.kill()  # a file system without such attributes
                p.wait()
                case.dagrun("clean", "--all")
                continue
            case.write("go", "")
            err = p.communicate(timeout=patience(20))[1]
            case.shell(mend)
            check(p.returncode == 1 and b"d2" in err, f"{harm}: {p.returncode} {err}")
            if first:
                check(case.read("d1/a.txt") == first, f"{harm}: d1/a.txt was changed")
                os.unlink(case.path("d1/a.txt"))
            check(not os.path.exists(case.path("d1/a.txt")), f"{harm}: d1/a.txt appeared")
            case.shell("rm -rf d2/b.txt go; rm -f d2/.dagrun-*")


@test
def outputs_replace_what_was_there(case):
    """The earlier files are gone, and the modes that they had are kept."""
    case.write("d1/a.txt", "old")
    os.chmod(case.path("d1/a.txt"), 0o640)
    case.write("d2/b.txt", "old")
    os.chmod(case.path("d2/b.txt"), 0o444)
    case.write("go", "")
    case.write("g.yaml", TWO.replace("GO", case.path("go")))
    for _ in range(2):
        case.dagrun("run", "g.yaml")
        check(case.read("d1/a.txt") == case.read("d2/b.txt") == b"new\n", "bytes")
        modes = [stat.S_IMODE(os.stat(case.path(p)).st_mode) for p in ("d1/a.txt", "d2/b.txt")]
        check(modes == [0o640, 0o444], modes)
        check(os.listdir(case.path("d1")) == ["a.txt"] and os.listdir(case.path("d2")) == ["b.txt"], "more than the outputs")


@test
def a_file_system_without_exchange(case):
    """Neither the exchange of two names nor hard links are known everywhere. That is pretended, as is a rename that fails."""
    case.write("no.c", r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return errno = EINVAL, -1; }
int link(const char *from, const char *to) { return errno = EPERM, -1; }
int rename(const char *from, const char *to)
{
	const char *bad = getenv("BAD");
	if (bad && strstr(to, bad) && !strstr(from, "-old")) return errno = EIO, -1;
	return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
""")
    if SANITIZED:
        raise Skip("a sanitizer wants to be the first library")
    case.shell("gcc -shared -fPIC no.c -o no.so")
    case.shell("gcc -shared -fPIC -Dlink=unused no.c -o link.so")
    case.write("g.yaml", "stages: {a: {program: [echo, new]}, b: {program: [echo, new]}}\noutputs: {a: {file: d/a.txt}, b: {file: d/b.txt}}\n")
    for library in ("link.so", "no.so"):
        for old in ({"a.txt": b"old a\n", "b.txt": b"old b\n"}, {"a.txt": b"old a\n"}, {"b.txt": b"old b\n"}, {}):
            for broken in ("/b.txt", None):
                case.shell("rm -rf d; mkdir d")
                for name, text in old.items():
                    case.write("d/" + name, text)
                env = dict(case.env, LD_PRELOAD=case.path(library), **({"BAD": broken} if broken else {}))
                r = case.dagrun("run", "-q", "g.yaml", env=env, rc=1 if broken else 0)
                now = {name: case.read("d/" + name) for name in os.listdir(case.path("d"))}
                check(now == (old if broken else {"a.txt": b"new\n", "b.txt": b"new\n"}), f"{library} {broken} {old}: {now} {r.stderr}")


@test
def a_full_disk_under_the_second_output(case):
    as_root()
    private_mounts()
    case.write("g.yaml", "stages: {a: {program: [echo, new]}, b: {sh: 'seq 100000'}}\noutputs: {a: {file: a.txt}, b: {file: m/b.txt}}\n")
    case.write("a.txt", "old")
    r = subprocess.run(["unshare", "-m", "sh", "-c", f"""cd {case.dir}; mkdir m; mount -t tmpfs -o size=64k none m; echo old > m/b.txt
        {program("dagrun")} run -q g.yaml; echo $?; cat a.txt m/b.txt; ls -A m"""], env=case.env, capture_output=True)
    check(r.stdout == b"1\nold" + b"old\nb.txt\n" and b"No space left" in r.stderr, r)


# ---- stdout ----


@test
def stdout_that_is_full_or_closed_publishes_nothing(case):
    case.write("a.txt", "old")
    case.write("g.yaml", BEHIND_STDOUT)
    for to in (">/dev/full", ">&-"):
        r = subprocess.run(["sh", "-c", f'exec "$0" run g.yaml {to}', program("dagrun")], env=case.env, cwd=case.dir, capture_output=True)
        check(r.returncode == 1 and b"cannot write to stdout" in r.stderr, f"{to}: {r}")
        check(case.read("a.txt") == b"old" and not os.path.exists(case.path("b.txt")), f"{to}: something was published")
        check(not hidden(case), hidden(case))


@test
def stdout_that_cannot_be_written_is_told_before_work(case):
    case.write("g.yaml", 'stages: {a: {sh: "echo x >$T/ran; echo x", env: {T: "%s"}}}\noutputs: {a: {file: "-"}}\n' % case.dir)
    case.write("f.yaml", case.read("g.yaml").decode().replace('"-"', "/dev/fd/5"))
    for graph_file, to, words in (("g.yaml", ">&-", b"stdout"), ("g.yaml", "1</dev/null", b"stdout"), ("f.yaml", "5</dev/null", b"/dev/fd/5")):
        r = subprocess.run(["bash", "-c", f'exec "$0" run {graph_file} {to}', program("dagrun")], env=case.env, cwd=case.dir, capture_output=True)
        check(r.returncode == 1 and b"cannot write " in r.stderr and words in r.stderr and r.stderr.count(b"\n") == 1, f"{to}: {r}")
        check(not os.path.exists(case.path("ran")), f"{to}: a vertex ran")
    r = subprocess.run(["bash", "-c", 'exec "$0" run g.yaml 1<>both', program("dagrun")], env=case.env, cwd=case.dir, capture_output=True)
    check(r.returncode == 0 and case.read("both") == b"x\n", r)


@test
def a_reader_that_leaves_ends_the_job_quietly(case):
    case.write("s.yaml", 'stages: {big: {sh: "seq 200000"}}\noutputs: {big: {file: "-"}}\n')
    case.write("g.yaml", BEHIND_STDOUT)
    for graph_file, words in (("s.yaml", None), ("g.yaml", b"nothing was published")):
        r = subprocess.run(["bash", "-c", f'"$0" run {graph_file} | head -n 1; exit ${{PIPESTATUS[0]}}', program("dagrun")],
                           env=case.env, cwd=case.dir, capture_output=True)
        check(r.returncode == 128 + signal.SIGPIPE and r.stdout == b"1\n", r)
        check(b"fail" not in r.stderr and (words in r.stderr if words else not r.stderr), r.stderr)
    check(not os.path.exists(case.path("a.txt")), "a.txt was published")
    r = subprocess.run(["bash", "-c", '"$0" --help | true; exit ${PIPESTATUS[0]}', program("dagrun")], env=case.env, capture_output=True)
    check(r.returncode in (0, 128 + signal.SIGPIPE) and not r.stderr, r)


@test
def a_full_stdout_is_told_by_every_command(case):
    case.write("g.yaml", "stages: {a: {program: [echo, hi]}}\noutputs: {a: {file: a.txt}}\n")
    case.dagrun("run", "g.yaml")
    for command in (["--help"], ["help"], ["--version"], ["--man"], ["--completion"], ["plan", "g.yaml"], ["plan", "--help"], ["check", "g.yaml"],
                    ["jobs"], ["jobs", "--json"], ["jobs", job_id(case)], ["run", "--dry-run", "g.yaml"], ["run", "--help"],
                    ["simulate", "g.yaml"], ["verify", job_id(case)], ["clean", "--all"]):
        with open("/dev/full", "w") as full:
            r = subprocess.run([program("dagrun"), *command], env=case.env, cwd=case.dir, stdout=full, stderr=subprocess.PIPE)
            quiet = not case.dagrun(*command, rc=None).stdout
        check(r.returncode == 1 and b"cannot write to stdout" in r.stderr or quiet, f"{command}: {r}")


@test
def streams_are_written_to(case):
    """Other names of stdout, and what is no file; nothing of it is replaced."""
    null = os.stat("/dev/null")
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        case.write("g.yaml", f"stages: {{a: {{program: [echo, hi]}}}}\noutputs: {{a: {{file: {name}}}}}\n")
        check(case.dagrun("run", "g.yaml").stdout == b"hi\n", name)
        with open(case.path("o"), "wb") as o:
            o.write(b"before\n")
            o.flush()
            subprocess.run([program("dagrun"), "run", "-q", "g.yaml"], env=case.env, cwd=case.dir, stdout=o, check=True)
        check(case.read("o") == b"before\nhi\n", case.read("o"))
    case.write("g.yaml", "stages: {a: {program: [echo, hi]}}\noutputs: {a: {file: /dev/null}}\n")
    case.dagrun("run", "g.yaml")
    check(os.stat("/dev/null").st_rdev == null.st_rdev and stat.S_ISCHR(os.stat("/dev/null").st_mode), "/dev/null was replaced")
    for name in ("/dev/stderr", "/dev/fd/2", "/proc/self/fd/5"):
        case.write("g.yaml", f"stages: {{a: {{program: [echo, hi]}}}}\noutputs: {{a: {{file: {name}}}}}\n")
        case.write("log", "before\n")
        case.shell(f"XDG_STATE_HOME={case.state} {program('dagrun')} run -q g.yaml 2>>log 5>>log")
        check(case.read("log") == b"before\nhi\n", f"{name}: {case.read('log')}")
    check(b"Bad file descriptor" in case.dagrun("run", "g.yaml", rc=1).stderr, "a descriptor that is not open")
    os.mkfifo(case.path("pipe"))
    case.write("g.yaml", "stages: {a: {program: [echo, hi]}}\noutputs: {a: {file: pipe}}\n")
    r = case.dagrun("run", "g.yaml", rc=1)
    check(b"nobody reads it" in r.stderr, r.stderr)
    reader = case.start("cat", "pipe")
    case.wait_for(lambda: case.dagrun("run", "g.yaml", rc=None).returncode == 0, "the reader")
    check(reader.communicate()[0] == b"hi\n" and stat.S_ISFIFO(os.stat(case.path("pipe")).st_mode), "the fifo")
    case.write("g.yaml", "stages: {a: {program: [seq, '1000000']}}\noutputs: {a: {file: pipe}}\n")
    reader = case.start("head", "-c", "1", "pipe")
    case.wait_for(lambda: b"nobody reads " + case.path("pipe").encode() + b" any more" in case.dagrun("run", "g.yaml", rc=None).stderr, "a reader that leaves")
    reader.communicate()


# ---- links and names ----


@test
def a_link_is_written_through(case):
    os.mkdir(case.path("far"))
    case.write("far/old", "old")
    for link, to, place in (("l1", "far/old", "far/old"), ("l2", case.path("far/new"), "far/new"), ("l3", "l2", "far/new"),
                            ("far/0.txt", "../elsewhere/x", "elsewhere/x")):
        os.symlink(to, case.path(link))
    os.mkdir(case.path("elsewhere"))
    for output, place in (("l1", "far/old"), ("l2", "far/new"), ("l3", "far/new"), ("far/{index}.txt", "elsewhere/x")):
        case.write("g.yaml", f"stages: {{a: {{program: [echo, '{output}'], width: 1}}}}\noutputs: {{a: {{file: '{output}'}}}}\n".replace("[echo, 'far/{index}", "[echo, 'far/N"))
        for _ in range(2):
            case.dagrun("run", "g.yaml")
            check(case.read(place).startswith(output[:4].encode()), case.read(place))
    for link in ("l1", "l2", "l3", "far/0.txt"):
        check(os.path.islink(case.path(link)), f"{link} is no link any more")
    check(not hidden(case), hidden(case))
    os.symlink("loop2", case.path("loop"))
    os.symlink("loop", case.path("loop2"))
    bad(case, "stages: {a: {sh: x}}\noutputs: {a: {file: loop}}\n", "loop of links")


@test
def an_output_that_is_read_is_refused(case):
    case.write("in/0.txt", "precious\n")
    case.write("in/1.txt", "precious\n")
    os.symlink("in/1.txt", case.path("link"))
    os.link(case.path("in/0.txt"), case.path("hard"))
    os.mkdir(case.path("else"))
    os.symlink("../in/1.txt", case.path("else/1"))
    os.link(case.path("in/0.txt"), case.path("else/h0"))
    os.symlink("../g.yaml", case.path("else/g1"))
    for output, what in (("in/0.txt", "an input"), ("./in/../in/1.txt", "an input"), ("'in/{index}.txt'", "an input"), ("link", "an input"),
                         ("hard", "an input"), ("g.yaml", "the graph file"), ("'else/{index}'", "an input"), ("'else/h{index}'", "an input"),
                         ("'else/g{index}'", "the graph file")):
        text = f"inputs: {{t: {{files: 'in/*.txt'}}}}\nstages: {{a: {{program: [cat]}}}}\nflow: [t >= a]\noutputs: {{a: {{file: {output}}}}}\n"
        for command in ("check", "run"):
            bad(case, text, "would replace " + what, "g.yaml:4:", command=command)
    check(case.read("in/0.txt") == case.read("in/1.txt") == b"precious\n" and case.read("g.yaml") == text.encode(), "something was replaced")


@test
def names_as_long_as_can_be(case):
    """Also where the job is killed, resumed and given up."""
    for n in (200, 239, 254, 255):
        name = "x" * n
        case.write("g.yaml", f"stages: {{a: {{program: [echo, hi]}}}}\noutputs: {{a: {{file: {name}}}}}\n")
        case.dagrun("run", "g.yaml")
        check(case.read(name) == b"hi\n", n)
    indexed = "y" * 254 + "{index}"
    case.write("g.yaml", f"stages: {{a: {{program: [echo, hi]}}}}\noutputs: {{a: {{file: '{indexed}'}}}}\n")
    case.dagrun("run", "g.yaml")
    check(case.read("y" * 254 + "0") == b"hi\n", "with an index")
    text = TWO.replace("d1/a.txt", "z" * 255).replace("d2/b.txt", "'{index}%s'" % ("z" * 254))
    p = waiting_for_go(case, text)
    p.kill()
    p.wait()
    check(hidden(case), "nothing was left")
    case.dagrun("clean", "--all")
    check(not hidden(case), hidden(case))


@test
def files_of_an_earlier_wider_run_are_named(case):
    text = "stages: {a: {program: [echo, hi], width: W}}\noutputs: {a: {file: 'o/{index}.txt'}}\n"
    case.write("g.yaml", text.replace("W", "12"))
    check(b"earlier" not in case.dagrun("run", "g.yaml").stderr, "none was wider")
    case.write("o/007.txt", "")
    case.write("o/x9.txt", "")
    for width, words in ((8, b"/o still has 4 files of an earlier run that was wider: 8.txt, 9.txt, 10.txt, \xe2\x80\xa6\n"),
                         (11, b"/o still has 1 file of an earlier run that was wider: 11.txt\n")):
        case.write("g.yaml", text.replace("W", str(width)))
        r = case.dagrun("run", "-q", "g.yaml")
        check(words in r.stderr, r.stderr)
    case.write("g.yaml", text.replace("W", "12"))
    check(not case.dagrun("run", "-q", "g.yaml").stderr, "something was said")


# ---- many ----


@test
def more_outputs_than_descriptors(case):
    n = 600
    stages = "".join(f"  a{i}: {{sh: 'echo {i}'}}\n" for i in range(n))
    case.write("g.yaml", f"stages:\n{stages}outputs:\n" + "".join(f"  a{i}: {{file: o/{i % 300}/{i}.txt}}\n" for i in range(n)))
    r = subprocess.run([program("dagrun"), "run", "-q", "g.yaml"], env=case.env, cwd=case.dir, capture_output=True, timeout=patience(60),
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
    check(r.returncode == 0, r.stderr)
    check(all(case.read(f"o/{i % 300}/{i}.txt") == b"%d\n" % i for i in range(n)), "bytes")


# ---- locks ----


def lock_of(case):
    return [p for p in hidden(case) if "-lock-" in p][0]


@test
def a_lock_that_is_none(case):
    """A link or a file of somebody's with the lock's name is not followed, written or removed."""
    text = "stages: {a: {sh: 'echo new; while [ ! -e GO ]; do sleep 0.02; done'}}\noutputs: {a: {file: out.txt}}\n"
    p = waiting_for_go_one(case, text)
    lock = lock_of(case)
    r = case.dagrun("run", "g.yaml", rc=1)
    check(b"is writing the output" in r.stderr and os.path.basename(glob.glob(case.path("state/dagrun/jobs/*"))[0]).encode() in r.stderr, r.stderr)
    case.write("go", "")
    check(p.wait(patience(20)) == 0 and not os.path.exists(lock), "the first job")
    case.write("thesis.tex", "years of work")
    for make in (lambda: os.symlink("thesis.tex", lock), lambda: os.link(case.path("thesis.tex"), lock), lambda: os.mkdir(lock), lambda: os.mkfifo(lock)):
        make()
        r = case.dagrun("run", "g.yaml", rc=1)
        check(lock.encode() in r.stderr and b"is in the way" in r.stderr, r.stderr)
        check(case.read("thesis.tex") == b"years of work", "it was written to")
        check(os.path.lexists(lock), "it was removed")
        os.rmdir(lock) if os.path.isdir(lock) else os.unlink(lock)
    if os.geteuid() == 0:
        case.write(os.path.basename(lock), "")
        os.chown(lock, 4321, 4321)
        r = case.dagrun("run", "g.yaml", rc=1)
        check(b"belongs to user 4321" in r.stderr and lock.encode() in r.stderr, r.stderr)
        os.unlink(lock)
    case.dagrun("run", "g.yaml")


def waiting_for_go_one(case, text):
    case.write("g.yaml", text.replace("GO", case.path("go")))
    p = case.start(program("dagrun"), "run", "g.yaml")
    case.wait_for(lambda: case.hosts() and hidden(case), "the job")
    return p


# ---- crashes in the midst ----


def stopped_while_publishing(case, text=BEHIND_STDOUT):
    """A job that was killed when its outputs were decided, and stdout was written: its number and what the note names."""
    case.write("a.txt", "old")
    case.write("g.yaml", text)
    p = case.start(program("dagrun"), "run", "g.yaml")
    case.wait_for(lambda: glob.glob(case.path("state/dagrun/jobs/*/publication")), "the note")
    p.kill()
    p.wait()
    note = glob.glob(case.path("state/dagrun/jobs/*/publication"))[0]
    with open(note, "rb") as f:
        words = f.read().split(b"\0")
    check(words[-2] == b"end" and len(words) == 8, words)
    return os.path.basename(os.path.dirname(note)), [(os.fsdecode(words[i + 1]), os.fsdecode(words[i + 2])) for i in (0, 3)]


def half_publish(files):
    """As if it had been killed later: the first file has its name, and what was there before has the other."""
    path, temporary = files[0]
    os.rename(path, path + ".x")
    os.rename(temporary, path)
    os.rename(path + ".x", temporary)


@test
def F52_what_was_decided_is_not_swept_away_by_the_next_run(case):
    for half in (False, True):
        job, files = stopped_while_publishing(case)
        if half:
            half_publish(files)
        r = case.dagrun("run", "g.yaml", rc=1)
        check(b"was stopped while it published" in r.stderr and b"g.yaml:3:" in r.stderr, r.stderr)
        r = case.dagrun("resume", job)
        check(r.stdout == case.shell("seq 200000"), "stdout")
        check(case.read("a.txt") == case.read("b.txt") == b"new\n", "bytes")
        check(not hidden(case), hidden(case))
        case.dagrun("run", "g.yaml")
        os.unlink(case.path("b.txt"))
        case.dagrun("clean", "--all")


@test
def F52_a_publication_that_was_cut_is_taken_back_by_clean(case):
    for half in (False, True):
        job, files = stopped_while_publishing(case)
        if half:
            half_publish(files)
        case.dagrun("clean", job)
        check(case.read("a.txt") == b"old" and not os.path.exists(case.path("b.txt")), "it was not taken back")
        check(not hidden(case), hidden(case))


@test
def F52_what_is_resumed_and_fails_changes_nothing(case):
    """A folder where files may be made but not replaced shows itself only in the last step."""
    os.mkdir(case.path("d"))
    job, files = stopped_while_publishing(case, BEHIND_STDOUT.replace("b.txt", "d/b.txt"))
    half_publish(files)
    for lock in glob.glob(case.path("d/.dagrun-lock-*")):
        os.unlink(lock)
    if not shutil.which("chattr") or subprocess.run(["chattr", "+a", case.path("d")], capture_output=True).returncode:
        raise Skip("no attributes of files here")
    r = case.dagrun("resume", job, rc=1)
    case.shell("chattr -a d; rm -f d/.dagrun-*")
    check(b"cannot publish" in r.stderr and b"stdout was written before" in r.stderr, r.stderr)
    check(case.read("a.txt") == b"old", case.read("a.txt"))
    check(not hidden(case), hidden(case))


@test
def F52_what_is_in_the_way_of_a_resume_can_be_removed(case):
    job, files = stopped_while_publishing(case)
    half_publish(files)
    os.mkdir(case.path("b.txt"))
    r = case.dagrun("resume", job, rc=3)
    check(b"b.txt" in r.stderr and b"not a regular file" in r.stderr, r.stderr)
    os.rmdir(case.path("b.txt"))
    case.dagrun("resume", job)
    check(case.read("a.txt") == case.read("b.txt") == b"new\n", "bytes")


@test
def a_job_that_is_killed_as_it_begins(case):
    """It is damaged never; and `clean` finds all that it left."""
    case.write("g.yaml", "stages: {a: {program: [echo, hi]}, b: {program: [echo, hi]}}\noutputs: {a: {file: o/a.txt}, b: {file: 'b{index}.txt'}}\n")
    os.makedirs(case.path("state/dagrun/jobs/20261121-143005-aaaaaa"))
    case.write("state/dagrun/jobs/20261121-143005-bbbbbb/journal.db", "")
    r = case.dagrun("resume", "20261121-143005-bbbbbb", rc=3)
    check(b"before it began" in r.stderr, r.stderr)
    for i in range(40):
        p = case.start(program("dagrun"), "run", "-q", "g.yaml", stderr=subprocess.DEVNULL)
        time.sleep(i * 0.002)
        p.kill()
        p.wait()
    out = case.dagrun("jobs").stdout
    check(b"damaged" not in out and out.count(b"not begun") >= 2, out)
    case.dagrun("clean", "--all")
    check(not hidden(case), hidden(case))
    check(case.dagrun("jobs").stdout == b"no jobs\n", "jobs are left")


@test
def jobs_are_listed_in_their_order(case):
    case.write("g.yaml", "stages: {a: {program: [echo, hi]}}\noutputs: {a: {file: a.txt}}\n")
    order = []
    for _ in range(8):
        case.dagrun("run", "-q", "g.yaml")
        order += [job for job in os.listdir(case.path("state/dagrun/jobs")) if job not in order]
    listed = [line.split()[0].decode() for line in case.dagrun("jobs").stdout.splitlines()[1:]]
    check(listed == order, f"{listed} {order}")


# ---- signals ----


@test
def signals_end_a_job_at_once(case):
    for sig in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        p = waiting_for_go(case)
        started = time.time()
        p.send_signal(sig)
        err = p.communicate(timeout=patience(20))[1]
        check(p.returncode == 128 + sig and b"nothing was published" in err, f"{p.returncode} {err}")
        check(soon(started, 4), "it took long")
        check(not hidden(case), hidden(case))


@test
def a_hangup_ends_the_daemons_too(case):
    cluster = Cluster(case, nodes=1)
    for p in (cluster.daemons[0], cluster.nameserver):
        p.send_signal(signal.SIGHUP)
        check(p.wait(patience(10)) == 0, p.args)


@test
def who_is_to_outlive_the_terminal_does(case):
    p = waiting_for_go(case, prefix=("nohup",))
    p.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    check(p.poll() is None, "nohup did not help")
    case.write("go", "")
    check(p.wait(patience(20)) == 0 and case.read("d1/a.txt") == b"new\n", "the job")


@test
def a_signal_while_stdout_is_not_read(case):
    """Nobody reads, so nothing is published yet, and once is enough; a second time does no harm."""
    case.write("a.txt", "old")
    case.write("g.yaml", BEHIND_STDOUT)
    for times in (1, 2):
        p = case.start(program("dagrun"), "run", "g.yaml")
        case.wait_for(lambda: glob.glob(case.path("state/dagrun/jobs/*/publication")), "the note")
        for _ in range(times):
            p.send_signal(signal.SIGINT)
        p.wait(patience(10))
        err = p.stderr.read()
        check(p.returncode == 128 + signal.SIGINT and b"nothing was published" in err, f"{p.returncode} {err}")
        check(case.read("a.txt") == b"old" and not os.path.exists(case.path("b.txt")) and not hidden(case), "something was published")
        case.dagrun("clean", "--all")


@test
def a_signal_while_the_journal_is_full(case):
    as_root()
    private_mounts()
    started = {}
    for sig in ("TERM", "INT", "HUP"):
        case.write(f"{sig}/g.yaml", "stages: {a: {program: [echo, hi]}}\noutputs: {a: {file: o.txt}}\n")
        started[sig] = case.start("unshare", "-m", "bash", "-c", f"""cd {sig}; mkdir full; mount -t tmpfs -o size=64k none full
            XDG_STATE_HOME=$PWD/full {program("dagrun")} run g.yaml 2>e & p=$!
            for i in $(seq {patience(200)}); do grep -q paused e && break; sleep 0.05; done
            kill -{sig} $p; for i in $(seq {patience(8) * 20}); do kill -0 $p 2>/dev/null || {{ wait $p; exit $?; }}; sleep 0.05; done; kill -KILL $p; exit 1""")
    for sig, p in started.items():
        p.wait(patience(30))
        check(p.returncode == 128 + getattr(signal, "SIG" + sig), f"{p.returncode} {case.read(sig + '/e')}")
        check(b"nothing was published" in case.read(sig + "/e") and not os.path.exists(case.path(sig, "o.txt")), case.read(sig + "/e"))
    check(not hidden(case), hidden(case))


@test
def a_signal_while_the_disk_stands_still(case):
    """Pretended by calls that do not come back. Once is enough, and resume completes the job."""
    case.write("still.c", r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static int hold(const char *name, int fd)
{
	const char *flag = getenv("STILL");
	while (flag && access(flag, F_OK) == 0) usleep(50000);
	return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}
int fsync(int fd) { return hold("fsync", fd); }
int fdatasync(int fd) { return hold("fdatasync", fd); }
""")
    if SANITIZED:
        raise Skip("a sanitizer wants to be the first library")
    case.shell("gcc -shared -fPIC still.c -o still.so")
    env = dict(case.env, LD_PRELOAD=case.path("still.so"), STILL=case.path("still"))
    p = waiting_for_go(case, env=env)
    case.wait_for(lambda: is_noted(case), "the journal")
    case.write("still", "")
    case.write("go", "")
    time.sleep(0.5)
    check(p.poll() is None, "it did not wait for the disk")
    started = time.time()
    p.send_signal(signal.SIGTERM)
    err = p.communicate(timeout=patience(10))[1]
    check(p.returncode == 128 + signal.SIGTERM and b"nothing was published" in err and soon(started, 9), f"{p.returncode} {time.time() - started} {err}")
    check(not os.path.exists(case.path("d1/a.txt")), "it was published")
    os.unlink(case.path("still"))
    case.dagrun("resume", job_id(case))
    check(case.read("d1/a.txt") == case.read("d2/b.txt") == b"new\n" and not hidden(case), "bytes")


if __name__ == "__main__":
    main()
