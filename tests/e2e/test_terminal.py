# SPDX-License-Identifier: Apache-2.0
"""What a person sees on a terminal: a real one (tmux), of several sizes, that changes its size while a job runs."""
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

END = "ALL IS OVER"


class Terminal:
    def __init__(self, case, columns, rows):
        if not shutil.which("tmux"):
            raise Skip("tmux is missing")
        self.case = case
        self.socket = case.path(f"tmux-{columns}-{rows}")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), "env", "PS1=", "sh")
        self.tmux("set-option", "-g", "window-size", "manual")

    def tmux(self, *args):
        return subprocess.run(["tmux", "-S", self.socket, *args], env=dict(self.case.env, LC_ALL="C.UTF-8"), cwd=self.case.dir, capture_output=True,
                              check=True).stdout.decode()

    def type(self, text):
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self):
        """All lines, those that scrolled away too."""
        return [line.rstrip() for line in self.tmux("capture-pane", "-p", "-S", "-").rstrip().split("\n")]

    def run(self, command, between=lambda terminal: None):
        self.type(f"clear; {command}; echo {END.replace(' ', '_')} | tr _ ' '")
        between(self)
        self.case.wait_for(lambda: END in self.screen(), "the end: " + "\n".join(self.screen()))
        lines = self.screen()
        begin = max([i for i, line in enumerate(lines) if line.startswith("clear;")] + [-1]) + 1
        return [line for line in lines[begin:lines.index(END)] if "_" not in line or "stage" in line]

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True)


def graph_of(stages, sleep=0.15):
    names = [f"a_stage_with_a_long_name_{i}" for i in range(stages)]
    return ("stages:\n" + "".join(f"  {n}: {{sh: 'sleep {sleep}; echo {i}', width: 3}}\n" for i, n in enumerate(names)) +
            "outputs: {" + names[-1] + ": {file: '-'}}\n")


def see(case, columns, rows, stages, between=lambda terminal: None, sleep=0.15):
    case.write("g.yaml", graph_of(stages, sleep))
    terminal = Terminal(case, columns, rows)
    try:
        return terminal.run(f"{program('dagrun')} run --slots 2 g.yaml", between)
    finally:
        terminal.close()


def check_result(lines, stages):
    """The result, the summary, and nothing of what was drawn."""
    check(lines[:3] == [str(stages - 1)] * 3, lines)
    text = "".join(lines[3:])
    check(text.startswith("dagrun: job ") and f"{stages * 3} vertices" in text.replace("\n", ""), lines)
    check("running" not in text and "waiting" not in text, lines)


@test
def a_result_stays_on_the_screen(case):
    for columns, rows in ((80, 24), (200, 50), (40, 10), (30, 4), (60, 3)):
        check_result(see(case, columns, rows, 4), 4)


@test
def more_stages_than_rows(case):
    seen = []

    def look(terminal):
        case.wait_for(lambda: any("more stages" in line for line in terminal.screen()), "the stages that have no line")
        seen.append(terminal.screen())

    check_result(see(case, 70, 12, 30, look, 0.05), 30)
    drawn = [line for line in seen[0] if "…" in line]
    check(1 <= len(drawn) <= 4 and all("running" in line for line in drawn[:1]), seen[0])


@test
def a_terminal_that_changes_its_size(case):
    def change(terminal):
        for columns, rows in ((60, 20), (41, 20), (100, 30), (45, 12), (80, 24), (42, 10), (120, 40)):
            case.wait_for(lambda: any(" s: " in line for line in terminal.screen()), "something to be drawn")
            terminal.resize(columns, rows)
            time.sleep(0.4)

    check_result(see(case, 80, 24, 6, change, 0.7), 6)


@test
def a_message_stands_above_what_is_drawn(case):
    case.write("g.yaml", "stages: {fails: {sh: 'sleep 0.6; [ -e once$DAGRUN_INDEX ] && exit 0; exit 3'}, other: {sh: 'sleep 1.5'}}\n")
    terminal = Terminal(case, 50, 10)
    try:
        lines = terminal.run(f"{program('dagrun')} run g.yaml")
    finally:
        terminal.close()
    text = "".join(lines)
    check("fails[0] attempt 1" in text and "running" not in text and not re.search(r"\d s: \d", text), lines)


