# SPDX-License-Identifier: ISC
"""A certificate authority of the test's own, made by the openssl command.

    ca = Authority()
    cert, key = ca.issue("mx.example.test", "*.example.test")
    sink = Sink(tls=ca.server_context("mx.example.test"))
"""

import os
import ssl
import subprocess

from .gateway import temporary_folder


def _openssl(*words):
    subprocess.run(["openssl", *words], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    """ca.pem is the file to trust."""

    def __init__(self, name="Test authority"):
        self.folder = temporary_folder("postern-ca-")
        self.count = 0
        self.cert = os.path.join(self.folder, "ca.pem")
        self.key = os.path.join(self.folder, "ca.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key,
                 "-out", self.cert, "-days", "30", "-subj", f"/CN={name}")

    def issue(self, *names, days=10, key_type="ec"):
        """(certificate, key) files.  days may be negative: expired."""
        self.count += 1
        stem = os.path.join(self.folder, str(self.count))
        kind = {"ec": ["-newkey", "ec", "-pkeyopt",
                       "ec_paramgen_curve:P-256"],
                "rsa": ["-newkey", "rsa:2048"]}[key_type]
        _openssl("req", *kind, "-nodes", "-keyout", stem + ".key", "-out",
                 stem + ".csr", "-subj", f"/CN={names[0]}")
        with open(stem + ".ext", "w", encoding="utf-8") as f:
            f.write("subjectAltName=" + ",".join(
                f"DNS:{name}" for name in names) + "\n"
                "basicConstraints=CA:FALSE\n")
        _openssl("x509", "-req", "-in", stem + ".csr", "-CA", self.cert,
                 "-CAkey", self.key, "-CAcreateserial", "-days", str(days),
                 "-extfile", stem + ".ext", "-out", stem + ".pem")
        return stem + ".pem", stem + ".key"

    def server_context(self, *names, **arguments):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(*names, **arguments))
        return context
