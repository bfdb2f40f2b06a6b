#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Published test vectors (tests/system/data/README.md): the keys and
certificates of RFC 9216, the messages of RFC 9788 and of the drafts before
it, S/MIME and PGP/MIME.  Each opens and verifies as its document
says; changed, none does."""

import base64
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import peer, pgp, tap, vectors  # noqa: E402

ALICE, BOB = "alice@smime.example", "bob@smime.example"
EVE = "Eve <eve@smime.example>"
CA = vectors.path("rfc9216", "ca.rsa.pem")
# What an old client would have to show of a draft's and RFC 8551's form.
HIDDEN = "[...]"
SIGNED_SUBJECT = "BarCorp contract signed, let's go!"


def of_9216(name):
    return vectors.path("rfc9216", name)


BOB_KEY = (of_9216("bob.encrypt.pem"), of_9216("bob.encrypt.key"))

# name: whether its payload protects its Subject (RFC 9788 §2.1)
SIGNED = {
    "smime-one-part": False, "smime-multipart": False,
    "smime-one-part-complex": False, "smime-multipart-complex": False,
    "smime-one-part-hp": True, "smime-multipart-hp": True,
    "smime-one-part-complex-hp": True, "smime-multipart-complex-hp": True,
    "smime-one-part-complex-rfc8551hp": False,
    "smime-multipart-complex-rfc8551hp": False,
}
# name: the Subject that its reader gets
SEALED = {
    "smime-signed-enc": "smime-signed-enc",
    "smime-signed-enc-complex": "smime-signed-enc-complex",
    "smime-signed-enc-hp-baseline": None,
    "smime-signed-enc-hp-baseline-legacy": None,
    "smime-signed-enc-hp-shy": None,
    "smime-signed-enc-hp-shy-legacy": None,
    "smime-signed-enc-hp-baseline-reply": None,
    "smime-signed-enc-hp-baseline-legacy-reply": None,
    "smime-signed-enc-hp-shy-reply": None,
    "smime-signed-enc-hp-shy-legacy-reply": None,
    "smime-signed-enc-complex-hp-baseline": None,
    "smime-signed-enc-complex-hp-baseline-legacy": None,
    "smime-signed-enc-complex-hp-shy": None,
    "smime-signed-enc-complex-hp-shy-legacy": None,
    "smime-signed-enc-complex-hp-baseline-reply": None,
    "smime-signed-enc-complex-hp-baseline-lgc-rpl": None,
    "smime-signed-enc-complex-hp-shy-reply": None,
    "smime-signed-enc-complex-hp-shy-legacy-reply": None,
    # A message within: what its fields say is shown there.
    "smime-enc-signed-complex-rfc8551hp-baseline": HIDDEN,
}
DRAFTS = {"smime-multipart-wrapped": False, "smime-multipart-injected": True}


def opened(messages, keys=(BOB_KEY,), anchors=(CA,)):
    return vectors.open_smime(messages, anchors, keys)


def opened_one(content, **how):
    return opened([content], **how)[0]


def passes(content, what, keys=(BOB_KEY,)):
    got = opened_one(content, keys=keys)
    if not tap.equal((got.outcome, got.verdict), ("done", "pass"), what):
        tap.diag(got.words)
    return got


def never_passes(messages, what, **how):
    """Nor is anything of their plaintext shown."""
    bad = []
    messages = list(messages)
    for (label, content), got in zip(messages, opened(
            [content for _, content in messages], **how)):
        if got.outcome not in ("done", "hold") or got.verdict == "pass":
            bad.append((label, got.outcome, got.verdict, got.words))
        elif got.verdict == "undecryptable" or got.outcome == "hold":
            if vectors.body(got.output) != vectors.body(content):
                bad.append((label, "its body is another one"))
    tap.equal(bad, [], f"{what} ({len(messages)})")


# ---- RFC 9788 ----

def where_signed(content):
    """Places in its CMS that the signature is about."""
    size = len(vectors.cms_of(content)[0])
    # The signature, its attributes; and of an opaque one the content.
    places = [-1, -100, -256, -290, -330, -370]
    if b"smime-type=\"signed-data\"" in content:
        places += range(120, min(size - 2600, 1500), 150)
    return places


def altered(content, name):
    """Kinds of forgery, by name."""
    yield "another sender", vectors.change_field(content, "From", EVE)
    yield "two senders", content.replace(
        b"\r\nTo:", f"\r\nFrom: {EVE}\r\nTo:".encode(), 1)
    for at in where_signed(content):
        yield f"octet {at} of its CMS", vectors.flipped(content, at)
    if b"multipart/signed" in content:
        yield "its text", content.replace(b"This is the", b"This is thy", 1)
        yield "an empty line more", content.replace(
            b"message.\r\n\r\n", b"message.\r\n\r\n\r\n", 1)
        yield "its signature's type", content.replace(
            b"application/pkcs7-signature; name", b"text/plain; name")
    yield "within another message", (
        f"From: {EVE}\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=other\r\n\r\n--other\r\n\r\n"
        f"{name}\r\n--other\r\n").encode() + content + b"\r\n--other--\r\n"
    yield "as a part of the same sender's", (
        f"From: {ALICE}\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=other\r\n\r\n--other\r\n\r\n"
        f"{name}\r\n--other\r\n").encode() + content + b"\r\n--other--\r\n"


def check_signed(folder, name, protects_subject):
    content = vectors.message(folder, name)
    got = passes(content, f"{name} verifies")
    tap.ok(got.output.endswith(vectors.body(content)),
           "and goes on with its signature")
    tap.equal(vectors.field(got.output, "Subject"), name,
              "its Subject is as it was")
    changed = vectors.change_field(content, "Subject", "not what she wrote")
    got = opened_one(changed)
    tap.equal(vectors.field(got.output, "Subject"),
              name if protects_subject else "not what she wrote",
              "a Subject changed on its way is " +
              ("the signed one again" if protects_subject else "nobody's"))
    got = opened_one(content, anchors=())
    tap.equal(got.verdict, "untrusted", "without its CA it is not trusted")
    never_passes(altered(content, name), "whatever is changed, it fails")


def signed():
    for name, protects_subject in SIGNED.items():
        with tap.group(f"RFC 9788: {name}"):
            check_signed("rfc9788", name, protects_subject)
    for name, protects_subject in DRAFTS.items():
        with tap.group(f"a draft of RFC 9788: {name}"):
            check_signed("protected-headers", name, protects_subject)
    with tap.group("RFC 9788: signatures of each other's"):
        many = [vectors.message("rfc9788", name) for name in SIGNED
                if "multipart" in name]
        mixed = [(str(i), vectors.with_cms(
            a, vectors.cms_of(many[(i + 1) % len(many)])[0]))
            for i, a in enumerate(many)]
        never_passes(mixed, f"{len(mixed)} of them")
    with tap.group("RFC 9788: without protection"):
        for name in vectors.names("rfc9788", "no-crypto"):
            got = opened_one(vectors.message("rfc9788", name))
            tap.equal((got.outcome, got.verdict), ("done", "none"), name)


def sealed():
    for name, subject in SEALED.items():
        with tap.group(f"RFC 9788: {name}"):
            content = vectors.message("rfc9788", name)
            check_sealed(name, content, subject or name)


def check_sealed(name, content, subject):
    got = passes(content, "Bob's key opens it, and it verifies")
    out = got.output
    tap.equal(vectors.field(out, "Subject"), subject, "its Subject")
    tap.equal(vectors.field(out, "Message-ID"), f"<{name}@example>",
              "its Message-ID")
    if "hp-" in name and "rfc8551" not in name:
        # From stays what policy went by; the address inside is the same.
        tap.equal((vectors.field(out, "From"), vectors.field(out, "To")),
                  (vectors.field(content, "From"), f"Bob <{BOB}>"),
                  "its To is that inside")
        tap.ok((vectors.field(out, "Date") or "").endswith("-0500"),
               "and its Date")
    # One whose name would have been too long.
    full_name = name.replace("-lgc-rpl", "-legacy-reply")
    if full_name.endswith("-reply"):
        tap.equal(vectors.field(out, "In-Reply-To"),
                  f"<{full_name[:-len('-reply')]}@example>",
                  "and what it answers")
    tap.ok("smime=pass" in (vectors.field(out, "Authentication-Results")
                            or ""), "the verdict is told")
    tap.ok("enc=smime/aes-128-cbc" in (
        vectors.field(out, "X-Postern-Crypto") or ""), "and its cipher")
    inside = vectors.openssl("cms", "-verify", "-CAfile", CA, "-purpose",
                             "smimesign", "-in", vectors.save(out), ok=False)
    tap.ok(inside is not None and name.encode() in inside,
           "openssl verifies what is delivered")
    got = opened_one(content, keys=())
    tap.equal(got.verdict, "undecryptable", "without the key it stays shut")
    tap.equal(vectors.body(got.output), vectors.body(content), "as it came")
    got = opened_one(content, anchors=())
    tap.equal(got.verdict, "untrusted", "without its CA it is not trusted")
    size = len(vectors.cms_of(content)[0])
    start = start_of_text(content)
    forged = [(f"octet {at} of {size}", vectors.flipped(content, at))
              for at in (*range(start, size, (size - start) // 20), -1, -17,
                         -40, start - 200)]
    forged += [("another sender", vectors.change_field(
        content, "From", EVE)), ("cut", vectors.with_cms(
            content, vectors.cms_of(content)[0][:-16]))]
    never_passes(forged, "whatever is changed, it does not")


def start_of_text(content):
    """Where in the CMS its ciphertext starts, which goes on to the end.
    Before it stand the keys: one of Alice's own, who may read it, too."""
    der = vectors.cms_of(content)[0]
    at = der.index(bytes.fromhex("06092a864886f70d010701 30")) + 12
    at += 1 + der[at]
    if der[at:at + 2] != b"\x80\x82":
        raise ValueError("no ciphertext where it is looked for")
    return at + 4


