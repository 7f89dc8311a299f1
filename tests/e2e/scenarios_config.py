"""Pushed configuration in the mesh: the round of an operator, how fast it is, who was
away, what a reboot brings, two operators at once, and what is refused at push."""

import os
import random
import re
import subprocess
import time

from bed import (ARGUSCTL, check, parse_time, pause, wait_for, wait_mesh, wait_online)
from journal import Journal
from pushed import (ENDS, Operator, apply_block, apply_now, config_status, journal_plugin, lone,
                    push, push_code, remove, rows, wait_applied, wait_end, wait_no_worker,
                    wait_rows, wait_value, worker, write_bundle)

NODES = 32
LOAD = "LoadPlugin load\n"


def applying_mesh(bed, count, operators, plugins=True, **options):
    """Nodes that apply what the operators push; each has a journal."""
    bed.need_built("tests/plugins/journal.so")
    bed.need_plugins("load", "memory", "uptime")
    nodes = [bed.daemon("n%02d" % i, block=apply_block(*operators, **options))
             for i in range(count)]
    for node in nodes:
        node.seeds = [nodes[0].address] if node is not nodes[0] else []
        if plugins:
            node.plugins = journal_plugin(node.base + "/journal", passes=True)
        node.spawn()
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, count, 20)
    wait_mesh(nodes, 20)
    return nodes


def listed(node, name):
    """The row of config list, or None."""
    return next((b for b in node.ctl("config", "list", codes=(0, 3))["bundles"]
                 if b["name"] == name), None)


def shown(node, name):
    code, out, err = node.ctl_code("config", "show", name, as_json=False)
    check(code == 0, "config show %s: exit %d: %s" % (name, code, err.strip()))
    return out


# -------------------------------------------------------------- the round

def operator_round(bed, full):
    """push, list, show, diff, status, rollback, remove, push again."""
    operator = Operator(bed)
    done = subprocess.run([ARGUSCTL, "keygen", "operator", operator.key], capture_output=True)
    check(done.returncode != 0, "keygen overwrites a key")
    check(os.stat(operator.key).st_mode & 0o077 == 0, "others may read the private key")
    nodes = applying_mesh(bed, 3, [operator], Probation=1)
    one, two = LOAD, LOAD + "LoadPlugin uptime\n"

    check(push(nodes[0], operator, "base", one) == 1, "the first version is not 1")
    wait_applied(nodes[2], "base", 1, who=nodes)
    check(shown(nodes[1], "base") == one, "the text is another: %r" % shown(nodes[1], "base"))
    check(push(nodes[1], operator, "base", two) == 2, "the second version is not 2")
    wait_applied(nodes[0], "base", 2, who=nodes)
    check(shown(nodes[2], "base@1") == one and shown(nodes[2], "base@2") == two, "wrong texts")
    diff = nodes[2].ctl_code("config", "diff", "base", "1", "2", as_json=False)[1]
    check("+LoadPlugin uptime" in diff.splitlines(), "the diff is %r" % diff)
    row = listed(nodes[2], "base")
    check(row["version"] == 2, "listed: %s" % row)

    status = config_status(nodes[1], "base")
    check(status["version"] == 2 and status["state"] == "complete", "status: %s" % status)
    check(status["totals"].get("applied") == 3, "totals: %s" % status["totals"])
    check(nodes[1].ctl_code("config", "status", "base")[0] == 0, "status does not exit 0")
    members = {m["name"]: m["bundles"] for m in nodes[1].members()}
    check(all(members[n.name] == {"base": 2} for n in nodes), "members say %s" % members)
    check(worker(nodes[0], "base")["version"] == 2, "worker: %s" % nodes[0].status()["workers"])

    nodes[2].ctl("config", "rollback", "base", "--key", operator.key)
    wait_applied(nodes[0], "base", 3, who=nodes)
    check(shown(nodes[0], "base") == one, "the rollback did not bring version 1 back")
    nodes[2].ctl("config", "rollback", "base", "--to", "2", "--key", operator.key)
    wait_applied(nodes[0], "base", 4, who=nodes)
    check(shown(nodes[0], "base") == two, "the rollback did not bring version 2 back")

    remove(nodes[0], operator, "base")
    for node in nodes:
        wait_no_worker(node, "base")
        wait_for(lambda n=node: (listed(n, "base") or {}).get("state") == "removed", 10,
                 lambda n=node: "%s lists %s" % (n.name, listed(n, "base")))
    check(config_status(nodes[1], "base")["state"] == "removed", "not removed by status")
    check(push(nodes[2], operator, "base", one) == 6, "versions do not go on after a removal")
    wait_applied(nodes[1], "base", 6, who=nodes)
    return "versions 1..6 on three nodes, each step asked for at another node"


