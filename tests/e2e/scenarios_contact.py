"""scenarios_contact.py - how a node finds a first other one: names, services, beacons."""

import json
import subprocess
import time

from bed import ARGUSCTL, Lan, check, run, wait_for
from names import NameServer, asks

LIMIT_S = 20


def members_of(node):
    return node.status()["members"]["online"]


def wait_joined(nodes, count, limit_s=LIMIT_S):
    for node in nodes:
        wait_for(lambda n=node: members_of(n) == count, limit_s,
                 lambda n=node: "%s knows %d of %d" % (n.name, members_of(n), count))


def doctor(node, prefix=()):
    """{check: [finding...]} of argusctl doctor, in the network of that node."""
    place = ["ip", "netns", "exec", node.netns] if node.netns else []
    done = subprocess.run(place + list(prefix) + [ARGUSCTL, "-s", node.socket, "--json", "doctor",
                                          "--config", node.conf],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    found = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return found


def seed_names(bed, full):
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
        seeds = doctor(nodes[0], asks(bed))["seeds"]
        check([f["text"].split(":")[0] for f in seeds] ==
              ["gone.test", "_argus._tcp.test answers at 127.0.0.1"],
              "doctor says of the seeds: %s" % seeds)
        # Alone again: the records have moved.
        records["_argus._tcp.test"]["SRV"] = []
        late = bed.daemon("late", block=block, prefix=asks(bed)).start()
        late.wait_log("cannot look up", "_argus._tcp.test")
        seeds = doctor(late, asks(bed))["seeds"]
        check([f["level"] for f in seeds] == ["bad", "bad"] and
              "_argus._tcp.test: the name has no SRV record" in seeds[0]["text"],
              "doctor says of a name without records: %s" % seeds)
        records["_argus._tcp.test"]["SRV"] = [(0, 0, ports[3], "n.test")]
        wait_joined([late] + nodes, 7)
    return "6 nodes of one service, started at once, are one mesh; a seventh finds records that came later"


def multicast(bed, full):
    """Nodes in namespaces on one bridge find each other without a Seed; who has another key is
    not dialed, and nobody is who only sends bytes."""
    count = 6
    places = Lan(bed, count + 1).places
    port = bed.free_port()
    nodes = [bed.daemon("m%d" % i, netns=place, host="::", port=port, block="Multicast true").spawn()
             for i, place in enumerate(places[:count])]
    wait_joined(nodes, count)
    check(all("10.9.0." in m["address"] or "fd09::" in m["address"] for m in nodes[0].members()),
          "addresses: %s" % [m["address"] for m in nodes[0].members()])
    # Garbage, and calls by another key: read, counted, and that is all.
    other, _ = bed.new_mesh_key("other.key")
    stranger = bed.daemon("stranger", netns=places[count], host="::", port=port,
                          block="Multicast true", security='KeyFile "%s"' % other).start()
    run("ip", "netns", "exec", places[count], "python3", "-c",
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('10.9.0.%d'))\n"
        "for i in range(3000):\n"
        "    s.sendto(b'\\x0a\\x08' + bytes(i %% 200), ('239.255.100.227', 25827))\n" % (count + 1))
    for node in nodes:
        wait_for(lambda n=node: n.status()["counters"]["beacon_forged"] > 0 and
                 n.status()["counters"]["beacon_rested"] > 0, 10,
                 lambda n=node: "%s: %s" % (n.name, n.status()["counters"]))
    for node in nodes:
        counters = node.status()["counters"]
        check(counters["call_answered"] <= count, "%s dialed %d callers" % (node.name, counters["call_answered"]))
        check(members_of(node) == count, "%s took a stranger in" % node.name)
    check(members_of(stranger) == 1, "the stranger met somebody")
    # A member that is alone again calls, and so it comes back.
    nodes[0].kill()
    nodes[0].start()
    wait_joined(nodes, count)
    answered = [n.status()["counters"]["call_answered"] for n in nodes]
    return "%d nodes without a Seed; %s callers dialed; 3000 forged datagrams: nobody" % (count, answered)


