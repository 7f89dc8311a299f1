"""The mesh: forming, spreading events, losing half, healing a split."""

import os
import random
import signal
import subprocess
import time

from bed import (Failure, check, notify, parse_time, pause, quantile, run,
                 wait_event, wait_for, wait_mesh, wait_online)

NODES = 32


def lone_daemon(bed, full):
    """LoadPlugin argus and no block at all."""
    d = bed.daemon("lone", bare=True).start()
    status = d.status()
    check(status["state"] == "alone", "state is %s" % status["state"])
    check(status["members"]["online"] == 1, "members: %s" % status["members"])
    check(d.ctl_code("status")[0] == 0, "status of a lone node must exit 0")
    line = d.wait_log("loopback")
    return "alone, says: %s" % line.split("argus", 1)[-1].strip(" :")[:90]


def form_once(bed, count=NODES):
    nodes = bed.mesh(count)
    last = nodes[-1].started_at
    for node in nodes:
        node.wait_ready()
    known = wait_online(nodes, count, 20, since=last)
    joined = wait_mesh(nodes, 20, since=last)
    states = [n.status()["state"] for n in nodes]
    check(set(states) == {"joined"}, "states: %s" % states)
    names = {n.name for n in nodes}
    for node in nodes:
        check({m["name"] for m in node.members()} == names, "%s lacks members" % node.name)
    return nodes, known, joined


def form(bed, full):
    """32 daemons, one seed, all known everywhere in 5 s; then without it."""
    from bed import Bed
    times = []
    for _ in range(4 if full else 0):
        with Bed() as other:
            _, known, joined = form_once(other)
            times.append(max(known, joined))
    nodes, known, joined = form_once(bed)
    times.append(max(known, joined))
    check(max(times) <= 5.0, "known everywhere only after %s s"
          % ["%.2f" % t for t in times])
    nodes[0].kill()
    late = bed.daemon("late", seeds=[random.choice(nodes[1:]).address]).start()
    wait_for(lambda: late.status()["state"] == "joined", 10, "a late node does not join")
    wait_online([late], NODES, 20)
    return ("all of %d known everywhere, every link symmetric: %s s after the last start; "
            "a late node joined without the seed"
            % (NODES, " ".join("%.2f" % t for t in times)))


def counter_sum(nodes, name):
    return sum(n.status()["counters"].get(name, 0) for n in nodes)


def events(bed, full):
    """200 notifications from 8 nodes: latency everywhere, duplicates."""
    nodes, _, _ = form_once(bed)
    for i in range(10):
        notify(nodes[i % 8], "warm %d" % i)
    wait_event(nodes, "warm 9", 10)
    counters = ("gossip_delivered", "gossip_duplicate")
    for name in counters:
        check(name in nodes[0].status()["counters"], "status has no counter %s" % name)
    before = [counter_sum(nodes, c) for c in counters]
    for i in range(200):
        notify(nodes[i % 8], "event %d" % i)
        pause(0.02)  # a storm is another test
    wait_event(nodes, "event 199", 10)
    wanted = {"event %d" % i for i in range(200)}
    latency = []
    for node in nodes:
        mine = [e for e in node.events() if e["message"] in wanted]
        check(len(mine) == 200 and {e["message"] for e in mine} == wanted,
              "%s has %d of 200 events" % (node.name, len(mine)))
        stamps = [e["hlc"] for e in mine]
        check(stamps == sorted(stamps), "%s: not in HLC order" % node.name)
        latency += [parse_time(e["received"]) - parse_time(e["time"]) for e in mine]
    after = [counter_sum(nodes, c) for c in counters]
    delivered, duplicate = after[0] - before[0], after[1] - before[1]
    check(delivered > 0, "nothing was delivered")
    share = duplicate / delivered
    p50, p99 = quantile(latency, 0.5), quantile(latency, 0.99)
    figures = ("%d (event, node) pairs: p50 %.1f ms, p99 %.1f ms, max %.1f ms; "
               "duplicates %.2f %% of %d deliveries"
               % (len(latency), p50 * 1e3, p99 * 1e3, max(latency) * 1e3, share * 100, delivered))
    check(p50 <= 0.020 and p99 <= 0.100 and share <= 0.05, figures)
    return figures


