"""What may run in a bundle, each shown by its data: stock plugins, chains, scripts that
the bundle brings along, writers that get the daemon's values, notifications."""

import glob
import os
import pwd
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.request

import matrix
from bed import check, wait_for, wait_online
from journal import Journal, gaps, not_newer
from pushed import (Operator, apply_block, apply_now, check_quiet, journal_plugin, lone,
                    open_folder, push, remove, rows, wait_applied, wait_no_worker,
                    wait_passes, wait_value, write_file)

NOBODY = pwd.getpwnam("nobody").pw_uid


# ------------------------------------------------------------ the same series

REPRESENTATIVE = ("cpu df exec interface lua perl python processes apache dbi java "
                  "write_prometheus").split()


def matrix_sample(bed, full):
    """Some stock plugins of each kind: the same series as without argus."""
    if full:
        results = matrix.run_all(matrix.all_plugins(), 8, say=lambda text: print("#   " + text))
        count, speak = matrix.figures(results)
        good = len(results) - count["differs"]
        check(good >= matrix.MUST_SAME and speak >= matrix.MUST_SPEAK,
              "%s, %d sets not empty" % (count, speak))
        return "%d plugins: %s, %d sets not empty" % (len(results), count, speak)
    results = matrix.run_all(REPRESENTATIVE, len(REPRESENTATIVE), say=lambda text: None)
    bad = ["%s: %s" % (r["plugin"], r["remark"]) for r in results if r["verdict"] == "differs"]
    check(not bad, "; ".join(bad))
    count, speak = matrix.figures(results)
    return "%d plugins: %s, %d sets not empty" % (len(results), count, speak)


# ---------------------------------------------------- one by one, by their data

def threshold(bed, full):
    """A threshold in a bundle raises its notification in the daemon."""
    node, operator, journal = lone(bed, stock=["load", "threshold"])
    apply_now(node, operator, "alarm", 'LoadPlugin load\nLoadPlugin threshold\n'
              '<Plugin threshold>\n  <Plugin "load">\n    <Type "load">\n      FailureMin 1000\n'
              '      Persist true\n    </Type>\n  </Plugin>\n</Plugin>\n')
    notice = wait_for(lambda: next((n for n in journal.read().notices if "/load" in n.name
                                    and n.severity == 1), None), 10, "no notification")
    event = wait_for(lambda: next((e for e in node.events() if e["plugin"] == "load"), None), 5,
                     "not on the timeline")
    check(event["message"] == notice.message, "another message: %s" % event)
    return notice.message[:80]


def aggregation(bed, full):
    """Sums of what the bundle itself reads."""
    node, operator, journal = lone(bed, stock=["cpu", "aggregation"])
    apply_now(node, operator, "sums", 'LoadPlugin cpu\nLoadPlugin aggregation\n'
              '<Plugin aggregation>\n  <Aggregation>\n    Plugin "cpu"\n    Type "cpu"\n'
              '    GroupBy "Host"\n    GroupBy "TypeInstance"\n    CalculateSum true\n'
              '  </Aggregation>\n</Plugin>\n')
    v = wait_value(journal, lambda v: "/aggregation-cpu-sum/cpu-idle" in v.name, 15, "no sum")
    single = [w for w in journal.values if "/cpu-0/cpu-idle" in w.name]
    check(single, "the parts of the sum are missing")
    return "%s %s" % (v.name, v.values)


