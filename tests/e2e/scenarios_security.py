"""Who may do what: records that an operator orders away, and keys of operators that are
revoked."""

from bed import check, wait_for, wait_mesh, wait_online
from pushed import (Operator, apply_block, push, push_code, wait_applied, wait_no_worker,
                    wait_rows, worker)

LOAD = "LoadPlugin load\n"
UPTIME = "LoadPlugin uptime\n"


def trusting_mesh(bed, count, *operators):
    """Nodes whose configuration trusts these operators."""
    bed.need_plugins("load", "uptime")
    nodes = bed.mesh(count, block=apply_block(*operators, Probation=1))
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, count, 20)
    wait_mesh(nodes, 20)
    return nodes


def operators_of(node):
    """{fingerprint: its row}"""
    return {row["fingerprint"]: row for row in node.ctl("operators", "list")["operators"]}


def refused(node, code, *arguments):
    """The call fails with that code in its JSON; the message."""
    exit_code, out, err = node.ctl_code(*arguments)
    check(exit_code == 1, "%s: exit %d, %s%s" % (arguments, exit_code, out, err))
    check('"code":"%s"' % code in out.replace(" ", ""), "%s says %s" % (arguments, out))
    return err.strip()


# ----------------------------------------------------------------- forget

def knows(node, name):
    return any(m["name"] == name for m in node.members())


def forget(bed, full):
    """A node that is gone is forgotten everywhere, also by who was down then; it comes
    back when it lives."""
    anna, bert = Operator(bed, "anna"), Operator(bed, "bert")
    stranger = Operator(bed, "stranger")
    nodes = trusting_mesh(bed, 5, anna, bert)
    gone, away = nodes[4], nodes[3]

    said = refused(nodes[0], "refused", "forget", gone.name, "--key", anna.key)
    check("online" in said, "a node that lives: %s" % said)
    gone.kill()
    wait_for(lambda: any(m["name"] == gone.name and m["state"] == "offline"
                         for m in nodes[0].members()), 30, "the dead node is not offline")
    wait_for(lambda: any(m["name"] == gone.name and m["state"] == "offline"
                         for m in away.members()), 30, "the dead node is not offline")
    away.stop()
    refused(nodes[0], "refused", "forget", gone.name, "--key", stranger.key)
    refused(nodes[0], "not-found", "forget", "nobody", "--key", anna.key)
    check(nodes[0].ctl_code("forget", gone.name)[0] == 2, "forget without --key")
    check(nodes[0].ctl("forget", gone.name, "--key", anna.key)["version"] == 1, "not version 1")
    for node in nodes[:3]:
        wait_for(lambda n=node: not knows(n, gone.name), 10,
                 lambda n=node: "%s still lists it" % n.name)
    refused(nodes[1], "not-found", "forget", gone.name, "--key", bert.key)

    away.start()
    wait_for(lambda: not knows(away, gone.name), 20, "the node that was down still lists it")
    wait_online(nodes[:4], 4, 20)
    for node in nodes[:4]:
        check(not knows(node, gone.name), "it came back on %s" % node.name)
    gone.start()
    wait_online(nodes, 5, 30)

    gone.kill()  # and once more, by another operator, who carries the order on
    for node in nodes[:2]:
        wait_for(lambda n=node: any(m["name"] == gone.name and m["state"] == "offline"
                                    for m in n.members()), 30, "it is not offline again")
    check(nodes[1].ctl("forget", gone.name, "--key", bert.key)["version"] == 2, "not version 2")
    for node in nodes[:4]:
        wait_for(lambda n=node: not knows(n, gone.name), 10,
                 lambda n=node: "%s still lists it" % n.name)
    return "gone from four lists, one of them read from an old disk; back when it lived; again"


# ----------------------------------------------------------------- revoke

def revoke(bed, full):
    """What a revoked key signed stops on every node, pushes by it are refused, also after
    a restart; the bundles of others run on."""
    anna, bert = Operator(bed, "anna"), Operator(bed, "bert")
    nodes = trusting_mesh(bed, 4, anna, bert)
    push(nodes[0], bert, "theirs", LOAD)
    push(nodes[1], anna, "ours", UPTIME)
    wait_applied(nodes[2], "theirs", 1, who=nodes)
    wait_applied(nodes[3], "ours", 1, who=nodes)
    for node in nodes:  # what is on trial when a daemon dies is not tried again
        wait_for(lambda n=node: all((worker(n, b) or {}).get("state") == "good"
                                    for b in ("theirs", "ours")), 20,
                 lambda n=node: "%s: %s" % (n.name, n.status()["workers"]))
    known = operators_of(nodes[2])
    check(len(known) == 2 and all(row["trusted"] for row in known.values()), "known: %s" % known)
    bad = next(f for f, row in known.items() if row["bundles"] == ["theirs"])
    good = next(f for f, row in known.items() if row["bundles"] == ["ours"])

    away = nodes[3]
    away.kill()
    refused(nodes[0], "not-found", "operators", "revoke", "0123456789abcdef", "--key", anna.key)
    code = nodes[0].ctl_code("operators", "revoke", bad[:6], "--key", anna.key)[0]
    check(code == 0, "revoke: exit %d" % code)
    for node in nodes[:3]:
        wait_no_worker(node, "theirs")
    text = "the key %s of its operator was revoked" % bad
    wait_rows(nodes[1], "theirs", lambda r: r["state"] == "refused" and r["running"] == 0
              and r["error"] == text, 15, who=nodes[:3])
    away.start()
    wait_rows(away, "theirs", lambda r: r["state"] == "refused" and r["running"] == 0
              and r["error"] == text, 30)
    wait_no_worker(away, "theirs")
    for node in nodes:
        row = operators_of(node)[bad]
        check(row["revoked"] and not row["trusted"], "%s says %s" % (node.name, row))

    def all_refuse():
        for node in nodes:
            for name in ("theirs", "new"):
                code, out, err = push_code(node, bert, name, LOAD)
                check(code == 1 and "was revoked" in err, "a push at %s: exit %d, %s"
                      % (node.name, code, (out + err).strip()))
            refused(node, "refused", "operators", "revoke", good, "--key", bert.key)
            refused(node, "revoked", "operators", "revoke", bad, "--key", anna.key)
    all_refuse()
    for node in nodes:
        node.kill()
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, 4, 30)
    all_refuse()
    wait_applied(nodes[0], "ours", 1, 30, who=nodes)
    check(push(nodes[2], anna, "ours", LOAD) == 2, "the other operator cannot push")
    wait_applied(nodes[0], "ours", 2, 30, who=nodes)
    wait_rows(nodes[2], "theirs", lambda r: r["state"] == "refused" and r["running"] == 0
              and r["error"] == text, 15, who=nodes)
    check(push(nodes[3], anna, "theirs", UPTIME) == 2, "the name cannot be taken over")
    wait_applied(nodes[1], "theirs", 2, 30, who=nodes)
    return "stopped and refused on 4 nodes, one of them down at the order, also after a restart"


SCENARIOS = [forget, revoke]
