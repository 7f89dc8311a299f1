#!/usr/bin/env python3
"""decoders.py - how many lines of what decodes the fuzz targets reach.

    decoders.py FOLDER FILE[:FUNCTION,...]...

FOLDER holds lines.txt (llvm-cov show) and functions.json (llvm-cov export). Prints
a line for each file; fails below 95 in 100 lines of them all, below 90 of one, and
when a file or a function is not there.

Of one file, what is done when memory runs out is left out: it never does here. That
is a stretch of lines that were not reached and in one of which it is said. Of them all
it counts as not reached.
"""

import collections
import json
import re
import sys

LINE = re.compile(r"^\s*(\d+)\|\s*([0-9.]+[kMGT]?)?\|(.*)")
MEMORY = re.compile(r"memory_refused|no memory|out of memory|NO_MEMORY|ENOMEM", re.I)


def counts_of(path):
    """{file: {line: was it reached}}, of the lines that can be; {file: {line: text}}"""
    counts, texts, now = collections.defaultdict(dict), collections.defaultdict(dict), None
    with open(path, errors="replace") as f:
        for text in f:
            if text.startswith("/") and text.rstrip().endswith(":"):
                now = text.rstrip()[:-1].split("/source/")[-1]
            found = LINE.match(text)
            if found and found.group(2) and now:
                line = int(found.group(1))
                counts[now][line] = counts[now].get(line, False) or found.group(2) != "0"
                texts[now][line] = found.group(3)
    return counts, texts


def without_memory(lines, texts):
    """What of {line: was it reached} is there for want of memory, and was not reached."""
    left_out, stretch = set(), []
    for line in sorted(lines) + [None]:
        if line is not None and not lines[line]:
            stretch.append(line)
            continue
        if any(MEMORY.search(texts[at]) for at in stretch):
            left_out.update(stretch)
        stretch = []
    return left_out


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
    """A name, and {line: was it reached}"""
    file, _, names = wanted.partition(":")
    if file not in counts:
        sys.exit("%s was never compiled in" % file)
    if not names:
        return file, counts[file]
    lines = {}
    for name in names.split(","):
        if (file, name) not in places:
            sys.exit("%s has no %s" % (file, name))
        first, last = places[file, name]
        lines.update((line, hit) for line, hit in counts[file].items() if first <= line <= last)
    return "%s (%d functions)" % (file, len(names.split(","))), lines


def main():
    counts, texts = counts_of(sys.argv[1] + "/lines.txt")
    places = places_of(sys.argv[1] + "/functions.json")
    reached = total = left_out = 0
    is_low = False
    for wanted in sys.argv[2:]:
        name, lines = lines_of(wanted, counts, places)
        left = without_memory(lines, texts[wanted.partition(":")[0]])
        hits = [hit for line, hit in lines.items() if line not in left]
        reached, total, left_out = reached + sum(hits), total + len(lines), left_out + len(left)
        is_low |= sum(hits) < 0.9 * len(hits)
        print("%-46s %4d of %4d lines  %6.2f %%"
              % (name, sum(hits), len(hits), 100 * sum(hits) / len(hits)))
    print("%-46s %4d of %4d lines  %6.2f %%; %d are for want of memory"
          % ("decoders", reached, total, 100 * reached / total, left_out))
    return 0 if reached >= 0.95 * total and not is_low else 1


if __name__ == "__main__":
    sys.exit(main())
