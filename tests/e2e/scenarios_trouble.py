"""Bundles that misbehave, that ask for what they may not have, and a thousand changes of
good ones: what the daemon, its other plugins and the mesh notice of it, which is nothing."""

import collections
import os
import pwd
import time

from bed import (check, cpu_seconds, links, private_bytes, quantile, wait_for, wait_mesh,
                 wait_online)
from journal import Journal, gaps, not_newer, seconds
from pushed import (ENDS, Operator, apply_block, apply_now, check_quiet, journal_plugin, lone,
                    open_folder, push, push_code, remove, rows, wait_applied, wait_end,
                    wait_no_worker, wait_passes, wait_rows, wait_value, worker, write_file)
from scenarios_config import wait_good

HEALTHY = "LoadPlugin naughty\n"


def naughty(mode, after=None):
    return ('LoadPlugin naughty\n<Plugin naughty>\n  Mode "%s"\n%s</Plugin>\n'
            % (mode, "" if after is None else "  After %d\n" % after))


# -------------------------------------------------------------- processes

def processes():
    """{pid: (parent, session, state, command)}"""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name) as f:
                text = f.read()
        except OSError:
            continue
        rest = text.rsplit(")", 1)[1].split()
        found[int(name)] = (int(rest[1]), int(rest[3]), rest[0],
                            text.split("(", 1)[1].rsplit(")", 1)[0])
    return found


def in_session(session):
    return [pid for pid, row in processes().items() if row[1] == session and row[2] != "Z"]


Weight = collections.namedtuple("Weight", "descriptors threads children zombies private")


def weigh(node):
    pid = node.process.pid
    children = [row for row in processes().values() if row[0] == pid]
    return Weight(len(os.listdir("/proc/%d/fd" % pid)), len(os.listdir("/proc/%d/task" % pid)),
                  len(children), sum(row[2] == "Z" for row in children), private_bytes(pid))


# ------------------------------------------------------- bundles that misbehave

Deed = collections.namedtuple("Deed", "mode after states words")

# What is found out before the switch, or soon after it. `words`: one of them stands
# in the error text.
QUIET = [
    Deed("segfault-config", None, ("failed",), ("crash", "segm", "signal", "configuration")),
    Deed("segfault-init", None, ("failed",), ("crash", "segm", "signal", "init")),
    Deed("segfault-read", None, ("failed",), ("crash", "segm", "signal", "read")),
    Deed("exit-init", None, ("failed",), ("end", "exit", "init")),
    Deed("fail-init", None, ("failed",), ("Initialization of plugin",)),
    Deed("fail-read", None, ("failed",), ("read-function of plugin",)),
    Deed("hang-init", None, ("failed",), ("time", "naughty", "init")),
    Deed("hang-read", None, ("failed", "rolled-back"), ()),
    Deed("abort-thread", 4, ("rolled-back", "failed"), ("crash", "abort", "signal", "died")),
    Deed("segfault-thread", 4, ("rolled-back", "failed"), ("crash", "segm", "signal", "died")),
    Deed("silent-read", 4, ("rolled-back",), ("silent", "value", "quiet")),
    Deed("close-thread", 4, ("rolled-back", "failed"), ()),
]
LOUD = [
    Deed("fork-thread", 2, ("rolled-back", "failed"), ("fork",)),
    Deed("memory-thread", 2, ("rolled-back", "failed"), ()),
]
# A burst is held back; what goes on for seconds is ended.
NOISY = [
    Deed("stdout-thread", 1, ("rolled-back",), ("prints more than",)),
    Deed("log-thread", 1, ("rolled-back",), ("logs more than",)),
    Deed("flood-thread", 1, ("rolled-back",), ("floods",)),
]


