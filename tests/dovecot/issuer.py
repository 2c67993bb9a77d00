"""A token endpoint as Google's (HTTPS) and an introspection endpoint for Dovecot (RFC 7662, HTTP).

Argument: PEM file with certificate and key. Prints both ports. Ends when its standard input ends,
so that no test leaves it behind.
"""
import base64, http.server, json, secrets, ssl, sys, threading, urllib.parse

users = {}  # token: user
issued = 0


class Endpoint(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def form(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        return dict(urllib.parse.parse_qsl(body))

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Token(Endpoint):
    def do_POST(self):
        global issued
        claims = self.form()["assertion"].split(".")[1]
        user = json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"]
        token = "ya29." + secrets.token_urlsafe(200)
        users[token] = user
        issued += 1
        self.answer({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})


class Introspection(Endpoint):
    def do_POST(self):
        if self.path == "/revoke":
            users.clear()
            return self.answer(issued)
        user = users.get(self.form().get("token"))
        self.answer({"active": True, "username": user} if user else {"active": False})


def serve(handler, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
print(serve(Token, context), serve(Introspection), flush=True)
sys.stdin.read()
