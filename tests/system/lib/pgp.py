# SPDX-License-Identifier: ISC
"""OpenPGP in tests: our worker on the command line (tests/bench/pgp_work), and
programs that are not ours, each with keys of its own.

    w = pgp.World()
    w.new_ours("alice", "ed25519")
    w.new_gpg("bob", "ed25519", "cv25519")
    got = w.protect(mail, sign="alice", to=["bob"])
    got.word("outcome"), got.fact("verdict"), got.output
"""

import atexit
import base64
import email
import email.policy
import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import tempfile
import termios

BUILD = os.environ["POSTERN_BUILD"]
TOOL = os.path.join(BUILD, "tests/bench/pgp_work")
# None: mutt would ask for it, and each use of a key would take half a second.
PASSPHRASE = ""

# A program that waits for somebody at a keyboard has failed.
PATIENCE_S = 120

# A few lines for node: what is said on standard input, as JSON.
JS = r"""
const openpgp = require('openpgp');
const fs = require('fs');
const bytes = (text) => Uint8Array.from(Buffer.from(text, 'base64'));
const ask = JSON.parse(fs.readFileSync(0, 'utf8'));
const privateKey = async (k) => k && await openpgp.readPrivateKey(
    {armoredKey: k});
const publicKey = async (k) => k && await openpgp.readKey({armoredKey: k});
const verbs = {
  async make(a) {
    return await openpgp.generateKey({userIDs: [{name: a.name,
        email: a.address}], format: 'armored'});
  },
  async verify(a) {
    const result = await openpgp.verify({
        message: await openpgp.createMessage({binary: bytes(a.text)}),
        signature: await openpgp.readSignature(
            {armoredSignature: a.signature}),
        verificationKeys: await publicKey(a.key)});
    return {verified: await result.signatures[0].verified};
  },
  async decrypt(a) {
    const result = await openpgp.decrypt({
        message: await openpgp.readMessage({armoredMessage: a.message}),
        decryptionKeys: await privateKey(a.secret), format: 'binary',
        expectSigned: a.key !== null,
        verificationKeys: await publicKey(a.key)});
    return {text: Buffer.from(result.data).toString('base64')};
  },
  async seal(a) {
    return {text: await openpgp.encrypt({
        message: await openpgp.createMessage({binary: bytes(a.text)}),
        encryptionKeys: await publicKey(a.key),
        signingKeys: await privateKey(a.secret)})};
  },
  async sign(a) {
    return {text: await openpgp.sign({detached: true,
        message: await openpgp.createMessage({binary: bytes(a.text)}),
        signingKeys: await privateKey(a.secret)})};
  },
};
verbs[ask.verb](ask).then(
    (result) => console.log(JSON.stringify(result)),
    (error) => { console.error(error.message); process.exit(1); });
"""


# ---- messages ----

def mail(fields, body, sender="alice"):
    return (f"From: <{sender}@test.example>\r\nTo: <bob@test.example>\r\n"
            "Subject: a test\r\nDate: Sun, 22 Nov 2026 02:00:00 +0000\r\n"
            f"Message-ID: <1@test.example>\r\nMIME-Version: 1.0\r\n{fields}"
            "\r\n").encode() + body


def entity_of(message):
    """The fields Content-* and the body."""
    head, body = message.split(b"\r\n\r\n", 1)
    fields = re.findall(rb"(?ims)^content-.*?(?=^\S|\Z)", head + b"\r\n")
    return b"".join(fields) + b"\r\n" + body


def _outer(sender, content_type):
    return (f"From: <{sender}@test.example>\r\nTo: <us@test.example>\r\n"
            "Subject: a test\r\nMIME-Version: 1.0\r\n"
            f"Content-Type: {content_type}\r\n\r\n").encode()


def signed_mail(entity, signature, sender, after=b""):
    return (_outer(sender, 'multipart/signed; micalg=pgp-sha256; '
                   'protocol="application/pgp-signature"; boundary=outer') +
            b"--outer\r\n" + entity + b"\r\n--outer\r\n"
            b"Content-Type: application/pgp-signature\r\n\r\n" +
            crlf(signature) + after + b"\r\n--outer--\r\n")


def encrypted_mail(armored, sender):
    return (_outer(sender, 'multipart/encrypted; '
                   'protocol="application/pgp-encrypted"; boundary=outer') +
            b"--outer\r\nContent-Type: application/pgp-encrypted\r\n\r\n"
            b"Version: 1\r\n\r\n--outer\r\n"
            b"Content-Type: application/octet-stream\r\n\r\n" +
            crlf(armored) + b"\r\n--outer--\r\n")


