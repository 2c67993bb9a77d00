"""Several IMAP clients on one folder, each with a model of what it was told.

Arguments: port, login, password, folder, seed, seconds. Every client does random commands; what the
server tells must fit the model at every line (RFC 3501 sections 2.3.1, 5.2, 7.4.1; RFC 7162):
numbers shift by EXPUNGE alone and never under FETCH, STORE and SEARCH, UIDs ascend and keep their
content, EXISTS never shrinks, keywords are in FLAGS before they are used, `\\Recent` is one session's.
At the end all clients must agree. Prints `UID flags` of every message, for a comparison outside.
"""

import random
import re
import socket
import sys
import threading
import time

PORT, LOGIN, PASSWORD, FOLDER = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
SEED, SECONDS = int(sys.argv[5]), float(sys.argv[6])
CLIENTS = 5
MOST = 40
SYSTEM = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft"]
KEYWORDS = ["$Label1", "$Label2", "blue", "$Forwarded"]
# What all clients share: what a UID means, and whose it is as a recent one.
lock = threading.Lock()
bodies, dates, recents = {}, {}, {}
failures = []


class Client:
    def __init__(self, number):
        self.number = number
        self.random = random.Random(SEED * 1000 + number)
        self.trail = []
        self.socket = socket.create_connection(("127.0.0.1", PORT))
        self.socket.settimeout(60)
        self.file = self.socket.makefile("rb")
        self.tags = 0
        self.reset()
        self.line()
        self.ask("LOGIN %s %s" % (LOGIN, PASSWORD))

    def reset(self):
        # One entry a message: [uid or None, flags or None]; highest MODSEQ of each UID.
        self.messages, self.keywords, self.modseqs = [], set(), {}
        self.selecting = False

    def fail(self, text):
        trail = "\n  ".join(self.trail[-25:])
        raise AssertionError("seed %d, client %d: %s\n  %s" % (SEED, self.number, text, trail))

    def line(self):
        whole = b""
        while True:
            line = self.file.readline()
            if not line:
                self.fail("the server hung up")
            whole += line
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if not literal:
                self.trail.append("S: " + whole[:300].decode("latin1").rstrip())
                return whole
            whole += self.file.read(int(literal.group(1)))

    def send(self, text):
        self.trail.append("C: " + text[:300])
        self.socket.sendall(text.encode("latin1") + b"\r\n")

    def ask(self, command, literal=None, allowed=("OK",)):
        self.tags += 1
        tag = "a%d" % self.tags
        self.send("%s %s" % (tag, command))
        if literal is not None:
            if not self.line().startswith(b"+"):
                self.fail("no continuation")
            self.socket.sendall(literal + b"\r\n")
        # RFC 3501 section 7.4.1: numbers stay as they are under these.
        steady = command.split(" ")[0] in ("FETCH", "STORE", "SEARCH", "SORT")
        found = []
        while True:
            line = self.line()
            if line.startswith(tag.encode() + b" "):
                answer = line.decode("latin1").split(" ", 1)[1].rstrip()
                if not answer.startswith(allowed):
                    self.fail("unexpected answer to %s: %s" % (command, answer))
                return answer, found
            found.append(self.untagged(line, steady))

    def untagged(self, line, steady):
        number = re.match(rb"\* (\d+) (EXISTS|EXPUNGE|RECENT|FETCH)", line)
        if line.startswith(b"* BYE"):
            self.fail("BYE")
        if line.startswith(b"* FLAGS ("):
            self.keywords = set(line[9:-3].decode().lower().split())
        if not number:
            return line
        at, kind = int(number.group(1)), number.group(2)
        if kind == b"EXISTS":
            if at < len(self.messages):
                self.fail("EXISTS shrinks")
            self.messages += [[None, None] for _ in range(at - len(self.messages))]
        elif kind == b"RECENT":
            if at > len(self.messages):
                self.fail("more recent messages than there are")
        elif at < 1 or at > len(self.messages):
            self.fail("a number that no message has")
        elif kind == b"EXPUNGE":
            if steady:
                self.fail("EXPUNGE where numbers must not shift")
            del self.messages[at - 1]
        else:
            self.fetched(at, line)
        return line

    def fetched(self, at, line):
        entry = self.messages[at - 1]
        uid = re.search(rb"[( ]UID (\d+)", line)
        if uid:
            uid = int(uid.group(1))
            if entry[0] not in (None, uid):
                self.fail("message %d was UID %d and is UID %d" % (at, entry[0], uid))
            entry[0] = uid
            known = [other[0] for other in self.messages if other[0]]
            if known != sorted(set(known)):
                self.fail("UIDs do not ascend")
        flags = re.search(rb"FLAGS \(([^)]*)\)", line)
        if flags:
            words = set(flags.group(1).decode().lower().split())
            unknown = {word for word in words if word[0] != "\\"} - self.keywords
            if unknown:
                self.fail("keywords that FLAGS does not have: %s" % unknown)
            if "\\recent" in words and entry[0]:
                with lock:
                    owner = recents.setdefault(entry[0], self.session)
                if owner != self.session:
                    self.fail("UID %d is recent in two sessions" % entry[0])
            entry[1] = words - {"\\recent"}
        modseq = re.search(rb"MODSEQ \((\d+)\)", line)
        if modseq and entry[0]:
            if int(modseq.group(1)) < self.modseqs.get(entry[0], 0):
                self.fail("MODSEQ goes back")
            self.modseqs[entry[0]] = int(modseq.group(1))
        self.constant(entry[0], line, bodies, rb"BODY\[\] (.*)", re.S)
        self.constant(entry[0], line, dates, rb'INTERNALDATE ("[^"]*")', 0)

    def constant(self, uid, line, known, pattern, how):
        value = re.search(pattern, line, how)
        if value and uid:
            with lock:
                before = known.setdefault(uid, value.group(1))
            if before != value.group(1):
                self.fail("UID %d means something else: %r, %r" % (uid, before, value.group(1)))

    # Commands.

    def select(self):
        self.reset()
        self.session = (self.number, self.tags)
        _, lines = self.ask("SELECT " + FOLDER + self.random.choice(["", " (CONDSTORE)"]))
        if not lines or not any(b" EXISTS" in line for line in lines):
            self.fail("SELECT without EXISTS")
        self.ask("FETCH 1:* (UID FLAGS)" if self.messages else "NOOP")
        head = b"".join(lines)
        uid_next = int(re.search(rb"UIDNEXT (\d+)", head).group(1))
        count = int(re.search(rb"\* (\d+) EXISTS", head).group(1))
        if any(entry[0] and entry[0] >= uid_next for entry in self.messages[:count]):
            self.fail("a UID is not below UIDNEXT")

    def some(self):
        count = self.random.randint(1, min(6, len(self.messages)))
        return ",".join(str(n) for n in sorted(self.random.sample(range(1, len(self.messages) + 1), count)))

    def flags(self):
        return " ".join(self.random.sample(SYSTEM + KEYWORDS, self.random.randint(0, 3)))

    def fetch(self):
        items = self.random.choice(
            ["FLAGS", "UID FLAGS INTERNALDATE", "UID ENVELOPE", "UID RFC822.SIZE", "UID BODY.PEEK[]",
             "UID BODYSTRUCTURE", "UID FLAGS MODSEQ", "UID BODY[TEXT]"])
        # A message that somebody else has expunged meanwhile can't be read any more.
        answer, _ = self.ask("FETCH %s (%s)" % (self.some(), items), allowed=("OK", "NO [EXPUNGEISSUED]"))
        if answer.startswith("NO") and items.startswith(("FLAGS", "UID FLAGS")):
            self.fail("FETCH of what the session knows")

    def store(self):
        which, how, flags = self.some(), self.random.choice(["+", "-", ""]), self.flags()
        silent = self.random.choice(["", ".SILENT"])
        command = "STORE %s %sFLAGS%s (%s)" % (which, how, silent, flags)
        answer, lines = self.ask(command, allowed=("OK", "NO [EXPUNGEISSUED]"))
        missing = self.untold(which, lines)
        if silent:
            self.change(missing, how, set(flags.lower().split()))
        if answer.startswith("OK") and not silent and missing:
            self.fail("STORE does not tell the flags of %s" % missing)

    def untold(self, which, lines):
        """Those of a set whose flags the answer did not tell."""
        told = {int(line.split()[1]) for line in lines if b" FETCH " in line and b"FLAGS (" in line}
        return {int(number) for number in which.split(",")} - told

    def change(self, numbers, how, flags):
        """A silent STORE: the client knows what came of it, or is told what else happened."""
        for entry in (self.messages[number - 1] for number in numbers):
            before = entry[1] or set()
            after = {"+": before | flags, "-": before - flags, "": flags}[how]
            entry[1] = after if entry[1] is not None or not how else None

    def append(self):
        if len(self.messages) >= MOST:
            return self.expunge()
        text = "Subject: %d of %d\r\n\r\nbody %s\r\n" % (self.tags, self.number, self.random.random())
        text = text.encode()
        answer, _ = self.ask("APPEND %s (%s) {%d}" % (FOLDER, self.flags(), len(text)), literal=text)
        uid = int(re.search(r"APPENDUID \d+ (\d+)", answer).group(1))
        with lock:
            bodies.setdefault(uid, b"{%d}\r\n%s)\r\n" % (len(text), text))

    def expunge(self):
        which = self.some()
        command = "STORE %s +FLAGS.SILENT (\\Deleted)" % which
        _, lines = self.ask(command, allowed=("OK", "NO [EXPUNGEISSUED]"))
        self.change(self.untold(which, lines), "+", {"\\deleted"})
        self.ask("EXPUNGE")

    def copy(self):
        if len(self.messages) < MOST:
            self.ask("COPY %d %s" % (self.random.randint(1, len(self.messages)), FOLDER),
                     allowed=("OK", "NO [EXPUNGEISSUED]"))

    def move(self):
        self.ask("MOVE %d %s" % (self.random.randint(1, len(self.messages)), FOLDER),
                 allowed=("OK", "NO [EXPUNGEISSUED]"))

    def search(self):
        key = self.random.choice(["ALL", "SEEN", "KEYWORD blue", "UNFLAGGED", "SUBJECT of", "SINCE 1-Jan-2020"])
        _, lines = self.ask("SEARCH " + key)
        found = [line for line in lines if line.startswith(b"* SEARCH")]
        if len(found) != 1 or any(int(n) > len(self.messages) for n in found[0].split()[2:] if n.isdigit()):
            self.fail("a wrong answer to SEARCH")

    def idle(self):
        self.tags += 1
        self.send("a%d IDLE" % self.tags)
        while not self.line().startswith(b"+"):
            self.fail("IDLE without continuation")
        time.sleep(self.random.random() / 5)
        self.send("DONE")
        while True:
            line = self.line()
            if line.startswith(b"a%d " % self.tags):
                return
            self.untagged(line, False)

    def step(self):
        if not self.messages:
            return self.random.choice([self.append, lambda: self.ask("NOOP")])()
        actions = [(self.fetch, 8), (self.store, 7), (self.append, 4), (self.expunge, 2), (self.copy, 2),
                   (self.move, 2), (self.search, 3), (lambda: self.ask("NOOP"), 3),
                   (lambda: self.ask("CHECK"), 1), (self.idle, 1), (self.select, 1)]
        whats, weights = zip(*actions)
        self.random.choices(whats, weights)[0]()

    def run(self, until):
        try:
            while time.time() < until and not failures:
                self.step()
        except Exception as failure:
            failures.append(repr(failure) if not isinstance(failure, AssertionError) else str(failure))


