#!/usr/bin/env python3
"""soak.py [--minutes M] [--seed S] [--nodes N] - real daemons, and whatever goes wrong.

N collectd daemons with argus and a key, each in a network namespace of its own: four zones of
an aggregator and agents. In each round of about a minute some are killed, stopped, paused
(SIGSTOP) and cut off from each other at random; then all is mended. Values and events are
made all the while, the former by the nodes that are never killed ("steady"). All that is
known of argus is what argusctl says. It must hold:

  - no node says of another that is up and can be reached that it is offline or left, for
    longer than OFFLINE_S after the cause ended: what was done to one of the two, or to any
    node last before it was first said; nor of one that is down, paused or cut off that it
    is online for longer than GONE_S;
  - who is up answers, and no daemon ends by itself;
  - once all is mended all nodes know all within KNOWN_S, are one mesh, and have every event
    that was published (but one whose node was killed within KEPT_S of it);
  - counters of what an honest mesh never does stay zero;
  - steady nodes do not grow: the median of private memory in the last quarter, against that
    in the first one after the warm up, and file descriptors likewise;
  - every value of the steady nodes was written by an aggregator, in order.

Prints a line a minute and the line that replays it; the last line is "N passed, N failed".
Needs root, and ARGUS_BUILD, the build folder."""

import argparse
import collections
import concurrent.futures
import os
import random
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import bed as beds  # noqa: E402
from bed import Failure, check, is_connected, pause, private_bytes  # noqa: E402
from scenarios_data import replay_block, stop_and_compare, wait_replayed  # noqa: E402
from soak_faults import DEAD, ENDING, PAUSED, UP, Fate, Plan, now  # noqa: E402

ZONES = 4
OFFLINE_S = 10     # a wrong "offline" may last so long after its cause
GONE_S = 30        # a wrong "online" likewise: who is cut off alone dials the others in turn
KNOWN_S = 30       # from the last repair until all know all, and have all events
KEPT_S = 2         # an event is on its node's disk by then
FAULTS_S = 30      # of a round
LOOK_S = 3         # between two rounds of questions
QUIET_S = OFFLINE_S + LOOK_S + 2
EVENT_S = 1.0      # between two events
WEIGH_S = 10
WARM_UP_S = 600    # at most; a third of a shorter run
GROWTH_FROM = 20   # minutes: what is shorter says nothing of growth
GROWTH = 0.05      # of the median of all steady nodes
GROWTH_NODE = 512 << 10  # of any of them: the allocator's steps
STEADY_A_ZONE = 3
RATE = 5           # values a second of a steady node
RETAIN = 250       # events: the ring is full before the memory counts
JOBS = 4
# Counters that only a bug moves where everybody is honest and has room.
NEVER = ("_malformed", "_bad", "memory_refused", "_flooded", "apply_crashed", "peers_expelled",
         "quarantines_begun", "clones_found", "store_writes_failed", "store_writes_dropped",
         "values_dropped", "values_refused", "events_unsealed", "deliver_refused",
         "inbox_refused")

Event = collections.namedtuple("Event", "text node at")


