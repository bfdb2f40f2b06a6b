#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Encrypted mail through the whole gateway where somebody meddles with it: no
answer tells a sender whether a changed ciphertext decrypts, what looks like an
attack is held as it came, and a mail that is too large to be opened loses its
forged tags all the same.  And what goes out signed for several, with a Subject
in the text, with another certificate to be answered with."""

import base64
import email
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import people, scene, smtp, tap  # noqa: E402

ANNA, OTTO = "anna@example.test", "otto@example.test"
BOB, BEN, CARL = "bob@dest.test", "ben@dest.test", "carl@dest.test"
SECRET = "the answer is forty-two"
TEXT = "Content-Type: text/plain\r\n"
LARGE = 200_000

s = scene.Scene(settings={"smtp.client_rate": 100000,
                          "smtp.network_rate": 100000, "fetch.wkd": "off",
                          "crypto.subject_tags": "on",
                          "crypto.max_size": "128K"})
gw = s.gw
s.start()
p = people.People()
gw.cli("ca", "new", "Example CA")
KEY = gw.json("key", "smime", "new", ANNA, "--algorithm", "rsa-2048")
OURS = p.file(gw.cli("key", "smime", "export", str(KEY["id"])).encode())
for name in ("bob", "ben"):
    p.new_smime(name, f"{name}@dest.test")
p.new_pgp("carl", CARL)
p.introduce(gw)

ENTITY = f"{TEXT}\r\n{SECRET}\r\n".encode()


def head(sender=BOB, subject="to you"):
    return (f"From: {sender}\r\nTo: {ANNA}\r\nSubject: {subject}\r\n"
            f"Message-ID: <{next(scene._serial)}@dest.invalid>\r\n")


def receive(made, sender=BOB):
    with s.stranger() as c:
        return c.submit(sender, ANNA, made)


def opened(reply):
    """What trace says of it, once it was looked at."""
    name = smtp.message_id(reply)
    return tap.wait_until(
        lambda: [e for e in s.events(name) if e["event"] == "opened"],
        what="the signer's answer", step=0.1)[0]


def sealed(entity, certificate=OURS):
    """The DER of AES-256-CBC."""
    return p.openssl("cms", "-encrypt", "-binary", "-aes256", "-outform",
                     "DER", "-recip", certificate, data=entity).stdout


def mail_of(der, sender=BOB, subject="to you"):
    return people.with_entity(head(sender, subject), (
        b"Content-Type: application/pkcs7-mime; name=smime.p7m\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n"
        + people.crlf(base64.encodebytes(der))))


def flipped(der, at, by=1):
    changed = bytearray(der)
    changed[at] ^= by
    return bytes(changed)


def pgp_signed(entity, said):
    """said: what it says; entity: what was signed."""
    armored = p.gpg("--armor", "--local-user", p.pgp["carl"],
                    "--detach-sign", data=entity).stdout
    return (b'Content-Type: multipart/signed; micalg=pgp-sha512; '
            b'protocol="application/pgp-signature"; boundary="s"'
            b"\r\n\r\n--s\r\n" + said + b"\r\n--s\r\n"
            b"Content-Type: application/pgp-signature\r\n\r\n"
            + people.crlf(armored) + b"\r\n--s--\r\n")


def is_held_closed(what, reply, made):
    tap.equal(reply.code, 250, f"{what}: taken")
    row = opened(reply)
    tap.ok(row["is_held"], f"{what}: held: {row['method']}")
    tap.equal(s.inner.messages, [], f"{what}: nothing is delivered")
    gw.cli("queue", "release", smtp.message_id(reply))
    [m] = s.inner.take()
    tap.ok(m.content.endswith(made.split(b"\r\n\r\n", 1)[1]),
           f"{what}: released, it is as it came")
    tap.ok(b"forty" not in m.content, f"{what}: nothing of it is open")
    crypto = re.findall(rb"(?im)^x-postern-crypto:(.*(?:\r\n[ \t].*)*)",
                        m.header)
    tap.ok(len(crypto) == 1 and b"sig=fail" in crypto[0],
           f"{what}: and the verdict is there: {crypto}")
    tap.ok(b"[signed]" not in m.header, f"{what}: without a forged tag")


with tap.group("OpenPGP within S/MIME that does not show changes"):
    made = mail_of(sealed(pgp_signed(ENTITY, ENTITY)), CARL)
    reply = receive(made, CARL)
    tap.equal(reply.code, 250, "one that fits: taken")
    [m] = s.inner.take()
    tap.ok(SECRET.encode() in m.content, "and opened")
    tap.contains(m.field("X-Postern-Crypto") or "", "sig=pass", "a pass")
    tap.equal(m.field("Subject"), "[signed] to you", "with its tag")
    inner = (b'Content-Type: text/plain; hp="clear"\r\n'
             b"From: " + CARL.encode() + b"\r\n"
             b"Subject: [decrypted] [invalid signature] inner\r\n\r\n"
             + SECRET.encode() + b"\r\n")
    receive(mail_of(sealed(pgp_signed(inner, inner)), CARL), CARL)
    [m] = s.inner.take()
    tap.equal(m.field("Subject"), "[signed] inner",
              "tags that were forged inside of both are out")
    made = mail_of(sealed(pgp_signed(
        ENTITY, ENTITY.replace(b"two", b"six"))), CARL, "[signed] to you")
    is_held_closed("one that does not fit", receive(made, CARL), made)
    made = mail_of(sealed(pgp_signed(ENTITY, ENTITY).replace(
        b"--s--", b"--s\r\n\r\n--s--")), CARL)
    is_held_closed("one of three parts", receive(made, CARL), made)
    broken = p.smime_signs(ENTITY, "bob").replace(b"two", b"six")
    made = mail_of(sealed(broken))
    is_held_closed("as of S/MIME", receive(made), made)

with tap.group("no answer tells whether it decrypts"):
    gw.set(**{"crypto.undecryptable": "reject",
              "crypto.bad_signature": "reject"})
    good = sealed(ENTITY)
    iv = good.index(bytes.fromhex("0609608648016503040 12a0410".replace(
        " ", ""))) + 13
    key = good.index(b"\x04\x82\x01\x00") + 100
    answers = {}
    for what, der in (
            ("as it was made", good),
            ("a changed first block", flipped(good, iv)),
            ("a changed block within", flipped(good, -40)),
            ("a wrong padding", flipped(good, -17, 0xff)),
            ("a changed key", flipped(good, key)),
            ("a signature that does not fit", sealed(broken))):
        reply = receive(mail_of(der))
        answers[what] = (reply.code, reply.text.rsplit(" ", 1)[0])
        row = opened(reply)
        tap.equal(answers[what], answers["as it was made"],
                  f"{what}: the same answer; held: {row['is_held']}")
        if row["is_held"]:
            tap.equal(s.inner.messages, [], f"{what}: it waits")
            gw.cli("queue", "delete", smtp.message_id(reply), "--yes")
        else:
            s.inner.take()
    for what, der, enhanced in (
            ("damaged", good[:-30], "5.7.5"),
            ("for another one's key",
             sealed(ENTITY, p.path("bob.pem")), "5.7.5")):
        reply = receive(mail_of(der))
        tap.equal((reply.code, reply.enhanced), (550, enhanced),
                  f"{what}, as anybody can see: rejected")
    reply = receive(people.with_entity(head(), broken))
    tap.equal((reply.code, reply.enhanced), (550, "5.7.7"),
              "a bad signature on open mail: rejected")
    gw.set(**{"crypto.undecryptable": "deliver",
              "crypto.bad_signature": "deliver"})

with tap.group("too large to be opened"):
    body = ("0123456789" * 7 + "\r\n") * (LARGE // 72)
    for what, made in (
            ("plain", people.with_entity(
                head(subject="[signed] hello"),
                f"{TEXT}\r\n{body}".encode())),
            ("plain, with the tag far behind", people.with_entity(
                head(subject="a " + "word " * 1000 + "[signed]"),
                f"{TEXT}\r\n{body}".encode())),
            ("encrypted", mail_of(sealed(f"{TEXT}\r\n{body}".encode()),
                                  subject="=?utf-8?Q?=5Bsigned=5D?= hello"))):
        tap.ok(len(made) > 131072, f"{what}: it is")
        reply = receive(made)
        tap.equal(reply.code, 250, f"{what}: taken")
        [m] = s.inner.take()
        tap.ok("[signed]" not in m.field("Subject"),
               f"{what}: the forged tag is out")
        tap.ok(m.content.endswith(made.split(b"\r\n\r\n", 1)[1]),
               f"{what}: its body is as it came")
        tap.equal(m.field("X-Postern-Crypto"), None,
                  f"{what}: nothing is said of what nobody looked at")

with tap.group("signed once for several"):
    for to in (BOB, BEN):
        gw.cli("policy", "add", ANNA, to, "sign", "required", "encrypt",
               "required", "protect-subject", "legacy")
    ca = p.file(gw.cli("ca", "show").encode())
    with s.login() as c:
        reply = c.submit(ANNA, [BOB, BEN], scene.mail(
            subject="our plan", body=SECRET))
    tap.equal(reply.code, 250, "taken for two")
    for m in s.world.take(2):
        name = m.recipients[0].partition("@")[0]
        tap.ok(b"our plan" not in m.content and
               SECRET.encode() not in m.content, f"{name}'s shows nothing")
        inside = p.smime_decrypts(m.content, name) or b""
        entity = p.smime_verifies(inside, ca) or b""
        parsed = email.message_from_bytes(entity)
        tap.equal((parsed["Subject"], parsed.get_param("hp"),
                   parsed.get_param("hp-legacy-display")),
                  ("our plan", "cipher", "1"),
                  f"{name}: the Subject is inside")
        tap.equal(parsed.get_payload(decode=True),
                  f"Subject: our plan\r\n\r\n{SECRET}\r\n".encode(),
                  f"{name}: and in the text")
        tap.contains(entity, b"HP-Outer: Subject: [...]\r\n",
                     f"{name}: and what is outside")

with tap.group("another certificate to be answered with"):
    s.add_user("otto", OTTO)
    for name, usage in (("signs", "digitalSignature"),
                        ("reads", "keyEncipherment")):
        p.new_smime(name, OTTO, usage)
        gw.cli("key", "smime", "import", p.file(
            open(p.path(name + ".pem"), "rb").read()
            + open(p.path(name + ".key"), "rb").read()))
    gw.cli("policy", "add", OTTO, "*", "sign", "required")
    with s.login("otto") as c:
        reply = c.submit(OTTO, BOB, scene.mail(sender=OTTO))
    tap.equal(reply.code, 250, "taken")
    [m] = s.world.take()
    tap.ok(p.smime_verifies(m.content, p.path("ca.pem")),
           "openssl verifies it")
    shown = p.openssl("cms", "-cmsout", "-print", "-noout", "-in",
                      p.file(m.content)).stdout.decode()
    serial = p.openssl("x509", "-in", p.path("reads.pem"), "-noout",
                       "-serial").stdout.decode().strip().split("=")[1]
    tap.contains(shown, "id-smime-aa-encrypKeyPref", "it names one")
    attribute = shown.split("id-smime-aa-encrypKeyPref", 1)[1].split(
        "object:", 1)[0]
    tap.ok(str(int(serial, 16)) in attribute or
           serial.lower() in attribute.lower().replace(":", ""),
           f"with its serial {serial}: {attribute}")

with tap.group("the end"):
    gw.wait_for_queue(0)
    tap.equal([m.header for m in s.world.messages + s.inner.messages], [],
              "nothing else came")
tap.done()
