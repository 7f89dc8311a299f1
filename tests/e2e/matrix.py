#!/usr/bin/env python3
"""matrix.py - every stock plugin that collectd ships, in a worker and without one.

    matrix.py [--jobs N] [--json FILE] [--pod FILE] [--stock] [PLUGIN...]

For each plugin, with a minimal valid configuration (plugin_blocks.json): a stock
collectd runs it, then argus runs the same text as a bundle in a daemon of its own.
Compared are the set of series and, where it fails, the text of the failure. Then
the bundle is pushed again with a changed comment (the same set has to go on) and
removed (its worker ends, its series stop). Each plugin has a network of its own
with loopback alone.

Prints a line for each plugin and, last, "N passed, N failed". --pod renews the
table of collectd-argus(5) in its POD, --json the raw results, --stock runs that half alone.
"""

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import bed as beds  # noqa: E402
from bed import COLLECTD, STOCK_PLUGINS, TYPES_DB, Failure, check, wait_for  # noqa: E402
from journal import Journal  # noqa: E402
from pushed import (Operator, apply_block, push, remove, wait_end, wait_no_worker)  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
LEFT_OUT = {"write_stackdriver": "would speak with a server outside"}
# What a plugin needs besides, to have something to work on.
BESIDES = {"aggregation": ["cpu"], "threshold": ["load"], "snmp_agent": ["load"]}
# Series that come with activity of the machine alone; a plugin leaves the switches
# of a process out when one of its threads ends while they are counted, and other
# daemons than the one that is watched are processes of that name too.
SOMETIMES = {"disk": re.compile(r"/disk_time$"),
             "processes": re.compile(r"/contextswitch-(in)?voluntary$")}
PASSES = 6  # read passes that the stock daemon is watched for
AFTER = 3   # and that the bundle's series are watched for
MUST_SAME, MUST_SPEAK = 140, 41

SCRIPTS = {
    "pymod.py": """import collectd
def read():
    collectd.Values(plugin='pymod', type='gauge', type_instance='x').dispatch(values=[1])
collectd.register_read(read)
""",
    "s.lua": """collectd.register_read(function()
    collectd.dispatch_values({plugin = 'lua', type = 'gauge', type_instance = 'x', values = {1}})
    return 0
end)
""",
    "Foo.pm": """package Foo;
use strict;
use Collectd qw(:all);
sub foo_read {
    plugin_dispatch_values({plugin => 'foo', type => 'gauge', type_instance => 'x',
                            values => [1], interval => plugin_get_interval()});
    return 1;
}
plugin_register(TYPE_READ, 'foo', 'Foo::foo_read');
1;
""",
}

# Lines that say that a plugin did not work: collectd's own words.
FAILURES = re.compile(
    r"Initialization of plugin|read-function of plugin|dlopen|Could not find plugin|"
    r"[Ll]oad.*plugin.*failed|Configuration of|configuration of|Parsing the config|"
    r"[Aa]ddress already in use|Plugin will be unloaded|lt_dlopen|plugin_load")


def all_plugins():
    return [f[:-3] for f in sorted(os.listdir(STOCK_PLUGINS))
            if f.endswith(".so") and not f.startswith("argus") and f[:-3] not in LEFT_OUT]


def blocks():
    with open(os.path.join(HERE, "plugin_blocks.json")) as f:
        return json.load(f)


def bundle_text(plugin, scripts, scratch):
    text = "".join("LoadPlugin %s\n" % name for name in BESIDES.get(plugin, []))
    text += "LoadPlugin %s\n" % plugin
    block = blocks().get(plugin, "")
    if block:
        text += "<Plugin %s>\n%s\n</Plugin>\n" % (plugin, block)
    return text.replace("@SCRIPTS@", scripts).replace("@DIR@", scratch)


def scratch_folder(bed, name):
    """The same for both runs: what curl, table and tail want to read."""
    path = os.path.join(bed.dir, name)
    os.makedirs(path)
    for file, content in (("x.json", '{"a": 7}'), ("x.xml", "<a><b>7</b></a>"),
                          ("tailme", "a 1\n"), ("uuid", "00000000-0000-4000-8000-000000000001\n")):
        with open(os.path.join(path, file), "w") as f:
            f.write(content)
    os.chmod(path, 0o777)
    return path


def write_scripts(bed):
    path = os.path.join(bed.dir, "scripts")
    os.makedirs(path)
    for name, text in SCRIPTS.items():
        with open(os.path.join(path, name), "w") as f:
            f.write(text)
    return path


def plain(line, scratch):
    """Without what differs between two runs of the same."""
    line = re.sub(r"^\[[-0-9: ]+\] ", "", line)
    line = re.sub(r"^(\[\w+\] )?(plugin_log: )?", "", line)
    line = line.replace(scratch, "DIR")
    return re.sub(r"\d+(\.\d+)?", "N", line).strip()


def failures(text, scratch):
    return sorted({plain(line, scratch) for line in text.splitlines()
                   if FAILURES.search(line) and "successfully" not in line})


# ------------------------------------------------------------------ stock

