#!/usr/bin/env python3
"""Turn what collectd's csv plugin wrote into a recording for the replay plugin.

Run a stock collectd for some seconds with `Interval 1`, csv with
`StoreRates false`, and the plugins wanted, then
    make_recording.py DATADIR/HOST > recording.txt
A line is one sample, in order of time ("-": empty):
    type type_instance plugin plugin_instance interval value...
"""
import sys
from pathlib import Path

# Names of this one machine, and plugins with hundreds of series alike, would
# only make the recording longer.
WANTED = {
    "contextswitch": None, "cpu": None, "disk": None, "entropy": None,
    "load": None, "memory": None, "processes": None, "swap": None,
    "uptime": None, "users": None,
    "df": {"df-root", "df-dev-shm"},
    "interface": {"interface-lo", "interface-eth0"},
    "irq": 12, "vmem": 24,
}


def split(name):
    head, _, tail = name.partition("-")
    return head, tail or "-"


def samples(path):
    lines = path.read_text().splitlines()[1:]  # the first names the columns
    for line in lines:
        time, *values = line.split(",")
        yield float(time), values


def main():
    root = Path(sys.argv[1])
    rows = []
    for folder in sorted(root.iterdir()):
        plugin, instance = split(folder.name)
        wanted = WANTED.get(plugin, set())
        if isinstance(wanted, set) and folder.name not in wanted:
            continue
        files = sorted(folder.iterdir())
        if isinstance(wanted, int):
            files = files[:wanted]
        for place, path in enumerate(files):
            series, type_instance = split(path.name[: -len("-2024-01-01")])
            if "nan" in path.read_text():
                continue
            for time, values in samples(path):
                rows.append((round(time), plugin, instance, place,
                             f"{series} {type_instance} {plugin} {instance} 1 "
                             + " ".join(values)))
    print("# type type_instance plugin plugin_instance interval value...")
    for row in sorted(rows):
        print(row[-1])


main()
