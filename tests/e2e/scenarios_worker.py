"""What runs inside a worker: a stock collectd with argus_worker.so, its daemon
played by pair.py. What the real daemon does with it is another file's matter.
"""

import glob
import os
import pwd
import re
import signal
import socket
import struct
import threading
import time

import pair
from bed import check, cpu_seconds, pause, private_bytes, run as bed_run, wait_for
from pair import Worker, gauge, message

NAUGHTY = 'LoadPlugin naughty\n<Plugin naughty>\nMode "%s"\nAfter %d\n</Plugin>\n'
DENIED = ("exec", "python", "perl", "lua", "java")


def naughty(bed, mode, after=0, **options):
    bed.need_built("tests/plugins/naughty.so")
    return Worker(bed, NAUGHTY % (mode, after), plugins=bed.plugin_dir, **options)


def verdict(worker, limit_s=10):
    """REFUSED or FAILED, as (kind, phase, text); then the process has ended."""
    found = worker.wait(lambda: next((m for m in worker.messages
                                      if m.kind in ("REFUSED", "FAILED", "READY")), None),
                        limit_s, "no verdict")
    check(found.kind != "READY", "%s is ready: %s" % (worker.name, found.body))
    worker.wait_end(3)
    return (found.kind,) + found.body


def expect(worker, kind, phase, *words):
    found = verdict(worker)
    check(found[0] == kind and phase in (None, found[1]) and all(w in found[2] for w in words),
          "%s, expected %s %s %s" % (found, kind, phase, words))
    return found[2]


def is_alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


# ------------------------------------------------------------- a good start

def worker_ready(bed, full):
    """The order of what it says; what is in a value; two read passes."""
    since = time.time()
    w = Worker(bed, "LoadPlugin df\nLoadPlugin load\n")
    ready = w.ready().body
    check(ready == (0, 0, 0, False, True, False, ""), ready)
    w.wait(lambda: any(m.kind == "PHASE" and m.body == "run" for m in w.messages), 1, "no run")
    said = [m for m in w.messages if m.kind in ("HELLO", "PHASE", "READY")]
    check([m.kind for m in said] == ["HELLO"] + 4 * ["PHASE"] + ["READY", "PHASE"] and
          [m.body for m in said if m.kind == "PHASE"] == pair.PHASES[1:6], w.said())
    check(said[0].body[0] == 1 and said[0].body[1] == w.pid and said[0].body[2], said[0])
    first = w.values("load")[0]
    check((first.host, first.type, len(first.numbers)) == ("up.example", "load", 3), first)
    check(first.interval == pair.TIME and since - 1 < first.time / pair.TIME < time.time() + 1,
          first)
    known = set()
    for m in w.messages:
        if m.kind == "SET":
            known.add(m.body.type)
        check(m.kind != "VALUE" or m.body.type in known, "a value before its set: %s" % str(m.body))
    check(len(w.all("SET")) == len(known), "a set came twice")
    check(len([v for v in w.values("load")]) >= 2, "one read pass")
    spent = w.stop()
    check(w.said()[-2:] == ["PHASE stop", "BYE None"], w.said())
    return "ready after %.0f ms and an interval, stopped in %.0f ms" % (
        1000 * (next(m.at for m in w.messages if m.kind == "VALUE")), 1000 * spent)


def worker_without_reads(bed, full):
    """No plugin that reads is no reason not to be ready."""
    ready = Worker(bed, "LoadPlugin csv\n<Plugin csv>\nDataDir \"csv\"\n</Plugin>\n").ready().body
    check(not ready.has_reads and ready.has_writers and not ready.is_late, ready)
    w = Worker(bed, "LoadPlugin match_regex\n")
    ready = w.ready().body
    check(w.heard() == "", w.heard())
    check(not ready.has_reads and not ready.has_writers, ready)
    return "ready with a writer alone, and with nothing at all to do"


# ----------------------------------------------------------- what fails, how

