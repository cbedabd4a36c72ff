# SPDX-License-Identifier: Apache-2.0
"""A daemon and what it is given: descriptors, folders, limits, names; and vertices and peers that mean it ill."""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

ONE = 'stages: {a: {program: [echo, hi]}}\noutputs: {a: {file: o.txt}}\n'


@test
def standard_descriptors_that_are_closed(case):
    case.write("g.yaml", ONE)
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        for at in ([], ["--slots", "1"]):
            r = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", program("dagrun"), "run", "-q", *at, "g.yaml"], env=case.env, cwd=case.dir,
                               capture_output=True, timeout=60)
            check(r.returncode == 0 and case.read("o.txt") == b"hi\n", f"{closed}: {r.returncode} {r.stderr}")
            os.unlink(case.path("o.txt"))
    # What cannot be read or written is not taken for empty, or for done.
    case.write("in.yaml", "inputs: {i: {files: '-'}}\nstages: {a: {program: [cat]}}\nflow: [i >> a]\noutputs: {a: {file: o.txt}}\n")
    r = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", program("dagrun"), "run", "in.yaml"], env=case.env, cwd=case.dir, capture_output=True)
    check(r.returncode not in (0, 70), f"a closed stdin was taken for an empty one: {r.returncode} {r.stderr}")
    # Daemons too: the first descriptors that they open must not be taken for these.
    ns = case.start("sh", "-c", 'exec "$@" <&- >&-', "sh", program("dagns"), "--listen", "tcp://127.0.0.1:*")
    endpoint = ns.stderr.readline().decode().split()[3]
    case.start("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", program("dagd"), "-n", endpoint, "--node", f"n0-{os.getpid()}", "--spool", case.path("spool"))
    case.wait_for(lambda: b" up " in case.dagrun("nodes", "-n", endpoint, rc=None).stdout, "the daemon to register")
    case.dagrun("run", "-n", endpoint, "g.yaml")
    check(case.read("o.txt") == b"hi\n", "its output")


@test
def a_fifo_group_of_a_hundred(case):
    graph = """
stages: {a: {sh: "seq 5000"}, b: {program: [cat], width: 100}}
flow: [{from: a, to: b, channel: fifo, pattern: ">>", partition: {by: round-robin}}]
outputs: {b: {file: "-"}}
"""
    case.write("g.yaml", graph)
    lines = case.dagrun("run", "-q", "--slots", "8", "g.yaml").stdout.split()
    check(sorted(map(int, lines)) == list(range(1, 5001)), f"{len(lines)} lines")
    cluster = Cluster(case, nodes=1, slots=8)
    check(sorted(cluster.run("g.yaml").stdout.split()) == sorted(lines), "on a cluster")
    bad(case, graph.replace("width: 100", "width: 1024"), "g.yaml:3", "'a'", "1025 vertices", "1024", "pipe")


def hostile(case, cluster, entry, *words, code=1):
    """One of the vertices of hostile.c is run and fails as such; no daemon minds, and the next job is right."""
    case.write("bad.yaml", f"stages: {{a: {{plugin: {os.path.join(BUILD, 'tests', 'hostile.so')}, entry: {entry}, retries: 2}}}}\n"
               "outputs: {a: {file: '-'}}\n")
    r = cluster.run("bad.yaml", rc=code)
    for word in words:
        check(word in r.stderr.decode(errors="replace"), f"{entry}: no '{word}' in {r.stderr.decode(errors='replace')}")
    for d in cluster.daemons:
        check(d.poll() is None, f"{entry}: a daemon ended with {d.returncode}")
    case.write("good.yaml", "stages: {g: {sh: 'seq 1000000', width: 2}}\noutputs: {g: {file: '-'}}\n")
    check(cluster.run("good.yaml").stdout == b"".join(b"%d\n" % i for i in range(1, 1000001)) * 2, f"{entry}: the next job's bytes")


