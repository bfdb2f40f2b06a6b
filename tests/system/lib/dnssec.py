# SPDX-License-Identifier: ISC
"""Signs a zone for dns.NameServer with a fresh key, by ldns.

    zone = dnssec.sign("secure.test", "@ MX 10 mx ...")
    zone.text       # for NameServer
    zone.anchor     # its DS record, for dns.trust_anchors
"""

import os
import re
import shutil
import subprocess

from . import dns, tap
from .gateway import temporary_folder


class SignedZone:
    def __init__(self, text, anchor):
        self.text = text
        self.anchor = anchor

    def altered(self, pattern, replacement):
        """The zone's text with one record changed behind the signer's back."""
        text, count = re.subn(pattern, replacement, self.text,
                              flags=re.MULTILINE)
        if count == 0:
            raise ValueError(f"nothing like {pattern} in the zone")
        return text


def sign(name, text, expires=None):
    """expires: YYYYMMDD, else in four weeks."""
    if shutil.which("ldns-signzone") is None:
        tap.skip_all("no ldns-signzone here; tests/deps installs it")
    folder = temporary_folder("postern-dnssec-")
    path = os.path.join(folder, "zone")
    with open(path, "w", encoding="utf-8") as f:
        rows = "\n".join(row.strip() for row in text.split("\n"))
        f.write(f"$ORIGIN {name}.\n$TTL 60\n{dns.SOA}{rows}\n")
    key = subprocess.run(
        ["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", name], cwd=folder,
        check=True, capture_output=True, text=True).stdout.strip()
    # A signature cannot end before it begins.
    dates = ["-i", "20200101", "-e", expires] if expires else []
    subprocess.run(["ldns-signzone", *dates, "-f", path + ".signed", path,
                    key], cwd=folder, check=True, capture_output=True)
    with open(path + ".signed", encoding="utf-8") as f:
        signed = f.read().replace("\t", " ")
    with open(os.path.join(folder, key + ".ds"), encoding="utf-8") as f:
        anchor = " ".join(f.read().split())
    return SignedZone(signed, anchor)
