"""Clocks that are wrong: one daemon of several lives by a wall clock of its own
(libfaketime), which is off, is set, and runs too fast."""

import os

from bed import check, notify, parse_time, wait_event, wait_for, wait_mesh, wait_online
from pushed import Operator, apply_block

LIBRARY = next((p for p in ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
                            "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
                            "/usr/lib/faketime/libfaketimeMT.so.1") if os.path.exists(p)), None)
# A window is one shuffle: alarms within seconds.
QUICK = ("<Membership>\n  ShuffleInterval 1\n  PingInterval 0.3\n  SuspectTimeout 5\n"
         "</Membership>\n")
NODES = 5
WRONG = 3  # which of them
LIMIT_S = 45


class Wall:
    """The wall clock of one daemon; its monotonic clocks stay true."""

    def __init__(self, bed):
        check(LIBRARY, "libfaketime is missing (Debian: faketime)")
        self.path = os.path.join(bed.dir, "wall")
        self.set("+0")

    def set(self, text):
        """An offset, and with xRATE how fast it goes."""
        with open(self.path + ".new", "w") as f:
            f.write(text + "\n")
        os.rename(self.path + ".new", self.path)

    def env(self):
        return {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": self.path,
                "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def clock(node):
    return node.ctl("clock", codes=(0, 1, 3))


def alarmed(node):
    return sorted(row["name"] for row in clock(node)["alarmed"])


def start_mesh(bed, block=""):
    wall = Wall(bed)
    nodes = [bed.daemon("c%02d" % i, block=QUICK + block,
                        role="aggregator" if i == 0 else "agent",
                        env=wall.env() if i == WRONG else None) for i in range(NODES)]
    for node in nodes[1:]:
        node.seeds = [nodes[0].address]
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.wait_ready()
    wait_online(nodes, NODES, 30)
    wait_mesh(nodes, 30)
    for node in nodes:
        wait_for(lambda n=node: clock(n)["samples"] == NODES - 1 and clock(n)["state"] == "good",
                 LIMIT_S, lambda n=node: "%s: %s" % (n.name, clock(n)))
    return wall, nodes


def wait_alarm(nodes, names):
    for node in nodes:
        wait_for(lambda n=node: alarmed(n) == names, LIMIT_S,
                 lambda n=node: "%s lists %s" % (n.name, clock(n)))


def told(node, instance, severity):
    """An event about the wrong clock, as this node has it."""
    return [e for e in node.events() if e["plugin"] == "argus" and e["type"] == "time_offset"
            and e["severity"] == severity and instance in e["message"]]


def stamp_ms(node):
    return int(node.status()["hlc"], 16) >> 16


def clock_step_and_alarm(bed, full):
    """A clock that is set five seconds ahead: it is told within two windows, the alarm is
    listed by all, raised by nobody else, ends when the clock is right; events keep their
    order meanwhile."""
    wall, nodes = start_mesh(bed)
    wrong, right = nodes[WRONG], [n for n in nodes if n is not nodes[WRONG]]
    for node in nodes:
        check(abs(clock(node)["offset_s"]) < 0.05, "%s: %s" % (node.name, clock(node)))
        check(node.ctl_code("clock")[0] == 0, "%s: no alarm, and not exit 0" % node.name)

    wall.set("+5")
    wrong.wait_log("was set ahead by", limit_s=5)
    wait_alarm(nodes, [wrong.name])
    wrong.wait_log("s ahead of the median", "set it")
    own = clock(wrong)
    check(own["alarm"] and own["state"] == "alarmed" and abs(own["offset_s"] - 5) < 0.1,
          "the wrong one says %s" % own)
    check(wrong.status()["clock"]["alarm"], "status knows of no alarm")
    for node in right:
        check(not clock(node)["alarm"] and abs(clock(node)["offset_s"]) < 0.1,
              "%s is right and says %s" % (node.name, clock(node)))
        check(node.ctl_code("clock")[0] == 1, "%s: an alarm, and exit 0" % node.name)
        wait_for(lambda n=node: told(n, "ahead of the median", "FAILURE"), 10,
                 "%s has no event of the alarm" % node.name)

    # Its stamps of before are five seconds ahead; the others' time catches up with them.
    wait_for(lambda: abs(stamp_ms(wrong) - stamp_ms(right[0])) < 500, 15,
             "its stamps do not come back to the others' time")
    order = []
    for i, node in enumerate((right[0], wrong, right[1], wrong, right[2])):
        order.append("in order %d" % i)
        notify(node, order[-1])
        wait_event(nodes, order[-1], 10)
    for node in nodes:
        events = [e for e in node.events() if e["message"] in order]
        check([e["message"] for e in events] == order, "%s has %s" % (node.name, events))

    wall.set("+0")
    wait_alarm(nodes, [])
    wrong.wait_log("is right again")
    wait_for(lambda: told(right[0], "is right again", "OKAY"), 10, "no event of the end")
    for node in right:
        check("ahead of the median" not in node.log_text() or
              all("clock of %s is" % wrong.name in line for line in node.log_text().splitlines()
                  if "the median of" in line), "%s was alarmed" % node.name)
    return "step told, alarm listed by %d, events in order, cleared" % NODES


def clock_drift(bed, full):
    """A clock that runs two in a hundred too fast: its drift is measured, then it is alarmed;
    the others are not."""
    wall, nodes = start_mesh(bed)
    wrong, right = nodes[WRONG], [n for n in nodes if n is not nodes[WRONG]]
    wall.set("+0 x1.02")
    wait_alarm(nodes, [wrong.name])
    wait_for(lambda: (clock(wrong)["drift_ppm"] or 0) > 10000, 60,
             lambda: "drift: %s" % clock(wrong))
    check(clock(wrong)["drift_ppm"] < 30000, "drift: %s" % clock(wrong))
    for node in right:
        check(not clock(node)["alarm"], "%s: %s" % (node.name, clock(node)))
    return "drift %.0f ppm of 20000" % clock(wrong)["drift_ppm"]


def clock_reset(bed, full):
    """A clock that was an hour ahead leaves stamps that are; a reset brings them back, what
    was before stays before, and a restart keeps the epoch."""
    anna, stranger = Operator(bed, "anna"), Operator(bed, "stranger")
    wall, nodes = start_mesh(bed, apply_block(anna))
    wrong, right = nodes[WRONG], [n for n in nodes if n is not nodes[WRONG]]
    wall.set("+3600")
    wrong.wait_log("was set ahead by")
    notify(wrong, "an hour ahead")
    wait_event(nodes, "an hour ahead", 20)
    wall.set("+0")
    wrong.wait_log("was set back by")
    wait_alarm(nodes, [])
    check(stamp_ms(wrong) - stamp_ms(right[0]) > 3000000, "its stamps are not ahead")
    for node in right:
        check(stamp_ms(node) - stamp_ms(right[0]) < 60000, "%s was dragged along" % node.name)

    code = right[0].ctl_code("clock", "reset", "--key", stranger.key)[0]
    check(code == 1, "by a stranger: exit %d" % code)
    check(right[0].ctl_code("clock", "reset")[0] == 2, "without a key it is no usage error")
    check(right[0].ctl("clock", "reset", "--key", anna.key)["epoch"] == 1, "not epoch 1")
    for node in nodes:
        wait_for(lambda n=node: clock(n)["epoch"] == 1, 20,
                 lambda n=node: "%s: %s" % (n.name, clock(n)))
    check(abs(stamp_ms(wrong) - stamp_ms(right[0])) < 5000, "its stamps are still ahead")
    notify(wrong, "after the reset")
    wait_event(nodes, "after the reset", 20)
    for node in nodes:
        texts = [e["message"] for e in node.events()]
        check(texts.index("an hour ahead") < texts.index("after the reset"),
              "%s has them the other way round" % node.name)
        e = next(e for e in node.events() if e["message"] == "after the reset")
        check(abs(parse_time(e["time"]) - parse_time(e["received"])) < 5, "stamped %s" % e)

    wrong.stop()
    wrong.start()
    wait_online(nodes, NODES, 30)
    check(clock(wrong)["epoch"] == 1, "the epoch is gone after a restart")
    check(abs(stamp_ms(wrong) - stamp_ms(right[0])) < 5000, "ahead again after a restart")
    check(right[1].ctl("clock", "reset", "--key", anna.key)["epoch"] == 2, "not epoch 2")
    return "an hour ahead, and back"


def row(node, text):
    return next(e for e in node.events() if e["message"] == text)


def slow_reply(bed, full):
    """An answer by a node whose clock is an hour slow is after what it answers, a
    node that joins later gets both, and so does one that was killed."""
    wall = Wall(bed)
    wall.set("-1h")
    nodes = [bed.daemon("r%02d" % i, role="aggregator" if i == 0 else "agent",
                        env=wall.env() if i == 1 else None) for i in range(3)]
    nodes[1].seeds = nodes[2].seeds = [nodes[0].address]
    for node in nodes[:2]:
        node.spawn()
    for node in nodes[:2]:
        node.wait_ready()
    wait_online(nodes[:2], 2, 30)
    for i in range(3):
        notify(nodes[0], "question %d" % i)
        wait_event(nodes[:2], "question %d" % i, 5)
        notify(nodes[1], "answer %d" % i)
        wait_event(nodes[:2], "answer %d" % i, 5)
    nodes[2].start()
    joined = wait_event(nodes, "answer 2", 20)
    nodes[0].kill()
    nodes[0].start()
    for node in nodes:
        for i in range(3):
            for text in ("question %d" % i, "answer %d" % i):
                e = row(node, text)
                check(not e["concurrent"], "%s: %s is concurrent" % (node.name, text))
                check(e["uncertainty_s"] > 0, "%s: no uncertainty" % node.name)
    apart = parse_time(row(nodes[2], "question 0")["time"]) - parse_time(
        row(nodes[2], "answer 0")["time"])
    check(3500 < apart < 3700, "the slow clock is %s s behind" % apart)
    return "%.0f s behind and never concurrent; a newcomer had all after %.2f s" % (apart, joined)


def clock_back_a_year(bed, full):
    """A clock that is set back by a year: it is told, nobody goes offline for it, stamps and
    events keep their order, also over a restart a year ago; and it ends when the clock is
    right."""
    wall, nodes = start_mesh(bed)
    wrong, right = nodes[WRONG], [n for n in nodes if n is not nodes[WRONG]]
    order = []

    def happens(node):
        order.append("in order %d" % len(order))
        notify(node, order[-1])
        wait_event(nodes, order[-1], 10)
    happens(wrong)
    before = stamp_ms(wrong)
    wall.set("-365d")
    wrong.wait_log("was set back by", limit_s=5)
    wait_alarm(nodes, [wrong.name])
    wrong.wait_log("s behind the median", "set it")
    for node in (right[0], wrong, right[1], wrong):
        happens(node)

    generation = wrong.status()["generation"]
    wrong.stop()
    wrong.start()
    wait_online(nodes, NODES, 20)
    check(wrong.status()["generation"] > generation, "its generation went back")
    check(stamp_ms(wrong) > before, "its stamps went back")
    wait_alarm(nodes, [wrong.name])
    for node in (wrong, right[2], wrong):
        happens(node)
    for node in nodes:
        events = [e for e in node.events() if e["message"] in order]
        check([e["message"] for e in events] == order, "%s has %s" % (node.name, events))
        check(node.status()["members"]["online"] == NODES, "%s: %s" % (node.name, node.status()))
        check(not any("is offline" in e["message"] for e in node.events()),
              "%s: somebody was offline" % node.name)
    check(all(not clock(n)["alarm"] and abs(clock(n)["offset_s"]) < 0.1 for n in right),
          "a clock that is right is alarmed")

    wall.set("+0")
    wait_alarm(nodes, [])
    wrong.wait_log("is right again")
    happens(wrong)
    return "told, %d events in order over a restart, cleared" % len(order)


SCENARIOS = [clock_step_and_alarm, clock_reset, slow_reply, clock_back_a_year]
FULL_ONLY = [clock_drift]
