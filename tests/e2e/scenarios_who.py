"""Who publishes what, who is gone, and what collectd is told of it."""

import os
import socket
import time

from bed import ARGUSCTL, Lan, check, notify, wait_for, wait_online

STATSD = 'LoadPlugin statsd\n<Plugin statsd>\n  Host "127.0.0.1"\n  Port "%d"\n</Plugin>\n'
# Speaks for a few seconds, then lives on and says nothing.
EXEC = ('LoadPlugin exec\n<Plugin exec>\n  Exec "nobody" "/bin/sh" "-c" "for i in 1 2 3 4 5 6 7 8; do '
        'echo PUTVAL $COLLECTD_HOSTNAME/exec-backup/gauge-left interval=1 N:$i; '
        'echo PUTVAL $COLLECTD_HOSTNAME/kitchen/gauge-heat interval=1 N:$i; sleep 1; done; '
        'exec sleep 1000"\n</Plugin>\n')


def publishers(node, *arguments):
    return node.ctl("publishers", *arguments, codes=(0, 3))["publishers"]


def of(node, host, *arguments):
    return {(r["plugin"], r["plugin_instance"]): r
            for r in publishers(node, "--host", host, *arguments)}


def said(node, *words):
    return [line for line in node.log_text().splitlines()
            if "Notification:" in line and all(w in line for w in words)]


def who(bed, full):
    """Publishers and applications asked on another node; one that stops; a node
    that goes and comes is offline there, and a notification on the aggregator."""
    bed.need_plugins("cpu", "load", "memory", "statsd", "exec")
    port = bed.free_port()
    first = bed.daemon("g1", role="aggregator").start()
    seeds = [first.address]
    busy = bed.daemon("a1", seeds=seeds, plugins=STATSD % port + EXEC +
                      "LoadPlugin cpu\nLoadPlugin load\nLoadPlugin memory\n").start()
    asked = bed.daemon("a2", seeds=seeds).start()
    wait_online([first, busy, asked], 3, 20)
    since = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"shop.orders:1|c", ("127.0.0.1", port))

    def all_there():
        rows = of(asked, "a1")
        return {"cpu", "load", "memory", "statsd", "exec", "kitchen"} <= {p for p, _ in rows}
    wait_for(all_there, 20, lambda: "not all are known: %s" % sorted(of(asked, "a1")))
    known_s = time.monotonic() - since
    load = of(asked, "a1")["load", ""]
    check(load["node"] == "a1" and load["state"] == "publishing" and not load["live"],
          "load: %s" % load)
    check(0.5 <= load["rate"] <= 2, "load has rate %s" % load["rate"])
    check(of(busy, "a1")["load", ""]["live"], "its own is not as it is now")
    for app in ("shop", "backup", "kitchen"):
        rows = publishers(asked, "--app", app)
        check(len(rows) == 1 and rows[0]["host"] == "a1", "application %s: %s" % (app, rows))
    wait_for(lambda: any(r["host"] == "g1" for r in publishers(asked)), 20,
             "the aggregator publishes nothing")

    wait_for(lambda: of(asked, "a1")["exec", "backup"]["state"] == "stopped", 30,
             "that exec-backup stopped is not known elsewhere")
    wait_for(lambda: any("stopped publishing" in e["message"] and "exec-backup" in e["message"]
                         for e in asked.events()), 10, "it is not on the timeline")
    check(of(asked, "a1")["load", ""]["state"] == "publishing", "load stopped as well")
    wait_for(lambda: said(first, "stopped publishing"), 10, "the aggregator's collectd was not told")
    check(not said(asked, "stopped publishing"), "an agent's collectd was told")

    busy.kill()
    # A node that is only suspected is in that list too, and may still publish.
    wait_for(lambda: [(r["name"], r["state"]) for r in asked.ctl("offline")["offline"]]
             == [("a1", "offline")], 10,
             "it is not offline")
    gone = asked.ctl("offline")["offline"][0]
    check(gone["witnesses"] and gone["last_seen"] and gone["since"] and gone["group"] is None,
          "offline: %s" % gone)
    rows = publishers(asked, "--host", "a1")
    check(not rows, lambda: "a dead node publishes: %s; offline: %s" % (rows, asked.ctl("offline")))
    wait_for(lambda: said(first, "node a1 is offline"), 15, "no notification that it went")
    busy.start()
    wait_for(lambda: said(first, "node a1 is back"), 15, "no notification that it came back")
    check(not said(asked, "node a1 is"), "an agent's collectd was told")
    check(asked.ctl_code("offline")[0] == 0 and not asked.ctl("offline")["offline"],
          "somebody is offline still")
    return "6 plugins and 3 applications known elsewhere after %.1f s" % known_s


