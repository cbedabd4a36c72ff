# SPDX-License-Identifier: Apache-2.0
"""Runs end-to-end tests against real processes and prints TAP. Each test has a folder and a state folder of its own, and
afterwards nothing may be left: no process, no spool, no half output, no shared memory."""
import glob
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("DAGRUN_BUILD", os.path.join(SOURCE, "build")))
SANITIZED = "-asan" in BUILD or "-tsan" in BUILD
SLOW = 5 if SANITIZED else 1
# What a program that links our library is compiled with, since the sanitizer comes first in a process.
SANITIZE = ["-fsanitize=" + ("thread" if "-tsan" in BUILD else "address,undefined")] if SANITIZED else []
TESTS = []


def patience(seconds):
    """How long to wait for what must happen. Only a test that fails waits so long, so a busy machine has ten times as much as a quiet one needs."""
    return seconds * SLOW * 10


def soon(started, seconds):
    """True if no more than these seconds have passed since, as a machine would count them that has nothing else to do."""
    waiting = os.getloadavg()[0] / os.cpu_count()
    return time.time() - started < seconds * SLOW * max(1, 2 * waiting)


# What is started under nohup would not hear of a hangup, and what a script has put into the background of no quit.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


class Skip(Exception):
    pass


def test(function):
    TESTS.append(function)
    return function


def program(name):
    return os.path.join(BUILD, name)


def as_anybody(case):
    """dagrun where every user of the machine may run it: the checkout may lie in a folder that is ours alone. Takes root."""
    if os.geteuid():
        raise Skip("to be another user takes root")
    os.chmod(case.dir, 0o777)
    folder = case.path("programs")
    os.makedirs(folder, exist_ok=True)
    for name in ("dagrun", "daghost"):
        shutil.copy(program(name), folder)
    return os.path.join(folder, "dagrun")


def private_mounts():
    """Skips where no file system can be mounted that nobody else sees."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        raise Skip("no file system can be mounted here for ourselves alone")


def graph(name):
    return os.path.join(SOURCE, "graphs", name, name + ".yaml")


def parent_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return int([line for line in f if line.startswith("PPid")][0].split()[1])


def processes(word):
    """Those that have this word in their command line."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                if word.encode() in f.read():
                    found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return found


class Case:
    """One test's folder, and the processes that it started."""

    def __init__(self, name):
        self.dir = tempfile.mkdtemp(prefix="dagrun-test-")
        self.state = os.path.join(self.dir, "state")
        self.env = dict(os.environ, XDG_STATE_HOME=self.state)
        self.started = []

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return path

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def start(self, *args, stderr=None, prefix=(), **options):
        process = subprocess.Popen([*prefix, *args], env=options.pop("env", self.env), cwd=self.dir, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=stderr or subprocess.PIPE, **options)
        self.started.append(process)
        return process

    def dagrun(self, *args, rc=0, timeout=60, **options):
        r = subprocess.run([program("dagrun"), *args], env=options.pop("env", self.env), cwd=self.dir, capture_output=True,
                           timeout=patience(timeout), **options)
        if rc is not None:
            check(r.returncode == rc, f"exit code {r.returncode}, not {rc}: {r.stderr.decode(errors='replace')[-3000:]}")
        return r

    def shell(self, command):
        return subprocess.run(["sh", "-c", command], cwd=self.dir, capture_output=True, check=True,
                              env=dict(os.environ, LC_ALL="C")).stdout

    def hosts(self, daemon=None, word=b"--serve"):
        """The vertex hosts that run below this test's processes, or one of them; with the word "daghost" also what describes a plugin."""
        found = []
        for path in glob.glob("/proc/[0-9]*/environ"):
            pid = int(path.split("/")[2])
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    command = f.read()
                if b"daghost" not in command or word not in command:
                    continue
                guard = parent_of(pid)
                with open(f"/proc/{guard}/environ", "rb") as f:
                    if self.state.encode() in f.read() and daemon in (None, guard, parent_of(guard)):
                        found.append(pid)
            except (OSError, IndexError):
                pass
        return found

    def wait_for(self, condition, what, timeout=20):
        end = time.time() + patience(timeout)
        while time.time() < end:
            if condition():
                return
            time.sleep(0.02)
        raise AssertionError(f"waited {timeout} s in vain: {what}")

    def stop(self):
        for p in self.started:
            if p.poll() is None:
                p.terminate()
        for p in self.started:
            try:
                p.wait(patience(10))
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                raise AssertionError(f"{p.args} did not end on SIGTERM")

    def check_leftovers(self):
        check(not self.hosts(word=b"daghost"), "a vertex host outlived its job")
        left = [p for p in glob.glob(self.path("**", ".*"), recursive=True) if "dagrun-" in os.path.basename(p)]
        check(not left, f"temporary outputs are left: {left}")
        for folder in ("spool",):
            runs = [r for r in glob.glob(os.path.join(self.state, "dagrun", folder, "run-*"))]
            check(not runs, f"spools are left: {runs}")
        for run in glob.glob(f"/dev/shm/dagrun-{os.getuid()}/run-*"):
            job = os.path.basename(run)[len("run-"):]
            check(not os.path.exists(os.path.join(self.state, "dagrun", "jobs", job)), f"shared memory is left: {run}")

    def close(self):
        for p in self.started:
            if p.poll() is None:
                p.kill()
                p.wait()
            for pipe in (p.stdout, p.stderr):
                if pipe:
                    pipe.close()
        shutil.rmtree(self.dir, ignore_errors=True)
        for spool in glob.glob(f"/dev/shm/dagrun-{os.getuid()}/n*-{os.getpid()}"):
            shutil.rmtree(spool, ignore_errors=True)  # of daemons that were killed


