#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""S/MIME mail between us and programs that are not ours: openssl, gpgsm, NSS,
M2Crypto and node-forge verify and decrypt what we make, and we what they
make; and thousands of messages that become entities without losing any of
their content."""

import email
import email.policy
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import mails, smime, tap  # noqa: E402

w = smime.World()
w.person("alice", "rsa", "alice@example.org")
w.person("alice-ec", "ec", "alice@example.org")
w.person("bob", "rsa", "bob@example.net")
w.person("bob-ec", "ec", "bob-ec@example.net")

MAILS = {
    "8bit text with blanks at line ends": smime.mail(
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n",
        "Grüße \r\nFrom here on\r\n-- \r\nalice\r\n".encode()),
    "a binary attachment": smime.mail(
        "Content-Type: multipart/mixed; boundary=b\r\n",
        b"--b\r\nContent-Type: text/plain\r\n\r\nsee there\r\n--b\r\n"
        b"Content-Type: application/octet-stream\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n" +
        bytes(i for i in range(256) if i not in (0, 10, 13)) +
        b"\r\n--b--\r\n"),
    "a line of 5000 octets": smime.mail(
        "Content-Type: text/html; charset=us-ascii\r\n",
        b"<p>" + b"x" * 5000 + b"</p>\r\n"),
    "flowed text": smime.mail(
        "Content-Type: text/plain; format=flowed\r\n",
        b"soft \r\nline\r\n\r\n> quoted \r\n> more\r\n"),
    "a forwarded message": smime.mail(
        "Content-Type: multipart/mixed; boundary=c\r\n",
        b"--c\r\n\r\nhello\r\n--c\r\nContent-Type: message/rfc822\r\n\r\n"
        b"From: x@y.example\r\nSubject: inner\r\n\r\nbody\r\n--c--\r\n"),
    "300 KB": smime.mail("Content-Type: text/plain\r\n",
                         b"0123456789 abcdef\r\n" * 17000),
}
PLAIN = smime.entity_of(MAILS["a forwarded message"])


def leaves(message):
    parsed = email.message_from_bytes(message, policy=email.policy.SMTP)
    return [(p.get_content_type(), p.get_payload(decode=True))
            for p in parsed.walk() if not p.is_multipart()]


def is_7bit(message):
    return all(len(line) <= 998 and max(line, default=0) < 128
               for line in message.split(b"\r\n"))


for what, mail in MAILS.items():
    with tap.group(f"signed by us: {what}"):
        for signer in ("alice", "alice-ec"):
            got = w.protect(mail, sign=signer)
            tap.equal((got.outcome, got.applied), ("done", "1"),
                      f"{signer} signs")
            entity, signature = smime.parts_of(got.output)
            der = smime.der_of(signature)
            tap.ok(is_7bit(got.output), "all of it is 7bit")
            tap.equal(leaves(entity), leaves(mail), "the content is the same")
            tap.equal(w.openssl_verifies(got.output), entity,
                      "openssl verifies it")
            tap.ok(w.gpgsm_verifies(entity, der), "gpgsm verifies it")
            tap.ok(w.nss_verifies(entity, der), "NSS verifies it")
            tap.equal(w.m2("verify", got.output, signer), entity,
                      "M2Crypto verifies it")
            back = w.open(got.output)
            tap.equal(back.verdict, "pass", "so do we")
            tap.ok(got.output.split(b"\r\n\r\n", 1)[1] in back.output,
                   "and deliver it with its signature")

    with tap.group(f"signed opaquely by us: {what}"):
        for signer in ("alice", "alice-ec"):
            got = w.protect(mail, sign=signer, options=smime.OPAQUE)
            entity = w.openssl_verifies(got.output)
            tap.ok(entity is not None, f"openssl verifies {signer}'s")
            tap.equal(leaves(entity or b""), leaves(mail),
                      "the content is the same")
            tap.equal(w.open(got.output).verdict, "pass", "we verify it")

    with tap.group(f"encrypted by us: {what}"):
        for reader in ("bob", "bob-ec"):
            for aead in (False, True):
                got = w.protect(mail, sign="alice", to=[reader], aead=aead)
                tap.equal((got.outcome, got.applied), ("done", "3"),
                          f"signed and encrypted to {reader}, tag: {aead}")
                inside = w.openssl_decrypts(got.output, reader)
                tap.ok(inside is not None, "openssl decrypts it")
                tap.ok(w.openssl_verifies(inside or b"x") is not None,
                       "and verifies what is in it")
                back = w.open(got.output, key=reader)
                tap.equal(back.verdict, "pass", "so do we")
                tap.equal(leaves(smime.parts_of(back.output)[0]),
                          leaves(mail), "the content is the same")
        got = w.protect(mail, to=["bob"])
        der = smime.der_of(smime.entity_of(got.output))
        inside = w.openssl_decrypts(got.output, "bob")
        tap.equal(leaves(inside), leaves(mail), "encrypted alone")
        tap.equal(w.gpgsm_decrypts(der), inside, "gpgsm decrypts it")
        tap.equal(w.nss_decrypts(der), inside, "NSS decrypts it")
        tap.equal(w.m2("decrypt", got.output, "bob"), inside,
                  "M2Crypto decrypts it")
        if w.has_forge:
            tap.equal(w.forge("decrypt", "bob", der), inside,
                      "node-forge decrypts it")

with tap.group("another certificate to be answered with"):
    w.person("alice-reads", "rsa", "alice@example.org")
    for options in (0, smime.OPAQUE):
        got = w.protect(MAILS["a forwarded message"], sign="alice",
                        prefer="alice-reads", options=options)
        tap.equal(got.outcome, "done", "is named")
        tap.ok(w.openssl_verifies(got.output), "openssl verifies it")
        shown = w.run(["openssl", "cms", "-cmsout", "-print", "-noout", "-in",
                       w.file(got.output)]).stdout
        tap.contains(shown, b"id-smime-aa-encrypKeyPref", "and shows it")
        tap.equal(w.open(got.output).verdict, "pass", "so do we")
        if options == 0:
            entity, signature = smime.parts_of(got.output)
            der = smime.der_of(signature)
            tap.ok(w.gpgsm_verifies(entity, der), "gpgsm verifies it")
            tap.ok(w.nss_verifies(entity, der), "NSS verifies it")
            tap.equal(w.m2("verify", got.output, "alice"), entity,
                      "M2Crypto verifies it")

with tap.group("a hidden Subject that stands in the text"):
    for what, mail in MAILS.items():
        got = w.protect(mail, to=["bob"],
                        options=smime.SUBJECT | smime.LEGACY)
        inside = w.openssl_decrypts(got.output, "bob") or b""
        parsed = email.message_from_bytes(inside, policy=email.policy.SMTP)
        tap.ok(b"between us" not in got.output, f"{what}: it is hidden")
        tap.equal(parsed["Subject"], "between us", "openssl shows it inside")
        tap.equal(parsed.get_param("hp"), "cipher", "which is told")
        shown = [p for p in parsed.walk()
                 if p.get_param("hp-legacy-display") == "1"]
        tap.equal(len(shown), 1, "one text shows it")
        text = shown[0].get_payload(decode=True)
        if shown[0].get_content_type() == "text/html":
            tap.contains(text, b"<pre>Subject: between us</pre>", "at once")
        else:
            tap.ok(text.startswith(b"Subject: between us\r\n\r\n"),
                   "in its first line")
        kept = leaves(mail)
        tap.equal(leaves(inside)[1:], kept[1:], "other parts are the same")
        tap.ok(leaves(inside)[0][1].endswith(kept[0][1][-4:]),
               "and the rest of the text")

with tap.group("signed by others"):
    for name in ("alice", "alice-ec"):
        theirs = {
            "openssl": w.openssl_signs(PLAIN, name),
            "openssl with SHA-512": w.openssl_signs(
                PLAIN, name, "-md", "sha512"),
            "openssl by key identifier": w.openssl_signs(
                PLAIN, name, "-keyid"),
            "NSS": w.nss_signs(PLAIN, name),
        }
        if name == "alice":
            theirs["openssl with PSS"] = w.openssl_signs(
                PLAIN, name, "-keyopt", "rsa_padding_mode:pss")
            theirs["gpgsm"] = w.gpgsm_signs(PLAIN, name)
            if w.has_forge:
                theirs["node-forge"] = w.forge("sign", name, PLAIN)
        for who, der in theirs.items():
            got = w.open(smime.signed_mail(PLAIN, der))
            if not tap.equal(got.verdict, "pass", f"by {who} as {name}"):
                tap.diag(got.words)
            got = w.open(smime.signed_mail(PLAIN + b"x", der))
            tap.equal(got.verdict, "fail", "changed, it does not")
            got = w.open(smime.signed_mail(PLAIN, der, "eve"))
            tap.equal(got.verdict, "mismatch", "nor for another sender")

with tap.group("signed opaquely by others"):
    for name in ("alice", "alice-ec"):
        der = w.openssl_signs(PLAIN, name, "-nodetach")
        tap.equal(w.open(smime.encrypted_mail(der)).verdict, "pass",
                  f"by openssl as {name}")
        der = w.openssl_signs(PLAIN, name, "-nodetach", "-stream")
        tap.equal(w.open(smime.encrypted_mail(der)).verdict, "pass",
                  f"by openssl as {name}, in pieces")

with tap.group("encrypted by others"):
    for name in ("bob", "bob-ec"):
        theirs = {
            "openssl": w.openssl_encrypts(PLAIN, name, "-aes256"),
            "openssl in pieces": w.openssl_encrypts(
                PLAIN, name, "-aes128", "-stream"),
            "openssl with a tag": w.openssl_encrypts(
                PLAIN, name, "-aes-128-gcm"),
            "openssl with 3DES": w.openssl_encrypts(PLAIN, name, "-des3"),
            "openssl by key identifier": w.openssl_encrypts(
                PLAIN, name, "-aes256", "-keyid"),
        }
        if name == "bob":
            theirs["openssl with OAEP"] = w.openssl_encrypts(
                PLAIN, name, "-aes256", "-keyopt",
                "rsa_padding_mode:oaep")
            theirs["gpgsm"] = w.gpgsm_encrypts(PLAIN, name)
            theirs["NSS"] = w.nss_encrypts(PLAIN, name)
            if w.has_forge:
                theirs["node-forge"] = w.forge("encrypt", name, PLAIN)
        else:
            theirs["openssl with a KDF of SHA-256"] = w.openssl_encrypts(
                PLAIN, name, "-aes256", "-keyopt",
                "ecdh_kdf_md:sha256")
        for who, der in theirs.items():
            got = w.open(smime.encrypted_mail(der), key=name)
            if not tap.ok(b"body\r\n--c--" in got.output,
                          f"by {who} to {name}"):
                tap.diag(got.words)
            got = w.open(smime.encrypted_mail(der))
            tap.equal(got.verdict, "undecryptable", "without its key, not")

with tap.group("signed, then encrypted by openssl, with Unix line ends"):
    inside = w.run(["openssl", "cms", "-sign", "-signer",
                    w.path("alice.pem"), "-inkey", w.path("alice.key"),
                    "-text"], b"hello\n").stdout
    der = w.openssl_encrypts(inside, "bob", "-aes256")
    tap.equal(w.open(smime.encrypted_mail(der), key="bob").verdict, "pass",
              "it passes")

if not w.has_forge:
    tap.skip("node-forge", "there is none here")

with tap.group("thousands of messages"):
    many = [m for m in mails.generate(2200)
            if m.kept and len(m.content) < 600_000]
    signed = w.protect_all([m.content for m in many], sign="alice-ec")
    tap.ok(len(many) > 1500, f"{len(many)} of them")
    bad = [f"{m!r}: {s.words}" for m, s in zip(many, signed)
           if s.outcome != "done"]
    tap.equal(bad[:5], [], "each is signed")
    # Invitations, and what says that it is signed, are left alone.
    ours = [(m, s) for m, s in zip(many, signed)
            if s.words.startswith("smime signed")]
    tap.ok(len(ours) > 1300, f"{len(ours)} of them by us")
    bad = [repr(m) for m, s in ours
           if not is_7bit(s.output.split(b"\r\n\r\n", 1)[1])]
    tap.equal(bad[:5], [], "each is 7bit, or in base64")
    back = w.open_all([s.output for _, s in ours])
    # From is often missing, or another's: what counts is that it fits.
    bad = [f"{m!r}: {b.words}" for (m, _), b in zip(ours, back)
           if b.verdict not in ("pass", "mismatch")]
    tap.equal(bad[:5], [], "each verifies")
    bad = []
    for m, s in ours[::20]:
        if w.openssl_verifies(s.output) is None:
            bad.append(repr(m))
    tap.equal(bad[:5], [], "a twentieth of them also by openssl")

tap.done()
