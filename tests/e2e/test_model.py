# SPDX-License-Identifier: Apache-2.0
"""The standard vertices beside a model of a few lines each: random records, keys, orders and splits, from MODEL_SEED (1) on, MODEL_RUNS
of them (200; a fifth of that where sanitizers make them slow)."""
import collections
import fractions
import glob
import os
import random
import re

from harness import *

WORDS = [b"", b"a", b"ab", b"abc", b"b", b"-3", b"10", b"9", b"2.5", b"x_y", b"\xff\xfe", b"zeta", b"0", b"-0", b"1e3", b"longlong",
         b"longlonglonglongkey1", b"longlonglonglongkey2", b"\x00z", b"+7"]
# Many are equal, and many differ where a double, 64 bits or 16 digits end.
NUMBERS = [b"1", b"01", b"1.0", b"1.", b"1.00", b"-1", b"-1.0", b"0", b"-0", b"00", b"-.0", b".5", b"0.50", b"-.5", b"0.1", b"0.2", b"10", b"9",
           b"9007199254740992", b"9007199254740993", b"-9007199254740993", b"9223372036854775807", b"-9223372036854775808", b"18446744073709551616",
           b"18446744073709551617", b"340282366920938463463374607431768211455", b"-340282366920938463463374607431768211456", b"0" * 30 + b"7",
           b"1234567890123456", b"1234567890123456.5", b"1234567890123456.25", b"12345678901234567", b"12345678901234568", b"-1234567890123456.5",
           b"1234567890123456789.0123456789012345678", b"0.0000000000000000000000000001", b"0.00000000000000000000000000012", b"999999999999999999",
           b"0." + b"0" * 140 + b"3", b"0." + b"0" * 140 + b"2", b"7" + b"0" * 140, b"8" + b"0" * 140, b"-" + b"9" * 60]
GENERAL = NUMBERS[:17] + [b"1e3", b"+1", b"1E3", b"1000", b"0x10", b"16", b"inf", b"-inf", b"Infinity", b"nan", b"-nan", b"1e-3", b"-1e300", b"0x.8p1"]
JUNK = [b"", b"abc", b"12abc", b"1,000", b"$5", b"--1", b"1.2.3", b".", b"-", b"- 1", b"1e", b"0x", b"1_0"]
FIXED = 12


class Keys:
    """What a vertex orders or groups by: its parameters, and what they mean."""

    def __init__(self, r, delimiter, ordered=True, types=()):
        self.delimiter = delimiter
        self.params = {}
        if delimiter != "fixed" and r.random() < .7:
            self.params["key"] = r.randint(0, 3)
        if r.random() < .3:
            self.params["from"] = r.randint(1, 12)
        if r.random() < .3:
            self.params["to"] = r.randint(self.params.get("from", 1), 20)
        self.type = r.choice((None, None, *types))
        if self.type:
            self.params["type"] = self.type
            if r.random() < .8:
                self.params["invalid"] = r.choice(("skip", "zero", "zero", "error"))
            if r.random() < .7:
                self.params.pop("from", 0)
                self.params.pop("to", 0)
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

    def value(self, record, key=None):
        """What it is ordered by; None where it is to be skipped."""
        text = self.of(record, key)
        return text if not self.type else number(text, self.type, self.params.get("invalid"))

    def never_fail(self):
        """What is sorted beforehand has numbers only, or what stands for them."""
        if self.type and self.params.get("invalid") not in ("skip", "zero"):
            self.params["invalid"] = "zero"

    def kept(self, records, key=None):
        return [record for record in records if self.value(record, key) is not None]

    def name(self, record):
        """The key as it is written."""
        return self.of(record) if not self.type else written(self.value(record)[1])

    def sorted(self, records, key=None):
        # Not reverse=True alone, which would turn equal ones round too.
        ordered = sorted(self.kept(records if self.params.get("order") != "desc" else records[::-1], key), key=lambda record: self.value(record, key))
        return ordered if self.params.get("order") != "desc" else ordered[::-1]


class NoNumber(Exception):
    pass


