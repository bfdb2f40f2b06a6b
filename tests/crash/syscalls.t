#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only timeout=420
"""SIGKILL before each system call of queued and of smtpd's worker between DATA
and the 250, and of queued and relayd while a mail is delivered.  What was
acknowledged arrives whole, at most once more than there were kills of its
delivery; what was not, arrives whole or not at all."""

import collections
import os
import random
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import LONG, open_scene, sink, striker, tap  # noqa: E402
from crashlib.trial import Trial  # noqa: E402

striker.needs_root()
SMALL, LARGE = 3000, 200000
# Kills of each course in the short form, spread over all of its calls.
SHORT = 22
# Being back takes no longer.
BACK_S = 5

world = sink.Sink(name="mx.dest.test")
s = open_scene(world.port)
killed = collections.Counter()
trial = Trial(s, world, BACK_S)


def victim(name):
    """The process that is to die: a program's, or smtpd's worker."""
    program, _, is_worker = name.partition("/")

    def look():
        found = [pid for pid, words in s.gw.pids(program).items()
                 if ("--worker" in words) == bool(is_worker)]
        return min(found) if found else None

    return tap.wait_until(look, BACK_S, name)


def accept(name, size, number):
    """One mail; the victim dies before its Nth call.  How many it made, and
    whether it died."""
    c = trial.client()
    with striker.Striker(victim(name), number) as strike:
        strike.go()
        trial.data(c, size)
    c.close()
    if strike.killed_at:
        killed[name] += 1
    return strike


def deliver(name, size, number):
    """The same from the next server's greeting until the row is gone."""
    c = trial.client()
    going = threading.Event()
    with striker.Striker(victim(name), number) as strike:
        def begin(_session, _line):
            if not going.is_set():
                going.set()
                strike.go()

        world.on("MAIL", begin)
        if trial.data(c, size) == 250:
            going.wait(20)
            tap.wait_until(trial.is_empty, 30, "the delivery", step=0.05)
    world.as_usual()
    c.close()
    if strike.killed_at:
        killed[name] += 1
    return strike


def course(label, one, name, size):
    """Every N until it passes, or some of them."""
    with tap.group(label):
        count = one(name, size, 0).count
        calls, passed, last = collections.Counter(), 0, 0
        order = []
        for tries in range(1, 100000):
            if not LONG and (sum(calls.values()) >= min(SHORT, count) or
                             tries > 3 * SHORT):
                break
            order = order or random.sample(range(1, count + 1), count)
            number = tries if LONG else order.pop()
            strike = one(name, size, number)
            last = max(last, number)
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
            if not LONG:
                count = max(1, min(count, strike.count))
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
    tap.diag(f"{sum(killed.values())} kills: " + ", ".join(
        f"{n} {k}" for n, k in sorted(killed.items())))
    trial.look(sum(killed.values()))

tap.done()
