#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""postern-checkd alone, against a real name server, silent ones and liars."""

import os
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import dns, dnssec, peer, tap  # noqa: E402

A, CNAME, PTR, MX, TXT, AAAA, TLSA = 1, 5, 12, 15, 16, 28, 52

tables = peer.Tables()
DNS = {name: i for i, name in enumerate(tables.words("dns_status"))}
SENDER = {name: i for i, name in enumerate(tables.words("sender_verdict"))}
PTRS = {name: i for i, name in enumerate(tables.words("ptr_status"))}

secure = dnssec.sign("secure.test", """
    @            MX 10 mx
    mx           A 192.0.2.1
    _25._tcp.mx  TLSA 3 1 1 %s
    bad          MX 10 mx
    alias        CNAME mx
    sub          NS ns.sub
""" % ("ab" * 32))
expired = dnssec.sign("expired.test", "@ MX 10 mx", expires="20210101")

ZONES = {
    "example.test": """
        @      MX 20 two
        @      MX 10 one
        one    A 192.0.2.1
        one    AAAA 2001:db8::1
        www    CNAME one
        @      TXT "v=spf1" " -all"
        long   TXT %s
        null   MX 0 .
        only4  A 192.0.2.1
        only6  AAAA 2001:db8::1
        txt    TXT "no address"
        many   A 192.0.2.1
    """ % " ".join('"%s"' % ("x" * 250) for _ in range(20)),
    "chain.test": "\n".join(f"c{i} CNAME c{i + 1}" for i in range(12))
                  + "\nc12 A 192.0.2.9",
    "2.0.192.in-addr.arpa": r"""
        1   PTR one.example.test.
        2   PTR liar.example.test.
        3   PTR a\032b\027[2J.example.test.
        4   PTR <script>.test.
        5   PTR gone.test.
        5   PTR five.example.test.
        6   CNAME 6.0/25
        6.0/25 PTR six.example.test.
    """,
    "8.b.d.0.1.0.0.2.ip6.arpa":
        "1" + ".0" * 23 + " PTR one.example.test.",
    "10.in-addr.arpa": "1.0.0 PTR inner.example.test.",
    "secure.test": secure.altered(r"^(bad.*) MX 10 mx", r"\1 MX 10 evil"),
    "sub.secure.test": "@ A 192.0.2.3",
    "expired.test": expired.text,
}
ZONES["example.test"] += "liar A 192.0.2.99\nfive A 192.0.2.5\n" \
                         "six A 192.0.2.6\n"

server = dns.NameServer(ZONES)
checkd = peer.Program("checkd", settings={
    "dns.servers": server.address, "dns.dnssec": False, "dns.timeout": 10})
relayd = checkd.connect("relayd")
smtpd = checkd.connect("smtpd")


def ask(name, kind, channel=None):
    return (channel or relayd).ask("DNS_QUERY", name=name, type=kind)


def check(client, domain):
    return smtpd.ask("CHECK_MAIL", session_id=1, client=client, helo="x",
                     sender_domain=domain)


class Liar:
    """A name server of one function: packet -> list of packets."""

    def __init__(self, answer=lambda packet: []):
        self.answer = answer
        self.asked = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            packet, client = self.sock.recvfrom(65535)
            self.asked += 1
            for answer in self.answer(packet):
                self.sock.sendto(answer, client)


with tap.group("records of each type"):
    got = ask("example.test", MX)
    tap.equal(got["status"], DNS["DNS_OK"], "MX")
    tap.equal(sorted((r["preference"], r["name"]) for r in got["records"]),
              [(10, "one.example.test"), (20, "two.example.test")],
              "both of them")
    tap.equal(got["records"][0]["ttl_s"], 60, "their time to live")
    tap.equal(ask("ONE.Example.Test.", A)["records"][0]["data"],
              bytes([192, 0, 2, 1]), "A, the name in another form")
    tap.equal(ask("one.example.test", AAAA)["records"][0]["data"],
              socket.inet_pton(socket.AF_INET6, "2001:db8::1"), "AAAA")
    tap.equal(ask("example.test", TXT)["records"][0]["data"],
              b"\x06v=spf1\x05 -all", "TXT, its strings apart")
    tap.equal(ask("1.2.0.192.in-addr.arpa", PTR)["records"][0]["name"],
              "one.example.test", "PTR")
    tap.equal(ask("null.example.test", MX)["records"][0]["name"], ".",
              "a null MX")
    got = ask("www.example.test", A)
    tap.equal((got["canonical_name"], len(got["records"])),
              ("one.example.test", 1), "through a CNAME")