def worker_failures(bed, full):
    """Each failure is told in the phase where it happened, in collectd's words."""
    bed.need_built("tests/plugins/naughty.so")
    expect(Worker(bed, "LoadPlugin df\n<Plugin df>\nMountPoint \"/\"\n"),
           "FAILED", "vetting", "Parse error", "line")
    w = Worker(bed, "LoadPlugin df\nLoadPlugin < load\n")
    text = expect(w, "FAILED", "vetting", "line 2 near", w.name)
    check("/proc/self" not in text, text)
    expect(Worker(bed, "LoadPlugin nosuch\n"), "FAILED", "configuration",
           'Could not find plugin "nosuch"')
    expect(Worker(bed, "LoadPlugin load\n<Plugin load>\nNonsense 1\n</Plugin>\n"),
           "FAILED", "configuration", "failed to handle option `Nonsense'")
    expect(Worker(bed, "LoadPlugin df\nNonsense 1\n"), "REFUSED", "vetting", "Nonsense 1",
           "LoadPlugin, Plugin, Chain")
    expect(Worker(bed, ""), "REFUSED", "vetting", "nothing in it")
    expect(Worker(bed, "# a comment\n"), "REFUSED", "vetting", "nothing in it")
    expect(Worker(bed, b"LoadPlugin df\n\0LoadPlugin exec\n"), "REFUSED", "vetting", "0x00")
    expect(Worker(bed, b"\x7fELF\x02\x01\x01"), "REFUSED", "vetting", "0x7f")
    expect(Worker(bed, "#" * 200000 + "\n"), "REFUSED", "vetting", "longer than")
    expect(Worker(bed, 100 * ("#" * 20000 + "\n")), "REFUSED", "vetting", "2000100 bytes")
    expect(Worker(bed, 'TypesDB "@BUNDLE@/x"\n', lines=['Files ""']), "REFUSED", "vetting",
           "no files")
    expect(Worker(bed, "LoadPlugin df\n", lines=['User "no-such-user"']), "FAILED", "start",
           'no user "no-such-user"')
    expect(naughty(bed, "fail-config"), "FAILED", "configuration")
    expect(naughty(bed, "fail-init"), "FAILED", "init", "Initialization of plugin `naughty'")
    expect(naughty(bed, "busy-init"), "FAILED", "init", "Address already in use")
    expect(naughty(bed, "busy-read"), "FAILED", "first read", "Address already in use")
    ready = naughty(bed, "fail-read").ready().body
    check(ready.failed_reads == 1 and "read-function of plugin `naughty' failed" in ready.text,
          ready)
    ready = naughty(bed, "error-read").ready().body
    check(ready.errors == 2 and ready.text.startswith("naughty: something is not"), ready)
    ready = Worker(bed, "LoadPlugin statsd\n<Plugin statsd>\nNonsense 1\n</Plugin>\n").ready().body
    check(ready.errors == 1 and "Nonsense" in ready.text, ready)
    return "20 failures and warnings, each with its text"


def worker_taken_port(bed, full):
    """statsd's init succeeds on a port that is taken: its line tells."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        text = expect(Worker(bed, 'LoadPlugin statsd\n<Plugin statsd>\nHost "127.0.0.1"\n'
                             'Port "%d"\n</Plugin>\n' % taken.getsockname()[1]),
                      "FAILED", None, "Address already in use")
    return text


def worker_crashes(bed, full):
    """A crash names signal, plugin and phase; so does an exit()."""
    for mode, after, prefix, words in (
            ("segfault-config", 0, "crash: SIGSEGV", ("plugin `naughty'", "phase configuration")),
            ("segfault-init", 0, "crash: SIGSEGV", ("plugin `naughty'", "phase init")),
            ("segfault-read", 0, "crash: SIGSEGV", ("plugin `naughty'", "phase first read")),
            ("segfault-thread", 1, "crash: SIGSEGV", ("plugin `naughty'",)),
            ("abort-thread", 0, "crash: SIGABRT", ("plugin `naughty'",)),
            ("exit-read", 0, "exit: exit(7)", ("plugin `naughty'", "phase first read"))):
        w = naughty(bed, mode, after).wait_end(5)
        check(not w.all("BYE"), "%s: BYE" % mode)
        line = next((l for l in w.heard().splitlines() if prefix in l), "")
        check(line.startswith("argus_worker: ") and all(word in line for word in words),
              "%s: %s" % (mode, w.heard()))
        if prefix.startswith("crash"):
            check("naughty.so" in w.heard(), "%s: no backtrace: %s" % (mode, w.heard()))
    return "five crashes and an exit, each with its place"


def worker_hangs(bed, full):
    """What does not come back is named, and ended with its group."""
    for mode, phase in (("hang-config", "configuration"), ("hang-init", "init")):
        w = naughty(bed, mode, lines=["StartTimeout 1"])
        text = expect(w, "FAILED", phase, "plugin `naughty' hangs", "1 s")
        check("naughty.so" in w.heard(), "no backtrace of %s: %s" % (mode, w.heard()))
    w = naughty(bed, "hang-read", lines=["ReadTimeout 1"])
    check(w.ready().body.is_late, "a hung read is not late")
    w.send(message("STOP"))
    w.wait_end(6)
    check(not w.all("BYE"), "BYE with a thread that hangs")
    w = naughty(bed, "sleep-read", 2)
    ready = w.ready()
    check(not ready.body.is_late and ready.at > 2, ready)
    w = naughty(bed, "hang-shutdown")
    w.ready()
    spent = w.stop(6)
    check(3 < spent and not w.all("BYE"), "ended after %.1f s" % spent)
    return "config, init (%s), read, shutdown (ended after %.1f s)" % (text, spent)


# ---------------------------------------------------- plugins of every kind

PYTHON = """
import collectd, os, time
def config(block):
    for item in block.children:
        if item.key == 'Out': out[0] = item.values[0]