def targets(bed, full):
    """Only those run a bundle whom its target means; the others know it."""
    operator = Operator(bed)
    nodes = applying_mesh(bed, 3, [operator], Probation=1)
    push(nodes[0], operator, "few", LOAD, "--target", "name=n01;name=n02")
    wait_applied(nodes[0], "few", 1, who=nodes[1:])
    check(set(rows(nodes[0], "few")) == {"n01", "n02"}, "status: %s" % rows(nodes[0], "few"))
    check(worker(nodes[0], "few") is None, "n00 runs it too")
    version = push(nodes[2], operator, "few", LOAD, "--target", "name=n0?,role=agent")
    wait_applied(nodes[0], "few", version, who=nodes)
    version = push(nodes[2], operator, "few", LOAD, "--target", "name=n00")
    wait_applied(nodes[1], "few", version, who=nodes[:1])
    for node in nodes[1:]:
        wait_no_worker(node, "few")
    return "2 of 3, all 3, then 1 of 3: who is no longer meant stops it"


# ---------------------------------------------------------------- how fast

def padded(text, size, incompressible=False):
    """The text with comments, `size` bytes in all."""
    lines, room = [], size - len(text)
    while room > 0:
        line = "# " + ("%x" % random.getrandbits(300) if incompressible else "x" * 75)
        line = line[:min(77, room - 1)] + "\n"
        lines.append(line)
        room -= len(line)
    return text + "".join(lines)


def wait_everywhere(asker, nodes, name, version, limit_s, since):
    def all_applied():
        status = config_status(asker, name)
        return status["version"] == version and status["totals"].get("applied") == len(nodes)
    wait_for(all_applied, limit_s,
             lambda: "%s: %s" % (config_status(asker, name)["totals"],
                                 [r for r in rows(asker, name).values()
                                  if r["state"] != "applied"][:2]))
    return time.monotonic() - since


def known_everywhere(nodes, name, version, since):
    """Until manifest and content are on each; seconds, less what the asking itself
    takes: a second round over all nodes, which finds nothing to wait for."""
    def ask_all():
        for node in nodes:
            wait_for(lambda n=node: (lambda r: r and r["version"] == version
                                     and r.get("complete", True))(listed(n, name)), 10,
                     lambda n=node: "%s: %s" % (n.name, listed(n, name)))
    ask_all()
    took = time.monotonic() - since
    since = time.monotonic()
    ask_all()
    return max(took - (time.monotonic() - since), 0.0)


