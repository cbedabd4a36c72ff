# SPDX-License-Identifier: Apache-2.0
"""Each field of the scheduler's state, and of a host's, is written in one file; the others read it, or call. What a file exports has the
file's noun before it. Prints TAP.

Assignments are found in the text of a folder, by the names and types of variables and of fields. So that none is passed over, each field
must have a writer that is seen, but for those that are listed as unseen, which are not asked: what is written through a pointer to
them, locks, and an arena, in which each file has its own.

  owners.py [--list]        with --list: the file of each field"""
import collections
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = [
    {"path": "jobmanager/core", "whose": "the scheduler",
     "structs": ["jm", "jm_vertex", "jm_gang", "jm_node", "jm_stage", "jm_edge", "jm_output", "jm_queue"],
     "unseen": {"jm.texts", "jm_stage.waiting", "jm_stage.ready", "jm_stage.running", "jm_stage.done", "jm_stage.released"},
     # Nouns that are not the file's name, or that with an s or without.
     "nouns": {"vertices": ["vertex", "gang"]},
     # What these declare is the module's own, whichever file has it.
     "own": ["jm.h", "effects.h"], "prefix": "jm_", "by_address": False,
     "copies": {"nodes"}},  # what check.c counts anew
    {"path": "engine/vertex", "whose": "a host",
     "structs": ["host", "segments", "host_space", "host_segment", "stages", "host_named", "host_stage", "errors", "files", "run", "programs",
                 "dag_vertex", "in_port", "in_channel", "out_part", "out_stream"],
     "unseen": {"host.lock", "host.changed", "dag_vertex.lock", "host_segment.hh", "segments.table", "host_stage.spec", "in_channel.pipe",
                "out_part.pipe", "in_channel.raw_reader", "dag_vertex.arena", "dag_vertex.skips", "dag_vertex.counters", "dag_vertex.reserved",
                "host_named.noted"},
     "nouns": {"host_proto": ["host"], "spec": ["stage_spec"]},
     "own": [], "prefix": "dag_", "by_address": True, "copies": set()},
]

INDEX = r"\[(?:[^\[\]]|\[(?:[^\[\]]|\[[^\[\]]*\])*\])*\]"
PATH = r"\w+(?:(?:->|\.)\w+|" + INDEX + r")+"
WRITE = re.compile(r"(?P<before>\+\+|--)?(?P<path>" + PATH + r")\s*(?P<after>(?:[-+*/|&^]|<<|>>)?=(?!=)|\+\+|--)?")
APPEND = re.compile(r"DAG_APPEND\(([^)]*)\)")
# By its address, in a call of what does not only read it.
ADDRESS = re.compile(r"\b(\w+)\(((?:[^()]|\([^()]*\))*)\)")
READERS = re.compile(r"(?:__)?atomic_load\w*|pthread_(?:mutex|cond)_\w+|sizeof|if|while|for|switch|return")


