"""One node and its trouble: identity, StateDir, configuration, bad input."""

import os
import re
import shutil
import socket
import struct
import subprocess
import time

from bed import (COLLECTD, Failure, check, links, notify, pause, run, wait_event, wait_for,
                 wait_mesh, wait_online)


# ---------------------------------------------------------------- identity

def clone(bed, full):
    """A copied StateDir: the later one makes a new key."""
    seed = bed.daemon("seed").start()
    first = bed.daemon("first", seeds=[seed.address]).start()
    wait_online([seed, first], 2, 10)
    own = first.status()["id"]
    first.stop()
    second = bed.daemon("second", seeds=[seed.address])
    shutil.copytree(first.state_dir, second.state_dir,
                    ignore=lambda d, names: [n for n in names if n.endswith(".sock")])
    first.start()
    wait_online([seed, first], 2, 10)
    second.start()
    wait_online([seed, first, second], 3, 20)
    ids = [d.status()["id"] for d in (first, second)]
    check(ids[0] == own, "the first holder lost its id")
    check(ids[1] != own, "the clone kept the id")
    wait_mesh([seed, first, second], 10)
    return "the clone has a new id, all three are one mesh"


def reimaged(bed, full):
    """State removed, same name and address: the new id takes over."""
    nodes = bed.mesh(3)
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, 3, 10)
    victim, others = nodes[2], nodes[:2]
    old = victim.status()["id"]
    victim.kill()
    shutil.rmtree(victim.state_dir)
    victim.start()
    new = victim.status()["id"]
    check(new != old, "same id without its state")

    def superseded(node):
        same = [m for m in node.members() if m["name"] == victim.name]
        return len(same) == 1 and same[0]["id"] == new and same[0]["state"] == "online"
    for node in others:
        wait_for(lambda n=node: superseded(n), 20,
                 lambda n=node: "%s: %s" % (n.name, [(m["id"][:8], m["state"]) for m in n.members()
                                                     if m["name"] == victim.name]))
    return "one record of that name on each node"


def restart(bed, full):
    """The same StateDir: same id, higher generation."""
    nodes = bed.mesh(3)
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, 3, 10)
    before = nodes[1].status()
    nodes[1].kill()
    nodes[1].start()
    after = nodes[1].status()
    check(before["id"] == after["id"], "another id")
    check(after["generation"] > before["generation"], "generation did not grow")
    wait_online(nodes, 3, 10)
    wait_mesh(nodes, 10)
    return "same id, generation %d -> %d" % (before["generation"], after["generation"])


def leave_and_join(bed, full):
    """Who leaves is shown as left and let alone; a join takes it back."""
    nodes = bed.mesh(3)
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, 3, 10)
    gone, others = nodes[2], nodes[:2]
    own = gone.status()["id"]

    def state(node):
        return [m["state"] for m in node.members() if m["id"] == own]
    gone.ctl("leave")
    for node in others:
        wait_for(lambda n=node: state(n) == ["left"], 5, lambda n=node: "%s" % state(n))
    check(not gone.peers()["active"], "it kept its neighbors")
    check(gone.status()["state"] == "alone", "it calls itself %s" % gone.status()["state"])
    gone.ctl("join", others[1].address)
    wait_online(nodes, 3, 10)
    wait_mesh(nodes, 10)
    for node in others:
        check(state(node) == ["online"], "%s says %s" % (node.name, state(node)))
    return "left everywhere, then online again under the same id"


# ---------------------------------------------------------------- StateDir

def stays_inert(d, *words):
    """collectd goes on, argus says why it does not. Returns the line."""
    d.spawn()
    line = d.wait_log(*words)
    check(d.is_running(), "collectd ended")
    pause(0.2)
    check(d.is_running(), "collectd ended")
    d.stop()
    return line


