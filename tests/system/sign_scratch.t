#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""Folders in which GnuPG works: a worker that reads a stranger's OpenPGP mail
and is taken over by it finds nothing of one that signs, nor does that one of
it; what ended workers left is removed.  Run as root, so that the programs have
users."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import people, scene, signer, tap  # noqa: E402
from lib.gateway import BUILD  # noqa: E402
from lib.probe import NAMES, READ, WRITE, Probe  # noqa: E402

if os.geteuid() != 0:
    tap.skip_all("only root can give each program a user of its own")
with open(os.path.join(BUILD, "config.h"), encoding="utf-8") as f:
    if re.search(r"#define WITHOUT_CONFINEMENT", f.read()):
        tap.skip_all("this build is without confinement")

ANNA, CARL = "anna@example.test", "carl@dest.test"
CLASSES = ["pgp-sign", "pgp-open"]

probe = Probe()
s = scene.Scene(settings={"fetch.wkd": "off"}, user=False)
gw = s.gw
scratch = os.path.join(gw.root, "var/lib/postern/signerd/scratch")
# Names that the probe knows from the start; what they stand for comes later.
links = os.path.join(gw.root, "links")
os.mkdir(links)
LISTED = [scratch] + [os.path.join(links, name, what) for name in CLASSES
                      for what in ("folder", "home", "conf", "planted", "new")]
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


def abandon():
    """As a worker leaves it that was killed; its folder."""
    folder = os.path.join(scratch, "pgp.killed")
    deep = os.path.join(folder, "pgp.home", "private-keys-v1.d")
    os.makedirs(deep)
    with open(os.path.join(deep, "1.key"), "w", encoding="ascii") as f:
        f.write("x")
    user = os.lstat(scratch)
    for path in [folder, *(os.path.join(top, name) for top, dirs, files in
                           os.walk(folder) for name in (*dirs, *files))]:
        os.chown(path, user.st_uid, user.st_gid)
        os.utime(path, (1, 1))
    return folder


def folder_of(pid):
    """The scratch folder of that worker: it has it open."""
    folders = {os.readlink(f"/proc/{pid}/fd/{fd}")
               for fd in os.listdir(f"/proc/{pid}/fd")}
    found = [f for f in folders if os.path.dirname(f) == scratch]
    return found[0] if len(found) == 1 else None


def link(name, folder):
    """Gives the probe's names their meaning."""
    user = os.lstat(folder)
    home = os.path.join(folder, os.listdir(folder)[0])
    planted = os.path.join(folder, "planted")
    with open(planted, "w", encoding="ascii") as f:
        f.write("x")
    os.chown(planted, user.st_uid, user.st_gid)
    os.mkdir(os.path.join(links, name))
    for what, target in (("folder", folder), ("home", home),
                         ("conf", os.path.join(home, "gpg.conf")),
                         ("planted", planted),
                         ("new", os.path.join(folder, "new"))):
        os.symlink(target, os.path.join(links, name, what))


with tap.group("where they work"):
    at_work()
    pids = {name: pid for pid, name in signer.workers(gw).items()}
    folders = {name: folder_of(pids[name]) for name in CLASSES}
    tap.ok(None not in folders.values() and
           len(set(folders.values())) == len(CLASSES),
           f"each worker has a folder: {folders}")
    tap.equal({oct(os.lstat(f).st_mode & 0o777) for f in folders.values()},
              {"0o700"}, "closed to others")
    tap.equal([len(os.listdir(f)) for f in folders.values()],
              [1] * len(CLASSES), "with one home of GnuPG in it")
    left = [f for f in os.listdir(scratch)
            if os.path.join(scratch, f) not in folders.values()]
    tap.equal([os.listdir(os.path.join(scratch, f)) for f in left],
              [[]] * len(left), "those that made keys left no home")
    for name in CLASSES:
        link(name, folders[name])

for name, other in (CLASSES, reversed(CLASSES)):
    with tap.group(f"a {name} worker, owned by an attacker"):
        def attempt(kind, whose, what, name=name):
            number = INDEX[os.path.join(links, whose, what)]
            return probe.attempt(pids[name], kind, number)

        wrong = [what for what in ("folder", "home", "conf")
                 if attempt(READ, name, what) != "DONE"]
        tap.equal(wrong, [], "reads its own")
        wrong = []
        for kind, what in ((READ, "folder"), (READ, "home"), (READ, "conf"),
                           (READ, "planted"), (WRITE, "planted"),
                           (WRITE, "conf"), (WRITE, "new")):
            got = attempt(kind, other, what)
            if got != "refused":
                wrong.append(f"{NAMES[kind]} {what}: {got}")
        tap.equal(wrong, [], f"nothing of the {other} worker's")
        tap.equal(probe.attempt(pids[name], READ, INDEX[scratch]), "refused",
                  "it does not learn what others there are")

with tap.group("a worker was killed"):
    abandoned = abandon()
    for folder in folders.values():
        os.utime(folder, (1, 1))
    gw.json("key", "pgp", "new", "otto@example.test")
    tap.ok(not os.path.exists(abandoned), "the next removes what it left")
    tap.ok(all(os.path.isdir(f) for f in folders.values()),
           "and nothing of one that works")

tap.done()
