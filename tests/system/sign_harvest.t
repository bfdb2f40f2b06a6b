#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Keys that come with mail.  Certificates: stored are those that lead to a
known CA, by the CAs that came along or without, and mail to their owners is
encrypted to them; others leave nothing.  Copies of a known OpenPGP key: what
is new in them counts, and they take nothing out of it."""

import base64
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import people, scene, tap  # noqa: E402

ANNA = "anna@example.test"
# TRUST_CHAIN in signer/keystore.h.
CHAIN = 60

s = scene.Scene(settings={"fetch.wkd": "off"}, user=False).start()
gw = s.gw
p = people.People()
strangers = people.People()  # whose CA is not known
ENTITY = b"Content-Type: text/plain\r\n\r\nhello\r\n"


def new_authority():
    """A CA below the known one, which signs from now on."""
    ext = p.file(b"basicConstraints=critical,CA:TRUE\n"
                 b"keyUsage=keyCertSign,cRLSign\n")
    stem = p.path("middle")
    p.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
              "-nodes", "-keyout", stem + ".key", "-out", stem + ".csr",
              "-subj", "/CN=A department")
    p.openssl("x509", "-req", "-in", stem + ".csr", "-CA", p.path("ca.pem"),
              "-CAkey", p.path("ca.key"), "-CAcreateserial", "-days", "20",
              "-extfile", ext, "-out", stem + ".pem")
    for kind in ("key", "pem"):
        os.replace(stem + "." + kind, p.path("ca." + kind))
    return p.path("ca.pem")


def comes(who, name, *options):
    """A mail that he signed."""
    address = who.smime[name]
    made = people.with_entity(
        f"From: {address}\r\nTo: {ANNA}\r\nSubject: x\r\n",
        who.smime_signs(ENTITY, name, *options))
    with s.stranger() as c:
        tap.equal(c.submit(address, ANNA, made).code, 250,
                  f"mail signed by {name} is taken")
    s.inner.take()


def known(address):
    """(trust, source) of his certificates."""
    rows = gw.json("key", "smime", "list", "--match", address)["keys"]
    return [(row["trust"], row["source"]) for row in rows]


def is_kept(address, what):
    tap.wait_until(lambda: known(address), what=f"the key of {address}")
    tap.equal(known(address), [(CHAIN, "smime")], what)


p.new_smime("bob", "bob@dest.test")
gw.cli("key", "anchor", "add", p.path("ca.pem"))
# Another CA of the same name.
strangers.new_smime("eve", "eve@dest.test")

with tap.group("of a known CA"):
    comes(p, "bob")
    is_kept("bob@dest.test", "it is stored")
    gw.cli("policy", "add", ANNA, "bob@dest.test", "encrypt", "required")
    with s.trusted() as c:
        code = c.submit(ANNA, "bob@dest.test",
                        scene.mail(ANNA, body="a secret")).code
    tap.equal(code, 250, "mail to him can be encrypted")
    [m] = s.world.take()
    inside = p.smime_decrypts(m.content, "bob")
    tap.ok(inside and b"a secret" in inside, "and he reads it")

with tap.group("of no known CA"):
    comes(strangers, "eve")
    comes(strangers, "eve", "-certfile", strangers.path("ca.pem"))

with tap.group("of a department of a known CA"):
    middle = new_authority()
    p.new_smime("dora", "dora@dest.test")
    comes(p, "dora")
    comes(p, "dora", "-certfile", middle)
    is_kept("dora@dest.test", "with the department's certificate it is stored")
    tap.equal(known("eve@dest.test"), [],
              "nothing is left of the one that led nowhere")


def autocrypt(address, key):
    """A mail with that key, whose signature is none."""
    data = base64.b64encode(key).decode()
    lines = "".join(f" {data[i:i + 70]}\r\n" for i in range(0, len(data), 70))
    return (f"From: {address}\r\nTo: {ANNA}\r\nSubject: x\r\n"
            f"Autocrypt: addr={address}; keydata=\r\n{lines}"
            "Content-Type: multipart/signed; boundary=b;\r\n"
            " protocol=\"application/pgp-signature\"\r\n\r\n"
            "--b\r\n\r\nhello\r\n--b\r\n"
            "Content-Type: application/pgp-signature\r\n\r\n"
            "nothing\r\n--b--\r\n").encode()


def brings(address, key):
    with s.stranger() as c:
        tap.equal(c.submit(address, ANNA, autocrypt(address, key)).code, 250,
                  "a mail that brings a key is taken")
    s.inner.take()


def kept(address):
    """(what it does, until when) of his one OpenPGP key."""
    [row] = gw.json("key", "pgp", "list", "--match", address)["keys"]
    return row["uses"], row["not_after"]


def export(*options):
    return p.gpg("--export-options", "export-minimal", *options,
                 "--export", p.pgp["carl"]).stdout


with tap.group("a known OpenPGP key with less in it"):
    CARL = "carl@dest.test"
    p.new_pgp("carl", CARL)
    p.gpg("--quick-set-expire", p.pgp["carl"], "1y")
    gw.cli("key", "pgp", "import", p.file(export()))
    gw.cli("policy", "add", ANNA, CARL, "encrypt", "if-possible")
    uses, end = kept(CARL)
    p.gpg("--quick-set-expire", p.pgp["carl"], "5y")
    brings(CARL, export("--export-filter", "drop-subkey=usage=~e"))
    tap.wait_until(lambda: kept(CARL)[1] > end, what="the longer time")
    tap.equal(kept(CARL)[0], uses, "what is new in it counts, and it loses "
              "nothing")
    with s.trusted() as c:
        code = c.submit(ANNA, CARL, scene.mail(ANNA, body="a secret")).code
    tap.equal(code, 250, "mail to him is taken")
    [m] = s.world.take()
    tap.ok(b"a secret" not in m.content, "and encrypted as before")

tap.done()
