# SPDX-License-Identifier: ISC
"""A raw SMTP client: what is sent is the bytes that the test gives, what
comes back is kept as bytes.

    c = Client(port)
    c.ehlo()
    c.command("MAIL FROM:<a@example.test>").code
    c.send(b"DATA\\r\\nSubject: ")        # as many bytes as one likes
"""

import base64
import socket
import ssl

from . import tap


class Reply:
    """code, lines (without code and line end), text and the raw bytes."""

    def __init__(self, raw):
        self.raw = raw
        rows = raw.split(b"\r\n")[:-1]
        self.code = int(rows[-1][:3])
        self.lines = [row[4:].decode("utf-8", "backslashreplace")
                      for row in rows]
        self.text = "\n".join(self.lines)

    @property
    def enhanced(self):
        """"5.7.1", or "" where the reply has none."""
        first = self.lines[-1].split(" ", 1)[0]
        parts = first.split(".")
        if len(parts) == 3 and all(p.isdigit() for p in parts):
            return first
        return ""

    def __repr__(self):
        return f"<{self.raw!r}>"


class Disconnected(Exception):
    """The server has closed.  .rest is what came before that."""

    def __init__(self, rest=b""):
        super().__init__(f"the server closed; before that: {rest!r}")
        self.rest = rest


def tls_context(ca=None):
    """Believes anything, unless a CA's file is given."""
    if ca:
        return ssl.create_default_context(cafile=ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def stuffed(content):
    """A message as DATA carries it: dots doubled, line end and end."""
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    if content.startswith(b"."):
        content = b"." + content
    return content.replace(b"\r\n.", b"\r\n..") + b".\r\n"


class Client:
    """One connection.  Reads the greeting unless told not to.  It waits for
    a reply longer than the gateway takes for any, as RFC 5321 section 4.5.3.2
    asks of clients."""

    def __init__(self, port, host="127.0.0.1", timeout=tap.PATIENCE_S,
                 tls=None, source=None, greeting=True):
        """tls: an SSLContext, for TLS from the first byte."""
        self.socket = socket.create_connection(
            (host, port), timeout,
            source_address=(source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.extensions = {}
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=host)
        self.greeting = self.reply() if greeting else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Closes by a TCP reset, as a client that crashes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def send(self, data):
        if isinstance(data, str):
            data = data.encode()
        self.socket.sendall(data)

    def _line(self):
        while b"\r\n" not in self.buffer:
            try:
                got = self.socket.recv(65536)
            except ConnectionError:
                got = b""
            if not got:
                raise Disconnected(self.buffer)
            self.buffer += got
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line + b"\r\n"

    def reply(self):
        """The next whole reply."""
        raw = b""
        while True:
            line = self._line()
            raw += line
            if not line[:3].isdigit() or line[3:4] not in (b" ", b"-", b"\r"):
                raise ValueError(f"not a reply: {raw!r}")
            if line[3:4] != b"-":
                return Reply(raw)

    def command(self, line):
        """Sends one line with CR LF; its reply."""
        if isinstance(line, str):
            line = line.encode()
        self.send(line + b"\r\n")
        return self.reply()

    def ehlo(self, name="client.example.test"):
        """The reply; its keywords are in .extensions, {NAME: argument}."""
        reply = self.command(f"EHLO {name}")
        self.extensions = {}
        for line in reply.lines[1:]:
            word, _, argument = line.partition(" ")
            self.extensions[word.upper()] = argument
        return reply

    def starttls(self, context=None, host="gw.example.test"):
        reply = self.command("STARTTLS")
        if reply.code == 220:
            self.socket = (context or tls_context()).wrap_socket(
                self.socket, server_hostname=host)
        return reply

    def auth_plain(self, user, password, authzid=""):
        token = base64.b64encode(
            f"{authzid}\0{user}\0{password}".encode()).decode()
        return self.command(f"AUTH PLAIN {token}")

    def login(self, user, password):
        """EHLO, STARTTLS where it is offered, EHLO, AUTH PLAIN."""
        self.ehlo()
        if "STARTTLS" in self.extensions:
            self.starttls()
            self.ehlo()
        return self.auth_plain(user, password)

    def envelope(self, sender, recipients, mail_arguments=""):
        """MAIL and each RCPT; the list of their replies."""
        if isinstance(recipients, str):
            recipients = [recipients]
        space = " " if mail_arguments else ""
        replies = [self.command(
            f"MAIL FROM:<{sender}>{space}{mail_arguments}")]
        for recipient in recipients:
            replies.append(self.command(f"RCPT TO:<{recipient}>"))
        return replies

    def data(self, content):
        """DATA, the message with its dots stuffed; the last reply."""
        reply = self.command("DATA")
        if reply.code != 354:
            return reply
        self.send(stuffed(content))
        return self.reply()

    def submit(self, sender, recipients, content, mail_arguments=""):
        """A whole transaction.  The first refusal, or the reply to the final
        dot: 250 with the message id as its last word."""
        for reply in self.envelope(sender, recipients, mail_arguments):
            if reply.code >= 300:
                return reply
        return self.data(content)

    def quit(self):
        reply = self.command("QUIT")
        self.close()
        return reply

    def at_end(self):
        """Whether the server has closed, and said nothing more."""
        try:
            self._line()
        except Disconnected as end:
            return end.rest == b""
        except (ConnectionError, ssl.SSLError):
            return True
        return False


def message_id(reply):
    """The id in "250 2.0.0 Queued as 0ABC..."."""
    return reply.text.rsplit(" ", 1)[-1]