out = ['']
def write_line(text):
    with open(out[0], 'a') as f: f.write(text + '\\n')
def read():
    v = collectd.Values(plugin='py', type='gauge', type_instance='one', meta={'k': 'v', 'n': 7})
    v.dispatch(values=[42])
    collectd.Notification(plugin='py', type='gauge', severity=2).dispatch(message='hello',
                                                                      meta={'deep': True})
def seen(v, data=None):
    write_line('write %s %s %s' % (v.plugin, v.type_instance, v.values))
    if v.plugin == 'downward':
        collectd.Values(plugin='derived', type='gauge').dispatch(values=v.values)
collectd.register_config(config)
collectd.register_read(read)
collectd.register_write(seen)
collectd.register_notification(lambda n, data=None: write_line('note ' + n.message))
collectd.register_flush(lambda t, p, i=None, data=None: write_line('flush %s %s' % (t, p)))
"""


def python_text(out):
    return ('LoadPlugin python\n<Plugin python>\nModulePath "@BUNDLE@"\nImport "probe"\n'
            '<Module probe>\nOut "%s"\n</Module>\n</Plugin>\n' % out)


def worker_python(bed, full):
    """A script that the bundle brings: values and notifications with meta data."""
    out = os.path.join(bed.dir, "python-out")
    w = Worker(bed, python_text(out), files={"probe.py": PYTHON})
    ready = w.ready().body
    check(ready.errors == 0 and ready.has_writers, ready)
    v = w.wait_value(lambda v: v.plugin == "py")
    check(gauge(v) == 42 and v.metas.get("k") == "v" and v.metas.get("n") == 7, v)
    n = w.first("NOTIFICATION").body
    check((n.severity, n.message, n.plugin, n.metas) == (2, "hello", "py", {"deep": 1}), n)
    w.stop()
    bad = Worker(bed, python_text(out), files={"probe.py": "import no_such_module\n"})
    found = bad.wait(lambda: next((m for m in bad.messages if m.kind in ("READY", "FAILED")), None),
                     10, "no verdict")
    check("no_such_module" in str(found.body), found)
    return "a value and a notification with meta data; a bad script: %s" % found.kind


def worker_perl_lua(bed, full):
    """The two other languages."""
    lua = Worker(bed, 'LoadPlugin lua\n<Plugin lua>\nBasePath "@BUNDLE@"\nScript "probe.lua"\n'
                 '</Plugin>\n', files={"probe.lua": """
collectd.register_read(function()
  collectd.dispatch_values({host='lua.example', plugin='lua', type='gauge', interval=1,
                            time=os.time(), values={3}})
  return 0
end)
"""})
    v = lua.wait_value(lambda v: v.plugin == "lua")
    check(gauge(v) == 3 and v.host == "lua.example", v)
    check(lua.ready().body.failed_reads == 0, lua.said())
    os.makedirs(os.path.join(bed.dir, "perl/Collectd/Plugins"))
    with open(os.path.join(bed.dir, "perl/Collectd/Plugins/Probe.pm"), "w") as f:
        f.write("""
package Collectd::Plugins::Probe;
use Collectd qw(:all);
plugin_register(TYPE_READ, 'probe', 'my_read');
sub my_read {
  plugin_dispatch_values({plugin => 'perl', type => 'gauge', values => [5], interval => 1});
  return 1;
}
1;
""")
    perl = Worker(bed, '<LoadPlugin perl>\nGlobals true\n</LoadPlugin>\n<Plugin perl>\n'
                  'IncludeDir "%s/perl"\nBaseName "Collectd::Plugins"\nLoadPlugin "Probe"\n'
                  '</Plugin>\n' % bed.dir)
    v = perl.wait_value(lambda v: v.plugin == "perl")
    check(gauge(v) == 5, v)
    perl.stop()
    lua.stop()
    return "a value of each"


def worker_exec(bed, full):
    """A script of the bundle, run by exec as the worker's user."""
    script = '#!/bin/sh\necho "PUTVAL script.example/exec-$(id -u)/gauge-one interval=1 N:7"\n' \
             'exec sleep 1000\n'
    w = Worker(bed, 'LoadPlugin exec\n<Plugin exec>\nExec "nobody" "@BUNDLE@/run.sh"\n'
               '</Plugin>\n', files={"run.sh": script}, user="nobody")
    v = w.wait_value(lambda v: v.plugin == "exec")
    check(gauge(v) == 7 and v.plugin_instance == str(pwd.getpwnam("nobody").pw_uid), v)
    children = children_of(w.pid)
    check(children, "no child")
    w.ready()
    w.stop()
    wait_for(lambda: not any(is_alive(p) for p in children), 2, "exec's child lives on")
    return "its value came, its child went"


