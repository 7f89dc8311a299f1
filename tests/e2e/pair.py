"""pair.py - the daemon's end of a worker: a stock collectd with argus_worker.so,
started as the daemon starts it, and what it says (src/wire/pair.h) as Python
objects.
"""

import collections
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

from bed import COLLECTD, STOCK_PLUGINS, TYPES_DB, Failure, built, wait_for

KINDS = dict(enumerate(
    "HELLO PHASE REFUSED FAILED READY SET BYE LOG VALUE NOTIFICATION FLUSH STOP".split(), 1))
NUMBERS = {name: number for number, name in KINDS.items()}
PHASES = ["start", "vetting", "configuration", "init", "first read", "run", "stop"]
TIME = 1 << 30  # cdtime of a second

Message = collections.namedtuple("Message", "kind at body")
Value = collections.namedtuple("Value", "host plugin plugin_instance type type_instance "
                               "time interval numbers metas")
Notification = collections.namedtuple(
    "Notification", "severity time host plugin plugin_instance type type_instance message metas")
Ready = collections.namedtuple(
    "Ready", "failed_inits failed_reads errors is_late has_reads has_writers text")
Set = collections.namedtuple("Set", "type sources")


# --------------------------------------------------------------- the bytes

class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from("=" + form, self.data, self.at)
        self.at += struct.calcsize("=" + form)
        return values[0]

    def text(self):
        end = self.data.index(b"\0", self.at)
        text = self.data[self.at:end].decode("utf-8", "replace")
        self.at = end + 1
        return text

    def metas(self):
        metas = {}
        for _ in range(self.take("B")):
            kind, key = self.take("B"), self.text()
            metas[key] = (self.text() if kind == 1 else
                          self.take({2: "q", 3: "Q", 4: "d", 5: "Q"}[kind]))
        return metas


def decode(kind, data):
    r = Reader(data)
    if kind == "HELLO":
        return r.take("I"), r.take("I"), r.text()
    if kind == "PHASE":
        return PHASES[r.take("B")]
    if kind in ("REFUSED", "FAILED", "LOG"):
        number, text = r.take("B"), r.text()
        return (number, text) if kind == "LOG" else (PHASES[number], text)
    if kind == "READY":
        return Ready(*(r.take("I") for _ in range(3)), *(bool(r.take("B")) for _ in range(3)),
                     r.text())
    if kind == "SET":
        name = r.text()
        return Set(name, [(r.take("B"), r.take("d"), r.take("d"), r.text())
                          for _ in range(r.take("B"))])
    if kind == "VALUE":
        when, interval, count = r.take("Q"), r.take("Q"), r.take("B")
        names = [r.text() for _ in range(5)]
        return Value(*names, when, interval, [r.take("8s") for _ in range(count)], r.metas())
    if kind == "NOTIFICATION":
        severity, when = r.take("i"), r.take("Q")
        names = [r.text() for _ in range(5)]
        return Notification(severity, when, *names, r.text(), r.metas())
    return None


def gauge(value, i=0):
    return struct.unpack("=d", value.numbers[i])[0]


def message(kind, body=b""):
    return struct.pack("=IB", 1 + len(body), NUMBERS[kind]) + body


def text_of(*words):
    return b"".join(w.encode() + b"\0" for w in words)


def value(plugin, type_, numbers, host="down.example", plugin_instance="", type_instance="",
          when=None, interval=1.0, metas=b"\0"):
    when = int((when if when is not None else time.time()) * TIME)
    return message("VALUE", struct.pack("=QQB", when, int(interval * TIME), len(numbers)) +
                   text_of(host, plugin, plugin_instance, type_, type_instance) +
                   b"".join(struct.pack("=d", n) for n in numbers) + metas)


def notification(text, severity=2, host="down.example", plugin="test"):
    return message("NOTIFICATION", struct.pack("=iQ", severity, int(time.time() * TIME)) +
                   text_of(host, plugin, "", "", "") + text_of(text) + b"\0")


def flush(timeout=0, identifier=""):
    return message("FLUSH", struct.pack("=Q", timeout) + text_of(identifier))


# ------------------------------------------------------------- the process

