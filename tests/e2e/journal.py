"""journal.py - reads what the test plugin journal wrote (tests/plugins/journal.c),
and judges it: which series there are, what gaps they have, what came twice."""

import collections

TICKS = 1 << 30  # of a cdtime_t in a second

Value = collections.namedtuple("Value", "time arrived interval name values meta")
Notice = collections.namedtuple("Notice", "time severity name message meta")


class Journal:
    """A journal file, read from where the last reading ended."""

    def __init__(self, path):
        self.path, self.offset = path, 0
        self.values, self.notices, self.flushes, self.passes = [], [], [], []

    def read(self):
        """Take in what is new; returns self."""
        try:
            with open(self.path, "rb") as f:
                f.seek(self.offset)
                data = f.read()
        except FileNotFoundError:
            return self
        whole = data[:data.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.decode(errors="replace").split("\n")[:-1]:
            self._take(line.split("\t"))
        return self

    def _take(self, fields):
        if fields[0] == "V":
            self.values.append(Value(int(fields[1]), int(fields[2]), int(fields[3]), fields[4],
                                     fields[5], fields[6]))
        elif fields[0] == "N":
            self.notices.append(Notice(int(fields[1]), int(fields[2]), fields[3], fields[4],
                                       fields[5]))
        elif fields[0] == "F":
            self.flushes.append(fields[2])
        elif fields[0] == "R":
            self.passes.append(int(fields[1]))

    def forget(self):
        """Only what comes from now on counts."""
        self.read()
        self.values, self.notices, self.flushes, self.passes = [], [], [], []
        return self

    def names(self, without=("argus",)):
        """Identifiers without the host part's plugins named."""
        return {v.name for v in self.values
                if v.name.split("/")[1].split("-")[0] not in without}

    def series(self):
        """{identifier: its values in order of arrival}"""
        found = collections.defaultdict(list)
        for v in self.values:
            found[v.name].append(v)
        return found


def seconds(ticks):
    return ticks / TICKS


def gaps(values):
    """Seconds between each value of one series and the next."""
    return [seconds(b.time - a.time) for a, b in zip(values, values[1:])]


def not_newer(series):
    """Values that are not newer than the one before them: (identifier, seconds)."""
    return [(name, seconds(b.time - a.time)) for name, values in series.items()
            for a, b in zip(values, values[1:]) if b.time <= a.time]
