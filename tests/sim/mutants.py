#!/usr/bin/env python3
"""mutants.py - is the simulator able to fail? Mistakes are planted in the engine, one
at a time; some scenario has to catch each.

    mutants.py BUILD [NAME...]

Caught is what breaks a demand, or an invariant of the simulator or the engine: not what
crashes, nor a scenario that cannot be read; and the scenario must hold for the engine as
it is. BUILD: where argus-sim was built. The compiler and its flags come from the environment
(COMPILE, LINK: `make mutants` sets them). A mutation that no longer fits its source, or
does not compile, is a failure of this test. Ends with "N passed, N failed".
"""

import functools
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CORE = os.path.join(HERE, "..", "..", "src", "core")
LIMIT_S = 300

# One end leaves a link and does not say so: that the audit finds.
SILENT_PARTING = [
    ("membership.c", "    send_disconnect(hl->link, leaving, instead, out);\n    deactivate(",
     "    if (leaving)\n        send_disconnect(hl->link, leaving, instead, out);\n    deactivate("),
    ("membership.c", "    membership_close(hl, argus_RefuseCode_REFUSE_BYE,\n"
     "                     leaving ? \"leaving\" : \"no longer neighbors\", out);",
     "    hl->deadline_ms = UINT64_MAX;\n    if (leaving)\n"
     "        membership_close(hl, argus_RefuseCode_REFUSE_BYE, \"leaving\", out);"),
]
NO_AUDIT = [
    ("membership.c", "    if (hl->state == HLINK_ACTIVE && active) {",
     "    if (v->now_ms > 0 || (hl->state == HLINK_ACTIVE && active)) {"),
]

# name, what is wrong, [(file, text, text in its place)], scenario and its options
MUTANTS = [
    ("no-prune", "a copy too many prunes nothing",
     [("plumtree.c",
       "    frame.which_body = argus_Frame_prune_tag;\n",
       "    if (p->now_ms > 0)\n"
       "        return;\n"
       "    frame.which_body = argus_Frame_prune_tag;\n")],
     ["rest.sim"]),
    ("no-graft", "what was announced is never asked for",
     [("plumtree.c",
       "if (m->due_ms <= p->now_ms)\n"
       "            ask_for(p, m, out);",
       "if (m->due_ms == 0)\n"
       "            ask_for(p, m, out);")],
     ["losses.sim"]),
    ("no-announcement", "a new neighbour is not told what went by lately",
     [("plumtree.c",
       "    announce_recent(p, n, out);\n"
       "}",
       "    if (p->now_ms == 0)\n"
       "        announce_recent(p, n, out);\n"
       "}")],
     ["losses.sim"]),
    ("delivered-twice", "an id that is known is taken for a new one",
     [("plumtree.c",
       "    if (m != NULL)\n"
       "        on_duplicate(p, n, m);",
       "    if (m != NULL && p->now_ms % 7 != 0)\n"
       "        on_duplicate(p, n, m);")],
     ["rest.sim"]),
    ("arwl-0", "the walk of a joiner ends where it begins",
     [("membership.h",
       "#define HYPARVIEW_ARWL 6",
       "#define HYPARVIEW_ARWL 0")],
     ["rest.sim"]),
    ("no-audit", "one-sided links are never found", SILENT_PARTING + NO_AUDIT,
     ["one-sided.sim"]),
    ("no-probe", "lost nodes and contacts are never tried again",
     [("membership_seek.c",
       "    if (contact == UINT32_MAX && lost == NULL)\n"
       "        return;",
       "    if ((contact == UINT32_MAX && lost == NULL) || v->now_ms > 0)\n"
       "        return;")],
     ["islands.sim"]),
    ("hlc-unbound", "any stamp is merged, however far ahead",
     [("hlc.c",
       "remote_ms - wall_ms > h->max_offset_ms",
       "remote_ms - wall_ms > UINT64_MAX / 2")],
     ["clocks.sim"]),
    ("hlc-back", "a stamp follows the wall clock back",
     [("hlc.c",
       "    h->last = max_u64(next, hlc_from_us(wall_us));",
       "    h->last = next & 0xffff ? hlc_from_us(wall_us) : next;")],
     ["clocks.sim"]),
    ("no-refutation", "a node that is called dead does not contradict",
     [("own_record.c",
       "    if (!outdo(d, report->generation, report->version, out)) {",
       "    if (d->now_ms > 0 || !outdo(d, report->generation, report->version, out)) {")],
     ["partition.sim"]),
    ("no-anti-entropy", "nothing is compared after a link came up",
     [("sync.c",
       "        if (n->sync_due_ms > d->now_ms)\n"
       "            continue;",
       "        if (n->sync_due_ms > d->now_ms || d->now_ms > 0)\n"
       "            continue;")],
     ["partition.sim"]),
    ("older-record-wins", "of two records the older stays",
     [("members.h",
       "        return ga < gb ? -1 : 1;\n"
       "    return va == vb ? 0 : va < vb ? -1 : 1;",
       "        return ga < gb ? -1 : 1;\n"
       "    return va == vb ? 0 : va < vb ? 1 : -1;")],
     ["swarm.sim", "MINUTES=3"]),
    ("older-bundle-wins", "a bundle goes back to an older version",
     [("bundles.c",
       "        return va < vb ? -1 : 1;\n"
       "    return memcmp(hb, ha, n);",
       "        return va < vb ? 1 : -1;\n"
       "    return memcmp(hb, ha, n);")],
     ["swarm.sim", "MINUTES=3"]),
    ("stale-disconnect", "a Disconnect counts for whatever link there is with its sender",
     [("membership.c",
       "    struct membership_peer peer = membership_peer_at(hl);\n"
       "    bool was_active = hl->state == HLINK_ACTIVE;\n",
       "    if (membership_link_of(v, &hl->peer.id, HLINK_ACTIVE) != NULL)\n"
       "        hl = membership_link_of(v, &hl->peer.id, HLINK_ACTIVE);\n"
       "    struct membership_peer peer = membership_peer_at(hl);\n"
       "    bool was_active = hl->state == HLINK_ACTIVE;\n")],
     ["late.sim"]),
    ("early-graves", "who is forgotten can come back at once",
     [("members.c",
       "    stone->expires_ms = expires_ms;",
       "    stone->expires_ms = expires_ms > 0 ? 0 : expires_ms;")],
     ["graves.sim"]),
    ("no-eviction", "a full active view takes one more",
     [("membership.c",
       "        evict(v, victim, NULL, out);",
       "        if (v->now_ms == 0)\n"
       "            evict(v, victim, NULL, out);")],
     ["rest.sim"]),
    ("self-in-view", "a node takes itself for a candidate",
     [("membership_views.c",
       "        node_id_is_equal(id, &v->options.id) || !is_dialable(peer->address) ||",
       "        !is_dialable(peer->address) ||")],
     ["rest.sim"]),
    ("no-silence", "a link on which nothing comes is never given up",
     [("links.c",
       "    if (e->unanswered_ms == 0)\n"
       "        return UINT64_MAX;\n"
       "    uint64_t by_heard",
       "    if (e->unanswered_ms < UINT64_MAX)\n"
       "        return UINT64_MAX;\n"
       "    uint64_t by_heard")],
     ["losses.sim"]),
]

