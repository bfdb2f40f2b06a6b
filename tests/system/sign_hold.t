#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""What an administrator does to mail that the signer has: its workers hang,
and he holds and deletes all the same, also when programs die meanwhile."""

import contextlib
import os
import signal
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


def send(subject, body="text"):
    with s.trusted() as c:
        reply = c.submit(ANNA, TO, scene.mail(ANNA, subject=subject,
                                              body=body))
    tap.equal(reply.code, 250, f"{subject}: it is taken")
    return smtp.message_id(reply)


@contextlib.contextmanager
def signer_hangs():
    """The broker is there; its workers, and who starts them, do nothing."""
    hung = list(gw.pids("signerd"))[1:]
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
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

tap.equal(s.world.take(0), [], "nothing else has left")
tap.done()
