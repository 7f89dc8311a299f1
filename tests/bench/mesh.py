#!/usr/bin/env python3
"""mesh.py - argus beside serf: the mesh of each, on the same machine, in one run.

  mesh.py [--nodes N] [--runs R] [--figures LIST] [--only argus|serf] [--json FILE]

argus is N real collectd daemons with a key (so TLS is on) and without routing of
metrics, which serf has none of; serf is N agents with its profile for a LAN. One
after the other, all on loopback in a network namespace of their own, driven and
watched by the same code: argus over control sockets, serf over its RPC. Figures:

  form    last start until every node knows all
  idle    bytes a second and CPU a node at rest, private memory; for argus what a
          collectd without it takes is taken off
  event   256 bytes from nodes at random, one after the other: until each other node
          has it; and payload messages for each delivery, less one
  burst   200 events at once from one node: until every node has all
  pause   a node stopped for 3 s: nodes that called it gone, or suspected it
  stop    a node stopped for good: until no other takes it for well (argus: suspect or
          offline), and until all call it gone (offline, failed)
  half    half of the nodes killed: until every survivor calls them gone

With --runs the whole is repeated; the table has medians and, in brackets, the
least and the most. Needs root. ARGUS_BUILD is the build folder.
"""

import argparse
import json
import os
import random
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]
sys.dont_write_bytecode = True

import bed  # noqa: E402
from mesh_argus import ArgusMesh  # noqa: E402
from mesh_base import Meter, now  # noqa: E402
from mesh_serf import SerfMesh  # noqa: E402

FIGURES = ("form", "idle", "event", "burst", "pause", "stop", "half")
REST_S = 60       # after the mesh formed, until it is at rest
SETTLE_S = 10     # after a node came back
TAIL_S = 5        # what an event still causes once all have it
EVENT_BYTES = 255  # with its NUL 256, argus' bound of a message
BURST = 200


def say(text):
    print("# %s" % text, file=sys.stderr, flush=True)