class Soak:
    def __init__(self, bed, asked):
        self.bed, self.seed, self.minutes = bed, asked.seed, asked.minutes
        self.random = random.Random(asked.seed)
        self.lan = beds.Lan(bed, asked.nodes)
        self.pool = concurrent.futures.ThreadPoolExecutor(max_workers=JOBS)
        self.fates = self.make(asked.nodes)
        self.zones = [self.fates[i::ZONES] for i in range(ZONES)]
        self.faults = collections.Counter()
        self.problems, self.wrong = [], {}
        self.longest = collections.Counter()  # state -> seconds that it was wrong
        self.longest_known_s = self.longest_events_s = 0
        self.gone = collections.Counter()  # what is said of those that are
        self.looks = self.suspected = self.rounds = self.events_made = 0
        self.weights = collections.defaultdict(list)  # name -> [(when, bytes, descriptors)]
        self.begun = now()
        self.due = {"look": 0, "event": 0, "weigh": 0, "tell": self.begun + 60}
        self.published = []
        self.killed_at = {}

    # ------------------------------------------------------------ the nodes

    def make(self, count):
        bed, port = self.bed, self.bed.free_port()
        bed.need_built("tests/plugins/ledger.so", "tests/plugins/replay.so")
        self.go = os.path.join(bed.dir, "go")
        seeds = ["%s:%d" % (self.lan.host(i), port) for i in range(2)]
        fates = []
        for i in range(count):
            is_aggregator = i < ZONES
            is_steady = ZONES <= i < ZONES * (1 + STEADY_A_ZONE)
            block = 'Zone "z%d"\n<Events>\n  Retain %d\n</Events>\n' % (i % ZONES, RETAIN)
            d = bed.daemon("n%02d" % i, role="aggregator" if is_aggregator else "agent",
                           netns=self.lan.places[i], host=self.lan.host(i), port=port,
                           seeds=[s for j, s in enumerate(seeds) if j != i], block=block,
                           interval=10)
            if is_aggregator:
                d.plugins = ('LoadPlugin ledger\n<Plugin ledger>\n  File "%s/ledger"\n</Plugin>\n'
                             % d.base)
            if is_steady:
                d.plugins = replay_block(d, 1, "s%02d-%%" % i, RATE, int(60 * self.minutes),
                                         self.go)
            fates.append(Fate(d, i, is_steady))
        return fates

    def form(self):
        for fate in self.fates:
            fate.start()
        self.until(lambda: all(f.is_up() for f in self.fates), 60, "not all start")
        self.begun = now()
        self.due["tell"] = self.begun + 60
        self.settle()
        with open(self.go, "w"):
            pass

    # ---------------------------------------------------------- what is done

    def problem(self, text):
        self.problems.append(text)
        print("PROBLEM at %.0f s, round %d: %s" % (now() - self.begun, self.rounds, text),
              flush=True)

    def do(self, kind, nodes):
        if kind == "cut":
            used = {f.island for f in self.fates}
            island = min(set(range(1, len(self.fates) + 2)) - used)
            for f in nodes:
                f.move(self.lan, island)
        for f in nodes:
            if kind == "kill" and f.state == UP:
                self.killed_at[f.name] = now()
                f.kill()
            elif kind == "stop" and f.state == UP:
                f.end()
            elif kind == "start" and f.state == DEAD:
                f.start()
            elif kind == "pause" and f.state == UP:
                f.pause()
            elif kind == "go on" and f.state == PAUSED:
                f.go_on()
            elif kind == "join" and f.island != 0:
                f.move(self.lan, 0)
        self.due["look"] = 0  # see how it is right behind it

    def round(self):
        self.rounds += 1
        plan = Plan("%d/%d" % (self.seed, self.rounds), self.fates, self.zones, FAULTS_S)
        self.faults += plan.counts
        self.published = []
        since = now()
        todo = list(plan.faults)
        while now() - since < FAULTS_S:
            while todo and todo[0].at_s <= now() - since:
                fault = todo.pop(0)
                self.do(fault.kind, fault.nodes)
            self.step()
        self.settle()

    def settle(self):
        """Mend all, and ask for what must hold then."""
        for f in self.fates:
            self.do("join", [f])
            self.do("go on", [f])
        self.until(lambda: all(f.state != ENDING for f in self.fates), 30, "some do not end")
        self.do("start", self.fates)
        self.until(lambda: all(f.is_up() for f in self.fates), 40, "not all start again")
        since = max(f.changed for f in self.fates)
        count = len(self.fates)

        def all_known(f):
            return f.daemon.status()["members"]["online"] == count
        known = self.wait_each(all_known, since, "know all",
                               lambda f: str(f.daemon.status()["members"]))
        self.longest_known_s = max(self.longest_known_s, known)
        wanted = self.wanted_events()
        had = self.wait_each(lambda f: wanted <= self.texts(f), since, "have all events",
                             lambda f: "lacks %s" % sorted(wanted - self.texts(f))[:5])
        self.longest_events_s = max(self.longest_events_s, had)
        while now() - since < QUIET_S:
            self.step()
        self.judge_rest()

    def wait_each(self, holds, since, what, show):
        """Until it holds at every node; seconds since then."""
        left = list(self.fates)
        while left:
            left = [f for f, ok in zip(left, self.pool.map(holds, left)) if not ok]
            if left and now() - since > KNOWN_S:
                self.problem("%d nodes do not %s after %d s; %s: %s"
                             % (len(left), what, KNOWN_S, left[0].name, show(left[0])))
                break
            self.step()
        return now() - since

    def judge_rest(self):
        """All is well: nobody is offline, one mesh, and no counter moved that never may."""
        def ask(f):
            d = f.daemon
            return f, d.ctl_code("offline"), d.status(), d.peers()["active"]
        table = {}
        for f, (code, out, err), status, active in self.pool.map(ask, self.fates):
            if code != 0:
                self.problem("%s at rest: offline ends with %d: %s%s" % (f.name, code, out, err))
            table[status["id"]] = {p["id"] for p in active}
            for name, value in status["counters"].items():
                if value > 0 and name.endswith(NEVER):
                    self.problem("%s counts %s %d" % (f.name, name, value))
        if not is_connected(table):
            self.problem("not one mesh at rest: %s" % table)

    # -------------------------------------------------------- what is asked

    def until(self, holds, limit_s, what):
        end = now() + limit_s
        while not holds():
            check(now() < end, what)
            self.step()

    def step(self):
        """One short turn: what is under way goes on, what is due is done."""
        for f in self.fates:
            try:
                f.look()
            except Failure as failure:
                self.problem(str(failure))
        for name, period_s, act in (("look", LOOK_S, self.look_around),
                                    ("event", EVENT_S, self.publish),
                                    ("weigh", WEIGH_S, self.weigh), ("tell", 60, self.tell)):
            if now() >= self.due[name]:
                self.due[name] = now() + period_s
                act()
        pause(0.1)

    def look_around(self):
        asked = [f for f in self.fates if f.is_up()]
        for f, at, states in self.pool.map(self.ask_members, asked):
            if states is not None:
                self.judge(f, at, states)

    def ask_members(self, f):
        """What it says of all, and when it was asked; None: it was disturbed meanwhile."""
        at = now()
        try:
            code, out, err = f.daemon.ctl_code("members")
            states = {m["name"]: m["state"] for m in beds.json.loads(out)["members"]}
        except (ValueError, KeyError, subprocess.TimeoutExpired) as error:
            if f.is_up() and f.changed < at:
                self.problem("%s does not answer members: %s" % (f.name, error))
            states = None
        return f, at, states

    def judge(self, observer, at, states):
        for f in self.fates:
            if f is observer or not observer.is_up():
                continue
            state, pair = states.get(f.name, "absent"), (observer.name, f.name)
            since = max(observer.changed, f.changed)
            if at <= since:  # disturbed while it was asked
                self.wrong.pop(pair, None)
                continue
            self.looks += 1
            if observer.can_reach(f):
                # Also third parties spread what they believed while they were cut off.
                cause = max(other.changed for other in self.fates)
                self.suspected += state == "suspect" and at - cause > OFFLINE_S
                self.note(pair, state, at, since, cause if state in ("offline", "left")
                          else None, OFFLINE_S)
            else:
                self.gone[state] += 1
                self.note(pair, state, at, since, since if state == "online" else None, GONE_S)

    def note(self, pair, state, at, since, cause, limit_s):
        """What one says of another at that time, both as they are since then; cause: when what
        made it wrong ended, None: it is right. What is wrong keeps the cause that it had when
        it was first seen."""
        if cause is None:
            if self.wrong.pop(pair, (0, False))[1]:
                print("  %s no longer says so of %s" % pair, flush=True)
            return
        kept = self.wrong.get(pair)
        cause, is_told = kept if kept and kept[0] >= since else (cause, False)
        self.longest[state] = max(self.longest[state], at - cause)
        if at - cause > limit_s and not is_told:
            self.problem("%s says that %s is %s, %.1f s after the cause of it ended"
                         % (pair + (state, at - cause)))
            is_told = True
        self.wrong[pair] = (cause, is_told)

    def publish(self):
        f = self.random.choice([f for f in self.fates if f.is_up()])
        text = "soak %d.%d" % (self.rounds, self.events_made)
        code, out, err = f.daemon.ctl_code("notify", "--type", "soak", text)
        if code == 0:
            self.published.append(Event(text, f, now()))
            self.events_made += 1
        elif f.is_up():
            self.problem("%s: notify ends with %d: %s" % (f.name, code, err.strip()))

    def wanted_events(self):
        return {e.text for e in self.published
                if not 0 <= self.killed_at.get(e.node.name, 0) - e.at < KEPT_S}

    def texts(self, f):
        return {e["message"] for e in f.daemon.events()}

    def weigh(self):
        for f in self.fates:
            if f.is_steady and f.is_up():
                pid = f.daemon.process.pid
                self.weights[f.name].append((now(), private_bytes(pid),
                                             len(os.listdir("/proc/%d/fd" % pid))))

    def tell(self):
        latest = [w[-1][1] for w in self.weights.values() if w]
        print("minute %d, round %d: %s; %.2f MiB; %d problems"
              % ((now() - self.begun) / 60, self.rounds, self.figures(),
                 statistics.median(latest) / (1 << 20) if latest else 0, len(self.problems)),
              flush=True)

    def figures(self):
        return ("%s; in %d looks %d times rightly offline, wrong offline at most %.1f s, wrong "
                "online %.1f s, suspect without cause %d times; all known again within %.1f s, %d events within %.1f s"
                % (", ".join("%d %ss" % (n, kind) for kind, n in sorted(self.faults.items())),
                   self.looks, self.gone["offline"] + self.gone["left"], max(self.longest["offline"], self.longest["left"]),
                   self.longest["online"], self.suspected, self.longest_known_s,
                   self.events_made, self.longest_events_s))

    # ------------------------------------------------------------ at the end

    def judge_growth(self):
        """The figures; problems where something grew."""
        if self.minutes < GROWTH_FROM:
            return "too short to tell growth"
        length_s = now() - self.begun
        warm_s = min(WARM_UP_S, length_s / 3)
        quarter_s = (length_s - warm_s) / 4

        def median(name, column, since, until):
            return statistics.median(w[column] for w in self.weights[name]
                                     if since <= w[0] - self.begun <= until)
        grown = {}
        for name in self.weights:
            first = [median(name, c, warm_s, warm_s + quarter_s) for c in (1, 2)]
            last = [median(name, c, length_s - quarter_s, length_s) for c in (1, 2)]
            grown[name] = (last[0] - first[0], first[0], last[1] - first[1])
            if last[0] - first[0] > GROWTH_NODE:
                self.problem("%s grew by %d KiB" % (name, (last[0] - first[0]) // 1024))
            if last[1] - first[1] > 4:
                self.problem("%s has %d more descriptors" % (name, last[1] - first[1]))
        share = statistics.median(g[0] / g[1] for g in grown.values())
        if share > GROWTH:
            self.problem("the steady nodes grew by %.1f %%" % (100 * share))
        return ("%d steady nodes of %.2f MiB: median %+.1f %%, at most %+d KiB"
                % (len(grown), statistics.median(g[1] for g in grown.values()) / (1 << 20),
                   100 * share, max(g[0] for g in grown.values()) // 1024))

    def judge_values(self):
        steady = [f.daemon for f in self.fates if f.is_steady]
        wait_replayed(steady, 60 * self.minutes, rest=1000)
        done, figures = stop_and_compare([f.daemon for f in self.fates[:ZONES]], steady)
        if done.returncode != 0:
            self.problem(figures)
        return figures.split("; in union")[-1]

    def judge_logs(self):
        for f in self.fates:
            bad = [line for line in f.daemon.log_text().splitlines()
                   if "bug of argus" in line or "out of service" in line]
            if bad:
                self.problem("%s: %s" % (f.name, bad[0]))

    def run(self):
        self.form()
        while now() - self.begun < 60 * self.minutes:
            self.round()
        self.tell()
        grown = self.judge_growth()
        values = self.judge_values()
        self.judge_logs()
        check(not self.problems, "%d problems, the first: %s"
              % (len(self.problems), (self.problems or [""])[0]))
        return ("%d nodes, %g minutes, %d rounds, %s; %s; %s"
                % (len(self.fates), self.minutes, self.rounds, self.figures(), values, grown))


def enter_own_network():
    if os.environ.get("ARGUS_E2E_NETWORK") == "own":
        return
    os.environ["ARGUS_E2E_NETWORK"] = "own"
    os.execvp("unshare", ["unshare", "--net", "sh", "-c",
                          beds.OWN_NETWORK + ' && exec "$0" "$@"', sys.executable,
                          os.path.abspath(__file__)] + sys.argv[1:])


def stop(number, frame):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description="Real daemons, and whatever goes wrong.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--nodes", type=int, default=32)
    asked = parser.parse_args()
    least = ZONES * (1 + STEADY_A_ZONE)
    if asked.minutes <= 0 or not least < asked.nodes <= 250:
        parser.error("--minutes is above 0, --nodes from %d to 250" % (least + 1))
    if os.geteuid() != 0:
        print("soak.py makes network namespaces: run it as root")
        return 2
    if "--seed" not in " ".join(sys.argv):  # it stays the same over exec
        sys.argv += ["--seed", str(asked.seed)]
    enter_own_network()
    signal.signal(signal.SIGTERM, stop)
    print("replay: tests/e2e/soak.py --minutes %g --seed %d --nodes %d"
          % (asked.minutes, asked.seed, asked.nodes), flush=True)
    try:
        with beds.Bed() as bed:
            print("ok soak: %s" % Soak(bed, asked).run())
        print("1 passed, 0 failed")
        return 0
    except Failure as failure:
        print("not ok soak: %s" % failure)
    except KeyboardInterrupt:
        print("not ok soak: interrupted")
    print("0 passed, 1 failed")
    return 1


if __name__ == "__main__":
    sys.exit(main())
