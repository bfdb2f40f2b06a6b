#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Mail through the whole gateway with DKIM: small and large, verified by
dkimpy where it arrives; and what happens while the signer is away."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import scene, signer, smtp, tap  # noqa: E402
from lib.gateway import Held, hit  # noqa: E402

try:
    import dkim
except ImportError:
    tap.skip_all("dkimpy is not installed")

ANNA, TO = "anna@example.test", "b@dest.test"
s = scene.Scene()
s.start()
records = {}


def look_up(name, timeout=5):
    return records.get(name.decode() if isinstance(name, bytes)
                       else name, "").encode()


def verdicts(message):
    found = []
    for i in range(message.lower().count(b"dkim-signature:")):
        try:
            found.append(dkim.DKIM(message).verify(idx=i, dnsfunc=look_up))
        except dkim.DKIMException as problem:
            found.append(str(problem))
    return found


def send(body="text", subject=None):
    c = s.login()
    reply = c.submit(ANNA, TO, scene.mail(ANNA, body=body, subject=subject))
    c.close()
    return reply


with tap.group("without keys"):
    tap.equal(send().code, 250, "a mail is taken")
    [m] = s.world.take()
    tap.ok(b"DKIM-Signature" not in m.content, "and goes as it came")

with tap.group("keys"):
    s.gw.cli("key", "dkim", "new", "example.test")
    for row in s.gw.json("key", "dkim", "list", "example.test")["keys"]:
        shown = s.gw.json("key", "dkim", "show", str(row["id"]))
        records[shown["record_name"].rstrip(".") + "."] = \
            shown["record_value"]
    tap.equal(len(records), 2, "of RSA and Ed25519")

TEXT = "The quick brown fox jumps over the lazy dog.  And rests.\t\r\n"
with tap.group("signed"):
    for what, body in (("a small mail", "text"),
                       ("blank lines at the end", "text \r\n\r\n \r\n"),
                       ("eight-bit text", "Grüße"),
                       ("60 KB", TEXT * 1000),
                       ("300 KB", TEXT * 5000),
                       ("12 MB", TEXT * 200000)):
        reply = send(body)
        tap.equal(reply.code, 250, f"{what} is taken")
        [m] = s.world.take()
        tap.equal(verdicts(m.content), [True, True],
                  f"{what}: dkimpy verifies both signatures")
        tap.ok(m.content.endswith(body.encode() + b"\r\n"),
               f"{what}: its body is as it was")
    s.life(smtp.message_id(reply))
    trace = s.gw.cli("trace", smtp.message_id(reply))
    tap.contains(trace, "dkim example.test/", "the trace has the selectors")

with tap.group("who is not asked"):
    c = s.stranger()
    reply = c.submit("x@elsewhere.test", ANNA,
                     scene.mail("x@elsewhere.test"))
    tap.equal(reply.code, 250, "incoming mail is taken")
    [m] = s.inner.take()
    tap.ok(b"DKIM-Signature" not in m.content, "and not signed")

with tap.group("the signer is away"):
    with Held(s.gw.pids("signerd")):
        reply = send(subject="while it hangs")
        tap.equal(reply.code, 250, "a mail is taken while it hangs")
        tap.equal(s.world.take(0), [], "and has not left")
    [m] = s.world.take()
    tap.equal(m.field("Subject"), "while it hangs", "it comes later")
    tap.equal(verdicts(m.content), [True, True], "and is signed")

    s.gw.kill("signerd")
    reply = send(subject="while it is dead")
    tap.equal(reply.code, 250, "a mail is taken while it starts again")
    [m] = s.world.take()
    tap.equal(verdicts(m.content), [True, True], "and is signed")

with tap.group("its workers die"):
    count = 60
    c = s.login()
    for i in range(count):
        reply = c.submit(ANNA, TO, scene.mail(ANNA, subject=f"number {i}"))
        if reply.code != 250:
            tap.fail(f"mail {i}: {reply.code}")
        if i % 10 == 5:
            hit(signer.workers(s.gw))
    got = s.world.take(count)
    tap.equal(sorted(m.field("Subject") for m in got),
              sorted(f"number {i}" for i in range(count)),
              "each mail arrives once")
    tap.ok(all(verdicts(m.content) == [True, True] for m in got),
           "and is signed")

status = s.gw.program("signerd")
tap.equal(status["queued"], "connected", "the signer says so")
tap.done()
