# SPDX-License-Identifier: Apache-2.0
"""What the compiled objects say of the structure: which file calls which, and what a pure archive needs from outside."""
import json
import os
import re
import subprocess

# What a pure archive may call beside other pure archives: memory, strings, numbers as text, sorting. No clock, file, socket, thread or
# environment. `base` writes one line before it aborts for lack of memory.
ALLOWED = set("""abort calloc free malloc realloc memchr memcmp memcpy memmove memset strchr strcmp strcspn strlen strncmp strrchr strspn strstr
strtoul snprintf sscanf vasprintf vsnprintf qsort bsearch ctype_b_loc stack_chk_fail cpu_model GLOBAL_OFFSET_TABLE""".split())
ALLOWED_IN = {"base": {"fprintf", "stderr"}, "channel_core": "LZ4_ ZSTD_"}
PURE = ["base", "base_avx2", "base_avx512", "graph", "channel_core", "link_core", "jm_core", "daemon_core", "nameserver_core"]


def plain(symbol):
    """The name that the source has: without what the C library's headers or a sanitizer make of it."""
    return re.sub(r"^__isoc\d+_|_chk$|^_+|_+$", "", symbol)


def symbols(path):
    """(defined, undefined) of an object or archive, of those that other objects can see."""
    defined, undefined = set(), set()
    for line in subprocess.run(["nm", "-g", path], capture_output=True, text=True, check=True).stdout.splitlines():
        words = line.split()
        if len(words) >= 2 and len(words[-2]) == 1:
            (undefined if words[-2] in "Uw" else defined).add(words[-1])
    return defined, undefined


def impure(build):
    """A line for each symbol that a pure archive needs and may not."""
    archives = {name: symbols(os.path.join(build, f"lib{name}.a")) for name in PURE if os.path.exists(os.path.join(build, f"lib{name}.a"))}
    inside = set().union(*(defined for defined, _ in archives.values()))
    for name, (_, undefined) in archives.items():
        own = ALLOWED_IN.get(name, set())
        for symbol in sorted(undefined - inside):
            word = plain(symbol)
            known = word in ALLOWED or (word.startswith(tuple(own.split())) if isinstance(own, str) else word in own)
            if not known and not word.startswith(("gcov", "llvm")):
                yield f"lib{name}.a: not pure: needs {symbol}"


def calls(build, root):
    """{file: {file that it calls: a symbol}} for the project's sources, from the objects of one build."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        commands = json.load(f)
    objects = {}
    for command in commands:
        source = os.path.relpath(os.path.join(command["directory"], command["file"]), root)
        if re.match(r"(engine|lang|jobmanager|daemon|nameserver)/", source):
            objects.setdefault(source, os.path.join(build, command["output"]))
    found = {source: symbols(path) for source, path in objects.items() if os.path.exists(path)}
    home = {symbol: source for source, (defined, _) in found.items() for symbol in defined}
    graph = {source: {} for source in found}
    for source, (_, undefined) in found.items():
        for symbol in sorted(undefined):
            if home.get(symbol, source) != source:
                graph[source].setdefault(home[symbol], symbol)
    return graph


def circles(graph):
    """The sets of files of one folder that reach each other by calls, largest first."""
    reach = {}
    for start in graph:
        seen, todo = set(), [start]
        while todo:
            for other in graph[todo.pop()]:
                if os.path.dirname(other) == os.path.dirname(start) and other not in seen:
                    seen.add(other)
                    todo.append(other)
        reach[start] = seen
    found = {frozenset(b for b in reach[a] if a in reach[b]) for a in graph if a in reach[a]}
    return sorted((sorted(files) for files in found), key=lambda files: (-len(files), files))
