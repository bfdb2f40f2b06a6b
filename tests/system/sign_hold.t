#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""What an administrator does to mail that the signer has: its workers hang,
and he holds and deletes all the same, also when programs die meanwhile."""

import contextlib
import os
import signal
import sqlite3
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import scene, smtp, tap  # noqa: E402

ANNA, TO = "anna@example.test", "b@dest.test"
# Above what is kept in queue.db: files then.
LARGE = "The quick brown fox jumps over the lazy dog.  And rests.\r\n" * 6000

s = scene.Scene(settings={"smtp.client_rate": 100000,
                          "smtp.network_rate": 100000}, user=False).start()
gw = s.gw
gw.cli("key", "dkim", "new", "example.test")


def send(subject, body="text", to=TO):
    with s.trusted() as c:
        reply = c.submit(ANNA, to, scene.mail(ANNA, subject=subject,
                                              body=body))
    tap.equal(reply.code, 250, f"{subject}: it is taken")
    return smtp.message_id(reply)


@contextlib.contextmanager
def signer_hangs():
    """The broker is there; its workers, and who starts them, do nothing."""
    tap.wait_until(lambda: len(gw.pids("signerd")) > 1, what="its spawner")
    hung = []
    # One that was begun meanwhile stands in the next list.
    while new := [pid for pid in list(gw.pids("signerd"))[1:]
                  if pid not in hung]:
        for pid in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        hung += new
    try:
        yield
    finally:
        for pid in hung:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def is_signing(count):
    """Until the signer has so many."""
    tap.wait_until(lambda: gw.program("queued")["signing"] == count,
                   what=f"{count} at the signer", step=0.1)


def act(verb, message, what):
    said = gw.cli("queue", verb, message, "--yes")
    tap.equal(said.split(), [message], f"{what}: the answer names it")


def rows(message):
    """(held, waits for the signer) of each of its recipients."""
    shown = gw.json("queue", "show", message)["message"]["recipients"]
    return [(r["status"] == "held", r["waits_for_signer"]) for r in shown]


def others_flow(what):
    """What came before it at the signer is done with, too."""
    send(f"after {what}")
    [m] = s.world.take()
    tap.equal(m.field("Subject"), f"after {what}", f"{what}: others flow")


def arrives(subject, message):
    act("release", message, subject)
    [m] = s.world.take()
    tap.equal(m.field("Subject"), subject, f"{subject}: it comes, released")
    tap.ok(b"DKIM-Signature" in m.content, f"{subject}: signed")
    gw.wait_for_queue(0)
    tap.equal(s.world.take(0), [], f"{subject}: once")


def spool_files():
    top = os.path.join(gw.root, "var/lib/postern/queued/spool")
    return [name for _, _, names in os.walk(top) for name in names]


send("first")
[first] = s.world.take()
with tap.group("mail is signed"):
    tap.ok(b"DKIM-Signature" in first.content, "that of our domain is")

for kind, body in (("small", "text"), ("large", LARGE)):
    with tap.group(f"held, {kind}"):
        with signer_hangs():
            held = send(f"held {kind}", body)
            is_signing(1)
            act("hold", held, "at the signer")
            tap.equal(rows(held), [(True, True)], "it is held at once")
            is_signing(0)
        others_flow(f"held {kind}")
        tap.equal(rows(held), [(True, True)], "and stays so")
        arrives(f"held {kind}", held)

    with tap.group(f"deleted, {kind}"):
        with signer_hangs():
            gone = send(f"deleted {kind}", body)
            is_signing(1)
            act("delete", gone, "at the signer")
            gw.wait_for_queue(0)
            is_signing(0)
        others_flow(f"deleted {kind}")
        gw.wait_for_queue(0)
        tap.wait_until(lambda: spool_files() == [], what="an empty spool")
        tap.equal(spool_files(), [], "no file of it is left")
        told = tap.wait_until(
            lambda: [line for line in
                     gw.run_cli("trace", gone).stdout.splitlines()
                     if "delete" in line], what="its trace")
        tap.ok(told, "the trace tells who did it")

for program in ("queued", "signerd"):
    with tap.group(f"{program} dies with what is held"):
        with signer_hangs():
            held = send(f"held, {program} dies")
            is_signing(1)
            act("hold", held, "at the signer")
            gw.kill(program)
        tap.wait_until(lambda: gw.program("queued")["signerd"] == "connected",
                       what="both programs", step=0.1)
        others_flow(f"{program} died")
        tap.equal(rows(held), [(True, True)], "it is still held")
        arrives(f"held, {program} dies", held)

with tap.group("queued dies with what is at the signer"):
    with signer_hangs():
        waits = send("queued dies")
        is_signing(1)
        gw.kill("queued")
        tap.wait_until(lambda: gw.program("queued")["state"] == "running",
                       what="queued", step=0.1)
        act("hold", waits, "given to the signer anew")
    others_flow("queued died")
    tap.equal(rows(waits), [(True, True)], "it is held")
    arrives("queued dies", waits)


def set_apart():
    """Held until here, and now as the signer leaves such: the first has what
    he is to get, what is for the second is held, the third waits for the
    signer, which was not asked again yet."""
    with contextlib.closing(sqlite3.connect(os.path.join(
            gw.root, "var/lib/postern/queued/queue.db"))) as db, db:
        db.execute("UPDATE demand SET waits=0 WHERE number=0")
        db.execute("UPDATE rcpt SET state=(number=1)")
        # It is not asked for as soon as the signer is there.
        db.execute("UPDATE protection SET waits=2")
        count = db.execute(
            "UPDATE rcpt SET next_ms=next_ms+3600000").rowcount
    tap.equal(count, 3, "three recipients")


def recipients(message):
    shown = gw.json("queue", "show", message)["message"]["recipients"]
    return {r["address"]: (r["status"], r["waits_for_signer"])
            for r in shown}


with tap.group("retry, with each recipient in another state"):
    first, second, third = all_three = [f"{name}@dest.test"
                                        for name in ("r0", "r1", "r2")]
    s.world.on("RCPT", "451 4.2.1 later")
    gw.set(**{"queue.retry": "1h", "queue.retry_max": "1h"})
    with signer_hangs():
        mixed = send("for three", to=all_three)
        act("hold", mixed, "all of it")
    gw.stop()
    set_apart()
    gw.start()
    s.find_ports()
    with signer_hangs():
        act("retry", mixed, "the first time")
        is_signing(1)
        tap.wait_until(lambda: recipients(mixed) == {
            first: ("deferred", False), second: ("held", True),
            third: ("waiting", True)}, what="the first to be deferred")
        s.world.as_usual()
        act("retry", mixed, "while one is at the signer")
        [m] = s.world.take()
        tap.equal(m.recipients, [first],
                  "who waits for his server has it, and nobody else")
        tap.wait_until(lambda: first not in recipients(mixed),
                       what="the queue to know")
        tap.equal(recipients(mixed), {second: ("held", True),
                                      third: ("waiting", True)},
                  "who is held stays held")
        is_signing(1)
    [m] = s.world.take()
    tap.equal(m.recipients, [third], "the signer's answer counts")
    tap.ok(b"DKIM-Signature" in m.content, "he has it signed")
    tap.wait_until(lambda: third not in recipients(mixed),
                   what="the queue to know")
    tap.equal(recipients(mixed), {second: ("held", True)},
              "one is left, held")
    act("release", mixed, "the last")
    [m] = s.world.take()
    tap.equal(m.recipients, [second], "who was held has it at last")
    tap.ok(b"DKIM-Signature" in m.content, "signed, too")
    gw.wait_for_queue(0)

tap.equal(s.world.take(0), [], "nothing else has left")
tap.done()