@test
def vertices_that_break_the_rules(case):
    cluster = Cluster(case, nodes=2, slots=2)
    descriptors = [len(os.listdir(f"/proc/{d.pid}/fd")) for d in cluster.daemons]
    hostile(case, cluster, "skips", "a[0]", "skips more records than it may")
    hostile(case, cluster, "cuts_and_ends", "a[0]", "damaged")
    hostile(case, cluster, "cuts_and_dies", "a[0]")
    hostile(case, cluster, "future_end", "a[0]", "messages that do not come")
    hostile(case, cluster, "damaged_ring", "a[0]", "ring of ends is damaged")
    hostile(case, cluster, "closes_socket", "a[0]", "closed the connection to its daemon")
    hostile(case, cluster, "nonsense", "a[0]", "protocol")
    hostile(case, cluster, "wants_space", "a[0]", "segments")
    hostile(case, cluster, "claims_loss", "a[0]")
    hostile(case, cluster, "places_block", "a[0]", "block")
    hostile(case, cluster, "descriptors", code=None)
    case.wait_for(lambda: all(len(os.listdir(f"/proc/{d.pid}/fd")) < n + 64 for d, n in zip(cluster.daemons, descriptors)),
                  "the descriptors that came beside messages to be closed")


def nodes_of(case, endpoint):
    return sorted(line.split()[0].decode() for line in case.dagrun("nodes", "-n", endpoint).stdout.splitlines()[1:])


def name_server(case):
    ns = case.start(program("dagns"), "--listen", "tcp://127.0.0.1:*")
    return ns.stderr.readline().decode().split()[3]


def unnamed(case, endpoint):
    """A daemon that chooses its name itself, and that name."""
    d = case.start(program("dagd"), "-n", endpoint)
    line = d.stderr.readline().decode()
    check(line.startswith("dagd: node "), line)
    return d, line.split()[2]


@test
def names_stay_after_a_restart(case):
    endpoint = name_server(case)
    first, one = unnamed(case, endpoint)
    second, two = unnamed(case, endpoint)
    check(one != two, f"both are {one}")
    for d, name in ((second, two), (first, one)):
        case.wait_for(lambda: {one, two} <= set(nodes_of(case, endpoint)), "both nodes")
        spool = os.path.join(case.state, "dagrun", "spool", name)
        check(os.path.isdir(spool), f"no spool {spool}")
        d.kill()
        d.wait()
        again, name_again = unnamed(case, endpoint)
        check(name_again == name, f"{name} is {name_again} now")
        check(sorted(os.listdir(os.path.dirname(spool))) == sorted({one, two}), os.listdir(os.path.dirname(spool)))
    for bad in ("rack 7 node 1", "", ".x", "a/b", "n\033[2J", "x" * 64, "-x"):
        r = subprocess.run([program("dagd"), "-n", endpoint, "--node", bad], env=case.env, capture_output=True, timeout=patience(30))
        check(r.returncode == 2 and b"a name is made of letters" in r.stderr, f"{bad!r}: {r.returncode} {r.stderr}")


@test
def a_daemon_that_ends_is_not_listed(case):
    endpoint = name_server(case)
    first, one = unnamed(case, endpoint)
    second, two = unnamed(case, endpoint)
    case.wait_for(lambda: len(nodes_of(case, endpoint)) == 2, "both nodes")
    first.terminate()
    check(first.wait(patience(10)) == 0, "its exit code")
    begin = time.time()
    case.wait_for(lambda: nodes_of(case, endpoint) == [two], "the other to be alone")
    check(time.time() - begin < patience(2), "it was listed until it was missed")


