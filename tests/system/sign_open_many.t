#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Many OpenPGP mails that come in at once, for several workers with a gpg and
an agent each: all are opened, each with its own verdict; when one gpg or one
agent dies meanwhile, the mail that it had waits and is opened later."""

import collections
import concurrent.futures
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import people, scene, signer, smtp, tap  # noqa: E402
from lib.gateway import Held, hit  # noqa: E402

ANNA, OTTO = "anna@example.test", "otto@example.test"
CARL, DAVE = "carl@dest.test", "dave@dest.test"
COUNT = 24
# A stranger's mail is taken, and what is said of it.
VERDICTS = {"signed": b" sig=pass", "closed": b" sig=none",
            "unknown": b" sig=untrusted", "foreign": b"undecryptable"}

s = scene.Scene(settings={"smtp.client_rate": 100000,
                          "smtp.network_rate": 100000,
                          "smtp.client_connections": 1000,
                          "smtp.network_connections": 1000,
                          "fetch.wkd": "off"}, user=False).start()
gw = s.gw
# A worker whose gpg was killed when it was asked for its version.
gw.expect_alarm("fatal: no usable gpg")
p = people.People()
p.new_pgp("carl", CARL)
p.introduce(gw)
# He is not introduced: his key is not known.
p.new_pgp("dave", DAVE)
key = gw.json("key", "pgp", "new", ANNA)
p.pgp_knows(gw.cli("key", "pgp", "export", str(key["id"])).encode())


class Mail:
    count = 0

    def __init__(self, kind):
        Mail.count += 1
        self.kind = kind
        self.token = f"token{Mail.count}x"
        self.sender = DAVE if kind == "unknown" else CARL
        self.secret = f"secret text {self.token}"
        entity = f"Content-Type: text/plain\r\n\r\n{self.secret}\r\n".encode()
        reader = p.pgp["carl"] if kind == "foreign" else key["fingerprint"]
        if kind == "closed":
            entity = p.pgp_encrypts(entity, reader)
        else:
            name = "dave" if kind == "unknown" else "carl"
            entity = p.pgp_signs_and_encrypts(entity, name, reader)
        self.content = people.with_entity(
            f"From: {self.sender}\r\nTo: {ANNA}\r\nSubject: x\r\n"
            f"Message-ID: <{self.token}@test.invalid>\r\n", entity)

    def send(self):
        with s.stranger() as c:
            reply = c.submit(self.sender, ANNA, self.content)
            self.id = smtp.message_id(reply)
            return reply.code


def at_once(mails):
    """All of them by clients of their own; futures of the replies' codes."""
    return [pool.submit(mail.send) for mail in mails]


def check(what, mails):
    """All have come, once each, and each as it must."""
    def all_there():
        gw.run_cli("queue", "retry", "--match", "to=.test", "--yes")
        return len(s.inner.messages) >= len(mails)

    tap.wait_until(all_there, what="all mails", step=0.2)
    gw.wait_for_queue(0)
    got = collections.defaultdict(list)
    for message in s.inner.take(0):
        found = re.search(rb"(?m)^Message-ID: <(token\d+x)@", message.content)
        got[found[1].decode()].append(message.content)
    tap.equal({token: len(contents) for token, contents in got.items()},
              {mail.token: 1 for mail in mails}, f"{what}: each comes once")
    wrong = []
    for mail in mails:
        for content in got[mail.token]:
            is_open = mail.secret.encode() in content
            if is_open != (mail.kind != "foreign"):
                wrong.append(f"{mail.token} ({mail.kind}): open: {is_open}")
            head = content.split(b"\r\n\r\n", 1)[0]
            if VERDICTS[mail.kind] not in head:
                wrong.append(f"{mail.token} ({mail.kind}): {head[-600:]}")
    tap.equal(wrong, [], f"{what}: opened, with the right verdict")


def waited(mails):
    return [mail for mail in mails
            if any(e["event"] == "waiting" for e in s.events(mail.id))]


def new_mails(kinds):
    return [Mail(kind) for kind in kinds]


with concurrent.futures.ThreadPoolExecutor(COUNT) as pool:
    with tap.group("at once"):
        kinds = (["signed", "closed", "signed", "unknown", "foreign",
                  "signed"] * COUNT)[:COUNT]
        mails = new_mails(kinds)
        replies = at_once(mails)
        tap.equal({f.result() for f in replies}, {250}, "all are taken")
        check("at once", mails)
        count = list(signer.workers(gw).values()).count("pgp-open")
        tap.equal(count, min(os.cpu_count(), 32),
                  "by as many workers as there are processors")

    for name, victims in (
            ("a gpg", lambda: signer.gpgs(gw)[:1]),
            ("an agent", lambda: signer.named(gw, "gpg-agent")[:1])):
        with tap.group(f"{name} dies"):
            mails = new_mails(["signed"] * 8)
            with Held(signer.named(gw, "gpg-agent")):
                replies = at_once(mails)
                tap.wait_until(lambda: signer.gpgs(gw), what="gpg")
                tap.equal(hit(victims()), 1, "one of them")
                tap.equal({f.result() for f in replies}, {250},
                          "all are taken")
            tap.wait_until(lambda mails=mails: waited(mails),
                           what="one that waits", step=0.2)
            check(f"{name} died", mails)
tap.done()
