#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""A mail to 1,500 recipients who each get a message of their own, encrypted
for them; and one for which a single recipient has to wait."""

import collections
import concurrent.futures
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import people, scene, signer, smtp, tap  # noqa: E402
from lib.gateway import Held, hit  # noqa: E402

ANNA, CARL = "anna@example.test", "carl@dest.test"
COUNT = 1500
MANY = [f"r{i}@dest.test" for i in range(COUNT)]
# What the queue asks the signer for at a time (relay/queue_sign_share.h).
SHARE = 100

s = scene.Scene(settings={"smtp.max_recipients": "2000", "fetch.wkd": "off"},
                user=False).start()
gw = s.gw
p = people.People()


def send(recipients, subject):
    with s.trusted() as c:
        return c.submit(ANNA, recipients,
                        scene.mail(ANNA, subject=subject,
                                   body=f"secret {subject}\r\n" * 100))


def recipients_of(message_id):
    shown = gw.json("queue", "show", message_id)
    return {row["address"]: row
            for row in shown["message"]["recipients"]}


def set_up():
    p.new_smime("dest", MANY[0])
    p.new_pgp("carl", CARL)
    gw.cli("key", "anchor", "add", p.path("ca.pem"))
    # One certificate for all of a domain; encrypted for each it is anew.
    gw.cli("key", "smime", "import", p.path("dest.pem"),
           "--domain", "dest.test")
    armored = p.gpg("--armor", "--export", p.pgp["carl"]).stdout
    gw.cli("key", "pgp", "import", p.file(armored))
    gw.cli("policy", "add", ANNA, "@dest.test", "encrypt", "required",
           "method", "smime")
    gw.cli("policy", "add", ANNA, CARL, "sign", "required", "encrypt",
           "required", "method", "pgp")
    key = gw.json("key", "pgp", "new", ANNA)
    p.pgp_knows(gw.cli("key", "pgp", "export", str(key["id"])).encode())


with tap.group("keys and rules"):
    set_up()
    tap.equal(len(gw.json("policy", "list")["policies"]), 2, "are there")

with tap.group("many recipients"):
    reply = send(MANY, "to many")
    tap.equal(reply.code, 250, f"a mail to {COUNT} is taken")
    came = s.world.take(COUNT)
    tap.equal(collections.Counter(len(m.recipients) for m in came),
              {1: COUNT}, "each has a message of his own")
    tap.equal(sorted(m.recipients[0] for m in came), sorted(MANY),
              "once")
    tap.equal([m.recipients for m in came if b"secret" in m.body
               or "pkcs7-mime" not in m.field("Content-Type")], [],
              "and each is encrypted")
    tap.equal(len({m.body for m in came}), COUNT, "anew")
    for i in (0, SHARE, COUNT - 1):
        [one] = [m for m in came if m.recipients == [MANY[i]]]
        tap.contains((p.smime_decrypts(one.content, "dest") or b"").decode(),
                     "secret to many", f"{MANY[i]} can read it")
    gw.wait_for_queue(0)
    events = s.life(smtp.message_id(reply))
    tap.equal(sum(e["event"] == "protected" for e in events), COUNT,
              "the log has each")

with tap.group("the signer dies between two shares"):
    reply = send(MANY[:5 * SHARE], "and it dies")
    tap.equal(reply.code, 250, "a mail is taken")
    came = s.world.take(SHARE // 2)
    gw.kill("signerd")
    came += s.world.take(5 * SHARE - len(came))
    tap.equal(sorted(m.recipients[0] for m in came),
              sorted(MANY[:5 * SHARE]), "all have it once")
    tap.equal([m.recipients for m in came if b"secret" in m.body], [],
              "and nobody plain")
    gw.wait_for_queue(0)

with tap.group("one waits for a worker that dies"):
    send([CARL], "so that an agent runs")
    s.world.take()
    with Held(signer.named(gw, "gpg-agent")) as held:
        tap.ok(held.pids, "an agent hangs")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            future = pool.submit(send, [MANY[0], CARL, MANY[1]], "for three")
            tap.wait_until(lambda: signer.gpgs(gw), what="gpg")
            tap.ok(hit(signer.workers(gw, "pgp-sign")), "its worker dies")
            reply = future.result()
        tap.equal(reply.code, 250, "the mail is taken")
        came = s.world.take(2)
        tap.equal(sorted(m.recipients[0] for m in came), MANY[:2],
                  "the others have theirs at once")
        tap.wait_until(lambda: list(recipients_of(smtp.message_id(reply)))
                       == [CARL], what="the others to be done with")
        row = recipients_of(smtp.message_id(reply))[CARL]
        tap.equal(row["waits_for_signer"], True, "one waits for the signer")
    gw.cli("queue", "retry", "--match", "to=" + CARL, "--yes")
    [one] = s.world.take()
    tap.equal(one.recipients, [CARL], "and has his then")
    tap.ok(b"secret for three" in (
        p.pgp_decrypts(one.content, "carl", ANNA) or b""),
        "which he can read")
    gw.wait_for_queue(0)
    tap.equal(s.world.take(0), [], "nobody has it twice")

tap.done()
