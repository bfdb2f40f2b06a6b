#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Signed and encrypted mail through the whole gateway, out and in: what
leaves is verified and decrypted by openssl, gpg and dkimpy, what they made
arrives opened, and trace and explain tell what happened."""

import email
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import dsns, people, scene, smtp, tap  # noqa: E402

try:
    import dkim
except ImportError:
    dkim = None

ANNA, OTTO = "anna@example.test", "otto@example.test"
NINA = "nina@plain.test"
# Each stands for one way of protection.
SIGNED, OPAQUE = "signed@dest.test", "opaque@dest.test"
BOB, BERT = "bob@dest.test", "bert@dest.test"
CARL, CLEO, EVE = "carl@dest.test", "cleo@dest.test", "eve@dest.test"
NOBODY, ALL = "nobody@dest.test", "all@dest.test"
SECRET, HIDDEN = "the answer is forty-two, grüße", "about the answer"
TEXT = "Content-Type: text/plain; charset=utf-8\r\n" \
       "Content-Transfer-Encoding: 8bit\r\n"

s = scene.Scene(settings={"smtp.client_rate": 100000,
                          "smtp.network_rate": 100000, "fetch.wkd": "off"})
gw = s.gw
gw.cli("domain", "add", "plain.test", "--to", f"127.0.0.1:{s.inner.port}")
s.add_user("nina", NINA)
s.start()
p = people.People()
records = {}
ours = {}


def submit(to, content, user="anna"):
    sender = NINA if user == "nina" else ANNA
    with s.login(user) as c:
        return c.submit(sender, to, content, "BODY=8BITMIME")


def letter(to, subject="hello", body=SECRET, extra="", sender=ANNA,
           kind=TEXT):
    to = ", ".join([to] if isinstance(to, str) else to)
    return (f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n"
            "Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
            f"Message-ID: <{next(scene._serial)}@test.invalid>\r\n{extra}"
            f"MIME-Version: 1.0\r\n{kind}\r\n{body}\r\n").encode()


def has_dkim(message, what):
    """Both signatures, over the message as it arrived."""
    if dkim is None:
        tap.skip(f"{what}: DKIM", "dkimpy is not installed")
        return
    content = message.content
    count = content.lower().count(b"dkim-signature:")
    good = [dkim.DKIM(content).verify(
        idx=i, dnsfunc=lambda name, timeout=5: records.get(
            name.decode(), "").encode()) for i in range(count)]
    tap.equal(good, [True, True], f"{what}: DKIM over all of it")


def is_secret(message):
    return (SECRET.encode() not in message.content
            and b"forty-two" not in message.content)


def explained(to, *words, sender=ANNA):
    return gw.json("explain", "--from", sender, "--to", to, *words)["outcome"]


def applied(reply):
    """What trace says that was applied, and by which method."""
    return [(e["applied"], e["method"].split(" ")[0]) for e in
            s.life(smtp.message_id(reply)) if e["event"] == "protected"]


def set_up():
    gw.cli("key", "dkim", "new", "example.test")
    for row in gw.json("key", "dkim", "list", "example.test")["keys"]:
        shown = gw.json("key", "dkim", "show", str(row["id"]))
        records[shown["record_name"].rstrip(".") + "."] = \
            shown["record_value"]
    gw.cli("ca", "new", "Example CA")
    ours["ca"] = p.file(gw.cli("ca", "show").encode())
    key = gw.json("key", "smime", "new", ANNA)
    ours["smime"] = p.file(gw.cli(
        "key", "smime", "export", str(key["id"])).encode())
    key = gw.json("key", "pgp", "new", ANNA)
    ours["pgp"] = key["fingerprint"]
    p.pgp_knows(gw.cli("key", "pgp", "export", str(key["id"])).encode())
    for name in ("bob", "bert"):
        p.new_smime(name, f"{name}@dest.test")
    for name in ("carl", "cleo", "eve"):
        p.new_pgp(name, f"{name}@dest.test")
    p.introduce(gw)
    for to, words in (
            (SIGNED, "sign required"), (OPAQUE, "sign required opaque on"),
            (BOB, "sign required encrypt required"),
            (BERT, "sign required encrypt required protect-subject on"),
            (CARL, "sign required encrypt required"),
            (CLEO, "sign required encrypt required"),
            (EVE, "sign required encrypt required"),
            (NOBODY, "encrypt required"), (ALL, "encrypt required-all"),
            ("tagged@dest.test", "encrypt on-trigger"),
            ("easy@dest.test", "sign if-possible")):
        gw.cli("policy", "add", ANNA, to, *words.split(" "))
    gw.cli("policy", "add", ANNA, "*", "trigger", "subject", "[sign]", "sign",
           "trigger", "subject", "[seal]", "encrypt")


def signed_mail():
    with tap.group("signed by S/MIME"):
        for to in (SIGNED, OPAQUE):
            reply = submit(to, letter(to))
            tap.equal(reply.code, 250, f"{to}: taken")
            [m] = s.world.take()
            inside = p.smime_verifies(m.content, ours["ca"])
            tap.ok(inside and "forty-two".encode() in inside,
                   f"{to}: openssl verifies it")
            kind = "multipart/signed" if to == SIGNED \
                else "application/pkcs7-mime"
            tap.contains(m.field("Content-Type"), kind, f"{to}: its type")
            has_dkim(m, to)
            tap.equal(explained(to), "signed by smime, with DKIM",
                      f"{to}: explain says so")
            tap.equal(applied(reply), [("signed dkim", "smime")],
                      f"{to}: and trace")
    with tap.group("5 MB, signed"):
        body = ("0123456789" * 7 + " end \r\n") * 68000
        reply = submit(SIGNED, letter(SIGNED, body=body))
        tap.equal(reply.code, 250, "taken")
        [m] = s.world.take()
        inside = p.smime_verifies(m.content, ours["ca"])
        tap.ok(inside and inside.count(b"0123456789" * 7) == 68000,
               "openssl verifies all of it")
        has_dkim(m, "5 MB")


def smime_sealed():
    with tap.group("signed and encrypted by S/MIME"):
        reply = submit([BOB, BERT], letter([BOB, BERT], subject=HIDDEN))
        tap.equal(reply.code, 250, "taken for two")
        got = {m.recipients[0]: m for m in s.world.take(2)}
        for name, to in (("bob", BOB), ("bert", BERT)):
            m = got[to]
            tap.ok(m.recipients == [to] and is_secret(m),
                   f"{name} gets one of his own, encrypted")
            inside = p.smime_decrypts(m.content, name)
            entity = inside and p.smime_verifies(inside, ours["ca"])
            tap.ok(entity and "forty-two".encode() in entity,
                   f"openssl decrypts and verifies {name}'s")
            has_dkim(m, name)
            other = "bert" if name == "bob" else "bob"
            tap.equal(p.smime_decrypts(m.content, other), None,
                      f"{other} cannot read it")
        tap.equal(got[BOB].field("Subject"), HIDDEN, "the subject stays")
        tap.ok(HIDDEN.encode() not in got[BERT].content,
               "but where the rule hides it")
        tap.contains(p.smime_decrypts(got[BERT].content, "bert"),
                     HIDDEN.encode(), "then it is inside")
        tap.equal(explained(BOB), "signed and encrypted by smime, with DKIM",
                  "explain says so")
        tap.equal(applied(reply), [("signed encrypted dkim", "smime")] * 2,
                  "and trace, of each")


def pgp_sealed():
    with tap.group("signed and encrypted by OpenPGP"):
        # Eve stands in no field.
        reply = submit([CARL, CLEO, EVE], letter([CARL, CLEO]))
        tap.equal(reply.code, 250, "taken for two and a hidden one")
        got = {tuple(m.recipients): m for m in s.world.take(2)}
        tap.equal(sorted(got), [(CARL, CLEO), (EVE,)], "in two mails")
        for to, m in got.items():
            tap.ok(is_secret(m), f"{to[0]}: encrypted")
            tap.contains(m.field("Content-Type"), "multipart/encrypted",
                         f"{to[0]}: PGP/MIME")
            has_dkim(m, to[0])
            name = to[0].partition("@")[0]
            inside = p.pgp_decrypts(m.content, name, ANNA)
            tap.ok(inside and "forty-two".encode() in inside,
                   f"{name}: gpg decrypts and verifies it")
        readers = p.pgp_readers(got[(CARL, CLEO)].content)
        tap.ok(p.pgp_subkey("eve") not in readers,
               "those who see each other do not see her")
        readers = p.pgp_readers(got[(EVE,)].content)
        tap.ok(p.pgp_subkey("carl") not in readers, "nor she them by keys")
        tap.equal(explained(CARL), "signed and encrypted by pgp, with DKIM",
                  "explain says so")
        tap.equal(applied(reply), [("signed encrypted dkim", "pgp")] * 2,
                  "and trace, of each")


def required():
    with tap.group("encryption is required, and there is no key"):
        reply = submit(NOBODY, letter(NOBODY, subject=HIDDEN))
        tap.equal((reply.code, reply.enhanced), (550, "5.7.3"),
                  "the only recipient: refused")
        tap.contains(explained(NOBODY), "refused: 5.7.3", "as explain says")
        reply = submit([BOB, NOBODY], letter([BOB, NOBODY], subject=HIDDEN))
        tap.equal(reply.code, 250, "one of two: taken")
        [m] = s.world.take()
        tap.ok(m.recipients == [BOB] and is_secret(m),
               "the other one gets it encrypted")
        [m] = s.inner.take()
        report = dsns.Report(m.content)
        tap.equal((m.recipients, [r["status"] for r in report.recipients]),
                  ([ANNA], ["5.7.3"]), "the sender is told")
        tap.ok(report.of(NOBODY) is not None, "of whom")
        tap.equal(report.returned_type, "text/rfc822-headers",
                  "with the header alone")
        tap.ok(is_secret(m) and HIDDEN.encode() not in m.content,
               "and without the subject")
        reply = submit([BOB, ALL], letter([BOB, ALL]))
        tap.equal((reply.code, reply.enhanced), (550, "5.7.3"),
                  "all or none: refused for all")
        tap.equal((s.world.messages, s.inner.messages), ([], []),
                  "nothing has left")


def triggers():
    with tap.group("triggers"):
        for subject, left, to, outcome, is_sealed in (
                ("[sign] news", "news", "tagged@dest.test",
                 "signed by smime, with DKIM", False),
                ("Re: [Sign] =?utf-8?Q?gr=C3=BC=C3=9Fe?=", None, NINA,
                 "signed by smime, with DKIM", False)):
            reply = submit(to, letter(to, subject=subject))
            tap.equal(reply.code, 250, f"{subject}: taken")
            [m] = (s.inner if to == NINA else s.world).take()
            tap.ok("[sign]" not in m.field("Subject").lower(),
                   f"{subject}: it is out")
            if left:
                tap.equal(m.field("Subject"), left, f"{subject}: the rest")
            tap.ok(p.smime_verifies(m.content, ours["ca"]),
                   f"{subject}: signed")
            has_dkim(m, subject)
            tap.equal(explained(to, "--subject", subject), outcome,
                      f"{subject}: explain says so")
        to = "tagged@dest.test"
        reply = submit(to, letter(to, subject="x [seal]"))
        tap.equal((reply.code, reply.enhanced), (550, "5.7.3"),
                  "[seal] without a key: refused")
        with s.stranger() as c:
            content = letter(ANNA, subject="[sign] x",
                             sender="x@elsewhere.test")
            tap.equal(c.submit("x@elsewhere.test", ANNA, content).code, 250,
                      "a stranger's")
        tap.equal(s.inner.take()[0].field("Subject"), "[sign] x",
                  "means nothing and stays")


def left_alone():
    with tap.group("what its sender protected himself"):
        entity = f"{TEXT}\r\n{SECRET}\r\n".encode()
        made = people.with_entity(
            f"From: {ANNA}\r\nTo: {BOB}\r\nSubject: mine\r\n"
            "Message-ID: <mine@test.invalid>\r\n",
            p.smime_signs(entity, "bob"))
        reply = submit(SIGNED, made)
        tap.equal(reply.code, 250, "signed mail is taken")
        [m] = s.world.take()
        tap.ok(m.content.endswith(made), "and passes byte for byte")
        has_dkim(m, "signed mail")
        made = people.with_entity(
            f"From: {ANNA}\r\nTo: {BOB}\r\nSubject: mine\r\n",
            p.smime_encrypts(entity, p.path("bob.pem")))
        reply = submit(BOB, made)
        tap.equal(reply.code, 250, "so is encrypted mail")
        [m] = s.world.take()
        tap.ok(m.content.endswith(made), "and passes byte for byte")
    with tap.group("invitations"):
        kind = "Content-Type: text/calendar; method=REQUEST\r\n"
        made = letter("easy@dest.test", kind=kind, body="BEGIN:VCALENDAR")
        reply = submit("easy@dest.test", made)
        tap.equal(reply.code, 250, "where signing may be left out: taken")
        tap.ok(s.world.take()[0].content.endswith(made), "and left alone")
        reply = submit(BOB, letter(BOB, kind=kind, body="BEGIN:VCALENDAR"))
        tap.equal(reply.code, 550, "where it must be encrypted: refused")
        gw.cli("policy", "add", ANNA, BOB, "sign", "required", "encrypt",
               "required", "calendar-plain", "on", "--replace")
        made = letter(BOB, kind=kind, body="BEGIN:VCALENDAR")
        tap.equal(submit(BOB, made).code, 250, "unless the rule lets it out")
        tap.ok(s.world.take()[0].content.endswith(made), "as it is")
    with tap.group("mail that nothing applies to"):
        before = gw.program("signerd")["jobs_total"]
        made = letter("x@dest.test", sender=NINA)
        tap.equal(submit("x@dest.test", made, user="nina").code, 250,
                  "goes out")
        [m] = s.world.take()
        head, _, rest = m.content.partition(made[:40])
        tap.equal(rest, made[40:], "byte for byte")
        tap.ok(re.fullmatch(rb"(Received: [^\r\n]*\r\n([ \t][^\r\n]*\r\n)*)+",
                            head), "behind Received alone")
        tap.equal(explained("x@dest.test", sender=NINA), "leaves as it came",
                  "as explain says")
        tap.equal(gw.program("signerd")["jobs_total"], before,
                  "the signer was not asked")


FORGED = ("Authentication-Results: gw.example.test; smime=pass\r\n"
          "X-Postern-Crypto: v=1; enc=none; sig=pass\r\n")


def receive(content, to, sender=BOB):
    with s.stranger() as c:
        reply = c.submit(sender, to, content, "BODY=8BITMIME")
    return reply


def head_of(sender, subject="to you"):
    return (f"{FORGED}From: {sender}\r\nTo: {ANNA}\r\nSubject: {subject}\r\n"
            f"Message-ID: <{next(scene._serial)}@dest.invalid>\r\n")


def opened(reply):
    return [(e["to"], e["applied"], e["method"]) for e in
            s.life(smtp.message_id(reply)) if e["event"] == "opened"]


def check_incoming(what, method, sender, made):
    reply = receive(made, [ANNA, OTTO], sender)
    tap.equal(reply.code, 250, f"{what}: taken for two")
    got = {m.recipients[0]: m for m in s.inner.take(2)}
    m = got[ANNA]
    shown = email.message_from_bytes(m.content)
    if shown.get_content_type() == "multipart/signed":
        shown = shown.get_payload(0)
    tap.equal(shown.get_payload(decode=True).decode().strip(), SECRET,
              f"{what}: opened for its owner")
    results = m.field("Authentication-Results")
    tap.contains(results or "", f"{method}=pass", f"{what}: the verdict")
    tap.ok((results or "").startswith("gw.example.test;"), "in our name")
    crypto = m.field("X-Postern-Crypto") or ""
    tap.ok("sig=pass" in crypto and f"enc={method}/" in crypto
           and f'signer="{sender}"' in crypto and "from=match" in crypto,
           f"{what}: and how: {crypto}")
    m = got[OTTO]
    body = made.split(b"\r\n\r\n", 1)[1]
    tap.ok(m.content.endswith(body), f"{what}: for another as it came")
    tap.contains(m.field("X-Postern-Crypto") or "", "undecryptable",
                 f"{what}: which is said")
    for m in got.values():
        names = [row.split(b":")[0] for row in m.header.split(b"\r\n")]
        tap.equal((names.count(b"Authentication-Results"),
                   names.count(b"X-Postern-Crypto")), (1, 1),
                  f"{what}: what was forged is out")
    tap.ok(any("pass" in row[2] for row in opened(reply)),
           f"{what}: trace has the verdict: {opened(reply)}")


def incoming():
    entity = f"{TEXT}\r\n{SECRET}\r\n".encode()
    with tap.group("S/MIME that comes in"):
        sealed = p.smime_encrypts(p.smime_signs(entity, "bob"),
                                  ours["smime"])
        made = people.with_entity(head_of(BOB), sealed)
        check_incoming("S/MIME", "smime", BOB, made)
        made = people.with_entity(head_of(BOB), p.smime_signs(entity, "bob"))
        tap.equal(receive(made, OTTO).code, 250, "signed alone: taken")
        [m] = s.inner.take()
        tap.contains(m.field("X-Postern-Crypto") or "", "sig=pass",
                     "the verdict is for everybody")
        tap.ok(m.content.endswith(made.split(b"\r\n\r\n", 1)[1]),
               "its body is as it was")
        made = made.replace(b"forty-two", b"forty-six")
        tap.equal(receive(made, OTTO).code, 250, "altered: taken")
        tap.contains(s.inner.take()[0].field("X-Postern-Crypto") or "",
                     "sig=fail", "the verdict says so")
        tamper("S/MIME", sealed, BOB)
    with tap.group("OpenPGP that comes in"):
        sealed = p.pgp_signs_and_encrypts(entity, "carl", ours["pgp"])
        made = people.with_entity(head_of(CARL), sealed)
        check_incoming("OpenPGP", "openpgp", CARL, made)
        tamper("OpenPGP", sealed, CARL)
    with tap.group("open mail that comes in"):
        before = gw.program("signerd")["jobs_total"]
        made = FORGED.encode() + letter(ANNA, sender="x@elsewhere.test")
        tap.equal(receive(made, ANNA, "x@elsewhere.test").code, 250, "taken")
        [m] = s.inner.take()
        tap.ok(b"X-Postern-Crypto" not in m.header and
               b"smime=pass" not in m.header, "what was forged is out")
        tap.equal(gw.program("signerd")["jobs_total"], before,
                  "and the signer was not asked")
        made = FORGED.encode() + letter(ANNA, sender=NINA)
        tap.equal(submit(ANNA, made, "nina").code, 250,
                  "from somebody logged in")
        [m] = s.inner.take()
        tap.ok(b"X-Postern-Crypto" not in m.header and
               b"smime=pass" not in m.header, "it is out, too")


def tamper(what, sealed, sender):
    """One character of the ciphertext is another one, at several places."""
    for percent in (45, 60, 75, 90):
        at = len(sealed) * percent // 100
        while not sealed[at:at + 1].isalnum():
            at += 1
        other = b"A" if sealed[at:at + 1] != b"A" else b"B"
        made = people.with_entity(
            head_of(sender), sealed[:at] + other + sealed[at + 1:])
        reply = receive(made, ANNA, sender)
        tap.equal(reply.code, 250, f"{what}, tampered at {percent} %: taken")
        name = smtp.message_id(reply)
        row = tap.wait_until(
            lambda name=name: [e for e in s.events(name)
                               if e["event"] == "opened"], step=0.1)[0]
        if row["is_held"]:
            tap.equal(s.inner.messages, [], "it is held")
            gw.cli("queue", "release", name)
        [m] = s.inner.take()
        tap.ok(not re.search(b"forty|answer|gr=C3", m.content),
               "nothing of the text is shown")
        tap.ok("sig=pass" not in (m.field("X-Postern-Crypto") or ""),
               "and there is no pass")


set_up()
signed_mail()
smime_sealed()
pgp_sealed()
required()
triggers()
left_alone()
incoming()
with tap.group("the end"):
    gw.wait_for_queue(0)
    tap.equal((s.world.messages, s.inner.messages), ([], []),
              "nothing else came")
tap.done()
