"""names.py - a name server for the end-to-end tests: A, AAAA and SRV, over UDP and TCP.

Serves what its dictionary says, which a scenario may change at any time:
{"seed.test": {"A": ["127.0.0.1"]}, "_argus._tcp.test": {"SRV": [(priority, weight, port, target)]}}.
A name that is not there does not exist. `is_silent` lets it hear and say nothing.
"""

import ipaddress
import os
import socket
import struct
import threading

TYPES = {1: "A", 28: "AAAA", 33: "SRV"}
NO_SUCH_NAME = 3
UDP_SIZE = 512


def packed_name(name):
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def read_name(message, at):
    labels = []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels).lower(), at + 1


def packed_data(kind, value):
    if kind == "SRV":
        return struct.pack(">HHH", *value[:3]) + packed_name(value[3])
    return ipaddress.ip_address(value).packed


class NameServer:
    """Answers on an address and port 53 until close()."""

    def __init__(self, records, address="127.0.0.1", port=53):
        self.records, self.is_silent, self.asked = records, False, []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.udp.bind((address, port))
        self.tcp.bind((address, port))
        self.tcp.listen(16)
        for serve in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    def close(self):
        for s in (self.udp, self.tcp):
            try:
                s.shutdown(socket.SHUT_RDWR)  # wakes who waits in it
            except OSError:
                pass
            s.close()

    def answer(self, query, limit):
        """The message that answers; None: nothing is said."""
        name, at = read_name(query, 12)
        kind = TYPES.get(struct.unpack(">H", query[at:at + 2])[0])
        self.asked.append((name, kind))
        if self.is_silent:
            return None
        values = self.records.get(name, {}).get(kind, [])
        head = query[:2]
        question = query[12:at + 4]
        code = 0 if name in self.records else NO_SUCH_NAME
        number = {v: k for k, v in TYPES.items()}.get(kind, 0)
        body = b""
        for value in values:
            data = packed_data(kind, value)
            body += b"\xc0\x0c" + struct.pack(">HHIH", number, 1, 0, len(data)) + data
        flags = 0x8580 | code
        if 12 + len(question) + len(body) > limit:
            values, body, flags = [], b"", flags | 0x0200
        return head + struct.pack(">HHHHH", flags, 1, len(values), 0, 0) + question + body

    def serve_udp(self):
        while True:
            try:
                query, sender = self.udp.recvfrom(4096)
                said = self.answer(query, UDP_SIZE)
                if said is not None:
                    self.udp.sendto(said, sender)
            except OSError:
                return
            except (IndexError, struct.error):
                continue  # no query

    def serve_tcp(self):
        while True:
            try:
                client, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_client, args=(client,), daemon=True).start()

    def serve_client(self, client):
        """Several queries may come by one connection."""
        with client:
            client.settimeout(2)
            try:
                while True:
                    size = struct.unpack(">H", client.recv(2, socket.MSG_WAITALL))[0]
                    said = self.answer(client.recv(size, socket.MSG_WAITALL), 65535)
                    if said is not None:
                        client.sendall(struct.pack(">H", len(said)) + said)
            except (OSError, IndexError, struct.error):
                pass


def asks(bed, address="127.0.0.1"):
    """What a daemon's command begins with so that it asks that name server alone."""
    path = os.path.join(bed.dir, "resolv-%s" % address)
    with open(path, "w") as f:
        f.write("nameserver %s\noptions timeout:1 attempts:1\n" % address)
    names = os.path.join(bed.dir, "nsswitch")
    with open(names, "w") as f:
        f.write("hosts: dns\npasswd: files\ngroup: files\n")
    return ["unshare", "--mount", "sh", "-c",
            'mount --bind "%s" /etc/resolv.conf && mount --bind "%s" /etc/nsswitch.conf && exec "$0" "$@"'
            % (path, names)]
