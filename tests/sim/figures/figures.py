#!/usr/bin/env python3
"""figures.py - the papers' figures, measured by the simulator.

    figures.py run  SIM OUT [SCENARIO...]   play them; rows go to OUT/*.csv
    figures.py plot OUT                     OUT/*.svg, by gnuplot
    figures.py check OUT [SCENARIO...]      paper and measured side by side; every
                                            tolerance; ends with "N passed, N failed"

SIM is the program argus-sim. NODES (default 10000) and SEED (default 1) come from the
environment. The papers' numbers stand in paper.csv.
"""

import csv
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def rows(folder, name):
    """Rows of a CSV file, numbers where they are numbers."""
    path = os.path.join(folder, name + ".csv")
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(f)]


def paper(figure, series):
    with open(os.path.join(HERE, "paper.csv")) as f:
        return {float(r["x"]): float(r["y"]) for r in csv.DictReader(f)
                if r["figure"] == figure and r["series"] == series}


# -------------------------------------------------------------------- run

def scenarios(wanted):
    return wanted or sorted(f[:-4] for f in os.listdir(HERE) if f.endswith(".sim"))


def run(sim, out, wanted):
    names = scenarios(wanted)
    os.makedirs(out, exist_ok=True)
    for f in os.listdir(out):
        if f.endswith((".csv", ".svg")) and not wanted:
            os.remove(os.path.join(out, f))
    options = ["--seed", os.environ.get("SEED", "1"), "--out", out]
    failed = 0
    for name in names:
        since = time.monotonic()
        extra = []
        if os.environ.get("NODES") and name != "split":
            extra = ["--set", "NODES=" + os.environ["NODES"]]
        code = subprocess.call([sim] + options + extra + [os.path.join(HERE, name + ".sim")])
        print("# %s: exit code %d after %.0f s" % (name, code, time.monotonic() - since), flush=True)
        failed += code != 0
    return 1 if failed else 0


# ------------------------------------------------------------------- plot

def percent(name, of=None):
    return lambda r: 100 * r[name] / (max(r[of], 1) if of else 1)


def each(name, x, y, by, title):
    """A series for each value of a column."""
    return lambda out: [(title % value, name, x, y, {by: value})
                        for value in sorted({r[by] for r in rows(out, name)})]


def only(*series):
    return lambda out: series


# title, x, y, range of y, (title, file, column or function for x and for y[, which rows])
# of each series, those of the paper
PLOTS = {
    "fig2": ("HyParView Fig. 2: 1000 messages after a failure, no cycle between",
             "failed, %", "reliability, %", "[0:102]",
             only(("argus", "fig2", "failed", percent("reliability"))),
             ["HyParView", "CyclonAcked", "Cyclon", "Scamp"]),
    "fig3": ("HyParView Fig. 3: message by message after a failure", "message",
             "reliability, %", "[0:102]",
             each("fig3", "i", percent("reliability"), "failed", "%g %% failed"), []),
    "fig4": ("HyParView Fig. 4: healing after a failure", "failed, %", "cycles", "[0:40]",
             only(("argus", "fig4", "failed", "cycles")), ["HyParView", "CyclonAcked"]),
    "fig5": ("HyParView Fig. 5: by how many a node is held", "active views", "nodes, %",
             "[0:102]", only(("argus", "fig5", "degree", percent("nodes", "all"))), []),
    "fig6a": ("Plumtree Fig. 6a: the first broadcast after a failure", "failed, %",
              "reliability, %", "[0:102]",
              only(("argus", "fig6a", "failed", percent("reliability"))), ["Plumtree"]),
    "fig6b": ("Plumtree Fig. 6b: redundancy in the cycles after a failure", "cycle", "RMR",
              "[-0.02:*]", each("fig6b", "cycle", "rmr", "failed", "%g %% failed"), []),
    "fig6_ldh": ("Plumtree: last delivery hop in the cycles after a failure", "cycle", "hops",
                 "[0:*]", each("fig6b", "cycle", "last_hop", "failed", "%g %% failed"), []),
    "churn": ("Plumtree: 50 nodes fail in each cycle", "cycle", "RMR", "[-0.02:0.2]",
              only(("argus", "churn", "cycle", "rmr")), []),
    "churn_ldh": ("Plumtree: last delivery hop while 50 nodes fail in each cycle", "cycle",
                  "hops", "[0:*]", only(("argus", "churn", "cycle", "last_hop")), []),
    "forming": ("Plumtree: how the tree forms", "broadcast", "RMR", "[-0.2:3.5]",
                only(("argus", "forming", "i", "rmr")), []),
    "rmr": ("Plumtree at rest: redundancy", "broadcast", "RMR", "[-0.01:0.1]",
            each("rest", "i", "rmr", "senders", "%g sender(s)"), []),
    "ldh": ("Plumtree at rest: last delivery hop", "broadcast", "hops", "[0:*]",
            each("rest", "i", "last_hop", "senders", "%g sender(s)"),
            ["one sender", "many senders"]),
    "clock_error": ("How well a node knows its clock, K peers asked", "clocks 5 s ahead, %",
                    "error, ms", "[0:20]",
                    lambda out: [*each("clocks", "faulty", "error_ms", "peers",
                                       "median, K = %g")(out),
                                 *each("clocks", "faulty", "p99_ms", "peers",
                                       "99 %%, K = %g")(out)],
                    ["median, K = 31", "99 %, K = 31"]),
    "clock_alarms": ("Alarms of right clocks, and wrong clocks without, K peers asked",
                     "clocks 5 s ahead, %", "%", "[-0.1:*]",
                     lambda out: [*each("clocks", "faulty", percent("false_ever", "right"),
                                        "peers", "false, K = %g")(out),
                                  *each("clocks", "faulty", percent("missed", "wrong"),
                                        "peers", "missed, K = %g")(out)], []),
    "split": ("Two halves healed", "minutes apart", "seconds until whole", "[0:*]",
              only(("one mesh", "split", "minutes", "joined"),
                   ("identical everywhere", "whole", "minutes", "whole")), []),
}