def naughty_mesh(bed, deeds, probation):
    """A witness, and a node for each deed with a plugin of its own and a good version 1
    of the bundle."""
    bed.need_built("tests/plugins/journal.so", "tests/plugins/naughty.so")
    bed.need_plugins("uptime")
    operator = Operator(bed)
    nodes = [bed.daemon("witness")]
    for deed in deeds:
        d = bed.daemon(deed.mode, seeds=[nodes[0].address],
                       block=apply_block(operator, Deny="", Probation=probation,
                                         StartTimeout=3))
        d.plugins = journal_plugin(d.base + "/journal") + "LoadPlugin uptime\n"
        nodes.append(d)
    for d in nodes:
        d.spawn()
    for d in nodes:
        d.wait_ready()
    wait_online(nodes, len(nodes), 20)
    wait_mesh(nodes, 20)
    for d in nodes[1:]:
        push(nodes[1], operator, d.name, HEALTHY, "--target", "name=" + d.name)
    for d in nodes[1:]:
        wait_applied(d, d.name, 1, 15)
    for d in nodes[1:]:
        wait_good(d, d.name, 1)
    return operator, nodes


def undisturbed(node, witness, pid, before, journal):
    """The daemon, its own plugin and its links are as before; the longest gap."""
    check(node.is_running() and node.process.pid == pid, "the daemon ended")
    values = [v for v in journal.read().values if "/uptime/" in v.name]
    longest = max(gaps(values), default=99)
    check(longest < 2, "its own plugin has a gap of %.2f s" % longest)
    check(not not_newer({"uptime": values}), "its own values are out of order")
    seen = next(m for m in witness.members() if m["name"] == node.name)
    check(seen["state"] == "online" and seen["since"] == before, "the mesh noticed: %s" % seen)
    return longest


def tell_mode(nodes, deed, operator, since):
    """What became of version 2 of that deed: reported, over, and version 1 runs."""
    witness, node = nodes[0], next(d for d in nodes if d.name == deed.mode)
    name = deed.mode
    row = wait_rows(node, name, lambda r: r["desired"] == 2 and r["state"] in ENDS
                    and r["state"] != "applied", 40)[0]
    took = time.monotonic() - since
    check(row["state"] in deed.states, "%s: %s (%s)" % (name, row["state"], row["error"]))
    check(row["error"], "%s: no error text" % name)
    if deed.words:
        check(any(w.lower() in row["error"].lower() for w in deed.words),
              "%s: the error says %s" % (name, row["error"]))
    wait_rows(node, name, lambda r: r["running"] == 1, 15)
    node.wait_log(name)
    event = wait_for(lambda: next((e for e in witness.events()
                                   if name in e["message"] or name == e.get("plugin_instance")),
                                  None), 10, "%s: no event at the witness" % name)
    journal = Journal(node.base + "/journal").forget()
    wait_value(journal, lambda v: "/naughty/gauge" in v.name, 15, "%s: version 1 is gone" % name)
    return "%s %s after %.1f s: %s | %s" % (name, row["state"], took, row["error"][:90],
                                            event["message"][:60])


def naughty_in_turn(bed, deeds, probation):
    operator, nodes = naughty_mesh(bed, deeds, probation)
    witness = nodes[0]
    since_online = {m["name"]: m["since"] for m in witness.members()}
    pids = {d.name: d.process.pid for d in nodes}
    journals = {d.name: Journal(d.base + "/journal").forget() for d in nodes[1:]}
    longest, since = 0, time.monotonic()
    for deed, node in zip(deeds, nodes[1:]):
        push(node, operator, deed.mode, naughty(deed.mode, deed.after), "--target",
             "name=" + node.name)
    for deed in deeds:
        print("#   " + tell_mode(nodes, deed, operator, since), flush=True)
    for deed, node in zip(deeds, nodes[1:]):
        longest = max(longest, undisturbed(node, witness, pids[node.name],
                                           since_online[node.name], journals[node.name]))
        own = worker(node, deed.mode)["pid"]
        mine = [p for p, row in processes().items() if row[0] == node.process.pid]
        wait_for(lambda n=node: len([p for p, row in processes().items()
                                     if row[0] == n.process.pid]) == 1, 10,
                 "%s: other children than worker %d: %s" % (deed.mode, own, mine))
    return longest


def naughty_quiet(bed, full):
    """Crashes, hangs, failures, silence and closed descriptors: rolled back or never
    switched to, reported, and nobody else notices."""
    longest = naughty_in_turn(bed, QUIET, 8)
    return ("%d kinds, version 1 went on each time; the daemons' own plugins: longest gap %.2f s"
            % (len(QUIET), longest))


