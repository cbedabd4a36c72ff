# SPDX-License-Identifier: Apache-2.0
"""The standard vertices beside a model of a few lines each: random records, keys, orders and splits, from MODEL_SEED (1) on, MODEL_RUNS
of them (200; a fifth of that where sanitizers make them slow)."""
import collections
import glob
import os
import random
import re

from harness import *

WORDS = [b"", b"a", b"ab", b"abc", b"b", b"-3", b"10", b"9", b"2.5", b"x_y", b"\xff\xfe", b"zeta", b"0", b"-0", b"1e3", b"longlong",
         b"longlonglonglongkey1", b"longlonglonglongkey2", b"\x00z", b"+7"]
FIXED = 12


class Keys:
    """What a vertex orders or groups by: its parameters, and what they mean."""

    def __init__(self, r, delimiter, ordered=True):
        self.delimiter = delimiter
        self.params = {}
        if delimiter != "fixed" and r.random() < .7:
            self.params["key"] = r.randint(0, 3)
        if r.random() < .3:
            self.params["from"] = r.randint(1, 12)
        if r.random() < .3:
            self.params["to"] = r.randint(self.params.get("from", 1), 20)
        if ordered and r.random() < .3:
            self.params["type"] = "number"
        if ordered and r.random() < .4:
            self.params["order"] = "desc"

    def text(self, **more):
        params = {**self.params, **more}
        if self.delimiter and self.delimiter != "fixed":
            params["delimiter"] = "tab" if self.delimiter == b"\t" else f"'{self.delimiter.decode()}'"
        return ", ".join(f"{k}: {v}" for k, v in params.items())

    def field(self, record, n):
        if n == 0:
            return record
        fields = record.split(self.delimiter) if self.delimiter else [f for f in re.split(rb"[ \t]+", record) if f]
        return fields[n - 1] if n <= len(fields) else b""

    def of(self, record, key=None):
        field = self.field(record, self.params.get("key", 0) if key is None else key)
        return field[self.params.get("from", 1) - 1:self.params.get("to")]

    def sorted(self, records, key=None):
        value = number if self.params.get("type") == "number" else bytes
        # Not reverse=True alone, which would turn equal ones round too.
        ordered = sorted(records if self.params.get("order") != "desc" else records[::-1], key=lambda record: value(self.of(record, key)))
        return ordered if self.params.get("order") != "desc" else ordered[::-1]


def number(text):
    m = re.match(rb"\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?)", text)
    return float(m.group()) if m else 0.0


def record_of(r, delimiter):
    if delimiter == "fixed":
        return bytes(r.choice((0, 49, 50, 97, 97, 98, 255)) for _ in range(FIXED))
    words = [r.choice(WORDS) if r.random() < .7 else str(r.randint(-50, 50)).encode() for _ in range(r.randint(1, 4))]
    return (delimiter or r.choice((b" ", b"  ", b"\t"))).join(words)


class Trial:
    """One run: its records are in `t`; what each of the functions below gives is the stages and flow behind it, the stage whose
    output counts, and what that must be."""

    def __init__(self, case, seed):
        self.case, self.r = case, random.Random(seed)
        self.kind = self.r.choice(KINDS)
        self.delimiter = self.r.choice((None, b",", b"\t", b";") + (("fixed",) * 2 if self.kind in ANY else ()))
        self.records = [record_of(self.r, self.delimiter) for _ in range(self.r.choice((0, 1, 5, 100, 3000)))]
        self.keys = Keys(self.r, self.delimiter, self.kind in ORDERED)
        self.inputs = {}
        for path in glob.glob(case.path("in-*.txt")):
            os.unlink(path)

    def write(self, name, records, **words):
        end = b"" if self.delimiter == "fixed" else b"\n"
        self.case.write(f"in-{name}.txt", b"".join(record + end for record in records))
        words = {"files": f"in-{name}.txt", **words}
        if self.delimiter == "fixed":
            words["format"] = f"{{fixed: {FIXED}}}"
        self.inputs[name] = "{" + ", ".join(f"{k}: {v}" for k, v in words.items()) + "}"

    def run(self):
        """What is wrong, or None."""
        stages, flow, last, want = self.kind(self)
        if "t" not in self.inputs:
            self.write("t", self.records)
        self.case.write("g.yaml", "inputs: {" + ", ".join(f"{k}: {v}" for k, v in self.inputs.items()) +
                        f"}}\nstages: {{{stages}}}\nflow: [{flow}]\noutputs: {{{last}: {{file: out.txt}}}}\n")
        r = self.case.dagrun("run", "--slots", "2", "g.yaml", rc=None)
        if r.returncode:
            refused = b"a tab in its key" in r.stderr and any(b"\t" in self.keys.of(record) for record in self.records)
            return None if refused else r.stderr.decode(errors="replace")
        out = self.case.read("out.txt")
        if self.delimiter == "fixed":
            got = [out[i:i + FIXED] for i in range(0, len(out), FIXED)]
        else:
            got = out.split(b"\n")[:-1]
        return None if got == want else f"{len(got)} of {len(want)} records, the first that differs " + \
            str(next((pair for pair in zip(got, want) if pair[0] != pair[1]), "at the end"))