def advertise(bed, full):
    """A wrong Advertise is told, once, and others are given the address that works; where none
    does, that is told too."""
    places = Lan(bed, 5).places
    port = bed.free_port()
    nodes = []

    def node(name, place, block="", host="::"):
        nodes.append(bed.daemon(name, netns=places[place], host=host, port=port, block=block,
                                seeds=["10.9.0.1:%d" % port] if nodes else []).spawn())
        return nodes[-1]

    good = node("good", 0)
    node("other", 1)
    wrong_port = node("wrongport", 2, 'Advertise "10.9.0.3" "9"')
    stolen = node("stolen", 3, 'Advertise "10.9.0.1" "%d"' % port)
    nowhere = node("nowhere", 4, 'Advertise "10.9.0.5" "%d"' % port, host="127.0.0.1")
    wait_joined(nodes, 5)

    def reach(n):
        return n.status()["reach"]

    for n, state in ((good, "reachable"), (wrong_port, "elsewhere"), (stolen, "elsewhere"),
                     (nowhere, "unreachable")):
        wait_for(lambda n=n, state=state: reach(n) == state, LIMIT_S,
                 lambda n=n: "%s is %s" % (n.name, n.status()))
    told = wrong_port.wait_log("Advertise", "cannot dial this node at 10.9.0.3:9", "nothing listens")
    check(":%d in its place" % port in told, told)
    stolen.wait_log("Advertise", "10.9.0.1:%d" % port, "somebody else answers")
    nowhere.wait_log("Advertise", "cannot dial this node at 10.9.0.5:%d" % port, "firewall")
    check(wrong_port.status()["advertised"] == "10.9.0.3:9", "status does not name it")
    for n, level, words in ((good, "ok", "peers reach this node at"),
                            (wrong_port, "warn", "cannot dial this node at 10.9.0.3:9"),
                            (nowhere, "bad", "no peer can dial this node at 10.9.0.5")):
        port_finding = doctor(n)["port"][0]
        check(port_finding["level"] == level and words in port_finding["text"] and
              (level == "ok") == (port_finding["mend"] in (None, "")),
              "doctor on %s says %s" % (n.name, port_finding))

    def shown(name):
        return next(m["address"] for m in good.members() if m["name"] == name)

    wait_for(lambda: shown("wrongport").endswith("3]:%d" % port) or
             shown("wrongport") == "10.9.0.3:%d" % port, LIMIT_S, lambda: shown("wrongport"))
    check("Advertise" not in good.log_text(), "a good address is complained of")
    for n in nodes:
        count = n.log_text().count("cannot dial this node")
        check(count == (n in (wrong_port, stolen, nowhere)), "%s says it %d times" % (n.name, count))
    return "wrong port, an address of another, nothing that can be dialed: each told once; %s in use" \
        % shown("wrongport")


def silent(bed, full):
    """An address that swallows packets without a word: as Advertise, as a Seed among others and
    alone, and what doctor says of it."""
    lan = Lan(bed, 4)
    for place in lan.places:  # a hardware address that nobody has: no answer, no error
        run("ip", "-n", place, "neigh", "add", "10.9.0.99", "lladdr", "02:00:00:00:00:63", "dev",
            "eth0", "nud", "permanent")
    port = bed.free_port()
    hole = "10.9.0.99:%d" % port
    first = bed.daemon("first", netns=lan.places[0], host=lan.host(0), port=port).start()
    both = bed.daemon("both", netns=lan.places[1], host=lan.host(1), port=port,
                      seeds=[hole, first.address]).start()
    wait_joined([first, both], 2, 5)
    lost = bed.daemon("lost", netns=lan.places[2], host=lan.host(2), port=port,
                      seeds=[hole]).start()
    named = bed.daemon("named", netns=lan.places[3], host=lan.host(3), port=port,
                       block='Advertise "10.9.0.99" "%d"' % port, seeds=[first.address]).start()
    wait_joined([first, both, named], 3, 5)
    since = time.monotonic()
    findings = doctor(both)["seeds"]
    took = time.monotonic() - since
    check(took < 8, "doctor takes %.1f s" % took)
    check([f["level"] for f in findings] == ["warn", "ok"] and
          "Connection timed out" in findings[0]["text"], "doctor says %s" % findings)
    lost.wait_log("cannot reach %s" % hole, limit_s=LIMIT_S)
    check(members_of(lost) == 1 and lost.status()["state"] == "alone", "it met somebody")
    named.wait_log("cannot dial this node at %s" % hole, limit_s=LIMIT_S)
    wait_for(lambda: next(m["address"] for m in first.members() if m["name"] == "named") ==
             named.address, LIMIT_S, "the address that works is not given to others")
    finding = doctor(named)["port"][0]
    check(finding["level"] == "warn" and hole in finding["text"], "doctor says %s" % finding)
    return "met by the other Seed at once; told as an Advertise that nobody can dial; doctor took %.1f s" \
        % took


SCENARIOS = [seed_names, services, multicast, advertise, silent]