def children_of(pid):
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == pid and int(path.split("/")[2]) != pid:  # process group
            found.append(int(path.split("/")[2]))
    return found


def worker_listeners(bed, full):
    """statsd, network and unixsock: values of clients."""
    ports = [bed.free_port() for _ in range(2)]
    path = os.path.join(bed.dir, "unixsock")
    w = Worker(bed, 'LoadPlugin statsd\n<Plugin statsd>\nHost "127.0.0.1"\nPort "%d"\n</Plugin>\n'
               'LoadPlugin network\n<Plugin network>\nListen "127.0.0.1" "%d"\n</Plugin>\n'
               'LoadPlugin unixsock\n<Plugin unixsock>\nSocketFile "%s"\nDeleteSocket true\n'
               '</Plugin>\n' % (ports[0], ports[1], path))
    check(w.ready().body.errors == 0, w.said())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"visits:3|g\n", ("127.0.0.1", ports[0]))
        s.sendto(network_packet("net.example", "net", "gauge", 9.0), ("127.0.0.1", ports[1]))
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(b"PUTVAL sock.example/sock/gauge interval=1 N:4\n")
        check(b"Success" in s.recv(200), "unixsock refuses")
    check(gauge(w.wait_value(lambda v: v.plugin == "statsd" and gauge(v) == 3)) == 3, "statsd")
    net = w.wait_value(lambda v: v.plugin == "net")
    check(gauge(net) == 9 and net.host == "net.example" and "network:received" in net.metas, net)
    check(gauge(w.wait_value(lambda v: v.plugin == "sock")) == 4, "unixsock")
    w.stop()
    return "a value by each, network's with its mark"


def network_packet(host, plugin, type_, number):
    def text(kind, word):
        return struct.pack(">HH", kind, 5 + len(word)) + word.encode() + b"\0"
    return (text(0, host) + struct.pack(">HHQ", 8, 12, int(time.time() * pair.TIME)) +
            struct.pack(">HHQ", 9, 12, pair.TIME) + text(2, plugin) + text(4, type_) +
            struct.pack(">HHHB", 6, 15, 1, 1) + struct.pack("<d", number))


def worker_writers(bed, full):
    """What comes down reaches csv, rrdtool, write_prometheus, aggregation and threshold,
    and does not come back."""
    port = bed.free_port()
    # write_prometheus looks an address up that counts only beside a real one.
    address = ("192.0.2.1/32", "dev", "lo")
    has_own_network = os.environ.get("ARGUS_E2E_NETWORK") == "own"
    if has_own_network:
        bed_run("ip", "addr", "add", *address)
    try:
        return writers(bed, port)
    finally:
        if has_own_network:
            bed_run("ip", "addr", "del", *address)


