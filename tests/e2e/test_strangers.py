# SPDX-License-Identifier: Apache-2.0
"""Who is not let in, what noise on the network costs, and what dagd and dagns say of it: other users of this machine, programs that
speak something else, one wrong byte, and what cannot be reached."""
import contextlib
import http.server
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *
from noise import Proxy

OK = "stages: {a: {sh: 'seq 3'}}\noutputs: {a: {file: out.txt}}\n"
THIEF = 20002


def nameserver(case, *args, listen="127.0.0.1:*"):
    p = case.start(program("dagns"), "--listen", listen, *args, stderr=open(case.path("dagns.log"), "ab"))
    case.wait_for(lambda: b"listening on" in case.read("dagns.log"), "the name server to listen")
    return p, [line for line in case.read("dagns.log").decode().splitlines() if "listening on" in line][-1].split()[3]


def daemon(case, endpoint, i=0, *args, env=None, **options):
    return case.start(program("dagd"), "--nameserver", endpoint, "--slots", "2", "--node", f"n{i}-{os.getpid()}", "--spool",
                      case.path(f"spool{i}"), *args, stderr=open(case.path(f"dagd{i}.log"), "ab"), env=env or case.env, **options)


def up(case, endpoint, *args):
    return case.dagrun("nodes", "-n", endpoint, *args, rc=None).stdout.count(b" up ")


def address(endpoint):
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    return host, int(port)


@test
def another_user_of_this_machine_gets_nothing(case):
    dagrun = as_anybody(case)
    case.write("g.yaml", "stages: {a: {sh: 'id > /tmp/stolen; id'}}\noutputs: {a: {file: '-'}}\n")
    _, endpoint = nameserver(case)
    daemon(case, endpoint)
    case.wait_for(lambda: up(case, endpoint) == 1, "the daemon to register")
    home = case.path("thief")
    os.mkdir(home)
    os.chown(home, THIEF, THIEF)
    env = dict(case.env, XDG_STATE_HOME=home, HOME=home)

    def become():
        os.setgroups([])
        os.setgid(THIEF)
        os.setuid(THIEF)

    for keys in ([], ["--keys", "none"], ["--keys", os.path.join(case.state, "dagrun/keys")]):
        for command in (["nodes"], ["run", case.path("g.yaml")]):
            r = subprocess.run([dagrun, *command, "-n", endpoint, *keys], env=env, cwd=home, capture_output=True, preexec_fn=become,
                               timeout=patience(60))
            check(r.returncode == 4 and not r.stdout, f"{command} {keys}: {r.returncode} {r.stdout} {r.stderr}")
    check(not os.path.exists("/tmp/stolen"), "the job ran")
    check(case.dagrun("run", "-n", endpoint, case.path("g.yaml")).stdout.startswith(b"uid=0"), "its owner gets nothing either")
    os.unlink("/tmp/stolen")


@test
def one_wrong_byte_costs_no_node(case):
    """Between daemon and name server, each way and kind: the node is never lost, and goes on working."""
    case.write("g.yaml", OK)
    _, endpoint = nameserver(case)
    proxy = Proxy(("127.0.0.1", 0), address(endpoint))
    daemon(case, "%s:%d" % proxy.address)
    case.wait_for(lambda: up(case, endpoint) == 1, "the daemon to register")
    for how in ("flip", "double", "drop", "cut"):
        for to_target in (True, False):
            connections = proxy.connections
            proxy.hurt(how, to_target)
            case.wait_for(lambda: proxy.connections > connections, f"the daemon to dial anew after {how} {to_target}")
            case.wait_for(lambda: up(case, endpoint) == 1, f"the node to be there after {how} {to_target}")
    check(proxy.hurts == 8, proxy.hurts)
    case.dagrun("run", "-n", endpoint, "g.yaml")
    proxy.close()


