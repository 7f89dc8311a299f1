"""argusctl at a terminal: a pseudo terminal shows what people see."""

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tarfile
import termios

from bed import ARGUSCTL, check, notify, wait_event, wait_for, wait_online

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
ENTER, LEAVE = "\033[?1049h", "\033[?25h\033[?1049l"
COLOUR = re.compile("\033\\[[0-9;]*m")


class Terminal:
    """argusctl on a terminal of its own. text: all that it wrote."""

    def __init__(self, bed, node, *arguments, rows=24, columns=80, env=None):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave, self.text = slave, ""
        environment = dict(os.environ, TERM="xterm", LC_ALL="C.UTF-8", **(env or {}))
        environment.pop("NO_COLOR", None) if not env else None

        def own_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            # What a shell starts in the background begins with it ignored.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.process = subprocess.Popen([ARGUSCTL, "-s", node.socket] + list(arguments),
                                        stdin=slave, stdout=slave, stderr=slave,
                                        preexec_fn=own_terminal, env=environment)
        bed.children.append(self.process)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            try:
                got = os.read(self.master, 65536)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return
            if not got:
                return
            self.text += got.decode("utf-8", "replace")

    def shows(self, *words, limit_s=8):
        """Until all of the words were written; then they are forgotten."""
        def found():
            self.read()
            return all(w in self.text for w in words)
        wait_for(found, limit_s, lambda: "the terminal lacks one of %s: %r"
                 % (words, self.text[-900:]))
        text, self.text = self.text, ""
        return text

    def type(self, keys):
        os.write(self.master, keys.encode())

    def wait_end(self, limit_s=8):
        def ended():
            self.read()  # what it writes last must be taken from it
            return self.process.poll() is not None
        wait_for(ended, limit_s, "argusctl does not end")
        self.read()
        check(termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was")
        os.close(self.slave)
        os.close(self.master)
        return self.process.returncode


def lines_of(text):
    """Lines as painted, without codes."""
    return re.sub("\033\\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "").split("\n")


def start_two(bed):
    nodes = [bed.daemon("größe-1", role="aggregator"), bed.daemon("n2")]
    nodes[1].seeds = [nodes[0].address]
    for node in nodes:
        node.start()
    wait_online(nodes, 2, 10)
    return nodes


def ctl_watch(bed, full):
    """The live view: panes, keys, 40 columns, an end of any kind, a daemon that dies."""
    nodes = start_two(bed)
    notify(nodes[0], "it burns")
    wait_event(nodes, "it burns", 5)

    t = Terminal(bed, nodes[0], "watch", "--watch=0.2", rows=20, columns=40)
    text = t.shows(ENTER, "größe-1", "2 online", "it burns", "[mesh]", "a second:")
    check("\033[32m" in text, "no colour on a terminal")
    wide = [line for line in lines_of(text) if len(line) > 40]
    check(not wide, "wider than the terminal: %r" % wide[:1])
    t.type("\033[C")
    t.shows("[members]", "n2")
    t.type("\t")
    t.shows("[publishers]")
    t.type("\033[D")
    t.shows("[members]")
    t.resize(8, 60)
    t.process.send_signal(signal.SIGWINCH)
    t.shows("[members]", "scroll")
    t.type("\033[B\033[6~\033[A\033[5~\033OH\033OFx")
    t.shows("[members]")
    t.type("q")
    check(t.wait_end() == 0, "q ends with another code")
    check(LEAVE in t.text, "q does not give the terminal back")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        t = Terminal(bed, nodes[0], "watch")
        t.shows(ENTER, "2 online")
        t.process.send_signal(number)
        check(t.wait_end() == -number, "it did not end by the signal")
        check(LEAVE in t.text, "signal %d does not give the terminal back" % number)

    t = Terminal(bed, nodes[0], "watch", "--watch=0.2")
    t.shows(ENTER, "2 online")
    t.process.send_signal(signal.SIGTSTP)
    t.shows(LEAVE)
    t.process.send_signal(signal.SIGCONT)
    t.shows(ENTER, "2 online")
    nodes[0].kill()
    t.shows("no daemon answers")
    nodes[0].start()
    t.shows("online")
    t.type("q")
    check(t.wait_end() == 0, "q ends with another code")
    return "panes, keys, sizes, signals, Ctrl-Z, a daemon that was away"


def ctl_repeat(bed, full):
    """--watch: painted in place; without a terminal the answers follow each other."""
    node = bed.daemon("alone").start()
    t = Terminal(bed, node, "--watch=0.1", "members", rows=10, columns=40)
    first = t.shows("every 0.1 s", "alone")
    again = t.shows("\033[3A\r", "every 0.1 s", "alone")
    for line in lines_of(first + again):
        check(len(line) <= 40, "wider than the terminal: %r" % line)
    check(ENTER not in first + again, "it takes the whole screen")
    t.process.send_signal(signal.SIGINT)
    check(t.wait_end() == -signal.SIGINT, "it did not end by the signal")

    t = Terminal(bed, node, "members", env={"NO_COLOR": "1"})
    check(t.wait_end() == 0, "members failed")
    check("alone" in t.text and not COLOUR.search(t.text), "colour in spite of NO_COLOR")
    t = Terminal(bed, node, "members")
    check(t.wait_end() == 0 and COLOUR.search(t.text), "no colour on a terminal")

    p = subprocess.Popen([ARGUSCTL, "-s", node.socket, "--json", "--watch=0.1", "members"],
                         stdout=subprocess.PIPE, text=True)
    bed.children.append(p)
    lines = [p.stdout.readline() for _ in range(3)]
    check(all(line.startswith('{"members":') and line.endswith("}\n") for line in lines),
          "no object a line: %r" % lines)
    p.stdout.close()  # nobody reads any more
    wait_for(lambda: p.poll() is not None, 5, "it goes on for nobody")
    return "in place at 40 columns, an object a line, ends with its reader"


def ctl_doctor(bed, full):
    """doctor and debug bundle on a real daemon, which is well, then is not."""
    nodes = start_two(bed)
    key = open(bed.mesh_key()).read()
    found = nodes[1].ctl("doctor")
    check(found["healthy"] and found["config"] == nodes[1].conf, "%s" % found)
    said = {f["check"]: f for f in found["findings"] if f["level"] == "ok"}
    for name in ("daemon", "collectd", "mesh", "key", "state", "port", "seeds"):
        check(name in said, "nothing good about %s: %s" % (name, found))

    bundle = os.path.join(bed.dir, "support.tar")
    nodes[1].ctl("debug", "bundle", bundle)
    with tarfile.open(bundle) as tar:
        names = [os.path.basename(n) for n in tar.getnames()]
        whole = b"".join(tar.extractfile(m).read() for m in tar.getmembers())
    for name in ("status.json", "members.json", "events.json", "doctor.json", "log.txt",
                 "collectd.conf.txt", "process.txt", "state-dir.txt", "README"):
        check(name in names, "the bundle lacks %s" % name)
    for word in (w for line in key.splitlines() if not line.startswith("#") for w in line.split()):
        check(word.rstrip("=").encode() not in whole, "a key is in the bundle")

    nodes[0].kill()
    wait_for(lambda: nodes[1].status()["state"] == "isolated", 30, "it is not isolated")
    os.chmod(bed.mesh_key(), 0o644)
    found = nodes[1].ctl("doctor", codes=(1,))
    bad = " ".join(f["text"] + f["mend"] for f in found["findings"] if f["level"] == "bad")
    for words in ("isolated", "chmod 600"):
        check(words in bad, "doctor does not say %s: %s" % (words, bad))
    return "well, isolated, key readable to all; %d files in the bundle, no key" % len(names)


COMPLETE = r"""
PATH=$1:$PATH
. $2/contrib/completion/argusctl.bash
shift 2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_argusctl
printf '%s\n' "${COMPREPLY[@]}"
"""


def ctl_completion(bed, full):
    """bash completes verbs, their words, options, and names that the daemon knows."""
    nodes = start_two(bed)
    folder = os.path.join(bed.dir, "bin")
    os.mkdir(folder)
    os.symlink(ARGUSCTL, os.path.join(folder, "argusctl"))

    def complete(*words):
        done = subprocess.run(["bash", "-c", COMPLETE, "bash", folder, TOP, "argusctl", "-s",
                               nodes[1].socket] + list(words), capture_output=True, text=True,
                              timeout=20)
        check(not done.stderr, done.stderr)
        return done.stdout.split()
    cases = [(("mem",), {"members"}), (("",), {"status", "events", "doctor", "watch"}),
             (("config", "sta"), {"status"}), (("keys", ""), {"list", "add", "use", "remove"}),
             (("members", "--st"), {"--state"}), (("events", "--"), {"--since", "--json", "--watch"}),
             (("members", "--state", "o"), {"online", "offline"}),
             (("members", ""), {"n2", "größe-1"}), (("forget", "n"), {"n2"}),
             (("events", "--node", ""), {"n2", "größe-1"})]
    for words, wanted in cases:
        got = set(complete(*words))
        check(wanted <= got, "%s completes to %s, not %s" % (words, got, wanted))
    check(complete("zzz") == [], "what does not exist is completed")
    return "%d cases" % len(cases)


SCENARIOS = [ctl_watch, ctl_repeat, ctl_doctor, ctl_completion]
