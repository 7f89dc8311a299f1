#!/usr/bin/env python3
"""Does every test that argus-protocol(7) names exist?

    check_claims.py SOURCE_FOLDER

In brackets stand, divided by ";", a suite with some of its tests ("guard:
id_is_proven, other_key"), a suite alone, or an end-to-end scenario."""
import glob
import os
import re
import sys


def names(source):
    """{suite: its tests}, {scenario}"""
    suites, scenarios = {}, set()
    for path in glob.glob(os.path.join(source, "tests", "test_*.c")):
        with open(path) as f:
            text = f.read()
        for suite, body in re.findall(r"suite_(\w+)\[\] = \{(.*?)\n\};", text, re.S):
            suites[suite] = set(re.findall(r'(?:\{"|ROW\()(\w+)', body))
    for path in glob.glob(os.path.join(source, "tests", "e2e", "scenarios_*.py")):
        with open(path) as f:
            scenarios |= set(re.findall(r"^def (\w+)\(bed, full\):", f.read(), re.M))
    return suites, scenarios


def missing(claim, suites, scenarios):
    name, _, tests = (part.strip() for part in claim.partition(":"))
    if not tests:
        return [] if name in suites or name in scenarios else [name]
    return ["%s: %s" % (name, t) for t in re.split(r",\s*", tests)
            if t not in suites.get(name, set())]


def main(source):
    suites, scenarios = names(source)
    with open(os.path.join(source, "contrib", "man", "argus-protocol.pod")) as f:
        claims = re.findall(r"\[([a-z_:,;\s]+)\]", f.read())
    if not claims:
        raise SystemExit("argus-protocol(7) claims nothing")
    absent = [m for group in claims for claim in group.split(";")
              for m in missing(" ".join(claim.split()), suites, scenarios)]
    for name in absent:
        print("not ok argus-protocol(7) names a test that is not there: %s" % name)
    if not absent:
        print("ok argus-protocol(7): all tests behind its claims are there")
    print("%d passed, %d failed" % (not absent, len(absent)))
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