@test
def state_without_a_home(case):
    case.write("g.yaml", ONE)
    env = {k: v for k, v in case.env.items() if k not in ("HOME", "XDG_STATE_HOME")}
    # Where nobody is known by this number, no folder is guessed.
    stranger = 54321
    if os.getuid() == 0:
        dagrun = as_anybody(case)
        for home in ({}, {"HOME": ""}, {"HOME": "here"}):
            r = subprocess.run([dagrun, "run", "g.yaml"], env={**env, **home}, cwd=case.dir, capture_output=True,
                               user=stranger, group=stranger, extra_groups=[], timeout=patience(60))
            check(r.returncode == 1 and b"XDG_STATE_HOME" in r.stderr, f"{home}: {r.returncode} {r.stderr}")
        check(not os.path.exists("/tmp/.local/state/dagrun/jobs"), "state went to /tmp")
    # Whose folder is not ours alone is refused, and says why.
    state = case.path("other")
    os.makedirs(os.path.join(state, "dagrun"))
    os.chmod(os.path.join(state, "dagrun"), 0o777)
    r = case.dagrun("run", "g.yaml", env=dict(env, XDG_STATE_HOME=state), rc=1)
    check(b"written to by others" in r.stderr and b"chmod" in r.stderr, r.stderr)
    os.rmdir(os.path.join(state, "dagrun"))
    os.symlink(case.dir, os.path.join(state, "dagrun"))
    r = case.dagrun("run", "g.yaml", env=dict(env, XDG_STATE_HOME=state), rc=1)
    check(b"is a link" in r.stderr, r.stderr)


@test
def a_cached_plugin_is_looked_at_again(case):
    """What lies in the cache under a plugin's hash, as long as it is, but is another: it is shipped again."""
    case.write("g.yaml", "stages: {s: {plugin: std, entry: sort}, a: {sh: 'seq 3'}}\nflow: [a >= s]\noutputs: {s: {file: '-'}}\n")
    cluster = Cluster(case, nodes=1)
    check(cluster.run("g.yaml").stdout == b"1\n2\n3\n", "its output")
    cached = glob.glob(case.path("spool0", "cache", "*"))
    check(cached, "nothing was shipped")
    size = os.path.getsize(cached[0])
    os.unlink(cached[0])  # a host may have it mapped
    with open(cached[0], "wb") as f:
        f.write(b"x" * size)
    check(cluster.run("g.yaml").stdout == b"1\n2\n3\n", "what lay in the cache was believed")


@test
def a_spool_that_cannot_be_read(case):
    spool = case.path("spool0")
    os.makedirs(spool, mode=0o700)
    for name in ("sealed", "sealed.new", "lock"):
        os.mkfifo(os.path.join(spool, name))
    os.makedirs(os.path.join(spool, "seg-1", "x"))
    cluster = Cluster(case, nodes=1)
    case.write("g.yaml", ONE)
    cluster.run("g.yaml")
    check(case.read("o.txt") == b"hi\n", "its output")


@test
def few_descriptors(case):
    """A node of 64 slots that may have 256 descriptors: it says so, runs fewer at a time, and all is right."""
    endpoint = name_server(case)
    d = case.start("sh", "-c", 'ulimit -n 256; exec "$@"', "sh", program("dagd"), "-n", endpoint, "--slots", "64", "--node", f"n0-{os.getpid()}",
                   "--spool", case.path("spool0"))
    check(b"ulimit -n" in d.stderr.readline(), "the limit is not told of")
    case.wait_for(lambda: nodes_of(case, endpoint), "the daemon to register")
    case.write("g.yaml", "stages: {a: {sh: 'seq {index}000 {index}999; sleep 0.2', width: 100}, b: {sh: 'wc -l', width: 50}}\n"
               "flow: [{from: a, to: b, pattern: '>>', partition: {by: hash, key: 1}}]\noutputs: {b: {file: '-'}}\n")
    r = case.dagrun("run", "-n", endpoint, "g.yaml", timeout=120)
    check(sum(map(int, r.stdout.split())) == 100000 and b"again" not in r.stderr, r.stderr)
    check(d.poll() is None, "the daemon ended")