def settle(clients):
    """What every client believes after NOOP, and what a FETCH says, are the same everywhere."""
    for client in clients:
        client.ask("NOOP")
    for client in clients:
        believed = {entry[0]: entry[1] for entry in client.messages if entry[0] and entry[1] is not None}
        client.ask("NOOP")
        if client.messages:
            client.ask("FETCH 1:* (UID FLAGS)")
        for uid, flags in client.messages:
            if believed.get(uid, flags) != flags:
                client.fail("UID %d: it was told %s, it is %s" % (uid, believed[uid], flags))
    for client in clients[1:]:
        if client.messages != clients[0].messages:
            client.fail("it sees %s, another %s" % (client.messages, clients[0].messages))


clients = [Client(number) for number in range(CLIENTS)]
for client in clients:
    client.select()
until = time.time() + SECONDS
threads = [threading.Thread(target=client.run, args=(until,)) for client in clients]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if not failures:
    try:
        settle(clients)
    except AssertionError as failure:
        failures.append(str(failure))
if failures:
    sys.exit("\n".join(failures))
for client in clients:
    client.socket.close()
for uid, flags in clients[0].messages:
    print(uid, " ".join(sorted(flags)))
sys.stderr.write("seed %d: %d commands\n" % (SEED, sum(client.tags for client in clients)))