@test
def a_stranger_on_the_name_servers_port(case):
    """It answers in HTTP while the name server is away: the daemon says so, and comes back."""
    for keys in ([], ["--keys", "none"]):
        ns, endpoint = nameserver(case, *keys)
        d = daemon(case, endpoint, 0, *keys)
        case.wait_for(lambda: up(case, endpoint, *keys) == 1, "the daemon to register")
        ns.kill()
        ns.wait()
        stranger = socket.create_server(address(endpoint), reuse_port=False)
        stranger.settimeout(0.2)
        answered, end = 0, time.time() + 4
        while time.time() < end or not answered:
            try:
                s, _ = stranger.accept()
            except TimeoutError:
                continue
            answered += 1
            with s:
                s.sendall(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        stranger.close()
        case.wait_for(lambda: b"does not answer: " in case.read("dagd0.log"), "the daemon to say what is wrong")
        ns, again = nameserver(case, *keys, listen=endpoint)
        check(again == endpoint, again)
        case.wait_for(lambda: up(case, endpoint, *keys) == 1, "the daemon to come back")
        case.wait_for(lambda: b" answers\n" in case.read("dagd0.log"), "the daemon to say that it is well")
        for p in (d, ns):
            p.terminate()
            p.wait()
        for log in ("dagd0.log", "dagns.log"):
            os.unlink(case.path(log))


ACROSS = """
stages:
  a: {sh: "seq 200000", labels: {where: n0}}
  b: {sh: cat, labels: {where: n1}}
flow: [{from: a, to: b, channel: CHANNEL}]
outputs: {b: {file: out.txt}}
"""


def ports(case, endpoint, *args, name="n0"):
    """Of a node, as others dial it: control, requests for data, and answers to them."""
    node = [n for n in json.loads(case.dagrun("nodes", "-j", "-n", endpoint, *args).stdout) if n["node"].startswith(name)][0]
    host, control = address(node["control"])
    return [(host, int(p)) for p in (control, *node["data"].rsplit(":", 1)[1].split("+"))]


def pair(case, endpoint, *keys, extra=(), **options):
    started = [daemon(case, endpoint, i, *keys, "--label", f"where=n{i}", *(extra if not i else ()), **options) for i in range(2)]
    case.wait_for(lambda: up(case, endpoint, *keys) == 2, "the daemons to register")
    return started


def run_across(case, endpoint, *keys, channel="file"):
    case.write("g.yaml", ACROSS.replace("CHANNEL", channel))
    r = case.dagrun("run", "-n", endpoint, *keys, "g.yaml", rc=None)
    logs = b"".join(case.read(f"dagd{i}.log") for i in range(2))
    alive = [p.poll() for p in case.started]
    check(r.returncode == 0 and case.read("out.txt") == b"".join(b"%d\n" % i for i in range(1, 200001)), f"{r.returncode}: {r.stderr} {logs} {alive}")
    os.unlink(case.path("out.txt"))


@test
def one_wrong_byte_between_daemons_costs_seconds(case):
    """On each port of a node, each way and kind: jobs that read from it are right, soon."""
    for keys in ([], ["--keys", "none"]):
        ns, endpoint = nameserver(case, *keys)
        started = [ns, *pair(case, endpoint, *keys, extra=("--listen", "127.0.0.2", "--advertise", "127.0.0.3"))]
        proxies = [Proxy(port, ("127.0.0.2", port[1])) for port in ports(case, endpoint, *keys)]
        run_across(case, endpoint, *keys)
        for i, proxy in enumerate(proxies):
            for how in ("flip", "double", "drop"):
                for to_target in (True, False):
                    proxy.hurt(how, to_target)
                    begin = time.time()
                    run_across(case, endpoint, *keys, channel="pipe" if how == "flip" else "file")
                    check(soon(begin, 15), f"{keys} {i} {how} {to_target}: {time.time() - begin:.1f} s")
        for proxy in proxies:
            check(proxy.hurts, "nothing was damaged")
            proxy.close()
        for p in started:
            p.terminate()
            p.wait()
        os.unlink(case.path("dagns.log"))


def memory(p):
    with open(f"/proc/{p.pid}/status") as f:
        return int([line for line in f if line.startswith("VmRSS")][0].split()[1]) >> 10


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"%s" + bytes(32)
READY = b"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


def stranger(port, mechanism=b"NULL", hello=READY):
    """A connection that has said who it is, as far as it was let."""
    s = socket.create_connection(port, 5)
    s.sendall(GREETING % mechanism.ljust(20, b"\x00") + hello)
    return s


@test
def strangers_cost_no_memory(case):
    """Endless messages, endless parts and large frames from who has no keys: a daemon does not grow, and jobs are right meanwhile."""
    _, endpoint = nameserver(case)
    d, _ = pair(case, endpoint)
    run_across(case, endpoint)
    before = memory(d)
    plain = b"\x04\x08\x05HELLO\x00\x00"
    for port in ports(case, endpoint):
        for mechanism, hello in ((b"NULL", READY), (b"PLAIN", plain), (b"CURVE", b""), (b"PLAIN", READY)):
            for piece in (b"\x00\x00" * 4096, b"\x01\x00" * 4096, b"\x00\xfa" + bytes(250), b"\x02" + (12 << 20).to_bytes(8, "big") + bytes(1 << 16)):
                end = time.time() + 1
                with contextlib.suppress(OSError), stranger(port, mechanism, hello) as s:
                    s.settimeout(1)
                    while time.time() < end:
                        s.sendall(piece)
    check(memory(d) < before + 60, f"{before} MiB became {memory(d)}")
    run_across(case, endpoint)
    case.wait_for(lambda: b" ended before saying who is there" in case.read("dagd0.log"), "the daemon to tell of strangers")
    check(b" ended before saying who is there" in case.read("dagd0.log"), case.read("dagd0.log"))


@test
def strangers_take_no_descriptors(case):
    """More idle connections than a daemon may have descriptors, on each port in turn: it goes on, and works while they come and after."""
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    _, endpoint = nameserver(case)
    d, _ = pair(case, endpoint, preexec_fn=few)
    run_across(case, endpoint)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    for port in ports(case, endpoint):
        with contextlib.ExitStack() as held:
            for i in range(600):
                with contextlib.suppress(OSError):
                    held.enter_context(socket.create_connection(port, 0.2))
            run_across(case, endpoint)
        check(d.poll() is None, f"the daemon ended with {d.poll()}: {case.read('dagd0.log')}")
        run_across(case, endpoint)
    check(b"few file descriptors are left" in case.read("dagd0.log"), case.read("dagd0.log"))


@test
def daemons_say_what_they_cannot_reach(case):
    for name in ("ours", "theirs"):
        case.dagrun("keygen", name)
    _, keyless = nameserver(case, "--keys", "none")
    os.unlink(case.path("dagns.log"))
    _, keyed = nameserver(case, "--keys", "ours")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for i, (endpoint, keys, words) in enumerate((
                ("127.0.0.1:9", [], b"Connection refused"), ("127.0.0.1:9", ["--keys", "none"], b"Connection refused"),
                (keyed, [], b"keys"), (keyed, ["--keys", "theirs"], b"keys"), (keyed, ["--keys", "none"], b"it wants keys"),
                (keyless, [], b"--keys none"), ("127.0.0.1:%d" % silent.getsockname()[1], [], b"says nothing"))):
            started = time.time()
            p = daemon(case, endpoint, i, *keys)
            log = f"dagd{i}.log"
            case.wait_for(lambda: b"does not answer: " in case.read(log), f"{endpoint} {keys} to be told of")
            check(soon(started, 5), f"it took {time.time() - started:.1f} s to say so")
            check(words in case.read(log), case.read(log))
            p.terminate()
            p.wait()
            r = case.dagrun("nodes", "-n", endpoint, *keys, rc=4)
            check(b"does not answer: " in r.stderr and (words in r.stderr or words == b"says nothing"), r.stderr)


class NobodyAnswers:
    """A listener whose queue is full: who connects hears nothing, as behind a firewall."""

    def __enter__(self):
        self.server = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.held = [self.server]
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(self.server.getsockname())
            self.held.append(s)
        return self.server.getsockname()[1]

    def __exit__(self, *_):
        for s in self.held:
            s.close()


@test
def why_a_name_server_is_not_reached(case):
    """By address, name and IPv6: nobody, no such name, silence, a web server, a daemon in its place. Asked by `nodes`, `run` and `dagd`."""
    case.write("g.yaml", OK)
    case.dagrun("keygen", "keys")
    _, endpoint = nameserver(case, "--keys", "keys")
    d = daemon(case, endpoint, 0, "--keys", "keys")
    case.wait_for(lambda: b"listening on" in case.read("dagd0.log"), "the daemon")
    port = case.read("dagd0.log").split(b" listening on ")[1].split()[0].rsplit(b":", 1)[1].decode()
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        with NobodyAnswers() as filtered:
            asked = [("localhost:1", "Connection refused: nothing listens at that port"), ("no-such-host.invalid", "its name is not known here"), (f"127.0.0.1:{filtered}", "Connection timed out"),
                     (f"localhost:{web.server_address[1]}", "is it another program?"), (f"localhost:{port}", f"the dagd of node 'n0-{os.getpid()}' answers there, and not 'nameserver'")]
            with contextlib.suppress(OSError):
                socket.create_server(("::1", 0), family=socket.AF_INET6).close()
                asked.append(("[::1]:1", "Connection refused"))
            procs = []
            for i, (at, words) in enumerate(asked):
                procs.append((words, daemon(case, at, i + 1, "--keys", "keys"), f"dagd{i + 1}.log"))
            for at, words in asked:
                for args in (("nodes",), ("run", "g.yaml")):
                    err = case.dagrun(*args, "-n", at, "--keys", "keys", *(("--wait-for-nodes", "1") if args[0] == "run" else ()), rc=4).stderr.decode()
                    check(words in err or (words.startswith("its name") and "being looked up" in err), [at, args, err])
            for words, p, log in procs:
                case.wait_for(lambda: b"trying on" in case.read(log), f"{log} to tell")
                told = case.read(log).decode()
                check(words in told or (words.startswith("its name") and "is its name known" in told), told)
                p.terminate()
                p.wait()
    finally:
        web.shutdown()
        web.server_close()
    d.terminate()
    d.wait()


@test
def endpoints_and_versions(case):
    case.write("g.yaml", OK)
    for name in ("dagrun", "dagd", "dagns", "daghost"):
        r = subprocess.run([program(name), "--version"], capture_output=True, timeout=20)
        check(r.returncode == 0 and r.stdout.startswith(name.encode() + b" "), f"{name}: {r}")
    ns, endpoint = nameserver(case, listen="localhost:0")
    r = subprocess.run([program("dagns"), "--listen", endpoint], env=case.env, capture_output=True, timeout=20)
    check(r.returncode == 1 and b"Address already in use" in r.stderr, r)
    for bad in ("127.0.0.1:99999", "http://127.0.0.1", "10.0.0.256", "[::1"):
        for command in (["dagrun", "nodes", "-n"], ["dagd", "-n"], ["dagns", "-l"]):
            r = subprocess.run([program(command[0]), *command[1:], bad], env=case.env, capture_output=True, timeout=20)
            check(r.returncode == 2 and b"is no endpoint" in r.stderr, f"{command} {bad}: {r}")
    for args in (["-n", "10.0.0.1"], ["-n", "10.0.0.1", "--keys", "none"]):
        for command in (["dagd"], ["dagrun", "nodes"], ["dagrun", "run", "g.yaml"]):
            r = subprocess.run([program(command[0]), *command[1:], *args], env=case.env, cwd=case.dir, capture_output=True, timeout=20)
            check(r.returncode == 2 and b"needs --keys" in r.stderr, f"{command} {args}: {r}")
    port = endpoint.rsplit(":", 1)[1]
    case.env["DAGRUN_NAMESERVER"] = "localhost:" + port
    case.start(program("dagd"), "--spool", case.path("spool"), stderr=subprocess.DEVNULL)
    case.wait_for(lambda: case.dagrun("nodes", rc=None).stdout.count(b" up ") == 1, "the daemon to register")
    case.dagrun("run", "g.yaml")
    check(case.read("out.txt") == b"1\n2\n3\n", "the output differs")
    os.unlink(case.path("out.txt"))
    case.dagrun("run", "-n", "none", "g.yaml")
    check(case.read("out.txt") == b"1\n2\n3\n", "the output differs")


@test
def IPv6(case):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as e:
        raise Skip(f"no IPv6 here: {e}")
    case.write("g.yaml", "stages: {a: {sh: 'seq 3'}, b: {program: [cat]}}\nflow: [{from: a, to: b, channel: pipe}]\noutputs: {b: {file: out.txt}}\n")
    for keys in ([], ["--keys", "none"]):
        ns, endpoint = nameserver(case, *keys, listen="[::1]:0")
        started = [ns, *(daemon(case, endpoint, i, *keys, "--slots", "1") for i in range(2))]
        case.wait_for(lambda: up(case, endpoint, *keys) == 2, "the daemons to register")
        case.dagrun("run", "-n", endpoint, *keys, "g.yaml")
        check(case.read("out.txt") == b"1\n2\n3\n", "the output differs")
        for p in started:
            p.terminate()
            p.wait()
        os.unlink(case.path("dagns.log"))


if __name__ == "__main__":
    main()
