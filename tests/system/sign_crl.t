#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Lists of revoked certificates from the web: what they change for signed
mail, how they are renewed, which are refused, and that no mail makes the
gateway fetch what does not lead to an anchor."""

import concurrent.futures
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import crls, gateway, scene, tap, web  # noqa: E402

ANNA = "anna@example.test"
RUTH, SUE, EVE = "ruth@dest.test", "sue@dest.test", "eve@dest.test"
PAT = "pat@dest.test"

with open(os.path.join(gateway.BUILD, "postern-signerd"), "rb") as program:
    SANITIZED = b"__asan_init" in program.read()

site = web.Web()
port = site.serve()
BASE = f"http://crl.test:{port}"
# What the web has for the whole test; loopback is private, so it is allowed
# by the setting that an administrator of a closed network would use.
s = scene.Scene(zones={"crl.test": "@ A 127.0.0.1",
                       "evil.test": "@ A 127.0.0.1"},
                settings={"fetch.allow_private": "on", "fetch.wkd": "off",
                          "fetch.crl_points": "off",
                          "alert.to": "postmaster@dest.test",
                          "smtp.client_rate": 100000,
                          "smtp.network_rate": 100000})
gw = s.gw
s.start()

root = crls.Ca("Root of all")
ruth = root.issue("ruth", RUTH)
pat = root.issue("pat", PAT)
gw.cli("key", "anchor", "add", root.pem)


def verdict(content, sender):
    """(sig, rev) of the header field, once the mail has arrived."""
    c = s.stranger()
    reply = c.submit(sender, ANNA, content)
    c.close()
    if reply.code != 250:
        raise RuntimeError(repr(reply))
    [m] = s.inner.take()
    field = (m.field("X-Postern-Crypto") or "").replace("\r\n", "")
    facts = dict(f.strip().partition("=")[::2] for f in field.split(";"))
    return facts.get("sig"), facts.get("rev")


def lists():
    return {row["issuer"]: (row["number"], row["this_update"], row["entries"])
            for row in gw.json("key", "crl", "list")["crls"]}


def fetch(path, code=0):
    return gw.run_cli("key", "crl", "fetch", BASE + path)


def put(path, content):
    site.pages["crl.test", path] = content


with tap.group("without a list"):
    tap.equal(verdict(ruth.signs(ANNA), RUTH), ("pass", "unknown"),
              "a signature passes, and that revocation is not known is told")
    gw.set(**{"crypto.require_revocation": "on"})
    tap.equal(verdict(ruth.signs(ANNA), RUTH), ("untrusted", "unknown"),
              "where it must be known, it is untrusted")

with tap.group("with a list"):
    # Due soon: its server is to have a newer one half a minute from now.
    put("/root.crl", root.crl(since=-3600, until=120))
    got = gw.json("key", "crl", "fetch", BASE + "/root.crl")
    tap.equal(got["entries"], 0, "the first list names nobody")
    tap.equal(verdict(ruth.signs(ANNA), RUTH), ("pass", "ok"),
              "the signature passes, also where revocation must be known")
    gw.set(**{"crypto.require_revocation": "off"})

with tap.group("its renewal"):
    root.revoke(ruth)
    put("/root.crl", root.crl(since=-30))
    tap.wait_until(lambda: lists().get("CN=Root of all", (0, 0, 0))[2] == 1,
                   what="the newer list")
    tap.equal(verdict(ruth.signs(ANNA), RUTH), ("revoked", "revoked"),
              "who is in the newer list is revoked")
    tap.equal(verdict(pat.signs(ANNA), PAT), ("pass", "ok"),
              "others are not")

known = lists()


def refused(path, part, content=None, what=None):
    """Says why; the list that was there stays, and nothing else comes."""
    if content is not None:
        put(path, content)
    result = fetch(path)
    shown = what or path
    tap.equal(result.returncode, 1, f"{shown}: refused")
    tap.contains(result.stderr, part, f"{shown}: {part}")
    tap.equal(lists(), known, f"{shown}: nothing changed")
    tap.ok(not any(row["url"] == BASE + path for row in gw.json(
        "key", "crl", "places")["sources"]), f"{shown}: it is not asked again")


with tap.group("lists that are refused"):
    twin = crls.Ca("Root of all")
    stranger = crls.Ca("A stranger")
    good = root.crl()
    refused("/twin", "not signed by the CA that it names", twin.crl(),
            "a list by another CA of that name")
    refused("/stranger", "signed by nobody whose certificate is known",
            stranger.crl(), "a stranger's list")
    refused("/short", "damaged", good[:-20], "a list that is cut")
    refused("/long", "damaged", good + b"x", "a list and more")
    changed = bytearray(good)
    changed[good.rfind(bytes.fromhex(ruth.serial)) + 3] ^= 1
    refused("/changed", "not signed by the CA", bytes(changed),
            "a list that was changed")
    refused("/html", "not a revocation list", b"<html>no list</html>",
            "a page")
    refused("/expired", "is expired", root.crl(since=-7200, until=-3600),
            "an expired list")
    refused("/future", "later time than now",
            root.crl(since=5 * 86400, until=9 * 86400), "a list of later")
    refused("/delta", "changes of another one",
            root.crl(extensions=["2.5.29.27=critical,ASN1:INTEGER:1"]),
            "a list of changes alone")
    refused("/some", "some reasons alone", root.crl(extensions=[
        "issuingDistributionPoint=critical,@i", "[i]",
        "onlysomereasons=keyCompromise"]), "a list of some reasons")
    refused("/other", "other CAs", root.crl(extensions=[
        "issuingDistributionPoint=critical,@i", "[i]",
        "fullname=URI:http://x.test/", "indirectCRL=TRUE"]),
            "a list for other CAs")
    refused("/critical", "critical extension", root.crl(extensions=[
        "1.2.3.4=critical,ASN1:NULL"]), "a list with an unknown extension")
    refused("/large", "too large", b"\x30" * 17_000_000, "17 MB")
    refused("/file", "redirect that is not followed",
            (302, "file:///etc/passwd"), "a redirect to a file")
    refused("/gopher", "redirect that is not followed",
            (302, "gopher://crl.test/x"), "a redirect to another scheme")
    refused("/loop", "too many redirects", (302, BASE + "/loop"),
            "a redirect to itself")
    refused("/none", "the server said 404", 404, "no list")
    put("/old", root.crl(since=-4000))
    got = gw.json("key", "crl", "fetch", BASE + "/old")
    tap.contains(got.get("note", ""), "newer", "an older list is not taken")
    tap.equal(lists(), known, "and changes nothing")
    gw.cli("key", "crl", "remove", BASE + "/old")
    result = gw.run_cli("key", "crl", "fetch", "file:///etc/passwd")
    tap.equal(result.returncode, 2, "a file's URL is refused at once")

with tap.group("asked while it is being asked"):
    slow = crls.Ca("Slow")
    gw.cli("key", "anchor", "add", slow.pem)
    older, newer = slow.crl(since=-20), slow.crl(since=-10)
    held = threading.Event()

    def held_page():
        """Once, and late, the older list."""
        put("/slow.crl", newer)
        held.wait(tap.PATIENCE_S)
        return older

    put("/slow.crl", held_page)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(fetch, "/slow.crl")
        tap.wait_until(lambda: site.count("crl.test", "/slow.crl") == 1,
                       what="the place to be asked")
        others = [pool.submit(fetch, "/slow.crl") for _ in range(2)]
        [refusal], [answer] = concurrent.futures.wait(
            others, tap.PATIENCE_S, concurrent.futures.FIRST_COMPLETED)
        tap.equal(refusal.result().returncode, 6, "one waits, no more")
        tap.contains(refusal.result().stderr, "is being asked just now",
                     "and the next is told so")
        held.set()
        tap.equal(first.result().returncode, 0, "the first has its answer")
        tap.equal(answer.result().returncode, 0, "so has who waits")
    tap.equal(site.count("crl.test", "/slow.crl"), 2, "after another fetch")
    known = lists()
    tap.ok("CN=Slow" in known, "the list is there")

with tap.group("private networks"):
    gw.set(**{"fetch.allow_private": "off"})
    before = len(site.seen)
    refused("/root2.crl", "private network", good, "a host that is this one")
    result = gw.run_cli("key", "crl", "fetch", f"http://127.0.0.1:{port}/x")
    tap.contains(result.stderr, "private network", "an address likewise")
    tap.equal(len(site.seen), before, "nobody was asked")
    gw.set(**{"fetch.allow_private": "on"})

with tap.group("a server that is down"):
    put("/root.crl", 503)
    result = fetch("/root.crl")
    tap.contains(result.stderr, "the server said 503", "it is told")
    [place] = [row for row in gw.json("key", "crl", "places")["sources"]
               if row["url"] == BASE + "/root.crl"]
    tap.equal((place["failures"], place["reason"]),
              (1, "the server said 503"), "and noted with its place")
    tap.equal(verdict(ruth.signs(ANNA), RUTH), ("revoked", "revoked"),
              "what is known stays so")
    gw.restart()
    s.find_ports()
    tap.equal(verdict(ruth.signs(ANNA), RUTH), ("revoked", "revoked"),
              "after a restart, too")


def memory(name):
    """Of the largest process of a program, the most it ever had, in MB."""
    most = 0
    for pid in gw.pids(name):
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    most = max(most, int(line.split()[1]) // 1024)
    return most


with tap.group("a list of 250000 certificates"):
    content = root.large_crl(250_000, [pat.serial])
    tap.ok(len(content) > 10_000_000, f"of {len(content)} octets")
    put("/huge.crl", content)
    got = gw.json("key", "crl", "fetch", BASE + "/huge.crl")
    tap.equal(got["entries"], 250_001, "is taken")
    tap.equal(verdict(pat.signs(ANNA), PAT), ("revoked", "revoked"),
              "one among so many is found")
    tap.equal(verdict(ruth.signs(ANNA), RUTH), ("pass", "ok"),
              "another list that does not name her counts instead")
    tap.diag(f"memory in MB: signerd {memory('signerd')}, "
             f"fetchd {memory('fetchd')}")
    if SANITIZED:
        tap.skip("in bounds", "sanitizers need memory of their own")
    else:
        tap.ok(memory("signerd") < 64, "in bounds")
    folder = os.path.join(gw.root, "var/lib/postern/signerd/keys/open/.trust")
    sizes = [os.path.getsize(os.path.join(folder, n))
             for n in os.listdir(folder) if n.startswith("list-")]
    tap.ok(4_000_000 <= max(sizes) < 4_100_000, f"4 MB on disk: {sizes}")

with tap.group("lists that certificates name"):
    top = crls.Ca("Top")
    middle = crls.Ca("Middle", issuer=top, point=BASE + "/top.crl")
    sue = middle.issue("sue", SUE, point=BASE + "/middle.crl")
    evil = crls.Ca("Evil")
    eve = evil.issue("eve", EVE, point=f"http://evil.test:{port}/evil.crl")
    gw.cli("key", "anchor", "add", top.pem)
    put("/top.crl", top.crl())
    put("/middle.crl", middle.crl())
    tap.equal(verdict(sue.signs(ANNA, [middle.pem]), SUE),
              ("pass", "unknown"), "off: nothing is known of a new signer")
    gw.set(**{"fetch.crl_points": "on"})
    tap.equal(verdict(eve.signs(ANNA, [evil.pem]), EVE)[0], "untrusted",
              "a stranger's signature")
    tap.equal(verdict(sue.signs(ANNA, [middle.pem]), SUE)[0], "pass",
              "on: her mail does not wait for the lists")
    tap.wait_until(lambda: {"CN=Top", "CN=Middle"} <= set(lists()),
                   what="both lists")
    tap.equal(verdict(sue.signs(ANNA, [middle.pem]), SUE), ("pass", "ok"),
              "that come then")
    count = site.count("crl.test", "/middle.crl")
    for _ in range(5):
        verdict(sue.signs(ANNA, [middle.pem]), SUE)
    tap.equal(site.count("crl.test", "/middle.crl"), count,
              "more mail asks for nothing")
    tap.ok(not any(host == "evil.test" for host, _ in site.seen),
           "what leads to no anchor is never fetched")
    middle.revoke(sue)
    put("/middle.crl", middle.crl(since=-30))
    gw.cli("key", "crl", "fetch", BASE + "/middle.crl")
    tap.equal(verdict(sue.signs(ANNA, [middle.pem]), SUE)[0], "revoked",
              "a signer")
    top.revoke(middle.pem)
    put("/top.crl", top.crl(since=-30))
    gw.cli("key", "crl", "fetch", BASE + "/top.crl")
    tom = middle.issue("tom", "tom@dest.test", point=BASE + "/middle.crl")
    tap.equal(verdict(tom.signs(ANNA, [middle.pem]), "tom@dest.test")[0],
              "revoked", "and all of a CA that was revoked")

with tap.group("lists that stored certificates name"):
    kim = root.issue("kim", "kim@dest.test", point=BASE + "/kim.crl")
    put("/kim.crl", root.crl(since=-10))
    gw.cli("key", "smime", "import", kim.pem)
    tap.wait_until(lambda: site.count("crl.test", "/kim.crl") > 0,
                   what="a correspondent's list")
    tap.ok(True, "without any mail")

with tap.group("a certificate that names several places"):
    ray = root.issue("ray", "ray@dest.test", point=",URI:".join(
        BASE + path for path in ("/ray1", "/ray2", "/ray3", "/ray4")))
    put("/ray1", 404)
    put("/ray2", root.crl(since=-7200, until=-3600))
    put("/ray3", root.crl(since=-9))
    gw.cli("key", "smime", "import", ray.pem)

    def place_of_ray():
        return next((row for row in gw.json("key", "crl", "places")["sources"]
                     if row["url"] == BASE + "/ray1"), {})

    tap.wait_until(lambda: "due" in place_of_ray(), what="her list")
    tap.equal(place_of_ray()["failures"], 0, "there is a list from one")
    tap.equal([site.count("crl.test", f"/ray{i}") for i in range(1, 5)],
              [1, 1, 1, 0], "each is asked until one has a list that counts")

with tap.group("two CAs of one name"):
    def status(address):
        return [key["status"] for key in gw.json(
            "key", "smime", "list", "--match", address)["keys"]]

    lea = root.issue("lea", "lea@dest.test")
    gw.cli("key", "smime", "import", lea.pem)
    twin = crls.Ca("Root of all", issuer=top)
    gw.cli("key", "anchor", "add", twin.pem)
    put("/twin.crl", twin.large_crl(0, [lea.serial]))
    got = gw.json("key", "crl", "fetch", BASE + "/twin.crl")
    tap.equal((got["entries"], got["revoked"]), (1, 0),
              "the list of one revokes nothing of the other")
    tap.equal(status("lea@dest.test"), ["active"],
              "whose certificate stays in use")
    tap.equal(verdict(lea.signs(ANNA), "lea@dest.test")[0], "pass",
              "and makes good signatures")
    root.revoke(lea)
    put("/root.crl", root.crl(since=-5))
    got = gw.json("key", "crl", "fetch", BASE + "/root.crl")
    tap.equal(got["revoked"], 1, "the list of its own CA revokes it")
    tap.equal(status("lea@dest.test"), ["revoked"], "then it is not used")

with tap.group("a list that is there before the certificate"):
    mia = root.issue("mia", "mia@dest.test")
    ned = top.issue("ned", "ned@example.test")
    root.revoke(mia)
    top.revoke(ned)
    put("/root.crl", root.crl(since=-4))
    put("/top.crl", top.crl(since=-20))
    gw.cli("key", "crl", "fetch", BASE + "/root.crl")
    gw.cli("key", "crl", "fetch", BASE + "/top.crl")
    result = gw.run_cli("key", "smime", "import", mia.pem)
    tap.equal(result.returncode, 2, "a revoked certificate is refused")
    tap.contains(result.stderr, "revoked", "that is told")
    tap.equal(status("mia@dest.test"), [], "and nothing is stored")
    with open(ned.stem + ".both", "wb") as f:
        for part in (".pem", ".key"):
            with open(ned.stem + part, "rb") as g:
                f.write(g.read())
    got = gw.json("key", "smime", "import", ned.stem + ".both")
    tap.equal(got["status"], "revoked", "one of ours is stored as that")
    tap.contains(got.get("note", ""), "opens old mail", "with a word about it")

with tap.group("blocked"):
    other = crls.Ca("Below root", issuer=root)
    bea = other.issue("bea", "bea@dest.test", point=BASE + "/bea.crl")
    put("/bea.crl", other.crl(since=-60))
    tap.equal(verdict(bea.signs(ANNA, [other.pem]), "bea@dest.test")[0],
              "pass", "a CA below an anchor")
    tap.wait_until(lambda: verdict(bea.signs(ANNA, [other.pem]),
                                   "bea@dest.test") == ("pass", "ok"),
                   what="its list", step=1)
    gw.cli("key", "anchor", "add", other.pem, "--block")
    tap.equal(verdict(bea.signs(ANNA, [other.pem]), "bea@dest.test")[0],
              "untrusted", "blocked, what it signed counts for nothing")
    put("/bea.crl", other.crl(since=-30))
    known = lists()
    result = fetch("/bea.crl")
    tap.equal(result.returncode, 1, f"nor does its list: {result.stderr}")
    tap.equal(lists(), known, "and nothing changed")

tap.done()