def state_dir(bed, full):
    """Locked, unwritable and full."""
    first = bed.daemon("first").start()
    second = bed.daemon("second", state_dir=first.state_dir)
    stays_inert(second, first.state_dir, "another")
    check(first.status()["state"] == "alone", "the first one was disturbed")

    plain = os.path.join(bed.dir, "plain")
    with open(plain, "w"):
        pass
    stays_inert(bed.daemon("below", state_dir=os.path.join(plain, "argus")),
                os.path.join(plain, "argus"))

    small = os.path.join(bed.dir, "small")
    bed.tmpfs(small, "64k")
    fill = os.open(os.path.join(small, "fill"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while os.write(fill, b"x" * 4096):
            pass
    except OSError:  # no space left, as wanted
        os.close(fill)
    stays_inert(bed.daemon("full", state_dir=os.path.join(small, "argus")),
                os.path.join(small, "argus"))
    return "locked, below a file, full: each named, collectd goes on"


# ------------------------------------------------------------ configuration

BROKEN = [
    ('Role "king"', ["Role", "king"]),
    ('Rolle "agent"', ["Rolle"]),
    ('Listen "127.0.0.1" "99999"', ["Listen", "99999"]),
    ('ControlGroup "no-such-group-here"', ["ControlGroup", "no-such-group-here"]),
    ("<Membership>\nActiveView -1\n</Membership>", ["ActiveView", "-1"]),
    ('<Membership>\nShuffleInterval "soon"\n</Membership>', ["ShuffleInterval"]),
    ('<Events>\nForward "LOUD"\n</Events>', ["Forward", "LOUD"]),
    ("<Route>\nCopies 2\n</Route>", ["Copies"]),
    ("Multicast \"perhaps\"", ["Multicast"]),
]


def broken_configuration(bed, full):
    """Each wrong line: one message that names it, collectd goes on."""
    for i, (line, words) in enumerate(BROKEN):
        stays_inert(bed.daemon("broken%d" % i, block=line), *words)
    return "%d of %d named" % (len(BROKEN), len(BROKEN))


def dry_run(bed, full):
    """collectd -T on a live node's configuration disturbs nothing."""
    bed.need_plugins("load")
    nodes = bed.mesh(3, plugins="LoadPlugin load\n")
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, 3, 10)
    wait_mesh(nodes, 10)
    live = nodes[1]
    before, before_links = live.status(), links(nodes)
    done = subprocess.run(live.command("-T"), capture_output=True, text=True, timeout=30)
    check(done.returncode == 0, "collectd -T: exit %d: %s" % (done.returncode, done.stderr[-200:]))
    after = live.status()
    for field in ("id", "generation", "state", "members"):
        check(before[field] == after[field], "%s changed" % field)
    check(after["uptime_s"] >= before["uptime_s"], "it restarted")
    check(links(nodes) == before_links, "links changed")
    live.stop()
    live.start()
    check(live.status()["id"] == before["id"], "the identity changed")
    return "same id, generation and links"


# ---------------------------------------------------------------- bad input

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def hello(cluster=b"default", protocol=(1, 1), kind=1):
    body = (field(1, protocol[0]) + field(2, protocol[1]) + field(3, cluster) +
            field(4, os.urandom(16)) + field(6, 1) + varint(7 << 3 | 1) + os.urandom(8) +
            field(8, int(time.time() * 1000)) + field(9, kind) + field(10, b"stranger") +
            field(11, b"127.0.0.1:1"))
    return frame(field(2, body))


def frame(body):
    return struct.pack(">I", len(body)) + body


def send_raw(d, data, limit_s=15):
    """Send, then read until the daemon closes. Returns what it said."""
    said = b""
    with socket.create_connection((d.host, d.port), timeout=limit_s) as s:
        try:
            s.sendall(data)
            while True:
                part = s.recv(65536)
                if not part:
                    return said
                said += part
        except ConnectionError:
            return said
        except socket.timeout:
            raise Failure("%s keeps a bad link open: %r..." % (d.name, data[:12])) from None


def bad_input(bed, full):
    """Strangers that break rules are refused, logged, and disturb nobody. In the clear: what
    comes to a node with a key is tried by `hostile`."""
    nodes = bed.mesh(3, security="")
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, 3, 10)
    wait_mesh(nodes, 10)
    before = links(nodes)
    target = nodes[0]

    send_raw(target, struct.pack(">I", 0xFFFFFF) + b"x" * 64)
    target.wait_log("16777215")
    send_raw(target, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    send_raw(target, frame(b"\xf8\x7f\x01" * 20))
    said = send_raw(target, hello(cluster=b"elsewhere"))
    target.wait_log("cluster", "elsewhere")
    check(b"cluster" in said.lower(), "the stranger was not told: %r" % said)
    said = send_raw(target, hello(protocol=(90, 99)))
    target.wait_log("protocol", "90")
    check(b"version" in said.lower() or b"protocol" in said.lower(), "not told: %r" % said)
    # A right Hello, then rubbish.
    send_raw(target, hello() + frame(os.urandom(200)))
    # Half a frame and away.
    with socket.create_connection((target.host, target.port)) as s:
        s.sendall(hello()[:20])
    # A record that the key in it did not sign.
    signed = field(1, os.urandom(32)) + field(2, os.urandom(64)) + field(3, field(1, field(1, 1)))
    send_raw(target, hello() + frame(field(13, field(1, 1) + field(2, signed))))
    for i in range(50):
        with socket.create_connection((target.host, target.port)) as s:
            s.sendall(os.urandom(100))

    notify(nodes[2], "still here")
    wait_event(nodes, "still here", 5)
    check(all(d.is_running() for d in nodes), "a daemon ended")
    after = links(nodes)
    check(before == after, "links of others changed")
    check(all(d.status()["members"]["online"] == 3 for d in nodes), "members changed")
    return "garbage, oversize, wrong cluster, version, signature: refused; 3 nodes undisturbed"


SCENARIOS = [restart, clone, reimaged, leave_and_join, state_dir, broken_configuration, dry_run,
             bad_input]