def loud(bed, deed, probation):
    longest = naughty_in_turn(bed, [deed], probation)
    return "the daemon's own plugin: longest gap %.2f s" % longest


def noisy(bed, deed):
    """It is held within bounds until it is clear that it goes on without end."""
    longest = naughty_in_turn(bed, [deed], 8)
    node = next(d for d in bed.daemons if d.name == deed.mode)
    size, private = os.path.getsize(node.log), private_bytes(node.process.pid)
    check(size < 4 << 20, "the log of the daemon has %d MiB" % (size >> 20))
    check(private < 128 << 20, "the daemon has %d MiB" % (private >> 20))
    return ("own plugin's longest gap %.2f s, %d MiB private, %d KiB of log"
            % (longest, private >> 20, size >> 10))


def naughty_fork(bed, full):
    """It forks without end: a busy machine counts it late, so the trial is a long one."""
    return loud(bed, LOUD[0], 12)


def naughty_memory(bed, full):
    """It eats memory: some machines give it slowly, so the trial is a long one."""
    return loud(bed, LOUD[1], 20)


def naughty_stdout(bed, full):
    """It prints a gigabyte."""
    return noisy(bed, NOISY[0])


def naughty_log(bed, full):
    """It logs a gigabyte."""
    return noisy(bed, NOISY[1])


def naughty_flood(bed, full):
    """It floods values."""
    return noisy(bed, NOISY[2])


def crash_later(bed, full):
    """A good version that dies after its probation is restarted, with back-off."""
    bed.need_built("tests/plugins/naughty.so")
    bed.need_plugins("uptime")
    node, operator, journal = lone(bed, plugins="LoadPlugin uptime\n")
    after = 60 if full else 5
    apply_now(node, operator, "later", naughty("segfault-thread", after))
    wait_good(node, "later", 1)
    first = worker(node, "later")["pid"]
    check(first in processes(), "the worker has no process")
    wait_for(lambda: first not in processes(), after + 10, "it does not die")
    died = time.monotonic()
    row = wait_rows(node, "later", lambda r: r["error"] or r["warnings"], 5)[0]
    node.wait_log("later")
    wait_for(lambda: any("later" in e["message"] for e in node.events()), 5, "no event")
    second = wait_for(lambda: (lambda w: w and w["pid"] and w["pid"] != first and w)(
        worker(node, "later")), 30, "it is not restarted")["pid"]
    delay = time.monotonic() - died
    journal.forget()
    wait_value(journal, lambda v: "/naughty/" in v.name, 15, "no value after the restart")
    wait_for(lambda: second not in processes(), after + 20, "it does not die again")
    died = time.monotonic()
    wait_for(lambda: (lambda w: w and w["pid"] and w["pid"] != second)(worker(node, "later")), 60,
             "it is not restarted again")
    again = time.monotonic() - died
    check(again > delay, "no back-off: %.1f s, then %.1f s" % (delay, again))
    values = [v for v in journal.read().values if "/uptime/" in v.name]
    check(max(gaps(values)) < 2, "a gap of %.2f s in a plugin of the daemon" % max(gaps(values)))
    return "restarted after %.1f s and %.1f s: %s" % (
        delay, again, (row["error"] or row["warnings"][0])[:80])


def hang_shutdown(bed, full):
    """It does not stop: killed, nothing is left, the next version runs."""
    bed.need_built("tests/plugins/naughty.so")
    node, operator, journal = lone(bed)
    apply_now(node, operator, "stuck", naughty("hang-shutdown"))
    pid = worker(node, "stuck")["pid"]
    since = time.monotonic()
    apply_now(node, operator, "stuck", "# mended\n" + HEALTHY)
    applied = time.monotonic() - since
    wait_for(lambda: pid not in processes(), 15, "it is still there")
    return "the next version ran after %.1f s, the stuck one was gone after %.1f s" % (
        applied, time.monotonic() - since)


# ------------------------------------------------------- what may not be in it

MARK = '<Plugin exec>\n  Exec "nobody" "/bin/touch" "%s"\n</Plugin>\n'

