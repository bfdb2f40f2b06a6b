#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only timeout=420
"""The Nth allocation fails, N = 1 until the mail passes, in queued, smtpd and
its worker, and relayd: the client gets 4xx, or the process ends before any 250
and is back within 5 seconds.  Nothing is lost, torn, or hangs."""

import collections
import errno
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import LONG, faults, open_scene, sink, tap  # noqa: E402
from crashlib.trial import Trial  # noqa: E402

SHORT = 25  # failures of each course in the short form
# An answer that takes longer is none.
ANSWER_S = 25


def course(program, size):
    """N = 1 until it passes, or some of them; each with a mail of its own."""
    world = sink.Sink(name="mx.dest.test")
    hurt = faults.Faults(program)
    s = open_scene(world.port, environment=hurt.environment)
    s.gw.expect_alarm("out of memory")
    s.gw.expect_alarm("fatal: ")
    trial = Trial(s, world)
    slow = []

    def once(number):
        """(whether it failed, how many there were)"""
        c = trial.client(timeout=ANSWER_S)
        hurt.arm(faults.MEMORY, number, errno.ENOMEM)
        began = time.monotonic()
        try:
            code = trial.data(c, size)
        except TimeoutError:
            slow.append(number)
            code = 0
        took = time.monotonic() - began
        c.close()
        tap.wait_until(lambda: hurt.fired or trial.is_empty(), 30,
                       "the delivery", step=0.02)
        fired, seen = hurt.fired, hurt.seen
        hurt.disarm()
        if took > 5:
            tap.diag(f"allocation {number}: {code} after {took:.1f} s")
        return fired, seen

    label = f"{program}, {size}"
    with tap.group(label):
        trial.recover()
        tap.wait_until(trial.is_empty, 20, "an empty queue")
        count = once(1 << 40)[1]
        numbers = range(1, count + 50)
        if not LONG and count > SHORT:
            numbers = sorted(random.sample(range(1, count + 1), SHORT))
        hits = passed = 0
        began = time.monotonic()
        for number in numbers:
            fired, _ = once(number)
            hits += fired
            passed = 0 if fired else passed + 1
            if passed == 5:
                break
        tap.diag(f"{label}: about {count} allocations, {hits} failed, in "
                 f"{time.monotonic() - began:.0f} s")
        tap.ok(hits > 0, f"{label}: {hits} failed")
        tap.equal(slow, [], f"{label}: each was answered, or ended")
        trial.recover()
        trial.look(hits)
    s.gw.stop()
    return collections.Counter(trial.answers)


answers = collections.Counter()
for name, octets in (("postern-queued", 3000), ("postern-queued", 200000),
                     ("postern-smtpd/smtp", 3000),
                     ("postern-smtpd/smtp", 200000),
                     ("postern-relayd", 3000)):
    answers += course(name, octets)
tap.diag(f"answers: {dict(sorted(answers.items()))}")
tap.done()
