#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""OpenPGP mail between us and programs that are not ours: gpg, sq, mutt and
openpgp.js verify and decrypt what we make, and we what they make.  What is
forged or damaged is told so, and nothing of it is delivered."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import pgp, tap  # noqa: E402

w = pgp.World()

MAILS = {
    "8bit text with blanks at line ends": pgp.mail(
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n",
        "Grüße \r\nFrom here on\r\n-- \r\nalice\r\n".encode()),
    "a binary attachment": pgp.mail(
        "Content-Type: multipart/mixed; boundary=b\r\n",
        b"--b\r\nContent-Type: text/plain\r\n\r\nsee there\r\n--b\r\n"
        b"Content-Type: application/octet-stream\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n" +
        bytes(i for i in range(256) if i not in (0, 10, 13)) +
        b"\r\n--b--\r\n"),
    "a line of 5000 octets": pgp.mail(
        "Content-Type: text/html; charset=us-ascii\r\n",
        b"<p>" + b"x" * 5000 + b"</p>\r\n"),
    "a forwarded message": pgp.mail(
        "Content-Type: multipart/mixed; boundary=c\r\n",
        b"--c\r\n\r\nhello\r\n--c\r\nContent-Type: message/rfc822\r\n\r\n"
        b"From: x@y.example\r\nSubject: inner\r\n\r\nbody\r\n--c--\r\n"),
    "300 KB": pgp.mail("Content-Type: text/plain\r\n",
                       b"0123456789 abcdef\r\n" * 17000),
}
OURS = {"alice": "ed25519", "anna": "rsa3072"}
READERS = ["bob", "carl", "dora"] + (["eva"] if w.has_openpgpjs else [])

for name, kind in OURS.items():
    w.new_ours(name, kind)
w.new_gpg("bob", "ed25519", "cv25519")
w.new_gpg("carl", "rsa3072", "rsa3072")
w.new_sq("dora")
if w.has_openpgpjs:
    w.new_js("eva")

for what, mail in MAILS.items():
    with tap.group(f"signed by us: {what}"):
        for signer in OURS:
            got = w.protect(mail, sign=signer)
            tap.equal((got.word("outcome"), got.word("applied")),
                      ("done", "1"), f"{signer} signs")
            entity, signature = pgp.split_signed(got.output)
            tap.ok(pgp.is_7bit(got.output), "all of it is 7bit")
            tap.ok(pgp.same_content(mail, entity), "the content is the same")
            tap.ok(w.gpg_verifies(entity, signature, signer), "gpg verifies")
            tap.ok(w.sq_verifies(entity, signature, signer), "sq verifies")
            if w.has_openpgpjs:
                tap.ok(w.js_verifies(entity, signature, signer),
                       "openpgp.js verifies")
            back = w.open(got.output, sender=signer, known=[signer])
            tap.equal(back.fact("verdict"), "pass", "so do we")
            tap.ok(got.output.split(b"\r\n\r\n", 1)[1] in back.output,
                   "and deliver it with its signature")

    with tap.group(f"signed and encrypted by us: {what}"):
        for reader in READERS:
            got = w.protect(mail, sign="alice", to=[reader])
            tap.equal((got.word("outcome"), got.word("applied")),
                      ("done", "3"), f"to {reader}")
            tap.ok(pgp.is_7bit(got.output), "all of it is 7bit")
            plain = w.decrypts(got.output, reader, "alice")
            tap.ok(plain is not None and pgp.same_content(mail, plain),
                   f"{reader} reads it, with the signature")

with tap.group("several readers"):
    mail = MAILS["300 KB"]
    got = w.protect(mail, to=["bob", "carl", "dora"])
    tap.equal(got.word("applied"), "2", "encrypted alone")
    for reader in ("bob", "carl", "dora"):
        tap.ok(w.decrypts(got.output, reader, None) is not None,
               f"{reader} reads it")
    tap.equal(len(set(w.key_ids(got.output))), 3, "each is named")
    got = w.protect(mail, to=["bob", "carl"], hidden=True)
    tap.equal(set(w.key_ids(got.output)), {"0000000000000000"},
              "hidden ones are not")
    for reader in ("bob", "carl"):
        tap.ok(w.decrypts(got.output, reader, None) is not None,
               f"{reader} reads it all the same")

for what, mail in MAILS.items():
    with tap.group(f"made by others: {what}"):
        entity = pgp.entity_of(mail)
        for reader in OURS:
            for signer, armored in w.seal_by_others(entity, reader):
                sealed = pgp.encrypted_mail(armored, signer)
                got = w.open(sealed, key=reader, sender=signer,
                             known=[signer])
                tap.equal((got.fact("verdict"), got.word("applied")),
                          ("pass", "24"), f"{signer} to {reader}")
                tap.ok(pgp.same_content(entity, pgp.entity_of(got.output)),
                       "the content is the same")
        for signer, armored in w.sign_by_others(entity):
            got = w.open(pgp.signed_mail(entity, armored, signer),
                         sender=signer, known=[signer])
            tap.equal(got.fact("verdict"), "pass", f"signed by {signer}")

with tap.group("for nobody named"):
    sealed = pgp.encrypted_mail(
        w.gpg("bob", ["--armor", "--throw-keyids", "--sign", "--encrypt",
                      "-r", w.fingerprint["alice"]],
              pgp.entity_of(MAILS["a forwarded message"])), "bob")
    got = w.open(sealed, key="alice", sender="bob", known=["bob"])
    tap.equal(got.fact("verdict"), "pass", "our key is tried")
    got = w.open(sealed, key="anna", sender="bob", known=["bob"])
    tap.equal(got.fact("verdict"), "undecryptable", "another one is not it")

with tap.group("mutt reads ours"):
    for reader in ("bob", "carl"):
        got = w.protect(MAILS["8bit text with blanks at line ends"],
                        sign="alice", to=[reader])
        shown = w.mutt_shows(got.output, reader)
        tap.ok("Grüße" in shown, f"{reader} sees the text")
        tap.ok("Good signature from" in shown, "and a good signature")

with tap.group("we read mutt's"):
    for sender in ("bob", "carl"):
        made = w.mutt_sends(sender, "alice", "Grüße von mutt\n")
        got = w.open(made, key="alice", sender=sender, known=[sender])
        tap.equal(got.fact("verdict"), "pass", f"from {sender}")
        tap.ok("Gr=C3=BC=C3=9Fe von mutt" in got.text or
               "Grüße von mutt" in got.text, "its text is there")

if not w.has_openpgpjs:
    tap.diag("openpgp.js is not here: its checks were left out")
w.close()
tap.done()