with tap.group("no records"):
    got = ask("one.example.test", MX)
    tap.equal((got["status"], got["records"]), (DNS["DNS_NODATA"], []),
              "no such records")
    tap.equal(ask("no.example.test", A)["status"], DNS["DNS_NXDOMAIN"],
              "no such name")
    tap.equal(ask("x" * 64 + ".test", A)["status"], DNS["DNS_NXDOMAIN"],
              "a name that cannot be")
    tap.equal(ask("localhost", A)["status"], DNS["DNS_NXDOMAIN"],
              "localhost is no domain of mail")
    tap.equal(ask("long.example.test", TXT)["records"], [],
              "a record above its limit is left out")
    tap.equal(ask("c4.chain.test", A)["status"], DNS["DNS_OK"],
              "eight CNAMEs")
    tap.equal(ask("c3.chain.test", A)["status"], DNS["DNS_TEMPORARY"],
              "nine are too many")

with tap.group("the sender's domain"):
    for domain, want in (
            ("example.test", "SENDER_OK"), ("only4.example.test", "SENDER_OK"),
            ("only6.example.test", "SENDER_OK"), ("", "SENDER_OK"),
            ("txt.example.test", "SENDER_NO_DOMAIN"),
            ("no.example.test", "SENDER_NO_DOMAIN"),
            ("[192.0.2.1]", "SENDER_NO_DOMAIN"),
            ("a..test", "SENDER_NO_DOMAIN"),
            ("null.example.test", "SENDER_NULL_MX")):
        tap.equal(check("192.0.2.1", domain)["sender"], SENDER[want],
                  f"<{domain}>")

with tap.group("the client's name"):
    for client, status, name in (
            ("192.0.2.1", "PTR_CONFIRMED", "one.example.test"),
            ("::ffff:192.0.2.1", "PTR_CONFIRMED", "one.example.test"),
            ("2001:db8::1", "PTR_CONFIRMED", "one.example.test"),
            ("192.0.2.2", "PTR_UNCONFIRMED", ""),
            ("192.0.2.3", "PTR_UNCONFIRMED", ""),
            ("192.0.2.4", "PTR_UNCONFIRMED", ""),
            ("192.0.2.5", "PTR_CONFIRMED", "five.example.test"),
            ("192.0.2.6", "PTR_CONFIRMED", "six.example.test"),
            ("192.0.2.7", "PTR_NONE", ""),
            ("10.0.0.1", "PTR_UNCONFIRMED", "")):
        got = check(client, "")
        tap.equal((got["ptr_status"], got["ptr_name"]), (PTRS[status], name),
                  client)

with tap.group("a peer that breaks a rule"):
    for name, values in (("DNS_QUERY", {"name": "a.test", "type": 255}),
                         ("DNS_QUERY", {"name": "a\x1b.test", "type": A}),
                         ("CHECK_MAIL", {"client": "nobody"}),
                         ("CHECKED_MAIL", {})):
        bad = checkd.connect("smtpd")
        bad.post(name, **values)
        try:
            while True:
                bad.read()
        except peer.Ended:
            tap.ok(True, f"{name}: is cut off")
    bad = checkd.connect("relayd")
    bad.post("CHECK_MAIL", client="192.0.2.1")
    try:
        while True:
            bad.read()
    except peer.Ended:
        tap.ok(True, "relayd may not ask what smtpd may")
    tap.equal(ask("one.example.test", A)["status"], DNS["DNS_OK"],
              "nobody else notices")