def number(text, kind="number", invalid=None):
    """(rank, number): ranks are nan, -inf, the numbers, inf."""
    m = re.fullmatch(rb"[ \t\n]*(-?(?:\d+\.?\d*|\.\d+))[ \t\r\n]*", text)
    if kind == "general":
        m = m or re.fullmatch(rb"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[ \t\r\n]*", text)
        word = re.fullmatch(rb"\s*([+-]?)(inf|infinity|nan)[ \t\r\n]*", text, re.I)
        if word:
            minus = word[1] == b"-"
            return (1 if word[2].lower() == b"nan" else 2 if minus else 4), 0
        if re.fullmatch(rb"\s*[+-]?0[xX][0-9a-fA-F.]+(?:[pP][+-]?\d+)?[ \t\r\n]*", text) and re.search(rb"[xX]\.?[0-9a-fA-F]", text):
            return 3, fractions.Fraction(float.fromhex(text.decode()))
    if m:
        return 3, fractions.Fraction(m[1].decode())
    if invalid in ("skip", "zero"):
        return (3, fractions.Fraction(0)) if invalid == "zero" else None
    raise NoNumber(text)


def written(x):
    """A decimal, exactly, with no zeros around it."""
    digits = 0
    while (x * 10 ** digits).denominator != 1:
        digits += 1
    text = str(abs(x * 10 ** digits).numerator).rjust(digits + 1, "0")
    text = text[:len(text) - digits] + ("." + text[len(text) - digits:] if digits else "")
    return (("-" if x < 0 else "") + text).encode()


def record_of(r, delimiter, kind=None):
    if kind:
        spelt = GENERAL if kind == "general" else NUMBERS
        words = [r.choice(JUNK[1:]) if r.random() < .02 else r.choice(spelt) if r.random() < .6 else
                 b"%d" % r.randint(-50, 50) if r.random() < .5 else b"%d.%d" % (r.randint(-9, 9), r.randint(0, 99)) for _ in range(r.randint(1, 4))]
        return (delimiter or r.choice((b" ", b"  ", b"\t"))).join(words)
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
        self.keys = Keys(self.r, self.delimiter, self.kind in ORDERED, () if self.delimiter == "fixed" else ("number", "general") if self.kind in GENERAL_TOO else
                         ("number",) if self.kind in TYPED else ())
        self.spelt = self.keys.type or ("number" if self.kind is total else None)
        self.records = [record_of(self.r, self.delimiter, self.spelt) for _ in range(self.r.choice((0, 1, 5, 100, 3000)))]
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
        try:
            want = want()
        except NoNumber:
            want = None
        if "t" not in self.inputs:
            self.write("t", self.records)
        self.case.write("g.yaml", "inputs: {" + ", ".join(f"{k}: {v}" for k, v in self.inputs.items()) +
                        f"}}\nstages: {{{stages}}}\nflow: [{flow}]\noutputs: {{{last}: {{file: out.txt}}}}\n")
        r = self.case.dagrun("run", "--slots", "2", "g.yaml", rc=None)
        if want is None:
            named = re.search(rb"record \d+ of input port [01].* is no number", r.stderr)
            return None if r.returncode == 1 and named else f"a record without a number: exit code {r.returncode}: {r.stderr}"
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
    return f"s: {{use: sort, params: {{{t.keys.text(**({'memory': memory} if memory else {}))}}}}}", "t >= s", "s", lambda: t.keys.sorted(t.records)


def ranges(t):
    t.write("t", t.records, split=t.r.choice(("1KiB", "4KiB", "64KiB")))
    by = ", ".join(("by: range", *filter(None, [t.keys.text()])))
    return (f"s: {{use: sort, width: {t.r.randint(1, 5)}, params: {{{t.keys.text()}}}}}",
            f"{{from: t, to: s, pattern: '>>', partition: {{{by}}}}}", "s", lambda: t.keys.sorted(t.records))


def merge(t):
    n = t.r.randint(1, 4)
    t.keys.never_fail()
    for i in range(n):
        t.write(f"t{i}", t.keys.sorted(t.records[i::n]))
    t.inputs = {"t": t.inputs["t0"].replace("in-t0.txt", "'in-t?.txt'")}
    # Of equal keys those of the first file come first.
    return (f"s: {{use: merge, params: {{{t.keys.text()}}}}}", "t >> s", "s",
            lambda: t.keys.sorted([record for i in range(n) for record in t.records[i::n]]))


