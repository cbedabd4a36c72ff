# SPDX-License-Identifier: Apache-2.0
"""Real processes under real faults, drawn by a seed. A supervisor starts a name server, daemons and job managers, in network
namespaces where it can make them, and kills, stops, cuts off, fills and damages; every record carries an id, and an auditor that
knows only inputs, outputs and the log counts what is lost, doubled or foreign. Prints TAP and, as comments, all that it did.

  chaos.py [--seconds N | --faults N] [--seed N] [--nodes N] [--records N] [--build DIR] [--log FILE]"""
import argparse
import collections
import glob
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEEP_RECORD = struct.Struct("<16xQII12xH2x")  # of daemon/keep.h: where an index lies, and the record's kind
KINDS = ["kill-daemon", "stop-daemon", "partition", "one-way", "cut", "kill-manager", "kill-nameserver", "fill-disk", "damage", "delete", "noise"]
JOB = """
name: chaos
inputs: {{t: {{files: "{dir}/in.txt", split: {split}}}}}
stages:
  one: {{plugin: std, entry: cat, retries: 50}}
  two: {{plugin: std, entry: cat, retries: 50}}
  three: {{plugin: std, entry: cat, retries: 50}}
  node: {{plugin: std, entry: cat, retries: 50}}
  spread: {{plugin: std, entry: cat, retries: 50}}
  slow: {{sh: "cat; sleep 0.{pause}", retries: 50}}
  sort: {{sh: "sort -n", width: {width}, retries: 50}}
flow:
  - t >= one >= two >= three >= slow
  - {{from: slow, to: node, groups: {{by: node, least: 2, most: 4}}}}
  - node >= spread
  - {{from: spread, to: sort, pattern: ">>", partition: {{by: hash, key: 1}}}}
outputs: {{sort: {{file: "{dir}/out/part{{index}}.txt"}}}}
"""