with tap.group("DNSSEC"):
    tap.equal(checkd.configure(
        dns__dnssec=True, dns__trust_anchors=f"{secure.anchor};"
        f" {expired.anchor}", dns__unsigned_domains="test; 0.192.in-addr.arpa"
    ), "", "the settings are taken")
    got = ask("secure.test", MX)
    tap.equal((got["status"], got["is_secure"]), (DNS["DNS_OK"], 1), "MX")
    got = ask("_25._tcp.mx.secure.test", TLSA)
    tap.equal((got["status"], got["is_secure"]), (DNS["DNS_OK"], 1), "TLSA")
    tap.equal(got["records"][0]["data"], b"\3\1\1" + b"\xab" * 32, "its data")
    got = ask("_25._tcp.no.secure.test", TLSA)
    tap.equal((got["status"], got["is_secure"]), (DNS["DNS_NXDOMAIN"], 1),
              "no such name, proven")
    got = ask("mx.secure.test", AAAA)
    tap.equal((got["status"], got["is_secure"]), (DNS["DNS_NODATA"], 1),
              "no such records, proven")
    got = ask("alias.secure.test", A)
    tap.equal((got["is_secure"], got["canonical_name"]),
              (1, "mx.secure.test"), "through a CNAME")
    got = ask("bad.secure.test", MX)
    tap.equal((got["status"], got["is_secure"], got["records"]),
              (DNS["DNS_BOGUS"], 0, []), "a changed record is not given")
    tap.contains(got["reason"], "signature", "and why is said")
    got = ask("expired.test", MX)
    tap.equal((got["status"], got["records"]), (DNS["DNS_BOGUS"], []),
              "an expired signature")
    got = ask("sub.secure.test", A)
    tap.equal((got["status"], got["is_secure"]), (DNS["DNS_OK"], 0),
              "an unsigned zone below")
    got = ask("one.example.test", A)
    tap.equal((got["status"], got["is_secure"]), (DNS["DNS_OK"], 0),
              "a domain to be taken without DNSSEC")
    tap.equal(check("192.0.2.1", "bad.secure.test")["sender"],
              SENDER["SENDER_TEMPORARY"], "a bogus sender comes again")

with tap.group("settings that cannot be used"):
    checkd.configure(dns__trust_anchors="no such record")
    checkd.status()
    tap.contains(str(checkd.alerts), "dns.trust_anchors", "raise an alert")
    tap.equal(ask("alias.secure.test", A)["is_secure"], 1,
              "the ones before stay")
    checkd.configure(dns__trust_anchors="")
    checkd.status()
    tap.equal(checkd.alerts, {}, "better ones clear it")

with tap.group("a silent name server"):
    silent = Liar()
    # So that a limit which is not taken over shows.
    checkd.configure(dns__timeout=60)
    checkd.configure(dns__servers=silent.address, dns__dnssec=False,
                     dns__timeout=1)
    began = time.monotonic()
    got = ask("one.example.test", A)
    took = time.monotonic() - began
    tap.equal((got["status"], got["reason"]),
              (DNS["DNS_TEMPORARY"], "no answer in time"), "is given up")
    tap.ok(0.9 < took < 50, f"after dns.timeout: {took:.2f} s")
    got = check("192.0.2.1", "example.test")
    tap.equal((got["sender"], got["ptr_status"]),
              (SENDER["SENDER_TEMPORARY"], PTRS["PTR_UNKNOWN"]),
              "nothing is known of a sender")

