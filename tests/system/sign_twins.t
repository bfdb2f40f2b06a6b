#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""One large mail for a dozen people who each have keys of their own: what it
becomes is stored once for all for whom it is the same, whether nobody can open
it, or all, or one; and who cannot open it gets nothing of what is in it."""

import base64
import os
import re
import stat
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import people, scene, smtp, tap  # noqa: E402

COUNT = 12
USERS = [f"u{i}@example.test" for i in range(COUNT)]
EVE = "eve@elsewhere.test"
SECRET = b"the answer is forty-two"

s = scene.Scene(settings={"smtp.client_rate": 100000,
                          "smtp.network_rate": 100000, "fetch.wkd": "off"},
                user=False)
for number, address in enumerate(USERS):
    s.add_user(f"u{number}", address)
s.start()
gw = s.gw
p = people.People()
gw.cli("ca", "new", "Example CA")
CERTIFICATES = []
for address in USERS:
    key = gw.json("key", "smime", "new", address, "--algorithm", "rsa-2048")
    CERTIFICATES.append(p.file(
        gw.cli("key", "smime", "export", str(key["id"])).encode()))
SPOOL = os.path.join(gw.root, "var/lib/postern/queued/spool")


class Watch(threading.Thread):
    """The most that the spool holds, in files and octets."""

    def __init__(self):
        super().__init__(daemon=True)
        self.files = self.octets = 0
        self.is_over = threading.Event()

    def look(self):
        sizes = []
        for folder, _, names in os.walk(SPOOL):
            for name in names:
                try:
                    found = os.lstat(os.path.join(folder, name))
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(found.st_mode):
                    sizes.append(found.st_size)
        self.files = max(self.files, len(sizes))
        self.octets = max(self.octets, sum(sizes))

    def run(self):
        while not self.is_over.wait(0.02):
            self.look()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.join()
        self.look()


def mail(body):
    return people.with_entity(
        f"From: {EVE}\r\nTo: {USERS[0]}\r\nSubject: x\r\n"
        f"Message-ID: <{next(scene._serial)}@dest.invalid>\r\n",
        b"Content-Type: application/pkcs7-mime; name=smime.p7m\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n"
        + people.crlf(base64.encodebytes(body)))


def sealed(octets, certificates):
    entity = (b"Content-Type: text/plain\r\n\r\n" + SECRET + b"\r\n"
              + (b"x" * 76 + b"\r\n") * (octets // 78))
    return p.openssl("cms", "-encrypt", "-binary", "-aes256", "-outform",
                     "DER", *sum((["-recip", c] for c in certificates), []),
                     data=entity).stdout


def deliver(content):
    """Contents by recipient, and what the spool held until all were opened;
    nobody has his before."""
    s.inner.on("RCPT", "450 4.2.0 later")
    with Watch() as watch:
        with s.stranger() as c:
            name = smtp.message_id(c.submit(EVE, USERS, content))
        tap.wait_until(
            lambda: sum(int(e["recipient_count"]) for e in s.events(name)
                        if e["event"] == "opened") == COUNT,
            what="all are opened", step=0.1)
    s.inner.as_usual()

    def all_there():
        gw.run_cli("queue", "retry", "--match", "to=.test", "--yes")
        return sum(len(m.recipients) for m in s.inner.messages) >= COUNT

    tap.wait_until(all_there, what="all mails", step=0.2)
    gw.wait_for_queue(0)
    got = {}
    for message in s.inner.take(0):
        for recipient in message.recipients:
            got[recipient] = message.content
    return got, watch


def verdict(content):
    found = re.search(rb"(?m)^X-Postern-Crypto: (.*)$", content)
    return found[1] if found else b""


def check(what, body, outputs, openers, closed):
    content = mail(body)
    got, watch = deliver(content)
    tap.diag(f"{watch.files} files, {watch.octets} octets of "
             f"{len(content)}; {verdict(got[USERS[0]])!r}, "
             f"{verdict(got[USERS[-1]])!r}")
    tap.equal(sorted(got), sorted(USERS), f"{what}: each has it")
    tap.equal([a for a in USERS if SECRET in got[a]], openers,
              f"{what}: who has what is in it")
    tap.equal([a for a in USERS if b"undecryptable" in verdict(got[a])],
              closed, f"{what}: and who is told that it stays closed")
    tap.equal(watch.files, 1 + outputs, f"{what}: files at most")
    tap.ok(watch.octets < (1 + outputs) * (len(content) + 4096),
           f"{what}: none of them larger than the mail")


with tap.group("a large mail"):
    check("junk", b"junk" * 750_000, 1, [], [])
    check("for all", sealed(3_000_000, CERTIFICATES), 1, USERS, [])
    check("for one", sealed(3_000_000, CERTIFICATES[:1]), 2, USERS[:1],
          USERS[1:])

with tap.group("a small one, whose outputs travel in frames"):
    check("junk", b"junk" * 25_000, 1, [], [])
    check("for some", sealed(100_000, CERTIFICATES[:5]), 2, USERS[:5],
          USERS[5:])

tap.done()