def distinct(t):
    def want():
        first = {}
        for record in t.keys.kept(t.records):
            first.setdefault(t.keys.value(record), record)
        return list(first.values())
    return f"s: {{use: distinct, params: {{{t.keys.text()}}}}}", "t >= s", "s", want


def count(t):
    t.write("t", t.records, split="2KiB")
    return (f"c: {{use: count, params: {{{t.keys.text()}}}}}, s: {{use: sum, width: 3}}, m: {{use: sort}}",
            "t >= c, {from: c, to: s, pattern: '>>', partition: {by: hash}}, s >> m", "m",
            lambda: [key + b"\t%d" % n for key, n in sorted(collections.Counter(map(t.keys.name, t.keys.kept(t.records))).items())])


def total(t):
    value, sums = t.r.randint(1, 3), collections.defaultdict(fractions.Fraction)
    invalid = t.r.choice(("skip", "zero", "error"))

    def want():
        for record in t.records:
            n = number(t.keys.field(record, value), invalid=invalid)
            if n is not None:
                sums[t.keys.of(record)] += n[1]
        return [key + b"\t" + written(n) for key, n in sorted(sums.items())]
    return f"c: {{use: sum, params: {{{t.keys.text(value=value, invalid=invalid)}}}}}, m: {{use: sort}}", "t >= c, c >> m", "m", want


def top(t):
    n, order = t.r.choice((1, 3, 10, 1000)), t.r.choice(("asc", "desc", None))
    t.keys.params["order"] = order or "desc"
    text = t.keys.text(n=n) if order else t.keys.text(n=n).replace("order: desc, ", "")
    return f"s: {{use: top, params: {{{text}}}}}", "t >= s", "s", lambda: t.keys.sorted(t.records)[:n]


def head(t):
    n = t.r.choice((0, 1, 7, 10000))
    return f"s: {{use: head, params: {{n: {n}}}}}", "t >= s", "s", lambda: t.records[:n]


def cut(t):
    fields = [t.r.randint(1, 4) for _ in range(t.r.randint(1, 4))]
    t.keys.params = {}
    return (f"s: {{use: cut, params: {{{t.keys.text(fields=chr(34) + ','.join(map(str, fields)) + chr(34))}}}}}", "t >= s", "s",
            lambda: [(t.delimiter or b" ").join(t.keys.field(record, n) for n in fields) for record in t.records])


def split(t):
    return (f"s: {{use: split, params: {{n: {t.r.choice((1, 10, 700))}}}}}, c: {{use: cat, width: 3}}",
            "t >= s, {from: s, to: c, pattern: '>>', partition: {by: part}}", "c", lambda: t.records)


def join(t):
    right, kind, method = t.r.choice((0, 1, 2, 3)), t.r.choice(("inner", "left", "semi", "anti")), t.r.choice(("hash", "merge"))
    left, others = t.records[:300], [record_of(t.r, t.delimiter, t.spelt) for _ in range(t.r.choice((0, 1, 20, 60)))]
    t.keys.params.pop("order", 0)
    if method == "merge":
        t.keys.never_fail()
        t.keys.params["order"] = t.r.choice(("asc", "desc"))
        left, others = t.keys.sorted(left), t.keys.sorted(others, right)
    t.write("t", left)
    t.write("u", others)

    def want():
        partners, lines = collections.defaultdict(list), []
        for record in t.keys.kept(others, right):
            partners[t.keys.value(record, right)].append(record)
        for record in t.keys.kept(left):
            key = t.keys.name(record)
            of_key = partners.get(t.keys.value(record), [])
            if kind in ("inner", "left"):
                lines += [key + b"\t" + record + b"\t" + other for other in of_key or ([b""] if kind == "left" else [])]
            elif bool(of_key) == (kind == "semi"):
                lines.append(key + b"\t" + record)
        return lines
    return (f"s: {{use: join, params: {{{t.keys.text(kind=kind, method=method, right=right)}}}}}", "t >= s.0, u >= s.1", "s", want)


ORDERED = (sort, ranges, merge, top)
GENERAL_TOO = (*ORDERED, distinct)
TYPED = (count, join)
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
