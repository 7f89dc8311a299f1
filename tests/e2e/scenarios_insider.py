"""Insiders: programs that have the key of the mesh and misuse it."""

import json
import os
import subprocess

from bed import BUILD, check, notify, wait_event
from scenarios_data import replay_nodes, stop_and_compare, wait_replayed

RATE = 100000  # frames a second
QUARANTINE = 15  # RefuseCode
VALUES = 2000  # a second, meanwhile

# What is sent, and what the daemon says of it.
FLOODS = ("ping", "ihave", "graft", "shuffle", "walk", "copy", "event", "stale", "names")
BREACHES = ("window", "digest")
QUICK = ("ihave", "event", "names", "digest")


def insider(bed, target, kind):
    """A program that fills a link with one kind of frame until it is cut off."""
    return bed.child([os.path.join(BUILD, "tests", "insider"), bed.mesh_key(), "default",
                      target.address, kind, str(RATE)], stdout=subprocess.PIPE, text=True)


def slowest_event(nodes, what):
    """Seconds until an event is on all nodes, as argusctl sees it: the worst of five."""
    slowest = 0.0
    for i in range(5):
        text = "%s %d" % (what, i)
        notify(nodes[i % len(nodes)], text)
        slowest = max(slowest, wait_event(nodes, text, 5))
    return slowest


def attack(bed, target, others, kind):
    """-> (seconds until it was cut off, seconds of the slowest event meanwhile)"""
    program = insider(bed, target, kind)
    slowest = slowest_event(others, "during " + kind)
    out = program.communicate(timeout=20)[0]
    said = json.loads(out)
    check(said["cut_s"] is not None, "%s: not cut off, the link ended with %s"
          % (kind, said["code"]))
    check(said["again"] == QUARANTINE, "%s: another link ended with %s" % (kind, said["again"]))
    listed = [q for q in target.status()["quarantined"] if q["id"] == said["id"]]
    check(len(listed) == 1 and listed[0]["name"] == "insider" and listed[0]["until"],
          "%s: status says %s" % (kind, target.status()["quarantined"]))
    words = "broke the rules" if kind in BREACHES else "useless frames"
    check(words in listed[0]["reason"], "%s: %s" % (kind, listed[0]["reason"]))
    return said["cut_s"], slowest


def insiders(bed, full):
    """100,000 frames/s of each kind against an aggregator that takes values."""
    seconds = 60 if full else 14
    bound_s = 1.0 if full else 3.0  # the quick form runs on machines with other work
    aggregators, agents = replay_nodes(bed, seconds, count=1, rate=VALUES)
    target, = aggregators
    before = max(slowest_event(agents, "before"), slowest_event(agents, "still before"))
    cut, slowest = {}, 0.0
    for kind in FLOODS + BREACHES if full else QUICK:
        cut[kind], slow = attack(bed, target, agents, kind)
        slowest = max(slowest, slow)
    figures = "cut off after %s s; slowest event %.2f s, %.2f s before" % (
        ", ".join("%s %.2f" % row for row in cut.items()), slowest, before)
    check(max(cut.values()) <= bound_s and slowest <= max(2 * before, bound_s), figures)
    target.wait_log("insider", "in quarantine for", "useless frames")
    shown = target.ctl_code("status", as_json=False)[1]
    check("quarantine" in shown and "useless frames" in shown, shown)
    counters = target.status()["counters"]
    check(counters["quarantines_begun"] == len(cut), "counters: %s" % counters)
    for node in agents:
        check(not node.status()["quarantined"], "%s blames %s"
              % (node.name, node.status()["quarantined"]))
    wait_replayed(agents, seconds)
    done, compared = stop_and_compare(aggregators, agents)
    check(done.returncode == 0, compared)
    return "%s; %s" % (figures, compared)


SCENARIOS = [insiders]
BUSY = SCENARIOS
