#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Keys from end to end: what we make is read by OpenSSL, GnuPG and dkimpy,
theirs is read by us, and what must not be taken leaves nothing."""

import base64
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import gateway, tap  # noqa: E402

gw = gateway.Gateway(postmaster="anna@example.org", settings={
    "dns.servers": "127.0.0.1:1"})
folder = gateway.temporary_folder()
STATE = os.path.join(gw.root, "var/lib/postern/signerd")
WORDS = "correct horse"


def path(name):
    return os.path.join(folder, name)


def tool(*words, input=None, code=0, env=None):
    """Another program's output; its failure is the test's."""
    r = subprocess.run(words, input=input, capture_output=True, text=True,
                       check=False, env=env and {**os.environ, **env})
    if r.returncode != code:
        raise RuntimeError(f"{words}: {r.returncode}\n{r.stdout}{r.stderr}")
    return r.stdout + r.stderr


def openssl(*words, **kw):
    return tool("openssl", *words, **kw)


def save(name, text):
    with open(path(name), "w", encoding="utf-8") as f:
        f.write(text)
    return path(name)


def key_files():
    found = set()
    for base, _, names in os.walk(os.path.join(STATE, "keys")):
        found |= {os.path.join(base, n) for n in names}
    return found


def refused(part, *words, input=None, code=2):
    """The sentence says why, and nothing was stored."""
    before = key_files()
    rows = rows_now()
    r = gw.run_cli(*words, input=input)
    shown = " ".join(os.path.basename(w) for w in words[:4])
    tap.equal(r.returncode, code, f"{shown}: refused")
    tap.contains(r.stderr, part, f"{shown}: {part}")
    tap.ok(key_files() == before and rows_now() == rows,
           f"{shown}: nothing is stored")


def rows_now():
    return [gw.json("key", kind, "list")["keys"]
            for kind in ("dkim", "smime", "pgp")]


def key_of(kind, match):
    return [k for k in gw.json("key", kind, "list", "--match", match)["keys"]]


def make_cert(name, address, key="rsa:2048", days=30, extra=(), eku=True):
    """A certificate and key by openssl, signed by itself."""
    words = ["req", "-x509", "-newkey", *key.split(" "), "-nodes", "-subj",
             f"/CN={name}", "-days", str(days), "-keyout",
             path(f"{name}.key"), "-out", path(f"{name}.crt"), "-addext",
             f"subjectAltName=email:{address}", "-addext",
             "basicConstraints=critical,CA:FALSE", *extra]
    if eku:
        words += ["-addext", "extendedKeyUsage=emailProtection"]
    openssl(*words)
    return path(f"{name}.crt"), path(f"{name}.key")


def pkcs12(name, words=WORDS, extra=()):
    openssl("pkcs12", "-export", "-in", path(f"{name}.crt"), "-inkey",
            path(f"{name}.key"), "-out", path(f"{name}.p12"), "-passout",
            f"pass:{words}", *extra)
    return path(f"{name}.p12")


def dkim_keys():
    with tap.group("DKIM keys"):
        out = gw.cli("key", "dkim", "new", "example.org", "--selector", "s1")
        tap.contains(out, 's1._domainkey.example.org. IN TXT ( "v=DKIM1; '
                     'k=rsa; p=MII', "the record of the RSA key")
        tap.contains(out, 's1-ed._domainkey.example.org. IN TXT ( '
                     '"v=DKIM1; k=ed25519; p=', "and of the Ed25519 key")
        rows = gw.json("key", "dkim", "list", "example.org")["keys"]
        tap.equal([(r["selector"], r["algorithm"], r["phase"]) for r in rows],
                  [("s1", "rsa-2048", "signs"),
                   ("s1-ed", "ed25519", "signs")], "both sign at once")
        for row in rows:
            check_record(gw.json("key", "dkim", "show", str(row["id"])))
        refused("selector s1 already", "key", "dkim", "new", "example.org",
                "--selector", "s1", code=6)
        refused("the algorithm is", "key", "dkim", "new", "example.net",
                "--algorithm", "dsa")
        refused("selector has letters", "key", "dkim", "new", "example.net",
                "--selector", "a_b")
        rotate()


def check_record(shown):
    try:
        import dkim
    except ImportError:
        tap.skip("dkimpy reads the record", "it is not installed")
        return
    _, size, kind, _ = dkim.evaluate_pk(
        b"s", shown["record_value"].encode())
    want = ((256, b"ed25519") if shown["algorithm"] == "ed25519"
            else (2048, b"rsa"))
    tap.equal((size, kind), want, "dkimpy reads the record of "
              + shown["algorithm"])


def rotate():
    gw.cli("key", "dkim", "rotate", "example.org", "--selector", "s2",
           "--algorithm", "rsa")
    phases = {r["selector"]: r["phase"] for r in
              gw.json("key", "dkim", "list", "example.org")["keys"]}
    tap.equal(phases, {"s1": "signs", "s1-ed": "signs", "s2": "published"},
              "the next key is only published")
    gw.cli("key", "dkim", "activate", "example.org")
    phases = {r["selector"]: r["phase"] for r in
              gw.json("key", "dkim", "list", "example.org")["keys"]}
    tap.equal(phases, {"s1": "ended", "s1-ed": "signs", "s2": "signs"},
              "after activation it takes the place of its like")
    before = key_files()
    gw.cli("key", "dkim", "retire", "s1._domainkey.example.org")
    tap.equal(len(before - key_files()), 1, "a retired private part goes")
    refused("waits to be activated", "key", "dkim", "activate",
            "example.org", code=3)


def built_in_ca():
    with tap.group("the built-in CA"):
        refused("no CA", "key", "smime", "new", "alice@example.org", code=3)
        gw.cli("ca", "new", "Example CA")
        ca = save("ca.pem", gw.cli("ca", "show"))
        alice = gw.json("key", "smime", "new", "alice@example.org")
        pem = save("alice.pem", gw.cli("key", "smime", "export",
                                       str(alice["id"])))
        tap.contains(openssl("verify", "-purpose", "smimesign", "-CAfile",
                             ca, pem), "OK", "openssl verifies what it issued")
        tap.contains(openssl("x509", "-in", pem, "-noout", "-text"),
                     "email:alice@example.org", "the address is in it")
        refused("cannot be used for mail", "key", "smime", "new",
                "b@example.org", "--algorithm", "ed25519")
        carl = path("carl.p12")
        gw.cli("ca", "issue", "carl@example.org", "--pkcs12", carl,
               "--password-stdin", input=WORDS)
        text = openssl("pkcs12", "-in", carl, "-passin", f"pass:{WORDS}",
                       "-nodes")
        tap.contains(text, "BEGIN PRIVATE KEY", "openssl opens its PKCS #12")
        tap.equal(os.stat(carl).st_mode & 0o777, 0o600, "for its owner alone")
        revoke(ca, save("carl.pem", text))


def revoke(ca, pem):
    serial = openssl("x509", "-in", pem, "-noout", "-serial").strip()
    serial = serial.split("=")[1]
    crl = save("crl.pem", gw.cli("ca", "revoke", serial))
    tap.contains(openssl("crl", "-in", crl, "-noout", "-text", "-CAfile", ca),
                 serial, "openssl reads the list of revoked ones")
    out = openssl("verify", "-crl_check", "-CRLfile", crl, "-CAfile", ca, pem,
                  code=2)
    tap.contains(out, "certificate revoked", "and believes it")
    carl = key_of("smime", "carl@")
    tap.equal([k["status"] for k in carl], ["revoked"],
              "in the store it is revoked, too")
    publish(ca, serial, crl)


def publish(ca, serial, crl):
    """The list is kept, to be published; certificates say where."""
    with open(crl, encoding="ascii") as f:
        tap.equal(gw.cli("ca", "crl").strip(), f.read().strip(),
                  "the list is the one that was made")
    der = path("own.crl")
    gw.cli("ca", "crl", "--der", der)
    tap.contains(openssl("crl", "-inform", "DER", "-in", der, "-noout",
                         "-text", "-CAfile", ca), serial,
                 "as DER it is for a web server")
    before = openssl("crl", "-in", crl, "-noout", "-crlnumber")
    newer = save("newer.pem", gw.cli("ca", "crl", "--renew"))
    tap.ok(openssl("crl", "-in", newer, "-noout", "-crlnumber") > before,
           "a new one has a higher number")
    url = "http://crl.example.org/our,ca.crl"
    gw.set(**{"crypto.ca_crl_url": url})
    dirk = save("dirk.p12", "what all may read\n" * 1000)
    os.chmod(dirk, 0o644)
    gw.cli("ca", "issue", "dirk@example.org", "--pkcs12", dirk,
           "--password-stdin", input=WORDS)
    tap.equal(os.stat(dirk).st_mode & 0o777, 0o600,
              "where all could read a file before, they cannot read the new")
    text = openssl("pkcs12", "-in", dirk, "-passin", f"pass:{WORDS}",
                   "-nokeys", "-clcerts")
    tap.contains(openssl("x509", "-noout", "-ext", "crlDistributionPoints",
                         input=text), url, "where it is stands in what is "
                 "issued then")
    gw.set(**{"crypto.ca_crl_url": "file:///tmp/x"})
    refused("no URL of the web", "ca", "issue", "dirk@example.org",
            "--pkcs12", path("x.p12"), "--password-stdin", input=WORDS)
    gw.set(**{"crypto.ca_crl_url": ""})


def requests():
    with tap.group("requests"):
        csr = save("bob.csr", gw.cli("key", "smime", "csr", "bob@example.org",
                                     "--algorithm", "p-256"))
        tap.contains(openssl("req", "-in", csr, "-noout", "-verify"),
                     "verify OK", "openssl verifies our request")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj",
                "/CN=Other CA", "-keyout", path("other.key"), "-out",
                path("other.pem"), "-days", "30")
        ext = save("ext", "subjectAltName=email:bob@example.org\n"
                   "extendedKeyUsage=emailProtection\n"
                   "keyUsage=digitalSignature\n")
        openssl("x509", "-req", "-in", csr, "-CA", path("other.pem"),
                "-CAkey", path("other.key"), "-CAcreateserial", "-days", "30",
                "-extfile", ext, "-out", path("bob.pem"))
        bob = gw.json("key", "smime", "install", path("bob.pem"))
        tap.equal((bob["uses"], bob["is_ours"], bob["addresses"]),
                  (["sign"], True, ["bob@example.org"]),
                  "its certificate is installed, for what it permits")
        refused("no certificate request", "key", "smime", "install",
                path("bob.pem"), code=3)
        crl_of_others()


def crl_of_others():
    save("index.txt", "")
    conf = save("ca.cnf", "[ca]\ndefault_ca=a\n[a]\ndatabase=" +
                path("index.txt") + "\ndefault_md=sha256\n"
                "default_crl_days=7\n")
    words = ("ca", "-config", conf, "-cert", path("other.pem"), "-keyfile",
             path("other.key"))
    openssl(*words, "-revoke", path("bob.pem"))
    openssl(*words, "-gencrl", "-out", path("other.crl"))
    refused("signed by nobody", "key", "crl", "import", path("other.crl"))
    gw.cli("key", "anchor", "add", path("other.pem"))
    got = gw.json("key", "crl", "import", path("other.crl"))
    tap.equal(got["revoked"], 1, "openssl's list is read")
    tap.equal([k["status"] for k in key_of("smime", "bob@")], ["revoked"],
              "what it names is revoked")
    tap.equal(len(gw.json("key", "crl", "list")["crls"]), 2,
              "both lists are known")


def imports():
    with tap.group("imports"):
        make_cert("dora", "Dora@Example.ORG")
        got = gw.cli("--json", "key", "smime", "import", pkcs12("dora"),
                     "--password-stdin", input=WORDS)
        tap.contains(got, '"dora@example.org"', "openssl's PKCS #12 is read")
        tap.contains(got, "two certificates are safer", "dual use is told of")
        tap.equal(len([f for f in key_files() if "/sign/" in f]) > 0 and
                  len([f for f in key_files() if "/open/" in f]) > 0, True,
                  "sealed for those who sign and those who open")
        refused("already", "key", "smime", "import", path("dora.p12"),
                "--password-stdin", input=WORDS, code=6)
        crt, key = make_cert("emil", "emil@example.org", key="ec -pkeyopt "
                             "ec_paramgen_curve:P-256")
        with open(crt, encoding="ascii") as a, open(key, encoding="ascii") as b:
            save("emil.pem", b.read() + a.read())
        gw.cli("key", "smime", "import", path("emil.pem"))
        tap.equal(key_of("smime", "emil@")[0]["algorithm"], "p-256",
                  "PEM with a P-256 key is read")
        make_cert("fritz", "fritz@other.example")
        fritz = gw.json("key", "smime", "import", path("fritz.crt"))
        tap.equal((fritz["is_ours"], fritz["trust"], fritz["is_pinned"]),
                  (False, 100, True), "a correspondent's certificate is his")
        gw.cli("key", "smime", "aead", str(fritz["id"]), "yes")
        tap.ok(gw.json("key", "smime", "show", str(fritz["id"]))["has_aead"],
               "AES-GCM may be switched on for him")
        retire()


def retire():
    dora = key_of("smime", "dora@")[0]
    gw.cli("key", "smime", "retire", str(dora["id"]))
    dora = key_of("smime", "dora@")[0]
    tap.equal(dora["status"], "decrypt_only", "retired keys open old mail")
    refused("old mail stays closed", "key", "smime", "remove",
            str(dora["id"]))
    fritz = key_of("smime", "fritz@")[0]
    refused("is a correspondent's", "key", "smime", "retire",
            str(fritz["id"]))
    gw.cli("key", "smime", "remove", str(fritz["id"]))
    tap.equal(key_of("smime", "fritz@"), [], "a correspondent's is forgotten")


def bad_input():
    with tap.group("bad input"):
        make_cert("ed", "ed@example.org", key="ed25519")
        refused("cannot be used for mail", "key", "smime", "import",
                pkcs12("ed"), "--password-stdin", input=WORDS)
        make_cert("weak", "weak@example.org", key="rsa:1024")
        refused("1024 bits is too weak", "key", "smime", "import",
                path("weak.crt"))
        make_cert("good", "good@example.org")
        good = pkcs12("good")
        refused("none was given", "key", "smime", "import", good)
        refused("pass phrase is wrong", "key", "smime", "import", good,
                "--password-stdin", input="nonsense")
        with open(good, "rb") as f:
            octets = bytearray(f.read())
        octets[len(octets) // 2] ^= 0xff
        with open(path("damaged.p12"), "wb") as f:
            f.write(octets)
        refused("damaged", "key", "smime", "import", path("damaged.p12"),
                "--password-stdin", input=WORDS)
        with open(path("short.p12"), "wb") as f:
            f.write(octets[:300])
        refused("damaged", "key", "smime", "import", path("short.p12"),
                "--password-stdin", input=WORDS)
        save("empty", "")
        refused("empty", "key", "smime", "import", path("empty"))
        make_cert("web", "web@example.org", eku=False,
                  extra=["-addext", "extendedKeyUsage=serverAuth"])
        refused("not for mail", "key", "smime", "import", path("web.crt"))
        bad_pem()
        bombs(good)


def read(name):
    with open(path(name), encoding="ascii") as f:
        return f.read()


def bad_pem():
    make_cert("other1", "o@example.org")
    save("mismatch.pem", read("good.key") + read("other1.crt"))
    refused("belongs to none", "key", "smime", "import",
            path("mismatch.pem"))
    save("two.pem", read("good.key") + read("other1.key") + read("good.crt"))
    refused("2 private keys", "key", "smime", "import", path("two.pem"))
    refused("belongs to none", "key", "smime", "import", path("two.pem"),
            "--number", "2")
    refused("2 private keys alone", "key", "smime", "import",
            path("two.pem"), "--number", "3")
    save("alone.pem", read("good.key"))
    refused("no certificate", "key", "smime", "import", path("alone.pem"))
    openssl("pkcs8", "-topk8", "-in", path("good.key"), "-out",
            path("locked.key"), "-passout", f"pass:{WORDS}")
    save("locked.pem", read("locked.key") + read("good.crt"))
    refused("none was given", "key", "smime", "import", path("locked.pem"))
    refused("pass phrase is wrong", "key", "smime", "import",
            path("locked.pem"), "--password-stdin", input="x")
    make_cert("ca1", "ca@example.org")
    refused("not a CA's", "key", "anchor", "add", path("ca1.crt"))
    refused("CA's certificate", "key", "smime", "import", path("other.pem"))


def bombs(good):
    with open(good, "rb") as f:
        octets = f.read()
    # The iterations of the MAC: INTEGER 2048 at the end of the file.
    at = octets.rfind(b"\x02\x02\x08\x00")
    tap.ok(at > 0, "the iterations of the MAC are found")
    bomb = bytearray(octets[:at] + b"\x02\x04\x7f\xff\xff\xff"
                     + octets[at + 4:])
    grow(bomb, at)
    with open(path("bomb.p12"), "wb") as f:
        f.write(bomb)
    refused("more work", "key", "smime", "import", path("bomb.p12"),
            "--password-stdin", input=WORDS)
    with open(path("large.p12"), "wb") as f:
        f.write(b"\x30" * 300000)
    refused("too large", "key", "smime", "import", path("large.p12"))


def grow(octets, inside):
    """Two octets more: in each SEQUENCE header around that place."""
    at = 0
    while at < inside and octets[at] == 0x30:
        n = octets[at + 1] & 0x7f if octets[at + 1] & 0x80 else 0
        if n:
            size = int.from_bytes(octets[at + 2:at + 2 + n], "big")
            octets[at + 2:at + 2 + n] = (size + 2).to_bytes(n, "big")
        else:
            size = octets[at + 1]
            octets[at + 1] = size + 2
        at += 2 + n
        # On to the last element that begins before the place.
        while True:
            n = octets[at + 1] & 0x7f if octets[at + 1] & 0x80 else 0
            size = (int.from_bytes(octets[at + 2:at + 2 + n], "big")
                    if n else octets[at + 1])
            if at + 2 + n + size > inside:
                break
            at += 2 + n + size


def openpgp():
    with tap.group("OpenPGP"):
        gus = gw.json("key", "pgp", "new", "gus@example.org", "--name", "Gus")
        home = gateway.temporary_folder("gpg-")
        os.chmod(home, 0o700)
        env = {"GNUPGHOME": home}
        asc = save("gus.asc", gw.cli("key", "pgp", "export", str(gus["id"])))
        tap.contains(tool("gpg", "--batch", "--import", asc, env=env),
                     "imported: 1", "gpg reads our key")
        out = path("www")
        os.mkdir(out)
        gw.cli("key", "pgp", "export", "--wkd", out)
        hashed = tool("gpg", "--with-wkd-hash", "-k", "gus@example.org",
                      env=env)
        name = re.search(r"([a-z0-9]{32})@example\.org", hashed).group(1)
        base = os.path.join(out, ".well-known/openpgpkey/example.org")
        tap.ok(os.path.exists(os.path.join(base, "policy")),
               "the directory has its policy file")
        tap.contains(tool("gpg", "--batch", "--show-keys",
                          os.path.join(base, "hu", name), env=env),
                     gus["fingerprint"], "and the key where gpg looks for it")
        tool("gpg", "--batch", "--passphrase", WORDS, "--pinentry-mode",
             "loopback", "--quick-gen-key", "Hal <hal@example.org>",
             "ed25519", env=env)
        secret = tool("gpg", "--batch", "--armor", "--passphrase", WORDS,
                      "--pinentry-mode", "loopback",
                      "--export-secret-keys", "hal@example.org", env=env)
        save("hal.asc", secret)
        refused("", "key", "pgp", "import", path("hal.asc"),
                "--password-stdin", input="wrong")
        got = gw.cli("--json", "key", "pgp", "import", path("hal.asc"),
                     "--password-stdin", input=WORDS)
        tap.contains(got, "hal@example.org", "gpg's secret key is read")
        open_key(env)
        gw.cli("key", "pgp", "retire",
               str(key_of("pgp", "gus@")[0]["id"]))
        tap.equal(key_of("pgp", "gus@")[0]["status"], "decrypt_only",
                  "retired, it opens old mail")
        tool("gpgconf", "--kill", "gpg-agent", env=env)


def open_key(env):
    """gpg asks for new words for each of its private parts."""
    words = ("--batch", "--pinentry-mode", "loopback", "--passphrase", "")
    tool("gpg", *words, "--quick-gen-key", "Ilse <ilse@example.org>",
         "ed25519", "sign,cert", "never", env=env)
    listed = tool("gpg", "--list-keys", "--with-colons", "ilse@example.org",
                  env=env)
    fingerprint = re.search(r"(?m)^fpr:+(\w+):", listed).group(1)
    for kind, use in (("cv25519", "encr"), ("ed25519", "sign")):
        tool("gpg", *words, "--quick-add-key", fingerprint, kind, use,
             "never", env=env)
    save("ilse.asc", tool("gpg", *words, "--armor", "--export-secret-keys",
                          fingerprint, env=env))
    got = gw.cli("--json", "key", "pgp", "import", path("ilse.asc"))
    tap.contains(got, "ilse@example.org",
                 "one without pass phrase, and with subkeys, too")


def restart():
    with tap.group("after a restart"):
        before = rows_now()
        gw.restart()
        tap.equal(rows_now(), before, "all keys are there")
        tap.contains(str(gw.json("status")), "master.key",
                     "status says what wraps them")
        tap.contains(gw.run_cli("health").stdout, "private keys are wrapped "
                     "with the file master.key beside them", "so does health")
        for name in key_files():
            if os.stat(name).st_mode & 0o077:
                tap.fail(f"{name} is for its owner alone")
        with open(os.path.join(STATE, "keys.db"), "rb") as f:
            tap.ok(b"PRIVATE" not in f.read(), "no private key in keys.db")


gw.start()
dkim_keys()
built_in_ca()
requests()
imports()
bad_input()
if shutil.which("gpg"):
    openpgp()
restart()
tap.done()
