"""Values: from agents to aggregators, through deaths; and the lifecycle."""

import glob
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

from bed import COLLECTD, check, cpu_seconds, wait_for, wait_online

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


def put_value(node, text):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(node.put)
        s.sendall(b"PUTVAL %s\n" % text.encode())
        answer = s.recv(200)
        check(b"Success" in answer, "%s: %r" % (text, answer))


def values_of(node, plugin):
    """What its csv plugin wrote of a plugin's one series."""
    found = []
    for path in glob.glob(os.path.join(node.base, "csv", "*", plugin, "*")):
        with open(path) as f:
            found += [float(line.split(",")[1]) for line in f if line[0].isdigit()]
    return found


def stop_takes_what_was_gathered(bed, full):
    """Values written a few milliseconds before an agent stops, while it gathers what comes
    with them: each reaches the aggregator, at once or after the next start."""
    bed.need_plugins("csv", "unixsock")
    aggregator = bed.daemon("agg", role="aggregator")
    aggregator.plugins = csv_block(aggregator)
    aggregator.start()
    agent = bed.daemon("agent", seeds=[aggregator.address])
    agent.put = os.path.join(agent.base, "put.sock")
    agent.plugins = csv_block(agent) + (
        'LoadPlugin unixsock\n<Plugin unixsock>\n  SocketFile "%s"\n  DeleteSocket true\n'
        '</Plugin>\n' % agent.put)
    rounds = 5
    for i in range(rounds):
        agent.start()
        wait_for(lambda: in_use(agent), 15, "it has no aggregator")
        put_value(agent, "agent/last/gauge interval=10 N:%d" % i)
        limit = time.monotonic() + 5
        while i not in values_of(agent, "last"):  # without a pause: it would be too late
            check(time.monotonic() < limit, "its own collectd does not write value %d" % i)
        agent.stop()
    agent.start()
    wait_for(lambda: values_of(aggregator, "last") == list(range(rounds)), 20,
             lambda: "of %d values arrived: %s" % (rounds, values_of(aggregator, "last")))
    return "%d of %d values arrived" % (rounds, rounds)


# ------------------------------------------------------- every value, once

AGENTS = 4
HOSTS = 40  # of an agent
RATE = 20000  # values a second, of all agents together


def series_of_agent():
    """How many an agent replays."""
    with open(os.path.join(HERE, "recording.txt")) as f:
        return HOSTS * len({tuple(line.split()[:4]) for line in f if line[0] != "#"})


def replay_block(d, hosts, pattern, rate, seconds, go):
    return ('LoadPlugin replay\n<Plugin replay>\n  Recording "%s/recording.txt"\n'
            '  HostPattern "%s"\n  Hosts %d\n  Rate %d\n  Duration %d\n'
            '  Ledger "%s/sent"\n  StartFile "%s"\n</Plugin>\n'
            % (HERE, pattern, hosts, rate, seconds, d.base, go))


def replay_nodes(bed, seconds, count=2, rate=RATE, own_rate=0, extra="", agent_extra="",
                 security=None, prepare=None):
    """Aggregators with a ledger each, 4 agents that wait for the start file. The
    extras are global lines of their collectd.conf; own_rate: values a second that
    an aggregator replays itself; prepare(daemon) comes before each start."""
    go = os.path.join(bed.dir, "go")
    if os.path.exists(go):
        os.remove(go)
    threads = "WriteThreads 5\n"
    bed.need_built("tests/plugins/ledger.so", "tests/plugins/replay.so")
    aggregators = [bed.daemon("agg%d" % i, role="aggregator", extra=threads + extra,
                              security=security)
                   for i in range(count)]
    for i, d in enumerate(aggregators):
        d.plugins = 'LoadPlugin ledger\n<Plugin ledger>\n  File "%s/ledger"\n</Plugin>\n' % d.base
        if own_rate > 0:
            d.plugins += replay_block(d, 40, "own%d-%%" % i, own_rate, seconds, go)
    for d in aggregators[1:]:
        d.seeds = [aggregators[0].address]
    agents = [bed.daemon("agent%d" % i, seeds=[aggregators[0].address],
                         extra=threads + agent_extra, security=security)
              for i in range(AGENTS)]
    for i, d in enumerate(agents):
        d.plugins = replay_block(d, HOSTS, "a%d-%%" % i, rate // AGENTS, seconds, go)
    for d in aggregators + agents:
        if prepare is not None:
            prepare(d)
        d.spawn()
    for d in aggregators + agents:
        d.wait_ready()
    wait_online(aggregators + agents, AGENTS + count, 15)
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


def wait_replayed(agents, seconds, queue_max=None, rest=0):
    """Until all is sent and acknowledged, but for `rest` values. Returns the longest
    queue that was met (looked for with queue_max alone, which it may not exceed)."""
    longest = 0

    def is_sent(agent):
        nonlocal longest
        if queue_max is not None:
            longest = max([longest] + [a.status()["queue"]["values"] for a in agents])
            check(longest <= queue_max, "%d values wait" % longest)
        return os.path.exists(agent.base + "/sent.done")
    for agent in agents:
        wait_for(lambda a=agent: is_sent(a), seconds + 60,
                 "%s does not finish its replay" % agent.name)
    for agent in agents:
        wait_for(lambda a=agent: a.status()["queue"]["values"] <= rest, 60,
                 lambda a=agent: "%s still holds %s" % (a.name, a.status()["queue"]))
    return longest


def stop_and_compare(aggregators, agents, *options):
    """The finished check_ledgers.py, and its figures in a line."""
    for d in agents + aggregators:
        if d.is_running():
            d.stop()
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, "check_ledgers.py"), "--sent"]
        + [a.base + "/sent" for a in agents] + ["--written"]
        + [a.base + "/ledger" for a in aggregators] + list(options),
        capture_output=True, text=True)
    return done, "; ".join((done.stdout + done.stderr).strip().splitlines())


