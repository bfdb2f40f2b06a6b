#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""The wall clock jumps, thirteen years forward (past 2038) and back, two hours,
half an hour, while the gateway runs and while it is stopped: no mail is bounced
for it, mail flows on, signed where it has to be, and the clock alert says so.
Time that truly passes still ends a mail's life. No log is deleted for it."""

import mmap
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import (count, open_scene, scene, shim, sink,  # noqa: E402
                      smtp, tap)
from crashlib.trial import SIGNED_SENDER, sign_all  # noqa: E402

HOUR, DAY = 3600, 86400
YEARS = 13 * 365 * DAY
WAITING = 40
# Further than this a clock is not believed: relay/schedule.c.
JUMP = HOUR
jumps = []


class Clock:
    """How far ahead all the programs' wall clocks are."""

    def __init__(self, path):
        with open(path, "r+b") as f:
            self.block = mmap.mmap(f.fileno(), 4096)

    def set(self, seconds):
        struct.pack_into("<q", self.block, 0, seconds)
        jumps.append(seconds)


world = sink.Sink(name="mx.dest.test")
environment, control = shim("clock")
clock = Clock(control)
# Attempts each second; no warnings, which would be taken for bounces.
s = open_scene(world.port, environment=environment,
               **{"queue.lifetime": "10h", "queue.bounce_lifetime": "10h",
                  "queue.delay_warning": "0s"})


def send(number, to="r@dest.test", sender="app@any.test", subject=None):
    c = smtp.Client(s.ports["smtp"])
    c.ehlo()
    for _ in range(number):
        reply = c.submit(sender, to, scene.mail(sender, subject))
        if reply.code != 250:
            raise RuntimeError(repr(reply))
    c.quit()


def attempts():
    """How many RCPTs the world has heard."""
    return sum(line.upper().startswith("RCPT")
               for session in list(world.sessions)
               for line in list(session.commands))


def wait_for_attempts(number):
    """So many more."""
    target = attempts() + number
    tap.wait_until(lambda: attempts() >= target, what="attempts")


def alerts():
    return [a for a in s.gw.status().get("alerts", [])
            if a.get("alert", a.get("name")) == "clock"]


def bounces():
    """To either sender; alerts go to somebody else."""
    return [m for m in world.messages + s.inner.messages if m.sender == ""
            and m.recipients[0] in ("app@any.test", SIGNED_SENDER)]


def check(label):
    """Every mail was tried again since, and is still there; new mail comes,
    and is signed where it has to be."""
    wait_for_attempts(2 * WAITING)
    # An alert's mail may be on its way beside it.
    tap.ok(s.gw.wait_for_queue(WAITING), f"{label}: all is still queued")
    senders = ("app@any.test", SIGNED_SENDER)
    for sender in senders:
        send(1, "fine@dest.test", sender, subject=label)

    def new_mail():
        """{sender: whether it is signed}"""
        return {m.sender: b"DKIM-Signature" in m.header
                for m in world.messages if m.field("Subject") == label
                and m.recipients == ["fine@dest.test"]}

    tap.wait_until(lambda: len(new_mail()) == 2, what="new mail")
    tap.equal(new_mail(), dict(zip(senders, (False, True))),
              f"{label}: new mail flows, signed where it has to be")
    tap.equal(len(bounces()), 0, f"{label}: nothing is bounced")
    world.messages.clear()


with tap.group("before"):
    sign_all(s)
    world.on("RCPT", lambda session, line:
             "451 4.2.1 later" if "r@dest" in line else None)
    send(WAITING)
    check("no jump")
    tap.equal(alerts(), [], "no alert")

for label, ahead in (("thirteen years ahead", YEARS), ("back again", 0),
                     ("thirteen years behind", -YEARS), ("and back", 0),
                     ("two hours ahead", 2 * HOUR), ("back", 0),
                     ("half an hour behind", -HOUR // 2), ("right", 0)):
    with tap.group(label):
        clock.set(ahead)
        if abs(ahead) > JUMP:
            tap.wait_until(alerts, what="the alert")
            tap.ok(True, f"{label}: the alert is raised")
            check(label)
        else:
            tap.wait_until(lambda: not alerts(), what="no alert")
            check(label)
            tap.equal(alerts(), [], f"{label}: there is no alert")

for label, ahead in (("started thirteen years ahead", YEARS),
                     ("started again, right", 0),
                     ("started thirteen years behind", -YEARS),
                     ("started right", 0),
                     ("started five days later", 5 * DAY)):
    with tap.group(label):
        s.gw.stop()
        clock.set(ahead)
        s.gw.start()
        s.find_ports()
        check(label)
        tap.ok(alerts(), f"{label}: the alert says so")

with tap.group("queued dies while the clock is wrong"):
    clock.set(5 * DAY + YEARS)
    s.gw.kill("queued")
    check("killed, and thirteen years ahead")
    clock.set(5 * DAY)
    s.gw.kill("queued")
    check("killed, and right again")

with tap.group("time that passes"):
    def passed(age_s):
        """queued has seen it: what waits is that old, or was given up."""
        row = s.gw.program("queued")
        return row["messages"] == 0 or row["oldest_s"] >= age_s

    count(len(jumps) - 1, "jumps of the clock, no mail bounced")
    # An hour at a time is believed; no more than ten are left.
    ahead = 5 * DAY
    for _ in range(12):
        age_s = s.gw.program("queued")["oldest_s"] + HOUR - 60
        ahead += HOUR - 60
        clock.set(ahead)
        tap.wait_until(lambda age_s=age_s: passed(age_s),
                       what="queued to see it", step=0.1)
        if s.gw.json("queue", "summary")["messages"] == 0:
            break
    tap.wait_until(lambda: len(bounces()) >= WAITING, what="bounces")
    failed = [m for m in bounces() if b"Action: failed" in m.content]
    tap.equal(len(failed), WAITING, "a lifetime later all are given up")
    tap.equal([a for a in alerts() if not a.get("subject")], [],
              "no alert of a jump")

with tap.group("the log of that time"):
    tap.equal(s.gw.json("log", "event=log.expired")["events"], [],
              "nothing of it was taken for too old")
    tap.equal(s.gw.json("log", "verify")["ok"], True, "it is whole")

tap.done()
