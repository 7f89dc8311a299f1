"""mesh_serf.py - a mesh of serf agents, for mesh.py: asked over RPC, which is
msgpack on TCP. Its gossip is UDP, so that RPC is not counted with it."""

import json
import os
import shutil
import socket
import struct
import subprocess

from bed import Failure, end_with_parent
from mesh_base import Mesh, Seen, datagrams_sent, now

GOSSIP, RPC = 7946, 7373


# ----------------------------------------------------------------- msgpack

class Incomplete(Exception):
    pass


def pack(value):
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        value = value.encode()
        return b"\xda" + struct.pack(">H", len(value)) + value
    if isinstance(value, dict):
        return bytes([0x80 | len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())
    raise TypeError(value)


class Unpacker:
    def __init__(self, data, at):
        self.data, self.at = data, at

    def take(self, size):
        if self.at + size > len(self.data):
            raise Incomplete
        self.at += size
        return bytes(self.data[self.at - size:self.at])

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def value(self):
        tag = self.number(1)
        if tag < 0x80:
            return tag
        if tag >= 0xe0:
            return tag - 256
        if tag & 0xe0 == 0xa0:
            return self.take(tag & 31)
        if tag & 0xf0 == 0x80:
            return self.pairs(tag & 15)
        if tag & 0xf0 == 0x90:
            return [self.value() for _ in range(tag & 15)]
        return self.tagged(tag)

    def tagged(self, tag):
        if tag in (0xc0, 0xc2, 0xc3):
            return {0xc0: None, 0xc2: False, 0xc3: True}[tag]
        if 0xcc <= tag <= 0xcf:
            return self.number(1 << (tag - 0xcc))
        if 0xd0 <= tag <= 0xd3:
            return int.from_bytes(self.take(1 << (tag - 0xd0)), "big", signed=True)
        if tag in (0xca, 0xcb):
            return struct.unpack(">f" if tag == 0xca else ">d", self.take(4 if tag == 0xca else 8))[0]
        sizes = {0xc4: 1, 0xd9: 1, 0xc5: 2, 0xda: 2, 0xc6: 4, 0xdb: 4}
        if tag in sizes:
            return self.take(self.number(sizes[tag]))
        if tag in (0xde, 0xdf):
            return self.pairs(self.number(2 if tag == 0xde else 4))
        if tag in (0xdc, 0xdd):
            return [self.value() for _ in range(self.number(2 if tag == 0xdc else 4))]
        raise Failure("msgpack: unknown tag %#x" % tag)

    def pairs(self, count):
        return {self.value().decode("latin1"): self.value() for _ in range(count)}


class Agent:
    """A connection to an agent. handlers: {number of the request: what takes its body}."""

    def __init__(self, mesh, node, address):
        self.mesh, self.node, self.buffer = mesh, node, bytearray()
        self.number, self.handlers, self.header = 0, {}, None
        self.sock = socket.create_connection(address, timeout=5)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        mesh.watch(self.sock, self.on_readable)
        self.ask("handshake", {"Version": 1})

    def ask(self, command, body=None, on_body=None):
        self.number += 1
        if on_body:
            self.handlers[self.number] = on_body
        message = pack({"Command": command, "Seq": self.number})
        self.sock.sendall(message + (pack(body) if body is not None else b""))

    def on_readable(self):
        try:
            got = self.sock.recv(1 << 18)
        except OSError:
            got = b""
        if not got:
            self.mesh.unwatch(self.sock)
            return
        self.buffer += got
        at = 0
        try:
            while at < len(self.buffer):
                at = self.take_one(at)
        except Incomplete:
            pass
        del self.buffer[:at]

    def take_one(self, at):
        """A header, or the body that follows one whose request has a handler."""
        unpacker = Unpacker(self.buffer, at)
        value = unpacker.value()
        if self.header is None:
            on_body = self.handlers.get(value["Seq"])
            if on_body is None:
                return unpacker.at
            if value["Error"]:
                raise Failure("serf: %s" % value["Error"].decode())
            if on_body == self.on_stream and value["Seq"] not in self.mesh.streaming.setdefault(self.node, set()):
                self.mesh.streaming[self.node].add(value["Seq"])  # the first is an empty yes
                return unpacker.at
            self.header = value["Seq"]
            return unpacker.at
        on_body, self.header = self.handlers[self.header], None
        on_body(value)
        return unpacker.at

    def on_stream(self, body):
        if body.get("Event") == b"user":
            self.mesh.on_event(self.node, body["Payload"].decode("latin1"))


class SerfMesh(Mesh):
    name = "serf"
    event_gap_s = 0.8  # its events take as long

    def __init__(self, bed, count):
        super().__init__(bed, count)
        self.serf = shutil.which("serf")
        if self.serf is None:
            raise Failure("there is no serf (Debian: serf)")
        self.agents, self.asked, self.streaming = {}, set(), {}

    def address(self, node, net):
        return "127.%d.%d.%d" % (net, node >> 7, (node & 127) + 1)

    def spawn(self, node):
        path = os.path.join(self.bed.dir, "serf%03d" % node)
        conf = {"node_name": "n%03d" % node, "log_level": "err",
                "bind": "%s:%d" % (self.address(node, 1), GOSSIP),
                "rpc_addr": "%s:%d" % (self.address(node, 2), RPC)}
        if node > 0:
            conf.update(retry_join=["%s:%d" % (self.address(0, 1), GOSSIP)], retry_interval="1s")
        with open(path + ".json", "w") as f:
            json.dump(conf, f)
        with open(path + ".log", "ab") as log:
            return subprocess.Popen([self.serf, "agent", "-config-file=" + path + ".json"],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    preexec_fn=lambda: end_with_parent(9))

    def attach(self, node):
        agent = Agent(self, node, (self.address(node, 2), RPC))
        agent.ask("stream", {"Type": "user"}, agent.on_stream)
        self.agents[node] = agent

    def detach(self, node):
        self.unwatch(self.agents.pop(node).sock)

    def ask(self, node):
        if node not in self.asked:
            self.asked.add(node)
            self.agents[node].ask("stats", None, lambda body: self.on_stats(node, body))

    def on_stats(self, node, body):
        said = body["serf"]
        members, failed, left = (int(said[k]) for k in ("members", "failed", "left"))
        self.asked.discard(node)
        self.seen[node] = Seen(members - failed - left, failed, failed, now())

    def publish(self, node, text):
        sent = now()
        self.agents[node].ask("event", {"Name": text.split(".")[0], "Payload": text, "Coalesce": False})
        return sent

    def payloads(self):
        return datagrams_sent()

    def payloads_sent(self, before, seconds, idle):
        """What it says with UDP beyond what it says at rest."""
        return datagrams_sent() - before - idle["datagrams"] * seconds

    def baseline(self):
        return 0.0, 0