def replay_once(bed, how, seconds):
    """One run; the figures of check_ledgers.py."""
    aggregators, agents = replay_nodes(bed, seconds)
    since = time.monotonic()
    moment = random.uniform(0.1, 0.9) * seconds
    wait_for(lambda: time.monotonic() - since >= moment, seconds + 5, "time stands still")
    used = in_use(random.choice(agents))
    check(used in [a.name for a in aggregators], "the aggregator in use is %s" % used)
    victim = next(a for a in aggregators if a.name == used)
    disturb(victim, how)
    wait_replayed(agents, seconds)
    drained = time.monotonic() - since
    done, figures = stop_and_compare(aggregators, agents)
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


# ------------------------------------------------------------ filter chains

CHAIN_SECONDS = 5
QUEUE_MAX = 4 * RATE // AGENTS  # of an agent: values of four of the five seconds
REST = 1000  # of an agent: its own metrics of a few intervals, always on their way


def chain_run(bed, *options, queue_max=QUEUE_MAX, **nodes):
    """A replay through one aggregator; its counters and the figures."""
    aggregators, agents = replay_nodes(bed, CHAIN_SECONDS, count=1, **nodes)
    cpu = cpu_seconds(aggregators[0].process.pid)
    longest = wait_replayed(agents, CHAIN_SECONDS, queue_max=queue_max, rest=REST)
    cpu = cpu_seconds(aggregators[0].process.pid) - cpu
    counters = aggregators[0].status()["counters"]
    acked = sum(a.status()["counters"]["values_acked"] for a in agents)
    done, figures = stop_and_compare(aggregators, agents, *options)
    check(done.returncode == 0, figures)
    return counters, acked, ("%d acknowledged, at most %d waiting, aggregator used %.1f s of CPU: %s"
                             % (acked, longest, cpu, figures))


def chain_none(bed, full):
    """No chain: the figures to compare the others with."""
    counters, acked, figures = chain_run(bed)
    check(counters["values_seen"] >= RATE * CHAIN_SECONDS, "seen: %s" % counters)
    return figures


def chain_bypass(bed, full):
    """A chain on the aggregator names a writer, and argus is not named."""
    counters, acked, figures = chain_run(
        bed, extra='PostCacheChain "out"\n<Chain "out">\n  <Target "write">\n'
                   '    Plugin "ledger"\n  </Target>\n</Chain>')
    check(counters["values_seen"] == 0, "argus saw values: %s" % counters)
    check(counters["values_passed"] >= RATE * CHAIN_SECONDS * 0.99, "passed: %s" % counters)
    check(acked >= RATE * CHAIN_SECONDS - AGENTS * REST, "%d were acknowledged" % acked)
    return figures


REGEX_STOP = ('LoadPlugin match_regex\nPreCacheChain "in"\n<Chain "in">\n  <Rule>\n'
              '    <Match "regex">\n      Plugin "%s"\n    </Match>\n    Target "stop"\n'
              '  </Rule>\n</Chain>')


def chain_stop(bed, full):
    """A chain on the aggregator stops values of one plugin before the cache."""
    bed.need_plugins("match_regex")
    counters, acked, figures = chain_run(bed, "--stopped", "/irq-", extra=REGEX_STOP % "^irq$")
    check(counters["values_stopped"] > 0, "nothing was stopped: %s" % counters)
    return figures


def chain_stop_all(bed, full):
    """A chain on the aggregator stops whatever agents send: acknowledged all the same."""
    bed.need_plugins("match_regex")
    counters, acked, figures = chain_run(bed, "--stopped", "", queue_max=RATE * CHAIN_SECONDS,
                                         extra=REGEX_STOP % "^[^a]|^a[^r]")
    return figures


def chain_narrow(bed, full):
    """A chain on the agents gives argus the values of one plugin."""
    bed.need_plugins("match_regex")
    counters, acked, figures = chain_run(
        bed, "--stopped", "^[^/]*/(?!cpu-)",
        agent_extra='LoadPlugin match_regex\nPostCacheChain "out"\n<Chain "out">\n  <Rule>\n'
                    '    <Match "regex">\n      Plugin "^cpu$"\n    </Match>\n'
                    '    <Target "write">\n      Plugin "argus"\n    </Target>\n'
                    '  </Rule>\n</Chain>')
    check(0 < counters["values_received"] < RATE * CHAIN_SECONDS / 2, "received: %s" % counters)
    return figures


def queue_limit(bed, full):
    """collectd's own queue limit on the aggregator drops values; of the agents' none is lost."""
    counters, acked, figures = chain_run(
        bed, rate=RATE // 10, own_rate=RATE,
        extra="WriteQueueLimitHigh 1000\nWriteQueueLimitLow 40")
    check(counters["values_redispatched"] > 0, "nothing was dropped: %s" % counters)
    return "%d dispatched again, %s" % (counters["values_redispatched"], figures)


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


SCENARIOS = [routing, stop_takes_what_was_gathered, replay_kill, chain_bypass, chain_stop,
             chain_narrow, queue_limit]
FULL_ONLY = [chain_none, chain_stop_all, replay_stop, replay_freeze, lifecycle]
ALONE = [replay_kill]
BUSY = [chain_bypass, chain_stop, chain_narrow, queue_limit]
