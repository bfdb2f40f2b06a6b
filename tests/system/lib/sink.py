# SPDX-License-Identifier: ISC
"""A mail server that a test steers: keeps each message byte for byte, and
misbehaves where the test's script says so.

    sink = Sink()
    sink.on("RCPT", "450 4.2.0 later")            # always
    sink.on("RCPT", "450 4.2.0 later", times=1)   # once, then as usual
    sink.on("DATA.", lambda s, line: HANG)        # at the final dot
    ... deliver to 127.0.0.1:sink.port ...
    [message] = sink.wait(1)

Steps: GREETING EHLO HELO LHLO STARTTLS AUTH MAIL RCPT DATA "DATA." RSET NOOP
QUIT.  An action is a reply ("250 ok", lines parted by \\n), bytes sent as
they are, CLOSE, RESET, HANG, None (as usual), or a function of (session, line)
that returns one of these.
"""

import base64
import socket
import ssl
import struct
import threading
import time

from . import tap

CLOSE, RESET, HANG = "close", "reset", "hang"

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN",
              "ENHANCEDSTATUSCODES")


class Message:
    """One accepted message.  content: dots unstuffed, as it was sent."""

    def __init__(self, session, content):
        self.sender = session.sender
        self.sender_arguments = session.sender_arguments
        self.recipients = list(session.recipients)
        self.recipient_arguments = list(session.recipient_arguments)
        self.content = content
        self.helo = session.helo
        self.is_tls = session.tls is not None
        self.tls_version = session.tls
        self.user = session.user
        self.peer = session.peer
        self.connection = session.number
        self.time = time.time()

    @property
    def header(self):
        return self.content.split(b"\r\n\r\n", 1)[0] + b"\r\n"

    @property
    def body(self):
        return self.content.split(b"\r\n\r\n", 1)[1]

    def field(self, name):
        """The first header field of that name, unfolded; None without it."""
        for row in self.header.replace(b"\r\n ", b" ").replace(
                b"\r\n\t", b" ").split(b"\r\n"):
            key, _, value = row.partition(b":")
            if key.lower() == name.lower().encode():
                return value.strip().decode("utf-8", "backslashreplace")
        return None


class _End(Exception):
    """This session is over."""


class Session:
    """One connection, in a thread of its own."""

    def __init__(self, sink, connection, peer, number):
        self.sink = sink
        self.socket = connection
        self.peer = peer
        self.number = number
        self.buffer = b""
        self.commands = []
        self.helo = None
        self.tls = None
        self.user = None
        self._reset()

    def _reset(self):
        self.sender = None
        self.sender_arguments = ""
        self.recipients = []
        self.recipient_arguments = []

    def send(self, data):
        self.socket.sendall(data)

    def answer(self, step, line, usual):
        """Does what the script says for this step.  True when the reply was
        the usual one, or another that agrees (2xx, 3xx)."""
        reply = self.decided(step, line, usual)
        self.send(reply)
        return reply[:1] in (b"2", b"3")

    def decided(self, step, line, usual):
        """The reply that the script has for this step, in octets."""
        action = self.sink.action(step, self, line)
        if action is None:
            action = usual
        if action == CLOSE:
            raise _End
        if action == RESET:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                   struct.pack("ii", 1, 0))
            raise _End
        if action == HANG:
            self.sink.stopping.wait()
            raise _End
        if isinstance(action, bytes):
            return action
        rows = action.split("\n")
        code = rows[0][:3]
        for i, row in enumerate(rows):
            text = row[4:] if i == 0 else row
            dash = "-" if i < len(rows) - 1 else " "
            rows[i] = f"{code}{dash}{text}\r\n"
        return "".join(rows).encode()

    def _fill(self):
        got = self.socket.recv(262144)
        if not got:
            raise _End
        self.buffer += got

    def line(self):
        while b"\r\n" not in self.buffer:
            self._fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode("utf-8", "backslashreplace")

    def content(self):
        """Up to CR LF . CR LF, which alone ends it."""
        at = 0
        while True:
            if self.buffer.startswith(b".\r\n"):
                self.buffer = self.buffer[3:]
                return b""
            found = self.buffer.find(b"\r\n.\r\n", at)
            if found >= 0:
                raw = self.buffer[:found + 2]
                self.buffer = self.buffer[found + 5:]
                break
            at = max(0, len(self.buffer) - 4)
            self._fill()
        if raw.startswith(b"."):
            raw = raw[1:]
        return raw.replace(b"\r\n.", b"\r\n")

    def run(self):
        try:
            if self.sink.tls and self.sink.tls_at_once:
                self._start_tls()
            kind = "LMTP" if self.sink.lmtp else "ESMTP"
            if not self.answer("GREETING", "",
                               f"220 {self.sink.name} {kind}"):
                raise _End
            while True:
                self._one(self.line())
        except (_End, OSError, ssl.SSLError):
            pass
        finally:
            self.socket.close()

    def _start_tls(self):
        self.socket = self.sink.tls.wrap_socket(self.socket, server_side=True)
        self.tls = self.socket.version()
        self.buffer = b""

    def _one(self, line):
        self.commands.append(line)
        verb = line.split(" ", 1)[0].split(":")[0].upper()
        step = getattr(self, "_" + verb.lower(), None) \
            if verb.isalpha() else None
        if step is None or verb not in self.sink.verbs:
            self.answer(verb, line, "500 5.5.1 what?")
        else:
            step(line)

    def _ehlo(self, line):
        self.helo = line.split(" ", 1)[-1]
        rows = [self.sink.name, *self.sink.extensions]
        if self.sink.tls and not self.tls:
            rows.append("STARTTLS")
        if self.sink.users:
            rows.append("AUTH PLAIN LOGIN")
        self._reset()
        self.answer(line.split(" ")[0].upper(), line,
                    "250 " + "\n".join(rows))

    _lhlo = _ehlo

    def _helo(self, line):
        self.helo = line.split(" ", 1)[-1]
        self._reset()
        self.answer("HELO", line, f"250 {self.sink.name}")

    def _starttls(self, line):
        usual = "220 2.0.0 go ahead" if self.sink.tls else "502 5.5.1 no"
        if self.answer("STARTTLS", line, usual) and self.sink.tls:
            self._start_tls()

    def _auth(self, line):
        words = line.split(" ")
        try:
            if words[1].upper() == "PLAIN":
                if len(words) < 3:
                    self.send(b"334 \r\n")
                    words.append(self.line())
                _, user, password = base64.b64decode(
                    words[2]).decode().split("\0")
            else:
                self.send(b"334 VXNlcm5hbWU6\r\n")
                user = base64.b64decode(self.line()).decode()
                self.send(b"334 UGFzc3dvcmQ6\r\n")
                password = base64.b64decode(self.line()).decode()
        except (ValueError, IndexError):
            user, password = None, None
        good = user is not None and self.sink.users.get(user) == password
        if self.answer("AUTH", line, "235 2.7.0 welcome" if good
                       else "535 5.7.8 no"):
            self.user = user

    @staticmethod
    def _path(line):
        inside, _, rest = line.partition("<")[2].partition(">")
        return inside, rest.strip()

    def _mail(self, line):
        sender, arguments = self._path(line)
        if self.answer("MAIL", line, "250 2.1.0 ok"):
            self._reset()
            self.sender, self.sender_arguments = sender, arguments

    def _rcpt(self, line):
        recipient, arguments = self._path(line)
        usual = "250 2.1.5 ok" if self.sender is not None else "503 5.5.1 no"
        if self.answer("RCPT", line, usual):
            self.recipients.append(recipient)
            self.recipient_arguments.append(arguments)

    def _data(self, line):
        usual = "354 go on" if self.recipients else "503 5.5.1 no recipients"
        if not self.answer("DATA", line, usual):
            return
        message = Message(self, self.content())
        # An LMTP server answers for each recipient (RFC 2033 §4.2).
        asked = self.recipients if self.sink.lmtp else [""]
        replies = [self.decided("DATA.", recipient, self.sink.KEEP)
                   for recipient in asked]
        accepted = [recipient for recipient, reply in zip(asked, replies)
                    if reply[:1] in (b"2", b"3")]
        if accepted and self.sink.lmtp:
            message.recipients = accepted
        # As any server: what it says 250 for, it has.
        if accepted:
            self.sink.keep(message)
        self.send(b"".join(replies))
        self._reset()

    def _rset(self, line):
        self._reset()
        self.answer("RSET", line, "250 2.0.0 ok")

    def _noop(self, line):
        self.answer("NOOP", line, "250 2.0.0 ok")

    def _quit(self, line):
        self.answer("QUIT", line, "221 2.0.0 bye")
        raise _End


