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


main()
