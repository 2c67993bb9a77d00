"""What an IMAP server has, or letters put there. Arguments: port, CA file, login, password, and for
APPEND a folder and how many messages come on the standard input, each after its length and a line
end. Prints a line a message, sorted: folder, digest, flags, UID."""
import hashlib
import imaplib
import re
import ssl
import sys

port, authority, login, password = sys.argv[1:5]
trusted = ssl.create_default_context(cafile=authority)
imap = imaplib.IMAP4_SSL("localhost", int(port), ssl_context=trusted, timeout=30)
assert imap.login(login, password)[0] == "OK"
if len(sys.argv) > 5:
    folder = '"%s"' % sys.argv[5]
    imap.create(folder)
    stream = sys.stdin.buffer
    while length := stream.readline():
        raw = stream.read(int(length))
        assert imap.append(folder, "\\Seen", '"05-Nov-2025 10:00:00 +0100"', raw)[0] == "OK"
    imap.logout()
    sys.exit()
found = []
for line in imap.list()[1]:
    attributes, separator, name = re.match(rb'\((.*?)\) "(.)" (.*)', line).groups()
    if b"\\noselect" in attributes.lower() or b"\\nonexistent" in attributes.lower():
        continue
    status, count = imap.select(name.decode(), readonly=True)
    assert status == "OK", (name, count)
    if count == [b"0"]:
        continue
    path = name.strip(b'"').replace(separator, b"/").decode()
    data = imap.fetch("1:*", "(UID FLAGS BODY.PEEK[])")[1]
    for part, rest in zip(data[::2], data[1::2]):
        told = (part[0] + rest).decode()
        words = re.search(r"FLAGS \((.*?)\)", told)[1].split()
        flags = " ".join(sorted(word for word in words if word != "\\Recent"))
        digest = hashlib.sha256(part[1]).hexdigest()[:16]
        found.append("%s %s (%s) %s" % (path, digest, flags, re.search(r"UID (\d+)", told)[1]))
print("\n".join(sorted(found)))
