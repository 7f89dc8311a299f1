"""pushed.py - what the scenarios of pushed configuration share: operator keys, the
<Apply> block, pushing, and waiting for a state."""

import os
import time

from bed import ARGUSCTL, check, run, wait_for
from journal import Journal

ENDS = ("applied", "failed", "rolled-back", "refused")


class Operator:
    """An operator's key pair, made by argusctl."""

    def __init__(self, bed, name="operator"):
        self.key = os.path.join(bed.dir, name + ".key")
        run(ARGUSCTL, "keygen", "operator", self.key)
        self.public = self.key + ".pub"
        os.chmod(self.public, 0o644)


def apply_block(*operators, **options):
    """The <Apply> block that trusts them; options by their names, lists repeat."""
    lines = ['TrustedKey "%s"' % o.public for o in operators]
    for name, value in options.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(one, bool):
                one = "true" if one else "false"
            lines.append('%s "%s"' % (name, one) if isinstance(one, str)
                         and one not in ("true", "false") else "%s %s" % (name, one))
    return "<Apply>\n  %s\n</Apply>" % "\n  ".join(lines)


def write_bundle(node, name, text):
    """The text in a file, for argusctl; bytes are taken as they are."""
    path = os.path.join(node.bed.dir, "bundle-%s-%d" % (name, time.monotonic_ns()))
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    return path


def push_code(node, operator, name, text, *options):
    """config push -> (exit code, standard output, standard error)."""
    return node.ctl_code("config", "push", write_bundle(node, name, text), "--name", name,
                         "--key", operator.key, *options)


def push(node, operator, name, text, *options):
    """config push; the version."""
    return node.ctl("config", "push", write_bundle(node, name, text), "--name", name,
                    "--key", operator.key, *options)["version"]


def remove(node, operator, name):
    return node.ctl("config", "remove", name, "--key", operator.key)


def config_status(node, name):
    """{"totals":…, "nodes":…}; exit 1 says that a node failed."""
    return node.ctl("config", "status", name, codes=(0, 1, 3))


def rows(node, name):
    """{node: its row of config status}; none as long as the asker has not heard of it"""
    return {row["node"]: row for row in config_status(node, name).get("nodes", [])}


def wait_rows(asker, name, condition, limit_s, who=None):
    """Until condition(row) holds for each of `who` (default: the asker) as the asker
    sees them; their rows."""
    names = [d.name for d in (who or [asker])]
    last = {}

    def holds():
        last["rows"] = rows(asker, name)
        return all(n in last["rows"] and condition(last["rows"][n]) for n in names)
    wait_for(holds, limit_s, lambda: "%s of %s: %s" % (name, names, {
        n: (r["state"], r["desired"], r["running"], r["error"])
        for n, r in last["rows"].items()}))
    return [last["rows"][n] for n in names]


def wait_applied(asker, name, version, limit_s=15, who=None):
    return wait_rows(asker, name, lambda r: r["state"] == "applied"
                     and r["running"] == version, limit_s, who)


def wait_end(node, name, version, limit_s=60):
    """Until that version came to an end on the node, whatever it is; the row."""
    return wait_rows(node, name, lambda r: r["desired"] == version and r["state"] in ENDS,
                     limit_s)[0]


def worker(node, bundle):
    """The row in status.workers of the version whose values pass, or None."""
    for row in node.status()["workers"]:
        if row["bundle"] == bundle and row["state"] in ("trial", "good"):
            return row
    return None


def wait_no_worker(node, bundle, limit_s=15):
    """Until there is none, also none that is still ending."""
    wait_for(lambda: all(w["bundle"] != bundle for w in node.status()["workers"]), limit_s,
             lambda: "%s still has %s" % (node.name, node.status()["workers"]))


def apply_now(node, operator, name, text, *options, limit_s=15):
    """Push to one node and wait until it runs there; (version, seconds)."""
    since = time.monotonic()
    version = push(node, operator, name, text, *options)
    wait_applied(node, name, version, limit_s)
    return version, time.monotonic() - since


def check_quiet(node, *words):
    """None of these stands in the node's log."""
    for line in node.log_text().splitlines():
        for word in words:
            check(word.lower() not in line.lower(), "%s logs: %s" % (node.name, line))


# ------------------------------------------------------------ nodes for tests

def journal_plugin(path, passes=False, name="journal"):
    """`name`: "diary" is the same plugin, for bundles."""
    return ('LoadPlugin %s\n<Plugin %s>\n  File "%s"\n%s</Plugin>\n'
            % (name, name, path, "  Passes true\n" if passes else ""))


def lone(bed, name="node", stock=(), plugins="", interval=1, role="agent", **options):
    """One daemon that applies what an operator pushes; its values are in a journal.
    `stock`: plugins a bundle will load. Returns (daemon, operator, journal)."""
    bed.need_built("tests/plugins/diary.so", "tests/plugins/journal.so")
    bed.need_plugins(*stock)
    operator = Operator(bed, name + "-operator")
    node = bed.daemon(name, block=apply_block(operator, **dict({"Deny": "", "Probation": 1},
                                                               **options)),
                      interval=interval, role=role)
    node.plugins = journal_plugin(node.base + "/journal", passes=True) + plugins
    node.start()
    return node, operator, Journal(node.base + "/journal")


def wait_value(journal, condition, limit_s, what):
    """Until a value for which condition(value) holds is in the journal; it."""
    def found():
        return next((v for v in journal.read().values if condition(v)), None)
    return wait_for(found, limit_s, what)


def wait_passes(journal, count, limit_s=None):
    """Until the daemon read that many times more."""
    goal = len(journal.read().passes) + count
    wait_for(lambda: len(journal.read().passes) >= goal, limit_s or 10 + 3 * count,
             "the daemon does not read")


def open_folder(bed, name):
    """A folder that a worker of any user may write to."""
    path = os.path.join(bed.dir, name)
    os.makedirs(path)
    os.chmod(path, 0o777)
    return path


def write_file(bed, name, text, mode=0o644):
    path = os.path.join(bed.dir, name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path