def own_names(journal, plugin):
    """Without argus' own and those of plugins that are there for company."""
    sometimes = SOMETIMES.get(plugin)
    return sorted(name for name in journal.names(without=["argus"] + BESIDES.get(plugin, []))
                  if not (sometimes and sometimes.search(name)))


def run_stock(bed, plugin):
    scratch = scratch_folder(bed, "stock")
    base = os.path.join(bed.dir, "stock-base")
    os.makedirs(base)
    journal, log, conf = (os.path.join(base, n) for n in ("journal", "log", "conf"))
    with open(conf, "w") as f:
        f.write('Hostname "matrix"\nFQDNLookup false\nBaseDir "%s"\nPIDFile "%s/pid"\n'
                'PluginDir "%s"\nTypesDB "%s"\nInterval 1\n%s'
                'LoadPlugin journal\n<Plugin journal>\n  File "%s"\n  Passes true\n</Plugin>\n%s'
                % (base, base, bed.plugin_dir, TYPES_DB, LOGFILE % log, journal,
                   bundle_text(plugin, bed.scripts, scratch)))
    with open(os.path.join(base, "out"), "w") as out:
        child = bed.child([COLLECTD, "-f", "-C", conf], stdout=out, stderr=out)
    seen = Journal(journal)
    end = time.monotonic() + 15
    while child.poll() is None and len(seen.read().passes) < PASSES and time.monotonic() < end:
        beds.pause()
    code = child.poll()
    if code is None:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
    text = ""
    for path in (log, os.path.join(base, "out")):
        if os.path.exists(path):
            with open(path, errors="replace") as f:
                text += f.read()
    return {"series": own_names(seen.read(), plugin), "failures": failures(text, scratch),
            "lines": [plain(line, scratch) for line in text.splitlines()],
            "passes": len(seen.passes), "exit": code}


LOGFILE = ('LoadPlugin logfile\n<Plugin logfile>\n  LogLevel info\n  File "%s"\n'
           '  Timestamp true\n  PrintSeverity true\n</Plugin>\n')


# ------------------------------------------------------------- in a worker

def series_after(journal, plugin, wanted):
    """Names seen until they are those wanted and AFTER passes went by; of an empty
    set and of one that never comes AFTER + 4 passes are watched."""
    end = time.monotonic() + 15

    def over():
        journal.read()
        if len(journal.passes) >= AFTER + 4:
            return True
        return (len(journal.passes) >= AFTER and wanted
                and set(own_names(journal, plugin)) >= wanted)
    while not over() and time.monotonic() < end:
        beds.pause()
    return own_names(journal, plugin)


def run_worker(bed, plugin, wanted):
    scratch = scratch_folder(bed, "worker")
    text = bundle_text(plugin, "@BUNDLE@", scratch)
    options = []
    if "@BUNDLE@" in text:
        for name in SCRIPTS:
            options += ["--file", os.path.join(bed.scripts, name)]
    operator = Operator(bed)
    node = bed.daemon("matrix", block=apply_block(operator, Deny="", Allow="*", User="root",
                                                  Probation=1))
    node.plugins = ('LoadPlugin journal\n<Plugin journal>\n  File "%s/journal"\n  Passes true\n'
                    '</Plugin>\n' % node.base)
    node.start()
    journal = Journal(node.base + "/journal")
    result = {}
    try:
        version = push(node, operator, plugin, text, *options)
        row = wait_end(node, plugin, version)
        result.update(state=row["state"], error=row["error"], warnings=row["warnings"])
        if row["state"] == "applied":
            result["series"] = series_after(journal.forget(), plugin, wanted)
            version = push(node, operator, plugin, "# again\n" + text, *options)
            row = wait_end(node, plugin, version)
            result["again_state"], result["again_error"] = row["state"], row["error"]
            result["again"] = series_after(journal.forget(), plugin, wanted)
        else:
            result["series"] = own_names(journal.read(), plugin)
        remove(node, operator, plugin)
        wait_no_worker(node, plugin)
        journal.forget()
        wait_for(lambda: len(journal.read().passes) >= 2, 15, "the daemon reads nothing")
        result["left"] = own_names(journal, plugin)
    except Failure as failure:
        result["trouble"] = str(failure)
    result["alive"] = node.is_running()
    result["error"] = plain(result.get("error", ""), scratch)
    node.kill()
    return result


# ---------------------------------------------------------------- verdicts

def is_same_text(stock, error):
    """Does the bundle's error text stand in the stock daemon's log?"""
    pieces = [piece.strip() for piece in re.split(r"[|;\n]", error) if len(piece.strip()) > 15]
    lines = [line for line in stock["lines"] if len(line) > 15]
    return any(line[:100] in error or any(piece[:100] in line for piece in pieces)
               for line in lines)


