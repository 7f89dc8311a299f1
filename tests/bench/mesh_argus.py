"""mesh_argus.py - a mesh of collectd daemons with argus, for mesh.py.

They are asked over their control sockets: a request is 4 bytes of length and a
protobuf message of proto/argus.proto, whose field numbers stand below."""

import socket
import statistics

from bed import Daemon, private_bytes
from mesh_base import Mesh, Seen, cpu_seconds, now

STATUS, FOLLOW, NOTIFY = 1, 5, 6       # of Request
STATUS_REPLY, EVENT_REPLY = 1, 5       # of Reply
ONLINE, SUSPECT, OFFLINE, COUNTERS = 15, 16, 17, 22  # of StatusReply
WARNING = 2
BASELINES = 4
BLOCK = ("<Route>\n  Enable false\n</Route>\n<Events>\n  RateLimit 1000\n</Events>\n")


# ---------------------------------------------------------------- protobuf

def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number, value):
    """Bytes, or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    """(number, value) in order; numbers of fixed width are skipped."""
    at = 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        key = take()
        kind = key & 7
        if kind == 0:
            yield key >> 3, take()
        elif kind == 2:
            size = take()
            yield key >> 3, data[at:at + size]
            at += size
        else:
            at += 8 if kind == 1 else 4


def of(data, number, otherwise=b""):
    return next((value for key, value in fields(data) if key == number), otherwise)


class Control:
    """A connection to a control socket."""

    def __init__(self, mesh, node, path):
        self.mesh, self.node, self.buffer = mesh, node, bytearray()
        self.waiting = 0
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.connect(path)
        except OSError:
            self.sock.close()
            raise
        mesh.watch(self.sock, self.on_readable)

    def follow(self):
        """Its replies are read later: reading them takes the processors that the
        mesh needs to carry the event."""
        self.mesh.unwatch(self.sock, close=False)
        self.mesh.watch(self.sock, self.on_followed)
        self.ask(field(FOLLOW, field(2, 1) + field(3, 1)))

    def on_followed(self):
        try:
            got = self.sock.recv(1 << 18)
        except OSError:
            got = b""
        if got:
            self.mesh.followed.append((now(), self, got))
        else:
            self.mesh.on_closed(self)

    def ask(self, body):
        self.waiting += 1
        self.sock.sendall(len(body).to_bytes(4, "big") + body)

    def close(self):
        self.mesh.unwatch(self.sock)

    def on_readable(self):
        try:
            got = self.sock.recv(1 << 18)
        except OSError:
            got = b""
        if not got:
            self.mesh.on_closed(self)
            return
        self.take(got)

    def take(self, got):
        self.buffer += got
        while len(self.buffer) >= 4:
            size = int.from_bytes(self.buffer[:4], "big")
            if len(self.buffer) < 4 + size:
                break
            reply = bytes(self.buffer[4:4 + size])
            del self.buffer[:4 + size]
            for number, value in fields(reply):
                self.mesh.on_reply(self, number, value)


# -------------------------------------------------------------------- mesh

class Plain(Daemon):
    """collectd without argus."""

    def write_conf(self):
        super().write_conf()
        with open(self.conf) as f:
            text = f.read()
        with open(self.conf, "w") as f:
            f.write(text.replace("LoadPlugin argus\n" + self.argus_block(), ""))


class ArgusMesh(Mesh):
    name = "argus"

    def __init__(self, bed, count):
        super().__init__(bed, count)
        self.daemons = [bed.daemon("n%03d" % i, block=BLOCK, interval=10) for i in range(count)]
        for daemon in self.daemons[1:]:
            daemon.seeds = [self.daemons[0].address]
        self.controls, self.followers, self.counters = {}, {}, {}
        self.plain = []
        self.followed = []  # (when, Control, bytes): read by settle_events()

    def spawn(self, node):
        return self.daemons[node].spawn().process

    def attach(self, node):
        self.followers[node] = Control(self, node, self.daemons[node].socket)
        self.followers[node].follow()

    def detach(self, node):
        for table in (self.controls, self.followers):
            if node in table:
                table.pop(node).close()

    def on_closed(self, control):
        """A control socket without a question for 10 s is closed by the daemon."""
        control.close()
        for table in (self.controls, self.followers):
            if table.get(control.node) is control:
                del table[control.node]

    def control(self, node):
        if node not in self.controls:
            self.controls[node] = Control(self, node, self.daemons[node].socket)
        return self.controls[node]

    def ask(self, node):
        control = self.control(node)
        if control.waiting == 0:
            try:
                control.ask(field(STATUS, b""))
            except OSError:
                self.on_closed(control)

    def on_reply(self, control, number, value):
        if control is self.followers.get(control.node):
            if number == EVENT_REPLY:
                self.on_event(control.node, of(of(value, 1), 12).decode("utf-8", "replace"),
                              self.read_at)
            return
        if number == STATUS_REPLY:
            found = {ONLINE: 0, SUSPECT: 0, OFFLINE: 0}
            for key, said in fields(value):
                if key in found:
                    found[key] = said
                elif key == COUNTERS:
                    self.counters.setdefault(control.node, {})[of(said, 1)] = of(said, 2, 0)
            self.seen[control.node] = Seen(found[ONLINE], found[SUSPECT] + found[OFFLINE],
                                           found[OFFLINE], now())
        elif number == 8:  # End
            control.waiting -= 1

    def settle_events(self):
        followed, self.followed = self.followed, []
        for self.read_at, control, got in followed:
            control.take(got)

    def publish(self, node, text):
        control = self.control(node)
        sent = now()
        control.ask(field(NOTIFY, field(1, WARNING) + field(3, text.encode())))
        return sent

    def payloads(self):
        """Gossip that came in, of all nodes: first copies and further ones."""
        self.seen.clear()
        nodes = self.alive()
        while any(n not in self.seen for n in nodes):
            self.ask_all([n for n in nodes if n not in self.seen])
            self.pump(0.1)
        return sum(self.counters[n][b"gossip_delivered"] +
                   self.counters[n][b"gossip_duplicate"] for n in nodes)

    def payloads_sent(self, before, seconds, idle):
        return self.payloads() - before

    def baseline(self):
        """(CPU share, private bytes) of a collectd without argus."""
        if not self.plain:
            self.plain = [Plain(self.bed, "plain%d" % i, interval=10) for i in range(BASELINES)]
            self.bed.daemons += self.plain
            for daemon in self.plain:
                daemon.spawn()
            self.pump(5)
        pids = [d.process.pid for d in self.plain]
        before, since = [cpu_seconds(p) for p in pids], now()
        self.pump(15)
        used = [(cpu_seconds(p) - b) / (now() - since) for p, b in zip(pids, before)]
        return statistics.median(used), statistics.median(private_bytes(p) for p in pids)