def writers(bed, port):
    w = Worker(bed, """
LoadPlugin csv
<Plugin csv>
DataDir "csv"
</Plugin>
LoadPlugin rrdtool
<Plugin rrdtool>
DataDir "rrd"
</Plugin>
LoadPlugin write_prometheus
<Plugin write_prometheus>
Host "127.0.0.1"
Port "%d"
</Plugin>
LoadPlugin aggregation
<Plugin aggregation>
<Aggregation>
Plugin "downward"
Type "gauge"
GroupBy "Host"
CalculateSum true
</Aggregation>
</Plugin>
LoadPlugin threshold
<Plugin threshold>
<Plugin "downward">
<Type "gauge">
FailureMax 50
</Type>
</Plugin>
</Plugin>
""" % port)
    ready = w.ready().body
    # libmicrohttpd has an ERROR line of its own.
    check(ready.has_writers and ready.errors <= 1, ready)
    w.send(pair.message("SET", pair.text_of("argus_own") + struct.pack("=BBdd", 1, 1, 0, 9) +
                        pair.text_of("value")))
    start = time.time() - 5
    for i in range(5):
        w.send(pair.value("downward", "gauge", [10.0 * i], type_instance="a", when=start + i),
               pair.value("downward", "gauge", [100.0], type_instance="b", when=start + i),
               pair.value("own", "argus_own", [1.0 + i], when=start + i))
    w.wait(lambda: any(m.kind == "NOTIFICATION" and m.body.severity == 1 and
                       m.body.plugin == "downward" for m in w.messages), 5, "no threshold")
    total = w.wait_value(lambda v: v.plugin == "aggregation", what="aggregation")
    check(total.plugin_instance == "downward-sum" and gauge(total) > 0 and
          total.host == "down.example", total)
    lines = wait_for(lambda: rows(w, "down.example/downward/gauge-a") if
                     len(rows(w, "down.example/downward/gauge-a")) == 5 else None, 3, "csv")
    check([float(line.split(",")[1]) for line in lines] == [0, 10, 20, 30, 40], lines)
    wait_for(lambda: len(rows(w, "down.example/own/argus_own")) == 5, 3,
             "a type that the daemon sent did not reach csv")
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        page = b"".join(iter(lambda: s.recv(65536), b""))
    check(b"collectd_downward_gauge" in page, page[-300:])
    check(not w.values("downward") and not w.values("own"), "an echo: %s" % w.values("downward"))
    w.stop()
    path = os.path.join(w.work, "rrd/down.example/downward/gauge-a.rrd")
    check(os.path.getsize(path) > 1000, "no %s" % path)
    return "csv, rrdtool, write_prometheus, a sum and a threshold, nothing echoed"


def rows(worker, series):
    lines = []
    for path in sorted(glob.glob(os.path.join(worker.work, "csv", series + "-2*"))):
        with open(path) as f:
            lines += f.read().splitlines()[1:]
    return lines


def worker_down(bed, full):
    """Notifications, flushes and values down; what a plugin makes of them goes up."""
    out = os.path.join(bed.dir, "down-out")
    w = Worker(bed, python_text(out), files={"probe.py": PYTHON})
    w.ready()
    for _ in range(200):
        w.send(pair.value("downward", "no_such_type", [1.0]))
    w.send(pair.value("downward", "gauge", [8.0]), pair.notification("knock knock"),
           pair.flush(0, ""))

    def has(word):
        with open(out) as f:
            return word in f.read()
    wait_for(lambda: has("write downward"), 3, "no write")
    wait_for(lambda: has("note knock knock"), 3, "no notification")
    wait_for(lambda: has("flush"), 3, "no flush")
    v = w.wait_value(lambda v: v.plugin == "derived", what="derived value")
    check(gauge(v) == 8, v)
    check(not w.values("downward"), "an echo")
    check(len([m for m in w.all("LOG") if "no_such_type" in m.body[1]]) == 1, w.said())
    check(not [m for m in w.all("NOTIFICATION") if "knock" in m.body.message], "an echo")
    w.stop()
    return "all three arrive, only what was made of them comes back"


def worker_chains(bed, full):
    """The bundle's chains work, beside our own first rule; also by another name."""
    chain = """
LoadPlugin match_regex
LoadPlugin target_set
%s
<Chain "%s">
<Rule "drop">
<Match "regex">
Plugin "^load$"
</Match>
Target "stop"
</Rule>
<Rule "mark">
<Match "regex">
Plugin "^df$"
</Match>
<Target "set">
Host "changed.example"
</Target>
</Rule>
</Chain>
"""
    for first, name in (("", "PreCache"), ('PreCacheChain "Mine"', "Mine"),
                        ('PostCacheChain "Late"', "Late")):
        w = Worker(bed, "LoadPlugin df\nLoadPlugin load\nLoadPlugin uptime\n" +
                   chain % (first, name) +
                   ('<Chain "Late">\nTarget "write"\n</Chain>\n' if name == "Late" else ""))
        check(w.ready().body.errors == 0, w.said())
        w.wait_value(lambda v: v.plugin == "uptime")
        check(not w.values("load"), "%s: what is stopped came" % name)
        check(w.values("df") and all(v.host == "changed.example" for v in w.values("df")),
              "%s: the target did not act" % name)
        w.stop()
    bad = Worker(bed, 'LoadPlugin df\n<Chain "PreCache">\n<Rule>\n<Match "nosuch">\nA 1\n</Match>\n'
                 'Target "stop"\n</Rule>\n</Chain>\n')
    text = expect(bad, "FAILED", "configuration", "nosuch")
    return "three chains; a bad one: %s" % text[:60]


