"""Entra's and Google's token endpoints and Graph's sendMail, written from their documentation.

It shares no code with the program under test. What it does not like it refuses, and every request
goes to requests.jsonl, so that the test can look at what was really sent.
"""
import base64
import gzip
import hashlib
import http.server
import json
import os
import secrets
import socketserver
import subprocess
import time
import urllib.parse

GRAPH_SCOPE = "https://graph.microsoft.com/.default"
GOOGLE_SCOPE = "https://mail.google.com/"


class Refused(Exception):
    def __init__(self, status, body):
        self.status, self.body = status, body


def entra_refuses(code, text, error="invalid_client"):
    # The shape of identity-platform/v2-oauth2-client-creds-grant-flow, "Error response".
    return Refused(401 if error == "invalid_client" else 400, {
        "error": error,
        "error_description": "AADSTS%d: %s Trace ID: 0000 Correlation ID: 1111" % (code, text),
        "error_codes": [code], "timestamp": "2026-11-24 10:00:00Z", "trace_id": "0000",
        "correlation_id": "1111", "error_uri": "https://login.example/error?code=%d" % code})


def segments(token):
    parts = token.split(".")
    if len(parts) != 3 or any("=" in part for part in parts):
        raise ValueError("a JWT has three parts of base64url without padding")
    decode = lambda part: base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_",
                                           validate=True)
    header, claims, signature = map(decode, parts)
    return json.loads(header), json.loads(claims), signature, token.rsplit(".", 1)[0].encode()


