"""Who may do what: records that an operator orders away, and keys of operators that are
revoked."""

import os
import shutil
import subprocess

from bed import ARGUSCTL, check, wait_for, wait_mesh, wait_online
from pushed import (Operator, apply_block, push, push_code, wait_applied, wait_no_worker,
                    wait_rows, worker)
from scenarios_data import replay_nodes, stop_and_compare, wait_replayed

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


# ----------------------------------------------------------------- rotation

# What would count a link that was refused, or that ended for want of a key.
REFUSALS = ("handshakes_failed", "hellos_refused", "links_rekeyed_out")


def keys_of(node):
    """{id: its row}"""
    return {row["id"]: row for row in node.ctl("keys", "list")["keys"]}


def refusals(nodes):
    return {(n.name, name): value for n in nodes
            for name, value in n.status()["counters"].items()
            if name.endswith(REFUSALS) and value}


def lines_of(path):
    with open(path) as f:
        return [line for line in f.read().splitlines() if line and not line.startswith("#")]


def rotation(bed, full):
    """A key is added, used, and the old one removed, while values and events flow: no link
    is refused, no value lost, and who has the old key alone stays outside."""
    operator, seconds = Operator(bed), 40 if full else 20
    old, old_id = bed.new_mesh_key("old.key")
    new, new_id = bed.new_mesh_key("new.key")
    (old_line,), (new_line,) = lines_of(old), lines_of(new)

    def prepare(d):
        d.keys = os.path.join(bed.dir, d.name + ".keys")
        shutil.copy(old, d.keys)
        d.security = 'KeyFile "%s"' % d.keys
        d.block = apply_block(operator)
    aggregators, agents = replay_nodes(bed, seconds, rate=4000, prepare=prepare)
    others = [bed.daemon("other%02d" % i, seeds=[aggregators[0].address])
              for i in range(26 if full else 2)]
    for d in others:
        prepare(d)
        d.spawn()
    for d in others:
        d.wait_ready()
    nodes = aggregators + agents + others
    wait_online(nodes, len(nodes), 40)
    wait_for(lambda: keys_of(nodes[0])[old_id]["nodes"] == len(nodes), 20,
             lambda: "the first key: %s" % keys_of(nodes[0]))
    check(keys_of(nodes[0])[old_id]["links"] > 0, "no link by the first key")
    before = refusals(nodes)

    key = ("--key", operator.key, "--wait=30")
    refused(nodes[1], "refused", "keys", "remove", old_id, *key)
    refused(nodes[1], "not-found", "keys", "use", new_id, *key)
    nodes[2].ctl("keys", "add", new, *key)
    check(all(keys_of(nodes[3])[i]["nodes"] == len(nodes) for i in (old_id, new_id)),
          "added: %s" % keys_of(nodes[3]))
    refused(nodes[0], "known", "keys", "add", new, *key)
    nodes[4].ctl("keys", "use", new_id[:4], *key)
    row = keys_of(nodes[5])[new_id]
    check(row["dialing"] == len(nodes) and row["dial"], "used: %s" % row)
    said = refused(nodes[3], "refused", "keys", "remove", new_id, *key)
    check("dial" in said, "the removal of what is used: %s" % said)
    nodes[1].ctl("keys", "remove", old_id, *key)
    check(old_id not in keys_of(nodes[2]), "removed: %s" % keys_of(nodes[2]))
    for node in nodes:
        check(lines_of(node.keys) == [new_line], "%s of %s" % (lines_of(node.keys), node.name))
        check(set(keys_of(node)) == {new_id}, "%s knows %s" % (node.name, keys_of(node)))
    # Links that were up live on, so nobody needs a new one; some come by and by.
    wait_for(lambda: any(keys_of(n)[new_id]["links"] > 0 for n in nodes), 40,
             "there is no link by the new key")

    after = {what: value for what, value in refusals(nodes).items()
             if value != before.get(what, 0)}
    check(not after, "links were refused: %s" % after)
    late = bed.daemon("late", seeds=[nodes[0].address], security='KeyFile "%s"' % old).start()
    late.wait_log("does not have key %s" % old_id)
    check(late.status()["members"]["online"] == 1, "the old key still lets somebody in")
    late.stop()
    wait_online(nodes, len(nodes), 10)
    gone = [line for n in nodes for line in n.log_text().splitlines() if " is offline" in line]
    check(not gone, "nodes were lost meanwhile: %s" % gone[:3])
    wait_replayed(agents, seconds)
    restarted = nodes[-1]  # an order holds after a restart, whatever the file says
    restarted.stop()
    with open(restarted.keys, "w") as f:
        f.write("%s\n%s\n" % (new_line, old_line))
    restarted.start()
    wait_for(lambda: lines_of(restarted.keys) == [new_line], 20,
             lambda: "the file holds %s" % lines_of(restarted.keys))
    wait_online(nodes, len(nodes), 30)
    done, figures = stop_and_compare(aggregators, agents)
    check(done.returncode == 0, figures)
    return "on %d daemons, none refused; %s" % (len(nodes), figures)


def key_requests(bed, full):
    """What is asked of a node without a keyring, or by somebody who may not."""
    operator = Operator(bed)
    new, new_id = bed.new_mesh_key("new.key")
    plain = bed.daemon("plain", security="AllowPlaintext true",
                       block=apply_block(operator)).start()
    for words in (("list",), ("add", new, "--key", operator.key),
                  ("use", new_id, "--key", operator.key)):
        said = refused(plain, "refused", "keys", *words)
        check("KeyFile" in said, "keys %s says %s" % (words[0], said))
    node = bed.daemon("node", block=apply_block(operator)).start()
    if os.geteuid() == 0:
        # Nobody may not even ask, unless the file lets him; then it depends on what.
        os.chmod(bed.dir, 0o755)
        os.chmod(node.base, 0o755)
        os.chmod(node.socket, 0o666)
        shutil.copy(new, new + ".shown")
        shutil.copy(operator.key, operator.key + ".shown")
        for path in (new + ".shown", operator.key + ".shown"):
            os.chmod(path, 0o644)

        def nobody(*words):
            return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                   ARGUSCTL, "-s", node.socket, "--json"] + list(words),
                                  capture_output=True, text=True)
        done = nobody("keys", "list")
        check(done.returncode == 0, "keys list as nobody: %s" % done.stderr)
        done = nobody("keys", "add", new + ".shown", "--key", operator.key + ".shown")
        check(done.returncode == 1 and "root or the daemon's own user" in done.stderr,
              "keys add as nobody: exit %d, %s" % (done.returncode, done.stderr))
    check(node.ctl("keys", "add", "--file", new, "--key", operator.key, "--wait=10")["id"] == new_id,
          "keys add as root")
    return "a plain node says that it has no keyring; nobody may list keys and not add one"


SCENARIOS = [forget, revoke, key_requests, rotation]
BUSY = [rotation]
