# SPDX-License-Identifier: Apache-2.0
"""Very many inputs and producers of one vertex, with few descriptors: they cost time and memory by their number, and no descriptor each."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

SEVERAL = 3000  # more than ten times as many as there are descriptors
FEW = ("prlimit", "--nofile=256:256")


def empty_files(folder, n, name):
    os.mkdir(folder)
    here = os.open(folder, os.O_RDONLY)
    for i in range(n):
        os.mknod(name % i, dir_fd=here)
    os.close(here)


def files(case, n=SEVERAL):
    """n files of two lines; what they are one behind the other, and in the order of their lines."""
    os.mkdir(case.path("f"))
    lines = []
    for i in range(n):
        two = [b"%06d a\n" % i, b"%06d b\n" % (i + n // 2)]
        with open(case.path("f", "%06d" % i), "wb") as f:
            f.writelines(two)
        lines += two
    return b"".join(lines), b"".join(sorted(lines))


def limited(case, *args, limit=FEW, rc=0):
    r = subprocess.run([*limit, program("dagrun"), *args], cwd=case.dir, env=case.env, capture_output=True, timeout=patience(60))
    check(r.returncode == rc, f"exit code {r.returncode}, not {rc}: {r.stderr.decode(errors='replace')[-3000:]}")
    return r


@test
def a_hundred_thousand_long_names_into_one_vertex(case):
    """What the vertex is started with is longer than a message to a daemon may be in one piece."""
    n = 100_000
    folder = f"/dev/shm/dagrun-test-many-{os.getpid()}"
    try:
        empty_files(folder, n, "%06d-" + "n" * 200)
        with open(f"{folder}/{'z' * 200}", "w") as f:
            f.write("the last one\n")
        case.write("g.yaml", f"inputs: {{n: {{files: \"{folder}/*\"}}}}\nstages: {{c: {{sh: cat, width: 1}}}}\nflow: [n >> c]\noutputs: {{c: {{file: out}}}}\n")
        limited(case, "run", "-q", "g.yaml")
        check(case.read("out") == b"the last one\n", case.read("out")[:100])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


GRAPHS = {
    "by turns": ("cat: {sh: 'cat {in.0.*}', width: 1}", "f >> cat", 0),
    "one behind the other": ("cat: {sh: cat, width: 1}", "f >> cat", 0),
    "all at once": ("merge: {use: merge, width: 1}", "f >> merge", 1),
    "in order of arrival": ("cat: {sh: 'sort', width: 1}", "f >> cat", 1),
    "of producers": ("p: {use: cat}, merge: {use: merge, width: 1}", "f >= p >> merge", 1),
    "of producers by turns": ("p: {use: cat}, cat: {sh: 'cat {in.0.*}', width: 1}", "f >= p >> cat", 0),
}


@test
def more_files_and_producers_than_descriptors(case):
    expected = files(case)
    for name, (stages, flow, order) in GRAPHS.items():
        last = stages.split(",")[1 if " p " in f" {flow} " else 0].split(":")[0].strip()
        case.write("g.yaml", f"inputs: {{f: {{files: \"f/*\", format: lines}}}}\nstages: {{{stages}}}\nflow: [\"{flow}\"]\noutputs: {{{last}: {{file: out}}}}\n")
        limited(case, "run", "-q", "g.yaml")
        check(case.read("out") == expected[order], f"{name}: the output is not what it should be")


@test
def a_large_file_among_many_is_read_whole(case):
    """Files that are closed behind each read, and opened again where it ended."""
    expected = files(case, 400)[1].splitlines(True)
    for i in range(300):
        lines = [b"%06d %d " % (k, i) + b"x" * 1000 + b"\n" for k in range(600)]
        with open(case.path("f", "large%d" % i), "wb") as f:
            f.writelines(lines)
        expected += lines
    case.write("g.yaml", "inputs: {f: {files: \"f/*\", format: lines}}\nstages: {merge: {use: merge, width: 1}}\nflow: [f >> merge]\noutputs: {merge: {file: out}}\n")
    limited(case, "run", "-q", "g.yaml")
    check(case.read("out") == b"".join(sorted(expected)), "the lines are not what they should be")


@test
def inputs_that_only_the_submitter_has(case):
    """Each file is asked for by itself, and neither side keeps it open."""
    expected = files(case)
    os.rename(case.path("f"), case.path("f0"))
    nameserver = case.start(program("dagns"), "--listen", "tcp://127.0.0.1:*")
    endpoint = nameserver.stderr.readline().decode().split()[3]
    os.mkdir(case.path("f"))
    hidden = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs none {case.path('f')} && exec \"$@\"", "sh"]
    if subprocess.run([*hidden, "true"], capture_output=True).returncode:
        raise Skip("mount is not allowed here")
    os.rmdir(case.path("f"))
    os.rename(case.path("f0"), case.path("f"))
    case.start(*hidden, *FEW, program("dagd"), "--nameserver", endpoint, "--slots", "2", "--node", f"many-{os.getpid()}", "--spool", case.path("spool"), stderr=subprocess.DEVNULL)
    case.wait_for(lambda: b" up " in case.dagrun("nodes", "-n", endpoint, rc=None).stdout, "the daemon to register")
    for use, flow, order in (("use: merge", "f >> c", 1), ("sh: cat", "f >> c", 0)):
        case.write("g.yaml", f"inputs: {{f: {{files: \"f/*\", format: lines}}}}\nstages: {{c: {{{use}, width: 1}}}}\nflow: [{flow}]\noutputs: {{c: {{file: out}}}}\n")
        limited(case, "run", "-q", "-n", endpoint, "g.yaml")
        check(case.read("out") == expected[order], f"{use}: the output is not what it should be")


@test
def the_start_says_how_many_descriptors_it_needs(case):
    files(case, 20)
    case.write("g.yaml", "inputs: {f: {files: \"f/*\"}}\nstages: {c: {sh: cat, width: 1}}\nflow: [f >> c]\noutputs: {c: {file: out}}\n")
    for name, *args in (("dagrun", "run", "g.yaml"), ("dagd", "--nameserver", "tcp://127.0.0.1:1"), ("dagns", "--listen", "tcp://127.0.0.1:*")):
        r = subprocess.run(["prlimit", "--nofile=60:60", program(name), *args], cwd=case.dir, env=case.env, capture_output=True, timeout=patience(20))
        text = r.stderr.decode()
        check(r.returncode == 1 and text.count("\n") == 1 and "60 file descriptors are allowed" in text and "ulimit -n" in text, f"{name}: {r.returncode} {text}")
    check(not os.path.exists(case.path("out")), "something was done")
    limited(case, "run", "-q", "g.yaml")
    check(case.read("out"), "nothing was done")


main()
