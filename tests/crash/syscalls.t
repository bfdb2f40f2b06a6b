#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""SIGKILL before each system call of queued and of smtpd's worker between DATA
and the 250, and of queued and relayd while a mail is delivered; and of queued,
the signer and its worker while a mail is signed before its 250.  What was
acknowledged arrives whole, at most once more than there were kills of its
delivery, and signed where it has to be; what was not, arrives whole or not at
all."""

import collections
import os
import random
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import (LONG, count, open_scene, sink, striker,  # noqa: E402
                      tap)
from crashlib.trial import Trial, sign_all  # noqa: E402

striker.needs_root()
SMALL, LARGE = 3000, 200000
# Kills of each course in the short form, spread over all of its calls.
SHORT = 16
# So often the long form tries to die at one call; how many there are before
# it differs from one time to the next.
TRIES = 12
# Being back takes no longer.
BACK_S = 5
# What the long form does not fall below: it is more, by a third at least.
LEAST_PLAIN, LEAST_SIGNED = 150, 100


class Gateway:
    """One with its mails, and the kills of its programs."""

    def __init__(self, is_signed=False):
        self.world = sink.Sink(name="mx.dest.test")
        self.scene = open_scene(self.world.port)
        if is_signed:
            sign_all(self.scene)
            self.scene.gw.expect_alarm("fatal: the spawner is gone")
        self.trial = Trial(self.scene, self.world, BACK_S, is_signed)
        self.killed = collections.Counter()

    def victim(self, name):
        """The process that is to die: a program's first, or any worker of
        that class."""
        program, _, worker = name.partition("/")

        def look():
            found = [pid for pid, words in self.scene.gw.pids(program).items()
                     if words.partition("--worker ")[2].split(" ")[0]
                     == worker]
            if not found and self.trial.is_signed:
                # A mail has one started.
                self.trial.mail(SMALL)
            return found

        found = sorted(tap.wait_until(look, what=name))
        return random.choice(found) if worker else found[0]

    def accept(self, name, size, number):
        """One mail; the victim dies before its Nth call.  The striker: how
        many it made, and whether it died."""
        c = self.trial.client()
        with striker.Striker(self.victim(name), number) as strike:
            strike.go()
            self.trial.data(c, size)
        c.close()
        return strike

    def deliver(self, name, size, number):
        """The same from the next server's greeting until the row is gone."""
        c = self.trial.client()
        going = threading.Event()
        with striker.Striker(self.victim(name), number) as strike:
            def begin(_session, _line):
                if not going.is_set():
                    going.set()
                    strike.go()

            self.world.on("MAIL", begin)
            if self.trial.data(c, size) == 250:
                if not going.wait(tap.PATIENCE_S):
                    raise TimeoutError("no delivery began")
                tap.wait_until(self.trial.is_empty, what="the delivery",
                               step=0.05)
        self.world.as_usual()
        c.close()
        return strike

    def course(self, label, one, name, size):
        """Every N until it passes, or some of them."""
        with tap.group(label):
            calls = collections.Counter()

            def strike_at(number):
                strike = one(name, size, number)
                if strike.is_gone:
                    tap.fail(f"{name} went by itself")
                if strike.killed_at:
                    calls[strike.killed_at] += 1
                return strike

            about = max(1, *(strike_at(0).count for _ in range(3)))
            if LONG:
                last = self.each(strike_at)
                tap.ok(last >= max(3, about // 2), f"{label}: it died before "
                       f"each of its calls from 1 to {last}")
            else:
                self.some(strike_at, about)
                tap.ok(sum(calls.values()) >= min(10, about // 3),
                       f"{label}: {sum(calls.values())} kills")
            tap.diag(f"{label}: about {about} calls; killed before "
                     + ", ".join(f"{call} {n}" for call, n in
                                 sorted(calls.items())))
            self.killed[name] += sum(calls.values())

    @staticmethod
    def each(strike_at):
        """N = 1 until nobody comes so far; the last one."""
        number = 1
        while any(strike_at(number).killed_at for _ in range(TRIES)):
            number += 1
        return number - 1

    @staticmethod
    def some(strike_at, about):
        """Any of them, each once before one comes again."""
        order, hits, target = [], 0, min(SHORT, about)
        for _ in range(3 * SHORT):
            order = order or random.sample(range(1, about + 1), about)
            if strike_at(order.pop()).killed_at:
                hits += 1
            else:
                # There are not so many each time.
                about = max(1, about - 1)
            if hits == target:
                break

    def end(self):
        """All that was acknowledged has come."""
        with tap.group("what came"):
            tap.diag(f"{sum(self.killed.values())} kills: " + ", ".join(
                f"{n} {k}" for n, k in sorted(self.killed.items())))
            self.trial.look(sum(self.killed.values()))


plain = Gateway()
plain.course("queued accepts", plain.accept, "queued", SMALL)
plain.course("queued accepts a large one", plain.accept, "queued", LARGE)
plain.course("a worker accepts", plain.accept, "smtpd/smtp", SMALL)
plain.course("a worker accepts a large one", plain.accept, "smtpd/smtp",
             LARGE)
plain.course("queued delivers", plain.deliver, "queued", SMALL)
plain.course("relayd delivers", plain.deliver, "relayd", SMALL)
plain.end()

signing = Gateway(is_signed=True)
signing.course("queued has a mail signed", signing.accept, "queued", SMALL)
signing.course("queued has a large one signed", signing.accept, "queued",
               LARGE)
signing.course("the signer signs", signing.accept, "signerd", SMALL)
signing.course("its worker signs", signing.accept, "signerd/sign", SMALL)
signing.course("its worker signs a large one", signing.accept,
               "signerd/sign", LARGE)
signing.end()

count(sum(plain.killed.values()), "kills at a system call: mail as it is",
      LEAST_PLAIN)
count(sum(signing.killed.values()), "kills at a system call: mail to sign",
      LEAST_SIGNED)
tap.done()
