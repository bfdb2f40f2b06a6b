# SPDX-License-Identifier: ISC
"""Single mails through a gateway that is being hurt: what became of each, and
at the end whether all is there."""

import collections
import json
import os
import sqlite3
import time

from . import scene, smtp, tap

SENDER, RECIPIENT = "app@any.test", "r@dest.test"
# Of the domain that sign_all() has made a key for.
SIGNED_SENDER = "app@example.test"
TABLES = ("msg", "rcpt", "output", "protection", "demand")
# As in tests/system/control_run.t.
STARTS = 40


def sign_all(s):
    """All mail of SIGNED_SENDER has to be signed by DKIM from now on: its
    way to the 250 leads through the signer."""
    s.gw.cli("policy", "add", SIGNED_SENDER, "*", "dkim", "required")
    s.gw.cli("key", "dkim", "new", "example.test")
    path = os.path.join(s.gw.root, "var/lib/postern/queued/sign-domains")

    def knows():
        try:
            with open(path, "rb") as f:
                return b"example.test" in f.read()
        except FileNotFoundError:
            return False

    tap.wait_until(knows, what="queued to know it")


class Trial:
    """s: a scene that relays to world, a sink.  back_s: mail must be taken
    again within that time; where it takes long now to start any program,
    within that of STARTS of them.  With is_signed each mail has to come
    signed: see sign_all()."""

    def __init__(self, s, world, back_s=5, is_signed=False):
        self.scene, self.world, self.back_s = s, world, back_s
        self.is_signed = is_signed
        self.sender = SIGNED_SENDER if is_signed else SENDER
        self.sent, self.accepted = {}, {}
        self.slowest = 0.0
        self.late = []
        self.answers = collections.Counter()

    def client(self, timeout=30):
        """A connection up to RCPT, as soon as there is one."""
        began = time.monotonic()
        while True:
            try:
                c = smtp.Client(self.scene.ports["smtp"], timeout=timeout)
                c.ehlo()
                replies = c.envelope(self.sender, RECIPIENT)
                if all(reply.code == 250 for reply in replies):
                    break
                problem = replies
                c.close()
            except (smtp.Disconnected, OSError) as e:
                problem = e
            if time.monotonic() - began > tap.PATIENCE_S:
                raise TimeoutError(f"no mail is taken: {problem}")
            time.sleep(0.01)
        self._note(time.monotonic() - began)
        return c

    def _start_s(self):
        """How long a program needs now, at least."""
        took = []
        for _ in range(3):
            began = time.monotonic()
            self.scene.gw.run_cli("status")
            took.append(time.monotonic() - began)
        return min(took)

    def _note(self, took_s):
        """Mail is taken again after that time."""
        self.slowest = max(self.slowest, took_s)
        if took_s > self.back_s and took_s > STARTS * self._start_s():
            self.late.append(round(took_s, 1))

    def data(self, c, size):
        """DATA to its answer: its code, or 0 when the connection ended."""
        name = f"{len(self.sent)}"
        text = scene.mail(sender=self.sender, subject=name, body="\r\n".join(
            ["0123456789" * 7] * (size // 72)))
        self.sent[name] = text
        try:
            reply = c.data(text)
        except (smtp.Disconnected, ConnectionError):
            self.answers[0] += 1
            return 0
        self.answers[reply.code] += 1
        if reply.code == 250:
            self.accepted[name] = smtp.message_id(reply)
        elif not 400 <= reply.code < 500:
            tap.fail(f"{reply!r} where only 4xx is right")
        return reply.code

    def mail(self, size):
        """One from its connection to its answer."""
        c = self.client()
        code = self.data(c, size)
        c.close()
        return code

    def recover(self, size=1000):
        """Mail is taken again in time."""
        began = time.monotonic()
        while True:
            if self.mail(size) == 250:
                break
            if time.monotonic() - began > tap.PATIENCE_S:
                raise TimeoutError("mail is still refused")
            time.sleep(0.01)
        self._note(time.monotonic() - began)

    def is_empty(self):
        """Whether queued is there and has nothing left.  What waits for the
        signer is tried again at once, not after 5 s, 10 s..."""
        if self.is_signed:
            self.scene.gw.run_cli("queue", "retry", "--match", "to=.test",
                                  "--yes")
        said = self.scene.gw.run_cli("queue", "summary", "--json")
        return said.returncode == 0 and \
            json.loads(said.stdout).get("messages") == 0

    def is_as_sent(self, message):
        """Our own fields stand before it."""
        name = message.field("Subject")
        if name not in self.sent or \
                not message.content.endswith(self.sent[name]):
            return False
        return not self.is_signed or b"DKIM-Signature" in message.header

    def left_over(self):
        """Files and rows that belong to no mail; the gateway is stopped."""
        state = os.path.join(self.scene.gw.root, "var/lib/postern/queued")
        found = [os.path.relpath(os.path.join(folder, name), state)
                 for folder, _, names in os.walk(os.path.join(state, "spool"))
                 for name in names]
        db = sqlite3.connect(os.path.join(state, "queue.db"))
        for table in TABLES:
            rows = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            found += [f"{rows} rows of {table}"] if rows else []
        db.close()
        return found

    def look(self, doubles_max):
        """All that was acknowledged has come, whole, and nothing is left of
        the rest.  Stops the gateway."""
        tap.wait_until(self.is_empty, what="an empty queue", step=0.1)
        came, wrong = collections.Counter(), []
        for message in self.world.messages:
            name = message.field("Subject")
            came[name] += 1
            if not self.is_as_sent(message):
                wrong.append(name)
        doubles = sum(came.values()) - len(came)
        tap.diag(f"{len(self.sent)} mails; answers "
                 f"{dict(sorted(self.answers.items()))}; {doubles} doubles, "
                 f"{len(set(came) - set(self.accepted))} came without a 250; "
                 f"back within {self.slowest:.1f} s")
        lost = sorted(set(self.accepted) - set(came))
        for name in lost[:5]:
            tap.diag(f"lost: {name}, {self.accepted[name]}")
        tap.equal(len(lost), 0, "nothing that was acknowledged is lost")
        tap.equal(wrong, [], "nothing is torn, or came unsigned"
                  if self.is_signed else "nothing is torn")
        tap.ok(doubles <= doubles_max,
               f"{doubles} doubles, at most {doubles_max}")
        tap.equal(self.late, [],
                  f"mail is taken again within {self.back_s} s")
        self.scene.gw.stop()
        tap.equal(self.left_over(), [], "nothing half is left")