with tap.group("settings change while a question waits"):
    checkd.configure(dns__timeout=20)
    before = silent.asked
    old = relayd.post("DNS_QUERY", name="old.example.test", type=A)
    tap.wait_until(lambda: silent.asked > before, what="the question")
    checkd.configure(dns__servers=server.address)
    tap.equal(ask("one.example.test", A)["status"], DNS["DNS_OK"],
              "new questions go to the new server")
    checkd.configure(dns__timeout=1)
    silent.answer = lambda packet: [
        packet[:2] + b"\x85\x80\0\1\0\1\0\0\0\0"
        + packet[12:packet.index(b"\0", 12) + 5]
        + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4"]
    got = relayd.take(old)
    tap.equal((got["status"], got["records"][0]["data"]),
              (DNS["DNS_OK"], b"\1\2\3\4"), "the old one's answer is taken")

with tap.group("too many questions"):
    silent = Liar()
    # Long enough to ask them all before the first is given up.
    checkd.configure(dns__servers=silent.address, dns__timeout=15)
    asked = [relayd.post("DNS_QUERY", name=f"n{i}.test", type=A)
             for i in range(1100)]
    got = [relayd.take(number) for number in asked[1024:]]
    tap.equal({r["reason"] for r in got}, {"too many questions at once"},
              "of one peer")
    tap.equal({r["status"] for r in got}, {DNS["DNS_TEMPORARY"]},
              "fail for now")
    more = [checkd.connect("smtpd") for _ in range(4)]
    for i, channel in enumerate(more):
        for j in range(1024):
            channel.post("DNS_QUERY", name=f"m{i}-{j}.test", type=A)
    status = checkd.status()
    tap.ok(0 < status["dns_in_progress"] <= 4096,
           f"of all: {status['dns_in_progress']} in progress")
    got = check("192.0.2.1", "example.test")
    tap.equal((got["sender"], got["ptr_status"]),
              (SENDER["SENDER_TEMPORARY"], PTRS["PTR_UNKNOWN"]),
              "a check that cannot ask")
    tap.ok(checkd.status()["dns_refused"] > 0, "is counted")
    for channel in more:
        channel.close()
    for number in asked[:1024]:
        relayd.take(number)
    tap.ok(True, "each of the others is answered")
    with open(f"/proc/{checkd.process.pid}/status", encoding="ascii") as f:
        [rss] = [int(x.split()[1]) for x in f if x.startswith("VmRSS")]
    tap.diag(f"resident memory after it: {rss} KB")
    checkd.status()
    tap.contains(str(checkd.alerts), "no answer in time",
                 "the alert is raised")
    checkd.configure(dns__servers=server.address, dns__timeout=60)
    tap.equal(ask("one.example.test", A)["status"], DNS["DNS_OK"],
              "and it goes on with a server that answers")
    tap.wait_until(lambda: checkd.status()["dns_in_progress"] == 0,
                   what="the end of the old questions")
    tap.equal(checkd.alerts, {}, "the alert is cleared")

with tap.group("a name server that was away"):
    checkd.configure(dns__timeout=5)
    server.stop()
    got = [ask(f"away{i}.example.test", A) for i in range(3)]
    tap.equal({r["status"] for r in got}, {DNS["DNS_TEMPORARY"]},
              "no answer is not \"no such name\"")
    server.start()
    began = time.monotonic()
    number = 0

    def is_back():
        global number
        number += 1
        return ask(f"back{number}.example.test", A)["status"] == \
            DNS["DNS_NXDOMAIN"]

    tap.wait_until(is_back, what="the name server", step=0.5)
    tap.ok(True, f"is asked again: {time.monotonic() - began:.1f} s")


def question(packet):
    return packet[12:packet.index(b"\0", 12) + 5]


def lies(packet):
    """Wrong id, wrong question, junk, cut, loops, and the code REFUSED."""
    head = b"\x85\x80\0\1\0\1\0\0\0\0"
    good = packet[:2] + head + question(packet)
    other = bytes([packet[0] ^ 1]) + packet[1:2]
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\6\6\6\6"
    return [other + head + question(packet) + record,
            packet[:2] + head + b"\5other\4test\0\0\1\0\1" + record,
            good + b"\xc0\xff\0\1\0\1\0\0\0\1\0\4abcd",
            good + record[:-2], packet[:7], b"", os.urandom(512),
            good + b"\xc0\x0c\0\5\0\1\0\0\0\1\0\2\xc0\x0c",
            packet[:2] + b"\x87\x80\0\1\0\0\0\0\0\0" + question(packet),
            packet[:2] + b"\x85\x85\0\1\0\0\0\0\0\0" + question(packet)]


with tap.group("a lying name server"):
    liar = Liar(lies)
    checkd.configure(dns__servers=liar.address, dns__timeout=3)
    for i in range(20):
        got = ask(f"lie{i}.test", A)
        if got["status"] not in (DNS["DNS_TEMPORARY"], DNS["DNS_NODATA"]) or \
                got["records"]:
            tap.fail(f"is believed: {got}")
    tap.ok(liar.asked > 0, "is not believed")

with tap.group("a peer that leaves"):
    silent = Liar()
    checkd.configure(dns__servers=silent.address, dns__timeout=2)
    for _ in range(20):
        gone = checkd.connect("smtpd")
        for i in range(20):
            gone.post("DNS_QUERY", name=f"gone{i}.test", type=A)
            gone.post("CHECK_MAIL", client="192.0.2.1",
                      sender_domain=f"gone{i}.test")
        gone.close()
    checkd.configure(dns__servers=server.address, dns__timeout=60)
    tap.equal(ask("one.example.test", A)["status"], DNS["DNS_OK"],
              "with questions waiting")
    tap.wait_until(lambda: checkd.status()["dns_in_progress"] == 0,
                   what="the end of the old questions")
    tap.ok(True, "leaves nothing behind")

tap.done()
