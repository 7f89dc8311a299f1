"""Strategies of membership on real daemons: each makes one mesh, spreads events, and
mends when a node is killed."""

import time

from bed import (check, notify, wait_event, wait_for, wait_mesh,
                 wait_online)


def block(strategy):
    return '<Membership>\nStrategy "%s"\n</Membership>\n' % strategy


def check_named(nodes, strategy):
    for node in nodes:
        check(node.status()["strategy"] == strategy,
              "%s says its strategy is %s" % (node.name, node.status()["strategy"]))


def wait_links(nodes, holds, limit_s, what):
    """Until holds(views by name) of nodes that live; seconds."""
    since, last = time.monotonic(), {}

    def look():
        last["t"] = {n.name: {p["name"] for p in n.peers()["active"]} for n in nodes}
        return holds(last["t"])
    wait_for(look, limit_s, lambda: "%s: %s" % (what, {k: sorted(v) for k, v in last["t"].items()}))
    return time.monotonic() - since


def is_full(table):
    return all(views == set(table) - {name} for name, views in table.items())


def strategy_full(bed, full):
    """12 daemons, every one linked to every other; the seed is killed, and comes back."""
    nodes = bed.mesh(12, block=block("full"))
    for node in nodes:
        node.wait_ready()
    formed = wait_links(nodes, is_full, 20, "not full")
    wait_online(nodes, 12, 15)
    check_named(nodes, "full")
    notify(nodes[5], "to all")
    spread = wait_event(nodes, "to all", 5)
    seed, rest = nodes[0], nodes[1:]
    seed.kill()
    mended = wait_links(rest, is_full, 10, "not full without the seed")
    notify(rest[3], "without one")
    wait_event(rest, "without one", 5)
    seed.start()
    back = wait_links(nodes, is_full, 20, "not full again")
    wait_event([seed], "without one", 15)
    wait_mesh(nodes, 10)
    return ("132 ends of links after %.2f s, an event on all after %.2f s; without the seed full "
            "after %.2f s, with it again after %.2f s" % (formed, spread, mended, back))


def strategy_client_server(bed, full):
    """4 aggregators, 8 agents: agents hold 3 aggregators each, and others when theirs die."""
    strategy = block("client-server")
    servers = [bed.daemon("server%d" % i, role="aggregator", block=strategy) for i in range(4)]
    agents = [bed.daemon("agent%d" % i, block=strategy) for i in range(8)]
    for node in servers[1:] + agents:
        node.seeds = [servers[0].address]
    agents[-1].seeds = [agents[0].address]  # an agent that knows an agent alone
    nodes = servers + agents
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.wait_ready()

    def holds(living):
        names = {s.name for s in living}

        def look(table):
            return all(names - {name} <= views if name in names
                       else views <= names and len(views) == min(3, len(names))
                       for name, views in table.items())
        return look
    formed = wait_links(nodes, holds(servers), 20, "agents and aggregators do not fit")
    wait_online(nodes, 12, 15)
    check_named(nodes, "client-server")
    notify(agents[2], "from an agent")
    spread = wait_event(nodes, "from an agent", 5)
    for server in servers[:2]:  # the seed among them
        server.kill()
    living = servers[2:] + agents
    moved = wait_links(living, holds(servers[2:]), 10, "agents did not fall over")
    notify(agents[5], "by other ways")
    wait_event(living, "by other ways", 5)
    wait_online(living, 10, 15)
    for server in servers[:2]:
        server.start()
    back = wait_links(nodes, holds(servers), 30, "agents do not use who came back")
    wait_event(servers[:2], "by other ways", 15)
    return ("every agent with 3 of 4 aggregators and no agent after %.2f s, an agent's event on "
            "all after %.2f s; 2 aggregators killed: fell over in %.2f s; back: %.2f s"
            % (formed, spread, moved, back))


