"""Values: from agents to aggregators, through deaths; and the lifecycle."""

import glob
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from bed import COLLECTD, check, wait_for, wait_online

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


# ------------------------------------------------------- every value, once

AGENTS = 4
RATE = 20000  # values a second, of all agents together


def replay_nodes(bed, seconds):
    """2 aggregators with a ledger each, 4 agents that wait for the start file."""
    go = os.path.join(bed.dir, "go")
    threads = "WriteThreads 5"
    aggregators = [bed.daemon("agg%d" % i, role="aggregator", extra=threads) for i in range(2)]
    for d in aggregators:
        d.plugins = 'LoadPlugin ledger\n<Plugin ledger>\n  File "%s/ledger"\n</Plugin>\n' % d.base
    aggregators[1].seeds = [aggregators[0].address]
    agents = [bed.daemon("agent%d" % i, seeds=[aggregators[0].address], extra=threads)
              for i in range(AGENTS)]
    for i, d in enumerate(agents):
        d.plugins = ('LoadPlugin replay\n<Plugin replay>\n  Recording "%s/recording.txt"\n'
                     '  HostPattern "a%d-%%"\n  Hosts 40\n  Rate %d\n  Duration %d\n'
                     '  Ledger "%s/sent"\n  StartFile "%s"\n</Plugin>\n'
                     % (HERE, i, RATE // AGENTS, seconds, d.base, go))
    for d in aggregators + agents:
        d.spawn()
    for d in aggregators + agents:
        d.wait_ready()
    wait_online(aggregators + agents, AGENTS + 2, 15)
    for agent in agents:
        wait_for(lambda a=agent: in_use(a), 10, "%s has no aggregator" % agent.name)
    with open(go, "w"):
        pass
    return aggregators, agents


def disturb(victim, how):
    if how == "kill":
        victim.kill()
    elif how == "stop":
        victim.stop()
    else:
        victim.send(signal.SIGSTOP)
        since = time.monotonic()
        wait_for(lambda: time.monotonic() - since >= 10, 20, "time stands still")
        victim.send(signal.SIGCONT)


def replay_once(bed, how, seconds):
    """One run; the figures of check_ledgers.py."""
    bed.need_built("tests/plugins/ledger.so", "tests/plugins/replay.so")
    aggregators, agents = replay_nodes(bed, seconds)
    since = time.monotonic()
    moment = random.uniform(0.1, 0.9) * seconds
    wait_for(lambda: time.monotonic() - since >= moment, seconds + 5, "time stands still")
    used = in_use(random.choice(agents))
    check(used in [a.name for a in aggregators], "the aggregator in use is %s" % used)
    victim = next(a for a in aggregators if a.name == used)
    disturb(victim, how)
    for agent in agents:
        wait_for(lambda a=agent: os.path.exists(a.base + "/sent.done"), seconds + 60,
                 "%s does not finish its replay" % agent.name)
    for agent in agents:
        wait_for(lambda a=agent: a.status()["queue"]["values"] == 0, 60,
                 lambda a=agent: "%s still holds %s" % (a.name, a.status()["queue"]))
    drained = time.monotonic() - since
    for d in agents + aggregators:
        if d.is_running():
            d.stop()
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, "check_ledgers.py"), "--sent"]
        + [a.base + "/sent" for a in agents] + ["--written"]
        + [a.base + "/ledger" for a in aggregators], capture_output=True, text=True)
    figures = "; ".join((done.stdout + done.stderr).strip().splitlines())
    check(done.returncode == 0, "%s of %s at %.1f s: %s" % (how, victim.name, moment, figures))
    return "%s of %s at %.1f s, all over after %.1f s: %s" % (how, victim.name, moment, drained,
                                                             figures)


def replay(bed, full, how, count=10):
    if not full:
        return replay_once(bed, how, 10)
    from bed import Bed
    figures = []
    for _ in range(count):
        with Bed() as other:
            figures.append(replay_once(other, how, 30))
            print("#   " + figures[-1], flush=True)
    return "%d runs of %d; the last: %s" % (count, count, figures[-1])


def replay_kill(bed, full):
    """20,000 values/s; the aggregator in use is killed."""
    return replay(bed, full, "kill")


def replay_stop(bed, full):
    """The same; it is stopped cleanly."""
    return replay(bed, full, "stop")


def replay_freeze(bed, full):
    """The same; it stands still for 10 s."""
    return replay(bed, full, "freeze")


# ---------------------------------------------------------------- lifecycle

def sanitizer_library(name):
    path = subprocess.run(["gcc", "-print-file-name=" + name], capture_output=True,
                          text=True).stdout.strip()
    check(os.path.isabs(path), "gcc has no %s" % name)
    return os.path.realpath(path)


def foreign_leaks(text, plugin_dir):
    """Leaks that are not collectd's own: whoever asked for the memory, the
    first frame outside the sanitizer, is neither collectd nor a stock plugin."""
    found = []
    for block in re.split(r"\n\s*\n", text):
        if not re.search(r"(Direct|Indirect) leak of", block):
            continue
        frames = [f for f in re.findall(r"^\s*#\d+ .*$", block, re.M)
                  if "interceptor" not in f and "libsanitizer" not in f]
        first = frames[0] if frames else ""
        is_stock = plugin_dir in first and "argus.so" not in first
        if not is_stock and COLLECTD not in first:
            found.append(block)
    return found


def ended_well(d):
    code = d.stop()
    text = d.log_text()
    os.unlink(d.out)
    leaks = foreign_leaks(text, d.bed.plugin_dir)
    check(not leaks, "%d leaks, the first: %s" % (len(leaks), leaks[:1]))
    bad = [line for line in text.splitlines() if "runtime error" in line
           or ("ERROR: " in line and "Sanitizer" in line and "LeakSanitizer" not in line)]
    check(not bad, "; ".join(bad[:3]))
    check(code == 0 or (code == 99 and "LeakSanitizer" in text), "exit code %d" % code)


def lifecycle(bed, full):
    """Start and stop under address and undefined: no leak, no hang."""
    build = os.environ.get("ARGUS_SANITIZED")
    check(build, "ARGUS_SANITIZED names no build with --enable-sanitize=address,undefined")
    shutil.copy(os.path.join(build, ".libs", "argus.so"), bed.plugin_dir)
    bed.need_plugins("csv", "load")
    libraries = [sanitizer_library("libasan.so"), sanitizer_library("libubsan.so")]
    env = {"LD_PRELOAD": ":".join(libraries),
           "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:fast_unwind_on_malloc=0",
           "UBSAN_OPTIONS": "print_stacktrace=1"}
    other = bed.daemon("other", role="aggregator", env=env).start()
    times = 100 if full else 5
    d = bed.daemon("node", seeds=[other.address], env=env, plugins="LoadPlugin load\n")
    for i in range(times):
        d.start()
        if i % 2:  # stop it joined, and stop it while it joins
            wait_for(lambda: d.status()["state"] == "joined", 15, "it does not join")
        ended_well(d)
    ended_well(other)
    return "%d starts and stops, no leak, no hang" % times


SCENARIOS = [routing, replay_kill]
FULL_ONLY = [replay_stop, replay_freeze, lifecycle]