def worker_types(bed, full):
    """A types.db of the bundle; a value of its type comes with its set."""
    w = Worker(bed, 'TypesDB "@BUNDLE@/types.db"\nLoadPlugin exec\n<Plugin exec>\n'
               'Exec "nobody" "@BUNDLE@/run.sh"\n</Plugin>\n', user="nobody",
               files={"types.db": "argus_probe in:DERIVE:0:U, out:GAUGE:-5:100\n",
                      "run.sh": '#!/bin/sh\necho "PUTVAL x/y/argus_probe interval=1 N:7:8"\n'
                                'exec sleep 100\n'})
    v = w.wait_value(lambda v: v.type == "argus_probe")
    check(struct.unpack("=q", v.numbers[0])[0] == 7 and gauge(v, 1) == 8, v)
    s = next(m.body for m in w.all("SET") if m.body.type == "argus_probe")
    check(s.sources[0][0] == 2 and s.sources[1] == (1, -5.0, 100.0, "out"), s)
    w.stop()
    refused = Worker(bed, 'TypesDB "/etc/shadow"\nLoadPlugin df\n')
    expect(refused, "REFUSED", "vetting", "/etc/shadow", "@BUNDLE@")
    return "its set came with it; /etc/shadow is refused"


# -------------------------------------------------------------- what may not

def worker_denied(bed, full):
    """Ways around a text filter, through collectd's own parser: none loads exec."""
    attempts = [
        'LoadPlugin "exec"', "LoadPlugin exec", "loadplugin EXEC", 'LoadPlugin "e\\xec"',
        'LoadPlugin "\\e\\x\\e\\c"', 'LoadPlugin \\\nexec', 'LoadPlugin "ex\\\nec"',
        'LoadPlugin "ex\\\n   ec"', "LoadPlugin\texec", "  LoadPlugin   exec  # df",
        "<LoadPlugin exec>\nInterval 1\n</LoadPlugin>", "<LoadPlugin exec>\n</LoadPlugin>",
        '<LoadPlugin "exec">\nGlobals true\n</LoadPlugin>', "LoadPlugin df\r\nLoadPlugin exec\r",
        'AutoLoadPlugin true\n<Plugin exec>\nExec "nobody" "/bin/true"\n</Plugin>',
        '<Plugin exec>\nExec "nobody" "/bin/true"\n</Plugin>', '<Plugin "\\exec">\nA 1\n</Plugin>',
        'PluginDir "/tmp"\nLoadPlugin exec', 'LoadPlugin "../collectd/exec"',
        'LoadPlugin "./exec"', 'LoadPlugin "exec.so"', 'Include "/etc/collectd/collectd.conf"',
        '<Include "/etc/collectd">\nFilter "*"\n</Include>', 'LoadPlugin df exec',
        'LoadPlugin argus', 'LoadPlugin "argus_worker"', 'LoadPlugin ARGUS_WORKER',
        '<Plugin argus_worker>\nDeny ""\n</Plugin>', '@LoadPlugin ;exec', 'LoadPlugin "exec',
        'LoadPlugin "df"\\\nLoadPlugin exec', 'BaseDir "/"\nLoadPlugin exec', 'LoadPlugin\\\n exec',
        '<Plugin df>\n</Plugin>\n<Plugin exec>\n</Plugin>', "LoadPlugin df # \\\nLoadPlugin exec",
        '<LoadPlugin df>\nLoadPlugin exec\n</LoadPlugin>', 'LoadPlugin exec df',
    ]
    for text in attempts:
        w = Worker(bed, text + "\n", deny=DENIED)
        found = w.wait(lambda: next((m for m in w.messages
                                     if m.kind in ("REFUSED", "FAILED", "READY")), None), 10,
                       "no verdict on %r" % text)
        if found.kind == "READY":
            with open("/proc/%d/maps" % w.pid) as f:
                check("/exec.so" not in f.read(), "exec was loaded by %r" % text)
            w.kill()
        check(found.kind != "READY" , "%r is let in" % text)
    return "%d attempts" % len(attempts)


