#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""A key in a token: SoftHSM holds it, a confined worker signs a mail with it,
OpenSSL verifies.  And keys that end soon raise alerts."""

import base64
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import gateway, peer, tap  # noqa: E402

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
ENGINES = subprocess.run(["openssl", "version", "-e"], capture_output=True,
                         text=True, check=True).stdout.split('"')[1]
if not (os.path.exists(MODULE) and shutil.which("softhsm2-util")
        and os.path.exists(os.path.join(ENGINES, "pkcs11.so"))):
    tap.skip_all("SoftHSM or OpenSSL's PKCS #11 engine is not installed")

FROM, TO = "ida@example.test", "bob@example.org"
REQUIRED = 2
PIN = "123456"
folder = gateway.temporary_folder()
tokens = os.path.join(folder, "tokens")

# Workers have a clean environment; the module learns of its folder this way.
SHIM = """
#include <dlfcn.h>
#include <stdlib.h>
typedef unsigned long get_fn(void **);
unsigned long
C_GetFunctionList(void **list)
{
	void *module;
	get_fn *get;

	setenv("SOFTHSM2_CONF", CONF, 1);
	module = dlopen(MODULE, RTLD_NOW);
	*(void **)&get = dlsym(module, "C_GetFunctionList");
	return get(list);
}
"""


def tool(*words, code=0, **kw):
    r = subprocess.run(words, capture_output=True, text=True, check=False,
                       **kw)
    if r.returncode != code:
        raise RuntimeError(f"{words}: {r.stdout}{r.stderr}")
    return r.stdout + r.stderr


def path(name):
    return os.path.join(folder, name)


def make_token():
    os.mkdir(tokens)
    with open(path("softhsm.conf"), "w", encoding="ascii") as f:
        f.write(f"directories.tokendir = {tokens}\n")
    env = {**os.environ, "SOFTHSM2_CONF": path("softhsm.conf")}
    tool("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj",
         "/CN=Ida", "-days", "30", "-keyout", path("key.pem"), "-out",
         path("cert.pem"), "-addext", f"subjectAltName=email:{FROM}",
         "-addext", "basicConstraints=critical,CA:FALSE", "-addext",
         "extendedKeyUsage=emailProtection", "-addext",
         "keyUsage=digitalSignature")
    tool("softhsm2-util", "--init-token", "--free", "--label", "postern",
         "--pin", PIN, "--so-pin", PIN, env=env)
    tool("softhsm2-util", "--import", path("key.pem"), "--token", "postern",
         "--label", "ida", "--id", "01", "--pin", PIN, env=env)
    with open(path("shim.c"), "w", encoding="ascii") as f:
        f.write(SHIM)
    tool("cc", "-shared", "-fPIC", "-o", path("shim.so"), path("shim.c"),
         f'-DCONF="{path("softhsm.conf")}"', f'-DMODULE="{MODULE}"')


make_token()
p = peer.Program("signerd", peers=("queued",), settings={
    "crypto.pkcs11_module": path("shim.so"),
    "crypto.pkcs11_folder": tokens})
queued = p.accept("queued")
OUTCOMES = p.tables.words("sign_outcome")


alerts = set()


def manage(verb, code=0, **arguments):
    number = p.confd.post("MGMT_REQUEST", verb=verb, actor="test",
                          arguments=json.dumps(arguments))
    frame = p.confd.read()
    while not (frame.is_answer and frame.request_id == number):
        subject = frame.values.get("subject")
        if frame.name == "ALERT_RAISE":
            alerts.add(subject)
        elif frame.name == "ALERT_CLEAR":
            alerts.discard(subject)
        frame = p.confd.read()
    reply = frame.values
    tap.equal(reply["code"], code, f"{verb}: {code}")
    if reply["code"] != code:
        tap.diag(str(reply["body"]))
    return json.loads(reply["body"])


def in_base64(name):
    with open(path(name), "rb") as f:
        return base64.b64encode(f.read()).decode()


def sign(content):
    queued.send("SIGN_JOB", message_id=1, attempt=1, direction=0, dkim=0,
                reverse_path=FROM, header_from=FROM,
                size_octets=len(content), content=content,
                recipients=[{"number": 0, "address": TO, "sign": REQUIRED}])
    output = None
    while True:
        frame = queued.read()
        if frame.name == "SIGN_OUTPUT":
            output = frame.values["content"]
        elif frame.name == "SIGN_RESULT":
            return frame.values, output


with tap.group("a key in a token"):
    uri = "pkcs11:token=postern;object=ida"
    manage("key.smime.import", text=in_base64("cert.pem"),
           pkcs11=uri + "?pin-value=1", password=PIN, code=2)
    key = manage("key.smime.import", text=in_base64("cert.pem"), pkcs11=uri,
                 password=PIN)
    tap.equal((key["is_ours"], key["addresses"]), (True, [FROM]),
              "its certificate is imported")
    result, output = sign(
        f"From: Ida <{FROM}>\r\nTo: {TO}\r\nSubject: s\r\n\r\nHello.\r\n"
        .encode())
    tap.equal(OUTCOMES[result["outcome"]], "SIGNED_DONE",
              "a mail is signed with it")
    if output is None:
        tap.diag(str(result))
        tap.diag(p.log()[-2000:])
    with open(path("mail"), "wb") as f:
        f.write(output or b"")
    tap.contains(tool("openssl", "cms", "-verify", "-in", path("mail"),
                      "-CAfile", path("cert.pem"), "-no_check_time"),
                 "successful", "openssl verifies the signature")
    with open(os.path.join(p.root, "var/lib/postern/signerd/keys.db"),
              "rb") as f:
        tap.ok(PIN.encode() not in f.read(), "the PIN is not in the store")

with tap.group("keys that end soon"):
    manage("ca.new", name="CA", algorithm="p-256")
    manage("key.smime.new", address="a@example.test", days=40)
    manage("key.smime.new", address="b@example.test", days=20)
    manage("key.smime.new", address="c@example.test", days=5)
    manage("key.smime.list")
    told = sorted(subject.split(" ", 1)[1] for subject in alerts)
    tap.equal(told, ["30 days", "30 days", "7 days"],
              "each is told at its nearest step; one of 40 days is not")
    key = manage("key.smime.list", match="c@")["keys"][0]
    manage("key.smime.retire", key=str(key["id"]))
    told = sorted(subject.split(" ", 1)[1] for subject in alerts)
    tap.equal(told, ["30 days", "30 days"], "a retired key is nobody's worry")
tap.done()
