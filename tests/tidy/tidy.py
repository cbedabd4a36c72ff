# SPDX-License-Identifier: Apache-2.0
"""What of STYLE.md a program can keep: layering, formatting, banned calls, headers that compile alone, file sizes. Prints TAP."""
import os
import re
import shutil
import subprocess
import sys

import objects

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("DAGRUN_BUILD", os.path.join(ROOT, "build"))

# Each layer and what it may include beside itself. Arrows point down only.
LAYERS = {
    "engine/base": [],
    "engine/graph": ["engine/base"],
    "engine/os": ["engine/base"],
    "engine/channel": ["engine/base", "engine/os", "engine/wire"],
    "engine/channel/core": ["engine/base", "engine/channel"],
    "engine/wire": ["engine/base", "engine/os"],
    "engine/vertex": ["engine/base", "engine/graph", "engine/channel", "engine/os"],
    "engine/vertices": [],
    "lang": ["engine/base", "engine/graph"],
    "jobmanager/core": ["engine/base", "engine/graph"],
    "jobmanager": ["engine/base", "engine/graph", "engine/os", "engine/wire", "engine/channel", "jobmanager/core", "daemon", "lang"],
    "jobmanager/cli": ["engine/base", "engine/graph", "engine/os", "engine/wire", "jobmanager", "lang"],
    "daemon/core": ["engine/base", "engine/graph"],
    "daemon": ["engine/base", "engine/graph", "engine/os", "engine/wire", "engine/channel", "engine/channel/core", "engine/vertex", "daemon/core"],
    "nameserver/core": ["engine/base"],
    "nameserver": ["engine/base", "engine/os", "engine/wire", "nameserver/core"],
}
# Files of a layer that may be included where the rest of it may not.
EXTRA = {"engine/channel": ["engine/channel/core"]}
# Files of one folder that still call each other in a circle: how many of a folder. The numbers only ever fall.
CIRCLES = {
    "daemon": 18,
    "jobmanager": 12,
}
BANNED = r"\b(strcpy|strcat|sprintf|gets|system|popen|fork|atoi|strtok|alloca)\s*\("
FORKS = "engine/vertex/guard.c"  # before it has a thread, or anything else
FILE_LINES_MAX = 650
FORMAT_VERSION = " version 14."  # Debian 12's


def sources(*folders, ends=(".c", ".h")):
    for folder in folders:
        for path, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if name.endswith(ends):
                    yield os.path.relpath(os.path.join(path, name), ROOT)


def layer_of(path):
    folder = os.path.dirname(path)
    while folder and folder not in LAYERS:
        folder = os.path.dirname(folder)
    return folder


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def find_include(path, name):
    for base in (os.path.dirname(path), "engine", ""):
        candidate = os.path.normpath(os.path.join(base, name))
        if os.path.exists(os.path.join(ROOT, candidate)):
            return candidate
    return None


def check_layers():
    for path in sources("engine", "lang", "jobmanager", "daemon", "nameserver"):
        layer = layer_of(path)
        if not layer:
            continue
        for name in re.findall(r'#include "([^"]+)"', read(path)):
            found = find_include(path, name)
            other = layer_of(found) if found else layer
            may = LAYERS[layer] + EXTRA.get(layer, [])
            if other and other != layer and other not in may:
                yield f"{path}: {layer} may not use {other} ({name})"


def check_pure():
    yield from objects.impure(BUILD)


def check_circles():
    found = {}
    graph = objects.calls(BUILD, ROOT)
    for files in objects.circles(graph):
        found.setdefault(os.path.dirname(files[0]), []).extend(files)
    for folder in sorted({*found, *CIRCLES}):
        now, may = len(found.get(folder, [])), CIRCLES.get(folder, 0)
        if now > may:
            yield f"{folder}: {now} files call each other in a circle, {may} did:"
            for file in found[folder]:
                for other, symbol in graph[file].items():
                    if other in found[folder]:
                        yield f"  {os.path.basename(file)} -> {os.path.basename(other)}: {symbol}"


def check_banned():
    for path in sources("engine", "lang", "jobmanager", "daemon", "nameserver"):
        for i, line in enumerate(read(path).split("\n"), 1):
            match = re.search(BANNED, line)
            if match and not (path == FORKS and match.group(1) == "fork"):
                yield f"{path}:{i}: {match.group(1)} is banned"


