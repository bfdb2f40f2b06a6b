#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only timeout=420
"""SIGKILL before each system call of queued and of smtpd's worker between DATA
and the 250, and of queued and relayd while a mail is delivered.  What was
acknowledged arrives whole, at most once more than there were kills of its
delivery; what was not, arrives whole or not at all."""

import collections
import json
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import (LONG, open_scene, scene, sink, smtp,  # noqa: E402
                      striker, tap)

striker.needs_root()
SMALL, LARGE = 3000, 200000
# Kills of each course in the short form, spread over all of its calls.
SHORT = 22
# Being back takes no longer.
BACK_S = 5

world = sink.Sink(name="mx.dest.test")
s = open_scene(world.port)
killed = collections.Counter()
accepted, sent = {}, {}
slowest = 0.0


def victim(name):
    """The process that is to die: a program's, or smtpd's worker."""
    program, _, is_worker = name.partition("/")

    def look():
        found = [pid for pid, words in s.gw.pids(program).items()
                 if ("--worker" in words) == bool(is_worker)]
        return min(found) if found else None

    return tap.wait_until(look, BACK_S, name)


def open_client():
    """Up to RCPT, when the gateway takes mail again.  It may take BACK_S."""
    global slowest  # pylint: disable=global-statement
    began = time.monotonic()
    while True:
        try:
            c = smtp.Client(s.ports["smtp"])
            c.ehlo()
            replies = c.envelope("app@any.test", "r@dest.test")
            if all(reply.code == 250 for reply in replies):
                return c
            problem = replies
            c.close()
        except (smtp.Disconnected, OSError) as e:
            problem = e
        took = time.monotonic() - began
        slowest = max(slowest, took)
        if took > BACK_S + 5:
            raise TimeoutError(f"no mail is taken: {problem}")
        time.sleep(0.01)


def is_empty():
    """Whether queued is there and has nothing left."""
    said = s.gw.run_cli("queue", "summary", "--json")
    return said.returncode == 0 and \
        json.loads(said.stdout).get("messages") == 0


def transaction(c, size):
    """DATA to its answer: (name of the mail, whether it was acknowledged)."""
    name = f"{len(sent)}"
    text = scene.mail(sender="app@any.test", subject=name,
                      body="\r\n".join(["0123456789" * 7] * (size // 72)))
    sent[name] = text
    try:
        reply = c.data(text)
    except (smtp.Disconnected, ConnectionError):
        return name, False
    if reply.code == 250:
        accepted[name] = smtp.message_id(reply)
        return name, True
    if not 400 <= reply.code < 500:
        tap.fail(f"{reply!r} when a program dies")
    return name, False


def accept(name, size, number):
    """One mail; the victim dies before its Nth call.  How many it made, and
    whether it died."""
    c = open_client()
    with striker.Striker(victim(name), number) as strike:
        strike.go()
        transaction(c, size)
    c.close()
    if strike.killed_at:
        killed[name] += 1
    return strike


def deliver(name, size, number):
    """The same from the next server's greeting until the row is gone."""
    c = open_client()
    going = threading.Event()
    with striker.Striker(victim(name), number) as strike:
        def begin(_session, _line):
            if not going.is_set():
                going.set()
                strike.go()

        world.on("MAIL", begin)
        _, is_taken = transaction(c, size)
        if is_taken:
            going.wait(20)
            tap.wait_until(is_empty, 30, "the delivery", step=0.05)
    world.as_usual()
    c.close()
    if strike.killed_at:
        killed[name] += 1
    return strike


def course(label, one, name, size):
    """Every N until it passes, or some of them."""
    with tap.group(label):
        count = one(name, size, 0).count
        numbers = range(1, 100000)
        if not LONG:
            numbers = sorted(random.sample(range(1, count + 1),
                                           min(SHORT, count)))
        calls, passed, last = collections.Counter(), 0, 0
        for number in numbers:
            strike = one(name, size, number)
            last = number
            if strike.is_gone:
                tap.fail(f"{name} went by itself")
            if strike.killed_at:
                calls[strike.killed_at] += 1
                passed = 0
                continue
            passed += 1
            # The count is not the same each time.
            if LONG and passed == 5 and number > count:
                break
        tap.diag(f"{label}: about {count} calls, up to {last}; killed before "
                 + ", ".join(f"{call} {n}" for call, n in
                             sorted(calls.items())))
        tap.ok(sum(calls.values()) >= min(10, count // 3),
               f"{label}: {sum(calls.values())} kills")


course("queued accepts", accept, "queued", SMALL)
course("queued accepts a large one", accept, "queued", LARGE)
course("a worker accepts", accept, "smtpd/smtp", SMALL)
course("a worker accepts a large one", accept, "smtpd/smtp", LARGE)
course("queued delivers", deliver, "queued", SMALL)
course("relayd delivers", deliver, "relayd", SMALL)

with tap.group("what came"):
    tap.wait_until(is_empty, 60, "an empty queue", step=0.1)
    came = collections.Counter()
    wrong = []
    for message in world.messages:
        name = message.field("Subject")
        came[name] += 1
        # Our own Received line stands before it.
        if name not in sent or not message.content.endswith(sent[name]):
            wrong.append(name)
    kills = sum(killed.values())
    doubles = sum(came.values()) - len(came)
    tap.diag(f"{len(sent)} mails, {kills} kills ("
             + ", ".join(f"{n} {k}" for n, k in sorted(killed.items()))
             + f"), {len(accepted)} acknowledged, {doubles} doubles, "
             f"{len(set(came) - set(accepted))} came without an answer; "
             f"back within {slowest:.1f} s")
    lost = sorted(set(accepted) - set(came))
    for name in lost[:5]:
        tap.diag(f"lost: {name}, {accepted[name]}")
    tap.equal(len(lost), 0, "nothing that was acknowledged is lost")
    tap.equal(wrong, [], "nothing is torn")
    tap.ok(doubles <= kills, f"{doubles} doubles, at most one for each kill")
    tap.ok(slowest <= BACK_S, f"mail is taken again within {BACK_S} s")

tap.done()
