# SPDX-License-Identifier: Apache-2.0
"""Each field of the scheduler's state is written in one file; the others read it, or call. What a file exports has the file's noun before it.
Prints TAP.

Assignments are found in the text of jobmanager/core, by the names and types of variables. So that none is passed over, each field must have
a writer that is seen, but for those of UNSEEN.

  owners.py [--list]        with --list: the file of each field"""
import collections
import glob
import os
import re
import sys

CORE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "jobmanager/core")
ARRAYS = {"vertices": "jm_vertex", "gangs": "jm_gang", "nodes": "jm_node", "stages": "jm_stage", "edges": "jm_edge", "outputs": "jm_output",
          "queues": "jm_queue"}
STRUCTS = ["jm", *ARRAYS.values()]
# Written through a pointer to them.
UNSEEN = {"jm.texts", "jm_node.queue", "jm_stage.waiting", "jm_stage.ready", "jm_stage.running", "jm_stage.done", "jm_stage.released"}

# Nouns that are not the file's name, or that with an s or without.
NOUNS = {"vertices": ["vertex", "gang"]}

INDEX = r"\[(?:[^\[\]]|\[(?:[^\[\]]|\[[^\[\]]*\])*\])*\]"
PATH = r"\w+(?:(?:->|\.)\w+|" + INDEX + r")+"
WRITE = re.compile(r"(?P<before>\+\+|--)?(?P<path>" + PATH + r")\s*(?P<after>(?:[-+*/|&^]|<<|>>)?=(?!=)|\+\+|--)?")
APPEND = re.compile(r"DAG_APPEND\(([^)]*)\)")


def read(pattern):
    """The files' names and their texts, without comments."""
    for path in sorted(glob.glob(os.path.join(CORE, pattern))):
        with open(path, encoding="utf-8") as f:
            yield os.path.basename(path), re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)


def fields():
    """All fields of STRUCTS."""
    for _, text in read("*.h"):
        for struct, body in re.findall(r"^struct (\w+) \{\n(.*?)\n\};", text, re.S | re.M):
            for line in body.split(";") if struct in STRUCTS else []:
                for name in re.findall(r"(\w+)\s*(?:,|$)", line.strip()):
                    yield f"{struct}.{name}"


def types_of(function):
    """The structs of a function's variables."""
    types = {}
    for struct, rest in re.findall(r"\bstruct (\w+) (?=([^;(){]*))", function):
        for part in re.split(r",(?![^\[]*\])", rest):
            m = re.fullmatch(r"\s*\**(\w+)\s*(?:=.*)?", part, re.S)
            if not m:
                break
            types.setdefault(m.group(1), struct)
    return types


def field_of(path, types):
    """The field that a path ends in; None where it is of another struct."""
    m = re.fullmatch(r"(.*?)(?:->|\.)(\w+)", re.sub(INDEX + "$", "", path))
    if not m:
        return None
    base, field = m.groups()
    element = re.fullmatch(r"jm->(\w+)" + INDEX, base)
    struct = ARRAYS.get(element.group(1)) if element else types.get(base)
    return f"{struct}.{field}" if struct in STRUCTS else None


def writers():
    """The files that write each field, and their functions that do."""
    found = collections.defaultdict(lambda: collections.defaultdict(set))
    for name, text in read("*.c"):
        for function in re.findall(r"^\w[^;{}]*?\)\n\{\n.*?^\}$", text, re.S | re.M):
            types = types_of(function)
            paths = [m.group("path") for m in WRITE.finditer(function) if m.group("before") or m.group("after")]
            for m in APPEND.finditer(function):
                paths += [argument.strip() for argument in m.group(1).split(",")]
            for field in filter(None, (field_of(p, types) for p in paths)):
                found[field][name].add(re.search(r"(\w+)\(", function).group(1))
    return found


def exported():
    """Each function that others can call, and its file; what jm.h declares is the module's own."""
    declared = set(re.findall(r"\b(jm_\w+)\(", "".join(text for name, text in read("*.h") if name in ("jm.h", "effects.h"))))
    for name, text in read("*.c"):
        for line in re.findall(r"^(?!static)[a-z][^;{}=()]*?\b(\w+)\([^;{}]*?\)\n\{", text, re.M):
            if line not in declared:
                yield line, name[:-2]


def misnamed():
    for function, file in exported():
        noun = file[:-1] if file.endswith("s") else file
        if not function.startswith(tuple(n + "_" for n in [noun, noun + "s", *NOUNS.get(file, [])])):
            yield f"{file}.c exports {function}, whose name does not say so"


def describe(files):
    return " and ".join(f"{name} ({', '.join(sorted(functions))})" for name, functions in files.items())


def main():
    found = writers()
    names = list(fields())
    errors = [f"{f} is written in {describe(found[f])}" for f in names if len(found[f]) > 1]
    errors += [f"{f}: nobody is seen to write it" for f in names if not found[f] and f not in UNSEEN]
    errors += [f"{s} is not in any header" for s in STRUCTS if not any(f.startswith(s + ".") for f in names)]
    if "--list" in sys.argv:
        for f in names:
            print(f, *found[f])
    print("1..2")
    print(f"{'not ok' if errors else 'ok'} 1 - each of {len(names)} fields of the scheduler is written in one file")
    for error in errors:
        print(f"# {error}")
    wrong = list(misnamed())
    count = len(list(exported()))
    print(f"{'not ok' if wrong or not count else 'ok'} 2 - each of {count} functions that a file of the scheduler exports has its noun")
    for error in wrong:
        print(f"# {error}")
    return bool(errors or wrong or not count)


sys.exit(main())