ATTEMPTS = [  # each would run exec if anything did
    "LoadPlugin exec\n", 'LoadPlugin "exec"\n', "LoadPlugin EXEC\n", "loadplugin Exec\n",
    "LOADPLUGIN \"eXeC\"\n", "LoadPlugin \\\nexec\n", "LoadPlugin \"e\\\nxec\"\n",
    "LoadPlugin \"e\\x\\e\\c\"\n", "<LoadPlugin exec>\n  Interval 1\n</LoadPlugin>\n",
    "<LoadPlugin \"exec\">\n</LoadPlugin>\n", "LoadPlugin load exec\n",
    "LoadPlugin \"../collectd/exec\"\n", "LoadPlugin \"%(plugins)s/exec\"\n",
    "AutoLoadPlugin true\n", "Include \"%(evil)s\"\n", "<Include \"%(evil)s\">\n</Include>\n",
    "PluginDir \"%(plugins)s\"\nLoadPlugin exec\n",
    "LoadPlugin load\n<Plugin load>\n  LoadPlugin exec\n</Plugin>\n",
    "<Plugin load>\n  <LoadPlugin exec>\n  </LoadPlugin>\n</Plugin>\n", "LoadPlugin ex*c\n",
    "LoadPlugin\texec\n", "LoadPlugin exec # load\n",
]
FORBIDDEN = [
    "LoadPlugin argus\n", "LoadPlugin Argus\n", "LoadPlugin argus_worker\n",
    'TypesDB "/etc/shadow"\n', 'TypesDB "@BUNDLE@/../../x"\n', 'PluginDir "/tmp"\n',
    'BaseDir "/tmp"\n', 'PIDFile "/tmp/x"\n', 'Hostname "other"\n', "FQDNLookup true\n",
    "CollectInternalStats true\n", "AutoLoadPlugin false\n", "ReadThreads -1\n",
    "ReadThreads 0\n", "NoSuchOption 1\n", "<NoSuchBlock>\n  Key 1\n</NoSuchBlock>\n",
]


def vetting(bed, full):
    """Nothing gets around the deny list, and the top level is an allow list."""
    node, operator, journal = lone(bed, stock=["exec", "load"], Deny=(
        "exec", "python", "perl", "lua", "java"))
    mark = os.path.join(open_folder(bed, "marks"), "mark")
    evil = write_file(bed, "evil.conf", "LoadPlugin exec\n" + MARK % mark)
    told = set()
    words = {"plugins": bed.plugin_dir, "evil": evil}
    for i, text in enumerate([t % words + MARK % mark for t in ATTEMPTS] +
                             ["LoadPlugin load\n" + t for t in FORBIDDEN]):
        code, out, err = push_code(node, operator, "try", text)
        check(code == 0, "attempt %d is not even taken: %s" % (i, err))
        row = wait_end(node, "try", i + 1, 15)
        check(row["state"] in ("refused", "failed"), "%s: %r" % (row["state"], text))
        check(row["error"], "no reason for %r" % text)
        told.add(row["error"])
    check(not os.path.exists(mark), "exec ran")
    check(worker(node, "try") is None, "a worker runs")
    row = wait_applied(node, "try", push(node, operator, "try", "LoadPlugin load\n"))
    return "%d texts, %d reasons, exec never ran" % (len(ATTEMPTS) + len(FORBIDDEN), len(told))


def allow_list(bed, full):
    """Allow narrows, Deny wins over it, a plugin of the local configuration is named."""
    bed.need_plugins("uptime")
    node, operator, journal = lone(bed, stock=["load", "df", "cpu", "exec"],
                                   plugins="LoadPlugin uptime\n", Allow=["load", "cpu", "uptime"],
                                   Deny=["cpu"])
    texts = {"df": "LoadPlugin df\n", "cpu": "LoadPlugin cpu\n", "uptime": "LoadPlugin uptime\n"}
    told = []
    for name, text in texts.items():
        row = wait_end(node, name, push(node, operator, name, text), 15)
        check(row["state"] == "refused" and name in row["error"], "%s: %s" % (name, row))
        told.append(row["error"][:60])
    apply_now(node, operator, "load", "LoadPlugin load\n")
    return "; ".join(told)


