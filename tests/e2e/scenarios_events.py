"""More events than anybody wants: none is lost without a count, and neither memory
nor disk grows beyond what Retain allows."""

import os
import re
import socket
import threading
import time

from bed import check, private_bytes, wait_for, wait_online

MANY, FEW = 1000000, 10000  # notifications; with --full and without
BATCH = 200                 # sent at a time
LIMIT_S = 600               # for all of them
MEMORY_MAX = 24 << 20       # what a flood may add, of both rings and all queues
DISK_MAX = 8 << 20          # of StateDir, with a ring of 2000
QUIET = "<Events>\n  Retain %d\n  RateLimit %d\n</Events>\n"


def pair(bed, retain, rate):
    """An aggregator, and an agent that takes notifications on a socket."""
    bed.need_plugins("unixsock")
    block = QUIET % (retain, rate)
    first = bed.daemon("first", role="aggregator", block=block).start()
    loud = bed.daemon("loud", seeds=[first.address], block=block)
    loud.put = os.path.join(loud.base, "put.sock")
    loud.plugins = ('LoadPlugin unixsock\n<Plugin unixsock>\n  SocketFile "%s"\n'
                    '  DeleteSocket true\n</Plugin>\n' % loud.put)
    loud.start()
    wait_online([first, loud], 2, 20)
    return first, loud


def flood(node, count):
    """So many notifications, each taken by collectd: "flood 0" and so on."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(LIMIT_S)
        s.connect(node.put)

        def send():
            for first in range(0, count, BATCH):
                s.sendall(b"".join(
                    b'PUTNOTIF severity=failure time=1700000000 message="flood %d"\n' % i
                    for i in range(first, min(first + BATCH, count))))
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        lines, taken = s.makefile("rb"), 0
        while taken < count:
            line = lines.readline()
            check(line.startswith(b"0 Success"), "PUTNOTIF %d: %r" % (taken, line))
            taken += 1
        sender.join()


def counted(node, *names):
    counters = node.status()["counters"]
    return sum(counters[name] for name in names)


def floods(events):
    return [e["message"] for e in events if e["message"].startswith("flood ")]


def suppressed(events):
    """What the summaries tell of, all together."""
    found = (re.match(r"(\d+) events? suppressed by RateLimit", e["message"]) for e in events)
    return sum(int(m.group(1)) for m in found if m)


def state_bytes(node):
    return sum(os.path.getsize(os.path.join(folder, name))
               for folder, _, names in os.walk(node.state_dir) for name in names)


def no_event_uncounted(bed, full):
    """A flood of notifications under the usual RateLimit: some are events, all others are told
    of in summaries, one by one or in number; both nodes have the same."""
    count = MANY if full else FEW
    first, loud = pair(bed, 100000, 10)
    before = private_bytes(loud.process.pid)
    flood(loud, count)

    def is_told():
        return suppressed(loud.events()) == counted(loud, "event_limited")
    wait_for(is_told, 60, lambda: "%d are told of, of %d" % (suppressed(loud.events()),
                                                             counted(loud, "event_limited")))
    events = loud.events()
    made, told, refused = len(floods(events)), suppressed(events), counted(loud, "bridge_notice_refused")
    check(made + told + refused == count and made >= 100 and told > 0,
          "%d events, %d suppressed, %d refused: not %d" % (made, told, refused, count))
    check(len(events) < 2 * made + 100, "the summaries are a flood themselves: %d" % len(events))
    wait_for(lambda: [e["message"] for e in first.events()] == [e["message"] for e in loud.events()],
             30, "the other node has another timeline")
    grown = private_bytes(loud.process.pid) - before
    check(grown <= MEMORY_MAX, "%d KiB more memory" % (grown >> 10))
    return ("%d = %d events + %d suppressed + %d refused, %.1f MiB"
            % (count, made, told, refused, grown / 2**20))


def event_ring(bed, full):
    """A flood that RateLimit lets through: the ring keeps the last on both nodes, what it
    dropped is counted, memory and disk stay as they were."""
    count, ring = MANY if full else FEW, 2000
    first, loud = pair(bed, ring, 100000)
    before = [private_bytes(n.process.pid) for n in (first, loud)]
    since = time.monotonic()
    flood(loud, count)
    taken = time.monotonic()
    wait_for(lambda: counted(loud, "event_added", "event_limited", "bridge_notice_refused") >= count,
             60, lambda: "%d are accounted for" % counted(loud, "event_added", "event_limited",
                                                         "bridge_notice_refused"))
    wait_for(lambda: [e["message"] for e in first.events()] == [e["message"] for e in loud.events()],
             60, "the other node has another timeline")
    settled = time.monotonic()
    for node, was in zip((first, loud), before):
        kept = counted(node, "event_added") - counted(node, "event_dropped")
        check(kept == len(node.events()) == ring, "%s keeps %d, and counts %d"
              % (node.name, len(node.events()), kept))
        # What a queue of a million took is free at once, and goes back at the next trim.
        wait_for(lambda n=node, w=was: private_bytes(n.process.pid) - w <= MEMORY_MAX, 150,
                 lambda n=node, w=was: "%s: %d KiB more memory"
                 % (n.name, (private_bytes(n.process.pid) - w) >> 10))
        check(state_bytes(node) <= DISK_MAX, "%s: %d KiB on disk" % (node.name, state_bytes(node) >> 10))
    loud.kill()
    loud.start()
    check(len(loud.events()) == ring, "after a kill it has %d" % len(loud.events()))
    return ("%d taken in %.1f s, %d kept by both %.1f s later"
            % (count, taken - since, ring, settled - taken))


SCENARIOS = [no_event_uncounted, event_ring]
BUSY = [no_event_uncounted, event_ring]