def strategy_static(bed, full):
    """A chain of Seeds stays a chain: killed in the middle it is two, restarted it is one."""
    strategy = block("static")
    nodes = [bed.daemon("n%d" % i, block=strategy) for i in range(5)]
    for before, node in zip(nodes, nodes[1:]):
        node.seeds = [before.address]
    for node in reversed(nodes):  # those that dial are there first
        node.start()
    chain = {n.name: {m.name for m in nodes[max(i - 1, 0):i + 2]} - {n.name}
             for i, n in enumerate(nodes)}
    formed = wait_links(nodes, lambda t: t == chain, 20, "no chain")
    wait_online(nodes, 5, 20)
    check_named(nodes, "static")
    notify(nodes[4], "along the chain")
    spread = wait_event(nodes, "along the chain", 5)
    middle, rest = nodes[2], nodes[:2] + nodes[3:]
    middle.kill()
    broken = {name: views - {middle.name} for name, views in chain.items() if name != middle.name}
    wait_links(rest, lambda t: t == broken, 10, "not two halves")
    notify(nodes[0], "in one half")
    wait_event(nodes[:2], "in one half", 5)
    middle.start()
    mended = wait_links(nodes, lambda t: t == chain, 20, "no chain again")
    wait_event(nodes, "in one half", 70)
    check(all(n.status()["counters"].get("shuffle_sent", 0) == 0 for n in nodes), "it shuffles")
    return ("5 in a chain after %.2f s and nobody else linked, an event on all after %.2f s; the "
            "middle killed: two halves, nobody replaced it; a chain again %.2f s after its restart"
            % (formed, spread, mended))


def strategy_mixed(bed, full):
    """All four strategies in one mesh: nobody is cut off, also when one of each is killed."""
    words = ["hyparview", "full", "client-server", "static"]
    nodes = []
    for i in range(12):
        role = "aggregator" if i < 4 else "agent"
        nodes.append(bed.daemon("n%02d" % i, role=role, block=block(words[i % 4]),
                                seeds=[nodes[0].address] if nodes else []))
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.wait_ready()
    formed = wait_mesh(nodes, 30)
    wait_online(nodes, 12, 30)
    for i, node in enumerate(nodes[4:8]):
        notify(node, "from %s" % words[i])
    for word in words:
        wait_event(nodes, "from %s" % word, 10)
    living = nodes[:4] + nodes[8:]
    for node in nodes[4:8]:
        node.kill()
    mended = wait_mesh(living, 15, symmetric=False)
    notify(living[-1], "after all")
    wait_event(living, "after all", 10)
    wait_online(living, 8, 15)
    return ("3 daemons of each of 4 strategies are one mesh after %.2f s, events of each on all; "
            "one of each killed: one mesh after %.2f s" % (formed, mended))


def zones(bed, full):
    """Two zones: all but two of a node's neighbors come to be near; then a zone dies."""
    nodes = []
    for i in range(16):
        zone = 'Zone "%s/rack%d"\n<Membership>\nShuffleInterval 0.2\n</Membership>\n' \
            % ("eu" if i % 2 else "us", i % 3)
        nodes.append(bed.daemon("n%02d" % i, block=zone,
                                seeds=[nodes[0].address] if nodes else []))
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, 16, 20)

    def near(node):
        active = node.peers()["active"]
        check(len([p for p in active if p["near"]]) <= 3, "%s has too many near links" % node.name)
        return [p for p in active if p["near"]]
    since, last, wanted = time.monotonic(), {}, 32 if full else 16

    def chosen():
        last["n"] = [near(n) for n in nodes]
        return sum(len(n) for n in last["n"]) >= wanted
    wait_for(chosen, 60, lambda: "only %d near ends of links" % sum(len(n) for n in last["n"]))
    formed = time.monotonic() - since
    for node in nodes:
        own = node.status()["zone"].split("/")[0]
        check(all(p["zone"].split("/")[0] == own for p in near(node)),
              "%s takes one of another zone for near" % node.name)
    gone, living = nodes[::2], nodes[1::2]
    for node in gone:
        node.kill()
    mended = wait_mesh(living, 10, symmetric=False)
    notify(living[0], "zone gone")
    wait_event(living, "zone gone", 10)
    wait_online(living, 8, 15)
    return ("%d or more of 80 ends of links chosen for their zone after %.2f s, never more than 3 "
            "of a node; a zone of 8 killed: one mesh after %.2f s" % (wanted, formed, mended))


SCENARIOS = [strategy_full, strategy_client_server, strategy_static, strategy_mixed, zones]
