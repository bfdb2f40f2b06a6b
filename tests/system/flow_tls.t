#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""TLS to other servers: the level asked, the one reached, and never less;
DANE with zones that are signed, bogus, or lie (RFC 7672)."""

import hashlib
import os
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import certs, dns, dnssec, scene, sink, smtp, tap  # noqa: E402

ANNA = "anna@example.test"
port = dns.free_port()
ca, other_ca = certs.Authority(), certs.Authority("Another authority")


def context(pair):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*pair)
    return made


def key_hash(cert):
    """SHA-256 of the certificate's key, as TLSA 3 1 1 and 2 1 1 have it."""
    pem = subprocess.run(["openssl", "x509", "-in", cert, "-noout",
                          "-pubkey"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"],
                         input=pem, check=True, capture_output=True).stdout
    return hashlib.sha256(der).hexdigest()


hosts = {}


def host(name, tls=None):
    """One more server, at an address of its own."""
    address = f"127.0.0.{20 + len(hosts)}"
    hosts[name] = sink.Sink(host=address, port=port, name=name, tls=tls)
    hosts[name].address = address
    return hosts[name]


main = sink.Sink(port=port, name="main.test")
good_pair = ca.issue("mx.good.test")
good = host("mx.good.test", context(good_pair))
late_pair = ca.issue("mx.late.test", days=-1)
late = host("mx.late.test", context(late_pair))
stranger_pair = other_ca.issue("mx.stranger.test")
stranger = host("mx.stranger.test", context(stranger_pair))
plain = host("mx.plain.test")
wrong = host("mx.wrong.test", context(ca.issue("elsewhere.test")))
RIGHT = {name: key_hash(pair[0]) for name, pair in (
    ("good", good_pair), ("late", late_pair), ("stranger", stranger_pair))}
RIGHT["ca"] = key_hash(ca.cert)


def signed(name, server, *tlsa):
    rows = [f"@ MX 10 mx\nmx A {server.address}"]
    rows += [f"_{port}._tcp.mx TLSA {row}" for row in tlsa]
    return dnssec.sign(name, "\n".join(rows))


zones = {
    "dane.test": signed("dane.test", stranger,
                        f"3 1 1 {RIGHT['stranger']}"),
    "daneold.test": signed("daneold.test", late, f"3 1 1 {RIGHT['late']}"),
    "danebad.test": signed("danebad.test", stranger, "3 1 1 " + "ab" * 32),
    "danetwo.test": signed("danetwo.test", stranger, "3 1 1 " + "ab" * 32,
                           f"3 1 1 {RIGHT['stranger']}"),
    "daneplain.test": signed("daneplain.test", plain,
                             f"3 1 1 {RIGHT['stranger']}"),
    "danenone.test": signed("danenone.test", stranger),
    "danebogus.test": signed("danebogus.test", stranger,
                             f"3 1 1 {RIGHT['stranger']}"),
    "daneuseless.test": signed("daneuseless.test", stranger,
                               "0 0 1 " + "ab" * 32),
}
texts = {name: zone.text for name, zone in zones.items()}
texts["danebogus.test"] = zones["danebogus.test"].altered(
    r"(TLSA.* 3 1 1 )[0-9a-fA-F]{4}", r"\1dead")
for name, server in hosts.items():
    texts[name.split(".", 1)[1]] = f"@ MX 10 mx\nmx A {server.address}"
texts["unsigned.test"] = (f"@ MX 10 mx\nmx A {stranger.address}\n"
                          f"_{port}._tcp.mx TLSA 3 1 1 " + "ab" * 32)
s = scene.Scene(world=main, zones=texts, route=False, dnssec="on", settings={
    "relay.tls": "dane", "relay.idle": "0s",
    "dns.trust_anchors": ";".join(z.anchor for z in zones.values()),
    "dns.unsigned_domains": "test;invalid", "queue.retry": "1h",
    "queue.retry_max": "4h", "queue.delay_warning": "0s"})
s.trust(ca)
s.start()
client = s.login()


def outcome(recipient):
    """(event, tls) of the first attempt."""
    reply = client.submit(ANNA, recipient, scene.mail())
    if reply.code != 250:
        raise RuntimeError(repr(reply))
    event = tap.wait_until(
        lambda: [e for e in s.events(smtp.message_id(reply))
                 if e["event"] in ("delivered", "deferred", "failed")],
        what="an attempt", step=0.1)[0]
    outcome.event = event
    s.gw.run_cli("queue", "delete", smtp.message_id(reply), "--yes")
    return event["event"], event["tls"]


def delivered(recipient, server, name, *words, is_tls=True):
    what, tls = outcome(recipient)
    if not tap.equal(what, "delivered", f"{name}: delivered"):
        tap.diag(outcome.event)
        return
    [m] = server.take()
    tap.equal(m.is_tls, is_tls, f"{name}: {'in' if is_tls else 'without'} TLS")
    for word in words:
        tap.contains(tls, word, f"{name}: trace says so")


def deferred(recipient, server, name, *words):
    what, tls = outcome(recipient)
    tap.equal(what, "deferred", f"{name}: waits")
    tap.equal(server.messages, [], f"{name}: nothing left")
    event = outcome.event
    for word in words:
        tap.contains(f"{tls} {event['enhanced']} {event['reply']}", word,
                     f"{name}: trace says why")


with tap.group("DANE"):
    delivered("r@dane.test", stranger, "a key that TLSA names", "dane",
              "TLSA")
    delivered("r@daneold.test", late, "expired, but named", "dane")
    delivered("r@danetwo.test", stranger, "one of two records", "dane")
    deferred("r@danebad.test", stranger, "another key", "4.7.5")
    deferred("r@daneplain.test", plain, "no STARTTLS although TLSA", "4.7")
    deferred("r@danebogus.test", stranger, "bogus TLSA")
    delivered("r@danenone.test", stranger, "signed without TLSA: when offered",
              "no TLSA")
    delivered("r@daneuseless.test", stranger,
              "TLSA of kinds that are not for mail: encrypted")
    delivered("r@unsigned.test", stranger,
              "TLSA that nobody signed counts for nothing", "no DNSSEC")
    got = s.gw.cli("route", "test", "r@dane.test")
    tap.contains(got, "TLSA", "route test says what would be done")
    got = s.gw.cli("route", "test", "r@danebogus.test")
    tap.contains(got, "DNSSEC", "also where it is bogus")

LEVELS = (
    # level, host, outcome, is in TLS
    ("none", "good", True, False), ("none", "plain", True, False),
    ("opportunistic", "good", True, True),
    ("opportunistic", "plain", True, False),
    ("opportunistic", "stranger", True, True),
    ("opportunistic", "late", True, True),
    ("encrypted", "good", True, True), ("encrypted", "plain", False, None),
    ("encrypted", "stranger", True, True), ("encrypted", "late", True, True),
    ("encrypted", "wrong", True, True),
    ("verified", "good", True, True), ("verified", "plain", False, None),
    ("verified", "stranger", False, None), ("verified", "late", False, None),
    ("verified", "wrong", False, None))
for level in ("none", "opportunistic", "encrypted", "verified"):
    with tap.group(f"level {level}"):
        for name in ("good", "plain", "stranger", "late", "wrong"):
            s.gw.cli("route", "add", f"{name}.test",
                     f"smtp://mx.{name}.test:{port}", "--tls", level,
                     "--replace")
        for _, name, arrives, is_tls in (r for r in LEVELS if r[0] == level):
            server = hosts[f"mx.{name}.test"]
            if arrives:
                delivered(f"r@{name}.test", server, f"{level}, {name}",
                          level, is_tls=is_tls)
            else:
                deferred(f"r@{name}.test", server, f"{level}, {name}",
                         level, "4.7")

with tap.group("STARTTLS that goes wrong"):
    for level, arrives in (("opportunistic", True), ("encrypted", False)):
        s.gw.cli("route", "add", "good.test", f"smtp://mx.good.test:{port}",
                 "--tls", level, "--replace")
        good.on("STARTTLS", "454 4.7.0 not now")
        if arrives:
            delivered("r@good.test", good, f"{level}, 454", is_tls=False)
        else:
            deferred("r@good.test", good, f"{level}, 454")
        good.as_usual()
        # What comes before the handshake must not count after it.
        good.on("STARTTLS", b"220 2.0.0 go\r\n250-evil\r\n250 SIZE 1\r\n",
                times=1)
        what, _ = outcome("r@good.test")
        tap.equal([m.is_tls for m in good.messages if m.is_tls], [],
                  f"{level}, replies injected before TLS: not believed")
        tap.ok(what == "deferred" or arrives, f"{level}: {what}")
        good.messages.clear()
        good.as_usual()

with tap.group("the end"):
    s.gw.wait_for_queue(0)
    tap.equal([n for n, k in hosts.items() if k.messages], [],
              "nothing came that was not asked for")

tap.done()