def judge(stock, worker):
    """(verdict, remark): same, fails-too, silent-too, differs."""
    if worker.get("trouble") or not worker["alive"]:
        return "differs", worker.get("trouble") or "the daemon ended"
    if worker["left"]:
        return "differs", "after the removal: %s" % worker["left"][:2]
    if worker["state"] != "applied":
        if not stock["failures"] and not stock["series"] and "no value" in worker["error"]:
            return "silent-too", "%s: %s" % (worker["state"], worker["error"])
        if stock["failures"] and is_same_text(stock, worker["error"]):
            return "fails-too", worker["error"][:160]
        return "differs", "%s: %s; stock: %s" % (worker["state"], worker["error"][:160],
                                                 stock["failures"][:2])
    for what in ("series", "again"):
        if worker[what] != stock["series"]:
            missing = set(stock["series"]) - set(worker[what])
            extra = set(worker[what]) - set(stock["series"])
            return "differs", "%s: %d of %d missing %s, %d extra %s" % (
                what, len(missing), len(stock["series"]), sorted(missing)[:2], len(extra),
                sorted(extra)[:2])
    if worker["again_state"] != "applied":
        return "differs", "again: %s: %s" % (worker["again_state"], worker["again_error"][:160])
    return "same", "%d series" % len(stock["series"])


def one(plugin, stock_alone):
    """Everything about one plugin, as a dictionary."""
    since = time.monotonic()
    with beds.Bed() as bed:
        bed.need_built("tests/plugins/journal.so")
        bed.need_plugins(plugin, *BESIDES.get(plugin, []))
        bed.scripts = write_scripts(bed)
        result = {"plugin": plugin, "stock": run_stock(bed, plugin)}
        if not stock_alone:
            result["worker"] = run_worker(bed, plugin, set(result["stock"]["series"]))
            result["verdict"], result["remark"] = judge(result["stock"], result["worker"])
    result["stock"].pop("lines")
    result["seconds"] = round(time.monotonic() - since, 1)
    return result


def one_apart(plugin, stock_alone):
    """one() in a process and a network of its own."""
    command = [sys.executable, os.path.abspath(__file__), "--one", plugin]
    command += ["--stock"] if stock_alone else []
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", beds.OWN_NETWORK + ' && exec "$0" "$@"'] + command,
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"plugin": plugin, "verdict": "differs", "stock": {"series": [], "failures": []},
                "remark": "the test broke: %s" % done.stderr.strip()[-300:]}


# ------------------------------------------------------------------ results

def pod_table(results):
    """The table of the man page."""
    words = {"same": "same series", "fails-too": "fails in both, same text",
             "silent-too": "no value in both"}
    width = max(len(r["plugin"]) for r in results) + 2
    lines = ["  %-*s%-8s%s" % (width, "plugin", "series", "in a worker"), ""]
    for r in results:
        lines.append("  %-*s%-8d%s" % (width, r["plugin"], len(r["stock"]["series"]),
                                       words.get(r["verdict"], "differs: " + r["remark"][:50])))
    return "\n".join(lines) + "\n"


def write_pod(path, results):
    """Put the table between its two marks in the man page."""
    begins, ends = ("=for comment the matrix %s\n" % word for word in ("begins", "ends"))
    with open(path) as f:
        text = f.read()
    head, rest = text.split(begins)
    tail = rest.split(ends)[1]
    with open(path, "w") as f:
        f.write(head + begins + "\n" + pod_table(results) + "\n" + ends + tail)


def figures(results):
    count = {v: sum(r["verdict"] == v for r in results)
             for v in ("same", "fails-too", "silent-too", "differs")}
    speak = sum(1 for r in results if r["verdict"] == "same" and r["stock"]["series"])
    return count, speak


def run_all(plugins, jobs, stock_alone=False, say=print):
    results = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for r in pool.map(lambda p: one_apart(p, stock_alone), plugins):
            results.append(r)
            if stock_alone and "remark" not in r:
                say("%s: %d series, %s" % (r["plugin"], len(r["stock"]["series"]),
                                           r["stock"]["failures"]))
            else:
                say("%s %s: %s, %s" % ("not ok" if r["verdict"] == "differs" else "ok",
                                       r["plugin"], r["verdict"], r["remark"]))
            sys.stdout.flush()
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("plugins", nargs="*")
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--json")
    parser.add_argument("--pod")
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.stock)))
        return 0
    results = run_all(options.plugins or all_plugins(), options.jobs, options.stock)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(results, f, indent=1)
    if options.stock:
        print("%d plugins, %d speak" % (len(results),
                                        sum(1 for r in results if r["stock"]["series"])))
        return 0
    if options.pod:
        write_pod(options.pod, results)
    count, speak = figures(results)
    print("# %d plugins: %d the same series (%d of the sets not empty), %d fail in both with the "
          "same text, %d have no value in both, %d differ"
          % (len(results), count["same"], speak, count["fails-too"], count["silent-too"],
             count["differs"]))
    good = len(results) - count["differs"]
    enough = bool(options.plugins) or (good >= MUST_SAME and speak >= MUST_SPEAK)
    print("%d passed, %d failed" % (good, count["differs"]))
    return 0 if enough and not (options.plugins and count["differs"]) else 1


if __name__ == "__main__":
    sys.exit(main())