def bounds(bed, full):
    """MaxWorkers and MaxSize hold, and are said. Which bundles run is decided by name."""
    node, operator, journal = lone(bed, stock=["load", "cpu", "df"], MaxWorkers=2, MaxSize=1)
    apply_now(node, operator, "a", "LoadPlugin load\n")
    apply_now(node, operator, "b", "LoadPlugin cpu\n")
    push(node, operator, "c", "LoadPlugin df\n")
    row = wait_rows(node, "c", lambda r: r["state"] == "refused", 10)[0]
    check("MaxWorkers" in row["error"], "the reason is %s" % row["error"])
    check(len(node.status()["workers"]) == 2, "workers: %s" % node.status()["workers"])
    code, out, err = push_code(node, operator, "big", "LoadPlugin df\n" + "# x\n" * 400000)
    check(code == 1 and "MaxSize" in err, "1.5 MiB: exit %d, %s" % (code, err))
    remove(node, operator, "a")
    wait_applied(node, "c", 1, 20)
    return "the third: %s; too large: %s" % (row["error"][:60], err.strip()[:80])


def user(bed, full):
    """Workers run as whom the option names, without the daemon's groups."""
    node, operator, journal = lone(bed, stock=["python"], User="daemon")
    script = write_file(bed, "who.py", """import collectd
import os
def read():
    for name, value in (('uid', os.getuid()), ('euid', os.geteuid()), ('gid', os.getgid()),
                        ('groups', len([g for g in os.getgroups() if g == 0])),
                        ('session', os.getsid(0)), ('fds', len(os.listdir('/proc/self/fd')))):
        collectd.Values(plugin='who', type='gauge', type_instance=name).dispatch(values=[value])
collectd.register_read(read)
""")
    apply_now(node, operator, "who", 'LoadPlugin python\n<Plugin python>\n'
              '  ModulePath "@BUNDLE@"\n  Import "who"\n</Plugin>\n', "--file", script)
    wait_value(journal, lambda v: "gauge-fds" in v.name, 10, "no value")
    last = {v.name.split("gauge-")[1]: float(v.values) for v in journal.values
            if "/who/" in v.name}
    entry = pwd.getpwnam("daemon")
    check(last["uid"] == last["euid"] == entry.pw_uid, "users %s" % last)
    check(last["gid"] == entry.pw_gid and last["groups"] == 0, "groups %s" % last)
    check(last["session"] == worker(node, "who")["pid"], "the session is the daemon's")
    check(last["fds"] <= 20, "%d descriptors" % last["fds"])
    return "uid %d, gid %d, a session of its own, %d descriptors" % (last["uid"], last["gid"],
                                                                     last["fds"])


# ------------------------------------------------------------- many changes

SETS = ["load", "memory", "uptime", "entropy", "contextswitch", "users", "swap", "df"]