def sort(t):
    memory = t.r.choice((None, "16KiB"))
    return f"s: {{use: sort, params: {{{t.keys.text(**({'memory': memory} if memory else {}))}}}}}", "t >= s", "s", t.keys.sorted(t.records)


def ranges(t):
    t.write("t", t.records, split=t.r.choice(("1KiB", "4KiB", "64KiB")))
    by = ", ".join(("by: range", *filter(None, [t.keys.text()])))
    return (f"s: {{use: sort, width: {t.r.randint(1, 5)}, params: {{{t.keys.text()}}}}}",
            f"{{from: t, to: s, pattern: '>>', partition: {{{by}}}}}", "s", t.keys.sorted(t.records))


def merge(t):
    n = t.r.randint(1, 4)
    for i in range(n):
        t.write(f"t{i}", t.keys.sorted(t.records[i::n]))
    t.inputs = {"t": t.inputs["t0"].replace("in-t0.txt", "'in-t?.txt'")}
    # Of equal keys those of the first file come first.
    return f"s: {{use: merge, params: {{{t.keys.text()}}}}}", "t >> s", "s", t.keys.sorted([record for i in range(n) for record in t.records[i::n]])


def distinct(t):
    first = {}
    for record in t.records:
        first.setdefault(t.keys.of(record), record)
    return f"s: {{use: distinct, params: {{{t.keys.text()}}}}}", "t >= s", "s", list(first.values())


def count(t):
    t.write("t", t.records, split="2KiB")
    counts = collections.Counter(map(t.keys.of, t.records))
    return (f"c: {{use: count, params: {{{t.keys.text()}}}}}, s: {{use: sum, width: 3}}, m: {{use: sort}}",
            "t >= c, {from: c, to: s, pattern: '>>', partition: {by: hash}}, s >> m", "m",
            [key + b"\t%d" % n for key, n in sorted(counts.items())])


def total(t):
    value, sums = t.r.randint(1, 3), collections.defaultdict(float)
    for record in t.records:
        sums[t.keys.of(record)] += number(t.keys.field(record, value))
    return (f"c: {{use: sum, params: {{{t.keys.text(value=value)}}}}}, m: {{use: sort}}", "t >= c, c >> m", "m",
            [key + b"\t%.15g" % (n + 0) for key, n in sorted(sums.items())])


def top(t):
    n = t.r.choice((1, 3, 10, 1000))
    return f"s: {{use: top, params: {{{t.keys.text(n=n)}}}}}", "t >= s", "s", t.keys.sorted(t.records)[:n]


def head(t):
    n = t.r.choice((0, 1, 7, 10000))
    return f"s: {{use: head, params: {{n: {n}}}}}", "t >= s", "s", t.records[:n]


def cut(t):
    fields = [t.r.randint(1, 4) for _ in range(t.r.randint(1, 4))]
    t.keys.params = {}
    return (f"s: {{use: cut, params: {{{t.keys.text(fields=chr(34) + ','.join(map(str, fields)) + chr(34))}}}}}", "t >= s", "s",
            [(t.delimiter or b" ").join(t.keys.field(record, n) for n in fields) for record in t.records])


def split(t):
    return (f"s: {{use: split, params: {{n: {t.r.choice((1, 10, 700))}}}}}, c: {{use: cat, width: 3}}",
            "t >= s, {from: s, to: c, pattern: '>>', partition: {by: part}}", "c", t.records)


def join(t):
    right, kind, method = t.r.choice((0, 1, 2, 3)), t.r.choice(("inner", "left", "semi", "anti")), t.r.choice(("hash", "merge"))
    left, others = t.records[:300], [record_of(t.r, t.delimiter) for _ in range(t.r.choice((0, 1, 20, 60)))]
    if method == "merge":
        t.keys.params["order"] = t.r.choice(("asc", "desc"))
        left, others = t.keys.sorted(left), t.keys.sorted(others, right)
    t.write("t", left)
    t.write("u", others)
    partners, want = collections.defaultdict(list), []
    for record in others:
        partners[t.keys.of(record, right)].append(record)
    for record in left:
        key = t.keys.of(record)
        of_key = partners.get(key, [])
        if kind in ("inner", "left"):
            want += [key + b"\t" + record + b"\t" + other for other in of_key or ([b""] if kind == "left" else [])]
        elif bool(of_key) == (kind == "semi"):
            want.append(key + b"\t" + record)
    return (f"s: {{use: join, params: {{{t.keys.text(kind=kind, method=method, right=right)}}}}}", "t >= s.0, u >= s.1", "s", want)


ORDERED = (sort, ranges, merge, top)
ANY = (sort, ranges, merge, top, distinct, head, split)
KINDS = (sort, ranges, merge, distinct, count, total, top, head, cut, split, join)


@test
def standard_vertices_beside_a_model(case):
    runs = int(os.environ.get("MODEL_RUNS", 200 // SLOW))
    first = int(os.environ.get("MODEL_SEED", 1))
    for seed in range(first, first + runs):
        trial = Trial(case, seed)
        wrong = trial.run()
        check(not wrong, f"seed {seed}: {trial.kind.__name__}: {wrong}\n{case.read('g.yaml').decode()}")


main()
