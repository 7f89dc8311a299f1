#!/usr/bin/env python3
"""Compare what replay plugins sent with what ledger plugins wrote.

    check_ledgers.py --sent FILE... --written FILE... [--allow-lost N] [--stopped REGEX]

Holds when every value sent was written by an aggregator with the same content,
no process wrote one twice, and none wrote a series out of order of time; of series whose name matches REGEX
("host/plugin-instance/type-instance"), that none was written at all. A file
may hold several lives of a process; each is judged by itself. Series that no
sender knows (the aggregators' own metrics) are left out. Prints the figures;
exit 1 when something does not hold, 2 when a file cannot be read.

Records: tests/plugins/record.h."""
import argparse
import os
import re
import struct
import sys

RECORD = struct.Struct("<QQQII")
LIFE = 0
SHOWN = 5


def lives(path):
    """The records of each life of the process that wrote the file."""
    with open(path, "rb") as file:
        data = file.read()
    torn = len(data) % RECORD.size
    if torn:
        print(f"{path}: {torn} bytes behind the last whole record")
        data = data[: len(data) - torn]
    found = []
    for record in RECORD.iter_unpack(data):
        if record[0] == LIFE:
            found.append([])
        elif not found:
            raise ValueError(f"{path} does not begin with a life")
        else:
            found[-1].append(record)
    return found


def names_of(paths):
    names = {}
    for path in paths:
        try:
            with open(path + ".names", encoding="utf-8") as file:
                for line in file:
                    number, _, name = line.rstrip("\n").partition(" ")
                    names[int(number, 16)] = name
        except FileNotFoundError:
            continue
    return names


def read_sent(paths):
    sent = {}
    doubled = 0
    for path in paths:
        for life in lives(path):
            for series, time, first, count, check in life:
                key = (series, time)
                doubled += key in sent
                sent[key] = (first, count, check)
    return sent, doubled


class Report:
    def __init__(self, names):
        self.names = names
        self.faults = {}

    def fault(self, kind, series, time, where):
        told = self.faults.setdefault(kind, [])
        told.append((series, time, where))

    def show(self):
        for kind, told in self.faults.items():
            print(f"  {kind}: {len(told)}")
            for series, time, where in told[:SHOWN]:
                name = self.names.get(series, f"{series:016x}")
                print(f"    {name} at {time / 2 ** 30:.6f} {where}")


def judge_life(life, sent, known, where, report):
    """What one life wrote of what was sent: a set of (series, time)."""
    written = set()
    last = {}
    foreign = 0
    for series, time, first, count, check in life:
        if series not in known:
            foreign += 1
            continue
        key = (series, time)
        if key in written:
            report.fault("written twice by one process", series, time, where)
            continue
        if time < last.get(series, 0):
            report.fault("out of order", series, time, where)
        else:
            last[series] = time
        content = sent.get(key)
        if content is None:
            report.fault("written but never sent", series, time, where)
            continue
        if content != (first, count, check):
            report.fault("content differs", series, time, where)
        written.add(key)
    return written, foreign


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sent", nargs="+", required=True)
    parser.add_argument("--written", nargs="+", required=True)
    parser.add_argument("--allow-lost", type=int, default=0)
    parser.add_argument("--stopped", type=re.compile)
    args = parser.parse_args()

    sent, doubled = read_sent(args.sent)
    known = {series for series, _ in sent}
    names = names_of(args.sent)
    report = Report(names)
    stopped = {series for series in known
               if args.stopped and args.stopped.search(names.get(series, ""))}
    union = set()
    total = 0
    print(f"sent      {len(sent):9d} values of {len(known)} series"
          + (f", {doubled} TWICE" if doubled else ""))
    for path in args.written:
        for number, life in enumerate(lives(path)):
            where = f"in {os.path.basename(path)}, life {number + 1}"
            written, foreign = judge_life(life, sent, known, where, report)
            print(f"written   {len(written):9d} {where}, "
                  f"{foreign} of series of its own")
            total += len(written)
            union |= written
    for series, time in union:
        if series in stopped:
            report.fault("written though stopped", series, time, "")
    missing = sent.keys() - union
    lost = sorted((key for key in missing if key[0] not in stopped), key=lambda key: key[1])
    for series, time in lost:
        report.fault("lost", series, time, "")
    print(f"in union  {len(union):9d}; by two processes {total - len(union)}; "
          f"lost {len(lost)}")
    if args.stopped:
        print(f"stopped   {len(missing) - len(lost):9d} values of {len(stopped)} series")
    report.show()

    faults = {kind: len(told) for kind, told in report.faults.items()}
    if faults.get("lost", 0) <= args.allow_lost:
        faults.pop("lost", None)
    if not sent:
        print("nothing was sent")
    return 1 if faults or doubled or not sent else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError) as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)