def speed(bed, full):
    """32 daemons, interval 1 s: from push to applied everywhere, and the mesh's part."""
    operator = Operator(bed)
    nodes = applying_mesh(bed, NODES, [operator], plugins=False)
    asker, results, mesh = nodes[7], [], []
    for size, limit in ((1 << 10, 3.0), (64 << 10, 5.0), (1 << 20, 60.0)):
        text = padded(LOAD, size, True)
        since = time.monotonic()
        version = push(nodes[size % 5], operator, "fast", text)
        took = wait_everywhere(asker, nodes, "fast", version, 60, since)
        check(took <= limit, "%d bytes are applied everywhere after %.2f s" % (size, took))
        results.append("%d KiB %.2f s" % (size >> 10, took))
    for size in (1 << 10, 64 << 10):
        since = time.monotonic()
        version = push(nodes[size % 3], operator, "quiet", padded(LOAD, size, True), "--target",
                       "name=n00")
        mesh.append(known_everywhere(nodes, "quiet", version, since))
    check(mesh[0] <= 0.5, "manifest and content are known everywhere after %.2f s" % mesh[0])
    return ("applied on all %d: %s; known everywhere: 1 KiB %.2f s, 64 KiB %.2f s"
            % (NODES, ", ".join(results), mesh[0], mesh[1]))


# ------------------------------------------------------------------- absence

def absence(bed, full):
    """A node that was down gets what was pushed meanwhile; what was removed meanwhile
    does not come back with it."""
    operator = Operator(bed)
    nodes = applying_mesh(bed, 4, [operator], Probation=1)
    push(nodes[0], operator, "kept", LOAD)
    push(nodes[0], operator, "gone", "LoadPlugin uptime\n")
    for name in ("kept", "gone"):
        wait_applied(nodes[1], name, 1, who=nodes)
    nodes[3].kill()
    push(nodes[0], operator, "kept", "# changed\n" + LOAD)
    push(nodes[0], operator, "new", padded("LoadPlugin memory\n", 200000, True), "--target",
         "name=n03")
    remove(nodes[1], operator, "gone")
    wait_applied(nodes[1], "kept", 2, who=nodes[:3])
    for node in nodes[:3]:
        wait_no_worker(node, "gone")
    nodes[3].start()
    since = time.monotonic()
    wait_applied(nodes[3], "kept", 2, 30)
    took = time.monotonic() - since
    wait_for(lambda: (listed(nodes[3], "gone") or {}).get("state") == "removed", 30,
             lambda: "the returned node lists %s" % listed(nodes[3], "gone"))
    wait_no_worker(nodes[3], "gone")
    wait_rows(nodes[3], "new", lambda r: r["state"] in ENDS, 30)
    # Its digest met theirs by now, in both directions.
    for node in nodes:
        check(listed(node, "gone")["state"] == "removed", "it came back on %s" % node.name)
    return "back for %.1f s when it ran the new version; the removed one stayed away" % took


def reboot(bed, full):
    """The last good version starts alone, with no other node there."""
    operator = Operator(bed)
    nodes = applying_mesh(bed, 2, [operator], Probation=1)
    push(nodes[0], operator, "base", LOAD)
    wait_applied(nodes[0], "base", 1, who=nodes)
    wait_good(nodes[1], "base", 1)
    for node in nodes:
        node.kill()
    journal = Journal(nodes[1].base + "/journal").forget()
    since = time.monotonic()
    nodes[1].start()
    wait_value(journal, lambda v: "/load/load" in v.name, 10, "no value after the reboot")
    took = time.monotonic() - since
    status = nodes[1].status()
    check(status["state"] in ("alone", "isolated"), "it is %s" % status["state"])
    wait_applied(nodes[1], "base", 1)
    return "first value %.2f s after the start, %s" % (took, status["state"])


def wait_good(node, bundle, version, limit_s=40):
    """Until the version has passed its probation."""
    wait_for(lambda: (lambda w: w and w["version"] == version and w["state"] == "good"
                      )(worker(node, bundle)), limit_s,
             lambda: "%s: %s" % (node.name, node.status()["workers"]))