@test
def shared_memory_of_the_dead(case):
    """A run and a daemon are killed, and their state folder is removed: the next daemon, or clean, removes the rest."""
    def left(word):
        return [p for p in glob.glob(f"/dev/shm/dagrun-{os.getuid()}/*{word}*") if os.path.exists(os.path.join(p, "lock"))]

    case.write("g.yaml", "stages: {a: {sh: 'seq 1000000; sleep 600'}}\noutputs: {a: {file: o.txt}}\n")
    for cleaner in ("clean", "daemon"):
        state = case.path("state-" + cleaner)
        p = case.start(program("dagrun"), "run", "g.yaml", env=dict(case.env, XDG_STATE_HOME=state))
        case.wait_for(lambda: glob.glob(os.path.join(state, "dagrun", "jobs", "*")), "the job")
        job = os.path.basename(glob.glob(os.path.join(state, "dagrun", "jobs", "*"))[0])
        case.wait_for(lambda: left(job), "its shared memory")
        p.kill()
        p.wait()
        case.dagrun("clean")
        check(left(job), "what could be resumed was removed")
        shutil.rmtree(state)
        if cleaner == "clean":
            case.dagrun("clean")
        else:
            Cluster(case, nodes=1)
        check(not left(job), f"{left(job)} is left after {cleaner}")
    for path in glob.glob(case.path(".dagrun-*")):
        os.unlink(path)  # of the outputs: without a state folder nobody knows of them


@test
def shared_memory_that_another_user_made(case):
    dagrun = as_anybody(case)
    user = 54322
    folder = f"/dev/shm/dagrun-{user}"
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o777)
    try:
        case.write("g.yaml", ONE)
        r = subprocess.run([dagrun, "run", "g.yaml"], env=dict(case.env, XDG_STATE_HOME=case.path("s")), cwd=case.dir, capture_output=True,
                           user=user, group=user, extra_groups=[], timeout=patience(60))
        check(r.returncode == 0 and case.read("o.txt") == b"hi\n", r.stderr)
        check(b"belongs to another user" in r.stderr and not os.listdir(folder), r.stderr)
    finally:
        shutil.rmtree(folder)


def memory_group(case, limit):
    """A control group of so many bytes; skips where there is none to be had."""
    for root, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = os.path.join(root, f"dagrun-test-{os.getpid()}")
        try:
            os.mkdir(group)
        except OSError:
            continue
        try:
            with open(os.path.join(group, name), "w") as f:
                f.write(str(limit))
            return group
        except OSError:
            os.rmdir(group)
    raise Skip("no control group can be made here")


def leave(case, group):
    def gone():
        try:
            os.rmdir(group)
        except OSError:
            return False
        return True
    case.wait_for(gone, "the control group to be empty")


@test
def in_a_container_memory_is_the_containers(case):
    if SANITIZED:
        raise Skip("a sanitizer needs more memory than this container has")
    group = memory_group(case, 100 << 20)
    try:
        prefix = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
        endpoint = name_server(case)
        small = case.start(program("dagd"), "-n", endpoint, "--node", f"n0-{os.getpid()}", "--slots", "1", "--spool", case.path("spool0"),
                           "--label", "size=small", prefix=prefix, stderr=subprocess.DEVNULL)
        case.start(program("dagd"), "-n", endpoint, "--node", f"n1-{os.getpid()}", "--slots", "2", "--spool", case.path("spool1"),
                   stderr=subprocess.DEVNULL)
        case.wait_for(lambda: len(nodes_of(case, endpoint)) == 2, "the daemons to register")
        check(b" 100.0 MiB " in case.dagrun("nodes", "-n", endpoint).stdout, "it offers more than it has")
        # More channel data than the group may have: the small one does its share, and lives.
        case.write("g.yaml", "stages: {a: {sh: \"seq -f '%.0f {index}' 700000\", width: 12}, b: {plugin: std, entry: cat, width: 6}, c: {sh: 'cat {in.0} | wc -l'}}\n"
                   "flow: [{from: a, to: b, pattern: '>>', partition: {by: hash, key: 1}}, {from: b, to: c}]\noutputs: {c: {file: '-'}}\n")
        r = case.dagrun("run", "-n", endpoint, "g.yaml", timeout=120)
        check(sum(map(int, r.stdout.split())) == 12 * 700000, r.stdout)
        check(small.poll() is None, "the daemon was killed")
        # What the kernel kills says so.
        case.write("k.yaml", "stages: {a: {program: [python3, -c, 'x = 1 << (8 * (300 << 20))'], retries: 0, labels: {size: small}}}\n"
                   "outputs: {a: {file: '-'}}\n")
        r = case.dagrun("run", "-n", endpoint, "k.yaml", rc=1)
        check(b"since the node's memory (100.0 MiB) was used up" in r.stderr, r.stderr)
        check(small.poll() is None, "the daemon was killed instead")
    finally:
        case.stop()
        leave(case, group)


