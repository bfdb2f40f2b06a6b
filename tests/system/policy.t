#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Rules of protection through the whole gateway: what they demand is there
when mail leaves, whatever the signer does, and explain says why."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import gateway, scene, smtp, tap  # noqa: E402

ANNA, BOB, CARL = "anna@example.test", "bob@dest.test", "carl@dest.test"
SECRET = "the answer is forty-two"
s = scene.Scene(settings={"smtp.client_rate": 100000,
                          "smtp.network_rate": 100000,
                          "fetch.wkd": "off"}).start()
gw = s.gw
folder = gateway.temporary_folder()


def path(name):
    return os.path.join(folder, name)


def openssl(*words, **kw):
    return subprocess.run(["openssl", *words], check=True,
                          capture_output=True, **kw).stdout


def make_cert(name, address):
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-keyout", path(f"{name}.key"),
            "-out", path(f"{name}.crt"),
            "-addext", f"subjectAltName=email:{address}",
            "-addext", "extendedKeyUsage=emailProtection",
            "-addext", "keyUsage=critical,digitalSignature,keyEncipherment")


def decrypt(message, name):
    with open(path("in.eml"), "wb") as f:
        f.write(message.content)
    return openssl("cms", "-decrypt", "-in", path("in.eml"), "-recip",
                   path(f"{name}.crt"), "-inkey", path(f"{name}.key"))


def submit(to=BOB, subject="hello", body=SECRET, **fields):
    """By login: the reply, and the id."""
    with s.login() as c:
        reply = c.submit(ANNA, to, scene.mail(
            ANNA, subject=subject, body=body, **fields))
    return reply


def explain(*words, **kw):
    return gw.json("explain", "--from", ANNA, "--to", BOB, *words, **kw)


def rules_of(got):
    return [(r["sender"], r["recipient"], r["rule"], r["counts"])
            for r in got["rules"]]


def one():
    [message] = s.world.wait(1)
    s.world.messages.clear()
    return message


with tap.group("explain without rules, and what it refuses"):
    got = explain()
    tap.equal((got["decision"]["sign"], got["decision"]["encrypt"],
               got["decision"]["dkim"]), ("never", "never", "if-possible"),
              "nothing is demanded")
    tap.equal(got["outcome"], "leaves as it came", "and nothing done")
    tap.equal(got["rules"], [], "by no rule")
    for words in (["--to", BOB], ["--from", ANNA],
                  ["--from", "anna", "--to", BOB],
                  ["--from", ANNA, "--to", BOB, "--header", ":x"]):
        tap.equal(gw.run_cli("explain", *words).returncode, 2,
                  " ".join(words) + " is refused")

with tap.group("a domain with DKIM keys"):
    gw.cli("key", "dkim", "new", "example.test")
    tap.wait_until(lambda: explain()["outcome"] == "signed with DKIM",
                   what="the key to be there")
    reply = submit()
    tap.equal(reply.code, 250, "mail is taken")
    m = one()
    tap.contains(m.header.decode(), "DKIM-Signature:", "it is signed")
    tap.ok(m.body.decode().startswith(SECRET), "its text is as it was")
    names = [e["event"] for e in s.life(smtp.message_id(reply))]
    tap.ok("protected" in names, f"trace tells of it: {names}")
    tap.contains(gw.cli("trace", smtp.message_id(reply)), "dkim",
                 "in words, too")

with tap.group("encryption is required"):
    gw.cli("policy", "add", "*", "@dest.test", "encrypt", "required",
           "trigger", "subject", "[plain]", "no-encrypt")
    got = explain()
    tap.equal(got["decision"]["encrypt"], "required", "explain: the decision")
    tap.equal(rules_of(got)[0], ("*", "@dest.test", "encrypt required", True),
              "and the rule that fired")
    tap.contains(got["outcome"], "refused: 5.7.3", "without a key, refused")
    tap.equal({k["state"] for k in got["keys"] if k["use"] == "encrypt"},
              {"no key is known"}, "for want of a key")
    reply = submit()
    tap.equal((reply.code, reply.text.split(" ")[0]), (550, "5.7.3"),
              "and so it is by SMTP")
    tap.equal(submit(subject="x [plain]").code, 550,
              "a trigger does not lower what it may not")
    make_cert("bob", BOB)
    gw.cli("key", "smime", "import", path("bob.crt"))
    got = explain()
    tap.contains(got["outcome"], "encrypted by smime", "with a key")
    tap.ok([k for k in got["keys"] if k["use"] == "encrypt" and
            k.get("fingerprint")], "which explain names")
    reply = submit(subject="about [plain] things")
    tap.equal(reply.code, 250, "it is taken")
    m = one()
    tap.ok(SECRET.encode() not in m.content, "and leaves encrypted")
    tap.contains(decrypt(m, "bob").decode(), SECRET, "OpenSSL reads it")
    tap.contains(m.header.decode(), "DKIM-Signature:", "DKIM comes last")
    tap.ok("[plain]" not in m.field("Subject"), "the trigger is out")
    tap.contains(gw.cli("explain", "--from", ANNA, "--to", BOB, "--subject",
                        "[plain]"), "no \"lower on\"", "explain says why not")

