# SPDX-License-Identifier: Apache-2.0
"""What `meson install` puts into a prefix works from there, whatever the prefix and the folder of libraries are called."""
import glob
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *


def install(case):
    """The tree that was installed: its programs and its examples. Returns None where the build cannot tell."""
    if not shutil.which("meson"):
        raise Skip("meson is missing")
    r = subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", case.path("root")], capture_output=True)
    check(r.returncode == 0, r.stderr.decode() + r.stdout.decode())
    programs = glob.glob(case.path("root", "**", "bin", "dagrun"), recursive=True)
    check(len(programs) == 1, programs)
    return os.path.dirname(programs[0]), os.path.join(os.path.dirname(os.path.dirname(programs[0])), "share", "dagrun", "graphs")


@test
def every_example_runs_where_it_is_installed(case):
    bin_folder, graphs = install(case)
    for name in sorted(os.listdir(graphs)):
        if name == "tasks":
            continue
        want = case.dagrun("run", "-q", graph(name), *(["-p", "out=want"] if name == "wordcount" else [])).stdout
        args = ["-p", "out=got"] if name == "wordcount" else []
        r = subprocess.run([os.path.join(bin_folder, "dagrun"), "run", "-q", os.path.join(graphs, name, name + ".yaml"), *args],
                           cwd=case.dir, env=case.env, capture_output=True)
        check(r.returncode == 0, r.stderr.decode())
        if name == "tree":  # clients of one number come in the order of the groups
            check(sorted(r.stdout.split(b"\n")) == sorted(want.split(b"\n")), name)
        else:
            check(r.stdout == want, name)
    check(case.read("got") == case.read("want") and case.read("got"), "the counts differ")


@test
def a_client_is_built_from_what_is_installed(case):
    bin_folder, graphs = install(case)
    root = os.path.dirname(bin_folder)
    library = glob.glob(os.path.join(root, "**", "libdagrun.so"), recursive=True)
    check(len(library) == 1, library)
    folder = os.path.dirname(library[0])
    r = subprocess.run(["gcc", *SANITIZE, "-I" + os.path.join(root, "include"), os.path.join(graphs, "tasks", "client.c"), "-L" + folder, "-ldagrun",
                        "-Wl,-rpath," + folder, "-o", case.path("client")], capture_output=True)
    check(r.returncode == 0, r.stderr.decode())
    r = subprocess.run([case.path("client"), os.path.join(graphs, "tasks", "tasks.yaml"), "100"], cwd=case.dir, env=case.env, capture_output=True)
    check(r.returncode == 0 and r.stdout, r.stderr.decode())


@test
def a_plugin_that_is_not_there_is_told_with_the_folders(case):
    bin_folder, _ = install(case)
    case.write("g.yaml", "stages: {s: {use: sort}}\n")
    for path in glob.glob(case.path("root", "**", "std.so"), recursive=True):
        os.unlink(path)
    r = subprocess.run([os.path.join(bin_folder, "dagrun"), "check", "g.yaml"], cwd=case.dir, env=case.env, capture_output=True)
    check(r.returncode == 3 and b"there are no standard vertices (is dagrun installed whole?): looked for std.so in" in r.stderr, r.stderr)


if __name__ == "__main__":
    main()