def worker_rights(bed, full):
    """As nobody: its user, its groups, nothing to gain, nothing of the daemon's."""
    secret = os.path.join(bed.dir, "secret")
    with open(secret, "w") as f:
        f.write("x")
    os.chmod(secret, 0o600)
    script = """
import collectd, os
def can(f, *a):
    try:
        f(*a)
        return 1
    except OSError:
        return 0
def read():
    for name, number in (('secret', can(open, '%s')), ('root', can(os.setuid, 0)),
                         ('here', can(open, 'file', 'w')), ('bundle', can(open, '%s', 'w'))):
        collectd.Values(plugin='may', type='gauge', type_instance=name).dispatch(values=[number])
collectd.register_read(read)
""" % (secret, "../bundle/new")
    hidden = os.path.join(bed.dir, "hidden")  # nobody may not go through it
    os.mkdir(hidden)
    plugins = os.path.join(hidden, "plugins")
    os.mkdir(plugins)
    for name in ("python", "df"):
        os.system("cp /usr/lib/collectd/%s.so %s" % (name, plugins))
    os.chmod(hidden, 0o700)
    w = Worker(bed, 'LoadPlugin python\n<Plugin python>\nModulePath "@BUNDLE@"\nImport "rights"\n'
               '</Plugin>\nLoadPlugin df\n', files={"rights.py": script}, user="nobody",
               plugins=plugins, parent=hidden, lines=["Processes 200"])
    ready = w.ready().body
    check(ready.errors == 0, ready)
    may = {v.type_instance: gauge(v) for v in w.values("may")}
    check(may == {"secret": 0, "root": 0, "here": 1, "bundle": 0}, may)
    with open("/proc/%d/status" % w.pid) as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    nobody = pwd.getpwnam("nobody")
    check(status["Uid"].split() == 4 * [str(nobody.pw_uid)], status["Uid"])
    check(status["Gid"].split() == 4 * [str(nobody.pw_gid)], status["Gid"])
    check(set(status["Groups"].split()) <= {str(nobody.pw_gid)}, status["Groups"])
    check(status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == 0, status)
    for task in glob.glob("/proc/%d/task/*/status" % w.pid):
        with open(task) as f:
            text = f.read()
        check("NoNewPrivs:\t1" in text and "Uid:\t%d\t" % nobody.pw_uid in text, task)
    with open("/proc/%d/limits" % w.pid) as f:
        check(re.search(r"Max processes +\d", f.read()), "no limit of processes")
    with open("/proc/%d/oom_score_adj" % w.pid) as f:
        check(int(f.read()) >= 500, "not the first to go")
    fds = descriptors(w.pid)
    check(all(re.match(r"(/dev/null|pipe:|socket:|anon_inode:\[eventfd\]|/.*hidden/plugins)", t)
              for t in fds.values()), fds)
    check(len([t for t in fds.values() if t.startswith("socket:")]) == 1, fds)
    w.stop()
    return "its descriptors: %s" % sorted(os.path.basename(t).split(":")[0] for t in fds.values())


def descriptors(pid):
    return {int(n): os.readlink("/proc/%d/fd/%s" % (pid, n))
            for n in os.listdir("/proc/%d/fd" % pid)}


# ------------------------------------------------------------------ its end

def worker_orphan(bed, full):
    """The daemon is gone: so is the worker, with what it started."""
    script = '#!/bin/sh\ntrap "" TERM\nwhile :; do sleep 1; done\n'
    w = Worker(bed, 'LoadPlugin exec\n<Plugin exec>\nExec "nobody" "@BUNDLE@/run.sh"\n'
               '</Plugin>\nLoadPlugin df\n', files={"run.sh": script}, user="nobody")
    w.ready()
    group = wait_for(lambda: children_of(w.pid), 3, "no child") + [w.pid]
    since = time.monotonic()
    w.hang_up()
    wait_for(lambda: not any(is_alive(p) for p in group), 3.5, "they live on")
    quick = time.monotonic() - since
    check(quick < 1, "gone after %.1f s" % quick)
    hung = naughty(bed, "hang-init")
    wait_for(lambda: any(m.kind == "PHASE" and m.body == "init" for m in hung.messages), 3, "init")
    since = time.monotonic()
    hung.hang_up()
    wait_for(lambda: not is_alive(hung.pid), 4, "a worker hung in init lives on")
    slow = time.monotonic() - since
    stopped = Worker(bed, "LoadPlugin df\n")
    stopped.ready()
    os.kill(stopped.pid, signal.SIGSTOP)
    stopped.hang_up()
    os.kill(stopped.pid, signal.SIGCONT)
    wait_for(lambda: not is_alive(stopped.pid), 1, "one that was stopped lives on")
    return "gone with a child that ignores SIGTERM in %.0f ms, hung in %.1f s" % (1000 * quick, slow)


def worker_drains(bed, full):
    """STOP right behind many values: all of them are written, then BYE."""
    w = Worker(bed, "LoadPlugin csv\n<Plugin csv>\nDataDir \"csv\"\n</Plugin>\n")
    w.ready()
    count, start = 20000, time.time() - 30000
    batch = [pair.value("many", "gauge", [float(i)], when=start + i) for i in range(count)]
    threading.Thread(target=w.send, args=batch + [message("STOP")], daemon=True).start()
    w.wait_end(20)
    check(w.all("BYE"), w.said())
    lines = rows(w, "down.example/many/gauge")
    check(len(lines) == count, "%d of %d values" % (len(lines), count))
    check([float(line.split(",")[1]) for line in lines] == [float(i) for i in range(count)],
          "their order")
    return "%d values, none lost" % count