class Cluster:
    """A name server and daemons of this test, on loopback, on ports that the system chose."""

    def __init__(self, case, nodes=3, slots=2, extra=()):
        self.case = case
        self.nameserver = case.start(program("dagns"), "--listen", "tcp://127.0.0.1:*")
        self.endpoint = self.nameserver.stderr.readline().decode().split()[3]
        self.daemons = [self.add(i, slots, extra) for i in range(nodes)]
        case.wait_for(lambda: self.count() == nodes, "the daemons to register")

    def add(self, i, slots=2, extra=()):
        return self.case.start(program("dagd"), "--nameserver", self.endpoint, "--slots", str(slots), "--node", f"n{i}-{os.getpid()}",
                               "--spool", self.case.path(f"spool{i}"), *extra, stderr=subprocess.DEVNULL)

    def count(self):
        r = self.case.dagrun("nodes", "-n", self.endpoint, rc=None)
        return r.stdout.count(b" up ")

    def run(self, *args, **options):
        return self.case.dagrun("run", "-n", self.endpoint, *args, **options)


def job_id(case):
    """The last job of this test."""
    return os.path.basename(max(glob.glob(os.path.join(case.state, "dagrun/jobs/*")), key=os.path.getmtime))


def is_noted(case):
    """The journal of the last job has facts: vertices start before it is synced, and a copy of it would be empty where the disk is slow."""
    try:
        with sqlite3.connect(f"file:{case.state}/dagrun/jobs/{job_id(case)}/journal.db?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM facts").fetchone()[0] > 0
    except (sqlite3.Error, ValueError):
        return False


def bad(case, text, *words, args=(), rc=3, files=(), command="check"):
    """A graph file that is refused, with all these words."""
    case.write("g.yaml", text)
    for name, content in files:
        case.write(name, content)
    r = case.dagrun(command, "g.yaml", *args, rc=rc)
    for word in words:
        check(word in r.stderr.decode(errors="replace"), f"'{word}' is not in: {r.stderr.decode(errors='replace')}")
    return r


def chains(case, depth, width, ns, retries=5):
    """Writes chain.yaml: chains of short vertices, which are started one behind the other; the end of each is its index and how many there were."""
    stages = "".join(f"  s{i}: {{plugin: bench, entry: work, params: {{ns: {ns}}}, retries: {retries}}}\n" for i in range(1, depth))
    case.write("chain.yaml", f"stages:\n  s0: {{plugin: bench, entry: first, width: {width}}}\n{stages}"
               f"flow: [{' >= '.join(f's{i}' for i in range(depth))}]\noutputs: {{s{depth - 1}: {{file: sums}}}}\n")
    return b"".join((i + depth - 1).to_bytes(8, "little") for i in range(width))


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def main():
    names = sys.argv[1:]
    tests = [t for t in TESTS if not names or t.__name__ in names]
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for i, function in enumerate(tests, 1):
        case = Case(function.__name__)
        started = time.time()
        try:
            function(case)
            case.stop()
            case.check_leftovers()
            print(f"ok {i} - {function.__name__} # {time.time() - started:.1f} s", flush=True)
        except Skip as skip:
            print(f"ok {i} - {function.__name__} # SKIP {skip}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {i} - {function.__name__}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
        finally:
            case.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(failed > 0)
