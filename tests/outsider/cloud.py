"""Starts an outsider's cloud: cloud.py FOLDER OPTIONS-AS-JSON. Prints its ports, then serves until
its standard input ends."""
import json
import ssl
import sys
import threading

import mail
import pki
import web


def main():
    folder, options = sys.argv[1], json.loads(sys.argv[2])
    pki.make(folder, options.get("certificates", "ec"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder + "/server.pem", folder + "/server.key")
    cloud = web.Cloud(folder, options)
    web.Handler.cloud = mail.Session.cloud = cloud
    servers = {
        "https": web.Server(context),
        "smtp": mail.Server(mail.Smtp, context),
        "imap": mail.Server(mail.Imap, context),
        "pop3": mail.Server(mail.Pop3, context),
    }
    ports = {name: server.server_address[1] for name, server in servers.items()}
    cloud.https = "%s:%d" % (options.get("host", "localhost"), ports["https"])
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps(ports), flush=True)
    sys.stdin.read()


main()
