#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: quick
"""Listening sockets, workers and the certificate while the gateway runs: what
changes takes effect, what does not change loses no connection."""

import os
import signal
import socket
import ssl
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import certs, dns, scene, smtp, tap  # noqa: E402

s = scene.Scene(settings={"smtp.workers": 2}).start()


def served(port, host="127.0.0.1", source=None):
    """The greeting's code, or None when nobody listens."""
    try:
        with smtp.Client(port, host=host, source=source) as c:
            return c.greeting.code
    except (ConnectionError, smtp.Disconnected):
        return None


def workers():
    return [pid for pid, words in s.gw.pids().items()
            if words.endswith("--worker smtp")]


def alerts():
    return s.gw.json("status").get("alerts", [])


with tap.group("ports come and go"):
    old = s.stranger()
    kept = s.ports["smtp"]
    extra = dns.free_port()
    s.gw.set(**{"smtp.listen": f"127.0.0.1:0 127.0.0.1:{extra}"})
    tap.wait_until(lambda: served(extra) == 220, what="the new port")
    tap.equal(served(kept), 220, "the old port goes on")
    tap.ok(("127.0.0.1", extra) in s.gw.listeners("smtp")
           and ("127.0.0.1", kept) in s.gw.listeners("smtp"),
           "status shows both, port 0 as it was")
    s.gw.set(**{"smtp.listen": "127.0.0.1:0"})
    tap.wait_until(lambda: served(extra) is None, what="it is closed")
    tap.equal(served(kept), 220, "the other goes on")
    tap.equal(old.command("NOOP").code, 250, "and the sessions of before")

with tap.group("a port changes its kind"):
    s.gw.set(**{"smtp.listen": f"127.0.0.1:0 127.0.0.1:{extra}"})
    tap.wait_until(lambda: served(extra) == 220, what="a port for servers")
    s.gw.set(**{"smtp.listen": "127.0.0.1:0",
                "submission.listen": f"127.0.0.1:0 127.0.0.1:{extra}"})
    tap.wait_until(
        lambda: ("127.0.0.1", extra) in s.gw.listeners("submission"),
        what="it is one for people")

    def asks_for_login():
        with smtp.Client(extra) as c:
            c.ehlo()
            return c.command("MAIL FROM:<x@elsewhere.test>").code == 530
    tap.wait_until(asks_for_login, what="and asks for a login")
    tap.ok(True, "the kind changed with the port open")
    s.gw.set(**{"submission.listen": "127.0.0.1:0"})

with tap.group("both families on a wildcard"):
    port = dns.free_port()
    s.gw.set(**{"smtp.listen": f"127.0.0.1:0 *:{port}"})
    tap.wait_until(lambda: served(port) == 220, what="IPv4")
    if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6"):
        tap.equal(served(port, host="::1"), 220, "IPv6 on the same port")
    tap.equal(served(port), 220, "IPv4")
    s.gw.set(**{"smtp.listen": "127.0.0.1:0"})

with tap.group("a port that another program has"):
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    busy = taken.getsockname()[1]
    s.gw.set(**{"smtp.listen": f"127.0.0.1:0 127.0.0.1:{busy}"})
    tap.wait_until(lambda: any(a.get("alert") == "listener"
                               or a.get("name") == "listener"
                               for a in alerts()), what="an alert")
    tap.contains(str(alerts()), f"127.0.0.1:{busy}", "names the port")
    tap.equal(served(kept), 220, "the others are served")
    taken.close()
    tap.wait_until(lambda: served(busy) == 220, what="once free it is taken")
    tap.wait_until(lambda: not alerts(), what="and the alert is over")
    tap.ok(True, "a bind that fails is tried again")
    s.gw.set(**{"smtp.listen": "127.0.0.1:0"})

with tap.group("a worker dies"):
    first = workers()
    tap.equal(len(first), 2, "there are two")
    # Sessions that are just ending would count when they are shared out.
    tap.wait_until(lambda: s.gw.program("smtpd")["connections"] == 1,
                   what="the one of before alone")
    clients = [s.stranger() for _ in range(4)]
    os.kill(first[0], signal.SIGKILL)
    # One that was handed over before the death was seen is dropped.
    tap.wait_until(lambda: served(kept) == 220, what="new clients are served")
    tap.ok(True, "new clients are served")
    lived = 0
    for c in clients:
        try:
            lived += c.command("NOOP").code == 250
        except (smtp.Disconnected, ConnectionError):
            pass
    tap.equal(lived, 2, "clients of the other worker notice nothing")
    tap.wait_until(lambda: len(workers()) == 2 and first[0] not in workers(),
                   what="there is another")
    tap.wait_until(lambda: s.gw.program("smtpd")["workers"] == 2,
                   what="status to count it")
    tap.ok(True, "status counts it")

