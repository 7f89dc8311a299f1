"""soak_faults.py - what soak.py does to its nodes, and what it knows of them.

A Fate is one node with what was done to it: it alone says whether a node is well, since
when, and on which island. A Plan is the faults of one round, all drawn from the seed before
the round begins, so that the seed replays them; how long each really takes is the
machine's affair."""

import collections
import os
import random
import signal
import time

from bed import Failure

now = time.monotonic
END_LIMIT_S = 20    # an orderly end
START_LIMIT_S = 30  # from spawn() to an answer

UP, PAUSED, STARTING, ENDING, DEAD = "up", "paused", "starting", "ending", "dead"


class Fate:
    def __init__(self, daemon, place, is_steady):
        self.daemon, self.place, self.is_steady = daemon, place, is_steady
        self.name = daemon.name
        self.state, self.island = DEAD, 0
        self.changed = now()  # when its state or its island did last

    def become(self, state):
        self.state, self.changed = state, now()

    def is_up(self):
        return self.state == UP

    def can_reach(self, other):
        return self.is_up() and other.is_up() and self.island == other.island

    # ---- what is done to it

    def start(self):
        self.daemon.spawn()
        self.become(STARTING)

    def kill(self):
        self.daemon.kill()
        self.become(DEAD)

    def end(self):
        self.daemon.send(signal.SIGTERM)
        self.become(ENDING)

    def pause(self):
        self.daemon.send(signal.SIGSTOP)
        self.become(PAUSED)

    def go_on(self):
        self.daemon.send(signal.SIGCONT)
        self.become(UP)

    def move(self, lan, island):
        lan.move(self.place, island)
        self.island, self.changed = island, now()

    def look(self):
        """Let what takes a while come to its end. Failure when it does not, or when it
        ended by itself."""
        code = self.daemon.process.poll()
        if self.state == ENDING and code is not None:
            self.become(DEAD)
            if code != 0:
                raise Failure("%s ended with %d when it was stopped: %s"
                              % (self.name, code, self.daemon.last_words()))
        elif self.state == ENDING and now() - self.changed > END_LIMIT_S:
            raise Failure("%s does not stop within %d s" % (self.name, END_LIMIT_S))
        elif self.state in (UP, PAUSED, STARTING) and code is not None:
            self.become(DEAD)
            raise Failure("%s ended by itself with %d: %s"
                          % (self.name, code, self.daemon.last_words()))
        elif self.state == STARTING:
            if os.path.exists(self.daemon.socket) and self.daemon.ctl_code("status")[0] in (0, 1):
                self.become(UP)
            elif now() - self.changed > START_LIMIT_S:
                raise Failure("%s does not answer %d s after its start: %s"
                              % (self.name, START_LIMIT_S, self.daemon.last_words()))


Fault = collections.namedtuple("Fault", "at_s kind nodes")

# How a fault ends that has an end of its own. What is left at the end of a round ends then.
ENDS = {"kill": "start", "stop": "start", "pause": "go on", "cut": "join"}


class Plan:
    """Faults of one round, in order of time."""

    def __init__(self, seed, fates, zones, faults_s):
        self.random = random.Random(seed)
        self.faults, self.counts = [], collections.Counter()
        free = [f for f in fates if not f.is_steady]
        self.random.shuffle(free)
        for kind, most, longest_s in (("kill", 8, 25), ("kill", 2, 10), ("stop", 3, 15)):
            for node in self.take(free, most):
                self.add(kind, [node], faults_s, longest_s)
        # Paused are those that nothing else is done to, so that each is one thing at a time.
        free += [f for f in fates if f.is_steady]
        self.random.shuffle(free)
        for longest_s in (3, 20):
            self.add("pause", self.take(free, 4), faults_s, longest_s)
        for _ in range(self.random.randint(1, 2)):
            self.add("cut", self.cut_off(fates, zones), faults_s, 25)
        self.faults.sort(key=lambda fault: fault.at_s)

    def take(self, free, most):
        return [free.pop() for _ in range(min(len(free), self.random.randint(0, most)))]

    def cut_off(self, fates, zones):
        """One node, a zone, or a part of the mesh of any size up to half of it."""
        kind = self.random.choice(("one", "zone", "some"))
        if kind == "one":
            return [self.random.choice(fates)]
        if kind == "zone":
            return list(self.random.choice(zones))
        return self.random.sample(fates, self.random.randint(2, len(fates) // 2))

    def add(self, kind, nodes, faults_s, longest_s):
        if not nodes:
            return
        begin = self.random.uniform(0, faults_s)
        self.counts[kind] += len(nodes) if kind != "cut" else 1
        self.faults.append(Fault(begin, kind, nodes))
        end = begin + self.random.uniform(0.5, longest_s)
        if end < faults_s:
            self.faults.append(Fault(end, ENDS[kind], nodes))
