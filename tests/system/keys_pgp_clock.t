#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""OpenPGP keys are made and imported however slow the machine is: between two
steps of GnuPG its agent's clock may go on by any number of seconds."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import pgp, tap  # noqa: E402

PASSPHRASE = "open sesame"

w = pgp.World()
hurry = w.path("hurry.so")
built = subprocess.run(
    ["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", hurry,
     os.path.join(os.environ["POSTERN_SOURCE"], "tests/system/lib/hurry.c")],
    capture_output=True, text=True, check=False)
if built.returncode != 0:
    tap.skip_all("no compiler: " + built.stderr[-200:])


def key_of_user(subkeys):
    """As a user has it: with all of these subkeys, under his pass phrase."""
    options = ["--passphrase", PASSPHRASE]
    w.gpg("carla", [*options, "--quick-gen-key", "<carla@test.example>",
                    "ed25519", "sign,cert", "0"])
    listed = w.gpg("carla", ["--list-keys", "--with-colons"]).decode()
    fingerprint = listed.split("\nfpr:::::::::", 1)[1].split(":", 1)[0]
    for _ in range(subkeys):
        w.gpg("carla", [*options, "--quick-add-key", fingerprint, "cv25519",
                        "encr", "0"])
    return w.file("carla.key", w.gpg(
        "carla", [*options, "--export-secret-keys", fingerprint]))


def work(*arguments):
    done = w.tool(*arguments, ok=False)
    return done.returncode, done.stderr.decode().strip()


key = key_of_user(4)
os.environ["LD_PRELOAD"] = hurry

with tap.group("the agent's clock is in a hurry"):
    for kind in ("ed25519", "rsa3072"):
        tap.equal(work("new", kind, f"{kind}@test.example", kind), (0, ""),
                  f"a key is made: {kind}")
    tap.equal(work("import", "carla", key, PASSPHRASE), (0, ""),
              "a key with four subkeys is imported")
    got = w.protect(pgp.mail("", b"hello\r\n"), sign="ed25519")
    tap.equal(got.word("outcome"), "done", "one that was made signs")

del os.environ["LD_PRELOAD"]
w.close()
tap.done()
