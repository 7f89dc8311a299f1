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
import time

from bed import ARGUSCTL, check, notify, wait_event, wait_for, wait_online

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
ENTER, LEAVE = "\033[?1049h", "\033[?25h\033[?1049l"
COLOUR = re.compile("\033\\[[0-9;]*m")


class Terminal:
    """argusctl, or another command, on a terminal of its own. text: all that it wrote."""

    def __init__(self, bed, node, *arguments, rows=24, columns=80, env=None, command=None):
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
        self.process = subprocess.Popen(command or [ARGUSCTL, "-s", node.socket] + list(arguments),
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

    def is_stopped(self):
        with open("/proc/%d/stat" % self.process.pid) as f:
            return f.read().rsplit(") ", 1)[1].startswith("T")

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
    wait_for(t.is_stopped, 8, "argusctl does not stop")  # who comes earlier wakes nobody
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


def ctl_hung(bed, full):
    """watch while its daemon hangs: it says so, and keys are heard all the same."""
    node = bed.daemon("hung").start()
    for end, code in (("q", 0), (chr(3), -signal.SIGINT)):
        t = Terminal(bed, node, "watch", "--watch=0.2", rows=12, columns=60)
        t.shows(ENTER, "1 online")
        node.send(signal.SIGSTOP)
        try:
            t.shows("has said nothing", limit_s=15)
            t.type("\033[C")  # another pane, in the middle of the next question
            t.shows("[members]", limit_s=1)
            since = time.monotonic()
            t.type(end)
            check(t.wait_end(3) == code, "%r ends it with another code" % end)
            took_s = time.monotonic() - since
            check(took_s < 1, "%r is heard after %.1f s" % (end, took_s))
            check(LEAVE in t.text, "the terminal is not given back")
        finally:
            node.send(signal.SIGCONT)
        wait_for(lambda: node.ctl_code("status")[0] == 0, 8, "it does not go on")

    t = Terminal(bed, node, "watch", "--watch=0.2")
    t.shows(ENTER, "1 online")
    node.send(signal.SIGSTOP)
    t.shows("has said nothing", limit_s=15)
    node.send(signal.SIGCONT)
    t.shows("1 online", "a second:", limit_s=15)
    t.type("q")
    check(t.wait_end() == 0, "q ends with another code")
    return "told, keys heard, q and Ctrl-C at once, goes on with the daemon"


NARROW = ("status", "members", "offline", "publishers", "events", "events --node n2", "peers",
          "route", "route n2", "clock", "config list", "operators list",
          "keys list", "doctor", "version", "notify --severity OKAY %s" % ("long " * 30),
          "members --tag service=%s" % ("db" * 30))


def ctl_narrow(bed, full):
    """Every verb at 40 columns, names longer than that: no line is wider."""
    name = "a-node-with-a-name-that-is-much-longer-than-a-narrow-terminal-is-wide"
    nodes = [bed.daemon(name, role="aggregator", block='  Zone "eu1/hall-17/row-3/rack-44"\n'
                        '  Tag "service" "something-that-is-long-and-cannot-be-broken"\n'),
             bed.daemon("größe-2"), bed.daemon("n3")]
    for node in nodes[1:]:
        node.seeds = [nodes[0].address]
    for node in nodes:
        node.start()
    wait_online(nodes, 3, 10)
    notify(nodes[1], "a message of words " * 12)
    wait_event(nodes, "a message of words " * 12, 5)
    nodes[2].kill()
    wait_for(lambda: nodes[0].status()["members"]["offline"] == 1, 10, "n3 is not offline")
    too_wide = {}
    for words in NARROW:
        t = Terminal(bed, nodes[0], *words.split(), rows=20, columns=40)
        code = t.wait_end(20)
        wide = [line for line in lines_of(t.text) if len(line) > 40]
        if wide:
            too_wide[words] = wide[0]
        check(code in (0, 1, 2, 3) and t.text, "%s ends with %d" % (words, code))
    check(not too_wide, "wider than the terminal: %s" % too_wide)
    return "%d calls, none wider than 40" % len(NARROW)


# Matches that compadd is given are written to a file, END after each line.
ZSH = r"""
PATH=$1:$PATH fpath=($2/contrib/completion $fpath) out=$3
autoload -Uz compinit && compinit -D -u
unsetopt auto_list auto_menu beep
compadd() { local -a hits; builtin compadd -O hits "$@"; print -rl -- $hits >>$out; builtin compadd "$@" }
finish() { print -r -- END >>$out; BUFFER= }
zle -N finish && bindkey '^X' finish
print -r -- END >$out
"""

COMPLETE = r"""
PATH=$1:$PATH
. $2/contrib/completion/argusctl.bash
shift 2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_argusctl
printf '%s\n' "${COMPREPLY[@]}"
"""


def complete_by_bash(socket, folder):
    def complete(*words):
        done = subprocess.run(["bash", "-c", COMPLETE, "bash", folder, TOP, "argusctl", "-s",
                               socket] + list(words), capture_output=True, text=True, timeout=20)
        check(not done.stderr, done.stderr)
        return done.stdout.split()
    return complete


def complete_by_zsh(bed, socket, folder):
    """A zsh at a terminal, for completion is a part of its line editor."""
    out, script = os.path.join(bed.dir, "matches"), os.path.join(bed.dir, "rc.zsh")
    with open(script, "w") as f:
        f.write(ZSH)
    t = Terminal(bed, None, rows=200, columns=200, command=["zsh", "-f", "-i"])
    t.type("PS1= ; . %s %s %s %s\n" % (script, folder, os.path.abspath(TOP), out))

    def is_ready():
        t.read()
        return os.path.exists(out) and open(out).read() == "END\n"
    wait_for(is_ready, 20, lambda: "zsh is not ready: %r" % t.text)

    def complete(*words):
        open(out, "w").close()
        t.type("argusctl -s %s %s\t\x18" % (socket, " ".join(words)))

        def found():
            t.read()
            return open(out).read().endswith("END\n")
        wait_for(found, 20, lambda: "zsh does not complete %s: %r" % (words, t.text[-500:]))
        return open(out).read().split()[:-1]
    return complete


def ctl_completion(bed, full):
    """bash and zsh complete verbs, their words, options, and names that the daemon knows."""
    nodes = start_two(bed)
    folder = os.path.join(bed.dir, "bin")
    os.mkdir(folder)
    os.symlink(ARGUSCTL, os.path.join(folder, "argusctl"))
    cases = [(("mem",), {"members"}), (("",), {"status", "events", "doctor", "watch"}),
             (("config", "sta"), {"status"}), (("keys", ""), {"list", "add", "use", "remove"}),
             (("members", "--st"), {"--state"}), (("events", "--"), {"--since", "--json", "--watch"}),
             (("members", "--state", "o"), {"online", "offline"}),
             (("members", ""), {"n2", "größe-1"}), (("forget", "n"), {"n2"}),
             (("events", "--node", ""), {"n2", "größe-1"}), (("zzz",), set())]
    shells = {"bash": complete_by_bash(nodes[1].socket, folder),
              "zsh": complete_by_zsh(bed, nodes[1].socket, folder)}
    for shell, complete in shells.items():
        for words, wanted in cases:
            got = set(complete(*words))
            check(wanted <= got and (wanted or not got),
                  "%s: %s completes to %s, not %s" % (shell, words, got, wanted))
    return "%d cases in %s" % (len(cases), " and ".join(shells))


SCENARIOS = [ctl_watch, ctl_repeat, ctl_hung, ctl_narrow, ctl_doctor, ctl_completion]