class Chaos:
    def __init__(self, args):
        self.args = args
        self.draw = random.Random(args.seed)
        self.dir = tempfile.mkdtemp(prefix="dagrun-chaos-")
        self.tag = f"dc{os.getpid() % 10000}"
        self.env = dict(os.environ, XDG_STATE_HOME=os.path.join(self.dir, "state"))
        self.did = collections.Counter()
        self.tried = collections.Counter()
        self.number = 0
        self.begin = time.time()
        self.log_file = open(args.log or os.path.join(self.dir, "log"), "w")
        self.daemons = [None] * args.nodes
        self.busy = {}  # node: until when it is not well
        self.heal = []  # (when, function)
        self.nameserver = self.manager = None
        self.spaces = self.make_spaces()
        self.disks = self.make_disks()
        self.address = "10.78.0.1" if self.spaces else "127.0.0.1"
        self.endpoint = f"tcp://{self.address}:{17000 + os.getpid() % 3000}"
        self.noisy = f"tcp://{self.address}:{21000 + os.getpid() % 3000}"  # what daemons dial

    def say(self, text):
        self.log_file.write(f"{time.time() - self.begin:9.3f} {text}\n")
        self.log_file.flush()

    # ---- machines ----

    def ip(self, *args):
        return subprocess.run(["ip", *args], capture_output=True).returncode == 0

    def make_spaces(self):
        hub = f"{self.tag}h"
        if not (self.ip("netns", "add", hub) and self.ip("-n", hub, "link", "set", "lo", "up") and
                self.ip("-n", hub, "link", "add", "name", "bridge0", "type", "bridge") and
                self.ip("-n", hub, "addr", "add", "10.78.0.1/24", "dev", "bridge0") and
                self.ip("-n", hub, "link", "set", "bridge0", "up")):
            self.ip("netns", "del", hub)
            return False
        for i in range(self.args.nodes):
            name = f"{self.tag}n{i}"
            self.ip("netns", "add", name)
            self.ip("-n", name, "link", "set", "lo", "up")
            self.ip("-n", name, "link", "add", "name", "eth0", "type", "veth", "peer", "name", f"v{i}", "netns", hub)
            self.ip("-n", hub, "link", "set", f"v{i}", "master", "bridge0", "up")
            self.ip("-n", name, "addr", "add", f"10.78.0.{i + 2}/24", "dev", "eth0")
            self.ip("-n", name, "link", "set", "eth0", "up")
        return True

    def make_disks(self):
        for i in range(self.args.nodes):
            folder = os.path.join(self.dir, f"spool{i}")
            os.mkdir(folder)
            if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,mode=0700", "none", folder], capture_output=True).returncode:
                return False
        return True

    def inside(self, where):
        return ["ip", "netns", "exec", f"{self.tag}{where}"] if self.spaces else []

    def program(self, name):
        return os.path.join(self.args.build, name)

    def spawn(self, where, *args, **options):
        return subprocess.Popen([*self.inside(where), *args], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=options.pop("stderr", subprocess.DEVNULL), **options)

    def keys(self):
        return ["--keys", os.path.join(self.dir, "keys")] if self.spaces else []

    def start_nameserver(self):
        self.named = time.time()
        self.nameserver = self.spawn("h", self.program("dagns"), "--listen", self.endpoint, *self.keys())

    def start_noise(self):
        words = [e.removeprefix("tcp://") for e in (self.noisy, self.endpoint)]
        self.noise_maker = subprocess.Popen([*self.inside("h"), sys.executable, os.path.join(SOURCE, "tests/e2e/noise.py"), *words],
                                            stdin=subprocess.PIPE, text=True)

    def start_daemon(self, i):
        self.daemons[i] = self.spawn(f"n{i}", self.program("dagd"), "--nameserver", self.noisy, "--slots", "2", "--node",
                                     f"{self.tag}n{i}", "--rack", f"r{i % 2}", "--spool", os.path.join(self.dir, f"spool{i}"), "--memory", "128MiB", *self.keys(), stderr=self.log_file)

    def node_files(self, i):
        return glob.glob(f"{self.dir}/spool{i}/seg-*") + glob.glob(f"/dev/shm/dagrun-{os.getuid()}/{self.tag}n{i}/seg-*")

    # ---- faults ----

    def later(self, seconds, function):
        self.heal.append((time.time() + seconds, function))

    def healthy(self):
        now = time.time()
        return [i for i in range(self.args.nodes) if self.busy.get(i, 0) < now]

    def fault(self):
        kinds = [k for k in KINDS if (self.spaces or k not in ("partition", "one-way", "cut")) and (self.disks or k != "fill-disk")]
        wanted = [k for k in kinds if self.did[k] < self.args.least.get(k, 0)]
        kind = self.draw.choice(wanted or kinds)
        well = self.healthy()
        if kind not in ("cut", "kill-manager", "kill-nameserver", "damage", "delete", "noise") and len(well) * 2 <= self.args.nodes:
            return  # more than a half must be well
        i = self.draw.choice(well) if well else 0
        self.tried[kind] += 1
        getattr(self, kind.replace("-", "_"))(i)

    def never_done(self):
        """A kind that is wanted and cannot be done would be tried for ever, and seem to be tested."""
        for kind in self.args.least:
            if self.tried[kind] > 50 and not self.did[kind]:
                return f"no {kind} could be done in {self.tried[kind]} tries"
        return None

    def note(self, kind, i, text=""):
        self.did[kind] += 1
        self.say(f"{kind} {i} {text}")

    def kill_daemon(self, i):
        wait = self.draw.uniform(0.2, 3)
        self.note("kill-daemon", i, f"{wait:.1f} s")
        self.daemons[i].kill()
        self.daemons[i].wait()
        self.busy[i] = time.time() + wait + 1
        self.later(wait, lambda: self.start_daemon(i))

    def stop_daemon(self, i):
        wait = self.draw.choice([self.draw.uniform(0.5, 4), self.draw.uniform(4, 14)])
        pid = self.daemons[i].pid
        self.note("stop-daemon", i, f"{wait:.1f} s")
        os.kill(pid, signal.SIGSTOP)
        self.busy[i] = time.time() + wait + 2
        self.later(wait, lambda: os.kill(pid, signal.SIGCONT))

    def partition(self, i):
        wait = self.draw.choice([self.draw.uniform(0.3, 3), self.draw.uniform(3, 14)])
        self.note("partition", i, f"{wait:.1f} s")
        self.ip("-n", f"{self.tag}h", "link", "set", f"v{i}", "down")
        self.busy[i] = time.time() + wait + 2
        self.later(wait, lambda: self.ip("-n", f"{self.tag}h", "link", "set", f"v{i}", "up"))

    def one_way(self, i):
        """What the node sends to the hub goes nowhere; what comes arrives."""
        wait = self.draw.uniform(0.5, 14)
        self.note("one-way", i, f"{wait:.1f} s")
        self.ip("-n", f"{self.tag}n{i}", "route", "add", "blackhole", "10.78.0.1/32")
        self.busy[i] = time.time() + wait + 2
        self.later(wait, lambda: self.ip("-n", f"{self.tag}n{i}", "route", "del", "blackhole", "10.78.0.1/32"))

    def cut(self, i):
        """Resets every connection that the node has, wherever in a message it is."""
        self.note("cut", i)
        subprocess.run([*self.inside(f"n{i}"), "ss", "-K", "state", "established"], capture_output=True)

    def noise(self, _):
        """Once, a byte between some daemon and the name server is another, twice there, missing, or the last of its connection."""
        how, way = self.draw.choice(["flip", "double", "drop", "cut"]), self.draw.choice(["to", "from"])
        self.note("noise", "", f"{how} {way}")
        self.noise_maker.stdin.write(f"{how} {way}\n")
        self.noise_maker.stdin.flush()

    def kill_manager(self, _):
        if self.manager and self.manager.poll() is None:
            self.note("kill-manager", "")
            self.manager.kill()

    def kill_nameserver(self, _):
        # A job that starts asks it for five seconds.
        if self.nameserver.poll() is None and time.time() - self.named > 4:
            wait = self.draw.uniform(0.1, 4)
            self.note("kill-nameserver", "", f"{wait:.1f} s")
            self.nameserver.kill()
            self.nameserver.wait()
            self.later(wait, self.start_nameserver)

    def fill_disk(self, i):
        wait = self.draw.uniform(0.5, 4)
        path = os.path.join(self.dir, f"spool{i}", "filler")
        self.note("fill-disk", i, f"{wait:.1f} s")
        try:
            with open(path, "wb") as f:
                while True:
                    f.write(bytes(4 << 20))
                    f.flush()
        except OSError:
            pass
        self.busy[i] = time.time() + wait
        self.later(wait, lambda: os.path.exists(path) and os.unlink(path))

    def sealed(self, i):
        """(file, offset, length) of each index and block that the daemon has sealed."""
        places = []
        where = lambda segment: next((p for p in (f"/dev/shm/dagrun-{os.getuid()}/{self.tag}n{i}/seg-{segment}",
                                                  f"{self.dir}/spool{i}/seg-{segment}") if os.path.exists(p)), None)
        try:
            with open(f"{self.dir}/spool{i}/sealed", "rb") as f:
                records = f.read()
            for at in range(0, len(records) - KEEP_RECORD.size + 1, KEEP_RECORD.size):
                offset, segment, length, kind = KEEP_RECORD.unpack_from(records, at)
                path = where(segment)
                if kind != 1 or not path:
                    continue
                places.append((path, offset, length))
                with open(path, "rb") as f:
                    f.seek(offset)
                    index = f.read(length)
                magic, _, streams, parts, blocks, _ = struct.unpack_from("<6I", index)
                for b in range(blocks if magic == 0x64616769 else 0):
                    segment, _, offset, length, _ = struct.unpack_from("<IIQII", index, 24 + 8 * streams + 40 * parts + 24 * b)
                    if where(segment):
                        places.append((where(segment), offset, length))
        except (OSError, struct.error):
            pass
        return places

    def damage(self, i):
        """Bits of what is sealed: before that a flipped bit is the vertex's own, as in any program's memory."""
        places = self.sealed(i)
        if not places:
            return
        path, offset, length = self.draw.choice(places)
        self.note("damage", i, f"{path} {offset} {length}")
        try:
            with open(path, "r+b") as f:
                at = offset + self.draw.randrange(max(length, 1))
                f.seek(at)
                byte = f.read(1)
                f.seek(at)
                f.write(bytes([byte[0] ^ 1 << self.draw.randrange(8)]))
        except (OSError, IndexError):
            pass

    def delete(self, i):
        files = self.node_files(i)
        if files:
            path = self.draw.choice(files)
            self.note("delete", i, path)
            try:
                os.unlink(path)
            except OSError:
                pass

    # ---- jobs ----

    def tend(self):
        """Heals what is due; keeps everything but the job manager up."""
        now = time.time()
        for item in [h for h in self.heal if h[0] <= now]:
            self.heal.remove(item)
            item[1]()

    def heal_all(self):
        for _, function in self.heal:
            function()
        self.heal = []

    def job_id(self):
        names = [n for n in os.listdir(f"{self.dir}/state/dagrun/jobs") if not os.path.exists(f"{self.dir}/state/dagrun/jobs/{n}/ended")]
        return max(names) if names else None

    def start_manager(self, first):
        job = None if first else self.job_id()
        args = ["resume", job] if job else ["run", "-n", self.endpoint, *self.keys(), f"{self.dir}/job.yaml"]
        self.say("manager: " + " ".join(args))
        self.manager = self.spawn("h", self.program("dagrun"), *args, stderr=self.log_file)

    def run_job(self, number):
        records = self.args.records
        with open(f"{self.dir}/in.txt", "w") as f:
            subprocess.run(["seq", str(number * records + 1), str((number + 1) * records)], stdout=f, check=True)
        size = os.path.getsize(f"{self.dir}/in.txt")
        with open(f"{self.dir}/job.yaml", "w") as f:
            f.write(JOB.format(dir=self.dir, split=max(size // 24, 65536), pause=self.draw.randrange(1, 9), width=6))
        shutil.rmtree(f"{self.dir}/out", ignore_errors=True)
        self.start_manager(True)
        began = time.time()
        next_fault = time.time() + self.draw.uniform(0.2, 1)
        while True:
            time.sleep(0.02)
            self.tend()
            for i, d in enumerate(self.daemons):
                if d.poll() is not None and d.returncode != -signal.SIGKILL:
                    return f"the daemon of node {i} ended by itself: {d.returncode}"
            if self.manager.poll() is not None:
                if self.manager.returncode == 0:
                    break
                if self.manager.returncode > 0:
                    return f"job {number} failed with {self.manager.returncode}; see the log"
                time.sleep(self.draw.uniform(0, 0.5))
                self.start_manager(False)
            if time.time() - began > self.args.patience:
                return f"job {number} hangs for {self.args.patience} s"
            if time.time() > next_fault and not self.is_over():
                self.fault()
                next_fault = time.time() + self.draw.uniform(0.1, self.args.every)
        return self.audit(number)

    def audit(self, number):
        """Knows the ids that went in and what came out."""
        records = self.args.records
        paths = glob.glob(f"{self.dir}/out/part*.txt")
        merged = subprocess.run(["sort", "-n", *paths], capture_output=True, check=True).stdout
        with open(f"{self.dir}/in.txt", "rb") as f:
            if merged == f.read():
                self.say(f"job {number}: {records} records are all there, once")
                return None
        got = collections.Counter(merged.split())
        want = {str(i).encode() for i in range(number * records + 1, (number + 1) * records + 1)}
        lost, doubled = len(want - set(got)), sum(1 for v in got.values() if v > 1)
        return f"job {number}: {lost} records lost, {doubled} doubled, {len(set(got) - want)} foreign"

    def is_over(self):
        if self.args.faults:
            return self.number >= self.args.jobs and sum(self.did.values()) >= self.args.faults and all(self.did[k] >= n for k, n in self.args.least.items())
        return time.time() - self.begin > self.args.seconds

    # ---- the end ----

    def leftovers(self):
        left = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as f:
                    line = f.read()
                with open(os.path.dirname(path) + "/environ", "rb") as f:
                    if self.dir.encode() in f.read() and b"dag" in line and b"chaos" not in line:
                        left.append(line.replace(b"\0", b" ").decode())
            except OSError:
                pass
        left += glob.glob(f"/dev/shm/dagrun-{os.getuid()}/{self.tag}n*/seg-*")
        left += [p for p in glob.glob(f"{self.dir}/**/.*", recursive=True) if ".dagrun-" in p]
        left += glob.glob(f"{self.dir}/spool*/seg-*")
        return left

    def held(self):
        """What daemons have open of jobs that have ended, after the lease of one that could not be told: stages, hosts, what they read."""
        end, held = time.time() + 40, []
        while time.time() < end:
            held = []
            for d in self.daemons:
                for path in glob.glob(f"/proc/{d.pid}/fd/*"):
                    try:
                        name = os.readlink(path)
                        held += [f"daemon {d.pid}: {name}"] * any(w in name for w in ("/seg-", "memfd:", "[pidfd]"))
                    except OSError:
                        pass
            if not held:
                break
            time.sleep(0.2)
        return held

    def stop(self):
        self.heal_all()
        for p in [self.manager, self.nameserver, *self.daemons]:
            if p and p.poll() is None:
                p.send_signal(signal.SIGCONT)
                p.terminate()
        self.noise_maker.stdin.close()
        self.noise_maker.wait(10)
        for p in [self.manager, self.nameserver, *self.daemons]:
            if p:
                try:
                    p.wait(15)
                except subprocess.TimeoutExpired:
                    p.kill()
                    p.wait()
                    return ["a process did not end on SIGTERM"]
        time.sleep(0.3)
        return self.leftovers()

    def close(self):
        for i in range(self.args.nodes):
            subprocess.run(["umount", "-l", f"{self.dir}/spool{i}"], capture_output=True)
            self.ip("netns", "del", f"{self.tag}n{i}")
        self.ip("netns", "del", f"{self.tag}h")
        self.log_file.close()
        for folder in glob.glob(f"/dev/shm/dagrun-{os.getuid()}/{self.tag}n*"):
            shutil.rmtree(folder, ignore_errors=True)

    def run(self):
        if self.spaces:
            subprocess.run([self.program("dagrun"), "keygen", os.path.join(self.dir, "keys")], check=True, capture_output=True)
        self.start_nameserver()
        self.start_noise()
        for i in range(self.args.nodes):
            self.start_daemon(i)
        number, wrong = 0, None
        while not wrong and (not number or not self.is_over()):
            wrong = self.run_job(number) or self.never_done()
            number += not wrong
            self.number = number
        self.heal_all()
        time.sleep(1)  # a daemon that was healed just now should know what SIGTERM means
        held = self.held()
        left = held + self.stop()
        return number, wrong, left


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--faults", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="with --faults: so many jobs at least")
    parser.add_argument("--least", default="", help="kind=N,…: so many of a kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--records", type=int, default=400000)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between faults, at most")
    parser.add_argument("--patience", type=float, default=240)
    parser.add_argument("--build", default=os.environ.get("DAGRUN_BUILD", os.path.join(SOURCE, "build")))
    parser.add_argument("--log")
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    args.seed = args.seed or random.SystemRandom().randrange(1, 1 << 31)
    args.least = {k: int(v) for k, v in (pair.split("=") for pair in args.least.split(",") if pair)}
    if os.geteuid() == 0 and not os.environ.get("DAGRUN_CHAOS_INSIDE"):
        # Mounts of our own, which go when we do.
        inner = subprocess.run(["unshare", "-m", "--propagation", "private", "true"], capture_output=True)
        if inner.returncode == 0:
            os.environ["DAGRUN_CHAOS_INSIDE"] = "1"
            os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, __file__, *sys.argv[1:], "--seed", str(args.seed)])
    print(f"1..1\n# seed {args.seed}", flush=True)
    chaos = Chaos(args)
    try:
        number, wrong, left = chaos.run()
        ok = not wrong and not left
        print(f"# {time.time() - chaos.begin:.0f} s, {args.nodes} daemons, {number} jobs, {number * args.records} records: "
              f"{'nothing lost, doubled or foreign' if not wrong else wrong}")
        print(f"# {sum(chaos.did.values())} faults: " + ", ".join(f"{chaos.did[k]} {k}" for k in KINDS))
        for text in left:
            print(f"# left behind: {text}")
        if not ok:
            log = args.log or os.path.join(chaos.dir, "log")
            print(f"# the log: {log}")
            with open(log, errors="replace") as f:
                for line in f.readlines()[-40:]:
                    print("# " + line.rstrip())
    finally:
        chaos.stop()
        chaos.close()
    if ok:
        shutil.rmtree(chaos.dir, ignore_errors=True)
    print(f"{'ok' if ok else 'not ok'} 1 - chaos", flush=True)
    return not ok


if __name__ == "__main__":
    sys.exit(main())
