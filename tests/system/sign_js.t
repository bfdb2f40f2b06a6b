#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Libraries of node on the other side: pkijs verifies and decrypts our S/MIME
and we what it makes; mailauth verifies our DKIM.  (node-forge is in
sign_smime.t, OpenPGP.js in sign_pgp.t.)"""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import dkims, js, peer, smime, tap  # noqa: E402
from lib.dkims import DOMAIN, FROM, TO  # noqa: E402

MAILS = {
    "8bit text with blanks at line ends": smime.mail(
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n",
        "Grüße \r\nFrom here on\r\n-- \r\nalice\r\n".encode()),
    "a line of 5000 octets": smime.mail(
        "Content-Type: text/html; charset=us-ascii\r\n",
        b"<p>" + b"x" * 5000 + b"</p>\r\n"),
    "a forwarded message": smime.mail(
        "Content-Type: multipart/mixed; boundary=c\r\n",
        b"--c\r\n\r\nhello\r\n--c\r\nContent-Type: message/rfc822\r\n\r\n"
        b"From: x@y.example\r\nSubject: inner\r\n\r\nbody\r\n--c--\r\n"),
    "300 KB": smime.mail("Content-Type: text/plain\r\n",
                         b"0123456789 abcdef\r\n" * 17000),
}
KINDS = {"alice": "rsa", "alice-ec": "ec", "bob": "rsa", "bob-ec": "ec"}


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


# ---- pkijs ----

def make_world():
    w = smime.World()
    for name, kind in KINDS.items():
        w.person(name, kind, name.replace("alice-ec", "alice") +
                 ("@example.org" if "alice" in name else "@example.net"))
    return w


def key_of(w, name):
    """PKCS #8, which WebCrypto reads."""
    return w.run(["openssl", "pkcs8", "-topk8", "-nocrypt", "-in",
                  w.path(name + ".key")]).stdout.decode()


def pkijs_verifies(w):
    ca = read(w.path("ca.pem"))
    asked, labels, wanted = [], [], []
    for what, content in MAILS.items():
        for name in ("alice", "alice-ec"):
            entity, signature = smime.parts_of(
                w.protect(content, sign=name).output)
            opaque = w.protect(content, sign=name, options=smime.OPAQUE)
            der = smime.der_of(signature)
            for label, extra, good in (
                    ("", {"der": der, "text": entity}, True),
                    (", changed", {"der": der, "text": entity + b"x"}, False),
                    (", opaque", {"der": smime.der_of(
                        smime.entity_of(opaque.output))}, True)):
                asked.append({"verb": "verify", "ca": ca, **extra})
                labels.append(f"{name}: {what}{label}")
                wanted.append(good)
    for label, good, answer in zip(labels, wanted, js.pkijs(asked)):
        if not tap.equal(answer.get("verified", False), good,
                         f"{label}: {'it verifies' if good else 'it fails'}"):
            tap.diag(answer)


def pkijs_decrypts(w):
    asked, labels, plain = [], [], []
    for what, content in MAILS.items():
        for name in ("bob", "bob-ec"):
            got = w.protect(content, to=[name])
            asked.append({"verb": "decrypt", "kind": KINDS[name],
                          "cert": read(w.path(name + ".pem")),
                          "key": key_of(w, name), "der": smime.der_of(
                              smime.entity_of(got.output))})
            labels.append(f"to {name}: {what}")
            plain.append(w.openssl_decrypts(got.output, name))
    for label, answer, want in zip(labels, js.pkijs(asked), plain):
        if not tap.equal(answer.get("text"), want, label):
            tap.diag(answer.get("error"))


def pkijs_makes(w):
    entity = smime.entity_of(MAILS["a forwarded message"])
    asked = []
    for name in ("alice", "alice-ec"):
        for detached in (True, False):
            asked.append({"verb": "sign", "text": entity, "kind": KINDS[name],
                          "cert": read(w.path(name + ".pem")), "name": name,
                          "key": key_of(w, name), "detached": detached})
    for name in ("bob", "bob-ec"):
        asked.append({"verb": "encrypt", "text": entity, "name": name,
                      "kind": KINDS[name], "cipher": "AES-CBC",
                      "cert": read(w.path(name + ".pem"))})
    for ask, answer in zip(asked, js.pkijs(asked)):
        label = f"{ask['verb']} {ask['name']} {ask.get('detached', '')}"
        if "error" in answer:
            tap.fail(f"pkijs makes {label}: {answer['error']}")
        elif ask["verb"] == "encrypt":
            got = w.open(smime.encrypted_mail(answer["der"]),
                         key=ask["name"])
            if not tap.ok(b"body\r\n--c--" in got.output, f"we open: {label}"):
                tap.diag(got.words)
        else:
            made = smime.signed_mail(entity, answer["der"]) \
                if ask["detached"] else smime.encrypted_mail(answer["der"])
            got = w.open(made)
            if not tap.equal(got.verdict, "pass", f"we verify: {label}"):
                tap.diag(got.words)
            if ask["detached"]:
                got = w.open(smime.signed_mail(entity + b"x", answer["der"]))
                tap.equal(got.verdict, "fail", "changed, it does not")