@test
def no_stranger_moves_the_cursor(case):
    """What a program says, and what files are called, in each command that prints it."""
    evil = "\x1b]0;pwned\x07\x1b[2J\xe2\x80\xae"
    case.write("say", b"\x1b]0;pwned\x07\x1b[2J\xc2\x9b2J\xe2\x80\xaeabc\xff\n")
    case.write("g.yaml", "params: {name: {default: out}}\nstages: {a: {sh: 'cat SAY >&2; exit 3'}}\noutputs: {a: {file: '${name}'}}\n"
               .replace("SAY", case.path("say")))
    name = "x" + evil.encode("latin-1").decode("utf-8")
    said = [case.dagrun("run", "g.yaml", "-p", "name=" + name, rc=1)]
    job = job_id(case)
    said += [case.dagrun(*words, rc=None) for words in (["jobs"], ["jobs", job], ["plan", "g.yaml", "-p", "name=" + name], ["resume", job], ["check", name])]
    said.append(case.dagrun("jobs", "--json"))
    for r in said:
        for text in (r.stdout, r.stderr):
            check(not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]", text), (r.args, text))
    check(b"abc" in said[0].stderr and b"pwned" in said[0].stderr, said[0].stderr)
    check(b"pwned" in said[3].stdout, said[3].stdout)


@test
def what_jobs_says(case):
    """The list has a reason a line, without the stderr; a job that somebody ended is cancelled; all of it as JSON too, whatever bytes were said."""
    case.write("f.yaml", "stages: {a: {sh: 'printf \"%s\\\\n\" one two; printf \"\\\\377\" >&2; seq 100 >&2; exit 3', retries: 0}}\n")
    case.write("s.yaml", f"stages: {{a: {{sh: 'echo > {case.path('runs')}; sleep 100'}}}}\n")
    case.dagrun("run", "-q", "f.yaml", rc=1)
    failed = job_id(case)
    p = case.start(program("dagrun"), "run", "s.yaml")
    case.wait_for(lambda: os.path.exists(case.path("runs")), "the vertex")
    p.terminate()
    p.wait(patience(20))
    lines = case.dagrun("jobs").stdout.decode().splitlines()
    check(len(lines) == 4 and " failed " in lines[1] and "exit code 3" in lines[2] and "stderr" not in lines[2] and " cancelled " in lines[3], lines)
    states = {j["job"]: j["state"] for j in json.loads(case.dagrun("jobs", "--json").stdout)}
    check(sorted(states.values()) == ["cancelled", "failed"], states)
    job = json.loads(case.dagrun("jobs", "--json", failed).stdout)
    check(job["state"] == "failed" and "exit code 3" in job["reason"] and job["stages"][0]["stage"] == "a" and job["stages"][0]["failed"] == 1, job)


@test
def what_vertices_say_is_kept(case):
    """A tool's warning is in a file of the job, also where its vertex ends well, and the last line says so."""
    case.write("g.yaml", "stages:\n  warn: {sh: 'echo \"careful $DAGRUN_INDEX\" >&2; printf \"a\\033[2Jb\" >&2; echo x', width: 3}\n"
               "  quiet: {sh: 'cat; echo y'}\nflow: ['warn >> quiet']\noutputs: {quiet: {file: '-'}}\n")
    r = case.dagrun("run", "--slots", "1", "g.yaml")
    last = r.stderr.decode().splitlines()[-1]
    path = os.path.join(case.state, "dagrun", "jobs", job_id(case), "stderr")
    check(last.startswith("dagrun:   3 vertices wrote ") and last.endswith("; the last lines of each are in " + path), r.stderr)
    said = case.read(path).decode()
    check(all(f"== warn[{i}] attempt 1 on local, " in said and f"careful {i}\na?[2Jb\n" in said for i in range(3)) and "quiet" not in said, said)
    check(path in case.dagrun("jobs", job_id(case)).stdout.decode(), "jobs does not say where it is")
    case.write("g.yaml", "stages: {a: {sh: 'echo x'}}\noutputs: {a: {file: '-'}}\n")
    check(b"stderr" not in case.dagrun("run", "g.yaml").stderr, "nothing was written to stderr")


@test
def failures_that_are_alike_are_told_once(case):
    """However many vertices fail in the same words, and whatever their numbers; with the last lines of one's stderr."""
    case.write("g.yaml", "stages:\n  thumb:\n    width: 40\n    retries: 1\n    sh: |\n      seq 100 >&2\n"
               "      [ -e AT$DAGRUN_INDEX ] && exit 0\n      touch AT$DAGRUN_INDEX\n      exit 5\n".replace("AT", case.path("at")))
    err = case.dagrun("run", "--slots", "8", "g.yaml").stderr.decode()
    check(len(re.findall("thumb failed alike", err)) in (1, 2, 3) and "vertices of thumb failed alike; the first: thumb[" in err, err)
    check(err.count("its stderr ended:") == 1 and "\n    81\n" in err and "\n    100\n" in err and "\n    80\n" not in err, err)
    counts = [int(n) for n in re.findall(r"(\d+) (?:more )?vertices of thumb", err)]
    check(sum(counts) == 40, err)
    case.write("g.yaml", "stages: {one: {sh: 'exit 5', retries: 0}}\n")
    err = case.dagrun("run", "g.yaml", rc=1).stderr.decode()
    check("alike" not in err and "exit code 5" in err, err)


if __name__ == "__main__":
    main()