def chain(bed, full):
    """A <Chain> in a bundle renames and drops, before the daemon sees it."""
    node, operator, journal = lone(bed, stock=["load", "memory", "match_regex", "target_set"])
    apply_now(node, operator, "chained", 'LoadPlugin load\nLoadPlugin memory\n'
              'LoadPlugin match_regex\nLoadPlugin target_set\nPreCacheChain "in"\n<Chain "in">\n'
              '  <Rule>\n    <Match "regex">\n      Plugin "^load$"\n    </Match>\n'
              '    <Target "set">\n      TypeInstance "renamed"\n    </Target>\n  </Rule>\n'
              '  <Rule>\n    <Match "regex">\n      TypeInstance "^free$"\n    </Match>\n'
              '    Target "stop"\n  </Rule>\n</Chain>\n')
    wait_value(journal, lambda v: v.name == "node/load/load-renamed", 10, "nothing renamed")
    wait_passes(journal, 2)
    names = journal.read().names()
    check("node/load/load" not in names, "the old name came too")
    check("node/memory/memory-used" in names, "memory is missing: %s" % names)
    check("node/memory/memory-free" not in names, "what the chain stops came")
    return "load renamed, memory-free stopped, the rest passed"


def python(bed, full):
    """A Python plugin pushed with its script: a value of its own time, interval and
    meta data arrives untouched."""
    node, operator, journal = lone(bed, stock=["python"])
    script = write_file(bed, "told.py", """import collectd
import os
def read():
    v = collectd.Values(plugin='told', type='gauge', type_instance='uid', interval=7)
    v.meta = {'color': 'red', 'count': 7, 'half': 0.5, 'flag': True}
    v.dispatch(values=[os.getuid()])
collectd.register_read(read)
""")
    apply_now(node, operator, "told", 'LoadPlugin python\n<Plugin python>\n'
              '  ModulePath "@BUNDLE@"\n  Import "told"\n</Plugin>\n', "--file", script)
    v = wait_value(journal, lambda v: v.name == "node/told/gauge-uid", 10, "no value")
    check(v.interval == 7 << 30, "the interval is %g" % (v.interval / (1 << 30)))
    # In collectd an int of Python becomes a signed number.
    check(set(v.meta.split(",")) >= {"color=red", "count=7", "half=0.5", "flag=true"},
          "meta data: %s" % v.meta)
    check(float(v.values) == NOBODY, "it runs as user %s" % v.values)
    return "as nobody, interval 7 s, meta data %s" % v.meta


def perl(bed, full):
    """A Perl plugin pushed with its module."""
    node, operator, journal = lone(bed, stock=["perl"])
    module = write_file(bed, "Foo.pm", matrix.SCRIPTS["Foo.pm"])
    apply_now(node, operator, "pearl", 'LoadPlugin perl\n<Plugin perl>\n'
              '  IncludeDir "@BUNDLE@"\n  LoadPlugin "Foo"\n</Plugin>\n', "--file", module)
    v = wait_value(journal, lambda v: v.name == "node/foo/gauge-x", 10, "no value")
    return "%s %s" % (v.name, v.values)


def lua(bed, full):
    """A Lua script pushed with the bundle."""
    node, operator, journal = lone(bed, stock=["lua"])
    script = write_file(bed, "s.lua", matrix.SCRIPTS["s.lua"])
    apply_now(node, operator, "moon", 'LoadPlugin lua\n<Plugin lua>\n  BasePath "@BUNDLE@"\n'
              '  Script "s.lua"\n</Plugin>\n', "--file", script)
    v = wait_value(journal, lambda v: v.name == "node/lua/gauge-x", 10, "no value")
    return "%s %s" % (v.name, v.values)


def exec_script(bed, full):
    """An exec script pushed with the bundle; it ends with the bundle."""
    node, operator, journal = lone(bed, stock=["exec"])
    script = write_file(bed, "count.sh", """#!/bin/sh
n=0
while sleep "${COLLECTD_INTERVAL%.*}"; do
    n=$((n + 1))
    echo "PUTVAL $COLLECTD_HOSTNAME/counted-$$/gauge-n interval=1 N:$n" || exit
done
""", 0o755)
    apply_now(node, operator, "script", 'LoadPlugin exec\n<Plugin exec>\n'
              '  Exec "nobody" "@BUNDLE@/count.sh"\n</Plugin>\n', "--file", script)
    v = wait_value(journal, lambda v: "/counted-" in v.name, 15, "no value")
    pid = int(v.name.split("/")[1].split("-")[1])
    check(os.path.exists("/proc/%d" % pid), "the script is gone")
    check(os.stat("/proc/%d" % pid).st_uid == NOBODY, "the script is not nobody's")
    remove(node, operator, "script")
    wait_no_worker(node, "script")
    wait_for(lambda: not os.path.exists("/proc/%d" % pid), 10, "the script goes on alone")
    return "values of process %d, gone with the bundle" % pid