class Worker:
    """One worker. Its messages arrive in a thread of its own."""

    numbers = 0

    def __init__(self, bed, text, files=(), user=None, interval=1, lines=(), deny=(), plugins=None,
                 parent=None, globals_=(), env=None):
        Worker.numbers += 1
        self.bed, self.name, self.user = bed, "w%d" % Worker.numbers, user
        self.dir = os.path.join(parent or bed.dir, self.name)
        self.work, self.bundle = os.path.join(self.dir, "work"), os.path.join(self.dir, "bundle")
        self.messages, self.changed = [], threading.Condition()
        self.ended_at = None
        self.stderr = b""
        for path in (self.dir, self.work, self.bundle):
            os.mkdir(path)
            os.chmod(path, 0o755)
        for name, content in dict(files).items():
            path = os.path.join(self.bundle, name)
            with open(path, "w") as f:
                f.write(content)
            os.chmod(path, 0o755)
        if user:
            os.chown(self.work, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        if not os.path.exists(os.path.join(bed.plugin_dir, "argus_worker.so")):
            shutil.copy(built("argus_worker.so"), bed.plugin_dir)  # once: it is mapped
        self.start(text if isinstance(text, bytes) else text.encode(), interval, list(lines),
                   deny, plugins or STOCK_PLUGINS, globals_, env)

    def start(self, text, interval, lines, deny, plugins, globals_, env):
        conf = os.path.join(self.dir, "collectd.conf")
        lines += ['Deny "%s"' % name for name in deny]
        if self.user:
            lines.append('User "%s"' % self.user)
        with open(conf, "w") as f:
            f.write('\n'.join(
                ['Hostname "up.example"', 'FQDNLookup false', 'Interval %g' % interval,
                 'BaseDir "."', 'TypesDB "%s"' % TYPES_DB, 'WriteThreads 1', 'ReadThreads 5',
                 'WriteQueueLimitHigh 50000', 'WriteQueueLimitLow 25000', *globals_,
                 'PluginDir "%s"' % self.bed.plugin_dir, 'LoadPlugin argus_worker',
                 '<Plugin argus_worker>', 'Socket 3', 'Bundle 4', 'Name "%s"' % self.name,
                 'Files "%s"' % self.bundle, 'PluginDir "%s"' % plugins,
                 'Share "%s"' % os.path.dirname(TYPES_DB), *lines, '</Plugin>', '']))
        self.socket, theirs = socket.socketpair()
        bundle = os.memfd_create("text", 0)
        os.write(bundle, text)
        environment = dict(os.environ, MALLOC_ARENA_MAX="1", **(env or {}))
        out_read, out = os.pipe()
        self.started_at = time.monotonic()

        # All that is left open in the child is 0..4: pass_fds keeps numbers.
        def place():
            import fcntl
            a = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD, 100)
            b = fcntl.fcntl(bundle, fcntl.F_DUPFD, 100)
            os.dup2(a, 3)
            os.dup2(b, 4)
            os.closerange(5, 1024)

        self.process = subprocess.Popen(
            [COLLECTD, "-f", "-C", conf], cwd=self.work, stdin=subprocess.DEVNULL, stdout=out,
            stderr=out, start_new_session=True, env=environment, close_fds=False,
            preexec_fn=place)
        self.bed.children.append(self.process)
        theirs.close()
        os.close(bundle)
        os.close(out)
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.hearer = threading.Thread(target=self.hear, args=(out_read,), daemon=True)
        self.hearer.start()

    def hear(self, fd):
        with os.fdopen(fd, "rb") as f:
            while True:
                data = f.read1(65536)
                if not data:
                    return
                self.stderr = (self.stderr + data)[-1 << 20:]

    def read(self):
        buffer = b""
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except OSError:
                data = b""
            now = time.monotonic() - self.started_at
            with self.changed:
                if not data:
                    self.ended_at = now
                    self.changed.notify_all()
                    return
                buffer += data
                while len(buffer) >= 5:
                    size, kind = struct.unpack_from("=IB", buffer)
                    if len(buffer) < 4 + size:
                        break
                    kind = KINDS[kind]
                    self.messages.append(Message(kind, now, decode(kind, buffer[5:4 + size])))
                    buffer = buffer[4 + size:]
                self.changed.notify_all()

    # ------------------------------------------------------- what it said

    def all(self, kind):
        with self.changed:
            return [m for m in self.messages if m.kind == kind]

    def wait(self, condition, limit_s, what):
        """condition() over what has arrived; asked again with each message."""
        end = time.monotonic() + limit_s
        with self.changed:
            while True:
                found = condition()
                if found:
                    return found
                left = end - time.monotonic()
                if left <= 0 or self.ended_at is not None:
                    raise Failure("%s: %s; it said %s %s" % (self.name, what, self.said(),
                                                             self.stderr[-600:]))
                self.changed.wait(left)

    def said(self):
        return ["%s %s" % (m.kind, m.body) for m in self.messages if m.kind not in ("VALUE", "SET")]

    def first(self, kind, limit_s=10):
        return self.wait(lambda: next((m for m in self.messages if m.kind == kind), None), limit_s,
                         "no %s" % kind)

    def ready(self, limit_s=15):
        return self.first("READY", limit_s)

    def values(self, plugin=None):
        return [m.body for m in self.all("VALUE") if plugin in (None, m.body.plugin)]

    def wait_value(self, condition, limit_s=10, what="value"):
        return self.wait(lambda: next((m.body for m in self.messages
                                       if m.kind == "VALUE" and condition(m.body)), None),
                         limit_s, "no %s" % what)

    def wait_end(self, limit_s=10):
        wait_for(lambda: self.ended_at is not None, limit_s, "%s did not end" % self.name)
        self.hearer.join(2)
        return self

    def heard(self):
        return self.stderr.decode("utf-8", "replace")

    # -------------------------------------------------------- what it hears

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))

    def stop(self, limit_s=6):
        since = time.monotonic()
        self.send(message("STOP"))
        self.wait_end(limit_s)
        return time.monotonic() - since

    def hang_up(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def kill(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
