"""A long life in a mailbox. Arguments: port, TLS port, certificate. Prints the messages it leaves
behind in Arbeit, one a line: UID, size."""
import email.policy
import imaplib
import re
import ssl
import sys
from email.message import EmailMessage

PORT, TLS_PORT, CERTIFICATE, COUNT = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
trusted = ssl.create_default_context(cafile=CERTIFICATE)


def ok(answer):
    status, data = answer
    assert status == "OK", answer
    return data


def connect(kind):
    if kind == "tls":
        imap = imaplib.IMAP4_SSL("localhost", TLS_PORT, ssl_context=trusted, timeout=30)
    else:
        imap = imaplib.IMAP4("localhost", PORT, timeout=30)
    if kind == "starttls":
        ok(imap.starttls(trusted))
    ok(imap.login("app", "local-password"))
    imap._get_capabilities()
    return imap


def literals(data):
    return [part for part in data if isinstance(part, tuple)]


def folders(imap):
    names = b"\n".join(ok(imap.list()))
    for name, use in (b"INBOX", None), (b"Drafts", b"\\Drafts"), (b'"Sent Items"', b"\\Sent"):
        line = next(line for line in names.split(b"\n") if line.endswith(name) or line.endswith(b"\"" + name + b"\""))
        assert use is None or use in line, line
    assert ok(imap.list('""', "%")) and ok(imap.list('""', '""')) == [b'(\\Noselect) "/" ""']
    status = ok(imap.status("INBOX", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT)"))[0]
    assert b"MESSAGES %d" % COUNT in status and b"UNSEEN %d" % COUNT in status, status
    for name in b"QUOTA", b"ACL":
        assert name.decode() not in imap.capabilities, imap.capabilities
    try:
        answer = imap._simple_command("GETQUOTAROOT", "INBOX")
    except imaplib.IMAP4.error as error:
        assert "BAD" in str(error), error
    else:
        assert answer[0] in ("BAD", "NO"), answer


def everything(imap):
    assert ok(imap.select("INBOX")) == [b"%d" % COUNT]
    for items in "ALL", "FAST", "FULL", "(UID FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE ENVELOPE)":
        answer = imap.fetch("1:*", items)
        assert len(ok(answer)) >= COUNT, (items, answer)
    whole = literals(ok(imap.fetch("1:*", "(UID RFC822.SIZE BODY.PEEK[])")))
    assert len(whole) == COUNT
    for line, raw in whole:
        assert int(re.search(rb"RFC822.SIZE (\d+)", line)[1]) == len(raw), line
    header = literals(ok(imap.fetch("1:*", "(BODY.PEEK[HEADER])")))
    text = literals(ok(imap.fetch("1:*", "(BODY.PEEK[TEXT])")))
    for (_, raw), (_, head), (_, rest) in zip(whole, header, text):
        assert raw == head + rest
    assert [raw for _, raw in literals(ok(imap.fetch("1:*", "(RFC822.HEADER)")))] == [
        head for _, head in header
    ]
    fields = literals(ok(imap.fetch("2", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")))
    assert fields[0][1] == b"Subject: letter 1\r\n\r\n", fields
    part = literals(ok(imap.fetch("6", "(BODY.PEEK[2.HEADER])")))[0][1]
    assert b"Subject: inner 5" in part, part
    piece = literals(ok(imap.fetch("1", "(BODY.PEEK[]<10.20>)")))
    assert piece[0][1] == whole[0][1][10:30] and b"BODY[]<10>" in piece[0][0], piece
    assert b"\\Seen" not in ok(imap.fetch("1", "FLAGS"))[0]
    ok(imap.fetch("1", "BODY[1]"))
    assert b"\\Seen" in ok(imap.fetch("1", "FLAGS"))[0]
    return [raw for _, raw in whole]


def searches(imap):
    found = lambda *keys: ok(imap.search(*keys))[0].split()
    assert found(None, "ALL") == [b"%d" % n for n in range(1, COUNT + 1)]
    assert found(None, "SEEN") == [b"1"] and len(found(None, "UNSEEN")) == COUNT - 1
    assert found(None, "SUBJECT", '"letter 7"') == [b"8"]
    assert found(None, "HEADER", "Message-ID", "<4.letter@partner.example>") == [b"5"]
    assert len(found(None, "SENTON", "2-Nov-2026")) == COUNT
    assert found(None, "NOT", "OR", "1:5", "7:*") == [b"6"]
    imap.literal = "Boxkämpfer, 3".encode()
    assert found("UTF-8", "BODY") == [b"4"]
    imap.literal = "Jörg".encode()
    assert len(found("UTF-8", "FROM")) == COUNT
    status, data = imap.search("ISO-8859-1", "ALL")
    assert status == "NO" and b"BADCHARSET (UTF-8)" in data[0], data
    assert ok(imap.uid("SEARCH", "UID", "1:*")) == ok(imap.uid("SEARCH", "ALL"))
    order = ok(imap.sort("(REVERSE SUBJECT)", "UTF-8", "ALL"))[0].split()
    names = sorted((f"letter {n}" for n in range(COUNT)), reverse=True)
    assert order == [b"%d" % (int(name[7:]) + 1) for name in names], order
    threads = ok(imap.thread("REFERENCES", "UTF-8", "ALL"))[0]
    assert threads.count(b"(") == COUNT, threads


def letter():
    message = EmailMessage(policy=email.policy.SMTP.clone(cte_type="8bit"))
    message["From"], message["To"] = "Änne <a@b.example>", "office@contoso.example"
    message["Subject"], message["Message-ID"] = "Übersicht", "<appended@b.example>"
    message.set_content("Zwölf Boxkämpfer\n.\n..\n", cte="8bit")
    data = bytes(range(256)) * 300
    message.add_attachment(data, maintype="application", subtype="x-own", filename="ü.bin")
    return message.as_bytes()


def changes(imap, contents):
    names = '"B&APw-ro"', '"B&APw-ro/Ablage"'
    for name in names:
        ok(imap.create(name))
        ok(imap.subscribe(name))
    assert imap.create(names[0])[0] == "NO"
    assert len(ok(imap.lsub('""', '"B&APw-ro*"'))) == 2
    code = ok(imap.copy("1:3", names[1]))
    assert b"COPYUID" in code[0] or imap.response("COPYUID"), code
    raw = letter()
    date = '"01-Feb-2024 03:04:05 +0100"'
    code = ok(imap.append(names[1], "(\\Seen \\Flagged \\Answered Rechnung)", date, raw))
    uid = int(re.search(rb"APPENDUID \d+ (\d+)", code[0])[1])
    ok(imap.select(names[1]))
    data = ok(imap.uid("FETCH", str(uid), "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
    assert literals(data)[0][1] == raw
    told = data[0][0] + data[-1]
    for word in b"\\Seen", b"\\Flagged", b"\\Answered", b"Rechnung", b" %d " % len(raw):
        assert word in told, (word, told)
    # The service keeps instants, not zones.
    assert imaplib.Internaldate2tuple(told) == imaplib.Internaldate2tuple(
        b'INTERNALDATE "01-Feb-2024 02:04:05 +0000"'
    ), told
    copied = literals(ok(imap.fetch("1:3", "BODY.PEEK[]")))
    assert [raw for _, raw in copied] == contents[:3]
    ok(imap.uid("STORE", str(uid), "-FLAGS", "(\\Answered Rechnung)"))
    told = ok(imap.fetch("4", "FLAGS"))[0]
    assert b"\\Answered" not in told and b"Rechnung" not in told and b"\\Flagged" in told, told
    ok(imap.store("1", "FLAGS.SILENT", "(\\Deleted)"))
    assert ok(imap.expunge()) == [b"1"]
    ok(imap.uid("STORE", str(uid), "+FLAGS", "\\Deleted"))
    ok(imap.uid("EXPUNGE", str(uid)))
    imap.untagged_responses.clear()
    assert ok(imap.search(None, "ALL"))[0].split() == [b"1", b"2"]
    assert "MOVE" in imap.capabilities
    ok(imap._simple_command("MOVE", "1", names[0]))
    ok(imap.close())
    ok(imap.rename(names[1], '"Arbeit"'))
    ok(imap.rename(names[0], '"Arbeit/B&APw-ro"'))
    status = ok(imap.status('"Arbeit/B&APw-ro"', "(MESSAGES)"))[0]
    assert b"MESSAGES 1" in status, status
    assert imap.select('"B&APw-ro"')[0] == "NO"
    ok(imap.delete('"Arbeit/B&APw-ro"'))
    ok(imap.unsubscribe('"Arbeit/B&APw-ro"'))
    assert not any(b"B&APw-ro" in line for line in ok(imap.list()))


def idle(imap):
    """By hand: this Python's imaplib has no IDLE. The test delivers when told."""
    ok(imap.select("INBOX"))
    tag = imap._new_tag()
    imap.send(tag + b" IDLE\r\n")
    assert imap.readline().startswith(b"+ ")
    print("deliver", flush=True)
    line = imap.readline()
    while b"EXISTS" not in line:
        assert line and not line.startswith(tag), line
        line = imap.readline()
    assert line == b"* %d EXISTS\r\n" % (COUNT + 1), line
    imap.send(b"DONE\r\n")
    while not line.startswith(tag):
        line = imap.readline()
    assert line.startswith(tag + b" OK"), line


for kind in "tls", "starttls":
    connect(kind).logout()
imap = connect("plain")
folders(imap)
contents = everything(imap)
searches(imap)
changes(imap, contents)
idle(imap)
ok(imap.select("Arbeit", readonly=True))
for line in ok(imap.fetch("1:*", "(UID RFC822.SIZE)")):
    print(line.decode())
assert imap.logout()[0] == "BYE"