class Sink:
    """Listens at once.  users: {name: password}; tls: an SSLContext."""

    KEEP = "250 2.0.0 kept"

    def __init__(self, host="127.0.0.1", port=0, name="sink.example.test",
                 tls=None, tls_at_once=False, lmtp=False, users=None,
                 extensions=EXTENSIONS):
        self.name = name
        self.tls = tls
        self.tls_at_once = tls_at_once
        self.lmtp = lmtp
        self.users = users or {}
        self.extensions = list(extensions)
        self.verbs = {"MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT",
                      "STARTTLS", "AUTH"}
        self.verbs |= {"LHLO"} if lmtp else {"EHLO", "HELO"}
        self.messages = []
        self.sessions = []
        self.stopping = threading.Event()
        self._script = {}
        self._changed = threading.Condition()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server(
            (host, port), family=family, backlog=256)
        self.host, self.port = self.listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()
        tap.at_done(lambda failed: self.stop())

    def on(self, step, action, times=None):
        """The newest matching action wins; after `times` it is forgotten."""
        with self._changed:
            self._script.setdefault(step, []).append([action, times])

    def as_usual(self):
        with self._changed:
            self._script.clear()

    def action(self, step, session, line):
        with self._changed:
            rows = self._script.get(step, [])
            row = rows[-1] if rows else None
            if row is None:
                return None
            if row[1] is not None:
                row[1] -= 1
                if row[1] == 0:
                    rows.pop()
        return row[0](session, line) if callable(row[0]) else row[0]

    def keep(self, message):
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def wait(self, count=1, seconds=tap.PATIENCE_S):
        """The messages, when there are at least so many."""
        with self._changed:
            if not self._changed.wait_for(
                    lambda: len(self.messages) >= count, seconds):
                raise TimeoutError(
                    f"{len(self.messages)} of {count} messages arrived "
                    f"in {seconds} s")
            return list(self.messages)

    def take(self, count=1, seconds=tap.PATIENCE_S):
        """The same, and forgets them."""
        found = self.wait(count, seconds)
        with self._changed:
            del self.messages[:len(found)]
        return found

    def wait_for_session(self, count=1, seconds=tap.PATIENCE_S):
        """The sessions, when so many clients have connected."""
        with self._changed:
            if not self._changed.wait_for(
                    lambda: len(self.sessions) >= count, seconds):
                raise TimeoutError(f"{len(self.sessions)} of {count} sessions")
            return list(self.sessions)

    def _accept(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                session = Session(self, connection, peer, len(self.sessions))
                self.sessions.append(session)
                self._changed.notify_all()
            threading.Thread(target=session.run, daemon=True).start()

    def stop(self):
        """Refuses new connections and ends the old ones."""
        self.stopping.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for session in list(self.sessions):
            try:
                session.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