class Folder:
    def __init__(self, path, whose, structs, unseen, nouns, own, prefix, by_address, copies):
        self.path, self.whose, self.structs, self.unseen, self.nouns, self.prefix = path, whose, structs, unseen, nouns, prefix
        self.by_address, self.copies = by_address, copies
        self.own = set(re.findall(r"\b(" + prefix + r"\w+)\(", "".join(text for name, text in self.read("*.h") if name in own)))
        self.parts = set()
        self.types = self.fields()

    def read(self, pattern):
        """The files' names and their texts, without comments."""
        for path in sorted(glob.glob(os.path.join(ROOT, self.path, pattern))):
            with open(path, encoding="utf-8") as f:
                yield os.path.basename(path), re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)

    def fields(self):
        """{struct: {field: the struct that it is, or points to, or None}} for the folder's structs."""
        found = {}
        for _, text in self.read("*.h"):
            for struct, body in re.findall(r"^struct (\w+) \{\n(.*?)\n\};", text, re.S | re.M):
                found[struct] = {}
                for line in re.sub(INDEX, "", body).split(";"):
                    kind = re.match(r"\s*(?:const )?struct (\w+)", line)
                    for star, name in re.findall(r"(\*?)(\w+)\s*(?:,|$)", line.strip()):
                        found[struct][name] = kind and kind.group(1)
                        if kind and not star:
                            self.parts.add((struct, name))
        return found

    def names(self):
        """Of all fields but those that are a struct with fields of its own here."""
        return [(struct, field) for struct in self.structs for field, kind in self.types.get(struct, {}).items()
                if not (kind in self.structs and (struct, field) in self.parts)]

    def field_of(self, path, variables):
        """The struct and the field that a path ends in; None where it is of another struct."""
        base, *fields = re.sub(INDEX, "", path).replace("->", ".").split(".")
        struct = variables.get(base)
        for field in fields[:-1]:
            struct = self.types.get(struct, {}).get(field)
        return (struct, fields[-1]) if fields and struct in self.structs and base not in self.copies else None

    def writers(self):
        """The files that write each field, and their functions that do. A header is its file's."""
        found = collections.defaultdict(lambda: collections.defaultdict(set))
        for name, text in self.read("*.[ch]"):
            for function in re.findall(r"^\w[^;{}]*?\)\n\{\n.*?^\}$", text, re.S | re.M):
                variables = types_of(function)
                paths = [m.group("path") for part in [function, *re.findall(INDEX, function)] for m in WRITE.finditer(part.strip("[]"))
                         if m.group("before") or m.group("after")]
                for m in APPEND.finditer(function):
                    paths += [argument.strip() for argument in m.group(1).split(",")]
                if self.by_address:
                    paths += by_address(function)
                written = [self.field_of(p, variables) for p in paths] + list(initialized(function))
                for struct, field in filter(lambda found: found and found[0] in self.structs, written):
                    found[struct, field][name[:-2] + ".c"].add(re.search(r"(\w+)\(", function).group(1))
        return found

    def exported(self):
        """Each function that others can call, and its file; what the module's own header declares is not asked."""
        for name, text in self.read("*.c"):
            for line in re.findall(r"^(?!static)[a-z][^;{}=()]*?\b(\w+)\([^;{}]*?\)\n\{", text, re.M):
                if line not in self.own and line != "main" and not (line.startswith(self.prefix) and not self.own):
                    yield line, name[:-2]

    def misnamed(self):
        for function, file in self.exported():
            noun = file[:-1] if file.endswith("s") else file
            if not function.startswith(tuple(n + "_" for n in [noun, noun + "s", *self.nouns.get(file, [])])):
                yield f"{self.path}/{file}.c exports {function}, whose name does not say so"


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


def initialized(function):
    """Fields of the structs that are written as a whole, by name."""
    for struct, body in re.findall(r"\(struct (\w+)\)\{([^{}]*)\}", function):
        for field in re.findall(r"(?:^|,)\s*\.(\w+) =", body):
            yield struct, field


def by_address(function):
    """Fields whose address a call gets that may write there."""
    for name, arguments in ADDRESS.findall(function):
        if not READERS.fullmatch(name):
            yield from re.findall(r"(?:^|,)\s*&(" + PATH + r"(?<!\]))(?=\s*(?:,|$))", arguments)


def describe(files):
    return " and ".join(f"{name} ({', '.join(sorted(functions))})" for name, functions in files.items())


def show(number, what, errors):
    print(f"{'not ok' if errors else 'ok'} {number} - {what}")
    for error in errors:
        print(f"# {error}")
    return bool(errors)


def main():
    failed = False
    print(f"1..{2 * len(FOLDERS)}")
    for i, folder in enumerate(Folder(**f) for f in FOLDERS):
        found, names = folder.writers(), folder.names()
        unseen = {f"{struct}.{field}" for struct, field in names if not found[struct, field]}
        errors = [f"{s}.{f} is written in {describe(found[s, f])}" for s, f in names if len(found[s, f]) > 1 and f"{s}.{f}" not in folder.unseen]
        errors += [f"{name}: nobody is seen to write it" for name in sorted(unseen - folder.unseen)]
        errors += [f"{s} is not in any header" for s in folder.structs if not folder.types.get(s)]
        if "--list" in sys.argv:
            for s, f in names:
                print(f"{s}.{f}", *found[s, f])
        failed |= show(2 * i + 1, f"each of {len(names)} fields of {folder.whose} is written in one file", errors)
        wrong, count = list(folder.misnamed()), len(list(folder.exported()))
        failed |= show(2 * i + 2, f"each of {count} functions that a file of {folder.whose} exports has its noun", wrong if count else ["none is found"])
    return failed


sys.exit(main())