class Run:
    """One mesh, and the figures taken of it: {name: number}."""

    def __init__(self, mesh, options):
        self.mesh, self.options, self.found = mesh, options, {}
        self.idle = None  # a Meter's rates at rest

    def note(self, name, value):
        self.found[name] = value
        say("%s: %s %.4g  (load %.1f)" % (self.mesh.name, name, value, os.getloadavg()[0]))

    def form(self):
        last = self.mesh.start_all()
        seen = self.mesh.wait_seen(self.mesh.alive(), len(self.mesh.alive()), 0, 120)
        self.note("form_s", seen - last)

    def idle_(self):
        self.mesh.pump(REST_S)
        meter = Meter(self.mesh)
        self.mesh.pump(self.options.idle)
        self.idle = meter.rates()
        nodes = len(self.mesh.alive())
        base_cpu, base_memory = self.mesh.baseline()
        self.note("idle_bytes_s", self.idle["bytes"] / nodes)
        self.note("idle_cpu_percent", 100 * (self.idle["cpu"] / nodes - base_cpu))
        memory = statistics.median(bed.private_bytes(self.mesh.pids[i]) for i in self.mesh.alive())
        self.note("memory_mib", (memory - base_memory) / 2**20)

    def event(self):
        mesh, delays = self.mesh, []
        if self.idle is None:
            self.idle_()
        meter, before = Meter(mesh), mesh.payloads()
        for number in range(self.options.events):
            source = random.choice(mesh.alive())
            text = ("e%d." % number).ljust(EVENT_BYTES, "x")
            sent = mesh.publish(source, text)
            mesh.wait_events([text], 10)
            got = mesh.events.get(text, {})
            delays += [t - sent for i, t in got.items() if i != source]
            mesh.pump(mesh.event_gap_s)
        mesh.pump(TAIL_S)
        nodes = len(mesh.alive())
        wanted = self.options.events * (nodes - 1)
        self.note("event_p50_ms", 1e3 * bed.quantile(delays, 0.5))
        self.note("event_p99_ms", 1e3 * bed.quantile(delays, 0.99))
        self.note("event_missed", wanted - len(delays))
        sent = mesh.payloads_sent(before, meter.seconds(), self.idle)
        self.note("redundancy", sent / wanted - 1)

    def burst(self):
        mesh = self.mesh
        texts = ["b%d." % i for i in range(BURST)]
        sent = now()
        mesh.publish_all(mesh.alive()[0], [t.ljust(100, "x") for t in texts])
        last = mesh.wait_events([t.ljust(100, "x") for t in texts], 60)
        missed = sum(len(mesh.alive()) - len(mesh.events.get(t.ljust(100, "x"), {})) for t in texts)
        self.note("burst_s", last - sent)
        self.note("burst_missed", missed)

    def pause(self):
        """Whoever doubts it at any time is counted once."""
        mesh, doubting, wrong = self.mesh, set(), set()
        victim = mesh.alive()[-1]
        others = [i for i in mesh.alive() if i != victim]
        mesh.freeze(victim)
        stopped, is_frozen = now(), True
        while now() - stopped < 3 + SETTLE_S:
            if is_frozen and now() - stopped >= 3:
                mesh.thaw(victim)
                is_frozen = False
            mesh.ask_all(others)
            mesh.pump(0.25)
            said = [(i, mesh.seen[i]) for i in others if i in mesh.seen]
            doubting |= {i for i, seen in said if seen.doubted > 0}
            wrong |= {i for i, seen in said if seen.gone > 0}
        self.note("false_alarms", len(wrong))
        self.note("suspicions", len(doubting))

    def stop(self):
        mesh = self.mesh
        victim = mesh.alive()[-1]
        others = [i for i in mesh.alive() if i != victim]
        mesh.freeze(victim)
        since = now()
        self.note("stop_s", mesh.wait_seen(others, len(others), 0, 60) - since)
        self.note("stop_gone_s", mesh.wait_seen(others, len(others), 1, 60) - since)
        mesh.thaw(victim)
        mesh.wait_seen(mesh.alive(), len(mesh.alive()), 0, 90)

    def half(self):
        mesh = self.mesh
        dead = mesh.alive()[len(mesh.alive()) // 2:]
        since = now()
        for i in dead:  # all at once; to bury them takes a while
            mesh.processes[i].kill()
        for i in dead:
            mesh.kill(i)
        rest = mesh.alive()
        self.note("half_s", mesh.wait_seen(rest, len(rest), len(dead), 120) - since)

    def all(self):
        self.form()
        for name in FIGURES[1:]:
            if name in self.options.figures:
                say("%s: %s ..." % (self.mesh.name, name))
                (self.idle_ if name == "idle" else getattr(self, name))()
        return self.found


# --------------------------------------------------------------- the table

# name, what it says, unit, the bound for argus
ROWS = (
    ("form_s", "last start until every node knows all", "s", 2.0),
    ("event_p50_ms", "256 B event, all (event, node) pairs, p50", "ms", 10),
    ("event_p99_ms", "  p99", "ms", 50),
    ("event_missed", "  pairs that got none within 10 s", "", 0),
    ("redundancy", "payload messages a delivery, less one", "", 0.05),
    ("stop_gone_s", "stopped node called gone everywhere", "s", 5),
    ("stop_s", "  and taken for well nowhere (suspect)", "s", 5),
    ("false_alarms", "called gone for a pause of 3 s, by nodes", "", 0),
    ("suspicions", "  and suspected only", "", None),
    ("half_s", "half killed: survivors agree who is gone", "s", 8),
    ("idle_bytes_s", "idle, bytes/s a node (sent, IP)", "B/s", 600),
    ("idle_cpu_percent", "idle CPU (added to collectd)", "%", 0.1),
    ("memory_mib", "private memory (added to collectd)", "MiB", 4),
    ("burst_s", "200 events at once from one node: at all", "s", 1),
    ("burst_missed", "  pairs that got none within 60 s", "", 0),
)


def cell(numbers):
    if not numbers:
        return "-"
    text = "%.3g" % statistics.median(numbers)
    if len(numbers) > 1:
        text += " (%.3g-%.3g)" % (min(numbers), max(numbers))
    return text


def print_table(results, options):
    print("%d nodes, %d run%s, %d CPUs; load %.1f at the start, %.1f at the end"
          % (options.nodes, options.runs, "s" if options.runs > 1 else "", os.cpu_count(),
             options.load, os.getloadavg()[0]))
    line = "%-44s %-4s %9s %20s %20s %7s"
    print(line % ("figure", "", "bound", "serf", "argus", "ratio"))
    for name, text, unit, bound in ROWS:
        serf, argus = ([r[name] for r in results[s] if name in r] for s in ("serf", "argus"))
        if not serf and not argus:
            continue
        ratio = "-"
        if serf and argus and statistics.median(serf) > 0:
            ratio = "%.3f" % (statistics.median(argus) / statistics.median(serf))
        late = bound is not None and argus and statistics.median(argus) > bound
        limit = "<= %g" % bound if bound is not None else ""
        print(line % (text, unit, limit, cell(serf), cell(argus), ratio) +
              ("  MISSED" if late else ""))


def enter_own_network():
    if os.environ.get("ARGUS_BENCH_NETWORK") == "own":
        return
    if os.geteuid() != 0:
        sys.exit("mesh.py: needs root, for a network of its own")
    os.environ["ARGUS_BENCH_NETWORK"] = "own"
    os.execvp("unshare", ["unshare", "--net", "sh", "-c", bed.OWN_NETWORK + ' && exec "$0" "$@"',
                          sys.executable, os.path.abspath(__file__)] + sys.argv[1:])


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=64, metavar="N")
    parser.add_argument("--runs", type=int, default=1, metavar="R")
    parser.add_argument("--figures", default=",".join(FIGURES), metavar="LIST",
                        help="some of %s" % ",".join(FIGURES))
    parser.add_argument("--only", choices=("argus", "serf"))
    parser.add_argument("--events", type=int, default=30, metavar="K", help="of figure event")
    parser.add_argument("--idle", type=float, default=30, metavar="S", help="of figure idle")
    parser.add_argument("--json", metavar="FILE", help="all figures of all runs")
    options = parser.parse_args()
    options.figures = options.figures.split(",")
    unknown = [f for f in options.figures if f not in FIGURES]
    if unknown or options.nodes < 2 or options.runs < 1 or options.events < 1:
        parser.error("no such figure: %s" % unknown if unknown else "a number is too small")
    return options


def main():
    options = parse()
    enter_own_network()
    options.load = os.getloadavg()[0]
    results = {"serf": [], "argus": []}
    failed = 0
    for run in range(options.runs):
        for kind in (SerfMesh, ArgusMesh):
            if options.only not in (None, kind.name):
                continue
            say("run %d of %d: %s" % (run + 1, options.runs, kind.name))
            with bed.Bed() as b, kind(b, options.nodes) as mesh:
                r = Run(mesh, options)
                try:
                    r.all()
                except bed.Failure as failure:  # what was found until then counts
                    say("%s: %s" % (kind.name, failure))
                    failed = 1
                results[kind.name].append(r.found)
    print_table(results, options)
    if options.json:
        with open(options.json, "w") as f:
            json.dump({"nodes": options.nodes, "results": results}, f, indent=1)
    return failed


if __name__ == "__main__":
    sys.exit(main())
