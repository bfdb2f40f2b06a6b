#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only timeout=240
"""The wall clock jumps, ten years forward and back, an hour, a little, while
the gateway runs and while it is stopped: no mail is bounced for it, mail flows
on, and the clock alert says so.  Time that truly passes still ends a mail's
life."""

import mmap
import os
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import open_scene, scene, shim, sink, smtp, tap  # noqa: E402

HOUR, DAY = 3600, 86400
YEARS = 3650 * DAY
WAITING = 40


class Clock:
    """How far ahead all the programs' wall clocks are."""

    def __init__(self, path):
        with open(path, "r+b") as f:
            self.block = mmap.mmap(f.fileno(), 4096)

    def set(self, seconds):
        struct.pack_into("<q", self.block, 0, seconds)


world = sink.Sink(name="mx.dest.test")
environment, control = shim("clock")
clock = Clock(control)
# Attempts each second; no warnings, which would be taken for bounces.
s = open_scene(world.port, environment=environment,
               **{"queue.lifetime": "10h", "queue.bounce_lifetime": "10h",
                  "queue.delay_warning": "0s"})


def send(count, to="r@dest.test"):
    c = smtp.Client(s.ports["smtp"])
    c.ehlo()
    for _ in range(count):
        reply = c.submit("app@any.test", to,
                         scene.mail(sender="app@any.test"))
        if reply.code != 250:
            raise RuntimeError(repr(reply))
    c.quit()


def attempts():
    """How many RCPTs the world has heard."""
    return sum(line.upper().startswith("RCPT")
               for session in list(world.sessions)
               for line in list(session.commands))


def wait_for_attempts(count):
    """So many more."""
    target = attempts() + count
    tap.wait_until(lambda: attempts() >= target, 30, "attempts")


def alerts():
    return [a for a in s.gw.status().get("alerts", [])
            if a.get("alert", a.get("name")) == "clock"]


def bounces():
    return [m for m in world.messages if m.sender == ""]


def check(label):
    """Every mail was tried again since, and is still there."""
    wait_for_attempts(2 * WAITING)
    tap.equal(s.gw.json("queue", "summary")["messages"], WAITING,
              f"{label}: all is still queued")
    tap.equal(len(bounces()), 0, f"{label}: nothing is bounced")


with tap.group("before"):
    world.on("RCPT", lambda session, line:
             "451 4.2.1 later" if "r@dest" in line else None)
    send(WAITING)
    check("no jump")
    tap.equal(alerts(), [], "no alert")

for label, ahead in (("ten years ahead", YEARS), ("back again", 0),
                     ("ten years behind", -YEARS), ("and back", 0),
                     ("two hours ahead", 2 * HOUR), ("back", 0)):
    with tap.group(label):
        clock.set(ahead)
        if ahead:
            tap.wait_until(alerts, 10, "the alert")
            tap.ok(True, f"{label}: the alert is raised")
        else:
            tap.wait_until(lambda: not alerts(), 10, "no alert")
            tap.ok(True, f"{label}: the alert is gone")
        check(label)
        send(1, "fine@dest.test")
        tap.wait_until(lambda: any("fine" in m.recipients[0]
                                   for m in world.messages), 20, "new mail")
        tap.ok(True, f"{label}: new mail flows")
        world.messages.clear()

for label, ahead in (("started ten years ahead", YEARS),
                     ("started again, right", 0),
                     ("started ten years behind", -YEARS),
                     ("started right", 0),
                     ("started five days later", 5 * DAY)):
    with tap.group(label):
        s.gw.stop()
        clock.set(ahead)
        s.gw.start()
        s.find_ports()
        check(label)
        tap.ok(alerts(), f"{label}: the alert says so")
        send(1, "fine@dest.test")
        tap.wait_until(lambda: any("fine" in m.recipients[0]
                                   for m in world.messages), 20, "new mail")
        tap.ok(True, f"{label}: new mail flows")
        world.messages.clear()

with tap.group("queued dies while the clock is wrong"):
    clock.set(5 * DAY + YEARS)
    s.gw.kill("queued")
    check("killed, and ten years ahead")
    clock.set(5 * DAY)
    s.gw.kill("queued")
    check("killed, and right again")

with tap.group("time that passes"):
    # An hour at a time is believed; no more than ten are left.
    ahead = 5 * DAY
    for _ in range(12):
        ahead += HOUR - 60
        clock.set(ahead)
        if s.gw.json("queue", "summary")["messages"] == 0:
            break
        time.sleep(1.2)  # queued looks at it each second
    tap.wait_until(lambda: len(bounces()) >= WAITING, 30, "bounces")
    failed = [m for m in bounces() if b"Action: failed" in m.content]
    tap.equal(len(failed), WAITING, "a lifetime later all are given up")
    tap.equal(alerts() and [a for a in alerts() if not a.get("subject")], [],
              "no alert of a jump")

tap.done()
