"""Every way in which imaplib can log in. Arguments: port, TLS port, certificate."""
import imaplib, ssl, sys

port, tls_port, certificate = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
trust = ssl.create_default_context(cafile=certificate)


def plain():
    return imaplib.IMAP4("localhost", port, timeout=30)


def implicit():
    return imaplib.IMAP4_SSL("localhost", tls_port, ssl_context=trust, timeout=30)


def started():
    imap = plain()
    assert "STARTTLS" in imap.capabilities, imap.capabilities
    imap.starttls(trust)
    assert "STARTTLS" not in imap.capabilities, imap.capabilities
    return imap


def authenticate_plain(imap):
    return imap.authenticate("PLAIN", lambda challenge: b"\0app\0local-password")


def authenticate_login(imap):
    words = iter([b"APP", b"local-password"])
    return imap.authenticate("LOGIN", lambda challenge: next(words))


def literals(imap):
    imap.send(b"x1 LOGIN {3}\r\n")
    assert imap.readline().startswith(b"+")
    imap.send(b"app {14}\r\n")
    assert imap.readline().startswith(b"+")
    imap.send(b"local-password\r\n")
    answer = imap.readline()
    assert answer.startswith(b"x1 OK"), answer
    imap.state = "AUTH"
    return "OK", [answer]


ways = [
    lambda imap: imap.login("app", "local-password"),
    lambda imap: imap.login("App", "local-password"),
    lambda imap: imap.login("odd", 'a "b\\ c{3}'),
    authenticate_plain,
    authenticate_login,
    literals,
]
cases = [(plain, way) for way in ways]
cases += [(connect, way) for connect in (implicit, started) for way in (ways[0], ways[3])]
for connect, way in cases:
    imap = connect()
    status, answer = way(imap)
    assert status == "OK", answer
    status, _ = imap.select("INBOX")
    assert status == "OK"
    status, _ = imap.logout()
    assert status == "BYE"

imap = plain()
try:
    imap.login("app", "wrong")
    raise SystemExit("a wrong password was accepted")
except imaplib.IMAP4.error as error:
    assert "AUTHENTICATIONFAILED" in str(error), error
imap.login("app", "local-password")
imap.logout()
