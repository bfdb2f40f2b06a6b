#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Who may send as whom: identities, app passwords, forged senders, accounts
that change while they are used; and what may not be relayed at all."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import scene, smtp, tap  # noqa: E402

ANNA, TO = "anna@example.test", "b@dest.test"
s = scene.Scene(settings={"auth.tries_per_minute": 1000})
s.gw.cli("domain", "add", "second.test", "--to",
         f"127.0.0.1:{s.inner.port}")
s.add_user("bert", "bert@example.test", "@second.test")
s.start()
REFERENCE = re.compile(r"\[ref ([0-9a-z]{6,16})\]")


def reference(reply, name):
    """The code in a refusal; trace has to know it."""
    found = REFERENCE.search(reply.text)
    if not tap.ok(found, f"{name}: the refusal has a reference"):
        tap.diag(repr(reply))
        return []
    code = found[1]
    try:
        events = tap.wait_until(lambda: s.events(code),
                                what="trace to know the code", step=0.1)
    except TimeoutError:
        tap.fail(f"{name}: trace finds it")
        return []
    return events


def refused(reply, name, code=550, enhanced="5.7.1", **fields):
    tap.equal((reply.code, reply.enhanced), (code, enhanced), name)
    events = reference(reply, name)
    if events:
        event = events[-1]
        got = {key: event.get(key) for key in fields}
        tap.equal(got, fields, f"{name}: trace says who did what")
    return events


with tap.group("one's own addresses"):
    c = s.login()
    reply = c.submit(ANNA, TO, scene.mail(ANNA))
    tap.equal(reply.code, 250, "her own address")
    [m] = s.world.take()
    received = m.field("Received")
    tap.contains(received, "with ESMTPSA", "Received tells of TLS and login")
    tap.contains(received, smtp.message_id(reply), "and has the id of 250")
    tap.contains(received, "TLSv1.3", "and the TLS in use")
    tap.ok("127.0.0.1" not in received, "the client's address is hidden")
    events = s.life(smtp.message_id(reply))
    tap.contains([e.get("client") for e in events], "127.0.0.1", "but logged")
    tap.contains([e.get("account") for e in events], "anna",
                 "with the account")
    tap.equal(c.submit("Anna@Example.Test", TO,
                       scene.mail("ANNA@EXAMPLE.TEST")).code, 250,
              "in other case")
    tap.equal(c.submit("anna+news@example.test", TO,
                       scene.mail("anna+x@example.test")).code, 250,
              "with a subaddress")
    tap.equal(c.submit(ANNA, TO, scene.mail(f"=?utf-8?q?=C3=84nn?= <{ANNA}>"))
              .code, 250, "with a display name")
    tap.equal(c.submit("", TO, scene.mail(ANNA)).code, 250,
              "the null path, with her own From")
    s.world.take(4)
    b = s.login("bert")
    for sender in ("bert@example.test", "anybody@second.test",
                   "else@second.test"):
        tap.equal(b.submit(sender, TO, scene.mail(sender)).code, 250,
                  f"bert as {sender}")
        tap.equal(s.world.take()[0].sender, sender, "arrives")
    tap.equal(b.submit("bert@example.test", TO,
                       scene.mail("x@second.test")).code, 250,
              "one address in MAIL, another of his in From")
    s.world.take()

with tap.group("addresses of others"):
    c = s.login()
    got = c.command("MAIL FROM:<bert@example.test>")
    refused(got, "MAIL FROM of a colleague", account="anna",
            **{"from": "bert@example.test"}, event="mail.refused")
    for sender in ("boss@example.test", "x@elsewhere.test",
                   "anna@second.test", "anna@sub.example.test",
                   "xanna@example.test", "anna@example.test.evil.test"):
        tap.equal(c.command(f"MAIL FROM:<{sender}>").code, 550,
                  f"MAIL FROM {sender}")
    evil = {
        "From of a colleague": "bert@example.test",
        "a display name that looks like hers":
            f"\"{ANNA}\" <bert@example.test>",
        "two mailboxes": f"{ANNA}, bert@example.test",
        "a group": f"Us: {ANNA};",
        "an empty From": "",
        "no address": "Anna",
        "a comment that holds hers": f"bert@example.test ({ANNA})",
        "hers quoted as a local part": f"\"{ANNA}\"@evil.test",
        "a route": f"<@evil.test:{ANNA}>",
        "a second angle": f"<bert@example.test> <{ANNA}>",
        "a full stop behind": f"{ANNA}.",
    }
    for name, sender in evil.items():
        got = c.submit(ANNA, TO, scene.mail(sender))
        if got.code == 421:
            c = s.login()
            got = c.submit(ANNA, TO, scene.mail(sender))
        if name in ("a full stop behind", "a route") and got.code == 250:
            s.world.take()
            tap.ok(True, f"{name}: is her own")
            continue
        tap.equal((got.code, got.enhanced), (550, "5.7.1"), name)
    c = s.login()
    got = c.submit(ANNA, TO, scene.mail("bert@example.test"))
    refused(got, "From of a colleague", account="anna", event="data.refused",
            header_from="bert@example.test")
    for name, content in (
            ("two From", b"From: bert@example.test\r\n" + scene.mail(ANNA)),
            ("two From, hers first", scene.mail(ANNA).replace(
                b"\r\nTo:", b"\r\nFROM : bert@example.test\r\nTo:", 1)),
            ("no From", scene.mail(None)),
            ("From folded away", scene.mail(None).replace(
                b"\r\nDate:", b"\r\n From: " + ANNA.encode() + b"\r\nDate:")),
            ("no header", b"just text\r\n")):
        got = c.submit(ANNA, TO, content)
        tap.equal((got.code, got.enhanced), (550, "5.7.1"), name)
    tap.equal(s.world.messages, [], "none of it left")

