"""Gmail-like SMTP, IMAP and POP3 over TLS with XOAUTH2, each with habits of its own."""
import base64
import json
import os
import socketserver


class Session(socketserver.StreamRequestHandler):
    cloud = None

    def handle(self):
        self.stream = self.server.context.wrap_socket(self.request, server_side=True)
        self.reader = self.stream.makefile("rb")
        self.habits = self.cloud.options.get("habits", {})
        try:
            self.serve()
        except (OSError, EOFError):
            pass
        finally:
            self.stream.close()

    def line(self):
        line = self.reader.readline(70000)
        if not line.endswith(b"\r\n"):
            raise EOFError
        return line[:-2].decode("utf-8", "surrogateescape")

    def say(self, text):
        self.stream.sendall((text + "\r\n").encode())

    def token_is_right(self, blob):
        try:
            parts = base64.b64decode(blob, validate=True).decode().split("\x01")
        except ValueError:
            return False
        user = self.cloud.options["user"]
        if len(parts) != 4 or parts[0] != "user=" + user or parts[2:] != ["", ""]:
            return False
        scheme, _, token = parts[1].partition(" ")
        known = self.cloud.tokens.get(token, {})
        self.cloud.note(login=user, octets=len(blob))
        return scheme.lower() == "auth=bearer" and known.get("user") == user

    def challenge(self):
        return base64.b64encode(json.dumps({
            "status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}
        ).encode()).decode()


class Smtp(Session):
    def serve(self):
        for text in self.habits.get("greeting", ["220 outsider ESMTP"]):
            self.say(text)
        self.logged_in, sender, recipients = False, None, []
        while True:
            line = self.line()
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            if verb == "EHLO":
                for text in self.habits.get("ehlo", [
                        "250-outsider at your service", "250-SIZE 35882577", "250-8BITMIME",
                        "250-AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN",
                        "250-ENHANCEDSTATUSCODES", "250-PIPELINING", "250 SMTPUTF8"]):
                    self.say(text)
            elif verb == "AUTH":
                self.log_in(rest)
            elif verb == "QUIT":
                return self.say("221 2.0.0 closing")
            elif not self.logged_in:
                self.say("530 5.7.0 Authentication Required")
            elif verb == "MAIL":
                sender, recipients = rest, []
                self.say("250 2.1.0 OK a1-20020a - gsmtp")
            elif verb == "RCPT":
                recipients.append(rest)
                self.say("250 2.1.5 OK a1-20020a - gsmtp")
            elif verb == "RSET":
                recipients = []
                self.say("250 2.1.5 Flushed")
            elif verb == "DATA":
                self.say("354 Go ahead")
                self.receive(sender, recipients)
            else:
                self.say("502 5.5.1 Unrecognized command.")

    def log_in(self, rest):
        mechanism, _, blob = rest.partition(" ")
        if mechanism.upper() != "XOAUTH2":
            return self.say("504 5.7.4 Unrecognized Authentication Type")
        if blob and self.habits.get("two_steps"):
            return self.say("501 5.5.2 Cannot Decode Base64 response")
        if len(rest) > 12000:
            return self.say("500 5.5.6 Line too long")
        if not blob:
            self.say(self.habits.get("invitation", "334 "))
            blob = self.line()
        if self.token_is_right(blob):
            self.logged_in = True
            return self.say("235 2.7.0 Accepted")
        self.say("334 " + self.challenge())
        if self.line() != "":
            return self.say("501 5.5.2 an empty line was awaited")
        self.say("535-5.7.8 Username and Password not accepted. For more information, go to")
        self.say("535 5.7.8  https://support.example/mail/?p=BadCredentials a1 - gsmtp")

    def receive(self, sender, recipients):
        message = b""
        while True:
            line = self.reader.readline()
            if not line:
                raise EOFError
            if line == b".\r\n":
                break
            message += line[1:] if line.startswith(b".") else line
        self.cloud.calls["send"] += 1
        name = os.path.join(self.cloud.folder, "sent-%d.eml" % self.cloud.calls["send"])
        with open(name + ".part", "wb") as target:
            target.write(message)
        self.cloud.note(sender=sender, recipients=recipients)
        os.rename(name + ".part", name)
        self.say("250 2.0.0 OK  1700000000 a1-20020a - gsmtp")


class Imap(Session):
    def serve(self):
        # Exchange and others tell their capabilities only when asked, and change them after login.
        self.say("* OK Gimap ready for requests from 127.0.0.1 a1")
        logged_in = False
        while True:
            tag, _, rest = self.line().partition(" ")
            verb, _, rest = rest.partition(" ")
            verb = verb.upper()
            if verb == "CAPABILITY":
                words = "IMAP4rev1 UNSELECT IDLE NAMESPACE" if logged_in else (
                    "IMAP4rev1 Auth=xoauth2 AUTH=OAUTHBEARER"
                    + ("" if self.habits.get("two_steps") else " SASL-IR"))
                self.say("* CAPABILITY " + words)
                self.say(tag + " OK Thats all she wrote!")
            elif verb == "AUTHENTICATE":
                mechanism, _, blob = rest.partition(" ")
                if blob and self.habits.get("two_steps"):
                    self.say(tag + " BAD Could not parse command")
                    continue
                if not blob:
                    self.say("+ ")
                    blob = self.line()
                if mechanism.upper() == "XOAUTH2" and self.token_is_right(blob):
                    logged_in = True
                    self.say(tag + " OK me@outsider authenticated (Success)")
                    continue
                self.say("+ " + self.challenge())
                self.line()
                self.say(tag + " NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)")
            elif verb == "LOGOUT":
                self.say("* BYE LOGOUT Requested")
                return self.say(tag + " OK 73 good day (Success)")
            elif not logged_in:
                self.say(tag + " BAD not authenticated")
            elif verb in ("SELECT", "EXAMINE"):
                self.say("* FLAGS (\\Seen)\r\n* 1 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 1] .")
                self.say(tag + " OK [READ-WRITE] selected. (Success)")
            elif verb == "FETCH":
                text = "Subject: kept\r\n\r\nby an outsider\r\n"
                self.say("* 1 FETCH (BODY[] {%d}\r\n%s)" % (len(text), text))
                self.say(tag + " OK Success")
            else:
                self.say(tag + " OK nothing to do")


class Pop3(Session):
    def serve(self):
        self.say("+OK")
        logged_in = False
        while True:
            verb, _, rest = self.line().partition(" ")
            verb = verb.upper()
            if verb == "AUTH":
                mechanism, _, blob = rest.partition(" ")
                if not blob:
                    self.say("+ ")
                    blob = self.line()
                if mechanism.upper() == "XOAUTH2" and self.token_is_right(blob):
                    logged_in = True
                    self.say("+OK Welcome.")
                    continue
                self.say("+ " + self.challenge())
                self.line()
                self.say("-ERR [AUTH] Username and password not accepted.")
            elif verb == "QUIT":
                return self.say("+OK Farewell.")
            elif not logged_in:
                self.say("-ERR bad command")
            elif verb == "STAT":
                self.say("+OK 1 33")
            elif verb == "RETR":
                self.say("+OK message follows\r\nSubject: kept\r\n\r\nby an outsider\r\n.")
            else:
                # CAPA too: a service need not know it.
                self.say("-ERR bad command")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, session, context):
        super().__init__(("127.0.0.1", 0), session)
        self.context = context

    def handle_error(self, *_):
        pass