def worker_signals(bed, full):
    """A supervisor's SIGTERM to the group is the daemon's to act on first."""
    w = Worker(bed, "LoadPlugin df\n")
    w.ready()
    before = len(w.values())
    os.killpg(w.pid, signal.SIGTERM)
    since = time.monotonic()
    w.wait(lambda: len(w.values()) > before + 1, 4, "no values behind a SIGTERM")
    check(w.stop() < 1 and w.all("BYE"), w.said())
    w = Worker(bed, "LoadPlugin df\n")
    w.ready()
    os.killpg(w.pid, signal.SIGINT)
    since = time.monotonic()
    w.wait_end(8)
    check(4.5 < time.monotonic() - since < 6.5 and w.all("BYE"), w.said())
    return "held for 5 s, then an orderly end"


def worker_floods(bed, full):
    """A flood of values with a daemon that does not read, a gigabyte of log."""
    w = naughty(bed, "flood-thread", 2)
    w.ready()
    os.kill(w.pid, 0)
    with w.changed:  # the reading thread waits: nothing is read
        wait_for(lambda: peak_kib(w.pid) > 20000 or time.monotonic() - w.started_at > 6, 8, "flood")
        pause(2)
        first = peak_kib(w.pid)
        pause(1)
        second = peak_kib(w.pid)
    check(second < 150000 and second - first < 4000, "%d, %d KiB" % (first, second))
    w.kill()
    loud = naughty(bed, "log-read", 1)
    loud.wait(lambda: any("held back" in m.body[1] for m in loud.messages if m.kind == "LOG"), 15,
              "nothing held back")
    check(all(len(m.body[1]) < 1024 for m in loud.all("LOG")), "a long line")
    lines = len(loud.all("LOG"))
    check(lines < 1000, "%d lines" % lines)
    loud.kill()
    return "%.0f MiB at most; %d lines of the log" % (second / 1024, lines)


def worker_greed(bed, full):
    """Closing what is not its own ends it, and so does forking without end (as a user of
    its own, all of whose processes it takes)."""
    w = naughty(bed, "close-read", 1)
    w.wait_end(5)
    check(not w.all("BYE") and not is_alive(w.pid), w.said())
    w = naughty(bed, "fork-read", user="news", lines=["Processes 60"])
    text = expect(w, "FAILED", "first read", "plugin `naughty' forks without end")
    wait_for(lambda: not any(is_alive(p) for p in children_of(w.pid)), 4, "forks live on")
    w = naughty(bed, "fork-thread", 2, user="news", lines=["Processes 60"])
    w.ready()
    w.first("FAILED")
    w.wait_end(3)
    wait_for(lambda: not any(is_alive(p) for p in children_of(w.pid)), 4, "forks live on")
    return text


def peak_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


# --------------------------------------------------------------------- cost

def worker_cost(bed, full):
    """Private memory, threads and idle CPU with df and load at 10 s."""
    w = Worker(bed, "LoadPlugin df\nLoadPlugin load\n", interval=10)
    first = w.first("VALUE").at
    w.wait(lambda: any(m.kind == "READY" for m in w.messages), 15, "not ready")
    before = cpu_seconds(w.pid)
    seconds = 30 if full else 3
    pause(seconds)
    used = cpu_seconds(w.pid) - before
    kib = private_bytes(w.pid) // 1024
    threads = len(os.listdir("/proc/%d/task" % w.pid))
    check(kib <= 1536, "%d KiB of private memory" % kib)
    check(used <= 0.01 * max(1, seconds / 10), "%g CPU-s in %d s" % (used, seconds))
    w.stop()
    return "%d KiB, %d threads, %.2f CPU-s in %d s, first value after %.0f ms" % (
        kib, threads, used, seconds, 1000 * first)


SCENARIOS = [
    worker_ready, worker_without_reads, worker_failures, worker_taken_port, worker_crashes,
    worker_hangs, worker_python, worker_perl_lua, worker_exec, worker_listeners, worker_writers,
    worker_down, worker_chains, worker_types, worker_denied, worker_rights, worker_orphan,
    worker_drains, worker_signals, worker_floods, worker_greed, worker_cost,
]
BUSY = [worker_floods, worker_greed]