def check_sizes():
    for path in sources("engine", "lang", "jobmanager", "daemon", "nameserver", "tests"):
        lines = read(path).count("\n")
        if lines > FILE_LINES_MAX and not path.startswith("tests"):
            yield f"{path}: {lines} lines; a file of more than {FILE_LINES_MAX} is two nouns"


def check_spdx():
    for path in sources("engine", "lang", "jobmanager", "daemon", "nameserver", "tests", "bench", "graphs", ends=(".c", ".h", ".py")):
        if "SPDX-License-Identifier: Apache-2.0" not in read(path)[:200]:
            yield f"{path}: no SPDX line"


def check_headers():
    for path in sources("engine", "lang", "jobmanager", "daemon", "nameserver", ends=(".h",)):
        if path.endswith("hash_impl.h"):
            continue
        r = subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-fsyntax-only", "-Iengine/include",
                            "-Iengine", "-I.", f"-I{BUILD}", "-x", "c", path], cwd=ROOT, capture_output=True, text=True)
        if r.returncode:
            yield f"{path} does not compile alone: {r.stderr.splitlines()[0]}"


def check_plugin_from_cpp():
    text = '#include <dagrun/vertex.h>\nstatic int e(struct dag_vertex *v) { return dag_index(v) ? 1 : 0; }\nDAG_PLUGIN(p, DAG_ENTRY(e, DAG_IN(LINES), "x"));\n'
    for compiler in ("g++", "clang++"):
        if shutil.which(compiler):
            r = subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-Iengine/include", "-fsyntax-only", "-x", "c++", "-"], input=text,
                               cwd=ROOT, capture_output=True, text=True)
            if r.returncode:
                yield f"{compiler}: {r.stderr.splitlines()[0]}"


def check_failures():
    """docs/FAILURES.md names tests and files that there are, and each test of a numbered fault stands there."""
    text = read("docs/FAILURES.md")
    words = set(re.findall(r"`([^`]+)`", text))
    tests = set()
    for path in sources("tests/e2e", "tests/unit", ends=(".py", ".c")):
        tests.update(re.findall(r"^def (\w+)\(case|void (test_\w+)\(void", read(path), re.M))
    tests = {name for pair in tests for name in pair if name}
    for word in sorted(words):
        path = f"tests/{word}.txt" if word.startswith("script/") else word
        if "/" in word and not os.path.exists(os.path.join(ROOT, path)) and not word.startswith("/"):
            yield f"docs/FAILURES.md: there is no {path}"
        elif re.fullmatch(r"\w*_\w*_\w+", word) and word not in tests:
            yield f"docs/FAILURES.md: there is no test {word}"
    for name in sorted(tests):
        if re.match(r"F\d\d_", name) and name not in words:
            yield f"docs/FAILURES.md: {name} is not named"


def formats():
    """True if there is a clang-format that breaks lines as the one does that the sources were formatted with."""
    if not shutil.which("clang-format"):
        return False
    return FORMAT_VERSION in subprocess.run(["clang-format", "--version"], capture_output=True, text=True).stdout


def check_format():
    files = [p for p in sources("engine", "lang", "jobmanager", "daemon", "nameserver", "tests", "bench", "graphs")]
    r = subprocess.run(["clang-format", "--dry-run", *files], cwd=ROOT, capture_output=True, text=True)
    seen = set()
    for line in r.stderr.splitlines():
        if "warning:" in line and line.split(":")[0] not in seen:
            seen.add(line.split(":")[0])
            yield f"{line.split(':')[0]}: run clang-format -i"


CHECKS = [check_layers, check_pure, check_circles, check_banned, check_sizes, check_spdx, check_headers, check_plugin_from_cpp, check_failures, check_format]
print(f"1..{len(CHECKS)}")
failed = 0
for number, function in enumerate(CHECKS, 1):
    if function is check_format and not formats():
        print(f"ok {number} - check_format # SKIP there is no clang-format{FORMAT_VERSION.rstrip('.')}: others break lines elsewhere")
        continue
    errors = list(function())
    print(f"{'not ok' if errors else 'ok'} {number} - {function.__name__}")
    for error in errors[:20]:
        print(f"# {error}")
    failed += bool(errors)
sys.exit(failed > 0)
