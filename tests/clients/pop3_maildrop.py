"""A maildrop with three messages at work. Arguments: port, TLS port, certificate."""
import poplib, sys


def log_in():
    pop = poplib.POP3("localhost", int(sys.argv[1]), timeout=30)
    pop.user("popper")
    pop.pass_("local-password")
    return pop


def message(number):
    return [b"Subject: number %d" % number, b"", b".dot %d" % number, b"last"]


size = len(b"\r\n".join(message(1))) + 2
pop = log_in()
assert pop.stat() == (3, 3 * size), pop.stat()
assert pop.list()[1] == [b"%d %d" % (number, size) for number in (1, 2, 3)]
unique = [line.split()[1] for line in pop.uidl()[1]]
assert len(set(unique)) == 3
for number in (1, 2, 3):
    assert pop.retr(number)[1] == message(number), pop.retr(number)
    assert pop.top(number, 0)[1] == message(number)[:2]
    assert pop.top(number, 1)[1] == message(number)[:3]
pop.dele(1)
pop.rset()
pop.dele(2)
assert pop.stat() == (2, 2 * size)
try:
    pop.retr(2)
    raise SystemExit("a deleted message was served")
except poplib.error_proto:
    pass
pop.quit()
pop = log_in()
assert [line.split()[1] for line in pop.uidl()[1]] == [unique[0], unique[2]]
pop.noop()
pop.quit()
