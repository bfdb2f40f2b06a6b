#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Where encryption is required: what the sender's own program encrypted goes
as it is, and what only calls itself encrypted is encrypted here."""

import base64
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import people, scene, tap  # noqa: E402

ANNA, BOB, CARL = "anna@example.test", "bob@dest.test", "carl@dest.test"
SECRET = b"the answer is forty-two"

s = scene.Scene(settings={"fetch.wkd": "off"})
gw = s.gw
s.start()
p = people.People()
p.new_smime("bob", BOB)
p.new_pgp("carl", CARL)
p.introduce(gw)
gw.cli("policy", "add", ANNA, BOB, "encrypt", "required")

P7M = (b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n"
       b"Content-Transfer-Encoding: base64\r\n\r\n")
PGP = (b'Content-Type: multipart/encrypted; boundary="b"; '
       b'protocol="application/pgp-encrypted"\r\n\r\n')
VERSION = (b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\n"
           b"Version: 1\r\n")
DATA = b"--b\r\nContent-Type: application/octet-stream\r\n\r\n"
END = b"\r\n--b--\r\n"
ENTITY = b"Content-Type: text/plain\r\n\r\n" + SECRET + b"\r\n"
SEALED = p.smime_encrypts(ENTITY, p.path("bob.pem"))
ARMOR = people.crlf(p.gpg("--armor", "--encrypt", "--recipient",
                          p.pgp["carl"], data=ENTITY).stdout)


def sent(entity):
    """What comes of it at Bob's server."""
    with s.login() as c:
        reply = c.submit(ANNA, BOB, people.with_entity(
            f"From: {ANNA}\r\nTo: {BOB}\r\nSubject: x\r\n"
            f"Message-ID: <{next(scene._serial)}@test.invalid>\r\n", entity))
    tap.equal(reply.code, 250, "it is taken")
    [message] = s.world.take()
    return message.content


with tap.group("encrypted by its sender"):
    for what, entity in (("S/MIME", SEALED),
                         ("PGP/MIME", PGP + VERSION + DATA + ARMOR + END)):
        got = sent(entity)
        tap.equal(people.entity_of(got), entity, f"{what} goes as it is")

with tap.group("called so"):
    for what, entity in (
            ("the type of a CMS, and text", P7M + base64.b64encode(
                bytes.fromhex("308006092a864886f70d010703a080"))
             + b"\r\n" + SECRET + b"\r\n"),
            ("a CMS with text behind it",
             SEALED.rstrip() + b"\r\n" + SECRET + b"\r\n"),
            ("text in place of a version",
             PGP + b"--b\r\nContent-Type: text/plain\r\n\r\n" + SECRET
             + b"\r\n" + DATA + ARMOR + END),
            ("text before the parts",
             PGP + SECRET + b"\r\n" + VERSION + DATA + ARMOR + END),
            ("the first line of an armor, and text",
             PGP + VERSION + DATA + b"-----BEGIN PGP MESSAGE-----\r\n"
             + SECRET + END)):
        got = sent(entity)
        tap.ok(SECRET not in got, f"{what}: nobody on the way reads it")
        tap.contains((p.smime_decrypts(got, "bob") or b"").decode(),
                     SECRET.decode(), f"{what}: and Bob does")

tap.done()
