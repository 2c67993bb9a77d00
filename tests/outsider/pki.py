"""Keys and certificates of an outsider's servers, made by openssl as an administrator would."""
import os
import subprocess

SUBJECT = {
    # kind: (key type, subjectAltName, signed by an authority of its own, CA flag)
    "ec": ("ec", "DNS:localhost,IP:127.0.0.1", True, False),
    "rsa-ip": ("rsa", "IP:127.0.0.1", True, False),
    "other-name": ("ec", "DNS:mail.example.net", True, False),
    "self-signed": ("rsa", "DNS:localhost,IP:127.0.0.1", False, False),
    "self-signed-other-name": ("ec", "DNS:mail.example.net", False, True),
    "self-signed-ca": ("rsa", "DNS:localhost,IP:127.0.0.1", False, True),
}


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def new_key(kind):
    if kind == "ec":
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]
    return ["-newkey", "rsa:2048"]


def make(folder, kind):
    """Writes ca.pem (what the proxy is told to trust), server.pem and server.key."""
    key, names, signed, ca = SUBJECT[kind]
    path = lambda name: os.path.join(folder, name)
    if not signed:
        extensions = ["-addext", "subjectAltName=" + names]
        extensions += [] if ca else ["-addext", "basicConstraints=critical,CA:FALSE"]
        openssl("req", "-x509", *new_key(key), "-nodes", "-days", "30", "-subj", "/CN=outsider",
                "-keyout", path("server.key"), "-out", path("server.pem"), *extensions)
        with open(path("server.pem")) as source, open(path("ca.pem"), "w") as target:
            target.write("# our test server\n" + source.read())
        return
    openssl("req", "-x509", *new_key("rsa"), "-nodes", "-days", "30",
            "-subj", "/O=Outsider/CN=Outsider root", "-keyout", path("ca.key"),
            "-out", path("ca.pem"))
    openssl("req", *new_key(key), "-nodes", "-subj", "/CN=outsider", "-keyout",
            path("server.key"), "-out", path("server.csr"))
    with open(path("extensions"), "w") as target:
        target.write("subjectAltName=%s\nextendedKeyUsage=serverAuth\n" % names)
    openssl("x509", "-req", "-in", path("server.csr"), "-CA", path("ca.pem"), "-CAkey",
            path("ca.key"), "-CAcreateserial", "-days", "30", "-extfile", path("extensions"),
            "-out", path("leaf.pem"))
    with open(path("server.pem"), "w") as target:
        for name in ("leaf.pem", "ca.pem"):
            with open(path(name)) as source:
                target.write(source.read())