@test
def a_disk_that_stands_still(case):
    """It stops the vertices that use it, for longer than a node may be silent, and not its daemon: no node is taken for dead, and the bytes are right."""
    image, folder, hidden = case.path("image"), case.path("disk"), case.path("hidden")
    os.mkdir(folder)
    os.mkdir(hidden)
    with open(image, "wb") as f:
        f.truncate(400 << 20)
    if not shutil.which("mkfs.ext4") or subprocess.run(["mkfs.ext4", "-q", "-F", image], capture_output=True).returncode or \
            subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True).returncode:
        raise Skip("no file system can be mounted from a file here")
    try:
        case.write("g.yaml", "stages:\n  a: {sh: 'for i in 1 2 3 4 5 6; do seq 1000000; sleep 0.2; done', width: 3}\n  b: {program: [md5sum]}\n"
                   "flow: [a >> b]\noutputs: {b: {file: '-'}}\n")
        case.write("h.yaml", "inputs: {t: {files: [big.txt, big.txt]}}\nstages: {c: {use: sort}}\nflow: [t >= c]\noutputs: {c: {file: '-'}}\n")
        case.write("big.txt", case.shell("seq -w 3000000"))
        # An input that the daemon does not see is sent to it, and goes where there is room; a script is sent to its cache.
        case.write("hidden/far.txt", case.shell("seq -w 2000000 4000000"))
        case.write("far.yaml", "inputs: {t: {files: [hidden/far.txt]}}\nstages:\n"
                   f"  d: {{sh: 'touch {case.path('reads')}; until test -e {case.path('go')}; do sleep 0.05; done; md5sum'}}\n"
                   "flow: [t >= d]\noutputs: {d: {file: '-'}}\n")
        case.write("script.sh", "echo from a script\n")
        case.write("s.yaml", "stages: {e: {program: [sh, script.sh]}}\noutputs: {e: {file: '-'}}\n")
        cluster = Cluster(case, nodes=0)
        d = case.start("unshare", "-m", "sh", "-c", f"mount -t tmpfs none {hidden} && exec \"$@\"", "sh",
                       program("dagd"), "--nameserver", cluster.endpoint, "--slots", "8", "--memory", "64MiB", "--node", f"n0-{os.getpid()}",
                       "--spool", os.path.join(folder, "spool"), stderr=subprocess.DEVNULL)
        case.wait_for(lambda: cluster.count() == 1, "the daemon to register")
        cluster.run("h.yaml")  # the plugin is there then
        jobs = [case.start(program("dagrun"), "run", "-n", cluster.endpoint, "g.yaml")]
        case.wait_for(lambda: any(os.path.getsize(s) for s in glob.glob(os.path.join(folder, "spool", "seg-*"))), "segments on the disk")
        jobs.append(case.start(program("dagrun"), "run", "-n", cluster.endpoint, "far.yaml"))
        case.wait_for(lambda: os.path.exists(case.path("reads")), "the far input's reader")
        subprocess.run(["fsfreeze", "-f", folder], check=True)
        try:
            case.write("go", "")
            jobs.append(case.start(program("dagrun"), "run", "-n", cluster.endpoint, "h.yaml"))  # which asks for new segments now
            jobs.append(case.start(program("dagrun"), "run", "-n", cluster.endpoint, "s.yaml"))
            for i in range(14):
                time.sleep(1)
                check(d.poll() is None, f"the daemon ended with {d.returncode}")
                nodes = case.dagrun("nodes", "-n", cluster.endpoint, rc=None)
                check(nodes.stdout.count(b" up ") == 1, f"after {i} s: {nodes.stdout + nodes.stderr}")
            check(all(j.poll() is None for j in jobs), "a job did not need the disk")
        finally:
            subprocess.run(["fsfreeze", "-u", folder], check=True)
        expected = (case.shell("for i in 1 2 3; do for j in 1 2 3 4 5 6; do seq 1000000; done; done | md5sum"),
                    case.shell("md5sum < hidden/far.txt"), 2 * case.read("big.txt"), b"from a script\n")
        for job, wanted in zip(jobs, expected):
            out, err = job.communicate(timeout=patience(60))
            check(job.returncode == 0 and out == wanted, err)
            check(b"gone" not in err and b"suspect" not in err and b"runs again" not in err, err)
        case.stop()
    finally:
        subprocess.run(["umount", folder], check=False)


