"""Logins after TLS from off loopback. Arguments: address, certificate, ports of IMAP, IMAPS, POP3,
POP3S. The certificate names localhost alone, so the name is not compared; the chain is."""
import imaplib, poplib, ssl, sys

address, certificate = sys.argv[1:3]
imap_port, imaps_port, pop3_port, pop3s_port = map(int, sys.argv[3:])
trust = ssl.create_default_context(cafile=certificate)
trust.check_hostname = False

started = imaplib.IMAP4(address, imap_port, timeout=30)
started.starttls(trust)
for imap in (started, imaplib.IMAP4_SSL(address, imaps_port, ssl_context=trust, timeout=30)):
    assert "LOGINDISABLED" not in imap.capabilities, imap.capabilities
    imap.login("app", "local-password")
    imap.logout()

started = poplib.POP3(address, pop3_port, timeout=30)
started.stls(trust)
for pop in (started, poplib.POP3_SSL(address, pop3s_port, context=trust, timeout=30)):
    pop.user("popper")
    pop.pass_("local-password")
    pop.quit()
