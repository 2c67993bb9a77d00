"""The page over TLS from this machine's own address: health, metrics with a password, cookie."""
import base64
import http.client
import ssl
import sys

host, port, password = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def ask(method, path, body=None, **fields):
    connection = http.client.HTTPSConnection(host, port, timeout=30, context=context)
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer, answer.read().decode()


def basic(user, word):
    return "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()


answer, text = ask("GET", "/healthz")
assert (answer.status, text) == (200, "ok\n"), text
assert answer.getheader("Strict-Transport-Security") is None, "an address is no name of ours"

answer, text = ask("GET", "/metrics")
assert answer.status == 401 and answer.getheader("WWW-Authenticate").startswith("Basic "), text
assert "authbridge_" not in text, text
assert ask("GET", "/metrics", Authorization=basic("admin", "wrong"))[0].status == 401
assert ask("GET", "/metrics", Authorization=basic("root", password))[0].status == 401
answer, text = ask("GET", "/metrics", Authorization=basic("admin", password))
assert answer.status == 200 and "authbridge_" in text, text

form = {"Content_Type": "application/x-www-form-urlencoded"}
answer, _ = ask("POST", "/login", f"password={password}", Origin=f"http://{host}:{port}", **form)
assert answer.status == 403, "another scheme is another origin"
answer, _ = ask("POST", "/login", f"password={password}", Origin=f"https://{host}:{port}", **form)
assert answer.status == 303, answer.status
cookie = answer.getheader("Set-Cookie")
assert all(part in cookie for part in ("Secure", "HttpOnly", "SameSite=Strict")), cookie
assert cookie.startswith(f"__Host-authbridge_session_{port}="), cookie
answer, text = ask("GET", "/", Cookie=cookie.split(";")[0])
assert answer.status == 200 and "Overview" in text, text
print("all is well")
