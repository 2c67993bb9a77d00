"""A mailbox with three messages at work. Arguments: port, TLS port, certificate."""
import imaplib, sys

imap = imaplib.IMAP4("localhost", int(sys.argv[1]), timeout=30)
imap.login("app", "local-password")
status, folders = imap.list()
assert status == "OK" and any(b"INBOX" in line for line in folders), folders
status, count = imap.select("INBOX")
assert (status, count) == ("OK", [b"3"]), count
status, found = imap.search(None, "SUBJECT", '"number 2"')
assert found == [b"2"], found
status, data = imap.fetch("1:3", "(UID RFC822.SIZE BODY.PEEK[])")
messages = [part for part in data if isinstance(part, tuple)]
for number, (envelope, raw) in enumerate(messages, 1):
    assert raw == b"Subject: number %d\r\n\r\n.dot %d\r\n" % (number, number), raw
    assert b"RFC822.SIZE %d " % len(raw) in envelope, envelope
assert imap.store("1", "+FLAGS", "(\\Flagged)")[0] == "OK"
assert imap.store("2", "+FLAGS", "(\\Deleted)")[0] == "OK"
status, gone = imap.expunge()
assert gone == [b"2"], gone
status, answer = imap.append(
    "INBOX", "(\\Seen)", '"01-Feb-2024 03:04:05 +0000"', b"Subject: appended\r\n\r\n.a\r\n\xc3\xa4\r\n"
)
assert status == "OK" and b"APPENDUID" in answer[0], answer
# RFC 3501 section 6.3.11: the new message may be told only now.
assert imap.noop()[0] == "OK"
status, answer = imap.fetch("3", "(FLAGS INTERNALDATE)")
assert b"\\Seen" in answer[0] and b"1-Feb-2024 03:04:05 +0000" in answer[0], answer
assert imap.close()[0] == "OK"
assert imap.logout()[0] == "BYE"
