# SPDX-License-Identifier: Apache-2.0
"""Graph files as people write them who do so for the first time: what is wrong is refused when the graph is loaded, at its place and with a way out."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

HEAD = "inputs: {t: {files: a.txt}}\n"


def stage(text, outputs="{s: {file: o}}", more=""):
    """A graph of one stage, which stands in line 2."""
    return f"{HEAD}stages: {{s: {text}}}\nflow: [t >= s]\noutputs: {outputs}\n{more}"


def two(edge, stages="s: {sh: cat}, u: {sh: cat, width: 2}"):
    """A graph of two stages, and an edge between them."""
    return f"{HEAD}stages: {{{stages}}}\nflow: [t >= s, {edge}]\noutputs: {{u: {{file: o}}}}\n"


def refused(case, graph, *words):
    case.write("g.yaml", graph)
    r = case.dagrun("check", "g.yaml", rc=None)
    err = r.stderr.decode(errors="replace")
    check(r.returncode == 3 and all(w in err for w in words), [graph, words, r.returncode, err, r.stdout])
    return err


def noted(case, graph, *words):
    case.write("g.yaml", graph)
    out = case.dagrun("check", "g.yaml").stdout.decode()
    check(all(w in out for w in words) and (words or "note:" not in out), [graph, words, out])


STAGES = {
    # keys
    "{sh: cat, retry: 2}": "2:23: unknown key 'retry' in a stage; did you mean 'retries'?",
    "{sh: cat, mem: 2GiB}": "did you mean 'memory'?",
    "{sh: cat, time: 2s}": "did you mean 'timeout'?",
    "{command: cat}": "a stage has plugin, entry, program, sh, bash, use,",
    "{sh:cat}": "a blank belongs behind a colon: 'sh: cat'",
    "{sh: cut -d, -f1}": "in {…} a comma ends a text",
    "": "a stage must be a map, not nothing: such as {sh: cat}",
    "cat": "a stage must be a map, not text: such as {sh: cat}",
    "{sh: cat, bash: cat}": "it has bash and sh",
    # what runs
    '{sh: ""}': "2:18: the script of stage 's' is empty",
    '{bash: " \\n"}': "the script of stage 's' is empty",
    "{sh: }": "the script of stage 's' is empty",
    "{program: []}": "program is an empty list",
    '{program: [""]}': "the name of the program is empty",
    "{program: cat -n}": "program must be a list of words, not text: [cat, -n]",
    "{sh: [cat]}": "sh must be text, not a list: a text that begins with '{' or '[' stands in quotes",
    "{sh: {print}}": "stands in quotes",
    "{use: [sort]}": "use must be text, not a list",
    '{sh: "cat; echo > {out.1}"}': "stage 's' names {out.1}, and nothing takes what is written there",
    # options
    "{sh: cat, exit_ok: []}": "2:32: exit_ok is an empty list",
    "{sh: cat, exit_ok: 3}": "exit_ok must be a list, not text: [3]",
    "{sh: cat, width: }": "width must be a whole number, not nothing",
    "{sh: cat, width: 1e9}": "width must be a whole number, not '1e9'",
    "{sh: cat, width: 1000000000}": "it must be from 1 to 10000000",
    "{sh: cat, timeout: 1.5h}": "timeout must be a time such as 500ms, 30s, 5m or 2h",
    "{sh: cat, memory: 10 MB}": "not '10 MB': a whole number from 1 on, and K, M, G or T behind it",
    "{sh: cat, memory: 99999999T}": "more than can be counted",
    '{sh: cat, env: {"A B": x}}': "'A B' is no name of an environment variable",
    '{sh: cat, env: {"A=B": x}}': "'A=B' is no name of an environment variable",
    '{sh: cat, env: {"": x}}': "'' is no name of an environment variable",
    '{sh: cat, env: {"A\\0B": x}}': "NUL",
    '{sh: cat, env: {A: "x\\0"}}': "NUL",
    "{sh: cat, env: {A: {B: c}}}": "A must be text, not a map",
    '{sh: cat, labels: {"a=b": 1}}': "no node can have a label named 'a=b'",
    '{sh: cat, labels: {"": 1}}': "no node can have a label named ''",
    "{sh: cat, files: a.txt}": "files must be a list, not text: [a.txt]",
    "{sh: cat, format: line}": "not 'line'; did you mean 'lines'?",
    # standard vertices
    "{use: sort, params: [key]}": "params, such as {key: 1}, must be a map, not a list",
    "{use: sort, params: {feild: 2}}": "'sort' has no parameter 'feild'; it has key, delimiter,",
    "{use: sort, params: {key: name}}": "key must be a whole number, not 'name' (the field of the key",
    "{use: sort, params: {type: int}}": "type must be text, number or general, not 'int'",
    "{use: sort, params: {memory: 0}}": "memory: 0: no record could be sorted in it",
    "{use: top, params: {n: 0}}": "n: 0: nothing would come out",
    "{use: sample, params: {n: 0}}": "n: 0: nothing would come out",
    '{use: count, params: {key: 1, delimiter: ""}}': "delimiter: '' has no byte",
    '{use: cut, params: {delimiter: ""}}': "delimiter: '' has no byte",
    '{use: grep, params: {pattern: ""}}': "pattern '' is in every line",
}


@test
def stages_of_newcomers(case):
    case.write("a.txt", "b 2\na 1\n")
    for text, words in STAGES.items():
        err = refused(case, stage(text), words)
        check(err.startswith("g.yaml:2:"), err)


EDGES = {
    "{from: s, to: u, pattern: '>>', partition: {by: round-robin, delimiter: ','}}": "delimiter goes with {by: hash} and {by: range}",
    "{from: s, to: u, pattern: '>>', partition: {by: all, key: 1}}": "key goes with {by: hash} and {by: range}",
    "{from: s, to: u, pattern: '>>', partition: {by: hash, key: 1, delimiter: ''}}": "'' has 0 bytes",
    "{from: s, to: u, pattern: '>>', partition: {by: range, key: 1, delimiter: ''}}": "delimiter: '' has no byte",
    "{from: s, to: u, list: []}": "list has no pairs",
    "{from: s, to: u, neighbours: 1, pattern: '>>'}": "an edge has one pattern",
    "{from: s, to: u, neighbours: 1, list: [[0, 0]]}": "an edge has one pattern",
    "{from: s, to: u, pattern: {}}": "an edge has one pattern",
    "{from: s, to: u, pattern: {neighbours: 1, list: [[0, 0]]}}": "an edge has one pattern",
    "s.77 >= u": "77: the number of a port is at most 15",
    "s >= u^99999999999": "99999999999: the width behind '^' is at most 10000000",
    "s >= s": "the flow has a cycle: s -> s",
    "t >= s": "'t' is joined to 's' already, in line 3",
}


@test
def edges_of_newcomers(case):
    case.write("a.txt", "b 2\na 1\n")
    for edge, words in EDGES.items():
        check(refused(case, two(edge), words).startswith("g.yaml:3:"), edge)
    refused(case, stage("{sh: cat}").replace("[t >= s]", "t >= s"), "3:7: flow must be a list, not text: [t >= s]")


@test
def a_partition_that_parts_nothing_is_refused(case):
    """Without '>>' each vertex reads all that its neighbour wrote, whatever the partition says."""
    case.write("a.txt", "b 2\na 1\n")
    stages = "s: {sh: cat, width: 1}, c: {use: partition, width: 4}, u: {use: count, width: 4, params: {key: 1}}"
    graph = two("{from: s, to: c, pattern: '>>', partition: {by: round-robin}}, {from: c, to: u, %s}", stages)
    for edge in ("partition: {by: hash, key: 1}", "partition: {by: round-robin}", "neighbours: 1, partition: {by: hash, key: 1}"):
        refused(case, graph % edge, "g.yaml:3:", "parts nothing between 'c' and 'u'", 'say pattern: ">>"')
    for edge in ("pattern: '>>', partition: {by: hash, key: 1}", "partition: {by: all}"):
        noted(case, graph % edge)
    # Key-value records go by their key, and by no field.
    graph = two("{from: s, to: u, pattern: '>>', partition: {by: hash%s}}", "s: {sh: cat, format: kv}, u: {use: sum, width: 2}")
    for more in ("", ", key: 1", ", key: 1, delimiter: tab"):
        noted(case, graph % more)
    for more in (", key: 2", ", key: 1, delimiter: ','"):
        refused(case, graph % more, "key-value records, which {by: hash} parts by their keys")


RANGES = """inputs: {t: {files: a.txt}}
stages: {s: {use: sort, width: 3, params: {%s}}}
flow: [{from: t, to: s, pattern: '>>', partition: {by: range%s}}]
outputs: {s: {file: "o%s"}}
"""


@test
def ranges_and_what_is_sorted_in_them_have_one_order(case):
    case.write("a.txt", "b 2\na 1\n")
    for sort, by, index in (("", "", ""), ("type: text", ", order: asc", ""), ("key: 2, type: number", ", key: 2, type: number", ""),
                            ("key: 1, delimiter: tab", ", key: 1, delimiter: '\t'", ""), ("invalid: skip, type: number", ", type: number", ""),
                            ("key: 1", ", key: 1, to: 3", ""), ("key: 2", ", key: 1", "{index}"), ("from: 1", "", "")):
        case.write("g.yaml", RANGES % (sort, by, index))
        case.dagrun("check", "g.yaml")
    for sort, by, index in (("type: number", "", ""), ("", ", type: number", ""), ("order: desc", "", "{index}"), ("key: 1", ", key: 2", ""), ("", ", key: 2", "{index}"),
                            ("type: general", ", type: number", ""), ("key: 1, delimiter: ','", ", key: 1", ""), ("key: 1, to: 3", ", key: 1", ""),
                            ("key: 1, from: 2", ", key: 1", "")):
        refused(case, RANGES % (sort, by, index), "g.yaml:3:8: the records that come to 's' are parted into ranges by another order", "say the same words in both")


@test
def what_is_merged_is_sorted_so(case):
    case.write("a.txt", "b 2\na 1\n")
    merge = HEAD + "stages: {s: {use: sort, params: {%s}}, p: {use: grep, params: {pattern: '.'}}, m: {use: merge, params: {%s}}}\nflow: [t >= s >= p >> m]\noutputs: {m: {file: o}}\n"
    for made, wanted in (("", ""), ("key: 2, type: number", "key: 2, type: number"), ("key: 1", "key: 1, to: 3"), ("memory: 1MiB", "")):
        case.write("g.yaml", merge % (made, wanted))
        case.dagrun("check", "g.yaml")
    for made, wanted in (("type: number", ""), ("", "type: number"), ("order: desc", ""), ("key: 1", "key: 2"), ("key: 1, to: 3", "key: 1")):
        refused(case, merge % (made, wanted), "g.yaml:3:", "'m' merges what is sorted by (", "but 's' sorts it by (")
    join = HEAD + "stages: {a: {use: sort, params: {key: 1}}, b: {use: sort, params: {key: %d}}, j: {use: join, params: {method: %s, key: 1, right: 2}}}\n" \
        "flow: [t >= a >= j.0, t >= b >= j.1]\noutputs: {j: {file: o}}\n"
    for key, method in ((2, "merge"), (1, "hash")):
        case.write("g.yaml", join % (key, method))
        case.dagrun("check", "g.yaml")
    refused(case, join % (1, "merge"), "'j' merges what is sorted by (key: 2,", "but 'b' sorts it by (key: 1,")


@test
def the_rest_of_a_file(case):
    case.write("a.txt", "b 2\na 1\n")
    case.write("d/e/f.txt", "x\n")
    refused(case, HEAD.replace("{files: a.txt}", "a.txt") + "stages: {s: {sh: cat}}\nflow: [t >= s]\n", 'an input must be a map, not text: such as {files: "*.txt"}')
    for pattern in ("d/**/", "d/*/", "**/"):
        refused(case, stage("{sh: cat}").replace("a.txt", f"'{pattern}'"), "1:21: ", "means folders alone", f"{pattern}*'")
    refused(case, stage("{sh: cat}", "{s: o}"), "an output must be a map, not text: such as {file: out.txt}")
    refused(case, stage("{sh: cat}", "{s^4: {file: o}}"), "4:11: '^' says a width")
    refused(case, stage("{sh: cat}", ""), "not nothing")
    refused(case, stage("{sh: cat}", more="params: {p: }\n"), "5:10: parameter 'p' has no default and is not given", '""')
    refused(case, stage("{sh: cat}", more="stages: {u: {sh: cat}}\n"), "5:1: the key 'stages' is there twice, first in line 2")
    case.write("g.yaml", stage("{sh: 'echo ${p}'}", more="params: {p: ''}\n"))
    check(b"the graph has no parameter of that name; it has p" in case.dagrun("check", "-p", "q=1", "g.yaml", rc=3).stderr, "-p")
    noted(case, stage("{sh: 'echo ${p}'}", more="params: {p: ''}\n"))


@test
def what_is_no_yaml(case):
    case.write("a.txt", "b 2\na 1\n")
    good = stage("{sh: cat}").encode()
    for text in (b"\xef\xbb\xbf" + good, good.replace(b"\n", b"\r\n"), good.decode().encode("utf-16"), stage("!!map {sh: !!str cat}").encode()):
        case.write("g.yaml", text)
        check(b"ok, 1 stage, 1 vertex" in case.dagrun("check", "g.yaml").stdout, text)
    for text, words in ((b"# \xe9t\xe9\n" + good, "g.yaml:1:3: the byte 0xe9 here is not UTF-8"),
                        (good + b"# a\xff\n", "g.yaml:5:4: the byte 0xff here is not UTF-8"),
                        (good + b"# a\x07\n", "g.yaml:5:4: a control character (0x07) is no text"),
                        (b"stages:\n  s: {sh: @x}\n", "2:11: a text that begins with this character stands in quotes"),
                        (b"stages:\n  s:\n    sh: echo a: b\n", "3:15: a text with ': ' in it stands in quotes, or below 'sh: |'"),
                        (b"stages:\n  s:\n    sh: | cat\n", "3:11: nothing stands behind '|'"),
                        (b"stages:\n  s: {sh: cat\nflow: [t >= s]\n", "3:5: a '}' or a ',' is missing before this (while parsing a flow mapping that begins in line 2, column 6)"),
                        (b"stages:\n  s:\n    sh: cat\n   width: 2\n", "4:4: this line is indented unlike"),
                        (b"stages:\n  s: !include x.yaml\n", "2:6: the tag '!include' means nothing"),
                        (b"stages: {s: !!python/object {sh: cat}}\n", "1:13: the tag '!!python/object' means nothing")):
        case.write("g.yaml", text)
        err = case.dagrun("check", "g.yaml", rc=3).stderr.decode()
        check(words in err, [text, err])


@test
def notes_of_what_may_be_meant_otherwise(case):
    case.write("a.txt", "b 2\na 1\n")
    noted(case, stage("{sh: cat, memory: 4}"), "note: g.yaml:2:31: memory is 4 bytes; did you mean 4MiB?")
    noted(case, stage("{program: [cat -n]}"), "note: g.yaml:2:24: the program is called 'cat -n'")
    noted(case, stage("{sh: 'cat; echo $who'}", more="params: {who: x}\n"), "note: g.yaml:2:18: '$who' is a variable of the shell", "the parameter is ${who}")
    noted(case, stage("{sh: 'who=1; cat; echo $who ${who} $whoever'}", more="params: {who: x}\n"))
    noted(case, stage("{sh: 'cat; echo $who', env: {who: '${who}'}}", more="params: {who: x}\n"))
    noted(case, stage("{sh: cat}", more="params: {p: x}\n"), "note: g.yaml:5:10: parameter 'p' is used nowhere")


if __name__ == "__main__":
    main()