def series_of(out, name, what, papers):
    """[(title, [(x, y)], is it the paper's)]"""
    found = []
    for title, file, x, y, *which in what(out):
        x, y = (c if callable(c) else lambda r, c=c: r[c] for c in (x, y))
        found.append((title, [(x(r), y(r)) for r in rows(out, file)
                              if not which or which[0].items() <= r.items()], False))
    for title in papers:
        found.append((title + ", paper", sorted(paper(name, title).items()), True))
    return found


def plot_one(out, name):
    title, x, y, yrange, what, papers = PLOTS[name]
    series = [s for s in series_of(out, name, what, papers) if s[1]]
    if not [s for s in series if not s[2]]:
        return False
    script = ["set terminal svg size 720,420 font 'sans,12' background 'white'",
              "set output '%s/%s.svg'" % (out, name), "set title '%s'" % title,
              "set xlabel '%s'" % x, "set ylabel '%s'" % y, "set yrange %s" % yrange,
              "set key outside right top", "set grid"]
    parts = []
    for i, (label, points, is_paper) in enumerate(series):
        script.append("$d%d << EOD" % i)
        script += ["%g %g" % point for point in points]
        script.append("EOD")
        style = "dashtype 2 linewidth 1" if is_paper else "linewidth 2"
        kind = "lines" if len(points) > 60 else "linespoints pointsize 0.6"
        parts.append("$d%d using 1:2 with %s %s title '%s'" % (i, kind, style, label))
    script.append("plot " + ", ".join(parts))
    subprocess.run(["gnuplot"], input="\n".join(script), text=True, check=True)
    return True


def plot(out):
    for name in PLOTS:
        if plot_one(out, name):
            print("%s/%s.svg" % (out, name))
    return 0


# ------------------------------------------------------------------ check

class Table:
    """Lines of paper | measured | bound."""

    def __init__(self):
        self.passed = self.failed = 0

    def line(self, ok, what, papers, measured, bound):
        self.passed += bool(ok)
        self.failed += not ok
        print("%-6s %-52s paper %-12s measured %-12s must be %s"
              % ("ok" if ok else "not ok", what, papers, measured, bound))

    def most(self, what, papers, measured, bound):
        self.line(measured <= bound, what, papers, "%.4g" % measured, "<= %g" % bound)

    def least(self, what, papers, measured, bound):
        self.line(measured >= bound, what, papers, "%.4g" % measured, ">= %g" % bound)

    def within(self, what, papers, measured, low, high):
        self.line(low <= measured <= high, what, papers, "%.4g" % measured,
                  "%g to %g" % (low, high))


def check_overlay(t, out):
    for r in rows(out, "table1"):
        if r["nodes"] >= 5000:
            t.within("Table 1: average shortest path", "6.385", r["path"], 6.3, 6.5)
            t.most("Table 1: clustering", "0.00092", r["clustering"], 0.0015)
        t.most("Table 1: longest shortest path", "9.0", r["hops_max"], 10)
        t.least("Fig. 5: share of nodes with 5 neighbours", "nearly all", r["full_share"], 0.99)
        t.most("one-sided links at rest", "0", r["one_sided"], 0)


