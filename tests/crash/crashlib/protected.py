# SPDX-License-Identifier: ISC
"""Mail that has to be signed, or signed and encrypted, sent one after another
beside whatever else a test does; and a look at what came of it.

    stream = protected.Stream(s)    # a scene that runs
    stream.begin()
    ... kill ...
    stream.end()
    stream.look()
"""

import collections
import concurrent.futures
import os
import re
import threading

from . import people, scene, smtp, tap

ANNA = "anna@example.test"
SIGNED, SMIME, PGP = (f"{name}@protected.test"
                      for name in ("signed", "smime", "pgp"))
# Between two mails.
PAUSE_S = 0.15
SECRET = b"nobody else may read"


class Stream:
    def __init__(self, s):
        self.scene = s
        self.people = p = people.People()
        gw = s.gw
        gw.expect_alarm("fatal: the spawner is gone")
        # Killed when a worker asked it for its version.
        gw.expect_alarm("fatal: no usable gpg")
        gw.set(**{"fetch.wkd": "off"})
        gw.cli("route", "add", "protected.test",
               f"smtp://127.0.0.1:{s.world.port}")
        gw.cli("ca", "new", "Example CA")
        self.authority = p.file(gw.cli("ca", "show").encode())
        gw.cli("key", "smime", "new", ANNA)
        key = gw.json("key", "pgp", "new", ANNA)
        p.pgp_knows(gw.cli("key", "pgp", "export", str(key["id"])).encode())
        p.new_smime("smime", SMIME)
        p.new_pgp("pgp", PGP)
        p.introduce(gw)
        gw.cli("policy", "add", ANNA, SIGNED, "sign", "required")
        for to in (SMIME, PGP):
            gw.cli("policy", "add", ANNA, to, "sign", "required", "encrypt",
                   "required")
        self.accepted = {}  # token: recipient
        self.sent = 0
        self.doubles = self.lost = self.torn = 0  # look() counts them
        self._over = threading.Event()
        self._thread = None

    # ---- sending ----

    def begin(self):
        self._over.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self):
        self._over.set()
        self._thread.join()

    def _run(self):
        while not self._over.wait(PAUSE_S):
            self._send()

    def _send(self):
        to = (SIGNED, SMIME, PGP)[self.sent % 3]
        self.sent += 1
        token = f"token{self.sent}x"
        text = scene.mail(sender=ANNA, To=to, subject=f"secret {token}",
                          body=f"{token}: {SECRET.decode()}\r\n" * 20)
        try:
            with smtp.Client(self.scene.ports["smtp"]) as c:
                c.ehlo()
                if c.submit(ANNA, [to], text).code == 250:
                    self.accepted[token] = to
        except (OSError, smtp.Disconnected):
            pass  # It was told nothing; it may come or not.

    def least_of_kind(self):
        """Of each way of protection at least so many were accepted."""
        kinds = collections.Counter(list(self.accepted.values()))
        return min(kinds[to] for to in (SIGNED, SMIME, PGP))

    # ---- what came ----

    def _inside(self, message):
        """What its recipient reads, or None: it is not as it must be."""
        content, [to] = message.content, message.recipients
        if to == SIGNED:
            return self.people.smime_verifies(content, self.authority)
        if SECRET in content:
            return None
        if to == PGP:
            return self.people.pgp_decrypts(content, "pgp", ANNA)
        inner = self.people.smime_decrypts(content, "smime")
        return inner and self.people.smime_verifies(inner, self.authority)

    def _judge(self, message):
        """(token, what is wrong or None)"""
        inside = self._inside(message)
        if inside is None:
            return None, f"not protected: {message.content[:400]!r}"
        tokens = set(re.findall(rb"token\d+x(?=: )", inside))
        if len(tokens) != 1 or inside.count(SECRET) != 20:
            return None, f"torn: {inside[:400]!r}"
        return tokens.pop().decode(), None

    def look(self, label):
        """All of it has come, each as it must; the queue is empty."""
        came, wrong = collections.Counter(), []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for token, problem in pool.map(self._judge,
                                           list(self.scene.world.messages)):
                if problem:
                    wrong.append(problem)
                else:
                    came[token] += 1
        told = [m.content[:400] for m in self.scene.inner.messages
                if m.recipients == [ANNA]]
        lost = sorted(set(self.accepted) - set(came))
        self.doubles = sum(came.values()) - len(came)
        self.lost, self.torn = len(lost), len(wrong)
        kinds = collections.Counter(self.accepted.values())
        tap.diag(f"{label}: {self.sent} mails that must be protected, "
                 f"{len(self.accepted)} accepted, {sum(came.values())} came, "
                 f"{self.doubles} twice")
        for problem in (wrong + told)[:3]:
            tap.diag(problem)
        tap.equal(len(wrong), 0, f"{label}: none came unprotected, or torn")
        tap.equal(lost[:5], [], f"{label}: none of them is lost")
        tap.equal(len(told), 0, f"{label}: none of them is bounced")
        tap.ok(self.least_of_kind() >= 3,
               f"{label}: signed {kinds[SIGNED]}, by S/MIME encrypted "
               f"{kinds[SMIME]}, by OpenPGP {kinds[PGP]}")
