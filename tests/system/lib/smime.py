# SPDX-License-Identifier: ISC
"""S/MIME in tests: our worker on the command line (tests/bench/smime_work),
and programs that are not ours, each with the same keys.

    w = smime.World()
    w.person("alice", "rsa", "alice@example.org")
    got = w.protect(mail, sign="alice", to=["bob"])
    got.outcome, got.verdict, got.output
"""

import atexit
import base64
import json
import os
import re
import shutil
import subprocess
import tempfile

BUILD = os.environ["POSTERN_BUILD"]
TOOL = os.path.join(BUILD, "tests/bench/smime_work")
PASSPHRASE = "x"

# A program that waits for somebody at a keyboard has failed.
PATIENCE_S = 120

# enum protect_option
OPAQUE, HEADERS, SUBJECT, LEGACY = 1, 2, 4, 32

# node-forge reads enveloped data for RSA by AES-CBC, and writes it.
JS = r"""
const forge = require('node-forge');
const ask = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const bytes = (text) => forge.util.decode64(text);
const cert = forge.pki.certificateFromPem(ask.cert);
if (ask.verb === 'decrypt') {
  const p7 = forge.pkcs7.messageFromAsn1(forge.asn1.fromDer(bytes(ask.der)));
  p7.decrypt(p7.findRecipient(cert), forge.pki.privateKeyFromPem(ask.key));
  console.log(forge.util.encode64(p7.content.getBytes()));
} else if (ask.verb === 'encrypt') {
  const p7 = forge.pkcs7.createEnvelopedData();
  p7.addRecipient(cert);
  p7.content = forge.util.createBuffer(bytes(ask.text));
  p7.encrypt();
  console.log(forge.util.encode64(
      forge.asn1.toDer(p7.toAsn1()).getBytes()));
} else {
  const p7 = forge.pkcs7.createSignedData();
  p7.content = forge.util.createBuffer(bytes(ask.text));
  p7.addCertificate(cert);
  p7.addSigner({key: forge.pki.privateKeyFromPem(ask.key),
      certificate: cert, digestAlgorithm: forge.pki.oids.sha256,
      authenticatedAttributes: [
          {type: forge.pki.oids.contentType, value: forge.pki.oids.data},
          {type: forge.pki.oids.messageDigest},
          {type: forge.pki.oids.signingTime, value: new Date()}]});
  p7.sign({detached: true});
  console.log(forge.util.encode64(
      forge.asn1.toDer(p7.toAsn1()).getBytes()));
}
"""

# M2Crypto: verifies and decrypts whole messages.
M2 = r"""
import sys
from M2Crypto import BIO, SMIME, X509
verb, cert, key, name = sys.argv[1:]
s = SMIME.SMIME()
p7, data = SMIME.smime_load_pkcs7(name)
if verb == 'verify':
    store = X509.X509_Store()
    store.load_info(key)
    s.set_x509_store(store)
    s.set_x509_stack(X509.X509_Stack())
    out = s.verify(p7, data, SMIME.PKCS7_BINARY)
else:
    s.load_key(key, cert)
    out = s.decrypt(p7)
sys.stdout.buffer.write(out)
"""


def mail(fields, body, sender="alice"):
    return (f"From: {sender}@example.org\r\nTo: bob@example.net\r\n"
            "Subject: between us\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
            "Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n"
            f"{fields}\r\n").encode() + body


def entity_of(message):
    """Its Content-* fields and its body."""
    head, body = message.split(b"\r\n\r\n", 1)
    fields = re.findall(rb"(?im)^content-[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*",
                        head + b"\r\n")
    return b"".join(fields) + b"\r\n" + body


def parts_of(message):
    """What stands between the delimiters of a multipart, octet by octet."""
    boundary = re.search(rb'(?is)boundary="?([^";\r\n]+)',
                         message.split(b"\r\n\r\n", 1)[0]).group(1)
    pieces = message.split(b"\r\n--" + boundary)
    return [piece.split(b"\r\n", 1)[1] for piece in pieces[1:-1]]


