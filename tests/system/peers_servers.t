#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Real Postfix and Exim: as the MX of a domain, as a smarthost that wants a
login, and as senders that come in or submit."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import certs, dns, scene, servers, sink, smtp, tap  # noqa: E402

ANNA = "anna@example.test"
BODY = ("Grüße\r\n.\r\n..two\r\n" + "x" * 990 + "\r\n"
        "From me\r\nlast").encode()
ca = certs.Authority()
mx_pair = ca.issue("mx.peer.test")

behind = sink.Sink(name="behind.test")
kinds = {"Postfix": servers.Postfix, "Exim": servers.Exim}
mx = {name: kind(relay_to=behind.port, tls=mx_pair)
      for name, kind in kinds.items()}
smarthost = servers.Exim(relay_to=behind.port, users={"gw": "hush"},
                         tls=mx_pair)
ZONES = {"peer.test": "mx A 127.0.0.1"}
s = scene.Scene(zones=ZONES, route=False, settings={
    "smtp.trusted_networks": "127.0.0.2",
    "submission.listen": f"127.0.0.1:{dns.free_port()}",
    "smtp.listen": f"127.0.0.1:{dns.free_port()}"})
s.trust(ca)
s.gw.cli("tls", "install", *ca.issue("gw.example.test"))
for name, server in mx.items():
    s.gw.cli("route", "add", f"{name.lower()}.test",
             f"smtp://mx.peer.test:{server.port}", "--tls", "verified")
s.gw.cli("route", "add", "smart.test",
         f"smtp://mx.peer.test:{smarthost.port}", "--user", "gw",
         "--password-stdin", "--tls", "verified", input="hush\n")
s.gw.cli("route", "add", "wrong.test",
         f"smtp://mx.peer.test:{smarthost.port}", "--user", "other",
         "--password-stdin", "--tls", "verified", input="not it\n")
s.start()


def content(sender, subject):
    head = scene.mail(sender, subject, body="").split(b"\r\n\r\n")[0]
    return head + b"\r\n\r\n" + BODY


def body_of(message):
    return message.content.split(b"\r\n\r\n", 1)[1]


def delivered(reply):
    events = tap.wait_until(
        lambda: [e for e in s.events(smtp.message_id(reply))
                 if e["event"] == "delivered"], what="the log")
    return events[0]


c = s.login()
for name in kinds:
    with tap.group(f"{name} as MX"):
        reply = c.submit(ANNA, f"r@{name.lower()}.test",
                         content(ANNA, name), "BODY=8BITMIME")
        tap.equal(reply.code, 250, f"{name}: taken")
        [m] = behind.take()
        tap.equal(body_of(m), BODY + b"\r\n", f"{name}: byte for byte")
        event = delivered(reply)
        tap.contains(event["tls"], "verified", f"{name}: over verified TLS")
        tap.contains(event["tls"], "TLSv1.3", f"{name}: its version")
        # Both fold lines beyond 998 octets, so there are none.
        more = b"\r\n" + (b"y" * 900 + b"\r\n") * 400
        c.submit(ANNA, f"r@{name.lower()}.test", content(ANNA, name) + more)
        [m] = behind.take()
        tap.equal(body_of(m), BODY + more, f"{name}: a large one")
        many = [f"r{n}@{name.lower()}.test" for n in range(60)]
        c.submit(ANNA, many, content(ANNA, name))
        got = []
        while len(got) < 60:
            got += [r for m in behind.take() for r in m.recipients]
        tap.equal(sorted(got), sorted(many), f"{name}: sixty recipients")
        for _ in range(30):
            c.submit(ANNA, f"r@{name.lower()}.test", content(ANNA, name))
        behind.take(30)
        tap.ok(True, f"{name}: thirty in a row")

with tap.group("Exim as smarthost"):
    reply = c.submit(ANNA, "r@smart.test", content(ANNA, "smart"))
    [m] = behind.take()
    tap.equal(body_of(m), BODY + b"\r\n", "with login: it arrives")
    tap.contains(smarthost.log(), "A=plain_server:gw",
                 "and the smarthost knows who it was")
    reply = c.submit(ANNA, "r@wrong.test", content(ANNA, "wrong"))
    tap.wait_until(lambda: [e for e in s.events(smtp.message_id(reply))
                            if e["event"] in ("deferred", "failed")],
                   what="the log")
    [event, *_] = [e for e in s.events(smtp.message_id(reply))
                   if e["event"] in ("deferred", "failed")]
    tap.ok(event["code"] in (535, 0), "a wrong password is told")
    shown = str(s.events(smtp.message_id(reply))) + s.gw.log() \
        + s.gw.cli("route", "list") + s.gw.cli("config", "export")
    tap.ok("not it" not in shown and "hush" not in shown
           and "bm90IGl0" not in shown, "and the passwords are not")
    s.gw.run_cli("queue", "delete", smtp.message_id(reply), "--yes")

for name, kind in kinds.items():
    with tap.group(f"{name} as a sender"):
        peer = kind(relay_to=s.ports["smtp"])
        p = smtp.Client(peer.port)
        p.ehlo()
        p.submit("otto@elsewhere.test", "b@example.test",
                 content("otto@elsewhere.test", name), "BODY=8BITMIME")
        [m] = s.inner.take()
        tap.equal(body_of(m), BODY + b"\r\n",
                  f"{name} comes in: byte for byte")
        tap.equal((m.sender, m.recipients),
                  ("otto@elsewhere.test", ["b@example.test"]), "envelope")
        tap.contains(m.field("Received"), "ESMTPS",
                     f"{name} uses our STARTTLS")
        p.submit("otto@elsewhere.test", "b@outside.test",
                 content("otto@elsewhere.test", name))
        tap.wait_until(lambda: "Relaying denied" in peer.log(),
                       what="its log")
        tap.ok(True, f"{name} may not relay")
        peer.stop()
        peer = kind(smarthost=("127.0.0.1", s.ports["submission"], "anna",
                               scene.PASSWORD, None))
        p = smtp.Client(peer.port)
        p.ehlo()
        p.submit(ANNA, "r@postfix.test", content(ANNA, "submitted"))
        [m] = behind.take()
        tap.contains(str(m.content), "ESMTPSA",
                     f"{name} logs in and submits")
        p.submit("boss@example.test", "r@postfix.test",
                 content("boss@example.test", "forged"))
        tap.wait_until(lambda: "not one of yours" in peer.log(),
                       what="its log")
        tap.ok(True, f"{name} cannot forge through its login")
        peer.stop()

with tap.group("the end"):
    s.gw.wait_for_queue(0)
    tap.ok(True, "the queue is empty")

tap.done()
