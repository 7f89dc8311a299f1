"""scenarios_contact.py - how a node finds a first other one: names, services, beacons."""

import os

from bed import check, pause, run, wait_for
from names import NameServer, asks

LIMIT_S = 20


def members_of(node):
    return node.status()["members"]["online"]


def wait_joined(nodes, count, limit_s=LIMIT_S):
    for node in nodes:
        wait_for(lambda n=node: members_of(n) == count, limit_s,
                 lambda n=node: "%s knows %d of %d" % (n.name, members_of(n), count))


def names(bed, full):
    """Seeds by name: many addresses of which one lives, seeds that come later, a name that moves,
    a name server that says nothing."""
    port = bed.free_port()
    dead = ["127.1.%d.%d" % (i // 8, 1 + i % 8) for i in range(40)]
    records = {"many.test": {"A": dead + ["127.0.0.1"], "AAAA": ["fd00::1"]},
               "later.test": {"A": ["127.0.0.1"]}, "moves.test": {"A": ["127.3.0.1"]}}
    with NameServer(records) as server:
        prefix = asks(bed)
        first = bed.daemon("first", port=port, host="127.0.0.1")
        many = bed.daemon("many", seeds=["many.test:%d" % port], prefix=prefix)
        later = bed.daemon("later", seeds=["later.test:%d" % port], prefix=prefix)
        moves = bed.daemon("moves", seeds=["moves.test:%d" % port], prefix=prefix)
        early = [many, later, moves]
        for node in early:  # before their seed
            node.spawn()
        for node in early:
            node.wait_ready()
        later.wait_log("cannot reach later.test:%d" % port)
        first.start()
        wait_joined([first, many, later], 3)
        check(members_of(moves) == 1, "moves met somebody at an address where nobody is")
        records["moves.test"]["A"] = ["127.0.0.1"]
        wait_joined([first] + early, 4)

        server.is_silent = True
        lost = bed.daemon("lost", seeds=["many.test:%d" % port], prefix=prefix).start()
        lost.wait_log("cannot look up", "many.test")
        asked = len(server.asked)
        wait_for(lambda: len(server.asked) >= asked + 4, LIMIT_S, "it is not asked again")
        said = lost.log_text().count("cannot look up")
        check(said == 1, "the log has %d lines of one name" % said)
        check(lost.ctl_code("status")[0] == 0, "status does not answer")
        server.is_silent = False
        wait_joined([first, lost], 5)
        lost.wait_log("can be looked up again")
    told = later.log_text().count("cannot reach later.test")
    check(told == 1, "the log has %d lines of one seed that is down" % told)
    return "41 addresses of which one lives; seeds later; a name that moved; a silent server told once"


def services(bed, full):
    """SeedService: by priority; all targets of one name at once are one mesh, no islands; hostile
    records do no harm."""
    ports = [bed.free_port() for _ in range(6)]
    records = {"_argus._tcp.test": {"SRV": [(10, 5, p, "n.test") for p in ports] +
                                    [(1, 0, 9, "gone.test"), (0, 0, 0, "n.test"),
                                     (0, 0, 9, "."), (0, 0, 9, "a b.test")]},
               "n.test": {"A": ["127.0.0.1"]}}
    block = 'SeedService "_argus._tcp.test"'
    with NameServer(records) as server:
        nodes = [bed.daemon("s%d" % i, port=port, block=block, prefix=asks(bed)).spawn()
                 for i, port in enumerate(ports)]
        wait_joined(nodes, len(nodes))
        check(("_argus._tcp.test", "SRV") in server.asked, "nobody asked for SRV records")
        check(("gone.test", "A") in server.asked, "the target of the first priority was left out")
        # Alone again: the records have moved.
        records["_argus._tcp.test"]["SRV"] = []
        late = bed.daemon("late", block=block, prefix=asks(bed)).start()
        late.wait_log("cannot look up", "_argus._tcp.test")
        records["_argus._tcp.test"]["SRV"] = [(0, 0, ports[3], "n.test")]
        wait_joined([late] + nodes, 7)
    return "6 nodes of one service, started at once, are one mesh; a seventh finds records that came later"


SCENARIOS = [names, services]
