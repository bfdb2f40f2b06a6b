#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Certificates that come with signed mail: stored are those that lead to a
known CA, by the CAs that came along or without, and mail to their owners is
encrypted to them; others leave nothing."""

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

tap.done()