# ---- the drafts before, with keys of their own ----

def drafts():
    folder = "protected-headers"
    ca = vectors.path(folder, "ca.pem")
    with open(vectors.path(folder, "bob.p12"), "rb") as f:
        armored = f.read().split(b"-----")[2]
    pem = vectors.save(vectors.openssl(
        "pkcs12", "-legacy", "-passin", "pass:", "-nodes",
        data=base64.b64decode(armored)))
    keys = ((pem, pem),)
    for name in ("smime-onepart-signed", "smime-multipart-signed"):
        with tap.group(f"protected headers, a draft: {name}"):
            content = vectors.message(folder, name)
            got = opened_one(content, anchors=(ca,))
            if not tap.equal(got.verdict, "pass", "it verifies"):
                tap.diag(got.words)
            forged = [("sender", vectors.change_field(content, "From", EVE)),
                      ("signature", vectors.flipped(content, -20))]
            never_passes(forged, "changed, it does not", anchors=(ca,))
    for name, verdict in (("smime-sign+enc", "pass"),
                          ("smime-sign+enc+legacy-disp", "pass"),
                          ("smime-enc+legacy-disp", "none")):
        with tap.group(f"protected headers, a draft: {name}"):
            content = vectors.message(folder, name)
            got = opened_one(content, keys=keys, anchors=(ca,))
            if not tap.equal((got.outcome, got.verdict), ("done", verdict),
                             "its key opens it"):
                tap.diag(got.words)
            tap.equal(vectors.field(got.output, "Subject"), SIGNED_SUBJECT,
                      "with the Subject inside")
            start = start_of_text(content)
            size = len(vectors.cms_of(content)[0])
            forged = [(str(at), vectors.flipped(content, at))
                      for at in range(start, size, (size - start) // 12)]
            never_passes(forged, "changed, it is no pass", keys=keys,
                         anchors=(ca,))


def pgp_mime():
    folder = "protected-headers"
    w = pgp.World()
    address = "alice@openpgp.example"
    w.tool("import", "alice", vectors.path(folder, "alice.asc"), "")
    known = w.file("alice.pub", w.tool("public", "alice").stdout)

    def take(content, keys=("--key", "alice"), sender=address):
        done = w.tool("open", *keys, "--from", sender, "--known", known,
                      data=content, ok=False)
        return pgp.Answer(done.stdout, done.stderr.decode())

    for name, subject in (("pgpmime-signed", "The FooCorp contract"),
                          ("pgpmime-sign+enc", SIGNED_SUBJECT),
                          ("pgpmime-layered", SIGNED_SUBJECT)):
        with tap.group(f"protected headers, a draft: {name}"):
            content = vectors.message(folder, name)
            got = take(content)
            if not tap.equal(got.fact("verdict"), "pass",
                             "it opens and verifies"):
                tap.diag(got.notes)
            tap.equal(vectors.field(got.output, "Subject"), subject,
                      "with the Subject inside")
            tap.contains(got.text, f"(this is the '{name}' message)",
                         "and its text")
            if name != "pgpmime-signed":
                got = take(content, keys=())
                tap.equal(got.fact("verdict"), "undecryptable",
                          "without the key it stays shut")
            tap.equal(take(content.replace(
                b"From: Alice Lovelace <alice@", b"From: <eve@"),
                sender="eve@openpgp.example").fact("verdict") == "pass",
                False, "nor does it pass for another sender")
            bad = [at for at, changed in armor_changes(content)
                   if take(changed).fact("verdict") == "pass"]
            tap.equal(bad, [], "changed, it does not pass")
    w.close()


def armor_changes(content):
    """One character of the armored octets is another one."""
    start = content.index(b"\r\n\r\n", content.index(b"BEGIN PGP")) + 4
    end = content.index(b"\r\n-----END PGP")
    for at in range(start + 40, end - 10, (end - start) // 7):
        while not content[at:at + 1].isalnum():
            at += 1
        other = b"A" if content[at:at + 1] != b"A" else b"B"
        yield at, content[:at] + other + content[at + 1:]


# ---- RFC 9216, in the signer itself ----

class Signer:
    """postern-signerd, with the test as its confd and its queued."""

    def __init__(self):
        self.p = peer.Program("signerd", peers=("queued",))
        self.queued = self.p.accept("queued")
        self.outcomes = self.p.tables.words("sign_outcome")
        self.number = 0

    def manage(self, verb, **arguments):
        number = self.p.confd.post("MGMT_REQUEST", verb=verb, actor="test",
                                   arguments=json.dumps(arguments))
        reply = self.p.confd.take(number)
        return reply["code"], json.loads(reply["body"])

    def give(self, verb, name, **arguments):
        with open(of_9216(name), "rb") as f:
            text = base64.b64encode(f.read()).decode()
        return self.manage(verb, text=text, **arguments)

    def open(self, content, recipient=BOB):
        """(outcome, what was applied, output)"""
        self.number += 1
        self.queued.send(
            "SIGN_JOB", message_id=self.number, attempt=1, direction=1,
            reverse_path=ALICE, header_from=ALICE, size_octets=len(content),
            recipients=[{"number": 0, "address": recipient}],
            content=content)
        output = None
        while True:
            frame = self.queued.read()
            if frame.values.get("message_id") != self.number:
                continue
            if frame.name == "SIGN_OUTPUT":
                output = (frame.values["content"] +
                          content[:frame.values["follows_octets"]])
            elif frame.name == "SIGN_RESULT":
                return (self.outcomes[frame.values["outcome"]],
                        frame.values["recipients"], output)


def imported():
    s = Signer()
    with tap.group("RFC 9216: the certificates of RSA"):
        code, body = s.give("key.anchor.add", "ca.rsa.pem")
        tap.equal(code, 0, f"its CA is one to trust: {body}")
        for name in ("alice.sign.pem", "alice.encrypt.pem"):
            code, body = s.give("key.smime.import", name)
            tap.equal((code, body.get("addresses")), (0, [ALICE]),
                      f"{name} is a correspondent's")
    with tap.group("RFC 9216: Bob's PKCS #12"):
        for number in (1, 2):
            code, body = s.give("key.smime.import", "bob.p12",
                                password="bob", number=number)
            tap.equal((code, body.get("is_ours"), body.get("addresses")),
                      (0, True, [BOB]), f"key {number} of it: {body}")
        code, body = s.give("key.smime.import", "bob.p12", password="bill",
                            number=1)
        tap.ok(code != 0, f"not with another pass phrase: {body}")
    with tap.group("RFC 9216: Ed25519 and X25519"):
        rows = s.manage("key.smime.list")[1]["keys"]
        for name in ("carlos.sign.pem", "carlos.encrypt.pem",
                     "dana.sign.pem", "dana.encrypt.pem"):
            code, body = s.give("key.smime.import", name)
            tap.ok(code != 0 and "cannot be used for mail" in str(body),
                   f"{name} is refused: {body}")
        for name in ("carlos", "dana"):
            for number in (1, 2):
                code, body = s.give("key.smime.import", name + ".p12",
                                    password=name, number=number)
                tap.ok(code != 0 and "cannot be used for mail" in str(body),
                       f"{name}.p12, key {number}, is refused: {body}")
        tap.equal(s.manage("key.smime.list")[1]["keys"], rows,
                  "nothing of them is stored")
    with tap.group("RFC 9788: opened by the signer with Bob's key"):
        for name, subject in SEALED.items():
            content = vectors.message("rfc9788", name)
            outcome, rows, output = s.open(content)
            tap.equal((outcome, [r["output"] for r in rows],
                       vectors.field(output or b"\r\n\r\n", "Subject")),
                      ("SIGNED_DONE", [1], subject or name), name)
            tap.contains(vectors.field(output, "X-Postern-Crypto") or "",
                         "sig=pass", "it verifies")
            outcome, rows, output = s.open(content, "bill@smime.example")
            tap.contains(vectors.field(output or content,
                                       "X-Postern-Crypto") or "",
                         "undecryptable", "for another recipient it is shut")
        for name in SIGNED:
            outcome, rows, output = s.open(vectors.message("rfc9788", name))
            tap.contains(vectors.field(output or b"\r\n\r\n",
                                       "X-Postern-Crypto") or "",
                         "sig=pass", f"{name} verifies")


def ours():
    """What we make with their keys, openssl reads."""
    text = (f"From: Alice <{ALICE}>\r\nTo: Bob <{BOB}>\r\nSubject: x\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello.\r\n"
            ).encode()
    with tap.group("RFC 9216: made by us"):
        got = vectors.protect_smime(
            text, sign=(of_9216("alice.sign.pem"), of_9216("alice.sign.key")),
            to=[BOB_KEY[0]])
        tap.equal(got.outcome, "done", f"Alice to Bob: {got.words}")
        inside = vectors.openssl("cms", "-decrypt", "-in",
                                 vectors.save(got.output), "-recip",
                                 *BOB_KEY[:1], "-inkey", BOB_KEY[1])
        entity = vectors.openssl("cms", "-verify", "-in",
                                 vectors.save(inside), "-CAfile", CA,
                                 "-purpose", "smimesign")
        tap.contains(entity or b"", b"Hello.", "openssl reads it")
        for name in ("carlos.encrypt.pem", "dana.encrypt.pem"):
            got = vectors.protect_smime(text, to=[of_9216(name)])
            tap.equal((got.outcome, got.output), ("permanent", b""),
                      f"to {name}: {got.words}")


signed()
sealed()
drafts()
pgp_mime()
ours()
imported()
tap.done()
