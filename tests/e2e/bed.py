"""bed.py - real collectd daemons for the end-to-end tests.

A Bed owns everything a scenario starts: daemons (each with its own BaseDir),
network namespaces, mounts, a temporary folder. Leaving it ends and removes all
of that, also after a failure or Ctrl-C; should the runner itself be killed, the
kernel kills the daemons (PR_SET_PDEATHSIG).

Daemons are asked through argusctl and read through what they write, as users
would: only what the manual pages say is known of argus here.

Nothing waits for a fixed time: wait_for() asks again until a condition holds or
its limit is over. The places to look are ARGUS_BUILD (build folder, default: the
current one), COLLECTD, COLLECTD_PLUGINS.
"""

import ctypes
import datetime
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

BUILD = os.path.abspath(os.environ.get("ARGUS_BUILD", "."))
COLLECTD = os.environ.get("COLLECTD") or shutil.which("collectd") or "/usr/sbin/collectd"
ARGUSCTL = os.path.join(BUILD, "argusctl")
TYPES_DB = "/usr/share/collectd/types.db"
STOCK_PLUGINS = os.environ.get("COLLECTD_PLUGINS") or next(
    (d for d in ("/usr/lib/collectd", "/usr/lib64/collectd",
                 "/usr/lib/x86_64-linux-gnu/collectd",
                 "/usr/lib/aarch64-linux-gnu/collectd")
     if os.path.isdir(d)), "/usr/lib/collectd")

# In a new network namespace. The second address is for those who look up with
# AI_ADDRCONFIG: it wants to see another one than 127.0.0.1.
OWN_NETWORK = "ip link set lo up && ip addr add 127.0.0.2/8 dev lo"
PAUSE_S = 0.05  # between two looks at a condition
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_never = threading.Event()
_lans = itertools.count()  # no name twice in the network of a run


class Failure(Exception):
    """A claim of a scenario that does not hold."""


def check(claim, text):
    """The text may be a function, for one that costs something to make."""
    if not claim:
        raise Failure(text() if callable(text) else text)


def pause(seconds=PAUSE_S):
    _never.wait(seconds)


