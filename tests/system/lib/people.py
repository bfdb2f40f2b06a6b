# SPDX-License-Identifier: ISC
"""Correspondents of the gateway, with keys of their own in openssl and gpg,
and how they read and write mail.

    p = people.People()
    p.new_smime("bob", "bob@dest.test")
    p.new_pgp("carl", "carl@dest.test")
    p.introduce(gw)                     # the gateway gets to know them
    inside = p.smime_decrypts(content, "bob")
"""

import os
import re
import subprocess

from . import tap
from .gateway import temporary_folder

# A program that waits for somebody at a keyboard has failed.
PATIENCE_S = 120


def entity_of(message):
    """Its Content-* fields and its body."""
    head, body = message.split(b"\r\n\r\n", 1)
    fields = re.findall(rb"(?im)^content-[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*",
                        head + b"\r\n")
    return b"".join(fields) + b"\r\n" + body


def with_entity(head, entity):
    """A message of these header lines with such a root."""
    return head.encode() + b"MIME-Version: 1.0\r\n" + entity


def crlf(data):
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class People:
    def __init__(self):
        self.folder = temporary_folder("people-")
        self.home = self.path("gpg")
        os.mkdir(self.home, 0o700)
        self.count = 0
        self.smime = {}  # name: address
        self.pgp = {}    # name: fingerprint
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                     self.path("ca.key"), "-out", self.path("ca.pem"),
                     "-days", "60", "-subj", "/CN=Their authority")
        tap.at_done(lambda failed: self._run(
            ["gpgconf", "--homedir", self.home, "--kill", "all"], ok=False))

    def path(self, name):
        return os.path.join(self.folder, name)

    def file(self, data):
        """A new file with these octets; its path."""
        self.count += 1
        path = self.path(f"{self.count}.file")
        with open(path, "wb") as f:
            f.write(data)
        return path

    def _run(self, argv, data=b"", ok=True):
        result = subprocess.run(argv, input=data, capture_output=True,
                                check=False, timeout=PATIENCE_S)
        if ok and result.returncode != 0:
            raise RuntimeError(f"{argv}: {result.returncode}: "
                               + result.stderr.decode(errors="replace"))
        return result

    def openssl(self, *words, data=b"", ok=True):
        return self._run(["openssl", *words], data, ok)

    def gpg(self, *words, data=b"", ok=True):
        return self._run(
            ["gpg", "--homedir", self.home, "--batch", "--quiet",
             "--trust-model", "always", "--pinentry-mode", "loopback",
             "--passphrase", "", *words], data, ok)

    # ---- keys ----

    def new_smime(self, name, address,
                  usage="digitalSignature,keyEncipherment"):
        stem = self.path(name)
        with open(stem + ".ext", "w", encoding="ascii") as f:
            f.write("extendedKeyUsage=emailProtection\n"
                    f"keyUsage={usage}\n"
                    f"subjectAltName=email:{address}\n")
        self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout",
                     stem + ".key", "-out", stem + ".csr", "-subj",
                     f"/CN={name}")
        self.openssl("x509", "-req", "-in", stem + ".csr", "-CA",
                     self.path("ca.pem"), "-CAkey", self.path("ca.key"),
                     "-CAcreateserial", "-days", "100", "-extfile",
                     stem + ".ext", "-out", stem + ".pem")
        self.smime[name] = address

    def new_pgp(self, name, address):
        self.gpg("--quick-gen-key", f"{name} <{address}>", "ed25519",
                 "sign,cert", "0")
        listed = self.gpg("--list-keys", "--with-colons", address).stdout
        self.pgp[name] = re.search(rb"^fpr:+(.*?):", listed,
                                   re.M)[1].decode()
        self.gpg("--quick-add-key", self.pgp[name], "cv25519", "encr", "0")

    def introduce(self, gw):
        """Gives the gateway their certificates and keys, and their CA."""
        gw.cli("key", "anchor", "add", self.path("ca.pem"))
        for name in self.smime:
            gw.cli("key", "smime", "import", self.path(name + ".pem"))
        for fingerprint in self.pgp.values():
            armored = self.gpg("--armor", "--export", fingerprint).stdout
            gw.cli("key", "pgp", "import", self.file(armored))

    # ---- S/MIME ----

    def smime_verifies(self, content, ca):
        """The signed entity, or None.  ca: the file to believe."""
        result = self.openssl("cms", "-verify", "-in", self.file(content),
                              "-CAfile", ca, "-purpose", "smimesign",
                              ok=False)
        return result.stdout if result.returncode == 0 else None

    def smime_decrypts(self, content, name):
        result = self.openssl("cms", "-decrypt", "-in", self.file(content),
                              "-recip", self.path(name + ".pem"), "-inkey",
                              self.path(name + ".key"), ok=False)
        return result.stdout if result.returncode == 0 else None

    def smime_signs(self, entity, name, *options):
        """An entity again: multipart/signed, or opaque with -nodetach."""
        return crlf(self.openssl(
            "cms", "-sign", "-binary", "-signer", self.path(name + ".pem"),
            "-inkey", self.path(name + ".key"), *options,
            data=entity).stdout).split(b"MIME-Version: 1.0\r\n", 1)[1]

    def smime_encrypts(self, entity, certificate):
        return crlf(self.openssl(
            "cms", "-encrypt", "-binary", "-aes256", "-recip", certificate,
            data=entity).stdout).split(b"MIME-Version: 1.0\r\n", 1)[1]

    # ---- OpenPGP ----

    def pgp_knows(self, armored):
        self.gpg("--import", data=armored)

    def pgp_decrypts(self, content, name, signer):
        """What is in a PGP/MIME message for that one's key alone; None
        without a valid signature of that address."""
        found = re.search(rb"-----BEGIN PGP MESSAGE-----.*"
                          rb"-----END PGP MESSAGE-----", content, re.S)
        if not found:
            return None
        result = self.gpg("--status-fd", "2", "--try-secret-key",
                          self.pgp[name], "--decrypt", data=found[0],
                          ok=False)
        status = result.stderr.decode(errors="replace")
        if (result.returncode != 0 or "DECRYPTION_OKAY" not in status
                or "VALIDSIG" not in status
                or not re.search(f"GOODSIG .*{re.escape(signer)}", status)):
            return None
        return result.stdout

    def pgp_readers(self, content):
        """Key ids that a message names, "0" * 16 for a hidden one."""
        found = re.search(rb"-----BEGIN PGP MESSAGE-----.*"
                          rb"-----END PGP MESSAGE-----", content, re.S)
        shown = self.gpg("--list-packets", "--list-only", data=found[0],
                         ok=False)
        return re.findall(r"keyid ([0-9A-F]{16})", shown.stdout.decode())

    def pgp_subkey(self, name):
        """The id of the key to encrypt to."""
        listed = self.gpg("--list-keys", "--with-colons", self.pgp[name])
        return re.search(r"^sub:(?:[^:]*:){3}([0-9A-F]{16})",
                         listed.stdout.decode(), re.M)[1]

    def _sealed(self, entity, reader, *options):
        armored = self.gpg("--armor", *options, "--encrypt",
                           "--recipient", reader, data=entity).stdout
        return (b'Content-Type: multipart/encrypted; '
                b'protocol="application/pgp-encrypted"; boundary="theirs"'
                b"\r\n\r\n--theirs\r\n"
                b"Content-Type: application/pgp-encrypted\r\n\r\n"
                b"Version: 1\r\n\r\n--theirs\r\n"
                b"Content-Type: application/octet-stream\r\n\r\n"
                + crlf(armored) + b"\r\n--theirs--\r\n")

    def pgp_encrypts(self, entity, reader):
        """An entity again, multipart/encrypted.  reader: a fingerprint."""
        return self._sealed(entity, reader)

    def pgp_signs_and_encrypts(self, entity, name, reader):
        """The same, signed by that one."""
        return self._sealed(entity, reader, "--local-user",
                            self.pgp[name], "--sign")
