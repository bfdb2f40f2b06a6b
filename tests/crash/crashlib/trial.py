# SPDX-License-Identifier: ISC
"""Single mails through a gateway that is being hurt: what became of each, and
at the end whether all is there."""

import collections
import json
import time

from . import scene, smtp, tap

SENDER, RECIPIENT = "app@any.test", "r@dest.test"


class Trial:
    """s: a scene that relays to world, a sink.  back_s: mail must be taken
    again within that time."""

    def __init__(self, s, world, back_s=5):
        self.scene, self.world, self.back_s = s, world, back_s
        self.sent, self.accepted = {}, {}
        self.slowest = 0.0
        self.answers = collections.Counter()

    def client(self, timeout=30):
        """A connection up to RCPT, as soon as there is one."""
        began = time.monotonic()
        while True:
            try:
                c = smtp.Client(self.scene.ports["smtp"], timeout=timeout)
                c.ehlo()
                replies = c.envelope(SENDER, RECIPIENT)
                if all(reply.code == 250 for reply in replies):
                    break
                problem = replies
                c.close()
            except (smtp.Disconnected, OSError) as e:
                problem = e
            if time.monotonic() - began > self.back_s + 10:
                raise TimeoutError(f"no mail is taken: {problem}")
            time.sleep(0.01)
        self.slowest = max(self.slowest, time.monotonic() - began)
        return c

    def data(self, c, size):
        """DATA to its answer: its code, or 0 when the connection ended."""
        name = f"{len(self.sent)}"
        text = scene.mail(sender=SENDER, subject=name, body="\r\n".join(
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
            if time.monotonic() - began > self.back_s + 10:
                raise TimeoutError("mail is still refused")
            time.sleep(0.01)
        self.slowest = max(self.slowest, time.monotonic() - began)

    def is_empty(self):
        """Whether queued is there and has nothing left."""
        said = self.scene.gw.run_cli("queue", "summary", "--json")
        return said.returncode == 0 and \
            json.loads(said.stdout).get("messages") == 0

    def look(self, doubles_max):
        """All that was acknowledged has come, whole."""
        tap.wait_until(self.is_empty, 90, "an empty queue", step=0.1)
        came, wrong = collections.Counter(), []
        for message in self.world.messages:
            name = message.field("Subject")
            came[name] += 1
            # Our own Received line stands before it.
            if name not in self.sent or \
                    not message.content.endswith(self.sent[name]):
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
        tap.equal(wrong, [], "nothing is torn")
        tap.ok(doubles <= doubles_max,
               f"{doubles} doubles, at most {doubles_max}")
        tap.ok(self.slowest <= self.back_s,
               f"mail is taken again within {self.back_s} s")