def wait_for(condition, limit_s, what):
    """Ask until condition() is true. Returns its value; Failure after limit_s.
    `what` is the text, or a function that makes it when it is needed."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise Failure("after %g s: %s" % (limit_s, what() if callable(what) else what))
        pause()


def parse_time(text):
    """RFC 3339 as argusctl writes it -> seconds since 1970."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def cpu_seconds(pid):
    """CPU that a process has used so far, all its threads together."""
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def private_bytes(pid):
    """Memory that this process alone uses."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return 1024 * sum(int(line.split()[1]) for line in f
                          if line.startswith(("Private_Clean:", "Private_Dirty:")))


def built(name):
    """A module that libtool built: in the build folder or its .libs."""
    for path in (os.path.join(BUILD, os.path.dirname(name), ".libs", os.path.basename(name)),
                 os.path.join(BUILD, name)):
        if os.path.isfile(path):
            return path
    raise Failure("%s is not built in %s" % (name, BUILD))


def end_with_parent(number=signal.SIGTERM):
    """In a child: the kernel sends that once the thread that made it is gone."""
    _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def _in_child():
    os.setsid()
    end_with_parent(signal.SIGKILL)


class Daemon:
    """One collectd with its own BaseDir. Made by Bed.daemon()."""

    def __init__(self, bed, name, role="agent", seeds=(), port=None, host="127.0.0.1",
                 netns=None, block="", plugins="", interval=1, bare=False, extra="",
                 state_dir=None, env=None, security=None, prefix=()):
        self.bed, self.name, self.role, self.seeds = bed, name, role, list(seeds)
        self.host, self.port, self.netns = host, port or bed.free_port(host), netns
        self.block, self.plugins, self.interval = block, plugins, interval
        self.bare, self.extra, self.env = bare, extra, env
        self.prefix = list(prefix)  # what the command line begins with
        self.security = security  # lines of <Security>; None: the key of the bed
        self.base = os.path.join(bed.dir, name)
        self.state_dir = state_dir or os.path.join(self.base, "argus")
        self.socket = os.path.join(self.base, "control.sock")
        if bare:
            self.socket = os.path.join(self.base, "argus", "control.sock")
        self.conf = os.path.join(self.base, "collectd.conf")
        self.log = os.path.join(self.base, "log")
        self.out = os.path.join(self.base, "out")
        self.process = None
        self.started_at = None
        self.is_ready = False
        os.makedirs(self.base, exist_ok=True)

    @property
    def address(self):
        return "%s:%d" % (self.host, self.port)

    def argus_block(self):
        if self.bare:
            return ""
        lines = ['Role "%s"' % self.role, 'Listen "%s" "%d"' % (self.host, self.port),
                 'StateDir "%s"' % self.state_dir, 'ControlSocket "%s"' % self.socket]
        lines += ['Seed "%s"' % s for s in self.seeds]
        if "<Security>" not in self.block:
            security = self.security
            if security is None:
                security = 'KeyFile "%s"' % self.bed.mesh_key()
            lines += ["<Security>", security, "</Security>"]
        return "<Plugin argus>\n  %s\n%s\n</Plugin>\n" % ("\n  ".join(lines), self.block)

    def write_conf(self):
        with open(self.conf, "w") as f:
            f.write('Hostname "%s"\nFQDNLookup false\nBaseDir "%s"\nPIDFile "%s/pid"\n'
                    'PluginDir "%s"\nTypesDB "%s"\nInterval %g\n%s\n'
                    'LoadPlugin logfile\n<Plugin logfile>\n  LogLevel info\n  File "%s"\n'
                    '  Timestamp true\n  PrintSeverity true\n</Plugin>\n'
                    'LoadPlugin argus\n%s%s\n'
                    % (self.name, self.base, self.base, self.bed.plugin_dir, TYPES_DB,
                       self.interval, self.extra, self.log, self.argus_block(), self.plugins))

    def command(self, *arguments):
        prefix = ["ip", "netns", "exec", self.netns] if self.netns else []
        return prefix + self.prefix + [COLLECTD, "-C", self.conf] + list(arguments)

    def spawn(self):
        """Start; returns at once."""
        self.write_conf()
        env = dict(os.environ, **(self.env or {}))
        with open(self.out, "a") as out:
            self.process = subprocess.Popen(self.command("-f"), stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out, env=env,
                                            preexec_fn=_in_child)
        self.started_at = time.monotonic()
        self.is_ready = False
        return self

    def wait_ready(self, limit_s=15):
        """Until it answers argusctl status."""
        def answers():
            if self.process.poll() is not None:
                raise Failure("%s ended with code %s: %s"
                              % (self.name, self.process.returncode, self.last_words()))
            return os.path.exists(self.socket) and self.ctl_code("status")[0] in (0, 1)
        wait_for(answers, limit_s, lambda: "%s does not answer: %s" % (self.name, self.last_words()))
        self.is_ready = True
        return self

    def start(self):
        return self.spawn().wait_ready()

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def send(self, number):
        if self.is_running():
            self.process.send_signal(number)

    def kill(self):
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)

    def stop(self, limit_s=20):
        """Orderly; Failure when it hangs or crashes."""
        was_running = self.is_running()
        self.send(signal.SIGTERM)
        try:
            code = self.process.wait(limit_s)
            check(code == 0 or not was_running,
                  "%s ended with %s when it was stopped: %s" % (self.name, code, self.last_words()))
            return code
        except subprocess.TimeoutExpired:
            raise Failure("%s does not stop within %g s" % (self.name, limit_s)) from None

    # ---- asking

    def ctl_code(self, *arguments, as_json=True):
        """argusctl ... -> (exit code, standard output, standard error)."""
        mode = ["--json"] if as_json else []
        done = subprocess.run([ARGUSCTL, "-s", self.socket] + mode + list(arguments),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=30)
        return done.returncode, done.stdout, done.stderr

    def ctl(self, *arguments, codes=(0,)):
        """argusctl --json ... -> the object, once the node is ready. Failure on another exit
        code."""
        if self.is_running() and not self.is_ready:
            self.wait_ready()
        code, out, err = self.ctl_code(*arguments)
        check(code in codes, "%s: argusctl %s: exit %d: %s"
              % (self.name, " ".join(arguments), code, err.strip()))
        return json.loads(out)

    def status(self):
        return self.ctl("status", codes=(0, 1))

    def members(self):
        return self.ctl("members", codes=(0, 3))["members"]

    def peers(self):
        return self.ctl("peers")

    def events(self):
        return self.ctl("events", codes=(0, 3))["events"]

    def log_text(self):
        text = ""
        for path in (self.log, self.out):
            try:
                with open(path, errors="replace") as f:
                    text += f.read()
            except FileNotFoundError:
                pass
        return text

    def last_words(self):
        return " | ".join(self.log_text().strip().splitlines()[-4:])

    def wait_log(self, *words, limit_s=10):
        """Until one line of the log has all words (in any case); the line."""
        def found():
            for line in self.log_text().splitlines():
                if all(w.lower() in line.lower() for w in words):
                    return line
            return None
        return wait_for(found, limit_s, lambda: "%s logs nothing with %s; last: %s"
                        % (self.name, " + ".join(words), self.last_words()))


class Bed:
    """Everything of one scenario; a context manager."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="argus-e2e-")
        os.chmod(self.dir, 0o755)
        self.plugin_dir = os.path.join(self.dir, "plugins")
        self.daemons, self.children, self.namespaces, self.mounts = [], [], [], []
        self.ports = set()
        os.mkdir(self.plugin_dir)

    def __enter__(self):
        try:  # collectd refuses symbolic links as plugins
            for name in ("argus.so", "argus_worker.so"):
                shutil.copy(built(name), self.plugin_dir)
            self.need_plugins("logfile")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, error, trace):
        keep = error is not None and bool(os.environ.get("ARGUS_E2E_KEEP"))
        if keep:
            print("# kept: %s" % self.dir)
        self.close(keep)

    def close(self, keep=False):
        for child in self.children + [d.process for d in self.daemons if d.process]:
            if child.poll() is None:
                child.kill()
        for child in self.children + [d.process for d in self.daemons if d.process]:
            child.wait()
        for mount in self.mounts:
            subprocess.run(["umount", mount], check=False)
        for name in self.namespaces:
            subprocess.run(["ip", "netns", "del", name], check=False)
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def need_plugins(self, *names):
        for name in names:
            source = os.path.join(STOCK_PLUGINS, name + ".so")
            if not os.path.exists(os.path.join(self.plugin_dir, name + ".so")):
                shutil.copy(source, self.plugin_dir)

    def need_built(self, *names):
        for name in names:  # a file that a daemon has loaded stays as it is
            if not os.path.exists(os.path.join(self.plugin_dir, os.path.basename(name))):
                shutil.copy(built(name), self.plugin_dir)

    def new_mesh_key(self, name):
        """A keyring file with one new key -> (path, id of the key)."""
        path = os.path.join(self.dir, name)
        done = subprocess.run([ARGUSCTL, "--json", "keygen", "mesh", path], check=True,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return path, json.loads(done.stdout)["id"]

    def mesh_key(self):
        """The keyring of all daemons that name no other <Security>. Each gets the same
        file: who rotates keys gives each daemon one of its own."""
        path = os.path.join(self.dir, "mesh.key")
        if not os.path.exists(path):
            self.new_mesh_key("mesh.key")
        return path

    def free_port(self, host="127.0.0.1"):
        """Below the range the kernel hands out, so that no dial takes it."""
        for port in range(20000 + os.getpid() % 5000, 32000):
            if port in self.ports:
                continue
            with socket.socket() as s:
                try:
                    s.bind(("127.0.0.1", port))
                except OSError:
                    continue
            self.ports.add(port)
            return port
        raise Failure("no free port")

    def daemon(self, name, **options):
        d = Daemon(self, name, **options)
        self.daemons.append(d)
        return d

    def child(self, arguments, **options):
        """A process that the Bed ends."""
        p = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, preexec_fn=_in_child, **options)
        self.children.append(p)
        return p

    def netns(self, name):
        self.namespaces.append(name)
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def tmpfs(self, path, size):
        os.makedirs(path)
        run("mount", "-t", "tmpfs", "-o", "size=%s" % size, "tmpfs", path)
        self.mounts.append(path)

    def mesh(self, count, prefix="n", **options):
        """`count` nodes, the first of them everyone's Seed, all started."""
        nodes = [self.daemon("%s%02d" % (prefix, i), **options) for i in range(count)]
        for node in nodes[1:]:
            node.seeds = [nodes[0].address]
        for node in nodes:
            node.spawn()
        return nodes


