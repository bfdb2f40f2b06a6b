#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""The Nth write, sync or new descriptor fails, N = 1 until the mail passes, in
queued, relayd, smtpd and the signer: the client gets 4xx or its connection
ends, nothing is half there, nothing comes unsigned, and mail is taken again
within 5 seconds.  Then the same for good: a full disk, a quota, a dead disk, no
descriptors."""

import collections
import errno
import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import (count, each_until_it_passes, faults,  # noqa: E402
                      open_scene, sink, tap)
from crashlib.trial import Trial, sign_all  # noqa: E402

SMALL, LARGE = 3000, 200000
# What the signer's worker has no room for in memory.
HUGE = 600000
SHORT = 12  # faults of each course in the short form
KINDS = {"write": faults.WRITE, "sync": faults.SYNC,
         "descriptor": faults.DESCRIPTOR}
# A failed sync, and any failure but a full disk, ends queued; so it says.
WORDS = [r"fatal: queue\.db", r"fatal: .*queue\.db", r"fatal: f(data)?sync",
         r"fatal: .*descriptor", r"fatal: socketpair", r"fatal: .*spool",
         r"fatal: .*Too many open files", r"fatal: .*Input/output error"]
# Of all: how many calls failed, what was answered, the slowest recovery.
failed = collections.Counter()
answers = collections.Counter()
slowest = []


class Hurt:
    """A gateway one program of which can be hurt."""

    def __init__(self, program, is_signed=False):
        self.program = program
        self.world = sink.Sink(name="mx.dest.test")
        self.faults = faults.Faults(program)
        self.scene = open_scene(self.world.port,
                                environment=self.faults.environment)
        for pattern in WORDS:
            self.scene.gw.expect_alarm(pattern)
        if is_signed:
            sign_all(self.scene)
        self.trial = Trial(self.scene, self.world, is_signed=is_signed)
        self.fired = self.seen = 0

    def once(self, kind, number, error, size):
        """One mail with the Nth call failing.  Whether it came so far."""
        if self.program.startswith(("postern-queued", "postern-signerd")):
            c = self.trial.client()
            self.faults.arm(kind, number, error)
        else:
            # Their descriptors come with connections: all are made anew.
            self.drop_connections()
            self.faults.arm(kind, number, error)
            c = self.trial.client()
        self.trial.data(c, size)
        c.close()
        # What is done after the answer is part of it: the delivery.
        tap.wait_until(lambda: self.faults.fired or self.trial.is_empty(),
                       what="the delivery", step=0.05)
        fired, self.seen = self.faults.fired, self.faults.seen
        self.faults.disarm()
        if self.trial.is_signed:
            # What waits for the signer now would add to the next one's calls.
            tap.wait_until(self.trial.is_empty, what="what waits")
        self.fired += fired
        return fired > 0

    def drop_connections(self):
        for session in list(self.world.sessions):
            try:
                session.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.world.sessions.clear()

    def course(self, name, error, size):
        """N = 1 until it passes, or some of them."""
        label = f"{self.program}, {name}, {errno.errorcode[error]}, {size}"
        with tap.group(label):
            self.trial.recover()
            tap.wait_until(self.trial.is_empty, what="an empty queue")
            self.once(KINDS[name], 1 << 40, error, size)
            calls = self.seen
            hits = each_until_it_passes(
                lambda n: self.once(KINDS[name], n, error, size), calls,
                SHORT)
            self.trial.recover()
            failed[name] += hits
            tap.ok(hits > 0, f"{label}: about {calls} calls, {hits} failed")

    def lasting(self, name, error, size, code):
        """From now on each call fails; then no more."""
        label = f"{self.program}, {name}, {errno.errorcode[error]} for good"
        with tap.group(label):
            self.trial.recover()
            tap.wait_until(self.trial.is_empty, what="an empty queue")
            said = []
            c = self.trial.client()
            try:
                self.faults.arm(KINDS[name], 1, error, lasting=True)
                said.append(self.trial.data(c, size))
                c.close()
                if code:
                    said.append(self.trial.mail(size))
            finally:
                self.faults.disarm()
            self.trial.recover()
            tap.ok(250 not in said, f"{label}: no 250, {said}")
            if code:
                tap.equal(set(said), {code}, f"{label}: {code}")

    def end(self):
        with tap.group(f"{self.program}: what came"):
            self.trial.look(self.fired)
            answers.update(self.trial.answers)
            slowest.append(self.trial.slowest)


queued = Hurt("postern-queued")
for size in (SMALL, LARGE):
    for error in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        queued.course("write", error, size)
    queued.course("sync", errno.EIO, size)
    queued.lasting("write", errno.ENOSPC, size, 452)
    queued.lasting("write", errno.EDQUOT, size, 452)
    queued.lasting("write", errno.EIO, size, 0)
    queued.lasting("sync", errno.EIO, size, 0)
# A small one needs no descriptor of its own.
queued.course("descriptor", errno.EMFILE, LARGE)
queued.lasting("descriptor", errno.EMFILE, LARGE, 0)
queued.end()

acceptor = Hurt("postern-smtpd")
acceptor.course("descriptor", errno.EMFILE, SMALL)
acceptor.end()

relayd = Hurt("postern-relayd")
relayd.course("descriptor", errno.EMFILE, SMALL)
relayd.course("descriptor", errno.EMFILE, LARGE)
relayd.end()

# The signer writes what is large; its worker's keys are read at the first mail.
signer = Hurt("postern-signerd", is_signed=True)
signer.course("descriptor", errno.EMFILE, HUGE)
signer.end()

worker = Hurt("postern-signerd/sign", is_signed=True)
for error in (errno.ENOSPC, errno.EIO):
    worker.course("write", error, HUGE)
worker.end()

for kind in KINDS:
    count(failed[kind], f"calls failed: {kind}", 3)
count(sum(failed.values()), "calls failed, N = 1 until it passes", 150)
tap.diag(f"answers: {dict(sorted(answers.items()))}; back within "
         f"{max(slowest):.1f} s")
tap.done()