def switches(bed, count, plugins, extra="", limit_s=0.2, local="", ports=()):
    """`count` changes of each of the bundles, side by side, under load. Judges gaps and
    what the daemon holds; the figures."""
    bed.need_built("tests/plugins/replay.so")
    here = os.path.dirname(os.path.abspath(__file__))
    load = ('LoadPlugin replay\n<Plugin replay>\n  Recording "%s/recording.txt"\n'
            '  HostPattern "r-%%"\n  Hosts 10\n  Rate 1000\n  Duration 100000\n'
            '  Ledger "%s/sent"\n</Plugin>\n' % (here, bed.dir))
    node, operator, journal = lone(bed, stock=plugins + (["write_prometheus"] if ports else []),
                                   plugins=load + local, MaxWorkers=16,
                                   role="aggregator")  # an agent would spool its values

    def text(i, plugin):
        port = ports[i] if ports else None
        return "LoadPlugin %s\n" % plugin + (
            'LoadPlugin write_prometheus\n<Plugin write_prometheus>\n  Host "127.0.0.1"\n'
            '  Port "%d"\n</Plugin>\n' % port if port else "") + extra
    for i, plugin in enumerate(plugins):
        push(node, operator, plugin, text(i, plugin))
    for plugin in plugins:
        wait_applied(node, plugin, 1, 20)
    for plugin in plugins:
        wait_good(node, plugin, 1)
    journal.forget()
    warm, curve, begin = None, [], time.monotonic()
    for n in range(count):
        if n % max(1, count // 10) == 0:
            curve.append(weigh(node).private >> 10)
        if n == max(2, count // 10):
            warm = weigh(node)
        versions = [push(node, operator, plugin, "# %d\n" % n + text(i, plugin))
                    for i, plugin in enumerate(plugins)]
        for plugin, version in zip(plugins, versions):
            wait_applied(node, plugin, version, 30)
    took = time.monotonic() - begin
    for plugin in plugins:
        wait_good(node, plugin, count + 1)
    wait_passes(journal, 3)
    wait_for(lambda: weigh(node).children == len(plugins), 10,
             lambda: "children: %s" % (weigh(node),))
    end = weigh(node)
    series = {name: values for name, values in journal.read().series().items()
              if name.split("/")[0] == "node" and name.split("/")[1].split("-")[0] in plugins}
    every = [g for values in series.values() for g in gaps(values)]
    # Each switch of each series has one gap across it: the longest ones are those.
    per_switch = sorted(every)[-count * len(series):]
    above = sum(g > 1 + limit_s for g in per_switch)
    check(not not_newer(series), "not newer: %s" % not_newer(series)[:3])
    check_quiet(node, "too old")
    check(max(every) <= 2.0, "a gap of %.2f s" % max(every))
    check(above <= 0.001 * len(per_switch), "%d of %d gaps are longer than 1 s + %g s, the "
          "longest %.2f s" % (above, len(per_switch), limit_s, max(every)))
    check(end.descriptors <= warm.descriptors + 1 and end.threads <= warm.threads
          and end.zombies == 0, "from %s to %s" % (warm, end))
    growth = end.private - warm.private
    # In a short run the allocator's first steps are most of it.
    check(growth <= (1 if count >= 100 else 4) << 20,
          "the daemon grew by %d KiB: %s" % (growth >> 10, curve))
    return ("%d changes in %.0f s, %d series: gaps median %.2f, 99.9 %% %.2f, longest %.2f s, %d "
            "above; descriptors %d -> %d, threads %d -> %d, zombies %d, private memory %+d KiB (%s)"
            % (count * len(plugins), took, len(series), quantile(every, 0.5),
               quantile(every, 0.999), max(every), above, warm.descriptors, end.descriptors,
               warm.threads, end.threads, end.zombies, growth >> 10,
               " ".join(str(kib) for kib in curve)))


def reapply(bed, full):
    """30 changes (--full: 1000) under load, new-first."""
    return switches(bed, 125 if full else 10, SETS if full else SETS[:3])


def reapply_old_first(bed, full):
    """The same with bundles that hold a port: the old one stops first."""
    plugins = SETS[:4] if full else SETS[:2]
    return switches(bed, 25 if full else 4, plugins, limit_s=0.5,
                    ports=[bed.free_port() for _ in plugins])


def cost(bed, full):
    """What a worker costs: private memory, and CPU while it does next to nothing."""
    node, operator, journal = lone(bed, stock=["uptime"])
    apply_now(node, operator, "small", "LoadPlugin uptime\n")
    wait_good(node, "small", 1)
    pid = worker(node, "small")["pid"]
    before = cpu_seconds(pid)
    passes = 30 if full else 8
    wait_passes(journal, passes)
    used = cpu_seconds(pid) - before
    private = private_bytes(pid)
    check(private <= 1.5 * (1 << 20), "%d KiB of private memory" % (private >> 10))
    check(used <= 0.005 * passes, "%.2f s of CPU in %d intervals" % (used, passes))
    return "%d KiB private, %.2f s of CPU in %d s with one plugin" % (private >> 10, used, passes)


SCENARIOS = [naughty_quiet, naughty_fork, naughty_memory, naughty_stdout, naughty_log,
             naughty_flood, crash_later, hang_shutdown, vetting, allow_list, bounds, user, reapply,
             reapply_old_first, cost]
# Gaps within a tenth of a second; forks that a busy machine makes too slowly.
ALONE = [reapply, naughty_fork]
BUSY = [naughty_memory, naughty_flood, naughty_log, naughty_stdout, reapply_old_first]