def run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    check(done.returncode == 0, "%s: %s" % (" ".join(arguments), done.stderr.strip()))
    return done.stdout


class Lan:
    """Network namespaces on one bridge, with the addresses 10.9.0.1, fd09::1 and so on; any
    of them can be cut off, and nobody is told: packets are just not carried any more."""

    def __init__(self, bed, count):
        self.name = "lan%d" % next(_lans)
        self.places = ["argus-%d-%s-%d" % (os.getpid(), self.name, i + 1) for i in range(count)]
        self.bridges = set()
        self.bridge(0)
        for i, place in enumerate(self.places):
            bed.netns(place)
            run("ip", "link", "add", self.cable(i), "type", "veth", "peer", "name", "eth0",
                "netns", place)
            self.move(i, 0)
            run("ip", "link", "set", self.cable(i), "up")
            run("ip", "-n", place, "addr", "add", "%s/24" % self.host(i), "dev", "eth0")
            run("ip", "-n", place, "addr", "add", "fd09::%d/64" % (i + 1), "dev", "eth0", "nodad")
            run("ip", "-n", place, "link", "set", "eth0", "up")

    def host(self, i):
        return "10.9.0.%d" % (i + 1)

    def cable(self, i):
        return "%s-%d" % (self.name, i + 1)

    def bridge(self, island):
        name = "%s.%d" % (self.name, island)
        if island not in self.bridges:
            run("ip", "link", "add", name, "type", "bridge")
            run("ip", "link", "set", name, "up")
            self.bridges.add(island)
        return name

    def move(self, i, island):
        """From now on place i reaches those on the same island (a number) alone."""
        run("ip", "link", "set", self.cable(i), "master", self.bridge(island))


