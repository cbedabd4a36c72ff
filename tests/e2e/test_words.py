# SPDX-License-Identifier: Apache-2.0
"""What stands in a graph file reaches programs as it was meant, or is refused before anything runs."""
import os
import sys

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


if __name__ == "__main__":
    main()
