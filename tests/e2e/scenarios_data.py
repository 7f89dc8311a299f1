"""Values: from agents to aggregators, through deaths; and the lifecycle."""

import glob
import os
import random
import re
import signal
import subprocess
import sys
import time

from bed import (BUILD, Failure, built, check, pause, wait_for, wait_online)

HERE = os.path.dirname(os.path.abspath(__file__))
STOCK = "LoadPlugin load\nLoadPlugin memory\nLoadPlugin uptime\n"


def csv_block(d):
    return ('LoadPlugin csv\n<Plugin csv>\n  DataDir "%s/csv"\n  StoreRates false\n</Plugin>\n'
            % d.base)


def newest(aggregator, host):
    """Time of the newest value of a host in the aggregator's csv files; 0: none."""
    best = 0.0
    for path in glob.glob(os.path.join(aggregator.base, "csv", host, "*", "*")):
        with open(path, "rb") as f:
            f.seek(0, os.SEEK_END)
            f.seek(max(0, f.tell() - 200))
            lines = f.read().decode(errors="replace").strip().splitlines()
        if lines and re.match(r"^[0-9.]+,", lines[-1]):
            best = max(best, float(lines[-1].split(",")[0]))
    return best


def in_use(agent):
    rows = agent.ctl("route", codes=(0, 3))["aggregators"]
    used = [r["name"] for r in rows if r.get("in_use")]
    return used[0] if used else (rows[0]["name"] if rows else None)


def routing(bed, full):
    """2 aggregators, 2 agents; the aggregator in use dies."""
    bed.need_plugins("csv", "load", "memory", "uptime")
    aggregators = [bed.daemon("agg%d" % i, role="aggregator") for i in range(2)]
    for d in aggregators:
        d.plugins = csv_block(d)
    aggregators[1].seeds = [aggregators[0].address]
    agents = [bed.daemon("agent%d" % i, seeds=[aggregators[0].address], plugins=STOCK)
              for i in range(2)]
    everyone = aggregators + agents
    for d in everyone:
        d.spawn()
    since = time.monotonic()
    for d in everyone:
        d.wait_ready()
    wait_online(everyone, 4, 10)
    for agent in agents:
        wait_for(lambda a=agent: any(newest(g, a.name) for g in aggregators), 15,
                 "no value of %s in any csv" % agent.name)
    first = time.monotonic() - since

    used = in_use(agents[0])
    check(used in ("agg0", "agg1"), "%s uses %s" % (agents[0].name, used))
    victim = aggregators[int(used[-1])]
    other = aggregators[1 - int(used[-1])]
    victim.kill()
    killed, killed_wall = time.monotonic(), time.time()
    for agent in agents:
        wait_for(lambda a=agent: newest(other, a.name) > killed_wall, 20,
                 "%s does not go on at %s" % (agent.name, other.name))
    return ("values of 2 hosts %.1f s after the start; %s killed, both go on at %s after %.1f s"
            % (first, victim.name, other.name, time.monotonic() - killed))


def ledger_conf(d):
    return ('LoadPlugin ledger\n<Plugin ledger>\n  File "%s/ledger"\n</Plugin>\n' % d.base)


def replay_conf(d, index, seconds, rate):
    return ('LoadPlugin replay\n<Plugin replay>\n  Seed %d\n  Rate %d\n  Seconds %d\n'
            '  Ledger "%s/sent"\n</Plugin>\n' % (index + 1, rate, seconds, d.base))


SCENARIOS = [routing]