def statsd(bed, full):
    """statsd listens in a bundle; the port is free again after the removal."""
    node, operator, journal = lone(bed, stock=["statsd"])
    port = bed.free_port()
    text = ('LoadPlugin statsd\n<Plugin statsd>\n  Host "127.0.0.1"\n  Port "%d"\n</Plugin>\n'
            % port)
    push(node, operator, "stats", text)

    def heard():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.sendto(b"cups:42|g", ("127.0.0.1", port))
            except OSError:
                pass
        return next((v for v in journal.read().values if "gauge-cups" in v.name), None)
    v = wait_for(heard, 15, "no value: %s" % rows(node, "stats"))
    check(float(v.values) == 42, "it says %s" % v.values)
    remove(node, operator, "stats")
    wait_no_worker(node, "stats")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", port))
    return "%s %s" % (v.name, v.values)


def network(bed, full):
    """One bundle sends by the network plugin what its daemon reads, another hears it."""
    bed.need_plugins("uptime")
    near, operator, _ = lone(bed, "near", stock=["network"], plugins="LoadPlugin uptime\n")
    far, other, journal = lone(bed, "far")
    port = bed.free_port()
    push(far, other, "hear", 'LoadPlugin network\n<Plugin network>\n  Listen "127.0.0.1" "%d"\n'
         '</Plugin>\n' % port)
    apply_now(near, operator, "send", 'LoadPlugin network\n<Plugin network>\n'
              '  Server "127.0.0.1" "%d"\n</Plugin>\n' % port)
    v = wait_value(journal, lambda v: v.name == "near/uptime/uptime", 20,
                   lambda: "nothing heard: %s" % rows(far, "hear"))
    return "%s %s at %s" % (v.name, v.values, far.name)


def unixsock(bed, full):
    """A value put into the socket of a bundle comes out of the daemon; a changed
    version takes the same socket over."""
    node, operator, journal = lone(bed, stock=["unixsock"])
    path = os.path.join(open_folder(bed, "sockets"), "sock")
    text = ('LoadPlugin unixsock\n<Plugin unixsock>\n  SocketFile "%s"\n'
            '  SocketGroup "nogroup"\n  DeleteSocket true\n</Plugin>\n' % path)

    def put(number):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(2)
                s.connect(path)
                s.sendall(b"PUTVAL put/it/gauge-x interval=1 N:%d\n" % number)
                return s.recv(200).startswith(b"0")
        except OSError:
            return False
    apply_now(node, operator, "sock", text)
    wait_for(lambda: put(5), 10, "the socket does not answer")
    wait_value(journal, lambda v: v.name == "put/it/gauge-x" and float(v.values) == 5, 10,
               "the value does not come")
    apply_now(node, operator, "sock", "# again\n" + text)
    wait_for(lambda: put(6), 10, "the socket of the second version does not answer")
    wait_value(journal, lambda v: v.name == "put/it/gauge-x" and float(v.values) == 6, 10,
               "the second value does not come")
    return "put before and after a change, on the same path"


def http_text(port, path="/metrics"):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=2) as answer:
            return answer.read().decode()
    except (OSError, urllib.error.URLError):
        return ""