def twin_names(bed, full):
    """Two nodes of one name: both say so, and members shows it."""
    first = bed.daemon("first").start()
    twins = [bed.daemon("twin%d" % i, seeds=[first.address], block='NodeName "twin"').start()
             for i in range(2)]
    wait_online([first] + twins, 3, 20)
    twice = [m for m in first.members() if m["duplicate"]]
    check([m["name"] for m in twice] == ["twin", "twin"], "members: %s" % twice)
    for twin in twins:
        twin.wait_log("two nodes are named twin", limit_s=15)
    wait_for(lambda: sum("two nodes are named twin" in e["message"] for e in first.events()) == 2,
             15, "the timeline does not have it from both")
    return "told by both"


def cut_zone(bed, full):
    """A zone is cut off: coverage falls on the other side and names it; what happened meanwhile
    comes by anti-entropy to those that follow; an aggregator that was killed is told of an
    event once."""
    lan, port, nodes = Lan(bed, 6), bed.free_port(), []
    for i, place in enumerate(lan.places):
        nodes.append(bed.daemon("c%d" % i, netns=place, host=lan.host(i), port=port,
                                role="agent" if i else "aggregator",
                                seeds=["%s:%d" % (lan.host(0), port)] if i else [],
                                block='Zone "%s"' % ("east" if i < 3 else "west")).spawn())
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, 6, 20)
    followed = os.path.join(bed.dir, "followed")
    with open(followed, "w") as f:
        follower = bed.child([ARGUSCTL, "-s", nodes[4].socket, "--json", "events", "--follow"],
                             stdout=f)

    def coverage(node):
        return node.ctl("members", codes=(0, 3))["coverage"]

    def has_followed():
        with open(followed) as f:
            return "while cut" in f.read()
    for i in (3, 4, 5):
        lan.move(i, 1)
    for node, zone in ((nodes[1], "west"), (nodes[4], "east")):
        wait_for(lambda n=node, z=zone: coverage(n)["zones"] == [z], 20,
                 lambda n=node: "coverage: %s" % coverage(n))
        wait_for(lambda n=node: coverage(n)["contributed"] == 3 and coverage(n)["known"] == 6, 10,
                 lambda n=node: "coverage: %s" % coverage(n))
        check(node.ctl_code("members")[0] == 3, "another exit code than 3")
    notify(nodes[1], "while cut")
    wait_for(lambda: said(nodes[0], "while cut"), 10, "the aggregator's collectd was not told")
    nodes[0].kill()
    nodes[0].start()
    for i in (3, 4, 5):
        lan.move(i, 0)
    wait_online(nodes, 6, 30)
    wait_for(has_followed, 30, "who follows does not see what it learned later")
    check(follower.poll() is None, "events --follow ended")
    notify(nodes[4], "after all")
    wait_for(lambda: said(nodes[0], "after all"), 10, "the aggregator's collectd was not told")
    check(len(said(nodes[0], "while cut")) == 1, "told twice: %s" % said(nodes[0], "while cut"))
    for node in nodes:
        wait_for(lambda n=node: n.ctl_code("members")[0] == 0, 10, "coverage stays low")
    return "each side names the other's zone; followed over the cut; told once over a kill"


SCENARIOS = [who, twin_names, cut_zone]
