#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Mail that comes in: recipients, aliases, callout, spoofed and impossible
senders, block entries, the flood shield; delivery by SMTP and LMTP."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import dsns, scene, sink, smtp, tap  # noqa: E402

OTTO = "otto@elsewhere.test"
lmtp = sink.Sink(lmtp=True, name="lmtp.test")
s = scene.Scene(settings={"smtp.client_rate": 100000,
                          "smtp.network_rate": 100000})
inner = f"127.0.0.1:{s.inner.port}"
gw = s.gw
gw.cli("domain", "add", "listed.test", "--to", inner, "--recipients", "list")
gw.cli("recipient", "add", "known@listed.test", "also@listed.test")
gw.cli("domain", "add", "asked.test", "--to", inner, "--recipients",
       "callout")
gw.cli("domain", "add", "lmtp.test", "--to", f"lmtp://127.0.0.1:{lmtp.port}")
gw.cli("domain", "add", "xn--bcher-kva.test", "--to", inner)
gw.cli("alias", "add", "team@example.test", "one@example.test",
       "two@listed.test", "out@dest.test")
gw.cli("alias", "add", "info@listed.test", "known@listed.test")
gw.cli("alias", "add", "ring-a@example.test", "ring-b@example.test")
s.start()


def deliver(recipients, content=None, sender=OTTO):
    with s.stranger() as c:
        return c.submit(sender, recipients,
                        content or scene.mail(sender or OTTO))


def rcpt(recipient, sender=OTTO):
    with s.stranger() as c:
        c.command(f"MAIL FROM:<{sender}>")
        return c.command(f"RCPT TO:<{recipient}>")


def traced(reply, **fields):
    """Whether the refusal's reference leads to an event with these."""
    code = re.search(r"\[ref (\w+)\]", reply.text)
    if not code:
        return False
    try:
        events = tap.wait_until(lambda: s.events(code[1]), what="the event",
                                step=0.1)
    except TimeoutError:
        return False
    return any(all(e.get(k) == v for k, v in fields.items()) for e in events)


with tap.group("any recipient"):
    tap.equal(deliver("whoever@example.test").code, 250, "is taken")
    [m] = s.inner.take()
    tap.equal((m.sender, m.recipients), (OTTO, ["whoever@example.test"]),
              "and handed to the inner server")
    tap.contains(m.field("Received"), "127.0.0.1",
                 "Received has the client's address")
    tap.equal(deliver(["a@example.test", "b@example.test"]).code, 250, "two")
    tap.equal(s.inner.take()[0].recipients,
              ["a@example.test", "b@example.test"], "in one transaction")
    tap.equal(deliver("B@EXAMPLE.TEST").code, 250, "domain in other case")
    s.inner.take()
    tap.equal(deliver("x@sub.example.test").code, 550,
              "a domain below ours is not ours")
    tap.equal(deliver("x@xn--bcher-kva.test").code, 250, "an A-label")
    s.inner.take()
    with s.stranger() as c:
        c.command(f"MAIL FROM:<{OTTO}> SMTPUTF8")
        tap.equal(c.command("RCPT TO:<x@bücher.test>").code, 250,
                  "the same as a U-label")

with tap.group("a list"):
    tap.equal(rcpt("known@listed.test").code, 250, "who is in it")
    tap.equal(rcpt("KNOWN@listed.test").code, 250, "in other case")
    got = rcpt("unknown@listed.test")
    tap.equal((got.code, got.enhanced), (550, "5.1.1"), "who is not")
    tap.ok(traced(got, event="rcpt.refused", to="unknown@listed.test"),
           "trace knows the refusal")
    gw.cli("recipient", "add", "new@listed.test")
    tap.equal(rcpt("new@listed.test").code, 250, "added: at once")
    gw.cli("recipient", "remove", "new@listed.test")
    tap.equal(rcpt("new@listed.test").code, 550, "removed: at once")