def half(bed, full):
    """16 of 32 die at once."""
    nodes, _, _ = form_once(bed)
    random.shuffle(nodes)
    dead, alive = nodes[:16], nodes[16:]
    for node in dead:
        node.send(signal.SIGKILL)
    since = time.monotonic()
    mended = wait_mesh(alive, 5, since, symmetric=False)
    for i in range(10):
        text = "after %d" % i
        notify(alive[i % len(alive)], text)
        wait_event(alive, text, 5)
    known = wait_online(alive, 16, 12, since)
    # Nodes exchange neighbors now and then: a link may be young in any one look.
    wait_mesh(alive, 10)
    return ("one mesh of 16 after %.2f s, 10 of 10 notifications reached all, "
            "status says 16 online after %.2f s" % (mended, known))


# Two namespaces that meet in a third one, which forwards or silently drops.

def split_network(bed):
    tag = "argus%d" % (os.getpid() % 100000)
    a, b, middle = tag + "a", tag + "b", tag + "m"
    for name in (a, b, middle):
        bed.netns(name)
    for side, net in ((a, 1), (b, 2)):
        inner, outer = "in%d" % net, "out%d" % net
        run("ip", "-n", side, "link", "add", inner, "type", "veth", "peer", "name", outer,
            "netns", middle)
        run("ip", "-n", side, "addr", "add", "10.77.%d.2/24" % net, "dev", inner)
        run("ip", "-n", middle, "addr", "add", "10.77.%d.1/24" % net, "dev", outer)
        run("ip", "-n", side, "link", "set", inner, "up")
        run("ip", "-n", middle, "link", "set", outer, "up")
        run("ip", "-n", side, "route", "add", "default", "via", "10.77.%d.1" % net)
    return a, b, middle


def forward(middle, on):
    """Packets that are not forwarded vanish: no reset, no ICMP."""
    run("ip", "netns", "exec", middle, "sh", "-c",
        "echo %d > /proc/sys/net/ipv4/ip_forward" % on)


def partition(bed, full):
    """16 + 16 daemons, every packet between them dropped for 60 s."""
    dropped_s = 60 if full else 10
    a, b, middle = split_network(bed)
    forward(middle, 1)
    nodes = []
    for i in range(NODES):
        side, host = (a, "10.77.1.2") if i < NODES // 2 else (b, "10.77.2.2")
        nodes.append(bed.daemon("n%02d" % i, netns=side, host=host,
                                seeds=[nodes[0].address] if nodes else []))
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, NODES, 20)
    wait_mesh(nodes, 20)

    forward(middle, 0)
    cut = time.monotonic()
    apart = None
    while time.monotonic() - cut < dropped_s:
        if apart is None and all(n.status()["members"]["online"] == NODES // 2 for n in nodes):
            apart = time.monotonic() - cut
        pause(0.5)
    halves = [nodes[:NODES // 2], nodes[NODES // 2:]]
    for side in halves:
        wait_mesh(side, 10, symmetric=False)
    forward(middle, 1)
    healed = wait_mesh(nodes, 30, symmetric=False)
    notify(nodes[0], "healed")
    spread = wait_event(nodes, "healed", 10)
    known = wait_online(nodes, NODES, 60)
    return ("%d s of silence (each half saw 16 online after %s); one mesh %.2f s after its "
            "end, next notification on all %d in %.2f s, 32 online everywhere %.2f s later"
            % (dropped_s, "%.1f s" % apart if apart else "more", healed, NODES, spread, known))


SCENARIOS = [lone_daemon, form, events, half, partition]
ALONE = [form, events, half]