def pkijs_odd(w):
    """A tag belongs into AuthEnvelopedData (RFC 5083); pkijs puts it into
    EnvelopedData, which nobody can check."""
    [answer] = js.pkijs([{"verb": "encrypt", "kind": "ec",
                          "cipher": "AES-GCM", "cert": read(
                              w.path("bob-ec.pem")),
                          "text": smime.entity_of(MAILS["300 KB"])}])
    got = w.open(smime.encrypted_mail(answer["der"]), key="bob-ec")
    tap.equal(got.verdict, "undecryptable", f"it stays shut: {got.words}")


if js.has("pkijs") and js.has("node-forge"):
    world = make_world()
    with tap.group("pkijs verifies ours"):
        pkijs_verifies(world)
    with tap.group("pkijs decrypts ours"):
        pkijs_decrypts(world)
    with tap.group("we read what pkijs makes"):
        pkijs_makes(world)
    with tap.group("AES-GCM where it does not belong"):
        pkijs_odd(world)
else:
    tap.skip("pkijs, node-forge", "they are not unpacked (tests/deps peers)")


# ---- mailauth ----


class Signer:
    """postern-signerd, with the test as its confd and its queued."""

    def __init__(self):
        self.p = peer.Program("signerd", peers=("queued",))
        self.queued = self.p.accept("queued")
        self.number = 0
        self.manage("key.dkim.new", domain=DOMAIN)
        while not self.queued.read().values.get("dkim_domains"):
            pass
        self.records = {}
        for row in self.manage("key.dkim.list", domain=DOMAIN)["keys"]:
            shown = self.manage("key.dkim.show", key=str(row["id"]))
            self.records[shown["record_name"].rstrip(".")] = \
                shown["record_value"]

    def manage(self, verb, **arguments):
        number = self.p.confd.post("MGMT_REQUEST", verb=verb, actor="test",
                                   arguments=json.dumps(arguments))
        reply = self.p.confd.take(number)
        if reply["code"] != 0:
            raise RuntimeError(reply["body"])
        return json.loads(reply["body"])

    def sign(self, content):
        self.number += 1
        self.queued.send(
            "SIGN_JOB", message_id=self.number, attempt=1, direction=0,
            dkim=2, reverse_path=FROM, header_from=FROM,
            size_octets=len(content), content=content,
            recipients=[{"number": 0, "address": TO}])
        output = b""
        while True:
            frame = self.queued.read()
            if frame.name == "SIGN_OUTPUT":
                output = (frame.values["content"] +
                          content[:frame.values["follows_octets"]])
            elif frame.name == "SIGN_RESULT":
                return output


def mailauth_verifies():
    s = Signer()
    signed = {what: s.sign(content) for what, content in dkims.MAILS.items()}
    good = [("ed25519-sha256", "pass", DOMAIN, False),
            ("rsa-sha256", "pass", DOMAIN, False)]
    found = js.mailauth(list(signed.values()), s.records)
    for what, answer in zip(signed, found):
        tap.equal(sorted(answer), good, f"{what}: both signatures")
    message = signed["a plain one"]
    changes = {
        "its body": ("neutral", message.replace(b"Hello.", b"Hallo.")),
        "a field": ("fail", message.replace(b"a  folded", b"b  folded")),
        "a From more": ("fail", message.replace(
            b"\r\nTo:", b"\r\nFrom: eve@example.org\r\nTo:", 1)),
        "a Reply-To more": ("fail", message.replace(
            b"\r\nTo:", b"\r\nReply-To: eve@example.org\r\nTo:", 1)),
    }
    found = js.mailauth([changed for _, changed in changes.values()],
                        s.records)
    for (what, (verdict, _)), answer in zip(changes.items(), found):
        tap.equal([one[1] for one in answer], [verdict] * 2,
                  f"changed, {what}")
    [answer] = js.mailauth([message], {})
    tap.equal([one[1] for one in answer], ["neutral"] * 2,
              "nor without the records")


if js.has("mailauth"):
    with tap.group("mailauth verifies our DKIM"):
        mailauth_verifies()
else:
    tap.skip("mailauth", "it is not unpacked (tests/deps peers)")
tap.done()