def write_prometheus(bed, full):
    """A writer in a bundle shows the daemon's values, and its own bundle's."""
    bed.need_plugins("uptime")
    node, operator, journal = lone(bed, stock=["load", "write_prometheus"],
                                   plugins="LoadPlugin uptime\n")
    port = bed.free_port()
    text = ('LoadPlugin load\nLoadPlugin write_prometheus\n<Plugin write_prometheus>\n'
            '  Host "127.0.0.1"\n  Port "%d"\n</Plugin>\n' % port)
    apply_now(node, operator, "prom", text)
    page = wait_for(lambda: (lambda t: t if "collectd_uptime" in t and "collectd_load" in t
                             else "")(http_text(port)), 15, "the page does not show both")
    # The port is taken: only the old one first can go well.
    journal.forget()
    apply_now(node, operator, "prom", "# again\n" + text)
    wait_for(lambda: "collectd_uptime" in http_text(port), 15, "nothing after the change")
    wait_passes(journal, 3)
    load = journal.read().series()["node/load/load"]
    check(max(gaps(load)) <= 2, "a gap of %g s" % max(gaps(load)))
    return ("%d lines of values, the daemon's too; changed with a gap of %.2f s"
            % (len([x for x in page.splitlines() if not x.startswith("#")]), max(gaps(load))))


def rrdtool(bed, full):
    """rrdtool in a bundle writes the daemon's values; a flush of the daemon reaches it."""
    bed.need_plugins("load")
    node, operator, journal = lone(bed, stock=["rrdtool"], plugins="LoadPlugin load\n")
    folder = open_folder(bed, "rrd")
    apply_now(node, operator, "rrd", 'LoadPlugin rrdtool\n<Plugin rrdtool>\n  DataDir "%s"\n'
              '  CacheTimeout 0\n  StepSize 1\n  HeartBeat 10\n</Plugin>\n' % folder)
    path = os.path.join(folder, "node", "load", "load.rrd")
    wait_for(lambda: os.path.exists(path), 20, "no file")

    def last():
        done = subprocess.run(["rrdtool", "last", path], capture_output=True, text=True)
        return int(done.stdout.strip() or 0)
    first = last()
    wait_for(lambda: last() > first > 0, 20, "the file does not grow")
    check(os.stat(path).st_uid == NOBODY, "the file is not nobody's")
    return "%s grows" % os.path.relpath(path, folder)


def csv_flush(bed, full):
    """A flush that the daemon is asked for reaches the writers of a bundle."""
    bed.need_plugins("load", "unixsock")
    sock = os.path.join(bed.dir, "daemon.sock")
    node, operator, journal = lone(
        bed, plugins='LoadPlugin load\nLoadPlugin unixsock\n<Plugin unixsock>\n'
        '  SocketFile "%s"\n</Plugin>\n' % sock)
    path = os.path.join(open_folder(bed, "journals"), "journal")
    apply_now(node, operator, "writer", journal_plugin(path, name="diary"))
    inner = Journal(path)
    wait_value(inner, lambda v: v.name == "node/load/load", 10, "the writer gets nothing")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(sock)
        s.sendall(b"FLUSH timeout=-1\n")
        s.recv(200)
    wait_for(lambda: inner.read().flushes, 5, "no flush in the bundle")
    return "FLUSH came through"


# ------------------------------------------------- the daemon's values, no echo

def keys(journal):
    return [(v.name, v.time) for v in journal.values if "/argus" not in v.name]