with tap.group("one can be served, one cannot"):
    reply = submit(to=[BOB, CARL], subject="a secret subject")
    tap.equal(reply.code, 250, "it is taken")
    tap.equal(one().recipients, [BOB], "the one with a key gets it")
    [dsn] = s.inner.wait(1)
    s.inner.messages.clear()
    text = dsn.content.decode()
    tap.contains(text, CARL, "the sender is told of the other")
    tap.contains(text, "Status: 5.7.3", "and why")
    tap.ok(SECRET not in text and "secret subject" not in text,
           "without what was to be encrypted")
    gw.wait_for_queue(0)

with tap.group("triggers"):
    gw.cli("policy", "add", ANNA, BOB, "encrypt", "on-trigger", "trigger",
           "subject", "[secure]", "encrypt", "trigger", "header",
           "X-Seal:yes", "encrypt")
    for label, subject, fields, is_sealed in (
            ("no trigger", "hello", {}, False),
            ("a trigger", "Re: [Secure] hello", {}, True),
            ("an encoded trigger", "=?utf-8?Q?=5Bsecure=5D_gr=C3=BC=C3=9Fe?=",
             {}, True),
            ("a header", "hello", {"X_Seal": "yes"}, True),
            ("a header with another value", "hello", {"X_Seal": "no"},
             False)):
        tap.equal(submit(subject=subject, **fields).code, 250,
                  f"{label}: taken")
        m = one()
        tap.equal(SECRET.encode() not in m.content, is_sealed,
                  f"{label}: encrypted or not")
        if is_sealed:
            tap.ok(not re.search(b"secure|x-seal", m.header, re.I),
                   f"{label}: it is out")
    got = explain("--subject", "[secure]")
    tap.equal((got["decision"]["encrypt"], got["removed"]),
              ("required", ["subject [secure]"]), "explain knows triggers")
    with s.trusted() as c:
        tap.equal(c.submit("x@other.test", BOB, scene.mail(
            "x@other.test", subject="[secure] x", body=SECRET)).code, 250,
            "another sender")
    tap.ok(SECRET.encode() not in one().content,
           "for whom the wider rule holds")
    gw.cli("policy", "remove", ANNA, BOB)

with tap.group("a signer that hangs"):
    with gateway.Held(gw.pids("signerd")):
        reply = submit()
        tap.equal(reply.code, 250, "mail is taken all the same")
        message_id = smtp.message_id(reply)
        shown = gw.json("queue", "show", message_id)["message"]
        tap.ok(shown["protection"]["waits_for_signer"], "it waits")
        tap.equal((shown["recipients"][0]["encrypt"],
                   shown["recipients"][0]["applied"]), ("required", ""),
                  "with what it demands")
        tap.equal(s.world.messages, [], "nothing has left")
        s.life(message_id)
        tap.equal(gw.trace(message_id)["traces"][0]["status"], "waiting",
                  "trace says so")
        # It is stored, though the signer does not say that it knows it.
        gw.run_cli("policy", "remove", "*", "@dest.test")
        gw.kill("queued")
    m = one()
    tap.ok(SECRET.encode() not in m.content,
           "after queued died and with the rule gone, it leaves encrypted")
    gw.wait_for_queue(0)
    gw.cli("policy", "add", "*", "@dest.test", "encrypt", "required")

with tap.group("a signer that dies"):
    for _ in range(5):
        with s.login() as c:
            gw.kill("signerd")
            tap.equal(c.submit(ANNA, BOB, scene.mail(
                ANNA, body=SECRET)).code, 250, "mail is taken")
    messages = s.world.wait(5)
    tap.ok(all(SECRET.encode() not in m.content for m in messages),
           "and none of it leaves as it was")
    s.world.messages.clear()
    gw.wait_for_queue(0)

with tap.group("large mail"):
    body = "\r\n".join(["0123456789" * 7] * 5000)
    tap.equal(submit(body=body).code, 250, "is taken")
    m = one()
    tap.ok(b"0123456789" * 7 not in m.content, "leaves encrypted")
    tap.ok(decrypt(m, "bob").count(b"0123456789" * 7) == 5000,
           "and is whole inside")
    spool = os.path.join(gw.root, "var/lib/postern/queued/spool")
    tap.wait_until(lambda: not [f for _, _, names in os.walk(spool)
                                for f in names], what="the spool to be empty")
    tap.ok(True, "its files are gone")

with tap.group("notifications of our own"):
    reply = submit(to=CARL)
    tap.equal(reply.code, 550, "refused at once")
    gw.cli("policy", "remove", "*", "@dest.test")
    s.world.on("RCPT", "550 5.1.1 nobody", times=1)
    tap.equal(submit(to=CARL, body=SECRET).code, 250, "without a rule, taken")
    [dsn] = s.inner.wait(1)
    tap.contains(dsn.content.decode(), SECRET,
                 "a bounce of open mail has its text")
    gw.wait_for_queue(0)

tap.done()
