# SPDX-License-Identifier: Apache-2.0
"""Outputs that are not small beside the machine's memory. For the nightly run: they are gigabytes."""
import hashlib
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

SHARE = 16  # of memory, so much of an output goes to the page cache
LINE = 64


@test
def large_outputs_are_whole_and_leave_the_page_cache_alone(case):
    """Of three vertices, the last two write past the cache, from where the first one ends, which is no page's end."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = memory // SHARE // LINE + 1
    if shutil.disk_usage(case.path(".")).free < 4 * 3 * lines * LINE:
        raise Skip("the disk has too little room")
    case.write("g.yaml", "stages: {a: {sh: \"yes '" + "x" * (LINE - 3) + f"'$DAGRUN_INDEX | head -n {lines}\", width: 3}}}}\n"
               "outputs: {a: {file: out}}\n")
    case.dagrun("run", "-q", "g.yaml", timeout=600)
    expected, got = hashlib.sha256(), hashlib.sha256()
    for index in range(3):
        part = (b"x" * (LINE - 3) + b"%d\n" % index)
        for first in range(0, lines, 1 << 16):
            expected.update(part * min(1 << 16, lines - first))
    cached = int(subprocess.run(["fincore", "--bytes", "--noheadings", "--output", "RES", case.path("out")], check=True, capture_output=True).stdout)
    with open(case.path("out"), "rb") as f:
        while data := f.read(1 << 24):
            got.update(data)
    check(got.digest() == expected.digest(), "the output is not what was written")
    check(cached < 2 * lines * LINE, f"{cached} bytes of it are in the page cache")


@test
def a_record_beyond_the_limit_names_it(case):
    """In what a program writes and in an input: which, where, and what to do. As bytes it goes through."""
    size = (1 << 30) + 1000
    case.write("long.sh", f"#!/bin/sh\nhead -c {size} /dev/zero | tr '\\0' x\n")
    os.chmod(case.path("long.sh"), 0o755)
    for stages in ("a: {program: [./long.sh]}, b: {use: count}", "a: {program: [./long.sh], format: kv}, b: {program: [wc, -c]}"):
        case.write("g.yaml", f"stages: {{{stages}}}\nflow: [a >= b]\noutputs: {{b: {{file: o}}}}\n")
        err = case.dagrun("run", "-q", "g.yaml", rc=1, timeout=300).stderr.decode()
        check("a[0]" in err and "record 1 of output port 0" in err and "1 GiB" in err and "format: bytes" in err, err)
    case.write("g.yaml", "stages: {a: {program: [./long.sh]}, b: {program: [wc, -c]}}\nflow: [a >= b]\noutputs: {a: {file: long}, b: {file: o}}\n")
    case.dagrun("run", "-q", "g.yaml", timeout=300)
    check(case.read("o").strip() == b"%d" % size, case.read("o"))
    case.write("g.yaml", "inputs: {t: {files: long}}\nstages: {b: {use: count}}\nflow: [t >= b]\noutputs: {b: {file: o}}\n")
    err = case.dagrun("run", "-q", "g.yaml", rc=1, timeout=300).stderr.decode()
    check("b[0]" in err and "record 1 of input port 0" in err and "1 GiB" in err, err)


main()