with tap.group("identities change at once"):
    c = s.login()
    tap.equal(c.command("MAIL FROM:<sales@example.test>").code, 550,
              "not hers yet")
    s.gw.cli("identity", "add", "anna", "sales@example.test")
    tap.wait_until(
        lambda: c.command("RSET").code == 250
        and c.command("MAIL FROM:<sales@example.test>").code == 250,
        what="the identity to count", step=0.5)
    tap.ok(True, "hers within seconds, in the same session")
    c.close()
    c = s.login()
    s.gw.cli("identity", "remove", "anna", "sales@example.test")
    tap.wait_until(lambda: c.command("RSET").code == 250 and c.command(
        "MAIL FROM:<sales@example.test>").code == 550,
        what="the identity to be gone", step=0.5)
    tap.ok(True, "and gone as fast")

with tap.group("app passwords"):
    made = s.gw.json("user", "app-password", "add", "bert", "--label",
                     "printer", "--from", "bert@example.test", "--network",
                     "127.0.0.0/24")
    c = s.tls()
    tap.equal(c.auth_plain("bert", made["password"]).code, 235, "logs in")
    tap.equal(c.submit("bert@example.test", TO,
                       scene.mail("bert@example.test")).code, 250,
              "sends from the address it is bound to")
    s.world.take()
    tap.equal(c.command("MAIL FROM:<x@second.test>").code, 550,
              "not from another of his")
    far = s.gw.json("user", "app-password", "add", "bert", "--label", "far",
                    "--network", "192.0.2.0/24")
    tap.equal(s.tls().auth_plain("bert", far["password"]).code, 535,
              "not from another network")
    c = s.tls()
    tap.equal(c.auth_plain("anna", made["password"]).code, 535,
              "nor for another user")
    # Its last use is written once a minute, and at a stop.
    s.gw.restart()
    s.find_ports()
    rows = s.gw.json("user", "app-password", "list",
                     "bert")["app_passwords"]
    printer = [r for r in rows if r["label"] == "printer"][0]
    tap.equal((printer["last_client"], printer["last_used"] > 0),
              ("127.0.0.1", True), "its last use is known")
    s.gw.cli("user", "app-password", "remove", "bert", str(printer["id"]))
    tap.equal(s.tls().auth_plain("bert", made["password"]).code, 535,
              "removed: no more")

with tap.group("a changed account"):
    s.add_user("carl", "carl@example.test")
    c = s.login("carl")
    s.gw.cli("user", "disable", "carl")
    tap.equal(s.tls().auth_plain("carl", scene.PASSWORD).code, 535,
              "disabled: no login")
    tap.wait_until(lambda: c.command("RSET").code != 250 or c.command(
        "MAIL FROM:<carl@example.test>").code >= 400,
        what="the session to lose its right", step=0.5)
    tap.ok(True, "and an open session sends no more within seconds")
    s.gw.cli("user", "enable", "carl")
    tap.equal(s.tls().auth_plain("carl", scene.PASSWORD).code, 235,
              "enabled again")
    s.gw.cli("user", "passwd", "carl", "--password-stdin",
             input="another one\n")
    tap.equal(s.tls().auth_plain("carl", scene.PASSWORD).code, 535,
              "the old password is refused at once")
    tap.equal(s.tls().auth_plain("carl", "another one").code, 235,
              "the new one works")
    s.gw.cli("user", "remove", "carl")
    tap.equal(s.tls().auth_plain("carl", "another one").code, 535,
              "removed")

with tap.group("nobody relays without login"):
    c = s.stranger()
    c.command("MAIL FROM:<x@elsewhere.test>")
    got = c.command(f"RCPT TO:<{TO}>")
    refused(got, "a stranger to the outside", event="rcpt.refused", to=TO)
    c = smtp.Client(s.ports["submission"])
    c.ehlo()
    tap.equal(c.command(f"MAIL FROM:<{ANNA}>").code, 530,
              "submission without login")
    c = s.tls()
    tap.equal(c.command(f"MAIL FROM:<{ANNA}>").code, 530, "in TLS, too")
    t = s.trusted()
    tap.equal(t.submit("app@any.invalid", TO,
                       scene.mail("printer@any.invalid")).code, 250,
              "a trusted host relays")
    s.world.take()
    c = s.stranger()
    tap.equal(c.command("MAIL FROM:<x@elsewhere.test>").code, 250, "stranger")
    s.gw.set(**{"smtp.trusted_networks": "127.0.0.2 127.0.0.1"})
    c = s.stranger()
    tap.equal([r.code for r in c.envelope("x@elsewhere.test", TO)],
              [250, 250], "trusted as soon as it is set")
    s.gw.set(**{"smtp.trusted_networks": "127.0.0.2"})
    c = s.stranger()
    tap.equal([r.code for r in c.envelope("x@elsewhere.test", TO)],
              [250, 550], "and no more as soon as it is unset")

with tap.group("Received with the client's address"):
    s.gw.set(**{"submission.hide_client": "off"})
    c = s.login()
    c.submit(ANNA, TO, scene.mail(ANNA))
    received = s.world.take()[0].field("Received")
    tap.contains(received, "127.0.0.1", "when it is set so")

with tap.group("passwords are nowhere"):
    everything = s.gw.log() + s.gw.cli("log", "export")
    tap.ok(scene.PASSWORD not in everything
           and made["password"] not in everything, "in no log")
    tap.equal(s.world.messages, [], "and nothing else left")

tap.done()