def crlf(data):
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def boundary_of(message):
    head = message.split(b"\r\n\r\n", 1)[0]
    return re.search(rb'boundary="?([^"\r\n;]+)', head).group(1)


def parts_of(message):
    """The octets of each child of a multipart, as they stand."""
    delimiter = b"\r\n--" + boundary_of(message)
    body = b"\r\n" + message.split(b"\r\n\r\n", 1)[1]
    return [p.split(b"\r\n", 1)[1] for p in body.split(delimiter)[1:-1]]


def split_signed(message):
    entity, signature = parts_of(message)
    return entity, signature.split(b"\r\n\r\n", 1)[1]


def armored_of(message):
    return parts_of(message)[1].split(b"\r\n\r\n", 1)[1]


def is_7bit(message):
    return all(len(line) <= 998 and max(line, default=0) < 128
               for line in message.split(b"\r\n"))


def _leaves(message):
    parsed = email.message_from_bytes(message, policy=email.policy.SMTP)
    return [(p.get_content_type(), p.get_payload(decode=True))
            for p in parsed.walk() if not p.is_multipart()]


def same_content(a, b):
    return _leaves(a) == _leaves(b)


# ---- answers of our worker ----

class Answer:
    def __init__(self, output, notes):
        self.output = output
        self.notes = notes

    @property
    def text(self):
        return self.output.decode("utf-8", "replace")

    def word(self, name):
        for line in self.notes.splitlines():
            if line.startswith(name + " "):
                return line[len(name) + 1:]
        return None

    def fact(self, name):
        return self.word("fact " + name)


# ---- the world ----

