#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""Folders in which GnuPG works: a worker that reads a stranger's OpenPGP mail
and is taken over by it finds nothing of one that signs, nor of one that makes
keys; neither do these of it.  Run as root, so that the programs have users."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import people, scene, signer, tap  # noqa: E402
from lib.gateway import BUILD  # noqa: E402
from lib.probe import NAMES, READ, UNLINK, WRITE, Probe  # noqa: E402

if os.geteuid() != 0:
    tap.skip_all("only root can give each program a user of its own")
with open(os.path.join(BUILD, "config.h"), encoding="utf-8") as f:
    if re.search(r"#define WITHOUT_CONFINEMENT", f.read()):
        tap.skip_all("this build is without confinement")

ANNA, CARL = "anna@example.test", "carl@dest.test"
CLASSES = ["pgp-sign", "pgp-open", "key"]

probe = Probe()
s = scene.Scene(settings={"fetch.wkd": "off"}, user=False)
gw = s.gw
scratch = os.path.join(gw.root, "var/lib/postern/signerd/scratch")
LISTED = [scratch] + [os.path.join(scratch, name, what) for name in CLASSES
                      for what in (".", "planted", "new", "home", "conf")]
INDEX = probe.start(gw, LISTED)
s.find_ports()


def at_work():
    """A key is made, a mail signed, and one opened."""
    p = people.People()
    key = gw.json("key", "pgp", "new", ANNA)
    p.pgp_knows(gw.cli("key", "pgp", "export", str(key["id"])).encode())
    p.new_pgp("carl", CARL)
    p.introduce(gw)
    gw.cli("policy", "add", ANNA, CARL, "sign", "required")
    with s.trusted() as c:
        tap.equal(c.submit(ANNA, CARL, scene.mail(ANNA, To=CARL)).code, 250,
                  "mail to sign")
    s.world.take(1)
    entity = p.pgp_signs_and_encrypts(
        b"Content-Type: text/plain\r\n\r\nhello\r\n", "carl",
        key["fingerprint"])
    head = f"From: {CARL}\r\nTo: {ANNA}\r\nSubject: x\r\n"
    with s.stranger() as c:
        tap.equal(c.submit(CARL, ANNA, people.with_entity(head, entity)).code,
                  250, "mail to open")
    s.inner.take(1)


def home_of(name):
    """The GnuPG home of a worker of that class; of `key` none is left."""
    homes = [os.path.join(scratch, name, home)
             for home in os.listdir(os.path.join(scratch, name))
             if home.startswith("pgp.")]
    return homes[0] if homes else None


def plant(name):
    """What the probe knows the names of, and what these stand for."""
    folder = os.path.join(scratch, name)
    user = os.lstat(folder)
    path = os.path.join(folder, "planted")
    with open(path, "w", encoding="ascii") as f:
        f.write("x")
    os.chown(path, user.st_uid, user.st_gid)
    home = home_of(name)
    os.symlink(home or folder, os.path.join(folder, "home"))
    os.symlink(os.path.join(home, "gpg.conf") if home else path,
               os.path.join(folder, "conf"))


with tap.group("where they work"):
    at_work()
    tap.equal(sorted(os.listdir(scratch)), sorted(CLASSES),
              "each class has a folder, and there is nothing beside these")
    tap.equal({name: oct(os.lstat(os.path.join(scratch, name)).st_mode & 0o777)
               for name in CLASSES}, dict.fromkeys(CLASSES, "0o700"),
              "closed to others")
    tap.ok(home_of("pgp-sign") and home_of("pgp-open"),
           "the homes of workers are in them")
    tap.equal(home_of("key"), None, "a key's home goes with its making")
    for name in CLASSES:
        plant(name)

pids = {name: pid for pid, name in signer.workers(gw).items()}
for name in ("pgp-sign", "pgp-open"):
    with tap.group(f"a {name} worker, owned by an attacker"):
        def attempt(kind, *path, name=name):
            number = INDEX[os.path.join(scratch, *path)]
            return probe.attempt(pids[name], kind, number)

        for path in (".", "home", "conf"):
            tap.equal(attempt(READ, name, path), "DONE",
                      f"reads its own: {path}")
        wrong = []
        for other in CLASSES:
            if other == name:
                continue
            for kind, path in ((READ, "."), (READ, "home"), (READ, "conf"),
                               (READ, "planted"), (WRITE, "planted"),
                               (WRITE, "conf"), (WRITE, "new"),
                               (UNLINK, "planted"), (UNLINK, "home")):
                got = attempt(kind, other, path)
                if got != "refused":
                    wrong.append(f"{NAMES[kind]} {other}/{path}: {got}")
        tap.equal(wrong, [], "all that is another's is refused")
        tap.equal(probe.attempt(pids[name], READ, INDEX[scratch]), "refused",
                  "it does not learn what others there are")

tap.done()