def writer_gets_all_once(bed, full):
    """A writer in a bundle gets the daemon's values and its own bundle's, each once, and
    nothing goes round in a circle."""
    bed.need_plugins("memory", "uptime")
    node, operator, journal = lone(bed, stock=["load", "cpu"],
                                   plugins="LoadPlugin memory\nLoadPlugin uptime\n")
    path = os.path.join(open_folder(bed, "journals"), "journal")
    apply_now(node, operator, "other", "LoadPlugin cpu\n")
    apply_now(node, operator, "writer", "LoadPlugin load\n"
              + journal_plugin(path, name="diary"))
    inner = Journal(path)
    for plugin in ("load", "memory", "cpu"):
        wait_value(inner, lambda v: "node/%s" % plugin in v.name, 15,
                   "the writer gets no %s" % plugin)
    inner.forget()
    journal.forget()
    wait_passes(journal, 6)
    inner.read()
    journal.read()
    for what, j in (("the daemon", journal), ("the writer", inner)):
        twice = len(keys(j)) - len(set(keys(j)))
        check(twice == 0, "%s has %d values twice" % (what, twice))
    first, last = min(k[1] for k in keys(inner)), max(k[1] for k in keys(inner))
    edge = 3 << 29  # what is on its way at either end: 1.5 s
    lacking = [k for k in keys(journal)
               if first + edge < k[1] < last - edge and k not in set(keys(inner))]
    check(not lacking, "the writer lacks %d, as %s" % (len(lacking), lacking[:2]))
    return ("%d values in the daemon, %d at the writer, none twice, none missing"
            % (len(keys(journal)), len(keys(inner))))


NOTIFIER = """import collectd
def heard(n):
    open('%s', 'a').write('%%s|%%s\\n' %% (n.plugin, n.message))
collectd.register_notification(heard)
said = []
def read():
    if not said:
        said.append(1)
        n = collectd.Notification(plugin='crier', type='gauge', message='from within',
                                  severity=collectd.NOTIF_WARNING)
        n.dispatch()
collectd.register_read(read)
"""


def notifications(bed, full):
    """Up: of a bundle to the daemon and everyone's timeline. Down: of the daemon to the
    bundle. None comes back."""
    bed.need_plugins("load", "threshold")
    bed.need_built("tests/plugins/journal.so")
    node, operator, journal = lone(
        bed, stock=["python"],
        plugins='LoadPlugin load\nLoadPlugin threshold\n<Plugin threshold>\n  <Type "load">\n'
        '    FailureMin 1000\n    Persist true\n  </Type>\n</Plugin>\n')
    other = bed.daemon("other", role="aggregator", seeds=[node.address])
    other.plugins = journal_plugin(other.base + "/journal")
    other.start()
    wait_online([node, other], 2, 10)
    heard = os.path.join(open_folder(bed, "heard"), "log")
    apply_now(node, operator, "crier", 'LoadPlugin python\n<Plugin python>\n'
              '  ModulePath "@BUNDLE@"\n  Import "crier"\n</Plugin>\n',
              "--file", write_file(bed, "crier.py", NOTIFIER % heard))

    def lines():
        if not os.path.exists(heard):
            return []
        with open(heard) as f:
            return f.read().splitlines()
    wait_for(lambda: [n for n in journal.read().notices if n.message == "from within"], 10,
             "it does not arrive in the daemon")
    wait_for(lambda: any(e["message"] == "from within" for e in other.events()), 10,
             "it is not on the timeline of the other node")
    there = Journal(other.base + "/journal")
    wait_for(lambda: [n for n in there.read().notices if n.message == "from within"], 10,
             "the aggregator does not dispatch it")
    wait_for(lambda: [x for x in lines() if x.startswith("load|")], 10,
             "the bundle does not hear the daemon's")
    wait_passes(journal, 2)
    up = [n for n in journal.read().notices if n.message == "from within"]
    own = [x for x in lines() if x == "crier|from within"]
    check(len(up) == 1, "%d times in the daemon" % len(up))
    check(len(own) == 1, "%d times in the bundle itself" % len(own))
    return "up: daemon, timeline, aggregator; down: %s; each once" % lines()[0][:60]


# ------------------------------------------------------------- files and types

