#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Mail on its way out: DNS, next servers that misbehave, retries, bounces,
delivery status notifications."""

import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import dns, dsns, scene, sink, smtp, tap  # noqa: E402

ANNA = "anna@example.test"
port = dns.free_port()
main = sink.Sink(port=port, name="mx.main.test")
first = sink.Sink(host="127.0.0.11", port=port, name="first.test")
second = sink.Sink(host="127.0.0.12", port=port, name="second.test")
poor = sink.Sink(host="127.0.0.14", port=port, name="poor.test",
                 extensions=())
small = sink.Sink(host="127.0.0.15", port=port, name="small.test",
                  extensions=("PIPELINING", "SIZE 20000", "8BITMIME"))
ZONES = {
    "pref.test": "@ MX 20 b\n@ MX 10 a\na A 127.0.0.11\nb A 127.0.0.12",
    "both.test": "@ MX 20 b\n@ MX 10 a\na A 127.0.0.11\nb A 127.0.0.12",
    "fallback.test": "@ MX 10 dead\n@ MX 20 b\ndead A 127.0.0.13\n"
                     "b A 127.0.0.12",
    "twoaddresses.test": "@ MX 10 m\nm A 127.0.0.13\nm A 127.0.0.12",
    "nomx.test": "@ A 127.0.0.11",
    "cname.test": "@ MX 10 alias\nalias CNAME real\nreal A 127.0.0.11\n"
                  "dom CNAME target\ntarget MX 10 real",
    "nullmx.test": "@ MX 0 .",
    "noaddress.test": "@ MX 10 gone",
    "nothing.test": "@ TXT \"neither MX nor A\"",
    "poor.test": "@ MX 10 m\nm A 127.0.0.14",
    "small.test": "@ MX 10 m\nm A 127.0.0.15",
    "one.test": "@ MX 10 m\nm A 127.0.0.11",
    "two.test": "@ MX 10 m\nm A 127.0.0.12",
    "fresh.test": "@ MX 10 m\nm A 127.0.0.12",
}
s = scene.Scene(world=main, zones=ZONES, route=False,
                settings={"queue.delay_warning": "0s",
                          # Each mail on a connection of its own.
                          "relay.idle": "0s",
                          "relay.connect_timeout": "2s",
                          # Who behaves answers in that time, too, on a busy
                          # machine; at the dot a late answer is a double.
                          "relay.command_timeout": "5s",
                          "relay.dot_timeout": "10s"}).start()
client = s.login()


def send(recipients, content=None, sender=ANNA, mail_words="", words=""):
    """Sends as anna; the message id."""
    if isinstance(recipients, str):
        recipients = [recipients]
    lines = [f"MAIL FROM:<{sender}> {mail_words}".strip()]
    lines += [f"RCPT TO:<{r}> {words}".strip() for r in recipients]
    for line in lines:
        reply = client.command(line)
        if reply.code != 250:
            raise RuntimeError(f"{line}: {reply!r}")
    reply = client.data(content or scene.mail())
    if reply.code != 250:
        raise RuntimeError(f"{reply!r}")
    return smtp.message_id(reply)


def bounce():
    """The DSN that came to anna."""
    [m] = s.inner.take()
    report = dsns.Report(m.content)
    report.envelope = m
    return report


def events(message_id, name):
    return [e for e in s.events(message_id) if e["event"] == name]


def finished(message_id):
    return tap.wait_until(lambda: events(message_id, "finished"),
                          what="the end of its life", step=0.1)


def failed(recipient, status, name, **arguments):
    """It bounces at once, with that status."""
    message_id = send(recipient, **arguments)
    got = bounce()
    block = got.of(recipient)
    if tap.ok(block is not None, f"{name}: the DSN names the recipient"):
        tap.equal((block["action"], block["status"]), ("failed", status),
                  f"{name}: {status}")
    finished(message_id)
    return got


with tap.group("MX"):
    send("r@pref.test")
    tap.equal(first.take()[0].recipients, ["r@pref.test"],
              "the lowest preference is asked first")
    send("r@fallback.test")
    tap.equal(second.take()[0].recipients, ["r@fallback.test"],
              "the next one when nobody listens there")
    send("r@twoaddresses.test")
    tap.equal(second.take()[0].recipients, ["r@twoaddresses.test"],
              "the next address of a host")
    send("r@nomx.test")
    tap.equal(first.take()[0].recipients, ["r@nomx.test"],
              "no MX: the address of the domain")
    send("r@cname.test")
    tap.equal(first.take()[0].recipients, ["r@cname.test"],
              "an MX that is a CNAME")
    send("r@dom.cname.test")
    tap.equal(first.take()[0].recipients, ["r@dom.cname.test"],
              "a domain that is a CNAME keeps its name")
    first.on("RCPT", "450 4.2.1 try the other", times=1)
    send("r@pref.test")
    got = tap.wait_until(lambda: first.messages + second.messages, what="it")
    tap.equal(got[0].recipients, ["r@pref.test"], "a 4xx is not the end")
    first.messages.clear()
    second.messages.clear()
    first.on("GREETING", "554 5.3.2 not here", times=1)
    send("r@pref.test")
    tap.equal(second.take()[0].recipients, ["r@pref.test"],
              "a greeting with 554: the next MX")

with tap.group("DNS says no"):
    got = failed("r@nullmx.test", "5.1.10", "null MX")
    tap.equal(got.envelope.sender, "", "its sender is the null path")
    failed("r@does-not-exist.test", "5.1.2", "no such domain")
    for recipient in ("r@noaddress.test", "r@nothing.test"):
        block = failed(recipient, "5.4.4", recipient).of(recipient)
        tap.ok(block is not None, "no server for it")

with tap.group("replies of 5xx"):
    main.on("RCPT", "550 5.1.1 no such user \x1b[2J <here>", times=1)
    got = failed("r@dest.test", "5.1.1", "an unknown recipient")
    m = got.envelope
    tap.equal((m.sender, m.recipients), ("", [ANNA]), "to the sender, from <>")
    tap.contains(got.recipients[0]["diagnostic-code"], "no such user",
                 "it quotes the server")
    tap.ok(b"\x1b" not in m.content, "without its control characters")
    tap.contains(got.words, "r@dest.test", "plain words name the recipient")
    tap.equal(got.message["reporting-mta"], "dns; gw.example.test",
              "Reporting-MTA")
    tap.equal(got.mail["Auto-Submitted"], "auto-replied", "RFC 3834")
    tap.contains(got.returned, "Subject: mail", "it returns the header")
    main.on("MAIL", "553 5.1.8 not you", times=1)
    failed("r@dest.test", "5.1.8", "MAIL refused")
    main.on("DATA.", "554 5.7.1 content", times=1)
    failed("r@dest.test", "5.7.1", "refused at the dot")
    main.on("DATA", "554 5.5.0 no data", times=1)
    failed("r@dest.test", "5.5.0", "DATA refused")
    main.on("RCPT", "550 no code of its own", times=1)
    block = failed("r@dest.test", "5.0.0", "a reply without one").recipients
    tap.equal(len(block), 1, "one recipient")

LATER = [("greylisting", "RCPT", "451 4.7.1 greylisted"),
         ("421 at the greeting", "GREETING", "421 4.3.2 busy"),
         ("4xx at MAIL", "MAIL", "450 4.1.8 later"),
         ("4xx at the dot", "DATA.", "452 4.3.1 full"),
         ("closes at the greeting", "GREETING", sink.CLOSE),
         ("closes at RCPT", "RCPT", sink.CLOSE),
         ("closes at the dot", "DATA.", sink.CLOSE),
         ("resets at DATA", "DATA", sink.RESET),
         ("hangs at MAIL", "MAIL", sink.HANG),
         ("hangs at the greeting", "GREETING", sink.HANG),
         ("an endless greeting", "GREETING", b"220-" + b"x" * 200000),
         ("endless greeting lines", "GREETING", b"220-hello\r\n" * 20000),
         ("nonsense for a reply", "MAIL", b"hello?\r\n"),
         ("bytes for a reply", "RCPT", b"\xff\x00\xfe\r\n"),
         ("3xx at MAIL", "MAIL", "354 go on"),
         ("an impossible code", "MAIL", "999 what"),
         ("2xx at DATA", "DATA", "250 fine")]
for name, step, action in LATER:
    with tap.group(name):
        main.on(step, action, times=1)
        message_id = send("r@dest.test")
        [m] = main.take()
        tap.equal(m.recipients, ["r@dest.test"], f"{name}: later it arrives")
        finished(message_id)
        tap.ok(len(events(message_id, "deferred")) >= 1
               and len(events(message_id, "delivered")) == 1,
               f"{name}: trace tells of both attempts")
        tap.equal(s.inner.messages, [], f"{name}: and nobody is bothered")
        main.as_usual()

with tap.group("several recipients, mixed results"):
    main.on("RCPT", lambda _, line: "550 5.1.1 unknown"
            if "bad" in line else None)
    second.on("RCPT", "451 4.2.1 later", times=1)
    message_id = send(["good@dest.test", "bad@dest.test", "r@one.test",
                       "r@two.test", "r@nullmx.test", "also@dest.test"])
    tap.equal(main.take()[0].recipients, ["good@dest.test", "also@dest.test"],
              "one transaction for those of a domain that are taken")
    tap.equal(first.take()[0].recipients, ["r@one.test"], "another domain")
    tap.equal(second.take()[0].recipients, ["r@two.test"], "a later one")
    found = {}
    while len(found) < 2:
        for m in s.inner.take():
            for block in dsns.Report(m.content).recipients:
                found[block["final-recipient"].split(";")[1].strip()] = \
                    block["status"]
    tap.equal(found, {"bad@dest.test": "5.1.1", "r@nullmx.test": "5.1.10"},
              "those that failed are reported, those alone")
    finished(message_id)
    tap.equal({e["to"] for e in events(message_id, "delivered")},
              {"good@dest.test", "also@dest.test", "r@one.test",
               "r@two.test"}, "trace has each recipient")
    main.as_usual()

with tap.group("one server decides on some, the next on the rest"):
    first.on("RCPT", lambda _, line: "550 5.1.1 unknown"
             if "bad" in line else "451 4.2.1 later")
    message_id = send(["bad@both.test", "good@both.test"])
    tap.equal(second.take()[0].recipients, ["good@both.test"],
              "who was put off goes to the next server")
    got = bounce()
    tap.equal([(b["final-recipient"], b["remote-mta"])
               for b in got.recipients],
              [("rfc822; bad@both.test", "dns; a.both.test")],
              "the bounce names the server that refused")
    finished(message_id)
    [event] = events(message_id, "failed")
    tap.equal((event["host"], event["address"]),
              ("a.both.test", "127.0.0.11"), "and so does the trace")
    [event] = events(message_id, "delivered")
    tap.equal((event["host"], event["address"]),
              ("b.both.test", "127.0.0.12"), "with the one that took it")
    first.as_usual()

with tap.group("what a server cannot do"):
    eight = scene.mail(body="Grüße")
    got = failed("r@poor.test", "5.6.3", "8 bit without 8BITMIME",
                 content=eight, mail_words="BODY=8BITMIME")
    tap.contains(got.words, "8BITMIME", "and is told in plain words")
    failed("r@small.test", "5.3.4", "larger than its SIZE",
           content=scene.mail(body="x" * 30000))
    tap.equal(small.messages, [], "which was not even tried")
    send("r@poor.test")
    tap.equal(poor.take()[0].content.endswith(b"text\r\n"), True,
              "without PIPELINING and all else it works")
    message_id = send("jürgen@poor.test", mail_words="SMTPUTF8")
    got = bounce()
    tap.equal(got.recipients[0]["status"], "5.6.7", "SMTPUTF8: a clear bounce")
    usual, s.inner.extensions = s.inner.extensions, []
    got = failed("r@poor.test", "5.6.3", "nor on the way back",
                 mail_words="BODY=8BITMIME", content=scene.mail(
                     subject="Größe", body="Grüße", MIME_Version="1.0",
                     Content_Type="text/plain; charset=utf-8",
                     Content_Transfer_Encoding="8bit"))
    tap.ok(got.envelope.content.isascii(), "the bounce has seven bits")
    tap.contains(got.returned, "Subject: Gr=C3=B6=C3=9Fe",
                 "the header goes back, as it has 8-bit octets of its own")
    got = failed("r@poor.test", "5.6.3", "nor then, but a plain header",
                 mail_words="BODY=8BITMIME", content=scene.mail(
                     body="Grüße", MIME_Version="1.0",
                     Content_Type="text/plain; charset=utf-8",
                     Content_Transfer_Encoding="8bit"))
    tap.ok(got.envelope.content.isascii(), "the bounce has seven bits")
    tap.equal(got.returned_type, "message/rfc822", "it has all of the mail")
    [returned] = list(got.mail.iter_parts())[2].iter_parts()
    tap.equal(returned.get_content(), "Grüße\r\n", "with its text")
    send("jürgen@poor.test", mail_words="SMTPUTF8", content=scene.mail(
        subject="Größe"))
    got = bounce()
    tap.equal((got.envelope.content.isascii(), got.returned_type,
               got.recipients[0]["final-recipient"]),
              (True, "message/global", "utf-8; j\\x{FC}rgen@poor.test"),
              "a bounce needs no SMTPUTF8 for addresses that it tells of")
    s.inner.extensions = usual
    message_id = send("jürgen@dest.test", mail_words="SMTPUTF8")
    m = main.take()[0]
    tap.contains(m.sender_arguments, "SMTPUTF8", "and passed on elsewhere")
    tap.equal(m.recipients, ["jürgen@dest.test"], "with its address")

with tap.group("connections are used again"):
    s.gw.set(**{"relay.idle": "60s"})
    before = len(first.sessions)
    got = []
    # One after the other: several at once may have one each.
    for _ in range(20):
        send("r@one.test")
        got += first.take()
    tap.ok(len(first.sessions) - before <= 6,
           f"20 mails on {len(first.sessions) - before} connections")
    tap.equal(len(set(m.field("Message-ID") for m in got)), 20, "each once")
    s.gw.set(**{"relay.idle": "0s"})

with tap.group("DSN: NOTIFY, ENVID, ORCPT, RET"):
    main.on("RCPT", "550 5.1.1 unknown", times=1)
    send("r@dest.test", words="NOTIFY=NEVER")
    s.gw.wait_for_queue(0)
    tap.equal(s.inner.messages, [], "NOTIFY=NEVER: no bounce")
    main.on("RCPT", "550 5.1.1 unknown", times=1)
    send("r@dest.test", mail_words="ENVID=QQ314159+2B RET=FULL",
         words="NOTIFY=FAILURE,DELAY ORCPT=rfc822;First+2BLast@dest.test",
         content=scene.mail(body="the whole body"))
    got = bounce()
    tap.equal(got.message["original-envelope-id"], "QQ314159+", "ENVID")
    tap.equal(got.recipients[0]["original-recipient"],
              "rfc822;First+Last@dest.test", "ORCPT")
    tap.equal(got.returned_type, "message/rfc822", "RET=FULL")
    tap.contains(got.returned, "the whole body", "returns the body")
    main.on("RCPT", "550 5.1.1 unknown", times=1)
    send("r@dest.test", mail_words="RET=HDRS",
         content=scene.mail(body="the whole body"))
    got = bounce()
    tap.equal(got.returned_type, "text/rfc822-headers", "RET=HDRS")
    tap.ok("the whole body" not in str(got.mail), "returns no body")
    send("r@dest.test", mail_words="ENVID=e1 RET=HDRS",
         words="NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o@dest.test")
    m = main.take()[0]
    tap.contains(m.sender_arguments, "ENVID=e1", "ENVID is passed on")
    tap.contains(m.sender_arguments, "RET=HDRS", "RET is passed on")
    tap.contains(m.recipient_arguments[0], "NOTIFY=SUCCESS,FAILURE",
                 "NOTIFY is passed on")
    tap.contains(m.recipient_arguments[0], "ORCPT=rfc822;o@dest.test",
                 "ORCPT is passed on")
    s.gw.wait_for_queue(0)
    tap.equal(s.inner.messages, [], "and we do not report it ourselves")
    send("r@poor.test", words="NOTIFY=SUCCESS")
    poor.take()
    got = bounce()
    tap.equal(got.recipients[0]["action"], "relayed",
              "where DSN is not known, we report that it was relayed")

with tap.group("mail from the null sender"):
    main.on("RCPT", "550 5.1.1 unknown", times=1)
    message_id = send("r@dest.test", sender="")
    finished(message_id)
    tap.equal(len(events(message_id, "failed")), 1, "it fails")
    tap.equal(s.inner.messages, [], "and no DSN answers it")

with tap.group("a delay is told, the lifetime ends it"):
    s.gw.set(**{"queue.delay_warning": "1s"})
    main.on("RCPT", "451 4.2.1 mailbox is busy")
    message_id = send("r@dest.test", words="NOTIFY=FAILURE,DELAY")
    got = bounce()
    tap.equal(got.recipients[0]["action"], "delayed", "a warning")
    tap.ok(got.recipients[0]["status"].startswith("4."), "with a 4.x status")
    tap.ok("will-retry-until" in got.recipients[0], "and until when")
    s.gw.set(**{"queue.lifetime": "2s", "queue.bounce_lifetime": "2s"})
    got = bounce()
    tap.equal(got.recipients[0]["action"], "failed", "then the bounce")
    tap.contains(got.recipients[0].get("diagnostic-code", "") + got.words,
                 "mailbox is busy", "with the server's last words")
    finished(message_id)
    tap.equal([e["kind"] for e in events(message_id, "notified")],
              ["delayed", "failed"], "trace tells of both notices")
    main.as_usual()
    s.gw.set(**{"queue.delay_warning": "0s", "queue.lifetime": "4d",
                "queue.bounce_lifetime": "1d"})

with tap.group("hold, release, delete, bounce, retry"):
    main.on("RCPT", "451 4.2.1 later")
    s.gw.set(**{"queue.retry": "1h", "queue.retry_max": "4h"})
    ids = [send("r@dest.test") for _ in range(4)]
    for i in ids:
        tap.wait_until(lambda: events(i, "deferred"), what="the first attempt")
    tap.equal({m["id"] for m in s.gw.json("queue", "list")["messages"]},
              set(ids), "the queue lists them")
    s.gw.cli("queue", "hold", ids[0])
    main.as_usual()
    s.gw.cli("queue", "retry", "--match", "domain=dest.test", "--yes")
    got = []
    while len(got) < 3:
        got += main.take()
    tap.equal(len(got), 3, "retry: those not held leave")
    # What has left is off the list with the commit of its result.
    tap.wait_until(lambda: len(s.gw.json("queue", "list")["messages"]) == 1,
                   what="the results are committed")
    tap.equal([m["id"] for m in s.gw.json("queue", "list")["messages"]],
              [ids[0]], "the held one stays")
    s.gw.cli("queue", "release", ids[0])
    main.take()
    tap.ok(finished(ids[0]), "released it leaves")
    main.on("RCPT", "451 4.2.1 later")
    i, j = send("r@dest.test"), send("r@dest.test")
    for k in (i, j):
        tap.wait_until(lambda: events(k, "deferred"), what="the attempt")
    s.gw.cli("queue", "delete", i, "--yes")
    s.gw.cli("queue", "bounce", j, "--yes", "--reason", "because we say so")
    got = bounce()
    tap.contains(got.words + got.recipients[0].get("diagnostic-code", ""),
                 "because we say so", "bounce: with the reason")
    s.gw.wait_for_queue(0)
    tap.equal([e["action"] for e in events(i, "handled")], ["delete"],
              "delete: trace tells who did it")
    tap.equal(s.inner.messages, [], "and nobody is told")
    main.as_usual()

with tap.group("an administrator and what is being delivered"):
    reached, go_on = threading.Event(), threading.Event()

    def at_the_dot(*_):
        reached.set()
        go_on.wait(tap.PATIENCE_S)

    main.on("DATA.", at_the_dot)
    i = send("r@dest.test")
    reached.wait(tap.PATIENCE_S)
    for verb in (["hold"], ["delete", "--yes"], ["retry"]):
        result = s.gw.run_cli("queue", verb[0], i, *verb[1:])
        tap.equal(result.returncode, 6, f"{verb[0]} does not touch it")
        tap.contains(result.stderr,
                     "1 message was left alone: being delivered just now",
                     f"{verb[0]} says why")
    go_on.set()
    main.take()
    tap.ok(finished(i), "it arrives")
    main.as_usual()

with tap.group("a loop to ourselves"):
    s.gw.set(**{"relay.allow_loopback": "off"})
    failed("r@dest.test", "5.4.6", "an MX on this host")
    s.gw.set(**{"relay.allow_loopback": "on"})

with tap.group("no DNS"):
    s.gw.set(**{"queue.retry": "1s", "queue.retry_max": "1s",
                "dns.timeout": "1s"})
    s.dns.stop()
    message_id = send("r@fresh.test")
    tap.wait_until(lambda: events(message_id, "deferred"), what="a deferral")
    s.dns.start()
    tap.equal(second.take()[0].recipients, ["r@fresh.test"],
              "mail waits for the name server")

with tap.group("the end"):
    s.gw.wait_for_queue(0)
    tap.equal([len(k.messages) for k in (main, first, second, poor, small,
                                         s.inner)], [0] * 6,
              "nothing came that was not asked for")

tap.done()
