# SPDX-License-Identifier: Apache-2.0
"""Four machines, as network namespaces with keys: nothing is shared but the programs; inputs are fetched from the submitting
side, and a machine's link goes down while a job runs."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

TAG = f"dg{os.getpid() % 10000}"


def ip(*args, ok=True):
    r = subprocess.run(["ip", *args], capture_output=True)
    if ok and r.returncode:
        raise Skip(f"network namespaces cannot be made here: ip {' '.join(args)}: {r.stderr.decode().strip()}")


class Machines:
    """Namespaces TAG0 … TAGn−1, 10.77.0.1 … n, joined by a bridge in the first."""

    def __init__(self, n):
        self.names = [f"{TAG}{i}" for i in range(n)]
        self.close()
        try:
            self.make()
        except BaseException:
            self.close()
            raise

    def make(self):
        for i, name in enumerate(self.names):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
            if not i:
                ip("-n", name, "link", "add", "name", "bridge0", "type", "bridge")
                ip("-n", name, "addr", "add", "10.77.0.1/24", "dev", "bridge0")
                ip("-n", name, "link", "set", "bridge0", "up")
                continue
            ip("-n", name, "link", "add", "name", "eth0", "type", "veth", "peer", "name", f"v{i}", "netns", self.names[0])
            ip("-n", self.names[0], "link", "set", f"v{i}", "master", "bridge0", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{i + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")

    def close(self):
        for name in self.names:
            ip("netns", "del", name, ok=False)

    def inside(self, i, hidden=None):
        """The command that runs another in machine i, perhaps where a folder is hidden behind an empty one."""
        enter = ["ip", "netns", "exec", self.names[i]]
        if hidden:
            enter += ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {hidden} && exec "$@"', "sh"]
        return enter


def cluster(case, machines, n):
    case.dagrun("keygen", "keys")
    os.mkdir(case.path("private"))
    case.start(program("dagns"), "--listen", "tcp://10.77.0.1:7700", "--keys", "keys", prefix=machines.inside(0), stderr=subprocess.DEVNULL)
    for i in range(1, n):
        case.start(program("dagd"), "--nameserver", "tcp://10.77.0.1:7700", "--keys", "keys", "--node", f"{TAG}n{i}", "--slots", "2",
                   "--spool", case.path(f"spool{i}"), prefix=machines.inside(i, case.path("private")), stderr=subprocess.DEVNULL)

    def up():
        r = subprocess.run([*machines.inside(0), program("dagrun"), "nodes", "-n", "tcp://10.77.0.1:7700", "--keys", "keys"], cwd=case.dir,
                           capture_output=True, env=case.env)
        return r.stdout.count(b" up ") == n - 1
    case.wait_for(up, "the daemons to register")


def run(case, machines, *args):
    return case.start(program("dagrun"), "run", "-n", "tcp://10.77.0.1:7700", "--keys", "keys", *args, prefix=machines.inside(0))


def words(case, size):
    data = subprocess.run([os.path.join(BUILD, "bench", "gen_text"), size, "5"], capture_output=True, check=True).stdout
    case.write("private/text.txt", data)
    case.dagrun("run", "-q", graph("wordcount"), "-p", "text=private/text.txt", "-p", "out=reference.tsv")


ARGS = [graph("wordcount"), "-p", "text=private/text.txt", "-p", "out=words.tsv"]


@test
def keys_and_inputs_that_only_the_submitter_has(case):
    machines = Machines(4)
    try:
        cluster(case, machines, 4)
        words(case, "5MiB")
        p = run(case, machines, *ARGS, "-p", "split=300KiB")
        out, err = p.communicate(timeout=patience(60))
        check(p.returncode == 0, err.decode())
        check(case.read("words.tsv") == case.read("reference.tsv"), "the counts differ")
        ip("netns", "exec", machines.names[1], "true")
        r = subprocess.run([*machines.inside(2), program("dagrun"), "nodes", "-n", "tcp://10.77.0.1:7700"], capture_output=True, env=case.env)
        check(r.returncode == 2 and b"needs --keys" in r.stderr, r.stderr)
        case.stop()
    finally:
        machines.close()


LISTENER = """import signal, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
s.bind(("eth0", 0))
seen = found = 0
def end(*args):
    print(seen, found)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("listening", flush=True)
while True:
    packet = s.recv(1 << 17)
    seen += len(packet)
    found += packet.count(sys.argv[1].encode())
"""


@test
def nobody_reads_along(case):
    """A pipe from machine to machine, and its result to the submitter: who listens on the wire hears them and finds no word."""
    size = 500_000 * len("nobody-shall-know\n")
    machines = Machines(3)
    try:
        cluster(case, machines, 3)
        case.write("g.yaml", f"""
stages:
  write: {{sh: "yes nobody-shall-know | head -c {size}", cpus: 2}}
  copy: {{sh: cat, cpus: 2}}
flow: [{{from: write, to: copy, channel: pipe}}]
outputs: {{copy: {{file: out.txt}}}}
""")
        p = case.start(sys.executable, "-c", LISTENER, "nobody-shall-know", prefix=machines.inside(1))
        check(p.stdout.readline() == b"listening\n", "the listener does not listen")
        r = run(case, machines, "g.yaml")
        out, err = r.communicate(timeout=patience(60))
        check(r.returncode == 0, err.decode())
        check(case.read("out.txt") == b"nobody-shall-know\n" * 500_000, "the output differs")
        p.terminate()
        seen, found = map(int, p.communicate(timeout=patience(10))[0].split())
        check(seen > size and not found, f"of {seen} bytes {found} words could be read")
        case.stop()
    finally:
        machines.close()


@test
def F21_a_link_goes_down(case):
    machines = Machines(4)
    try:
        cluster(case, machines, 4)
        words(case, "30MiB" if not SANITIZED else "8MiB")
        p = run(case, machines, *ARGS, "-p", "split=300KiB")
        case.wait_for(lambda: len(case.hosts()) >= 4, "hosts")
        time.sleep(0.2)
        ip("-n", machines.names[2], "link", "set", "eth0", "down")
        out, err = p.communicate(timeout=patience(120))
        check(p.returncode == 0, err.decode())
        check(case.read("words.tsv") == case.read("reference.tsv"), "the counts differ")
        case.stop()
    finally:
        machines.close()


if __name__ == "__main__":
    main()
