"""IMAP extensions through the relay. Arguments: port, login, password."""
import base64, re, socket, sys, zlib

port, login, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]


class Imap:
    def __init__(self):
        self.socket = socket.create_connection(("localhost", port), timeout=30)
        self.deflate = self.inflate = None
        self.buffer = b""
        self.tag = 0
        self.line()
        self.welcome = self.ask(b"LOGIN %s %s" % (login.encode(), password.encode()))[-1]

    def send(self, data):
        if self.deflate:
            data = self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(data)

    def fill(self):
        data = self.socket.recv(65536)
        assert data, "closed"
        self.buffer += self.inflate.decompress(data) if self.inflate else data

    def line(self):
        """A response, its literals included."""
        whole = b""
        while True:
            while b"\r\n" not in self.buffer:
                self.fill()
            line, self.buffer = self.buffer.split(b"\r\n", 1)
            whole += line
            literal = re.search(rb"\{(\d+)\}$", line)
            if not literal:
                return whole
            count = int(literal.group(1))
            while len(self.buffer) < count:
                self.fill()
            whole += b"\r\n" + self.buffer[:count]
            self.buffer = self.buffer[count:]

    def ask(self, command, status=b"OK"):
        self.tag += 1
        tag = b"t%d" % self.tag
        self.send(tag + b" " + command + b"\r\n")
        lines = []
        while True:
            lines.append(self.line())
            if lines[-1].startswith(tag + b" "):
                assert lines[-1].startswith(tag + b" " + status), (command[:80], lines)
                return lines

    def append(self, raw, kind=b"{%d+}"):
        return self.ask(b"APPEND INBOX " + kind % len(raw) + b"\r\n" + raw)


def number(name, lines):
    return int(re.search(name + rb" (\d+)", b"\n".join(lines)).group(1))


first, second = Imap(), Imap()
for word in (b"LITERAL+", b"BINARY", b"ENABLE", b"IDLE", b"CONDSTORE", b"QRESYNC", b"COMPRESS=DEFLATE"):
    assert word in first.welcome, (word, first.welcome)
for word in (b"AUTH=", b"STARTTLS", b"LOGINDISABLED", b"SASL-IR"):
    assert word not in first.welcome, (word, first.welcome)

# LITERAL+, more than one in a command.
first.ask(b"CREATE {5+}\r\nother")
first.append(b"Subject: one\r\n\r\nhi\r\n")
first.append(b"Subject: two\r\n\r\nho\r\n")

# BINARY (RFC 3516): an octet that text may not hold.
octets = bytes(range(256))
first.append(
    b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(octets).replace(b"\n", b"\r\n")
)
selected = first.ask(b"SELECT INBOX")
assert number(rb"\*", [line for line in selected if line.endswith(b" EXISTS")]) == 3
fetched = first.ask(b"FETCH 3 BINARY.PEEK[1]")[0]
assert octets in fetched, fetched

# IDLE: another session's message is heard of.
first.send(b"i IDLE\r\n")
assert first.line().startswith(b"+ ")
second.append(b"Subject: four\r\n\r\n\r\n")
while first.line() != b"* 4 EXISTS":
    pass
first.send(b"DONE\r\n")
while not first.line().startswith(b"i OK"):
    pass

# ENABLE, CONDSTORE, QRESYNC (RFC 7162).
enabled = first.ask(b"ENABLE CONDSTORE QRESYNC")
assert any(line.startswith(b"* ENABLED") and b"QRESYNC" in line for line in enabled), enabled
first.ask(b"CLOSE")
selected = first.ask(b"SELECT INBOX")
validity, modseq = number(rb"UIDVALIDITY", selected), number(rb"HIGHESTMODSEQ", selected)
second.ask(b"SELECT INBOX")
second.ask(b"STORE 2 +FLAGS (\\Deleted)")
second.ask(b"EXPUNGE")
second.ask(b"STORE 1 +FLAGS (\\Flagged)")
refused = first.ask(b"STORE 1 (UNCHANGEDSINCE %d) +FLAGS (\\Seen)" % modseq)
assert b"MODIFIED" in refused[-1], refused
first.ask(b"CLOSE")
resynced = first.ask(b"SELECT INBOX (QRESYNC (%d %d))" % (validity, modseq))
assert b"* VANISHED (EARLIER) 2" in resynced, resynced
assert any(b"\\Flagged" in line and b"MODSEQ" in line for line in resynced), resynced

# COMPRESS=DEFLATE (RFC 4978), and a large message both ways through it.
first.ask(b"COMPRESS DEFLATE")
first.deflate = zlib.compressobj(wbits=-15)
first.inflate = zlib.decompressobj(wbits=-15)
large = b"Subject: large\r\n\r\n" + b"".join(b"%d %s\r\n" % (n, b"\xe4x" * (n % 400)) for n in range(12000))
assert len(large) > 4 << 20
first.append(large)
first.ask(b"NOOP")
fetched = first.ask(b"FETCH 4 BODY.PEEK[]")[0]
assert large in fetched, len(fetched)
first.ask(b"LOGOUT")

# The same without compression.
second.append(large)
second.ask(b"NOOP")
assert large in second.ask(b"FETCH 5 BODY.PEEK[]")[0]
second.ask(b"LOGOUT")
