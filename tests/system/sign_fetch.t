#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Keys are found in the web: by WKD, by a key server; mail waits meanwhile and
leaves encrypted.  What a stranger's server may not make us do."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import certs, pgp, scene, tap, web  # noqa: E402

ANNA = "anna@example.test"
w = pgp.World()
site = web.Web()
seen, pages = site.seen, site.pages

HOSTS = ["openpgpkey.wkd.test", "direct.test", "keys.test",
         "openpgpkey.moved.test", "openpgpkey.down.test",
         "openpgpkey.large.test", "openpgpkey.other.test",
         "openpgpkey.broken.test"]
ca = certs.Authority()
context = ca.server_context(*HOSTS)
port = site.serve(context)
plain_port = site.serve()
ZONE = "@ MX 10 mx\nmx A 127.0.0.1\nopenpgpkey A 127.0.0.1"
s = scene.Scene(
    zones={"wkd.test": ZONE, "moved.test": ZONE, "down.test": ZONE,
           "large.test": ZONE, "other.test": ZONE, "broken.test": ZONE,
           "direct.test": "@ MX 10 mx\nmx A 127.0.0.1\n@ A 127.0.0.1",
           "keys.test": "@ A 127.0.0.1",
           "none.test": "@ MX 10 mx\nmx A 127.0.0.1"},
    settings={"fetch.port": port, "fetch.allow_private": "on",
              "fetch.vks": f"https://keys.test:{port}"})
folder = os.path.join(s.gw.root, "var/lib/postern/fetchd")
os.makedirs(folder, exist_ok=True)
authority = os.path.join(folder, "authority.pem")
with open(ca.cert, "rb") as f, open(authority, "wb") as out:
    out.write(f.read())
os.chmod(authority, 0o644)
s.gw.set(**{"fetch.ca_file": authority})
s.start()
s.gw.cli("policy", "add", ANNA, "*", "encrypt", "required")


def address(name, domain):
    return f"{name}@{domain}"


def make_key(name, domain):
    """A key by gpg for that address; binary."""
    w.new_gpg(name, "ed25519", "cv25519")
    w.gpg(name, ["--quick-add-uid", w.fingerprint[name],
                 f"{name} <{address(name, domain)}>"])
    return w.gpg(name, ["--export", w.fingerprint[name]])


def wkd_path(name, domain):
    shown = w.gpg(name, ["--with-wkd-hash", "--list-keys"]).decode()
    return [line.strip().split("@")[0] for line in shown.splitlines()
            if line.strip().endswith("@" + domain) and
            " " not in line.strip()][0]


def publish(name, domain, host=None, key=None):
    key = key or make_key(name, domain)
    hashed = wkd_path(name, domain)
    path = (f"/.well-known/openpgpkey/hu/{hashed}" if host == domain else
            f"/.well-known/openpgpkey/{domain}/hu/{hashed}")
    pages[(host or "openpgpkey." + domain, path)] = key
    return path


def submit(to):
    c = s.login()
    reply = c.submit(ANNA, to, scene.mail(ANNA, To=to))
    c.close()
    return reply


def arrives_encrypted(to, reader, what):
    tap.equal(submit(to).code, 250, f"{what}: a mail is taken")
    [m] = s.world.take()
    tap.ok(b"multipart/encrypted" in m.content, f"{what}: it is encrypted")
    tap.ok(w.decrypts(m.content, reader, None) is not None,
           f"{what}: its reader reads it")


with tap.group("by WKD"):
    publish("walt", "wkd.test")
    arrives_encrypted(address("walt", "wkd.test"), "walt", "the advanced way")
    publish("dirk", "direct.test", host="direct.test")
    arrives_encrypted(address("dirk", "direct.test"), "dirk",
                      "the direct way")
    asked = len(seen)
    arrives_encrypted(address("walt", "wkd.test"), "walt", "a second mail")
    tap.equal(len(seen), asked, "does not ask again")

with tap.group("by the key server"):
    key = make_key("vera", "none.test")
    pages[("keys.test", "/vks/v1/by-email/vera%40none.test")] = key
    arrives_encrypted(address("vera", "none.test"), "vera", "VKS")

with tap.group("redirects"):
    path = publish("mona", "moved.test")
    key = pages.pop(("openpgpkey.moved.test", path))
    pages[("keys.test", "/there")] = key
    pages[("openpgpkey.moved.test", path)] = (
        302, f"https://keys.test:{port}/there")
    arrives_encrypted(address("mona", "moved.test"), "mona",
                      "to another https server")
    path = publish("otto", "other.test")
    key = pages.pop(("openpgpkey.other.test", path))
    pages[("keys.test", "/plain")] = key
    pages[("openpgpkey.other.test", path)] = (
        302, f"http://keys.test:{plain_port}/plain")


def bounces(to, what):
    tap.ok(submit(to).code in (250, 550), f"{what}: a mail is taken or not")
    s.gw.wait_for_queue(0)
    sent = [m for m in s.world.take(0) if to in m.recipients]
    tap.equal(sent, [], f"{what}: it does not leave")
    s.inner.take(0)


with tap.group("no key"):
    bounces(address("otto", "other.test"), "a redirect to http")
    tap.ok(("keys.test", "/plain") not in seen, "is not followed")
    pages[("openpgpkey.large.test",
           publish("lars", "large.test"))] = b"\x99" * 400_000
    bounces(address("lars", "large.test"), "400 KB")
    publish("bert", "broken.test", key=None)
    for place in list(pages):
        if place[0] == "openpgpkey.broken.test":
            pages[place] = b"<html>not a key</html>"
    bounces(address("bert", "broken.test"), "a page that is no key")
    stranger = make_key("eve", "elsewhere.test")
    publish("carl", "broken.test", key=None)
    for place in list(pages):
        if place[0] == "openpgpkey.broken.test":
            pages[place] = stranger
    bounces(address("carl", "broken.test"), "a key of another address")
    bounces(address("nora", "none.test"), "none at all")

with tap.group("private networks"):
    s.gw.set(**{"fetch.allow_private": "off"})
    before = len(seen)
    publish("paul", "wkd.test")
    bounces(address("paul", "wkd.test"), "a name that leads to this host")
    tap.equal(len(seen), before, "nobody was asked")
    s.gw.set(**{"fetch.allow_private": "on"})

with tap.group("a server in trouble"):
    path = publish("dora", "down.test")
    pages[("openpgpkey.down.test", path)] = 503
    tap.equal(submit(address("dora", "down.test")).code, 250, "mail waits")
    tap.wait_until(lambda: ("openpgpkey.down.test" in
                            [host for host, _ in seen]),
                   what="the question")
    tap.equal(s.world.take(0), [], "and does not leave")
    s.gw.wait_for_queue(1)

w.close()
tap.done()
