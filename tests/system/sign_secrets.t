#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""Where keys are in memory: a worker of the signer has the key of its class
once, the broker keeps none of those that it gave away, and nobody of the same
user can look.  Run as root, which can."""

import hashlib
import hmac
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import people, scene, signer, tap  # noqa: E402
from lib.gateway import BUILD  # noqa: E402

if os.geteuid() != 0:
    tap.skip_all("only root may look into the programs' memory")
with open(os.path.join(BUILD, "config.h"), encoding="utf-8") as f:
    if re.search(r"#define WITHOUT_CONFINEMENT", f.read()):
        tap.skip_all("this build is without confinement")

ANNA, BOB, CARL = "anna@example.test", "bob@dest.test", "carl@dest.test"
NOBODY = 65534
CLASSES = ["sign", "open", "pgp-sign", "pgp-open"]
# What a process of the same user would try; it prints what it was refused.
TRY = """
import ctypes, os, sys
pid = int(sys.argv[1])
for name in ("mem", "environ", "maps", "fd"):
    try:
        path = f"/proc/{pid}/{name}"
        os.listdir(path) if name == "fd" else open(path, "rb").read(1)
    except PermissionError:
        print(name)
    except OSError:
        pass  # may be opened: there is nothing at its start
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
if libc.ptrace(0x4206, pid, None, None) == -1 and ctypes.get_errno() == 1:
    print("ptrace")
"""
ALL = ["mem", "environ", "maps", "fd", "ptrace"]

s = scene.Scene(settings={"fetch.wkd": "off"}, user=False).start()
gw = s.gw


def refused(pid, uid):
    """What another process of that user may not do to it."""
    r = subprocess.run(["/usr/bin/python3", "-c", TRY, str(pid)], user=uid,
                       group=uid, extra_groups=[], capture_output=True,
                       text=True, check=True, cwd="/")
    return r.stdout.split()


def uid_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"^Uid:\s+(\d+)", f.read(), re.M)[1])


def occurrences(pid, secrets):
    """How often each of them is in its memory."""
    found = [0] * len(secrets)
    with open(f"/proc/{pid}/maps", encoding="ascii") as f:
        areas = [line.split()[0].split("-") for line in f
                 if line.split()[1].startswith("rw")]
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as f:
        for start, end in ((int(a, 16), int(b, 16)) for a, b in areas):
            try:
                f.seek(start)
                memory = f.read(end - start)
            except OSError:
                continue
            for i, secret in enumerate(secrets):
                found[i] += memory.count(secret)
    return found


def class_key(master, name):
    """HKDF-SHA-256, one block (RFC 5869), as signer/wrap.h has it."""
    prk = hmac.new(b"postern-signerd", master, hashlib.sha256).digest()
    return hmac.new(prk, f"postern class 1 {name}".encode() + b"\x01",
                    hashlib.sha256).digest()


def all_at_work():
    """Mail for a worker of each class."""
    p = people.People()
    gw.cli("ca", "new", "Example CA")
    key = gw.json("key", "smime", "new", ANNA)
    ours = p.file(gw.cli("key", "smime", "export", str(key["id"])).encode())
    pgp = gw.json("key", "pgp", "new", ANNA)["fingerprint"]
    key = gw.json("key", "pgp", "list")["keys"][0]
    p.pgp_knows(gw.cli("key", "pgp", "export", str(key["id"])).encode())
    p.new_smime("bob", BOB)
    p.new_pgp("carl", CARL)
    p.introduce(gw)
    for to in (BOB, CARL):
        gw.cli("policy", "add", ANNA, to, "sign", "required", "encrypt",
               "required")
    with s.trusted() as c:
        for to in (BOB, CARL):
            code = c.submit(ANNA, to, scene.mail(ANNA, To=to)).code
            tap.equal(code, 250, f"mail to {to}")
    s.world.take(2)
    entity = b"Content-Type: text/plain\r\n\r\nhello\r\n"
    with s.stranger() as c:
        for sender, made in (
                (BOB, p.smime_encrypts(entity, ours)),
                (CARL, p.pgp_signs_and_encrypts(entity, "carl", pgp))):
            head = f"From: {sender}\r\nTo: {ANNA}\r\nSubject: x\r\n"
            code = c.submit(sender, ANNA,
                            people.with_entity(head, made)).code
            tap.equal(code, 250, f"mail from {sender}")
    s.inner.take(2)


with tap.group("a process of the same user"):
    sleeper = subprocess.Popen(["sleep", "1000"], user=NOBODY,
                               group=NOBODY, extra_groups=[], cwd="/")
    try:
        tap.equal(refused(sleeper.pid, NOBODY), [], "may look into another")
    finally:
        sleeper.kill()
        sleeper.wait()

with tap.group("a worker that nobody gave a key yet"):
    ours, theirs = socket.socketpair()
    # The build's folder may be closed to others than root.
    folder = tempfile.TemporaryDirectory()
    os.chmod(folder.name, 0o755)
    binary = shutil.copy(os.path.join(BUILD, "postern-signerd"), folder.name)
    worker = subprocess.Popen(
        ["sh", "-c", f'exec "$0" --worker sign 3<&{theirs.fileno()}',
         binary], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
        pass_fds=[theirs.fileno()])
    theirs.close()
    ours.settimeout(tap.PATIENCE_S)
    tap.ok(ours.recv(4096), "it says HELLO")
    tap.equal(refused(worker.pid, NOBODY), ALL, "is closed to it already")
    with open(f"/proc/{worker.pid}/limits", encoding="ascii") as f:
        core = re.search(r"Max core file size +(\d+) +(\d+)", f.read())
    tap.equal(core.groups(), ("0", "0"), "and leaves no core")
    ours.close()
    tap.equal(worker.wait(tap.PATIENCE_S), 0, "it ends with its channel")
    folder.cleanup()

with tap.group("workers that have keys"):
    all_at_work()
    path = os.path.join(gw.root, "var/lib/postern/signerd/master.key")
    with open(path, "rb") as f:
        master = f.read()
    tap.equal(len(master), 32, "the master key")
    keys = [class_key(master, name) for name in CLASSES]
    workers = signer.workers(gw)
    tap.equal(sorted(set(workers.values()) - {"key"}), sorted(CLASSES),
              "each class has one")
    for pid, name in workers.items():
        if name not in CLASSES:
            continue
        want = [int(name == other) for other in CLASSES]
        tap.equal(occurrences(pid, keys), want,
                  f"{name}: has the key of its class once, and no other")
        tap.equal(occurrences(pid, [master]), [0],
                  f"{name}: not the master key")
        tap.equal(refused(pid, uid_of(pid)), ALL, f"{name}: is closed")
    broker = signer.broker(gw)
    tap.equal(occurrences(broker, [master]), [1],
              "the broker has the master key once")
    tap.equal(occurrences(broker, keys), [0] * len(keys),
              "and keeps none of those that it gave away")
    tap.equal(refused(broker, uid_of(broker)), ALL, "it is closed, too")

tap.done()
