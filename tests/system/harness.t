#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: quick
"""The helpers themselves: client, sink and name server against each other."""

import os
import smtplib
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import certs, dns, sink, smtp, tap  # noqa: E402

BODY = b".\r\n..two\r\nbare\nlf \xff\r\n.last"

with tap.group("a message passes byte for byte"):
    s = sink.Sink()
    c = smtp.Client(s.port)
    tap.equal(c.ehlo().code, 250, "EHLO")
    tap.ok("PIPELINING" in c.extensions, "its keywords are read")
    r = c.submit("a@x.test", ["b@x.test", "c@x.test"], b"H: 1\r\n\r\n" + BODY)
    tap.equal(r.code, 250, "the message is kept")
    [m] = s.take()
    tap.equal(m.content, b"H: 1\r\n\r\n" + BODY + b"\r\n", "its bytes")
    tap.equal((m.sender, m.recipients),
              ("a@x.test", ["b@x.test", "c@x.test"]), "its envelope")
    tap.equal(m.field("h"), "1", "its header")

with tap.group("an empty message"):
    tap.equal(c.submit("", "b@x.test", b"").code, 250, "is kept")
    tap.equal(s.take()[0].content, b"\r\n", "as one empty line")

with tap.group("the script"):
    s.on("RCPT", "450 4.2.0 later", times=1)
    replies = c.envelope("a@x.test", ["b@x.test", "c@x.test"])
    tap.equal([r.code for r in replies], [250, 450, 250], "once, then no more")
    tap.equal(replies[1].enhanced, "4.2.0", "its enhanced code")
    s.on("DATA.", sink.CLOSE)
    try:
        c.data(b"x")
        tap.fail("the sink closes at the final dot")
    except smtp.Disconnected:
        tap.ok(True, "the sink closes at the final dot")
    tap.equal(s.messages, [], "and kept nothing")

with tap.group("TLS and login"):
    ca = certs.Authority()
    s = sink.Sink(tls=ca.server_context("sink.example.test"),
                  users={"anna": "secret"})
    c = smtp.Client(s.port)
    c.ehlo()
    c.starttls(smtp.tls_context(ca.cert), "sink.example.test")
    c.ehlo()
    tap.ok("STARTTLS" not in c.extensions, "no STARTTLS under TLS")
    tap.equal(c.auth_plain("anna", "wrong").code, 535, "a wrong password")
    tap.equal(c.auth_plain("anna", "secret").code, 235, "the right one")
    c.submit("a@x.test", "b@x.test", b"x")
    [m] = s.take()
    tap.equal((m.is_tls, m.user), (True, "anna"), "the message knows both")

with tap.group("LMTP"):
    s = sink.Sink(lmtp=True)
    s.on("DATA.", lambda _, to: "550 5.1.1 no" if to == "b@x.test" else None)
    c = smtp.Client(s.port)
    c.command("LHLO me")
    c.envelope("a@x.test", ["b@x.test", "c@x.test"])
    c.command("DATA")
    c.send(smtp.stuffed(b"x"))
    tap.equal([c.reply().code, c.reply().code], [550, 250], "a reply for each")
    tap.equal(s.wait()[0].recipients, ["c@x.test"], "kept for one")

with tap.group("another client"):
    s = sink.Sink()
    with smtplib.SMTP("127.0.0.1", s.port) as other:
        other.sendmail("a@x.test", "b@x.test", "Subject: x\n\ny\n")
    tap.equal(s.wait()[0].body, b"y\r\n", "smtplib's message")

with tap.group("the name server"):
    d = dns.NameServer({"example.test": """
        @   MX 10 mx
        mx  A 127.0.0.1
    """})
    tap.equal(dns.query(d.host, d.port, "mx.example.test", 1, 5), 0, "a name")
    tap.equal(dns.query(d.host, d.port, "no.example.test", 1, 5), 3,
              "no such name")
    tap.equal(dns.query(d.host, d.port, "other.invalid", 1, 5), 3,
              "a name of no zone")
    d.update({"example.test": "new A 127.0.0.1"})
    tap.equal(dns.query(d.host, d.port, "new.example.test", 1, 5), 0,
              "a changed zone, on the same port")

tap.done()
