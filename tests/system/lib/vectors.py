# SPDX-License-Identifier: ISC
"""Messages, keys and certificates that others have published
(tests/system/data), and our S/MIME worker on the command line over them.

    content = vectors.message("rfc9788", "smime-multipart-hp")
    got = vectors.open_smime([content], anchors=[path], keys=[(cert, key)])[0]
    got.outcome, got.verdict, got.output
"""

import base64
import email
import email.policy
import os
import re
import subprocess

from . import smime
from .gateway import temporary_folder

DATA = os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "data")

_state = {"count": 0, "folder": None}


def path(*names):
    return os.path.join(DATA, *names)


def names(folder, start=""):
    """Of its messages, without ".eml"."""
    return sorted(name[:-4] for name in os.listdir(path(folder))
                  if name.endswith(".eml") and name.startswith(start))


def crlf(text):
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def message(folder, name):
    """As SMTP would carry it."""
    with open(path(folder, name + ".eml"), "rb") as f:
        return crlf(f.read())


def scratch(name):
    if _state["folder"] is None:
        _state["folder"] = temporary_folder("vectors-")
    return os.path.join(_state["folder"], name)


def save(data, end=".file"):
    _state["count"] += 1
    where = scratch(f"{_state['count']}{end}")
    with open(where, "wb") as f:
        f.write(data)
    return where


def openssl(*words, data=b"", ok=True):
    done = subprocess.run(["openssl", *words], input=data,
                          capture_output=True, check=False)
    if ok and done.returncode != 0:
        raise RuntimeError(f"openssl {words}: {done.stderr.decode()}")
    return done.stdout if done.returncode == 0 else None


# ---- our worker ----

def _work(arguments, verb, messages):
    paths = [save(content) for content in messages]
    done = subprocess.run([smime.TOOL, *arguments, verb, *paths],
                          capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode())
    return [smime.Answer(line, where) for line, where in zip(
        done.stdout.decode(errors="replace").splitlines(), paths)]


def open_smime(messages, anchors=(), keys=()):
    arguments = []
    for anchor in anchors:
        arguments += ["--anchor", anchor]
    for cert, key in keys:
        arguments += ["--decrypt", cert, key]
    return _work(arguments, "open", messages)


def protect_smime(content, sign=None, to=(), options=0):
    arguments = ["--options", str(options)]
    if sign:
        arguments += ["--sign", *sign]
    for cert in to:
        arguments += ["--to", cert]
    return _work(arguments, "protect", [content])[0]


# ---- messages ----

def field(content, name):
    """The only field of that name, unfolded; None: there is none."""
    head = content.split(b"\r\n\r\n", 1)[0] + b"\r\n"
    found = re.findall(rb"(?im)^" + name.encode() +
                       rb":[ \t]*((?:[^\r\n]|\r\n[ \t])*)\r\n", head)
    if len(found) > 1:
        raise ValueError(f"{len(found)} fields {name}")
    return re.sub(r"\r\n(?=[ \t])", "",
                  found[0].decode()).strip() if found else None


def body(content):
    return content.split(b"\r\n\r\n", 1)[1]


def change_field(content, name, value):
    return re.sub(rb"(?im)^" + name.encode() +
                  rb":(?:[^\r\n]|\r\n[ \t])*\r\n",
                  f"{name}: {value}\r\n".encode(), content, count=1)


def cms_of(content):
    """The CMS of application/pkcs7-mime, or of the signature's part."""
    found = re.search(rb"\r\n\r\n(MII[\w+/=\r\n]+)", content)
    return base64.b64decode(found[1]), found.span(1)


def with_cms(content, der):
    _, (start, end) = cms_of(content)
    text = base64.encodebytes(der).replace(b"\n", b"\r\n")
    return content[:start] + text + content[end:].lstrip(b"\r\n")


def flipped(content, at):
    """With one bit of its CMS turned over, there (from its end if < 0)."""
    der = bytearray(cms_of(content)[0])
    der[at] ^= 1
    return with_cms(content, bytes(der))


def text_of(content):
    """All text parts, as a reader sees them."""
    parsed = email.message_from_bytes(content, policy=email.policy.SMTP)
    return "\n".join(part.get_content() for part in parsed.walk()
                     if part.get_content_maintype() == "text")
