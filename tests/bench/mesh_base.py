"""mesh_base.py - what mesh.py needs of a mesh, whoever made it.

Nodes are numbers from 0. Their answers come by sockets that one selector watches;
pump() lets them come in:
  seen    {node: Seen(...)}, what it said last of the members
  events  {text: {node: when it came}}
"""

import collections
import os
import selectors
import signal
import time

from bed import Failure

now = time.monotonic
# Members that are well, that are suspected or gone, and that are gone for certain, when
# it was said. Who makes no difference between the last two says the same twice.
Seen = collections.namedtuple("Seen", "alive doubted gone at")


def cpu_seconds(pid):
    """Of all threads, as the scheduler counted it: to the nanosecond."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
                total += int(f.read().split()[0])
        except OSError:  # that thread has just ended
            pass
    return total / 1e9


def sent_on_loopback():
    """(bytes of IP, packets): what the kernel counts has 14 bytes of Ethernet a packet."""
    with open("/proc/net/dev") as f:
        fields = next(line for line in f if line.strip().startswith("lo:")).split(":")[1].split()
    return int(fields[8]) - 14 * int(fields[9]), int(fields[9])


def datagrams_sent():
    with open("/proc/net/snmp") as f:
        titles, values = [line.split() for line in f if line.startswith("Udp:")][:2]
    return int(values[titles.index("OutDatagrams")])


class Meter:
    """What a mesh used since: CPU, bytes, datagrams."""

    def __init__(self, mesh):
        self.mesh, self.since = mesh, now()
        self.before = self.count()

    def count(self):
        return {"cpu": sum(cpu_seconds(self.mesh.pids[i]) for i in self.mesh.alive()),
                "bytes": sent_on_loopback()[0], "datagrams": datagrams_sent()}

    def seconds(self):
        return now() - self.since

    def rates(self):
        seconds = self.seconds()
        return {k: (v - self.before[k]) / seconds for k, v in self.count().items()}


class Mesh:
    """A context manager. Who derives from it offers spawn(node) -> process, attach(node),
    ask(node), publish(node, text) and what is said at the end."""

    name = ""
    event_gap_s = 0.2  # between two events of one after the other

    def __init__(self, bed, count):
        self.bed, self.count = bed, count
        self.processes, self.pids = {}, {}
        self.seen, self.events = {}, {}
        self.selector = selectors.DefaultSelector()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
        for process in self.processes.values():
            process.wait()
        self.selector.close()

    def alive(self):
        return sorted(self.processes)

    def start_all(self):
        """The first alone, then all others at once. When the last was started."""
        self.start(0)
        self.attach_when_up(0)
        for i in range(1, self.count):
            self.start(i)
        last = now()
        for i in range(1, self.count):
            self.attach_when_up(i)
        return last

    def start(self, node):
        self.processes[node] = self.spawn(node)
        self.pids[node] = self.processes[node].pid

    def attach_when_up(self, node):
        end = now() + 60
        while True:
            try:
                return self.attach(node)
            except OSError as error:
                if now() > end or self.processes[node].poll() is not None:
                    raise Failure("%s node %d does not come up: %s"
                                  % (self.name, node, error)) from None
            self.pump(0.02)

    def watch(self, sock, on_readable):
        self.selector.register(sock, selectors.EVENT_READ, on_readable)

    def unwatch(self, sock, close=True):
        try:
            self.selector.unregister(sock)
        except (KeyError, ValueError):
            pass
        if close:
            sock.close()

    def pump(self, seconds):
        end = now() + seconds
        while True:
            for key, _ in self.selector.select(max(0, min(0.05, end - now()))):
                key.data()
            if now() >= end:
                return

    def freeze(self, node):
        self.processes[node].send_signal(signal.SIGSTOP)

    def thaw(self, node):
        self.processes[node].send_signal(signal.SIGCONT)

    def kill(self, node):
        process = self.processes.pop(node)
        process.kill()
        process.wait()
        self.seen.pop(node, None)
        self.detach(node)

    def ask_all(self, nodes):
        for node in nodes:
            self.ask(node)

    def wait_seen(self, nodes, alive, gone, limit_s):
        """Until every one of the nodes counts so many; when the last began to."""
        since, first = now(), {}
        while len(first) < len(nodes):
            if now() - since > limit_s:
                raise Failure("%s: after %g s %d of %d nodes see %d alive, %d gone"
                              % (self.name, limit_s, len(first), len(nodes), alive, gone))
            self.ask_all([n for n in nodes if n not in first])
            self.pump(0.1)
            for node in nodes:
                said = self.seen.get(node)
                if said and said.at >= since and said.alive == alive and said.gone >= gone:
                    first.setdefault(node, said.at)
        return max(first.values())

    def wait_events(self, texts, limit_s):
        """Until every node has all of them, or the time is up; when the last came."""
        end, nodes = now() + limit_s, len(self.processes)
        while now() < end and any(len(self.events.get(t, {})) < nodes for t in texts):
            self.pump(0.05)
            self.settle_events()
        return max([t for text in texts for t in self.events.get(text, {}).values()] or [end])

    def publish_all(self, node, texts):
        for text in texts:
            self.publish(node, text)

    def settle_events(self):
        """Read what came, if that waits for this call."""

    def on_event(self, node, text, when=None):
        self.events.setdefault(text, {}).setdefault(node, when or now())
