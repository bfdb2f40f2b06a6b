#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""The Nth allocation fails, N = 1 until the mail passes, in queued, smtpd and
its worker, relayd, the signer and its worker: the client gets 4xx, or the
process ends before any 250 and is back within 5 seconds.  Nothing is lost,
torn, unsigned, or hangs."""

import collections
import errno
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import (count, each_until_it_passes, faults,  # noqa: E402
                      open_scene, sink, tap)
from crashlib.trial import Trial, sign_all  # noqa: E402

SHORT = 20  # failures of each course in the short form
# An answer that takes longer is none.
ANSWER_S = 25
SMALL, LARGE = 3000, 200000
COURSES = (("postern-queued", SMALL), ("postern-queued", LARGE),
           ("postern-smtpd", SMALL),
           ("postern-smtpd/smtp", SMALL), ("postern-smtpd/smtp", LARGE),
           ("postern-relayd", SMALL), ("postern-relayd", LARGE),
           ("postern-signerd", SMALL),
           ("postern-signerd/sign", SMALL), ("postern-signerd/sign", LARGE))

answers = collections.Counter()
failed = collections.Counter()
slowest = 0.0


class Course:
    """One program of a gateway, and its allocations."""

    def __init__(self, program, size):
        self.program, self.size = program, size
        self.label = f"{program}, {size}"
        self.world = sink.Sink(name="mx.dest.test")
        self.hurt = faults.Faults(program)
        self.scene = open_scene(self.world.port,
                                environment=self.hurt.environment)
        self.scene.gw.expect_alarm("out of memory")
        self.scene.gw.expect_alarm("fatal: ")
        is_signed = program.startswith("postern-signerd")
        if is_signed:
            sign_all(self.scene)
        self.trial = Trial(self.scene, self.world, is_signed=is_signed)
        self.slow = []

    def client(self, number):
        """The acceptor has work only before there is a client."""
        if self.program == "postern-smtpd":
            self.hurt.arm(faults.MEMORY, number, errno.ENOMEM)
            return self.trial.client(timeout=ANSWER_S)
        c = self.trial.client(timeout=ANSWER_S)
        self.hurt.arm(faults.MEMORY, number, errno.ENOMEM)
        return c

    def once(self, number):
        """One mail.  (whether an allocation failed, how many there were)"""
        c = self.client(number)
        began = time.monotonic()
        try:
            code = self.trial.data(c, self.size)
        except TimeoutError:
            self.slow.append(number)
            code = 0
        took = time.monotonic() - began
        c.close()
        tap.wait_until(lambda: self.hurt.fired or self.trial.is_empty(),
                       what="the delivery", step=0.02)
        fired, seen = self.hurt.fired, self.hurt.seen
        self.hurt.disarm()
        if self.trial.is_signed:
            # What waits for the signer now would add to the next one's calls.
            tap.wait_until(self.trial.is_empty, what="what waits")
        if took > 5:
            tap.diag(f"allocation {number}: {code} after {took:.1f} s")
        return fired, seen

    def run(self):
        """N = 1 until it passes, or some of them."""
        self.trial.recover()
        tap.wait_until(self.trial.is_empty, what="an empty queue")
        calls = self.once(1 << 40)[1]
        began = time.monotonic()
        hits = each_until_it_passes(lambda n: self.once(n)[0], calls, SHORT)
        tap.diag(f"{self.label}: about {calls} allocations, {hits} failed, "
                 f"in {time.monotonic() - began:.0f} s")
        tap.ok(hits > 0, f"{self.label}: {hits} failed")
        tap.equal(self.slow, [], f"{self.label}: each was answered, or ended")
        self.trial.recover()
        self.trial.look(hits)
        return hits


for name, octets in COURSES:
    with tap.group(f"{name}, {octets}"):
        course = Course(name, octets)
        failed[name] += course.run()
        answers += course.trial.answers
        slowest = max(slowest, course.trial.slowest)

tap.diag(f"answers: {dict(sorted(answers.items()))}; back within "
         f"{slowest:.1f} s")
count(sum(failed.values()), "allocations failed, N = 1 until it passes: "
      + ", ".join(f"{n.removeprefix('postern-')} {k}"
                  for n, k in failed.items()), 300)
tap.done()
