# SPDX-License-Identifier: ISC
"""CAs for mail that publish lists of revoked certificates, made by openssl.

    root = crls.Ca("Root")
    ruth = root.issue("ruth", "ruth@dest.test", point="http://ca.test/1.crl")
    root.revoke(ruth)
    octets = root.crl(days=7)
    content = ruth.signs(entity)                 # a whole message
"""

import datetime
import os
import subprocess

from .gateway import temporary_folder

SEQUENCE, INTEGER, BITS, UTC = 0x30, 0x02, 0x03, 0x17


def openssl(*words, data=b""):
    result = subprocess.run(["openssl", *words], input=data,
                            capture_output=True, check=False, timeout=120)
    if result.returncode != 0:
        raise RuntimeError(f"openssl {words}: {result.stderr.decode()}")
    return result.stdout


def utc(seconds):
    """A time so many seconds from now, as openssl and DER write it."""
    when = datetime.datetime.now(datetime.timezone.utc)
    when += datetime.timedelta(seconds=seconds)
    return when.strftime("%y%m%d%H%M%SZ")


def der(tag, *parts):
    body = b"".join(parts)
    n = len(body)
    size = (bytes([n]) if n < 128 else
            (lambda o: bytes([0x80 | len(o)]) + o)(
                n.to_bytes((n.bit_length() + 7) // 8, "big")))
    return bytes([tag]) + size + body


class Signer:
    def __init__(self, ca, name, address):
        self.ca, self.name, self.address = ca, name, address
        self.stem = ca.path(name)

    @property
    def pem(self):
        return self.stem + ".pem"

    @property
    def serial(self):
        text = openssl("x509", "-in", self.pem, "-noout", "-serial").decode()
        return text.strip().split("=")[1]

    def signs(self, to, extra=(), subject="hello"):
        """A message, signed, with further certificates in it."""
        entity = b"Content-Type: text/plain\r\n\r\nsome text\r\n"
        words = []
        for path in extra:
            words += ["-certfile", path]
        signed = openssl("cms", "-sign", "-signer", self.pem, "-inkey",
                         self.stem + ".key", "-md", "sha256", *words,
                         data=entity.replace(b"\r\n", b"\n"))
        head = (f"From: {self.address}\r\nTo: {to}\r\n"
                f"Subject: {subject}\r\n"
                "Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
                f"Message-ID: <{os.urandom(8).hex()}@test.invalid>\r\n")
        return head.encode() + signed.replace(b"\r\n", b"\n").replace(
            b"\n", b"\r\n")


class Ca:
    """The root of a hierarchy, or with an issuer a CA below that."""

    def __init__(self, name, issuer=None, point=None, days=60):
        self.folder = temporary_folder("crls-")
        self.issuer = issuer
        self.name = name
        self.count = 0
        self.pem, self.key = self.path("ca.pem"), self.path("ca.key")
        with open(self.path("index.txt"), "w", encoding="ascii"):
            pass
        extensions = ["basicConstraints=critical,CA:TRUE",
                      "keyUsage=critical,keyCertSign,cRLSign"]
        if point:
            extensions.append(f"crlDistributionPoints=URI:{point}")
        if issuer is None:
            words = [w for e in extensions for w in ("-addext", e)]
            openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes",
                    "-keyout", self.key, "-out", self.pem, "-days",
                    str(days), "-subj", f"/CN={name}", "-config",
                    self._plain(), *words)
        else:
            issuer._issue(self.path("ca"), name, extensions, days)

    def path(self, name):
        return os.path.join(self.folder, name)

    def _plain(self):
        """A configuration without extensions of its own."""
        path = self.path("plain.cnf")
        with open(path, "w", encoding="ascii") as f:
            f.write("[req]\ndistinguished_name=n\n[n]\n")
        return path

    def _issue(self, stem, name, extensions, days):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout",
                stem + ".key", "-out", stem + ".csr", "-subj", f"/CN={name}")
        with open(stem + ".ext", "w", encoding="ascii") as f:
            f.write("\n".join(extensions) + "\n")
        openssl("x509", "-req", "-in", stem + ".csr", "-CA", self.pem,
                "-CAkey", self.key, "-set_serial",
                "0x5" + os.urandom(15).hex(), "-days", str(days), "-extfile",
                stem + ".ext", "-out", stem + ".pem")

    def issue(self, name, address, point=None, days=10):
        signer = Signer(self, name, address)
        extensions = ["extendedKeyUsage=emailProtection",
                      "keyUsage=digitalSignature,keyEncipherment",
                      f"subjectAltName=email:{address}"]
        if point:
            extensions.append(f"crlDistributionPoints=URI:{point}")
        self._issue(signer.stem, name, extensions, days)
        return signer

    def _conf(self, extensions=()):
        path = self.path("ca.cnf")
        with open(path, "w", encoding="ascii") as f:
            f.write("[ca]\ndefault_ca=a\n[a]\ndatabase="
                    + self.path("index.txt")
                    + "\ndefault_md=sha256\ncrl_extensions=e\n[e]\n"
                    + "\n".join(extensions) + "\n")
        return path

    def revoke(self, certificate):
        pem = getattr(certificate, "pem", certificate)
        openssl("ca", "-config", self._conf(), "-cert", self.pem, "-keyfile",
                self.key, "-revoke", pem)

    def crl(self, since=-60, until=7 * 86400, extensions=(), md="sha256"):
        """DER; the times are seconds from now."""
        openssl("ca", "-config", self._conf(extensions), "-cert", self.pem,
                "-keyfile", self.key, "-gencrl", "-crl_lastupdate",
                utc(since), "-crl_nextupdate", utc(until), "-md", md, "-out",
                self.path("out.crl"))
        return openssl("crl", "-in", self.path("out.crl"), "-outform", "DER")

    def large_crl(self, count, serials=(), until=7 * 86400):
        """One with so many entries, and these; written by hand: openssl ca
        would take minutes."""
        algorithm = der(SEQUENCE, bytes.fromhex("06092a864886f70d01010b"),
                        b"\x05\x00")
        when = der(UTC, utc(-60).encode())
        reason = bytes.fromhex("300c300a0603551d1504030a0104")
        name = der(SEQUENCE, der(0x31, der(
            SEQUENCE, bytes.fromhex("0603550403"),
            der(0x0c, self.name.encode()))))
        entries = [der(SEQUENCE, der(INTEGER, b"\x41" + os.urandom(15)), when,
                       reason) for _ in range(count)]
        entries += [der(SEQUENCE, der(INTEGER, bytes.fromhex(s)), when,
                        reason) for s in serials]
        signed = der(SEQUENCE, der(INTEGER, b"\x01"), algorithm, name, when,
                     der(UTC, utc(until).encode()),
                     der(SEQUENCE, *entries))
        signature = openssl("dgst", "-sha256", "-sign", self.key, data=signed)
        return der(SEQUENCE, signed, algorithm,
                   der(BITS, b"\0", signature))
