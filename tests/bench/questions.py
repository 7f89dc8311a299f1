#!/usr/bin/env python3
"""questions.py - how long argusctl takes on a daemon that knows 10,000 nodes.

  questions.py [--records N] [--runs R]

A real daemon with a key, its StateDir filled by make_crowd beforehand. It hears of none of
them, so all are offline and none publishes (what 10,000 publish: check_argus crowd). Each
verb runs R times as a whole, from fork to exit, its answer into a pipe. The table has the
median and the most in milliseconds, and what argusctl and the daemon used of a processor
(median); then the memory of the daemon. ARGUS_BUILD is the build folder."""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]
sys.dont_write_bytecode = True

import bed  # noqa: E402
from mesh_base import cpu_seconds  # noqa: E402

BOUND_MS = 100
VERBS = (("members",), ("members", "--json"), ("offline",), ("offline", "--json"),
         ("publishers",), ("publishers", "--json"), ("publishers", "--plugin", "uptime"))


def cpu_ms(node):
    """Of the daemon, and of all children that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (cpu_seconds(node.process.pid) + used.ru_utime + used.ru_stime)


def ask(node, verb):
    """(milliseconds, milliseconds of CPU, bytes of the answer)"""
    cpu, since = cpu_ms(node), time.monotonic()
    done = subprocess.run([bed.ARGUSCTL, "-s", node.socket] + list(verb),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    took = 1e3 * (time.monotonic() - since)
    bed.check(done.returncode in (0, 3), "%s: exit code %d" % (" ".join(verb), done.returncode))
    return took, cpu_ms(node) - cpu, len(done.stdout)


def measure(b, records, runs):
    empty = b.daemon("empty").start()
    node = b.daemon("asked")
    subprocess.run([os.path.join(bed.BUILD, "tests/bench/make_crowd"), node.state_dir,
                    str(records)], check=True)
    node.start()
    bed.wait_for(lambda: len(node.members()) == records + 1, 30,
                 lambda: "it knows %d" % len(node.members()))
    print("argusctl on %d records, %d runs; bound %d ms" % (records, runs, BOUND_MS))
    for verb in VERBS:
        took, cpu, size = zip(*(ask(node, verb) for _ in range(runs)))
        print("  %-26s median %6.1f  most %6.1f  of CPU %6.1f ms  %5d KiB  %s"
              % (" ".join(verb), statistics.median(took), max(took), statistics.median(cpu),
                 size[0] >> 10, "ok" if statistics.median(took) <= BOUND_MS else "OVER"))
    added = bed.private_bytes(node.process.pid) - bed.private_bytes(empty.process.pid)
    print("  memory added by the records: %.1f MiB" % (added / 2**20))


def main():
    parser = argparse.ArgumentParser(description="argusctl on many records.")
    parser.add_argument("--records", type=int, default=10000, metavar="N")
    parser.add_argument("--runs", type=int, default=11, metavar="R")
    asked = parser.parse_args()
    with bed.Bed() as b:
        measure(b, asked.records, asked.runs)


if __name__ == "__main__":
    main()
