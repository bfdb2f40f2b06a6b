#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What ends soon is told: keys of ours, the built-in CA, anchors and lists of
revoked certificates, each by the nearest of 30, 14 and 7 days, and no more when
something newer took its place."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import crls, gateway, tap  # noqa: E402

DAY = 86400
gw = gateway.Gateway(postmaster="anna@example.org", settings={
    "dns.servers": "127.0.0.1:1", "fetch.crl": "off"})
folder = gateway.temporary_folder()
gw.start()


def path(name):
    return os.path.join(folder, name)


def alerts(name):
    """(subject, text) of each that is raised."""
    return sorted((row["subject"], row["text"])
                  for row in gw.status().get("alerts", [])
                  if row.get("alert", row.get("name")) == name)


def steps(name):
    """The days that subjects end with."""
    return sorted(int(subject.split(" ")[-2]) for subject, _ in alerts(name))


def own(name, days):
    """A certificate and its key, ours from now on."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj",
         f"/CN={name}", "-days", str(days), "-keyout", path(name + ".key"),
         "-out", path(name + ".crt"), "-addext",
         f"subjectAltName=email:{name}@example.org", "-addext",
         "basicConstraints=critical,CA:FALSE", "-addext",
         "extendedKeyUsage=emailProtection"],
        check=True, capture_output=True)
    both = b""
    for end in (".key", ".crt"):
        with open(path(name + end), "rb") as f:
            both += f.read()
    with open(path(name + ".pem"), "wb") as f:
        f.write(both)
    return gw.json("key", "smime", "import", path(name + ".pem"))


with tap.group("keys of ours"):
    own("k40", 40)
    tap.equal(alerts("key-expires"), [], "40 days before: nothing yet")
    for days, step in ((29, 30), (13, 14), (6, 7)):
        key = own(f"k{days}", days)
        tap.equal(steps("key-expires"), [step], f"{days} days before")
        [(subject, text)] = alerts("key-expires")
        tap.contains(subject, key["fingerprint"][:40], "it names the key")
        tap.ok(re.search(f"k{days}@example.org ends in "
                         f"({days - 1}|{days}) days", text),
               f"whose it is, and how long: {text}")
        gw.cli("key", "smime", "retire", str(key["id"]))
        tap.equal(alerts("key-expires"), [], "retired, it is over")

with tap.group("the built-in CA"):
    gw.cli("ca", "new", "Short CA", "--days", "6")
    tap.equal(steps("key-expires"), [7], "a CA that ends in 6 days")
    tap.equal(alerts("trust-expires"), [], "told once, not as an anchor, too")

with tap.group("anchors"):
    for days, step in ((29, 30), (13, 14), (6, 7)):
        ca = crls.Ca(f"Anchor {days}", days=days)
        fingerprint = gw.json("key", "anchor", "add", ca.pem)["fingerprint"]
        tap.equal(steps("trust-expires"), [step], f"{days} days before")
        [(_, text)] = alerts("trust-expires")
        tap.ok(re.search(f"Anchor {days} ends in ({days - 1}|{days}) days",
                         text), f"which it is, and how long: {text}")
        gw.cli("key", "anchor", "remove", fingerprint)
        tap.equal(alerts("trust-expires"), [], "removed, it is over")
    ca = crls.Ca("Blocked", days=6)
    gw.cli("key", "anchor", "add", ca.pem, "--block")
    tap.equal(alerts("trust-expires"), [], "a blocked one may end")


def take(octets):
    with open(path("list.crl"), "wb") as f:
        f.write(octets)
    return gw.json("key", "crl", "import", path("list.crl"))


with tap.group("lists of revoked certificates"):
    ca = crls.Ca("Listed")
    gw.cli("key", "anchor", "add", ca.pem)
    # How long it counts, and what is left of that, in days; each newer.
    for life, left, wanted in ((60, 6, [7]), (60, 13, [14]), (60, 20, [30]),
                               (20, 6, [7]), (20, 12, []), (6, 0.9, [1]),
                               (8, 6, []), (61, 60, [])):
        take(ca.crl(since=int((left - life) * DAY), until=int(left * DAY)))
        tap.equal(steps("trust-expires"), wanted,
                  f"{left} days before, of {life}")

tap.done()