@test
def a_run_on_one_machine_is_as_patient_as_its_disk(case):
    """Its daemon and its job manager wait for the disk together: neither takes the other for dead, and what runs goes on. Pretended by a clock that a call sets forward."""
    case.write("slow.c", r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
static _Atomic long jump, slow = -1;
static int opened(const char *name, const char *path, int flags, int mode)
{
	int fd = ((int (*)(const char *, int, int))dlsym(RTLD_NEXT, name))(path, flags, mode);
	if ((flags & O_CREAT) && strstr(path, "/slow/") && !strstr(path, "lock")) slow = fd;
	return fd;
}
static ssize_t written(const char *name, int fd, const void *bytes, size_t n, off_t at)
{
	if (fd == slow) jump = 100;
	return ((ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, name))(fd, bytes, n, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) { return written("pwrite", fd, bytes, n, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at) { return written("pwrite64", fd, bytes, n, at); }
#define MODE va_list args; va_start(args, flags); int mode = flags & O_CREAT ? va_arg(args, int) : 0; va_end(args)
int open(const char *path, int flags, ...) { MODE; return opened("open", path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE; return opened("open64", path, flags, mode); }
int clock_gettime(clockid_t clock, struct timespec *now)
{
	int r = ((int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime"))(clock, now);
	now->tv_sec += jump;
	return r;
}
""")
    if SANITIZED:
        raise Skip("a sanitizer wants to be the first library")
    case.shell("gcc -shared -fPIC slow.c -o slow.so; mkdir slow")
    case.write("g.yaml", "stages:\n  a: {sh: 'until test -e began; do sleep 0.02; done; echo a'}\n"
               "  c: {sh: 'echo x >> starts; touch began; until test -e go; do sleep 0.02; done; echo c'}\n"
               "outputs: {a: {file: 'slow/{index}.txt'}, c: {file: c.txt}}\n".replace("began", case.path("began"))
               .replace("starts", case.path("starts")).replace("test -e go", f"test -e {case.path('go')}"))
    p = case.start(program("dagrun"), "run", "--slots", "2", "g.yaml", env=dict(case.env, LD_PRELOAD=case.path("slow.so")))
    case.wait_for(lambda: any(os.path.getsize(f) for f in glob.glob(case.path("slow/.dagrun-2*"))), "the output's file")
    case.write("go", "")
    out, err = p.communicate(timeout=patience(60))
    check(p.returncode == 0 and case.read("slow/0.txt") == b"a\n" and case.read("c.txt") == b"c\n", f"{p.returncode} {err}")
    lasted = re.findall(rb", (\d+)\.\d+ s\n", err)
    check(case.read("starts") == b"x\n" and lasted and int(lasted[0]) >= 100, f"{case.read('starts')} {err}")


if __name__ == "__main__":
    main()