def died_on_trial(bed, full):
    """A version that was on trial when the machine died is not tried again by itself."""
    bed.need_built("tests/plugins/naughty.so")
    node, operator, journal = lone(bed, stock=["load"])
    apply_now(node, operator, "base", LOAD)
    wait_good(node, "base", 1)
    push(node, operator, "base", 'LoadPlugin naughty\n<Plugin naughty>\n  Mode "hang-init"\n'
         '</Plugin>\n')
    wait_rows(node, "base", lambda r: r["desired"] == 2 and r["state"] == "applying"
              and r["running"] == 1, 10)
    node.kill()
    node.start()
    row = wait_rows(node, "base", lambda r: r["state"] == "rolled-back" and r["running"] == 1,
                    15)[0]
    check(row["desired"] == 2 and row["error"], "the row is %s" % row)
    journal.forget()
    wait_value(journal, lambda v: "/load/load" in v.name, 10, "version 1 does not run")
    node.stop()  # an orderly stop does not make it tried either
    node.start()
    wait_rows(node, "base", lambda r: r["state"] == "rolled-back" and r["running"] == 1, 15)
    apply_now(node, operator, "base", "# mended\n" + LOAD)
    return "version 1 runs, version 2 is not tried (%s), version 3 runs" % row["error"][:70]


# -------------------------------------------------------------- two at once

