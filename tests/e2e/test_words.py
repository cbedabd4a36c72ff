# SPDX-License-Identifier: Apache-2.0
"""What stands in a graph file reaches programs as it was meant, or is refused before anything runs."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *


@test
def words_reach_programs(case):
    case.write("g.yaml", """params: {p: {default: x}}
stages:
  a:
    width: 2
    env: {WHERE: "{index} of {width}", RAW: "${p}", BRACES: "{{index}}"}
    bash: |
      echo "$WHERE $RAW $BRACES {index} {{index}} ${p}" | awk '{print $1, $2, $3, $4, $5, $6, $7, $8}'
      for i in {1..2}; do echo "$i"; done
outputs: {a: {file: "o{{x}}{index}"}}
""")
    case.dagrun("run", "g.yaml", "-p", "p={index}")
    check(case.read("o{x}1") == b"1 of 2 {index} {index} 1 {index} {index}\n1\n2\n", case.read("o{x}1"))
    check(case.read("o{x}0").startswith(b"0 of 2 "), case.read("o{x}0"))


@test
def programs_get_braces_without_a_shell(case):
    case.write("g.yaml", """stages: {a: {program: [echo, "{{index}}", "{}", "{index}", "a{2,3}", '{"a":{"b":1}}', "{{{index}}}"]}}
outputs: {a: {file: "-"}}
""")
    out = case.dagrun("run", "g.yaml").stdout
    check(out == b'{index} {} 0 a{2,3} {"a":{"b":1}} {0}\n', out)


@test
def unknown_words_are_refused(case):
    bad(case, 'stages: {a: {sh: "cp {in.0:file} {out.0:file}"}}\n', "g.yaml:1:18: unknown word '{out.0:file}'; did you mean {out.0}?")
    bad(case, 'stages: {a: {sh: x, width: 2}}\noutputs: {a: {file: "out/{name}.up"}}\n', "g.yaml:2:21:", "'{name}'", "{index}")
    bad(case, "stages:\n  a:\n    sh: |\n      echo\n      echo {index:03}\n", "g.yaml:5:12: ", "did you mean {index}?")
    check(sorted(os.listdir(case.dir)) == ["g.yaml", "state"] or sorted(os.listdir(case.dir)) == ["g.yaml"], os.listdir(case.dir))


@test
def scripts_end_where_a_command_fails(case):
    for word, script, rc in (("sh", "false; echo x", 1), ("sh", "false | echo x", 0), ("bash", "false; echo x", 1), ("bash", "false | echo x", 1),
                             ("bash", "echo $nothing", 1), ("bash", "shopt -s globstar; echo x", 0)):
        case.write("g.yaml", f"stages:\n  a:\n    retries: 0\n    {word}: |\n      {script}\noutputs: {{a: {{file: o}}}}\n")
        case.dagrun("run", "g.yaml", rc=rc)


@test
def inputs_of_a_program_are_read_or_refused(case):
    bad(case, "stages: {s: {program: ['', x]}}\n", "g.yaml:1:24: the name of the program is empty")
    case.write("n.txt", "1\n2\n")
    case.write("m.txt", "3\n")
    graph = """inputs: {t: {files: n.txt}, u: {files: m.txt}}