with tap.group("bindd and smtpd die"):
    # It stays away while its supervisor is stopped.
    os.kill(s.gw.process.pid, signal.SIGSTOP)
    s.gw.kill("bindd")
    tap.equal(served(kept), 220, "without bindd smtpd accepts")
    os.kill(s.gw.process.pid, signal.SIGCONT)
    tap.wait_until(lambda: s.gw.program("bindd")["state"] == "running" and
                   s.gw.listeners("smtp"), what="bindd is back")
    tap.wait_until(lambda: served(s.gw.port("smtp")) == 220,
                   what="with its sockets")
    s.find_ports()
    kept = s.ports["smtp"]
    s.gw.kill("smtpd")
    tap.equal(served(kept), 220,
              "a client waits until smtpd is back, and is served")
    tap.equal(s.gw.port("smtp"), kept, "on the same port")

with tap.group("bindd dies, and its ports stay open"):
    port, wild = dns.free_port(), dns.free_port()
    s.gw.set(**{"smtp.listen": f"127.0.0.1:0 127.0.0.1:{port} *:{wild}"})
    wanted = {("127.0.0.1", port), ("0.0.0.0", wild)}
    tap.wait_until(lambda: served(port) == served(wild) == 220,
                   what="the ports")
    found, stop = {True: 0, False: 0}, threading.Event()

    def knock():
        while not stop.wait(0.002):
            for at in (port, wild):
                try:
                    socket.create_connection(("127.0.0.1", at), source_address=(
                        "127.0.9.1", 0)).close()
                    found[True] += 1
                except ConnectionRefusedError:
                    found[False] += 1

    knocking = threading.Thread(target=knock)
    knocking.start()
    for _ in range(3):
        before = set(s.gw.pids("bindd"))
        s.gw.kill("bindd")

        def is_new():
            now = set(s.gw.pids("bindd"))
            return now and not before & now

        tap.wait_until(is_new, what="another bindd")
        tap.wait_until(lambda: wanted <= set(s.gw.listeners("smtp")),
                       what="it has the ports, too")
    stop.set()
    knocking.join()
    tap.equal(found[False], 0, f"of {found[True]} connections none is refused")
    tap.equal(alerts(), [], "there is no alert")
    tap.equal(served(port, source="127.0.9.9"), 220, "who comes is served")
    s.gw.set(**{"smtp.listen": "127.0.0.1:0"})
    tap.wait_until(lambda: served(port) is None and served(wild) is None,
                   what="the ports are closed when nobody wants them")
    s.find_ports()

with tap.group("the certificate"):
    ca = certs.Authority()
    cert, key = ca.issue("gw.example.test")
    _, other_key = ca.issue("gw.example.test")
    old_cert, old_key = ca.issue("gw.example.test", days=-1)

    def verified():
        context = smtp.tls_context(ca.cert)
        context.check_hostname = False
        try:
            with smtp.Client(s.ports["submissions"], tls=context) as c:
                return c.greeting.code == 220
        except ssl.SSLError:
            return False

    tap.equal(s.gw.json("tls", "show").get("tls.is_self_signed", "yes"),
              "yes", "at first it is self-made")
    tap.ok(not verified(), "and verifies for nobody")
    before = smtp.Client(s.ports["submissions"], tls=smtp.tls_context())
    for what, pair in (("a key of another certificate", (cert, other_key)),
                       ("one that has expired", (old_cert, old_key)),
                       ("no certificate at all", (key, key))):
        result = s.gw.run_cli("tls", "install", *pair)
        tap.ok(result.returncode in (1, 2, 7) and result.stderr,
               f"{what} is refused with a sentence")
    tap.ok(not verified(), "what was refused is not in force")
    s.gw.cli("tls", "install", cert, key)
    tap.wait_until(verified, what="the new one is served")
    tap.equal(before.command("NOOP").code, 250,
              "connections of before go on")
    s.gw.kill("smtpd")
    tap.ok(verified(), "it is there after a restart")
    before.close()

with tap.group("session tickets"):
    context = smtp.tls_context()

    def handshake(port_kind, session=None):
        if port_kind == "submissions":
            raw = socket.create_connection(("127.0.0.1", s.ports[port_kind]))
            tls = context.wrap_socket(raw, session=session)
        else:
            c = smtp.Client(s.ports[port_kind])
            c.ehlo()
            c.command("STARTTLS")
            tls = context.wrap_socket(c.socket, session=session)
            tls.sendall(b"EHLO x\r\n")
        tls.recv(1000)
        found = tls.session, tls.session_reused
        tls.close()
        return found

    session, _ = handshake("submissions")
    tap.ok(all(handshake("submissions", session)[1] for _ in range(6)),
           "are good at each worker")
    tap.ok(not handshake("submission", session)[1],
           "but not at a listener of another policy")
    session, _ = handshake("smtp")
    tap.ok(handshake("smtp", session)[1], "port 25 has its own")
    tap.ok(not handshake("submission", session)[1],
           "which are not good where people log in")

tap.done()
