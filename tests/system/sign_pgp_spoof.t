#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Known ways to fool programs that read OpenPGP mail (EFAIL; "Johnny, you are
fired"; gpg.fail): none gets a "pass", nothing of a tampered plaintext is
delivered, bombs end."""

import base64
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import pgp, tap  # noqa: E402

w = pgp.World()
w.new_ours("alice", "ed25519")
w.new_ours("anna", "ed25519")
w.new_gpg("bob", "ed25519", "cv25519")
w.new_gpg("mallory", "ed25519", "cv25519")

SECRET = b"Content-Type: text/plain\r\n\r\nthe secret is 4711\r\n"
ENTITY = b"Content-Type: text/plain\r\n\r\nI agree.\r\n"


def raw(armored):
    lines = armored.replace(b"\r", b"").split(b"\n\n", 1)[1].splitlines()
    return base64.b64decode(b"".join(x for x in lines
                                     if x and x[:1] not in b"=-"))


def armor(octets, kind="MESSAGE"):
    text = base64.b64encode(octets)
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    return (f"-----BEGIN PGP {kind}-----\n\n".encode() + b"\n".join(lines) +
            f"\n-----END PGP {kind}-----\n".encode())


def packet(tag, body):
    n = len(body)
    size = (bytes([n]) if n < 192 else
            bytes([255]) + n.to_bytes(4, "big"))
    return bytes([0xC0 | tag]) + size + body


def detached(entity, who="bob"):
    return w.gpg(who, ["--armor", "--detach-sign"], entity)


def sealed(plain, who="bob", sign=True, options=()):
    return w.gpg(who, ["--armor", "--encrypt", "-r", w.fingerprint["alice"],
                       *(["--sign"] if sign else []), *options], plain)


def verdict(message, sender="bob", known=("bob",), key="alice"):
    got = w.open(message, key=key, sender=sender, known=known)
    if got.word("outcome") != "done":
        return got.word("outcome"), got
    return got.fact("verdict"), got


def is_untouched(got, message):
    """What was not opened goes on as it came."""
    return got.output.endswith(message.split(b"\r\n\r\n", 1)[1])


GOOD = pgp.signed_mail(ENTITY, detached(ENTITY), "bob")

with tap.group("what is right passes"):
    tap.equal(verdict(GOOD)[0], "pass", "a signature")
    tap.equal(verdict(pgp.encrypted_mail(sealed(SECRET), "bob"))[0], "pass",
              "signed and encrypted")
    got = verdict(pgp.encrypted_mail(sealed(SECRET, sign=False), "bob"))
    tap.equal(got[0], "none", "encrypted alone is not signed")
    tap.ok(b"the secret" in got[1].output, "but read")

with tap.group("signatures that are not what they seem"):
    changed = pgp.signed_mail(ENTITY.replace(b"agree", b"object"),
                              detached(ENTITY), "bob")
    tap.equal(verdict(changed)[0], "fail", "of another text")
    listed = changed.replace(b"Subject:", b"List-Id: <l.example>\r\nSubject:")
    tap.equal(verdict(listed)[0], "modified", "changed by a list")
    tap.equal(verdict(pgp.signed_mail(ENTITY, detached(ENTITY, "mallory"),
                                      "bob"))[0],
              "untrusted", "by a key not known")
    tap.equal(verdict(GOOD.replace(b"bob@", b"carl@"), sender="carl",
                      known=[])[0],
              "untrusted", "by a key that is not that of From")
    tap.ok(verdict(GOOD, sender=None)[0] != "pass", "without one From")
    signed = w.gpg("bob", ["--armor", "--sign"], ENTITY)
    tap.equal(verdict(pgp.signed_mail(
        ENTITY.replace(b"agree", b"object"),
        signed.replace(b"PGP MESSAGE", b"PGP SIGNATURE"), "bob"))[0],
              "fail", "a signed message where a signature should be")
    tap.equal(verdict(pgp.signed_mail(ENTITY, signed, "bob"))[0], "fail",
              "the same under its own name")
    literal = packet(11, b"b\0\0\0\0\0" + ENTITY)
    tap.equal(verdict(pgp.signed_mail(
        ENTITY, armor(literal + raw(detached(ENTITY)), "SIGNATURE"),
        "bob"))[0],
              "fail", "with a text of its own")
    both = raw(detached(ENTITY)) + raw(detached(ENTITY, "mallory"))
    tap.ok(verdict(pgp.signed_mail(ENTITY, armor(both, "SIGNATURE"),
                                   "bob"))[0] != "pass",
           "one of two is by a stranger")
    bad = raw(detached(ENTITY)) + raw(detached(ENTITY + b"x"))
    tap.equal(verdict(pgp.signed_mail(ENTITY, armor(bad, "SIGNATURE"),
                                      "bob"))[0],
              "fail", "one of two is of another text")
    tap.equal(verdict(pgp.signed_mail(
        ENTITY, detached(ENTITY) + detached(ENTITY + b"x"), "bob"))[0],
              "fail", "two armored blocks")
    weak = w.gpg("bob", ["--armor", "--detach-sign", "--digest-algo", "SHA1",
                         "--weak-digest", "MD5"], ENTITY)
    tap.ok(verdict(pgp.signed_mail(ENTITY, weak, "bob"))[0] in
           ("weak", "fail"), "with SHA-1")
    three = GOOD.replace(b"\r\n--outer--", b"\r\n--outer\r\n\r\nmore\r\n"
                         b"--outer--")
    tap.equal(verdict(three)[0], "fail", "a third part")
    tap.equal(verdict(GOOD.replace(
        b"\r\n\r\n--outer", b"\r\n\r\n--outers\r\n\r\nmore\r\n--outer",
        1))[0], "partial", "what may be a part before the first")
    tap.equal(verdict(GOOD.replace(
        b"-----BEGIN", b"--outers\r\n\r\nmore\r\n-----BEGIN",
        1))[0], "partial", "what may be a part around the signature")
    tap.equal(verdict(b"X-A : b\r\n" + GOOD)[0], "partial",
              "a field that may end the header")
    tap.equal(verdict(b"X-A: b\r\n \r\n\tc\r\n" + GOOD)[0], "partial",
              "a line of blanks that may end it")
    tap.ok(verdict(GOOD.replace(b"multipart/signed", b"multipart/mixed"))[0]
           in ("none", "partial"), "not at the root")
    subkey = w.gpg("bob", ["--armor", "--detach-sign", "--faked-system-time",
                           "20400101T000000"], ENTITY)
    tap.ok(verdict(pgp.signed_mail(ENTITY, subkey, "bob"))[0] != "pass",
           "made in the future")

with tap.group("keys that are no good any more"):
    w.gpg("bob", ["--quick-add-uid", w.fingerprint["bob"],
                  "alice <alice@test.example>"])
    w.refresh_gpg("bob")
    tap.ok(verdict(pgp.signed_mail(ENTITY, detached(ENTITY), "alice"),
                   sender="alice", known=["anna"])[0] != "pass",
           "a key with somebody else's address in it")
    old = w.public["mallory"]
    rev = os.path.join(w.home("mallory"), "openpgp-revocs.d",
                       w.fingerprint["mallory"] + ".rev")
    signature = detached(ENTITY, "mallory")
    with open(rev, "rb") as f:
        w.gpg("mallory", ["--import"],
              f.read().replace(b":-----BEGIN", b"-----BEGIN"))
    w.refresh_gpg("mallory")
    tap.ok(w.public["mallory"] != old, "(the key was revoked)")
    tap.equal(verdict(pgp.signed_mail(ENTITY, signature, "mallory"),
                      sender="mallory", known=["mallory"])[0],
              "revoked", "a revoked key")
    got = w.protect(pgp.mail("Content-Type: text/plain\r\n", b"x\r\n"),
                    to=["mallory"])
    tap.ok(got.word("outcome") != "done" and got.output == b"",
           "nothing is encrypted to it")

with tap.group("tampered ciphertext"):
    octets = raw(sealed(SECRET * 2000, sign=False,
                        options=["--compress-algo", "none"]))
    leaked = 0
    for at in (len(octets) - 1, len(octets) - 30, len(octets) // 2,
               len(octets) // 3, 400):
        flipped = bytearray(octets)
        flipped[at] ^= 1
        message = pgp.encrypted_mail(armor(bytes(flipped)), "bob")
        said, got = verdict(message)
        tap.equal(said, "undecryptable", f"a bit at {at}")
        tap.ok(is_untouched(got, message), "it goes on as it came")
        leaked += got.output.count(b"4711")
    for cut in (20, len(octets) // 2):
        message = pgp.encrypted_mail(armor(octets[:-cut]), "bob")
        said, got = verdict(message)
        tap.equal(said, "undecryptable", f"{cut} octets less")
        leaked += got.output.count(b"4711")
    tap.equal(leaked, 0, "nothing of the plaintext is delivered")

with tap.group("without integrity protection"):
    # SEIPD made into SED, as an attacker would.
    head = octets[:octets.index(b"\xd2")] if b"\xd2" in octets else b""
    message = pgp.encrypted_mail(
        armor(head + packet(9, octets[len(head) + 6:])), "bob")
    said, got = verdict(message)
    tap.equal(said, "undecryptable", "it is not opened")
    tap.ok(b"4711" not in got.output, "nor delivered")

with tap.group("messages within messages"):
    plain = packet(11, b"b\0\0\0\0\0" + SECRET)
    signed = raw(w.gpg("bob", ["--armor", "--sign", "--compress-algo",
                               "none"], ENTITY))
    for name, shape in (("an unsigned text behind a signed one",
                         signed + plain),
                        ("an unsigned text before a signed one",
                         plain + signed)):
        # gpg encrypts what it is given as it is: a session of packets.
        message = pgp.encrypted_mail(w.gpg(
            "bob", ["--armor", "--encrypt", "-r", w.fingerprint["alice"],
                    "--no-literal", "--compress-algo", "none"],
            shape), "bob")
        tap.ok(verdict(message)[0] != "pass", name)
    octets = raw(sealed(SECRET))
    tap.equal(verdict(pgp.encrypted_mail(armor(octets + plain), "bob"))[0],
              "undecryptable", "a text behind the encrypted data")
    tap.equal(verdict(pgp.encrypted_mail(armor(plain + octets), "bob"))[0],
              "undecryptable", "a text before it")
    tap.equal(verdict(pgp.encrypted_mail(armor(plain), "bob"))[0],
              "undecryptable", "a text alone")
    tap.equal(verdict(pgp.encrypted_mail(w.gpg(
        "bob", ["--passphrase", "x", "--armor", "--symmetric"], SECRET),
        "bob"))[0],
              "undecryptable", "a pass phrase")

with tap.group("encrypted below the root"):
    inner = sealed(SECRET)
    parts = (b"--x\r\nContent-Type: text/html\r\n\r\n<img src='//m/"
             b"\r\n--x\r\nContent-Type: application/octet-stream\r\n\r\n" +
             pgp.crlf(inner) + b"\r\n--x\r\nContent-Type: text/html\r\n\r\n"
             b"'>\r\n--x--\r\n")
    message = pgp.mail("Content-Type: multipart/mixed; boundary=x\r\n", parts,
                       "bob")
    said, got = verdict(message)
    tap.ok(b"4711" not in got.output, "is not opened (EFAIL)")
    nested = pgp.encrypted_mail(inner, "bob")
    message = pgp.mail("Content-Type: multipart/mixed; boundary=y\r\n",
                       b"--y\r\n" + nested + b"\r\n--y--\r\n", "bob")
    tap.ok(b"4711" not in verdict(message)[1].output,
           "nor a whole encrypted mail in another")
    text = pgp.mail("Content-Type: text/plain\r\n",
                    b"hello\r\n" + pgp.crlf(inner), "bob")
    tap.ok(b"4711" not in verdict(text)[1].output, "nor armor below a text")
    html = pgp.mail("Content-Type: text/html\r\n", pgp.crlf(inner), "bob")
    tap.ok(b"4711" not in verdict(html)[1].output, "nor armor in HTML")

with tap.group("inline PGP as the whole body"):
    message = pgp.mail("Content-Type: text/plain\r\n",
                       pgp.crlf(sealed(b"<b>4711</b>\n")), "bob")
    said, got = verdict(message)
    tap.ok(b"4711" in got.output, "is opened")
    tap.ok(b"Content-Type: text/plain" in got.output, "and stays text")
    clear = w.gpg("bob", ["--clearsign"], b"I agree\n")
    message = pgp.mail("Content-Type: text/plain\r\n", pgp.crlf(clear), "bob")
    said, got = verdict(message)
    tap.ok(said != "pass", "a cleartext signature is no pass")
    tap.ok(is_untouched(got, message), "and stays as it is")

with tap.group("mixed up by Exchange"):
    body = (b"--z\r\nContent-Type: text/plain\r\n\r\n\r\n--z\r\n"
            b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
            b"--z\r\nContent-Type: application/octet-stream\r\n\r\n" +
            pgp.crlf(sealed(SECRET)) + b"\r\n--z--\r\n")
    message = pgp.mail("Content-Type: multipart/mixed; boundary=z\r\n", body,
                       "bob")
    tap.equal(verdict(message)[0], "pass", "is repaired and opened")
    tap.ok(b"4711" not in verdict(message.replace(
        b"\r\n\r\n\r\n--z", b"\r\n\r\nhi\r\n--z"))[1].output,
           "but not with a text in it")
    coded = b"Content-Transfer-Encoding: base64\r\n\r\n"
    body = (b"--z\r\nContent-Type: text/plain\r\n\r\n\r\n--z\r\n"
            b"Content-Type: application/pgp-encrypted\r\n" + coded +
            base64.encodebytes(b"Version: 1\r\n").replace(b"\n", b"\r\n") +
            b"--z\r\nContent-Type: application/octet-stream\r\n" + coded +
            base64.encodebytes(sealed(SECRET)).replace(b"\n", b"\r\n") +
            b"--z--\r\n")
    message = pgp.mail("Content-Type: multipart/mixed; boundary=z\r\n", body,
                       "bob")
    said, got = verdict(message)
    tap.equal(said, "pass", "also with its parts in base64")
    tap.ok(b"4711" in got.output, "which is read")

with tap.group("within encryption that does not show changes"):
    def within(message, known=("bob",)):
        return w.open(message, key="alice", sender="bob", known=known,
                      facts=["integrity=none"])

    got = within(GOOD)
    tap.equal((got.word("outcome"), got.fact("verdict"),
               got.fact("integrity")), ("done", "pass", "none"),
              "a signature that fits is as good as ever")
    for what, message, known in (
            ("of another text", changed, ["bob"]),
            ("changed by a list", listed, ["bob"]),
            ("by a key not known", GOOD, []),
            ("with a third part", three, ["bob"])):
        got = within(message, known)
        tap.equal((got.word("outcome"), got.output), ("hold", b""),
                  f"{what}: held, and nothing gets out")
    got = within(pgp.encrypted_mail(sealed(SECRET), "bob"))
    tap.equal((got.word("outcome"), got.fact("verdict")), ("done", "pass"),
              "encrypted once more")

with tap.group("what a private key was used for"):
    message = pgp.encrypted_mail(sealed(SECRET), "bob")
    tap.equal(verdict(message)[1].fact("secret"), "used", "to open it")
    octets = bytearray(raw(sealed(SECRET)))
    octets[-1] ^= 1
    message = pgp.encrypted_mail(armor(bytes(octets)), "bob")
    tap.equal(verdict(message)[1].fact("secret"), "used", "to try it")
    message = pgp.encrypted_mail(sealed(SECRET), "bob")
    tap.ok(not verdict(message, key="anna")[1].fact("secret"),
           "not where it names another one's key")
    message = pgp.encrypted_mail(armor(bytes(octets[:40])), "bob")
    tap.ok(not verdict(message)[1].fact("secret"), "nor where it is damaged")

with tap.group("somebody else's mail"):
    message = pgp.encrypted_mail(sealed(SECRET), "bob")
    said, got = verdict(message, key="anna")
    tap.equal(said, "undecryptable", "is not opened for another recipient")
    tap.ok(is_untouched(got, message), "and goes on as it came")
    tap.equal(verdict(message, key=None)[0], "undecryptable",
              "nor for one without a key")

with tap.group("a compression bomb"):
    bomb = sealed(b"\0" * 200_000_000, sign=False)
    tap.ok(len(bomb) < 1_000_000, "is small")
    got = w.open(pgp.encrypted_mail(bomb, "bob"), key="alice", sender="bob",
                 known=["bob"], limit=1_000_000)
    tap.equal(got.fact("verdict"), "undecryptable", "is not opened")
    tap.ok(len(got.output) < 1_000_000, "and takes no room")
    tap.ok(tap.wait_until(lambda: subprocess.run(
        ["pgrep", "-f", w.ours], capture_output=True,
        check=False).stdout == b"", what="the end of gpg"),
           "no gpg stays behind")

with tap.group("keys that are refused"):
    def reason(data):
        done = w.tool("facts", w.file("key", data), ok=False)
        return done.stderr.decode() if done.returncode else ""

    good = w.public["bob"]
    tap.equal(reason(good), "", "a good one is not")
    binary = raw(good)
    tap.ok("2 keys" in reason(binary + raw(w.public["anna"])), "two in a file")
    tap.ok("version 3" in reason(packet(6, b"\x03" + binary[3:60])),
           "one of version 3")
    tap.ok("type 8" in reason(packet(8, b"\1" + binary)), "a compressed one")
    tap.ok("secret" in reason(w.gpg("bob", ["--armor",
                                            "--export-secret-keys"])),
           "a secret one among others' keys")
    image = packet(17, packet(1, b"\x10\0\1\1" + b"\0" * 12 +
                              b"J" * 100_000)[1:])
    tap.ok("images" in reason(binary + image), "one with a large image")
    tap.ok("too large" in reason(binary + b"\xd5" * 600_000) or
           reason(binary + b"\xd5" * 600_000) != "", "one too large")
    tap.ok(reason(good.replace(good[200:204], b"!!!!")) != "",
           "one that is damaged")
    w.new_gpg("small", "rsa1024", "rsa1024")
    tap.ok("too weak" in reason(w.public["small"]), "a weak one")
    tap.ok("revoked=1" in w.tool("facts", w.file(
        "key", w.public["mallory"])).stdout.decode(),
           "a revoked one is told")

w.close()
tap.done()