stages: {j: {use: cat}, s: {program: [%s]}}
flow: [%s]
outputs: {s: {file: "-"}}
"""
    bad(case, graph % ("wc, -l", "t >= s || u >= s, t >= j"), "input port 1 of stage 's'", "{in.1}", "use: cat")
    case.write("g.yaml", graph % ("wc, -l", "t >= j || u >= j >= s"))
    check(case.dagrun("run", "g.yaml").stdout == b"3\n", "not all was read")


@test
def home_is_the_tilde(case):
    case.write("home/in.txt", "x\n")
    case.env["HOME"] = case.path("home")
    case.write("g.yaml", "inputs: {t: {files: ~/in.txt}}\nstages: {a: {program: [cat]}}\nflow: [t >= a]\noutputs: {a: {file: ~/y/o.txt}}\n")
    case.dagrun("run", "g.yaml")
    check(case.read("home/y/o.txt") == b"x\n", "not there")
    check(not os.path.exists(case.path("~")), "a folder of that name")


@test
def files_go_along_with_their_names(case):
    case.write("a/x", "a\n")
    case.write("b/x", "b\n")
    case.write("tree/one", "1\n")
    case.write("tree/sub/two", "2\n")
    case.write("t/1.tsv", "t1\n")
    case.write("t/2.tsv", "t2\n")
    case.write("t/3.txt", "t3\n")
    graph = 'stages: {s: {sh: "%s", files: [%s]}}\noutputs: {s: {file: "-"}}\n'
    bad(case, graph % ("cat x", "a/x, b/x"), "g.yaml:1:", "a/x' and '", "would both be 'x'")
    bad(case, graph % ("cat x", "in.0/*, b/x"), "no file matches")
    bad(case, graph % ("cat x", "a/y"), "cannot read")
    for script, files, want in (("cat x", "a/x, ./a/x", b"a\n"), ("cat tree/one tree/sub/two", "tree/", b"1\n2\n"), ("cat *.tsv", "t/*.tsv", b"t1\nt2\n"),
                                ("cat one two", "tree/**", b"1\n2\n"), ("cat x tree/sub/two", "a/*, tree", b"a\n2\n")):
        case.write("g.yaml", graph % (script, files))
        check(case.dagrun("run", "g.yaml").stdout == want, (script, files))
    os.symlink("sub", case.path("tree/link"))
    bad(case, graph % ("cat x", "tree"), "is a link to a folder")


@test
def two_stars_go_through_folders(case):
    for name in ("a.txt", "x/b.txt", "x/y/c.txt", ".hidden/d.txt", "x/.e.txt", "x/[1].txt", "other/f.txt"):
        case.write("d/" + name, name + "\n")
    os.symlink("../other", case.path("d/x/link"))
    graph = 'inputs: {t: {files: "%s"}}\nstages: {s: {program: [cat]}}\nflow: [t >= s]\noutputs: {s: {file: "-"}}\n'
    for pattern, want in (("d/**/*.txt", "a.txt other/f.txt x/[1].txt x/b.txt x/y/c.txt"), ("d/x/**", "x/[1].txt x/b.txt x/y/c.txt"), ("d/**/y/*", "x/y/c.txt"),
                          ("**/x/**/*.txt", "x/[1].txt x/b.txt x/y/c.txt"), ("d/x/[1].txt", "x/[1].txt"), ("d/**.txt", "a.txt")):
        case.write("g.yaml", graph % pattern)
        got = case.dagrun("run", "g.yaml").stdout.decode().split()
        check(got == want.split(), (pattern, got))
    bad(case, graph % "d/**/nothing", "no file matches")


@test
def scripts_of_interpreters_go_along(case):
    case.write("agg.py", "import sys; print(sys.argv[1:])\n")
    case.write("lib/two.py", "print(2)\n")
    case.write("three.sh", "#!/bin/sh\necho 3\n")
    os.chmod(case.path("three.sh"), 0o755)
    case.write("prog.awk", "BEGIN {print 4}\n")
    case.write("words.txt", "x\n")
    case.write("two.sh", "echo 2\n")
    graph = "stages: {s: {%s}}\noutputs: {s: {file: '-'}}\n"
    for command, want in (("program: [python3, agg.py, x]", b"['x']\n"), ("program: [python3, -u, ./agg.py]", b"[]\n"), ("program: [python3, lib/two.py]", b"2\n"),
                          ("sh: 'python3 agg.py y | cat'", b"['y']\n"), ("bash: './three.sh'", b"3\n"), ("program: [awk, -f, prog.awk]", b"4\n"),
                          ("program: [bash, -euo, pipefail, two.sh]", b"2\n"), ("program: [sh, -e, two.sh]", b"2\n"), ("sh: 'bash -eu two.sh'", b"2\n"),
                          ("program: [python3, -W, ignore, agg.py]", b"[]\n"), ("sh: 'awk -f prog.awk'", b"4\n")):
        case.write("g.yaml", graph % command)
        check(case.dagrun("run", "g.yaml").stdout == want, command)
    case.write("g.yaml", graph % "program: [wc, -l, words.txt]")
    out = case.dagrun("check", "g.yaml").stdout
    check(b"note: g.yaml:1:" in out and b"'words.txt' lies beside the graph" in out and b"files: [words.txt]" in out, out)
    for command in ("program: [sort, --files0-from=words.txt]", "program: [grep, -fwords.txt]", "program: [dd, if=words.txt]"):
        case.write("g.yaml", graph % command)
        check(b"'words.txt' lies beside the graph" in case.dagrun("check", "g.yaml").stdout, command)
    case.write("g.yaml", graph % "program: [two.sh]")
    check(b"write ./two.sh" in case.dagrun("check", "g.yaml").stdout, "a program beside the graph")
    case.write("g.yaml", graph % "program: [wc, -l, words.txt], files: [words.txt]")
    check(b"note" not in case.dagrun("check", "g.yaml").stdout, "a note of what goes along")


@test
def outputs_of_one_file_are_refused(case):
    case.write("d/x", "")
    os.symlink(".", case.path("l"))
    os.symlink("o.txt", case.path("link.txt"))
    graph = 'stages: {a: {sh: x, width: 3}, b: {sh: x, width: 20}}\noutputs:\n  a: {file: "%s"}\n  b: {file: "%s"}\n'
    for one, other in (("o.txt", "o.txt"), ("o.txt", "./o.txt"), ("o.txt", "d/../o.txt"), ("o.txt", "l/o.txt"), ("o.txt", "link.txt"),
                       ("new/o.txt", "new/../new/./o.txt"), ("o{index}.txt", "o2.txt"), ("l/o{index}.txt", "o{index}.txt"), ("o1{index}", "o{index}"),
                       (case.path("o.txt"), "o.txt")):
        bad(case, graph % (one, other), "g.yaml:4:3: two outputs are one file", "of 'b'", "'a' in line 3")
    for one, other in (("n", "n/x"), ("n/x", "n"), ("n/x{index}", "d/../n"), ("n{index}", "n2/x/y")):
        bad(case, graph % (one, other), "lies in a folder whose name is that of an output")
    for n in (1, 2):
        os.symlink("../o.txt", case.path(f"d/k{n}"))
    bad(case, graph % ("d/k{index}", "-"), "g.yaml:3:3: two files of the output of 'a' are one", "/o.txt'")
    bad(case, graph % ("d/k{index}", "o.txt"), "two outputs are one file")
    for one, other in (("n", "n-/x"), ("n", "nn/x"), ("o{index}.txt", "o3.txt"), ("-", "-"), ("o{index}.txt", "o02.txt")):
        case.write("g.yaml", graph % (one, other))
        case.dagrun("check", "g.yaml")


@test
def commands_that_the_system_does_not_take_are_refused(case):
    bad(case, "stages: {a: {sh: '%s'}}\n" % ("#" * 140000), "g.yaml:1:10: the script of stage 'a' has 140000 bytes", "131071", "files: [script.sh]")
    bad(case, "stages: {a: {sh: x, env: {B: '%s'}}}\n" % ("#" * 140000), "env 'B' of stage 'a'")
    graph = "stages: {p: {sh: x, width: %u}, a: {%s}}\nflow: [p >> a]\n"
    bad(case, graph % (20000, "sh: 'cat {in.0.*}'"), "the script of stage 'a'", "{in.0.list}")
    bad(case, graph % (900000, "program: [cat, '{in.0.*}']"), "the command of stage 'a'", "{in.0.list}")
    for width, command in ((5000, "sh: 'cat {in.0.*}'"), (20000, "program: [cat, '{in.0.*}']"), (100000, "sh: 'cat {in.0.list}'"), (1, "sh: '%s'" % ("#" * 120000))):
        case.write("g.yaml", graph % (width, command))
        case.dagrun("check", "g.yaml")


@test
def a_graph_from_stdin(case):
    case.write("in.txt", "b\na\n")
    text = b'inputs: {t: {files: in.txt}}\nstages: {s: {program: [sort]}}\nflow: [t >= s]\noutputs: {s: {file: o.txt}}\n'
    for command in ("check", "plan", "run"):
        case.dagrun(command, "-", input=text)
    check(case.read("o.txt") == b"a\nb\n", "not what it should be")
    r = case.dagrun("check", "-", input=text.replace(b"in.txt", b'"-"'), rc=3)
    check(b'no input can be "-"' in r.stderr, r.stderr)
    r = case.dagrun("check", "-", input=b"stages: {s: {shh: x}}\n", rc=3)
    check(b"-:1:14: unknown key 'shh'" in r.stderr, r.stderr)


@test
def a_job_of_a_graph_from_stdin_is_resumed(case):
    text = b'stages: {a: {sh: "echo 1"}, s: {sh: "cat; touch %s; while [ ! -e %s ]; do sleep 0.1; done"}}\nflow: [a >= s]\noutputs: {s: {file: o.txt}}\n'
    with open(case.write("g", text % (case.path("begun").encode(), case.path("go").encode())), "rb") as graph:
        p = subprocess.Popen([program("dagrun"), "run", "-"], stdin=graph, env=case.env, cwd=case.dir, stderr=subprocess.DEVNULL)
    case.started.append(p)
    case.wait_for(lambda: os.path.exists(case.path("begun")) and is_noted(case), "it runs")
    p.kill()
    p.wait()
    case.write("go", "")
    case.dagrun("resume", job_id(case))
    check(case.read("o.txt") == b"1\n", "not what it should be")


@test
def large_graphs_load_quickly(case):
    """A chain against the order of the file, with as many outputs as nobody writes by hand."""
    n = 20000
    stages = "".join(f"  s{i}: {{program: [cat, 'a-{i}-{{index}}'], {'width: 1, ' * (i == n - 1)}cpus: 1}}\n" for i in range(n))
    chain = "".join(f"  - s{i + 1} >= s{i}\n" for i in range(n - 1))
    outputs = "".join(f"  s{i}: {{file: out/o{i}.txt}}\n" for i in range(0, n, 5))
    case.write("g.yaml", f"stages:\n{stages}flow:\n{chain}outputs:\n{outputs}" + "#" * (3 << 20) + "\n")
    started = time.time()
    out = case.dagrun("check", "g.yaml").stdout
    check(b"20000 stages, 20000 vertices" in out, out)
    check(time.time() - started < patience(4), f"it took {time.time() - started:.1f} s")
    case.write("g.yaml", b"#" * (65 << 20))
    check(b"larger than 64 MiB" in case.dagrun("check", "g.yaml", rc=3).stderr, "it was taken")


@test
def what_people_type_first(case):
    case.write("g.yaml", "stages: {a: {sh: x}}\n")
    check(b"dagrun run g.yaml" in case.dagrun("g.yaml", rc=2).stderr, "no word of run")
    check(case.dagrun("help", "run").stdout == case.dagrun("run", "--help").stdout, "another help")
    bad(case, "stages: {b: {use: cat, env: {A: b}}, a: {sh: x}}\nflow: [a >= b]\n", "g.yaml:1:29: env is for programs")
    bad(case, "stages: {b: {use: cat, files: [g.yaml]}, a: {sh: x}}\nflow: [a >= b]\n", "files is for programs")
    bad(case, "stages: {a: {sh: x, labels: [gpu]}}\n", "labels, such as {gpu: yes}, must be a map")
    r = bad(case, "stages: {t: {sh: x}}\nflow: [b >= t]\n", "unknown stage or input 'b'")
    check(b"did you mean" not in r.stderr, r.stderr)
    bad(case, "stages: {a: {sh: x, env: {'A=B': c}}}\n", "no name of an environment variable")


if __name__ == "__main__":
    main()
