#!/usr/bin/env python3
"""check_ledgers.py finds each fault that it is there for, and nothing else."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
from check_ledgers import LIFE, RECORD  # noqa: E402

LIVES = (LIFE, 1, 4242, 0, 0)
A1, A2, A3 = ((7, t, t, 1, 5) for t in (10, 20, 30))
B1 = (8, 10, 1, 2, 6)
OWN = (99, 10, 1, 1, 1)
SENT = [LIVES, A1, A2, A3, B1]

NAMES = ("0000000000000007 h/cpu-0/cpu-idle\n"
         "0000000000000008 h/irq-/irq-7\n")
STOP = ("--stopped", "/irq-")

# what, records of one aggregator, of another, exit code, text expected, options
CASES = [
    ("all is well", [LIVES, A1, B1, OWN, A2, A3], [LIVES], 0, "lost 0"),
    ("shared by two", [LIVES, A1, B1], [LIVES, A2, A3], 0, "by two processes 0"),
    ("at both", [LIVES, A1, B1, A2], [LIVES, A2, A3], 0, "by two processes 1"),
    ("at both, an old one", [LIVES, A1, A2, A3, B1], [LIVES, A1], 0, "lost 0"),
    ("again in the next life", [LIVES, A1, A2, A3, B1, LIVES, A2], [LIVES], 0,
     "life 2"),
    ("one lost", [LIVES, A1, A2, B1], [LIVES], 1, "lost: 1"),
    ("one twice", [LIVES, A1, A2, A2, A3, B1], [LIVES], 1,
     "written twice by one process: 1"),
    ("out of order", [LIVES, A2, A1, A3, B1], [LIVES], 1, "out of order: 1"),
    ("content differs", [LIVES, A1, A2, A3, (8, 10, 2, 2, 6)], [LIVES], 1,
     "content differs: 1"),
    ("other sources", [LIVES, A1, A2, A3, (8, 10, 1, 1, 6)], [LIVES], 1,
     "content differs: 1"),
    ("never sent", [LIVES, A1, A2, A3, B1, (8, 11, 1, 2, 6)], [LIVES], 1,
     "written but never sent: 1"),
    ("no life", [A1], [LIVES], 2, "does not begin with a life"),
    ("stopped", [LIVES, A1, A2, A3], [LIVES], 0, "1 values of 1 series", *STOP),
    ("stopped, others lost", [LIVES, A1, A3], [LIVES], 1, "lost: 1", *STOP),
    ("stopped, yet written", [LIVES, A1, A2, A3, B1], [LIVES], 1,
     "written though stopped: 1", *STOP),
]


def write(path, records):
    with open(path, "wb") as file:
        for record in records:
            file.write(RECORD.pack(*record))


def write_names(path):
    with open(path, "w", encoding="utf-8") as file:
        file.write(NAMES)


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("sent", "one", "two")]
        write_names(paths[0] + ".names")
        for what, one, two, code, text, *options in CASES:
            for path, records in zip(paths, (SENT, one, two)):
                write(path, records)
            run = subprocess.run(
                [sys.executable, os.path.join(HERE, "check_ledgers.py"),
                 "--sent", paths[0], "--written", *paths[1:], *options],
                capture_output=True, text=True, check=False)
            if run.returncode != code or text not in run.stdout + run.stderr:
                failed += 1
                print(f"{what}: exit {run.returncode}, expected {code} and "
                      f"\"{text}\" in\n{run.stdout}{run.stderr}")
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
