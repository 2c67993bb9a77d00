"""A maildrop read (each way of TLS, every command), left as it is, or emptied but for message 4.
Arguments: port, TLS port, certificate, what to do. Prints the numbers, unique ids and sizes."""
import poplib
import ssl
import sys

PORT, TLS_PORT, CERTIFICATE, WORK = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
trusted = ssl.create_default_context(cafile=CERTIFICATE)


def connect(kind):
    if kind == "tls":
        pop = poplib.POP3_SSL("localhost", TLS_PORT, context=trusted, timeout=30)
    else:
        pop = poplib.POP3("localhost", PORT, timeout=30)
    if kind == "starttls":
        pop.stls(trusted)
    pop.user("app")
    pop.pass_("local-password")
    return pop


def read(pop):
    count, total = pop.stat()
    listing = [line.split() for line in pop.list()[1]]
    ids = [line.split() for line in pop.uidl()[1]]
    assert len(listing) == len(ids) == count
    assert total == sum(int(size) for _, size in listing)
    for (number, size), (same, unique_id) in zip(listing, ids):
        assert number == same
        # The size is that of the message, dots and CRLFs as they are.
        _, lines, _ = pop.retr(int(number))
        raw = b"".join(line + b"\r\n" for line in lines)
        assert len(raw) == int(size), (number, size, len(raw))
        assert pop.list(int(number)).split()[1:] == [number, size]
        assert pop.uidl(int(number)).split()[1:] == [number, unique_id]
        head = raw.split(b"\r\n\r\n")[0].split(b"\r\n") + [b""]
        assert pop.top(int(number), 0)[1] == head, pop.top(int(number), 0)
        assert len(pop.top(int(number), 2)[1]) == len(head) + 2
        print(number.decode(), unique_id.decode(), size.decode())


pop = connect("starttls" if WORK == "undo" else "tls" if WORK == "delete" else "plain")
assert "UIDL" in pop.capa() and "TOP" in pop.capa()
if WORK == "undo":
    for number in 1, 2, 3:
        pop.dele(number)
    assert pop.stat()[0] == 9
    try:
        pop.retr(2)
    except poplib.error_proto as error:
        assert str(error).startswith("b'-ERR"), error
    else:
        raise AssertionError("a deleted message was sent")
    pop.rset()
    assert pop.stat()[0] == 12
    pop.dele(5)
    # No QUIT: nothing is deleted.
    pop.close()
else:
    read(pop)
    if WORK == "delete":
        for number in range(1, 13):
            if number != 4:
                pop.dele(number)
    pop.quit()