def der_of(entity):
    return base64.b64decode(entity.split(b"\r\n\r\n", 1)[1])


def signed_mail(entity, der, sender="alice"):
    return (f"From: {sender}@example.org\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/signed; "
            'protocol="application/pkcs7-signature"; micalg=sha-256; '
            'boundary="theirs"\r\n\r\n--theirs\r\n').encode() + entity + (
                b"\r\n--theirs\r\nContent-Type: application/pkcs7-signature"
                b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                + lines(der) + b"--theirs--\r\n")


def encrypted_mail(der, sender="alice"):
    return (f"From: {sender}@example.org\r\nMIME-Version: 1.0\r\n"
            "Content-Type: application/pkcs7-mime; name=smime.p7m\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n").encode() + lines(der)


def lines(der):
    return base64.encodebytes(der).replace(b"\n", b"\r\n")


class Answer:
    def __init__(self, line, path):
        self.outcome, self.applied, self.verdict, _, self.words = (
            line.split(" ", 4))
        self.output = b""
        if os.path.exists(path + ".out"):
            with open(path + ".out", "rb") as f:
                self.output = f.read()


class World:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="postern-smime-")
        atexit.register(self.close)
        self.count = 0
        self.kinds = {}
        self.addresses = {}
        self.fingerprints = {}
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes",
                      "-keyout", self.path("ca.key"), "-out",
                      self.path("ca.pem"), "-days", "30", "-subj",
                      "/CN=Test authority")
        self.has_forge = self.run(["node", "-e", "require('node-forge')"],
                                  ok=False).returncode == 0
        self._make_gpgsm()
        self.run(["certutil", "-N", "-d", self._nss, "--empty-password"])
        self.run(["certutil", "-A", "-n", "ca", "-t", "C,C,C", "-d",
                  self._nss, "-i", self.path("ca.pem")])

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.path("gpgsm"), "--kill",
                        "all"], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def file(self, data):
        self.count += 1
        path = self.path(f"{self.count}.file")
        with open(path, "wb") as f:
            f.write(data)
        return path

    def run(self, argv, data=b"", ok=True, env=None):
        result = subprocess.run(
            argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            check=False, timeout=PATIENCE_S, cwd=self.dir,
            env={**os.environ, **(env or {})})
        if ok and result.returncode != 0:
            raise RuntimeError(f"{argv}: {result.returncode}: "
                               f"{result.stderr.decode(errors='replace')}")
        return result

    def _openssl(self, *words, data=b"", ok=True):
        return self.run(["openssl", *words], data, ok)

    # ---- keys ----

    def person(self, name, kind, address):
        stem = self.path(name)
        new = {"rsa": ["-newkey", "rsa:2048"],
               "ec": ["-newkey", "ec", "-pkeyopt",
                      "ec_paramgen_curve:P-256"]}[kind]
        usage = {"rsa": "keyEncipherment", "ec": "keyAgreement"}[kind]
        with open(stem + ".ext", "w", encoding="ascii") as f:
            f.write("extendedKeyUsage=emailProtection\n"
                    f"keyUsage=digitalSignature,{usage}\n"
                    f"subjectAltName=email:{address}\n"
                    "subjectKeyIdentifier=hash\n"
                    "authorityKeyIdentifier=keyid\n")
        self._openssl("req", *new, "-nodes", "-keyout", stem + ".key", "-out",
                      stem + ".csr", "-subj", f"/CN={name}")
        self._openssl("x509", "-req", "-in", stem + ".csr", "-CA",
                      self.path("ca.pem"), "-CAkey", self.path("ca.key"),
                      "-CAcreateserial", "-days", "10", "-extfile",
                      stem + ".ext", "-out", stem + ".pem")
        self.kinds[name] = kind
        self.addresses[name] = address
        self.fingerprints[name] = self._openssl(
            "x509", "-in", stem + ".pem", "-noout", "-fingerprint",
            "-sha1").stdout.decode().split("=")[1].strip().replace(":", "")
        if kind == "rsa":
            self._give_to_gpgsm(stem, name)
        else:
            self._export(stem, name)
            # gpgsm 2.2 crashes over the key of an EC certificate.
            self._gpgsm("--import", stem + ".pem")
        self.run(["pk12util", "-i", stem + ".p12", "-d", self._nss, "-W",
                  PASSPHRASE, "-K", ""])

    def _export(self, stem, name):
        self._openssl("pkcs12", "-export", "-in", stem + ".pem", "-inkey",
                      stem + ".key", "-out", stem + ".p12", "-name", name,
                      "-certpbe", "PBE-SHA1-3DES", "-keypbe",
                      "PBE-SHA1-3DES", "-macalg", "sha1", "-passout",
                      "pass:" + PASSPHRASE)

    # ---- our worker ----

    def _task(self, arguments, verb, messages):
        paths = [self.file(message) for message in messages]
        result = self.run([TOOL, *arguments, verb, *paths])
        return [Answer(line, path) for line, path in zip(
            result.stdout.decode(errors="replace").splitlines(), paths)]

    def protect_all(self, messages, sign=None, to=(), aead=False, options=0,
                    prefer=None):
        arguments = ["--options", str(options)] + ["--aead"] * aead
        if prefer:
            arguments += ["--prefer", self.path(prefer + ".pem")]
        if sign:
            arguments += ["--sign", self.path(sign + ".pem"),
                          self.path(sign + ".key")]
        for name in to:
            arguments += ["--to", self.path(name + ".pem")]
        return self._task(arguments, "protect", messages)

    def protect(self, message, **how):
        return self.protect_all([message], **how)[0]

    def open_all(self, messages, key=None):
        arguments = ["--anchor", self.path("ca.pem")]
        if key:
            arguments += ["--decrypt", self.path(key + ".pem"),
                          self.path(key + ".key")]
        return self._task(arguments, "open", messages)

    def open(self, message, key=None):
        return self.open_all([message], key)[0]

    # ---- openssl cms ----

    def openssl_verifies(self, message):
        """The signed entity, or None."""
        result = self._openssl(
            "cms", "-verify", "-in", self.file(message),
            "-CAfile", self.path("ca.pem"), "-purpose", "smimesign",
            ok=False)
        return result.stdout if result.returncode == 0 else None

    def openssl_decrypts(self, message, name):
        result = self._openssl(
            "cms", "-decrypt", "-in", self.file(message), "-recip",
            self.path(name + ".pem"), "-inkey", self.path(name + ".key"),
            ok=False)
        return result.stdout if result.returncode == 0 else None

    def openssl_signs(self, entity, name, *more):
        return self._openssl(
            "cms", "-sign", "-binary", "-outform", "DER", "-signer",
            self.path(name + ".pem"), "-inkey", self.path(name + ".key"),
            *more, data=entity).stdout

    def openssl_encrypts(self, entity, name, *more):
        return self._openssl(
            "cms", "-encrypt", "-binary", "-outform", "DER", "-recip",
            self.path(name + ".pem"), *more, data=entity).stdout

    # ---- gpgsm ----

    def _make_gpgsm(self):
        home = self.path("gpgsm")
        os.mkdir(home, 0o700)
        with open(os.path.join(home, "gpgsm.conf"), "w",
                  encoding="ascii") as f:
            f.write("disable-crl-checks\ndisable-policy-checks\n")
        with open(os.path.join(home, "gpg-agent.conf"), "w",
                  encoding="ascii") as f:
            f.write("allow-loopback-pinentry\n")
        fingerprint = self._openssl(
            "x509", "-in", self.path("ca.pem"), "-noout", "-fingerprint",
            "-sha1").stdout.decode().split("=")[1].strip()
        with open(os.path.join(home, "trustlist.txt"), "w",
                  encoding="ascii") as f:
            f.write(fingerprint + " S relax\n")
        self._gpgsm("--import", self.path("ca.pem"))

    def _gpgsm(self, *words, data=b"", ok=True):
        return self.run(["gpgsm", "--homedir", self.path("gpgsm"), "--batch",
                         "--no-tty", *words], data, ok)

    def _secret(self, *words, ok=True):
        return self._gpgsm("--pinentry-mode", "loopback", "--passphrase-fd",
                           "0", *words, data=PASSPHRASE.encode() + b"\n",
                           ok=ok)

    def _give_to_gpgsm(self, stem, name):
        # gpgsm 2.2 derives a wrong key from one salt in fifty and calls that
        # file damaged; another export has another salt.
        for _ in range(9):
            self._export(stem, name)
            result = self._secret("--import", stem + ".p12", ok=False)
            if result.returncode == 0:
                return
        raise RuntimeError(result.stderr.decode(errors="replace"))

    def gpgsm_verifies(self, entity, der):
        result = self._gpgsm("--verify", self.file(der), self.file(entity),
                             ok=False)
        return result.returncode == 0 and b"Good signature" in result.stderr

    def gpgsm_decrypts(self, der):
        out = self.file(b"")
        os.unlink(out)
        self._secret("-o", out, "--decrypt", self.file(der), ok=False)
        if not os.path.exists(out):
            return None
        with open(out, "rb") as f:
            return f.read()

    def gpgsm_signs(self, entity, name):
        out = self.file(b"")
        os.unlink(out)
        self._secret("-o", out, "--local-user", self.fingerprints[name],
                     "--digest-algo", "SHA256", "--detach-sign",
                     self.file(entity))
        with open(out, "rb") as f:
            return f.read()

    def gpgsm_encrypts(self, entity, name):
        return self._gpgsm("--encrypt", "--recipient",
                           self.fingerprints[name], data=entity).stdout

    # ---- NSS ----

    @property
    def _nss(self):
        os.makedirs(self.path("nss"), exist_ok=True)
        return "sql:" + self.path("nss")

    def nss_verifies(self, entity, der):
        result = self.run(["cmsutil", "-D", "-d", self._nss, "-u", "4", "-n",
                           "-c", self.file(entity), "-i", self.file(der),
                           "-h", "0"], ok=False)
        return b"signer0.status=GoodSignature" in result.stdout

    def nss_decrypts(self, der):
        out = self.path("nss.out")
        result = self.run(["cmsutil", "-D", "-d", self._nss, "-i",
                           self.file(der), "-o", out], ok=False)
        if result.returncode != 0:
            return None
        with open(out, "rb") as f:
            return f.read()

    def nss_signs(self, entity, name):
        out = self.path("nss.out")
        self.run(["cmsutil", "-S", "-d", self._nss, "-N", name, "-T", "-H",
                  "SHA256", "-G", "-i", self.file(entity), "-o", out])
        with open(out, "rb") as f:
            return f.read()

    def nss_encrypts(self, entity, name):
        out = self.path("nss.out")
        self.run(["cmsutil", "-E", "-d", self._nss, "-r",
                  self.addresses[name], "-i", self.file(entity), "-o", out])
        with open(out, "rb") as f:
            return f.read()

    # ---- M2Crypto ----

    def m2(self, verb, message, name):
        key = self.path("ca.pem") if verb == "verify" else self.path(
            name + ".key")
        result = self.run(["/usr/bin/python3", "-c", M2, verb,
                           self.path(name + ".pem"), key,
                           self.file(message)], ok=False)
        return result.stdout if result.returncode == 0 else None

    # ---- node-forge ----

    def forge(self, verb, name, data):
        ask = {"verb": verb}
        for what, end in (("cert", ".pem"), ("key", ".key")):
            with open(self.path(name + end), encoding="ascii") as f:
                ask[what] = f.read()
        ask["der" if verb == "decrypt" else "text"] = base64.b64encode(
            data).decode()
        result = self.run(["node", "-e", JS], json.dumps(ask).encode())
        return base64.b64decode(result.stdout)