def verify(folder, algorithm, certificate, signature, signed):
    """openssl judges the signature; the program signs with another library."""
    public = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"],
                            check=True, capture_output=True).stdout
    name = os.path.join(folder, "jwt-" + secrets.token_hex(4))
    for ending, content in ((".key", public), (".sig", signature), (".txt", signed)):
        with open(name + ending, "wb") as target:
            target.write(content)
    padding = [] if algorithm == "RS256" else [
        "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]
    outcome = subprocess.run(["openssl", "dgst", "-sha256", *padding, "-verify", name + ".key",
                              "-signature", name + ".sig", name + ".txt"], capture_output=True)
    return outcome.returncode == 0


class Cloud:
    """What is known about accounts and tokens."""

    def __init__(self, folder, options):
        self.folder, self.options, self.tokens = folder, options, {}
        self.calls = {"token": 0, "send": 0}
        self.https = None

    def note(self, **entry):
        with open(os.path.join(self.folder, "requests.jsonl"), "a") as target:
            target.write(json.dumps(entry) + "\n")

    def issue(self, audience, user=None):
        token = secrets.token_urlsafe(self.options.get("token_octets", 1200))
        self.tokens[token] = {"audience": audience, "user": user}
        # expires_in as text, as Entra's older endpoint and some gateways write it.
        return {"token_type": "bearer", "scope": "", "expires_in": "3599",
                "ext_expires_in": "3599", "access_token": token,
                "foci": {"nested": [None, 1.5]}, "not_before": int(time.time())}

    def entra(self, tenant, form):
        known = self.options
        for name in ("client_id", "grant_type", "scope"):
            if name not in form:
                raise entra_refuses(900144, "The request body must contain: '%s'." % name,
                                    "invalid_request")
        if tenant != known["tenant"]:
            raise entra_refuses(90002, "Tenant '%s' not found." % tenant, "invalid_request")
        if form["client_id"] != known["client_id"]:
            raise entra_refuses(700016, "Application was not found.", "unauthorized_client")
        if form["grant_type"] != "client_credentials":
            raise entra_refuses(70003, "Unsupported grant.", "unsupported_grant_type")
        if form["scope"] != GRAPH_SCOPE:
            raise entra_refuses(70011, "The scope %s is not valid." % form["scope"],
                                "invalid_scope")
        if "client_assertion" in form:
            self.check_entra_assertion(tenant, form)
        elif form.get("client_secret") != known["secret"]:
            raise entra_refuses(7000215, "Invalid client secret provided.")
        return self.issue("graph")

    def check_entra_assertion(self, tenant, form):
        if "client_secret" in form or form.get("client_assertion_type") != (
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"):
            raise entra_refuses(50027, "The assertion type is wrong.")
        certificate = self.options["certificate"]
        der = subprocess.run(["openssl", "x509", "-in", certificate, "-outform", "DER"],
                             check=True, capture_output=True).stdout
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
        try:
            header, claims, signature, signed = segments(form["client_assertion"])
        except ValueError as error:
            raise entra_refuses(50027, "Malformed JWT: %s." % error)
        if header.get("x5t#S256") != thumbprint or header.get("typ") != "JWT":
            raise entra_refuses(700027, "The certificate is not registered.")
        if header.get("alg") not in ("PS256", "RS256"):
            raise entra_refuses(5002738, "The algorithm is not supported.")
        if not verify(self.folder, header["alg"], certificate, signature, signed):
            raise entra_refuses(700027, "Client assertion failed signature validation.")
        audience = "https://%s/%s/oauth2/v2.0/token" % (self.https, tenant)
        if claims.get("aud") != audience:
            raise entra_refuses(50027, "aud is %s and not %s." % (claims.get("aud"), audience))
        if claims.get("iss") != form["client_id"] or claims.get("sub") != form["client_id"]:
            raise entra_refuses(50027, "iss and sub must be the client.")
        now = time.time()
        if not claims["nbf"] <= now < claims["exp"] <= now + 900 or not claims.get("jti"):
            raise entra_refuses(700024, "Client assertion is not within its valid time range.")

    def google(self, url, form):
        def refuse(error, text, status=400):
            return Refused(status, {"error": error, "error_description": text})
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            raise refuse("unsupported_grant_type", "Invalid grant_type")
        if set(form) != {"grant_type", "assertion"}:
            raise refuse("invalid_request", "Unexpected parameter " + " ".join(form))
        try:
            header, claims, signature, signed = segments(form["assertion"])
        except ValueError as error:
            raise refuse("invalid_grant", "Invalid JWT: %s" % error)
        if header.get("alg") != "RS256" or not verify(
                self.folder, "RS256", self.options["certificate"], signature, signed):
            raise refuse("invalid_grant", "Invalid JWT Signature.")
        if claims.get("iss") != self.options["service_account"]:
            raise refuse("invalid_grant", "Invalid grant: account not found")
        if claims.get("aud") not in (url, "https://oauth2.googleapis.com/token"):
            raise refuse("invalid_grant", "Invalid JWT: wrong audience")
        now = time.time()
        if claims["iat"] > now + 1 or claims["exp"] > claims["iat"] + 3600 or claims["exp"] < now:
            raise refuse("invalid_grant", "Invalid JWT: Token must be a short-lived token "
                         "(60 minutes) and in a reasonable timeframe.")
        if claims.get("scope") != GOOGLE_SCOPE or claims.get("sub") != self.options["user"]:
            raise refuse("unauthorized_client", "Client is unauthorized to retrieve access tokens "
                         "using this method, or client not authorized for any of the scopes "
                         "requested.", 401)
        return self.issue("gmail", claims["sub"])

    def send_mail(self, user, headers, body):
        bearer = headers.get("Authorization", "")
        token = bearer[7:] if bearer.startswith("Bearer ") else None
        if self.tokens.get(token, {}).get("audience") != "graph":
            raise Refused(401, {"error": {"code": "InvalidAuthenticationToken",
                                          "message": "Access token is empty."}})
        if user.lower() != self.options["mailbox"]:
            raise Refused(404, {"error": {"code": "ErrorInvalidUser",
                                          "message": "The requested user is invalid."}})
        if headers.get("Content-Type", "").split(";")[0].strip() != "text/plain":
            raise Refused(415, {"error": {"code": "RequestBodyRead", "message": "text/plain"}})
        self.calls["send"] += 1
        if self.calls["send"] <= self.options.get("throttled", 0):
            raise Refused(429, {"error": {"code": "ApplicationThrottled", "message": "Slow down",
                                          "innererror": {"request-id": "1"}}})
        try:
            mime = base64.b64decode(body, validate=True)
        except ValueError:
            raise Refused(400, {"error": {"code": "ErrorMimeContentInvalidBase64String",
                                          "message": "Invalid base64 string for MIME content."}})
        number = self.calls["send"]
        with open(os.path.join(self.folder, "sent-%d.eml.part" % number), "wb") as target:
            target.write(mime)
        os.rename(target.name, target.name[:-5])


class Handler(http.server.BaseHTTPRequestHandler):
    cloud = None
    server_version, sys_version = "Outsider", ""

    def setup(self):
        # Before the first request is parsed, or the connection ends after it without a word.
        self.protocol_version = self.cloud.options.get("protocol", "HTTP/1.1")
        super().setup()

    def log_message(self, *_):
        pass

    def handle_expect_100(self):
        return True  # Says nothing: who waits for 100 Continue waits in vain.

    def do_POST(self):
        options = self.cloud.options
        length = self.headers.get("Content-Length")
        if length is None:
            return self.answer(411, {"error": {"code": "LengthRequired", "message": "411"}})
        body = self.rfile.read(int(length))
        time.sleep(options.get("slow", 0))
        path = urllib.parse.urlsplit(self.path).path
        names = sorted(name.lower() for name in self.headers.keys())
        self.cloud.note(path=path, headers=names, host=self.headers.get("Host"),
                        type=self.headers.get("Content-Type"))
        try:
            self.answer(*self.route(path, body))
        except Refused as refused:
            self.answer(refused.status, refused.body)

    def route(self, path, body):
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        if path == "/google/token" or parts[1:] == ["oauth2", "v2.0", "token"]:
            kind = self.headers.get("Content-Type", "").split(";")[0]
            if kind != "application/x-www-form-urlencoded":
                raise Refused(400, {"error": "invalid_request"})
            pairs = urllib.parse.parse_qsl(body.decode("ascii"), strict_parsing=True)
            form = dict(pairs)
            if len(form) != len(pairs):
                raise Refused(400, {"error": "invalid_request"})
            if path == "/google/token":
                return 200, self.cloud.google("https://%s%s" % (self.cloud.https, path), form)
            return 200, self.cloud.entra(parts[0], form)
        if parts[:2] == ["v1.0", "users"] and parts[3:] == ["sendMail"]:
            self.cloud.send_mail(parts[2], self.headers, body)
            return 202, self.cloud.options.get("accepted_body")
        raise Refused(404, {"error": {"code": "ResourceNotFound", "message": path}})

    def answer(self, status, value):
        options = self.cloud.options
        body = b"" if value is None else json.dumps(value).encode()
        name = str.lower if options.get("lower") else str
        self.send_response_only(status)
        self.send_header(name("Content-Type"), "application/json;charset=UTF-8;odata=minimal")
        self.send_header(name("X-MS-Request-ID"), secrets.token_hex(8))
        self.send_header(name("Set-Cookie"), "fpc=1; path=/; secure")
        if status == 429:
            self.send_header(name("Retry-After"), "1")
        if options.get("gzip") and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body)
            self.send_header(name("Content-Encoding"), "gzip")
        if options.get("close") or status == 411:
            self.send_header(name("Connection"), "close")
            self.close_connection = True
        if options.get("chunked") and status != 202:
            self.send_header(name("Transfer-Encoding"), "chunked")
            self.end_headers()
            for octet in range(0, len(body), 7):
                piece = body[octet:octet + 7]
                self.wfile.write(b"%x;note=1\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            return self.wfile.write(b"0\r\nX-Trailer: 1\r\n\r\n")
        if options.get("protocol") != "HTTP/1.0":
            self.send_header(name("Content-Length"), str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def __init__(self, context):
        super().__init__(("127.0.0.1", 0), Handler)
        self.context = context

    def finish_request(self, request, address):
        # The handshake in the connection's own thread: a client that leaves stops nobody else.
        with self.context.wrap_socket(request, server_side=True) as stream:
            self.RequestHandlerClass(stream, address, self)
            if not Handler.cloud.options.get("hang_up"):
                stream.settimeout(5)
                stream.unwrap()  # close_notify

    def handle_error(self, *_):
        pass