def check_failures(t, out):
    papers = paper("fig2", "HyParView")
    for r in rows(out, "fig2"):
        bound = 0.90 if r["failed"] > 90 else 0.99
        t.least("Fig. 2: reliability, %g %% failed" % r["failed"],
                "%g %%" % papers[r["failed"]], r["reliability"], bound)
    papers = paper("fig4", "HyParView")
    for r in rows(out, "fig4"):
        t.most("Fig. 4: cycles of healing, %g %% failed" % r["failed"],
               "%g" % papers[r["failed"]], r["cycles"], max(papers[r["failed"]], 1))


def check_trees(t, out):
    forming = rows(out, "forming")
    if len(forming) > 2:
        t.most("RMR of the third broadcast: the tree has formed", "0", forming[2]["rmr"], 0.01)
    for r in rows(out, "settling"):
        t.most("RMR while a sender becomes the root", "-", r["rmr"], 0.02)
    for r in rows(out, "stable"):
        one = r["senders"] == 1
        t.most("RMR at rest, %g sender(s)" % r["senders"], "0" if one else "-", r["rmr"], 0.01)
        t.most("LDH, %g sender(s)" % r["senders"], "8-10" if one else "about 17", r["last_hop"],
               10 if one else 17)
        t.least("reliability at rest, %g sender(s)" % r["senders"], "100 %", r["reliability"], 1)
    for r in rows(out, "churn"):
        t.most("churn, cycle %g: RMR" % r["cycle"], "< 0.1", r["rmr"], 0.1)
        t.least("churn, cycle %g: reliability" % r["cycle"], "100 %", r["reliability"], 1)
    papers = paper("fig6a", "Plumtree")
    for r in rows(out, "fig6a"):
        t.least("Fig. 6a: first broadcast, %g %% failed" % r["failed"],
                "%g %%" % papers[r["failed"]], r["reliability"],
                max(0, papers[r["failed"]] / 100 - 0.02))
    for r in rows(out, "fig6b"):
        if r["cycle"] == 4 and r["failed"] in (40, 60, 80):
            t.most("Fig. 6b: RMR after 4 cycles, %g %% failed" % r["failed"], "0", r["rmr"], 0.01)
            t.least("Fig. 6b: reliability after 4 cycles, %g %% failed" % r["failed"], "100 %",
                    r["reliability"], 1)


def check_splits(t, out):
    for r in rows(out, "split"):
        t.most("%g min apart: seconds until one mesh" % r["minutes"], "-", r["joined"], 60)
    for r in rows(out, "whole"):
        t.most("%g min apart: seconds until identical" % r["minutes"], "-", r["whole"], 60)


def check_clocks(t, out):
    for r in rows(out, "clocks"):
        what = "%g %% of clocks wrong, K = %g: " % (r["faulty"], r["peers"])
        if r["peers"] == 31 and r["faulty"] <= 20:
            t.most(what + "false alarms", "0", r["false_ever"], 0)
            t.most(what + "missed", "0", r["missed"], 0)
            t.most(what + "error, median, ms", "1.5", r["error_ms"], 1.5)
            t.most(what + "error, p99, ms", "7.3", r["p99_ms"], 7.3)
        if r["peers"] == 63 and r["faulty"] == 30:
            t.most(what + "false alarms, share", ".0005", r["false_ever"] / r["right"], 0.0005)
            t.most(what + "missed", "0", r["missed"], 0)
    for r in rows(out, "steps"):
        t.least("steps of a clock seen within 2 s", "all", r["stepped"], r["of"])
    for r in rows(out, "drifts"):
        t.least("drifts of 50 ppm told within 10 min", "all", r["drifting"], r["of"])
        t.most("drifts told of steady clocks", "-", r["false"], 0)
    for r in rows(out, "apart"):
        t.most("%g %% cut off: alarms" % r["share"], "0", r["false_ever"], 0)


def check_whole(t, out, wanted):
    """Each figure that a scenario means to write is there."""
    for name in scenarios(wanted):
        with open(os.path.join(HERE, name + ".sim")) as f:
            words = [line.split() for line in f]
        for figure in sorted({w[1] for w in words if w and w[0] in ("row", "fates")}):
            t.least("%s: rows of %s.csv" % (name, figure), "-", len(rows(out, figure)), 1)


def check(out, wanted):
    t = Table()
    check_whole(t, out, wanted)
    for part in (check_overlay, check_failures, check_trees, check_clocks, check_splits):
        part(t, out)
    print("%d passed, %d failed" % (t.passed, t.failed))
    return 1 if t.failed or not t.passed else 0


def main():
    if len(sys.argv) >= 4 and sys.argv[1] == "run":
        return run(sys.argv[2], sys.argv[3], sys.argv[4:])
    if len(sys.argv) == 3 and sys.argv[1] == "plot":
        return plot(sys.argv[2])
    if len(sys.argv) >= 3 and sys.argv[1] == "check":
        return check(sys.argv[2], sys.argv[3:])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