# These mistakes the engine lives with: something else makes up for them.
HARMLESS = [
    ("silent-parting", "one end leaves a link and does not say so", SILENT_PARTING,
     ["one-sided.sim"]),
]


def plant(edits, folder):
    """A folder of changed sources before all others. @return the files to compile."""
    os.makedirs(folder + "/core", exist_ok=True)
    changed = {}
    for file, old, new in edits:
        if file not in changed:
            with open(os.path.join(CORE, file)) as f:
                changed[file] = f.read()
        if changed[file].count(old) != 1:
            raise ValueError("%s: the text to change is there %d times"
                             % (file, changed[file].count(old)))
        changed[file] = changed[file].replace(old, new)
    for file, text in changed.items():
        with open(os.path.join(folder, "core", file), "w") as f:
            f.write(text)
    files = [f for f in changed if f.endswith(".c")]
    if any(f.endswith(".h") for f in changed):
        files = sorted(f for f in os.listdir(CORE) if f.endswith(".c"))
    return [os.path.join(folder if f in changed else os.path.join(CORE, ".."), "core", f)
            for f in files]


def build_mutant(build, edits, folder):
    compiler = shlex.split(os.environ["COMPILE"])
    objects = []
    for path in plant(edits, folder):
        objects.append(os.path.join(folder, os.path.basename(path) + ".o"))
        subprocess.run(compiler + ["-iquote", folder, "-c", path, "-o", objects[-1]],
                       cwd=build, check=True, capture_output=True, text=True)
    program = os.path.join(folder, "argus-sim")
    subprocess.run(shlex.split(os.environ["LINK"]) + ["-o", program] + objects +
                   shlex.split(os.environ["LIBS_OF_SIM"]),
                   cwd=build, check=True, capture_output=True, text=True)
    return program


def play(program, scenario):
    """@return (exit code, all that it says); None: it took too long."""
    command = [program, "--seed", "1", "--quiet"]
    for setting in scenario[1:]:
        command += ["--set", setting]
    command.append(os.path.join(HERE, "scenarios", scenario[0]))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return None
    return done.returncode, done.stdout + done.stderr


@functools.lru_cache(None)
def holds(build, scenario):
    """For the engine as it is."""
    done = play(os.path.join(build, "tests", "argus-sim"), scenario)
    return done is not None and done[0] == 0


# What argus-sim says of a broken demand or invariant, and the C library of one that the
# engine asserts.
BROKEN = re.compile(r"^FAILED: \S+:\d+: (?:demand|invariant) broken: .*|^.*Assertion `.*' failed\.",
                    re.MULTILINE)


def one(build, mutant):
    """@return (was it caught, remark); None: it was not tried, or there is no telling."""
    _, _, edits, scenario = mutant
    if not holds(build, tuple(scenario)):
        return None, "%s breaks without it, or goes on for %d s" % (scenario[0], LIMIT_S)
    with tempfile.TemporaryDirectory(prefix="argus-mutant-") as folder:
        try:
            program = build_mutant(build, edits, folder)
        except (ValueError, subprocess.CalledProcessError) as e:
            return None, "cannot be planted: %s" % (getattr(e, "stderr", None) or e)
        done = play(program, scenario)
    if done is None:
        return None, "%s went on for %d s" % (scenario[0], LIMIT_S)
    if done[0] == 0:
        return False, "%s holds all the same" % scenario[0]
    word = BROKEN.search(done[1])
    if word is None:
        return None, "%s broke neither demand nor invariant: %s" % (scenario[0], done[1][-300:])
    return True, "%s: %s" % (scenario[0], word.group()[:150])


def main():
    build, wanted = sys.argv[1], sys.argv[2:]
    passed = failed = 0
    for mutant in MUTANTS + HARMLESS:
        if wanted and mutant[0] not in wanted:
            continue
        since = time.monotonic()
        caught, remark = one(build, mutant)
        ok = caught is (mutant not in HARMLESS)
        passed, failed = passed + ok, failed + (not ok)
        print("%s mutant %s (%s): %s (%.1f s)" % ("ok" if ok else "not ok", mutant[0], mutant[1],
                                                  remark, time.monotonic() - since), flush=True)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