# ------------------------------------------------------------- the mesh

def links(nodes):
    """{id: set of ids in its active view}, as each of them says."""
    result = {}
    for node in nodes:
        own = node.status()["id"]
        result[own] = {p["id"] for p in node.peers()["active"]}
    return result


def one_sided(table):
    return [(a, b) for a, others in table.items() for b in others
            if b in table and a not in table[b]]


def is_connected(table):
    """Over links that both ends have, among the nodes asked."""
    seen, todo = set(), list(table)[:1]
    while todo:
        a = todo.pop()
        if a in seen:
            continue
        seen.add(a)
        todo += [b for b in table[a] if b in table and a in table[b]]
    return len(seen) == len(table)


def wait_online(nodes, count, limit_s, since=None):
    """Until each node says `count` members are online; seconds since `since`."""
    since = since if since is not None else time.monotonic()
    end = since + limit_s
    for node in nodes:
        wait_for(lambda n=node: n.status()["members"]["online"] == count,
                 max(end - time.monotonic(), 0.01),
                 lambda n=node: "%s says %s" % (n.name, n.status()["members"]))
    return time.monotonic() - since


def wait_mesh(nodes, limit_s, since=None, symmetric=True):
    """Until the nodes are one mesh by their active views; seconds."""
    since = since if since is not None else time.monotonic()
    last = {}

    def holds():
        last["t"] = links(nodes)
        return is_connected(last["t"]) and not (symmetric and one_sided(last["t"]))
    wait_for(holds, max(since + limit_s - time.monotonic(), 0.01),
             lambda: "no one mesh: %d one-sided links, views %s"
             % (len(one_sided(last["t"])), sorted(len(v) for v in last["t"].values())))
    return time.monotonic() - since


def notify(node, text):
    return node.ctl("notify", "--type", "test", text)


def wait_event(nodes, text, limit_s):
    """Until an event with that message is on every node; seconds."""
    since = time.monotonic()
    for node in nodes:
        wait_for(lambda n=node: any(e["message"] == text for e in n.events()),
                 max(since + limit_s - time.monotonic(), 0.01),
                 "%s has no event \"%s\"" % (node.name, text))
    return time.monotonic() - since