with tap.group("a call to the inner server"):
    s.inner.on("RCPT", lambda _, line: "550 5.1.1 nobody"
               if "gone" in line else None)
    tap.equal(rcpt("here@asked.test").code, 250, "it knows the recipient")
    got = rcpt("gone@asked.test")
    tap.equal((got.code, got.enhanced), (550, "5.1.1"), "it does not")
    s.inner.on("RCPT", "451 4.3.0 confused")
    got = rcpt("third@asked.test")
    tap.equal(got.code // 100, 4, "it does not know: later")
    s.inner.as_usual()
    tap.equal(s.inner.messages, [], "and no mail came of asking")

with tap.group("postmaster and abuse"):
    for domain in ("listed.test", "asked.test"):
        for name in ("postmaster", "abuse", "Postmaster"):
            tap.equal(rcpt(f"{name}@{domain}").code, 250, f"{name}@{domain}")
    tap.equal(deliver("postmaster").code, 250, "postmaster alone")
    tap.equal(s.inner.take()[0].recipients, ["postmaster@example.test"],
              "goes to the postmaster")
    tap.equal(deliver("abuse@listed.test").code, 250, "abuse of a domain")
    tap.equal(s.inner.take()[0].recipients, ["postmaster@example.test"],
              "goes there, too")

with tap.group("aliases"):
    reply = deliver("team@example.test")
    tap.equal(reply.code, 250, "an alias is taken")
    got = set()
    while len(got) < 2:
        got |= {r for m in s.inner.take() for r in m.recipients}
    got |= {r for m in s.world.take() for r in m.recipients}
    tap.equal(got, {"one@example.test", "two@listed.test", "out@dest.test"},
              "its targets get it, outside as well")
    events = s.life(smtp.message_id(reply))
    tap.equal({e["original"] for e in events if e["event"] == "recipient"},
              {"team@example.test"}, "trace knows where from")
    tap.equal(deliver("info@listed.test").code, 250,
              "an alias is a recipient of a list")
    tap.equal(s.inner.take()[0].recipients, ["known@listed.test"], "target")
    tap.equal(deliver(["team@example.test", "one@example.test"]).code, 250,
              "an alias and one of its targets")
    got = []
    while len(got) < 2:
        got += [r for m in s.inner.take() for r in m.recipients]
    s.world.take()
    tap.equal(sorted(got), ["one@example.test", "two@listed.test"],
              "each gets it once")
    result = gw.run_cli("alias", "add", "ring-b@example.test",
                        "ring-a@example.test")
    reply = deliver("ring-a@example.test")
    tap.ok(result.returncode != 0 or reply.code in (250, 451, 550, 554),
           f"a ring of aliases does no harm: {reply.code}")
    gw.run_cli("alias", "remove", "ring-a@example.test")
    gw.run_cli("alias", "remove", "ring-b@example.test")
    gw.wait_for_queue(0)
    s.inner.messages.clear()

with tap.group("mail in our name"):
    for sender in ("boss@example.test", "x@listed.test", "x@EXAMPLE.test"):
        with s.stranger() as c:
            got = c.command(f"MAIL FROM:<{sender}>")
            tap.equal((got.code, got.enhanced), (550, "5.7.1"),
                      f"MAIL FROM {sender}")
            tap.ok(traced(got, event="mail.refused"), "trace knows it")
    for name, header in (
            ("From", "boss@example.test"),
            ("From with a name", "\"Boss\" <boss@example.test>"),
            ("From with two", f"{OTTO}, boss@example.test"),
            ("From in a group", "Us: boss@example.test;"),
            ("a broken From", "<boss@example.test")):
        got = deliver("b@example.test", scene.mail(header))
        tap.equal((got.code, got.enhanced), (550, "5.7.1"), name)
    got = deliver("b@example.test", scene.mail("boss@example.test"), "")
    tap.equal(got.code, 550, "the null path and our From")
    got = deliver("b@example.test",
                  scene.mail(f"\"boss@example.test\" <{OTTO}>"))
    tap.equal(got.code, 250, "a display name alone is not refused here")
    s.inner.take()
    gw.set(**{"smtp.spoof_protection": "off"})
    tap.equal(deliver("b@example.test", scene.mail("boss@example.test"))
              .code, 250, "taken where the setting says so")
    s.inner.take()
    gw.set(**{"smtp.spoof_protection": "on"})

with tap.group("senders that cannot exist"):
    with s.stranger() as c:
        got = c.command("MAIL FROM:<x@does-not-exist.test>")
        tap.equal((got.code, got.enhanced), (550, "5.1.8"), "no such domain")
        tap.ok(traced(got, event="mail.refused"), "trace knows it")
        got = c.command("MAIL FROM:<x@nomail.test>")
        tap.equal((got.code, got.enhanced), (550, "5.7.27"), "null MX")
        tap.equal(c.command("MAIL FROM:<x@www.elsewhere.test>").code, 250,
                  "an address and no MX is enough")
        c.command("RSET")
        tap.equal(c.command("MAIL FROM:<>").code, 250, "the null path")
    gw.set(**{"dns.timeout": "1s"})
    s.dns.stop()
    with s.stranger() as c:
        got = c.command("MAIL FROM:<x@another-unknown.test>")
        tap.equal((got.code, got.enhanced), (451, "4.4.3"), "no DNS: later")
    s.dns.start()
    gw.cli("config", "unset", "dns.timeout")

with tap.group("block and allow"):
    gw.cli("block", "add", "bad@elsewhere.test", "*.spam.test")
    with s.stranger() as c:
        tap.equal(c.command("MAIL FROM:<bad@elsewhere.test>").code, 550,
                  "a blocked sender")
        tap.equal(c.command("MAIL FROM:<x@y.spam.test>").code, 550,
                  "a blocked domain")
        tap.equal(c.command(f"MAIL FROM:<{OTTO}>").code, 250, "others not")
    gw.cli("allow", "add", "x@does-not-exist.test")
    with s.stranger() as c:
        tap.equal(c.command("MAIL FROM:<x@does-not-exist.test>").code, 250,
                  "an allowed one needs no domain")
    gw.cli("block", "add", "127.0.0.9")
    c = smtp.Client(s.ports["smtp"], source="127.0.0.9", greeting=False)
    tap.ok(c.reply().code in (421, 554), "a blocked client")
    tap.ok(c.at_end(), "is sent away")
    gw.cli("block", "remove", "127.0.0.9")
    with smtp.Client(s.ports["smtp"], source="127.0.0.9") as c:
        tap.equal(c.ehlo().code, 250, "and comes in again")
    tap.wait_until(lambda: any(
        e.get("client") == "127.0.0.9" for e in
        gw.json("log", "event=connect.refused")["events"]),
        what="the log to have it", step=0.2)
    tap.ok(True, "the log has it")

with tap.group("the flood shield"):
    gw.set(**{"smtp.client_connections": 5})
    held = [smtp.Client(s.ports["smtp"], source="127.0.0.8")
            for _ in range(5)]
    c = smtp.Client(s.ports["smtp"], source="127.0.0.8", greeting=False)
    tap.equal(c.reply().code, 421, "the sixth connection of an address")
    with s.stranger() as other:
        tap.equal(other.command("NOOP").code, 250, "others are served")
    for h in held:
        h.close()

    def again():
        with smtp.Client(s.ports["smtp"], source="127.0.0.8",
                         greeting=False) as c:
            return c.reply().code == 220

    tap.wait_until(again, what="a free place")
    tap.ok(True, "when they are gone it is served")
    gw.set(**{"smtp.client_connections": 50, "smtp.client_rate": 10})
    codes = []
    began = time.monotonic()
    for _ in range(15):
        with smtp.Client(s.ports["smtp"], source="127.0.0.7",
                         greeting=False) as c:
            codes.append(c.reply().code)
    # Ten a minute: another each six seconds.
    more = int((time.monotonic() - began) / 6) + 1
    tap.equal(codes[:10], [220] * 10, "a rate of connections")
    tap.ok(421 in codes and codes.count(220) <= 10 + more,
           f"and no faster: {codes}")
    gw.set(**{"smtp.client_rate": 100000})

with tap.group("LMTP"):
    lmtp.on("DATA.", lambda _, to: "550 5.2.2 full" if "full" in to else None)
    reply = deliver(["a@lmtp.test", "full@lmtp.test", "c@lmtp.test"])
    tap.equal(reply.code, 250, "taken")
    tap.equal(lmtp.take()[0].recipients, ["a@lmtp.test", "c@lmtp.test"],
              "delivered to those it is taken for")
    [m] = s.world.take()
    report = dsns.Report(m.content)
    tap.equal((m.recipients, [(r["final-recipient"].split(";")[1].strip(),
                               r["status"]) for r in report.recipients]),
              ([OTTO], [("full@lmtp.test", "5.2.2")]),
              "the sender hears of the other one")

with tap.group("the inner server is away"):
    s.inner.on("GREETING", sink.CLOSE, times=2)
    reply = deliver("b@example.test")
    tap.equal(reply.code, 250, "mail is taken")
    tap.equal(s.inner.take()[0].recipients, ["b@example.test"],
              "and arrives when it is back")

with tap.group("the end"):
    gw.wait_for_queue(0)
    tap.equal([len(k.messages) for k in (s.inner, s.world, lmtp)], [0, 0, 0],
              "nothing else came")

tap.done()
