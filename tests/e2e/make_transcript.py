#!/usr/bin/env python3
"""Write the transcript of argusctl(1) anew, from a real mesh with a node that died:
    ARGUS_BUILD=... make_transcript.py contrib/man/argusctl.pod

Needs root. What is between "=head1 TRANSCRIPT" and the next "=head1" is replaced; only
the paths of the run are changed to those that people have."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import bed as beds  # noqa: E402
from bed import ARGUSCTL, notify, wait_event, wait_for, wait_mesh, wait_online  # noqa: E402
from pushed import Operator, apply_block, write_bundle  # noqa: E402

COLUMNS = 76
NODES = [("agg-1", "aggregator", "eu1/rack1", ""), ("web-1", "agent", "eu1/rack1", "www"),
         ("web-2", "agent", "eu1/rack2", "www"), ("db-1", "agent", "eu1/rack2", "db"),
         ("db-2", "agent", "eu1/rack2", "db")]
INTRO = """=head1 TRANSCRIPT

A mesh of five nodes, one of which, C<db-1>, died a moment ago. Everything is asked on C<web-1>.
"""


class Transcript:
    def __init__(self, bed, node):
        self.bed, self.node, self.text = bed, node, INTRO

    def ask(self, shown, *arguments):
        """Run argusctl and keep what it prints; `shown` is the line as people type it."""
        done = subprocess.run([ARGUSCTL, "-s", self.node.socket] + list(arguments),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60,
                              env=dict(os.environ, COLUMNS=str(COLUMNS), LC_ALL="C.UTF-8"))
        text = done.stdout
        for ours, theirs in ((self.node.conf, "/etc/collectd/collectd.conf"),
                             (self.node.state_dir, "/var/lib/collectd/argus"),
                             (self.bed.dir, "/etc/collectd")):
            text = text.replace(ours, theirs)
        lines = ["$ argusctl %s" % shown] + text.splitlines()
        if done.returncode:
            lines.append("(exit code %d)" % done.returncode)
        self.text += "\n%s\n" % "\n".join(("    " + line).rstrip() for line in lines)

    def verb(self, *arguments):
        self.ask(" ".join(arguments), *arguments)


def start(bed, operator):
    nodes = []
    bed.need_plugins("load", "df")
    for name, role, zone, service in NODES:
        block = 'Zone "%s"\n%s%s' % (zone, 'Tag "service" "%s"\n' % service if service else "",
                                     apply_block(operator))
        nodes.append(bed.daemon(name, role=role, block=block, plugins="LoadPlugin load\n",
                                seeds=[n.address for n in nodes[:1]]))
    for node in nodes:
        node.start()
    wait_online(nodes, len(nodes), 20)
    wait_mesh(nodes, 20)
    return nodes


def tell(bed):
    operator = Operator(bed)
    nodes = start(bed, operator)
    web, dead = nodes[1], nodes[3]
    t = Transcript(bed, web)
    notify(nodes[4], "disk of db-2 is nearly full")
    wait_event(nodes, "disk of db-2 is nearly full", 10)
    bundle = write_bundle(web, "base", "LoadPlugin df\n")
    dead.kill()
    wait_for(lambda: any(m["state"] == "offline" for m in web.members()), 30, "db-1 lives on")

    for words in (("status",), ("members",), ("members", "--tag", "service=www"), ("offline",),
                  ("publishers",), ("peers",), ("route",)):
        if subprocess.run([ARGUSCTL, words[0], "--help"], capture_output=True).returncode == 0:
            t.verb(*words)
    t.ask('notify --severity FAILURE "web-1 goes down for a new disk"', "notify", "--severity",
          "FAILURE", "web-1 goes down for a new disk")
    t.verb("events")
    t.verb("clock")
    t.ask("config push base.conf --name base --key ~/operator --wait", "config", "push", bundle,
          "--name", "base", "--key", operator.key, "--wait=30")
    for words in (("config", "list"), ("config", "status", "base"), ("config", "show", "base"),
                  ("operators", "list"), ("keys", "list")):
        t.verb(*words)
    t.ask("forget db-1 --key ~/operator", "forget", "db-1", "--key", operator.key)
    t.ask("doctor", "doctor")
    t.ask("debug bundle support.tar", "debug", "bundle", os.path.join(bed.dir, "support.tar"))
    t.verb("version")
    t.ask("join agg-1.example.org", "join", "agg-1.example.org")
    t.ask("leave", "leave")
    return t.text.replace("/etc/collectd/support.tar", "support.tar")


def main():
    if os.environ.get("ARGUS_E2E_NETWORK") != "own":
        os.environ["ARGUS_E2E_NETWORK"] = "own"
        os.execvp("unshare", ["unshare", "--net", "sh", "-c",
                              beds.OWN_NETWORK + ' && exec "$0" "$@"', sys.executable] + sys.argv)
    path = os.path.abspath(sys.argv[1])
    with beds.Bed() as bed:
        text = tell(bed)
    with open(path, encoding="utf-8") as f:
        page = f.read()
    head, _, rest = page.partition("=head1 TRANSCRIPT")
    tail = rest[rest.index("=head1 "):]
    with open(path, "w", encoding="utf-8") as f:
        f.write(head + text + "\n" + tail)


if __name__ == "__main__":
    main()
