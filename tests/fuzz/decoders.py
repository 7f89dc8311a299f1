#!/usr/bin/env python3
"""decoders.py - how many lines of what decodes the fuzz targets reach.

    decoders.py FOLDER FILE[:FUNCTION,...]...

FOLDER holds lines.txt (llvm-cov show) and functions.json (llvm-cov export). Prints
a line for each file, fails below 95 in 100 lines of them all, and when a file or a
function is not there.
"""

import collections
import json
import re
import sys

LINE = re.compile(r"^\s*(\d+)\|\s*([0-9.]+[kMGT]?)?\|")


def counts_of(path):
    """{file: {line: was it reached}}, of the lines that can be."""
    counts, now = collections.defaultdict(dict), None
    with open(path, errors="replace") as f:
        for text in f:
            if text.startswith("/") and text.rstrip().endswith(":"):
                now = text.rstrip()[:-1].split("/source/")[-1]
            found = LINE.match(text)
            if found and found.group(2) and now:
                line = int(found.group(1))
                counts[now][line] = counts[now].get(line, False) or found.group(2) != "0"
    return counts


def places_of(path):
    """{(file, function): (first line, last line)}"""
    places = {}
    with open(path) as f:
        for function in json.load(f)["data"][0]["functions"]:
            first, _, last = function["regions"][0][:3]
            file = function["filenames"][0].split("/source/")[-1]
            places[file, function["name"].split(":")[-1]] = (first, last)
    return places


def lines_of(wanted, counts, places):
    file, _, names = wanted.partition(":")
    if file not in counts:
        sys.exit("%s was never compiled in" % file)
    if not names:
        return file, list(counts[file].values())
    lines = []
    for name in names.split(","):
        if (file, name) not in places:
            sys.exit("%s has no %s" % (file, name))
        first, last = places[file, name]
        lines += [hit for line, hit in counts[file].items() if first <= line <= last]
    return "%s (%d functions)" % (file, len(names.split(","))), lines


def main():
    counts = counts_of(sys.argv[1] + "/lines.txt")
    places = places_of(sys.argv[1] + "/functions.json")
    reached = total = 0
    for wanted in sys.argv[2:]:
        name, lines = lines_of(wanted, counts, places)
        reached, total = reached + sum(lines), total + len(lines)
        print("%-40s %4d of %4d lines  %6.2f %%"
              % (name, sum(lines), len(lines), 100 * sum(lines) / len(lines)))
    print("%-40s %4d of %4d lines  %6.2f %%" % ("decoders", reached, total, 100 * reached / total))
    return 0 if reached >= 0.95 * total else 1


if __name__ == "__main__":
    sys.exit(main())