def popen_push(bed, node, operator, name, text, *options):
    return bed.child([ARGUSCTL, "-s", node.socket, "--json", "config", "push",
                      write_bundle(node, name, text), "--name", name, "--key", operator.key]
                     + list(options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def two_operators(bed, full):
    """Two push at once at different nodes: one wins everywhere, the other is told."""
    operators = [Operator(bed, "anna"), Operator(bed, "bert")]
    nodes = applying_mesh(bed, 4, operators, Probation=1)
    rounds, direct, winners = 6 if full else 3, 0, []
    for i in range(rounds):
        name = "race%d" % i
        texts = ["# of %s, %d\nLoadPlugin %s\n" % (who, i, plugin)
                 for who, plugin in (("anna", "load"), ("bert", "load"))]
        pushes = [popen_push(bed, nodes[3 * k], operators[k], name, texts[k], "--wait=20")
                  for k in (0, 1)]
        ends = [p.communicate(timeout=40) for p in pushes]
        codes = [p.returncode for p in pushes]
        check(sorted(codes) == [0, 1], "exit codes %s: %s" % (codes, ends))
        loser = codes.index(1)
        check("superseded" in ends[loser][0], "the loser is told %s" % (ends[loser],))
        for node in nodes:
            wait_for(lambda n=node: shown(n, name) == texts[1 - loser], 10,
                     lambda n=node: "%s has the loser's text" % n.name)
        wait_applied(nodes[1], name, listed(nodes[1], name)["version"], who=nodes)
        winners.append("ab"[1 - loser])
        remove(nodes[0], operators[1 - loser], name)
    return "%d rounds, winners %s, the loser told each time" % (rounds, "".join(winners))


# ------------------------------------------------------------ refused at push

def refused(node, words, *arguments):
    """argusctl config ... is refused, and says why."""
    code, out, err = node.ctl_code("config", *arguments)
    check(code in (1, 2), "config %s: exit %d, %s" % (" ".join(arguments)[:80], code, out[:200]))
    check(any(w.lower() in (out + err).lower() for w in words),
          "config %s says %s, without %s" % (arguments[0], (out + err).strip()[:200], words))
    return (err.strip().splitlines() or [""])[-1]


def bad_pushes(bed, full):
    """Unsigned, wrongly signed, expired, replayed, of another cluster, for nobody, empty,
    binary, too large, by a stranger: refused with the reason."""
    node, operator, journal = lone(bed, stock=["load"])
    stranger = Operator(bed, "stranger")
    good = write_bundle(node, "good", LOAD)

    def file(name, content):
        return write_bundle(node, name, content)
    name = ["--name", "bad", "--key", operator.key]
    refused(node, ["key", "sign"], "push", good, "--name", "bad")
    refused(node, ["expire", "past"], "push", good, *name, "--expires", "2001-01-01T00:00:00Z")
    refused(node, ["no node", "nobody", "target"], "push", good, *name, "--target",
            "name=no-such-node")
    refused(node, ["target"], "push", good, *name, "--target", "shape=round")
    refused(node, ["empty", "statement"], "push", file("empty", ""), *name)
    refused(node, ["NUL", "binary", "text"], "push", file("binary", b"LoadPlugin load\n\0\xff"),
            *name)
    big = file("big", b"# " + b"x" * 77 + b"\n")
    os.truncate(big, 64 << 20)
    refused(node, ["large", "size", "MiB", "bytes"], "push", big, *name)
    refused(node, ["trust"], "push", good, "--name", "bad", "--key", stranger.key)
    refused(node, ["key"], "push", good, "--name", "bad", "--key", operator.public)

    signed = [os.path.join(bed.dir, "signed%d" % i) for i in range(3)]
    node.ctl("config", "sign", good, *name, "-o", signed[0])
    with open(signed[0], "rb") as f:
        data = bytearray(f.read())
    data[data.index(b"LoadPlugin") + 4] ^= 1
    with open(signed[1], "wb") as f:
        f.write(data)
    refused(node, ["hash", "sign", "damaged", "SHA"], "push", signed[1])
    check(listed(node, "bad") is None, "something of it is listed: %s" % listed(node, "bad"))
    check(node.ctl("config", "push", signed[0])["version"] == 1, "a signed file is not taken")
    wait_applied(node, "bad", 1)
    refused(node, ["superseded"], "push", signed[0])
    version = push(node, operator, "bad", "# 2\n" + LOAD)
    refused(node, ["superseded"], "push", signed[0])
    wait_applied(node, "bad", version)

    far = bed.daemon("far", block='Cluster "elsewhere"').start()
    far.ctl("config", "sign", good, "--name", "other", "--key", operator.key, "-o", signed[2])
    refused(node, ["cluster", "sign"], "push", signed[2])
    for verb in ("plan", "halt", "resume"):
        refused(node, ["not built"], verb, *([good] if verb == "plan" else []), "bad", "--key",
                operator.key)
    refused(node, ["not built"], "push", good, *name, "--canary", "1")
    refused(node, ["no bundle", "unknown", "not known"], "status", "never-heard-of")
    return "16 refused by name, what runs is untouched"


def no_trusted_key(bed, full):
    """Without a TrustedKey a bundle is stored, spread and shown, never run."""
    operator = Operator(bed)
    bed.need_plugins("load")
    plain = bed.daemon("plain").start()
    other = bed.daemon("other", seeds=[plain.address]).start()
    wait_online([plain, other], 2, 10)
    push(plain, operator, "base", LOAD)
    wait_for(lambda: listed(other, "base"), 10, "it does not spread")
    wait_for(lambda: shown(other, "base") == LOAD, 10, "its text is not there")
    check(not plain.status()["workers"] and not other.status()["workers"], "it runs")
    return "stored and shown on both, run on none"


def expires(bed, full):
    """A running version stops when it expires."""
    node, operator, journal = lone(bed, stock=["load"])
    at = time.time() + 6
    push(node, operator, "short", LOAD, "--expires",
         time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)))
    wait_applied(node, "short", 1, 5)
    row = wait_rows(node, "short", lambda r: r["state"] == "refused", 20)[0]
    late = time.time() - int(at)
    check("expire" in row["error"].lower(), "the reason is %s" % row["error"])
    wait_no_worker(node, "short")
    return "stopped %.1f s after its time: %s" % (late, row["error"][:70])


def enable_false(bed, full):
    """<Apply> Enable false: known, shown, never run, and said so."""
    node, operator, journal = lone(bed, stock=["load"], Enable=False)
    push(node, operator, "base", LOAD)
    wait_for(lambda: listed(node, "base"), 10, "it is not listed")
    check(not node.status()["workers"], "it runs")
    return "listed, %s" % listed(node, "base")["state"]


SCENARIOS = [operator_round, targets, speed, absence, reboot, died_on_trial, two_operators,
             bad_pushes, no_trusted_key, expires, enable_false]
ALONE = [speed]
