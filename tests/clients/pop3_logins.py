"""Every way in which a POP3 client can log in. Arguments: port, TLS port, certificate."""
import base64, poplib, ssl, sys

port, tls_port, certificate = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
trust = ssl.create_default_context(cafile=certificate)
blob = base64.b64encode(b"\0popper\0local-password").decode()


def plain():
    return poplib.POP3("localhost", port, timeout=30)


def implicit():
    return poplib.POP3_SSL("localhost", tls_port, context=trust, timeout=30)


def started():
    pop = plain()
    assert "STLS" in pop.capa()
    pop.stls(trust)
    assert "STLS" not in pop.capa()
    return pop


def user_pass(pop):
    pop.user("POPPER")
    return pop.pass_("local-password")


def auth_initial(pop):
    return pop._shortcmd("AUTH PLAIN " + blob)


def auth_challenge(pop):
    pop._putcmd("AUTH PLAIN")
    assert pop._getline()[0].startswith(b"+ ")
    return pop._shortcmd(blob)


def auth_login(pop):
    pop._putcmd("AUTH LOGIN")
    for word in (b"popper", b"local-password"):
        assert pop._getline()[0].startswith(b"+ ")
        pop._putcmd(base64.b64encode(word).decode())
    return pop._getresp()


ways = [user_pass, auth_initial, auth_challenge, auth_login]
cases = [(plain, way) for way in ways]
cases += [(connect, way) for connect in (implicit, started) for way in (user_pass, auth_initial)]
for connect, way in cases:
    pop = connect()
    answer = way(pop)
    assert answer.startswith(b"+OK"), answer
    assert pop.stat() == (0, 0)
    pop.quit()

pop = plain()
for login in ("popper", "nobody"):
    pop.user(login)
    try:
        pop.pass_("wrong")
        raise SystemExit("a wrong password was accepted")
    except poplib.error_proto as error:
        assert b"-ERR [AUTH]" in error.args[0], error
user_pass(pop)
pop.quit()
