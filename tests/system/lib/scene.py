# SPDX-License-Identifier: ISC
"""The usual scene: a gateway for example.test, a name server, the world.

    s = Scene()
    s.start()
    c = s.login()                                   # anna, over TLS
    c.submit("anna@example.test", "b@dest.test", scene.mail())
    [m] = s.world.take()

Mail for anybody goes to s.world, by the MX of each domain or, without one,
by a route; mail for example.test to s.inner.
Clients: 127.0.0.1 is a stranger, 127.0.0.2 a trusted host.
"""

import itertools
import json
import os
import shutil

from . import dns, sink, smtp, tap
from .gateway import Gateway

PASSWORD = "correct horse"
STRANGER, TRUSTED = "127.0.0.1", "127.0.0.2"

ZONES = {
    # A stranger's domain; its sender addresses are fine.
    "elsewhere.test": """
        @    MX 10 mx
        mx   A  127.0.0.1
        www  A  127.0.0.1
    """,
    "nomail.test": "@ MX 0 .",
    "dest.test": "@ MX 10 mx\nmx A 127.0.0.1",
}

_serial = itertools.count(1)


def mail(sender="anna@example.test", subject=None, body="text", **fields):
    """A small message, each with a Message-ID of its own."""
    number = next(_serial)
    head = {"From": sender, "To": "somebody@dest.test",
            "Subject": subject or f"mail {number}",
            "Date": "Mon, 02 Nov 2026 10:00:00 +0000",
            "Message-ID": f"<{number}@test.invalid>"}
    head.update({name.replace("_", "-"): value
                 for name, value in fields.items()})
    rows = [f"{name}: {value}\r\n" for name, value in head.items()
            if value is not None]
    return ("".join(rows) + "\r\n" + body + "\r\n").encode()


class Scene:
    def __init__(self, settings=None, zones=None, domains=True, user=True,
                 route=True, dnssec="off", inner=None, world=None):
        self.dns = dns.NameServer({**ZONES, **(zones or {})})
        self.world = world or sink.Sink(name="mx.dest.test")
        self.inner = inner or sink.Sink(name="inner.example.test")
        values = {"dns.servers": self.dns.address, "dns.dnssec": dnssec,
                  "relay.allow_loopback": "on", "relay.tls": "opportunistic",
                  "relay.mx_port": self.world.port,
                  "smtp.trusted_networks": TRUSTED + "/32",
                  "queue.retry": "1s", "queue.retry_max": "1s",
                  "queue.min_free": "1M", "log.min_free": "1M"}
        values.update(settings or {})
        self.gw = Gateway(settings=values,
                          postmaster="postmaster@example.test")
        if domains:
            self.gw.cli("domain", "add", "example.test", "--to",
                        f"127.0.0.1:{self.inner.port}")
        if route:
            self.gw.cli("route", "add", "*",
                        f"smtp://127.0.0.1:{self.world.port}")
        if user:
            self.add_user("anna", "anna@example.test")
        self.ports = {}

    def add_user(self, name, *addresses, password=PASSWORD):
        words = ["user", "add", name, "--password-stdin"]
        for address in addresses:
            words += ["--address", address]
        self.gw.cli(*words, input=password + "\n")

    def trust(self, ca):
        """relay.ca_file: a copy where the confined relayd may read it."""
        folder = os.path.join(self.gw.root, "var/lib/postern/relayd")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "authority.pem")
        shutil.copy(ca.cert, path)
        os.chmod(path, 0o644)
        self.gw.set(**{"relay.ca_file": path})

    def start(self):
        self.gw.start()
        self.find_ports()
        return self

    def find_ports(self):
        self.ports = {kind: self.gw.port(kind)
                      for kind in ("smtp", "submission", "submissions")}

    # --- clients ---

    def stranger(self, **arguments):
        """On port 25, after EHLO."""
        c = smtp.Client(self.ports["smtp"], source=STRANGER, **arguments)
        c.ehlo()
        return c

    def trusted(self, **arguments):
        c = smtp.Client(self.ports["smtp"], source=TRUSTED, **arguments)
        c.ehlo()
        return c

    def tls(self, **arguments):
        """On port 587, in TLS, after EHLO, not logged in."""
        c = smtp.Client(self.ports["submission"], **arguments)
        c.ehlo()
        c.starttls()
        c.ehlo()
        return c

    def login(self, user="anna", password=PASSWORD, **arguments):
        c = self.tls(**arguments)
        reply = c.auth_plain(user, password)
        if reply.code != 235:
            raise RuntimeError(f"{user} is not logged in: {reply!r}")
        return c

    # --- events ---

    def events(self, query):
        """The events that trace tells of, in one list; [] when there are
        none, or the hub is away.  The log comes a little behind: for what has
        just happened there is life(), or tap.wait_until()."""
        return trace_events(self._trace(query))

    def _trace(self, query):
        result = self.gw.run_cli("trace", query, "--json")
        if result.returncode not in (0, 3, 5):
            raise RuntimeError(f"trace {query}: {result.stderr}")
        return result.stdout

    def life(self, message_id):
        """events() of a message, all of them that there are until now."""
        tap.wait_until(lambda: self.gw.program("queued")["log_behind"] == 0,
                       what="the log to have them")

        def told():
            text = self._trace(message_id)
            return None if '"behind"' in text else text

        return trace_events(tap.wait_until(told, what="the log's index"))


def trace_events(text):
    if not text.strip():
        return []
    found = json.loads(text)
    return [event for trace in found.get("traces", [])
            for event in trace["events"]]