def types_of_its_own(bed, full):
    """A type that the bundle's types.db brings arrives at the aggregator."""
    bed.need_built("tests/plugins/journal.so")
    bed.need_plugins("exec")
    operator = Operator(bed)
    aggregator = bed.daemon("aggregator", role="aggregator")
    aggregator.plugins = journal_plugin(aggregator.base + "/journal")
    agent = bed.daemon("agent", seeds=[aggregator.address],
                       block=apply_block(operator, Deny="", Probation=1))
    agent.plugins = journal_plugin(agent.base + "/journal")
    for d in (aggregator, agent):
        d.spawn()
    for d in (aggregator, agent):
        d.wait_ready()
    wait_online([aggregator, agent], 2, 10)
    types = write_file(bed, "my.db", "kettle  warm:GAUGE:0:U, cups:DERIVE:0:U\n")
    script = write_file(bed, "kettle.sh", "#!/bin/sh\nwhile sleep 1; do echo "
                        '"PUTVAL $COLLECTD_HOSTNAME/kitchen/kettle-a interval=1 N:21.5:7"'
                        " || exit; done\n", 0o755)
    push(agent, operator, "kitchen", 'TypesDB "@BUNDLE@/my.db"\nLoadPlugin exec\n<Plugin exec>\n'
         '  Exec "nobody" "@BUNDLE@/kettle.sh"\n</Plugin>\n', "--file", types, "--file", script)
    for d in (agent, aggregator):
        v = wait_value(Journal(d.base + "/journal"),
                       lambda v: v.name == "agent/kitchen/kettle-a", 15,
                       lambda: "not at the %s: %s" % (d.name, rows(agent, "kitchen")))
        check(v.values.startswith("21.5:7"), "%s has %s" % (d.name, v.values))
    return "%s %s at the aggregator" % (v.name, v.values)


# ---------------------------------------------------------- across a switch

def rates_across_switches(bed, full):
    """A DERIVE goes on through changes: no value twice or out of order, rates right,
    nothing "too old"."""
    bed.need_plugins("csv")
    node, operator, journal = lone(bed, stock=["python"], plugins="")
    node.stop()
    folder = os.path.join(bed.dir, "csv")
    node.plugins += ('LoadPlugin csv\n<Plugin csv>\n  DataDir "%s"\n  StoreRates true\n</Plugin>\n'
                     % folder)
    node.start()
    script = write_file(bed, "meter.py", """import collectd
import time
def read():
    now = time.time()
    collectd.Values(plugin='meter', type='derive', type_instance='ms', time=now).dispatch(
        values=[int(now * 1000)])
collectd.register_read(read)
""")
    changes = 20 if full else 5
    for i in range(changes):
        apply_now(node, operator, "meter", '# %d\nLoadPlugin python\n<Plugin python>\n'
                  '  ModulePath "@BUNDLE@"\n  Import "meter"\n</Plugin>\n' % i, "--file", script)
    wait_passes(journal, 3)
    series = journal.read().series()["node/meter/derive-ms"]
    check(len(series) >= changes, "only %d values" % len(series))
    check(not not_newer({"meter": series}), "%s" % not_newer({"meter": series}))
    rates = []
    for path in glob.glob(folder + "/node/meter/derive-ms*"):
        with open(path) as f:
            rates += [float(x.split(",")[1]) for x in f.read().splitlines()[1:]
                      if "nan" not in x]
    check(len(rates) >= changes - 2, "only %d rates" % len(rates))
    wrong = [r for r in rates if not 990 <= r <= 1010]
    check(not wrong, "rates %s" % wrong)
    check_quiet(node, "too old")
    return ("%d changes, %d values, longest gap %.2f s, %d rates within %g..%g of 1000/s"
            % (changes, len(series), max(gaps(series)), len(rates), min(rates), max(rates)))


SCENARIOS = [matrix_sample, threshold, aggregation, chain, python, perl, lua, exec_script, statsd,
             network, unixsock, write_prometheus, rrdtool, csv_flush, writer_gets_all_once,
             notifications, types_of_its_own, rates_across_switches]
BUSY = [matrix_sample]