class World:
    """Folders, keys and programs of one test; close() ends the agents."""

    def __init__(self):
        # Paths of sockets are short.
        self.dir = tempfile.mkdtemp(prefix="pgp")
        self.ours = os.path.join(self.dir, "ours")
        self.public = {}       # armored, by name
        self.secret = {}       # of sq and openpgp.js
        self.fingerprint = {}
        self.has_openpgpjs = self._run(
            ["node", "-e", "require('openpgp')"], ok=False).returncode == 0
        os.mkdir(os.path.join(self.dir, "public"))
        atexit.register(self.close)

    def close(self):
        for name in os.listdir(self.dir) if os.path.isdir(self.dir) else []:
            home = os.path.join(self.dir, name)
            if name.startswith("gpg-"):
                subprocess.run(["gpgconf", "--homedir", home, "--kill",
                                "all"], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def _run(self, argv, data=b"", ok=True, env=None):
        done = subprocess.run(argv, input=data, capture_output=True,
                              check=False, timeout=PATIENCE_S,
                              env={**os.environ, **(env or {})})
        if ok and done.returncode != 0:
            raise RuntimeError(f"{argv}: {done.stderr.decode()}")
        return done

    def path(self, name):
        return os.path.join(self.dir, name)

    def file(self, name, data):
        path = self.path(name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def public_path(self, name):
        return self.file(f"public/{name}.asc", self.public[name])

    # ---- ours ----

    def tool(self, *arguments, data=b"", ok=True):
        # A file, as large ones come from the broker.
        with open(self.file("input", data), "rb") as f:
            done = subprocess.run(
                [TOOL, self.ours, *arguments], stdin=f, capture_output=True,
                check=False)
        if ok and done.returncode != 0:
            raise RuntimeError(f"{arguments}: {done.stderr.decode()}")
        return done

    def new_ours(self, name, kind):
        made = self.tool("new", name, f"{name}@test.example", kind)
        self.fingerprint[name] = made.stdout.decode().strip()
        self.public[name] = self.tool("public", name).stdout
        self._tell_others(name)

    def _task(self, arguments, data):
        done = self.tool(*arguments, data=data, ok=False)
        return Answer(done.stdout, done.stderr.decode("utf-8", "replace"))

    def protect(self, message, sign=None, to=(), hidden=False, options=0):
        arguments = ["protect"] + (["--sign", sign] if sign else [])
        for name in to:
            arguments += ["--to", self.public_path(name)]
        if hidden:
            arguments += ["--hidden"]
        return self._task(arguments + ["--options", str(options)], message)

    def open(self, message, key=None, sender=None, known=(), limit=None,
             facts=()):
        arguments = ["open"] + (["--key", key] if key else [])
        for fact in facts:
            arguments += ["--fact", fact]
        if sender:
            arguments += ["--from", f"{sender}@test.example"]
        for name in known:
            arguments += ["--known", self.public_path(name)]
        if limit:
            arguments += ["--limit", str(limit)]
        return self._task(arguments, message)

    # ---- gpg ----

    def home(self, name):
        path = self.path("gpg-" + name)
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
        return path

    def gpg(self, name, arguments, data=b"", ok=True):
        argv = ["gpg", "--homedir", self.home(name), "--batch", "--quiet",
                "--trust-model", "always", "--pinentry-mode", "loopback",
                "--passphrase", PASSPHRASE, *arguments]
        done = self._run(argv, data, ok=ok)
        return done.stdout if ok else done

    def new_gpg(self, name, primary, subkey, expire="0"):
        self.gpg(name, ["--quick-gen-key",
                        f"{name} <{name}@test.example>", primary,
                        "sign,cert", expire])
        listed = self.gpg(name, ["--list-keys", "--with-colons"]).decode()
        self.fingerprint[name] = re.search("^fpr:+(.*?):", listed,
                                           re.M).group(1)
        self.gpg(name, ["--quick-add-key", self.fingerprint[name], subkey,
                        "encr", expire])
        self.refresh_gpg(name)
        for other in self.public:
            self.gpg(name, ["--import"], self.public[other])
        self._tell_others(name)

    def refresh_gpg(self, name):
        self.public[name] = self.gpg(
            name, ["--armor", "--export", self.fingerprint[name]])

    def _gpg_names(self):
        return [n[4:] for n in os.listdir(self.dir) if n.startswith("gpg-")]

    def _tell_others(self, name):
        for other in self._gpg_names():
            if other != name:
                self.gpg(other, ["--import"], self.public[name])

    def gpg_verifies(self, entity, signature, signer):
        done = self.gpg("bob" if signer != "bob" else "carl",
                        ["--status-fd", "1", "--verify",
                         self.file("sig", signature),
                         self.file("text", entity)], ok=False)
        return (done.returncode == 0 and b"VALIDSIG" in done.stdout and
                self.fingerprint[signer].encode() in done.stdout)

    # ---- sq ----

    def new_sq(self, name):
        path = self.path(name + ".sq")
        self._run(["sq", "key", "generate", "--userid",
                   f"{name} <{name}@test.example>", "--export", path])
        with open(path, "rb") as f:
            self.secret[name] = f.read()
        self.public[name] = self._run(
            ["sq", "key", "extract-cert", path]).stdout
        shown = self._run(["sq", "inspect", path]).stdout.decode()
        self.fingerprint[name] = re.search(r"Fingerprint: (\w+)",
                                           shown).group(1)
        self._tell_others(name)

    def sq_verifies(self, entity, signature, signer):
        done = self._run(["sq", "verify", "--signer-cert",
                          self.public_path(signer), "--detached",
                          self.file("sig", signature),
                          self.file("text", entity)], ok=False)
        return done.returncode == 0

    # ---- openpgp.js ----

    def js(self, **ask):
        text = json.dumps({k: v.decode() if isinstance(v, bytes) else v
                           for k, v in ask.items()})
        done = self._run(["node", "-e", JS], text.encode(), ok=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def new_js(self, name):
        made = self.js(verb="make", name=name,
                       address=f"{name}@test.example")
        self.secret[name] = made["privateKey"].encode()
        self.public[name] = made["publicKey"].encode()
        self._tell_others(name)

    def js_verifies(self, entity, signature, signer):
        got = self.js(verb="verify", text=base64.b64encode(entity),
                      signature=signature, key=self.public[signer])
        return got is not None and got["verified"] is True

    # ---- reading ours ----

    def decrypts(self, message, reader, signer):
        """The plaintext, its signature checked; None when that fails."""
        armored = armored_of(message)
        if reader == "eva":
            got = self.js(verb="decrypt", message=armored,
                          secret=self.secret[reader],
                          key=self.public[signer] if signer else None)
            return got and base64.b64decode(got["text"])
        if reader in self.secret:
            return self._sq_decrypts(armored, reader, signer)
        done = self.gpg(reader, ["--status-fd", "2", "--decrypt"], armored,
                        ok=False)
        wanted = [b"DECRYPTION_OKAY"] + ([b"VALIDSIG"] if signer else [])
        if done.returncode != 0 or any(w not in done.stderr for w in wanted):
            return None
        return done.stdout

    def _sq_decrypts(self, armored, reader, signer):
        argv = ["sq", "decrypt", "--recipient-key",
                self.file("secret", self.secret[reader])]
        if signer:
            argv += ["--signer-cert", self.public_path(signer)]
        done = self._run(argv + [self.file("sealed", armored)], ok=False)
        return done.stdout if done.returncode == 0 else None

    def key_ids(self, message):
        """For which keys a message is, by its packets."""
        shown = self._run(["gpg", "--homedir", self.home("bob"),
                           "--list-packets", "--list-only"],
                          armored_of(message), ok=False)
        return re.findall(r"keyid ([0-9A-F]{16})", shown.stdout.decode())

    # ---- made by others ----

    def seal_by_others(self, entity, reader):
        """Signed and encrypted: (who, armored), ..."""
        for signer in ("bob", "carl"):
            yield signer, self.gpg(signer, ["--armor", "--sign", "--encrypt",
                                            "-r", self.fingerprint[reader]],
                                   entity)
        # gpg 2.2 does not take sq's padding of long messages.
        yield "dora", self._run(
            ["sq", "encrypt", "--compression", "none", "--signer-key",
             self.file("secret", self.secret["dora"]), "--recipient-cert",
             self.public_path(reader), self.file("text", entity)]).stdout
        if self.has_openpgpjs:
            yield "eva", self.js(
                verb="seal", text=base64.b64encode(entity),
                key=self.public[reader],
                secret=self.secret["eva"])["text"].encode()

    def sign_by_others(self, entity):
        for signer in ("bob", "carl"):
            yield signer, self.gpg(
                signer, ["--armor", "--detach-sign"], entity)
        yield "dora", self._run(
            ["sq", "sign", "--detached", "--signer-key",
             self.file("secret", self.secret["dora"]),
             self.file("text", entity)]).stdout
        if self.has_openpgpjs:
            yield "eva", self.js(
                verb="sign", text=base64.b64encode(entity),
                secret=self.secret["eva"])["text"].encode()

    # ---- mutt ----

    def _mutt(self, name, arguments, typed=(), more=""):
        """On a terminal of its own; typed: what to wait for, what to type."""
        home = self.home(name)
        with open(os.path.join(home, "gpg.conf"), "w",
                  encoding="ascii") as f:
            f.write("trust-model always\n")
        rc = self.file("muttrc", (self._muttrc(name) + more).encode())
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ,
                    struct.pack("HHHH", 24, 80, 0, 0))
        with subprocess.Popen(
                ["mutt", "-n", "-F", rc, *arguments], stdin=slave,
                stdout=slave, stderr=slave, start_new_session=True,
                env={**os.environ, "GNUPGHOME": home, "TERM": "xterm",
                     "HOME": self.dir, "LC_ALL": "C.UTF-8"}) as mutt:
            os.close(slave)
            try:
                self._type(master, list(typed))
            finally:
                if mutt.poll() is None:
                    mutt.terminate()
        os.close(master)

    @staticmethod
    def _type(master, typed):
        """Until the other end is closed."""
        seen = b""
        while select.select([master], [], [], PATIENCE_S)[0]:
            try:
                piece = os.read(master, 65536)
            except OSError:
                return
            seen += piece
            if typed and typed[0][0] in seen:
                os.write(master, typed.pop(0)[1])
                seen = b""
        raise RuntimeError(f"mutt waits: {seen[-500:]!r}")

    def _muttrc(self, name):
        return ("set crypt_use_gpgme\nset charset=utf-8\n"
                "set send_charset=utf-8\nunset wait_key\nunset move\n"
                f"set from={name}@test.example\nset realname={name}\n"
                f"set pgp_sign_as={self.fingerprint[name]}\n"
                f"set folder={self.dir}\nunset record\nset tmpdir={self.dir}\n"
                "unset crypt_confirmhook\nset crypt_verify_sig=yes\n"
                "unset prompt_after\n")

    def mutt_shows(self, message, reader):
        """What mutt shows of that message."""
        box = self.file("box", b"From x Sun Nov 22 02:00:00 2026\n" +
                        message.replace(b"\r\n", b"\n") + b"\n")
        shown = self.path("shown")
        self._mutt(reader, ["-R", "-f", box, "-e",
                            "push <display-message><exit>"],
                   more=f'set pager="cp %s {shown}"\n')
        with open(shown, encoding="utf-8", errors="replace") as f:
            return f.read()

    def mutt_sends(self, sender, reader, text):
        """Signed and encrypted by mutt."""
        sent = self.path("sent")
        script = self.file("sendmail",
                           f"#!/bin/sh\ncat >{sent}\n".encode())
        os.chmod(script, 0o700)
        body = self.file("body", text.encode())
        # Without a terminal it would neither sign nor encrypt.
        self._mutt(sender, ["-s", "fromMutt", "-i", body,
                            f"{reader}@test.example"],
                   [(b"y:Send", b"y"), (b"PGP keys matching", b"\r"),
                    (b"use the key?", b"y")],
                   more=f'set sendmail="{script}"\nset editor=true\n'
                   "set abort_unmodified=no\nunset sendmail_wait\n"
                   "set crypt_autosign\nset crypt_autoencrypt\n"
                   "set autoedit\nset edit_headers\n")
        with open(sent, "rb") as f:
            return crlf(f.read())
