"""A stranger without a key: holds many connections to one address and dials again
whenever one is cut.

    hostile.py HOST PORT COUNT SECONDS

A fifth each: silent; one byte a second; garbage; half a TLS handshake; frames that
break a bound. Prints one line of JSON: connections dialed, most at once, refused."""
import json
import os
import resource
import selectors
import socket
import ssl
import struct
import sys
import time

DIALS_A_SECOND = 2000


def client_hello():
    """The first flight of an honest TLS 1.3 client, without a key of the mesh."""
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


HELLO = client_hello()


def broken_frames(number):
    """Too long by its header; a Hello with too long a name; no message at all; a
    record of TLS that is longer than one may be; a handshake that announces 16 MiB."""
    name = b"\x5a" + b"\xff\x07" + b"n" * 1023
    hello = b"\x12" + struct.pack("<B", 0x80 | (len(name) & 0x7f)) + bytes([len(name) >> 7]) + name
    return [struct.pack(">I", 0xffffffff) + b"x" * 100,
            struct.pack(">I", len(hello)) + hello,
            struct.pack(">I", 0),
            b"\x16\x03\x01\xff\xff" + b"\x01" * 2000,
            b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"][number % 5]


class Connection:
    def __init__(self, kind, number, address):
        self.kind, self.number = kind, number
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(address)
        self.has_sent = False

    def first(self):
        return {"silent": b"", "drip": HELLO[:1], "garbage": os.urandom(512),
                "half": HELLO, "broken": broken_frames(self.number)}[self.kind]


def main(host, port, count, seconds):
    resource.setrlimit(resource.RLIMIT_NOFILE,
                       (min(count + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    kinds = ("silent", "drip", "garbage", "half", "broken")
    selector = selectors.EpollSelector()
    held, dialed, most, cut = {}, 0, 0, 0
    begin = time.monotonic()
    next_drip = begin + 1
    while time.monotonic() - begin < seconds:
        now = time.monotonic()
        while len(held) < count and dialed < count + (now - begin) * DIALS_A_SECOND:
            c = Connection(kinds[dialed % 5], dialed // 5, (host, int(port)))
            held[c.socket.fileno()] = c
            selector.register(c.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, c)
            dialed += 1
        most = max(most, len(held))
        for key, events in selector.select(0.05):
            c = key.data
            try:
                if events & selectors.EVENT_WRITE and not c.has_sent:
                    c.has_sent = True
                    c.socket.send(c.first())
                    selector.modify(c.socket, selectors.EVENT_READ, c)
                if events & selectors.EVENT_READ and c.socket.recv(4096) == b"":
                    raise ConnectionResetError
            except BlockingIOError:
                continue
            except OSError:
                cut += 1
                del held[key.fd]
                selector.unregister(c.socket)
                c.socket.close()
        if now >= next_drip:
            next_drip += 1
            for c in list(held.values()):
                if c.kind == "drip" and c.has_sent:
                    try:
                        c.socket.send(b"\x03")
                    except OSError:
                        pass
    print(json.dumps({"dialed": dialed, "most": most, "cut": cut}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
