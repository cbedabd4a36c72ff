#!/bin/sh
# Installs what is missing, builds, and counts the words of the text that a Debian machine has.
set -e
cd "$(dirname "$0")"
more=
. ./setup.sh
mkdir -p out
files=
for pattern in /usr/share/common-licenses/* /usr/share/doc/*/copyright /usr/share/doc/*/README* /usr/share/perl/*/pod/*.pod; do
	[ -f "$pattern" ] || continue
	case $pattern in *.gz) continue ;; esac
	files=1
	cat "$pattern"
done >out/demo.txt
[ -s out/demo.txt ] || { echo "this machine has no text in /usr/share; give your own: build/dagrun run graphs/wordcount/wordcount.yaml -p text=FILE" >&2; exit 1; }
echo "counting the words of $(wc -c <out/demo.txt) bytes of licences and documentation:"
build/dagrun run graphs/wordcount/wordcount.yaml -p text=out/demo.txt -p split=1MiB -p out=out/words.tsv
echo
echo "the ten most frequent words:"
head -n 10 out/words.tsv
cat <<'END'

All of them are in out/words.tsv. To go on:
  build/dagrun plan graphs/wordcount/wordcount.yaml        what ran
  build/dagrun run graphs/toppages/toppages.yaml           another job; there is one in each folder of graphs/
  build/dagrun --help                                      all commands
  README.md                                                how to write your own, and how to run it on many machines
END
