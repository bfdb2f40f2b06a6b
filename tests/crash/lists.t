#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""Days that pass: the built-in CA's list of revoked certificates is made anew in
its last week, also by a gateway that was stopped meanwhile; a list from the web
is fetched again before its end; and what ends soon is told at 30, 14 and 7
days, by the same gateway."""

import mmap
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import open_scene, shim, sink, tap  # noqa: E402
from lib import crls, web  # noqa: E402

DAY = 86400


class Clock:
    """How far ahead all the programs' wall clocks are."""

    def __init__(self, path):
        with open(path, "r+b") as f:
            self.block = mmap.mmap(f.fileno(), 4096)

    def days(self, count):
        struct.pack_into("<q", self.block, 0, int(count * DAY))


site = web.Web()
port = site.serve()
world = sink.Sink(name="mx.dest.test")
environment, control = shim("clock")
clock = Clock(control)
s = open_scene(world.port, environment=environment,
               **{"fetch.allow_private": "on", "fetch.wkd": "off"})
gw = s.gw


def lists():
    """{issuer: (made, ends)} in days from now, as the machine's clock has
    it."""
    now = os.path.getmtime(control)
    return {row["issuer"]: (round((row["this_update"] - now) / DAY),
                            round((row["next_update"] - now) / DAY))
            for row in gw.json("key", "crl", "list")["crls"]}


def steps():
    """The days in the subjects of alerts about keys and anchors."""
    return sorted(int(row["subject"].split(" ")[-2])
                  for row in gw.status().get("alerts", [])
                  if row.get("alert", row.get("name")) in (
                      "key-expires", "trust-expires"))


def comes_to(issuer, wanted, what):
    tap.wait_until(lambda: lists().get(issuer) == wanted, what=what)
    tap.ok(True, what)


OURS, THEIRS = "CN=Ours", "CN=Theirs"
with tap.group("at first"):
    gw.cli("ca", "new", "Ours", "--days", "90")
    comes_to(OURS, (0, 30), "a new CA has a list")
    first = gw.cli("ca", "crl")
    theirs = crls.Ca("Theirs", days=90)
    gw.cli("key", "anchor", "add", theirs.pem)
    url = f"http://127.0.0.1:{port}/list.crl"
    site.pages["127.0.0.1", "/list.crl"] = theirs.crl(until=8 * DAY)
    gw.cli("key", "crl", "fetch", url)
    tap.equal(lists()[THEIRS], (0, 8), "a list from the web")

with tap.group("days pass"):
    clock.days(6)
    tap.equal(gw.cli("ca", "crl"), first, "six days later ours is the same")
    site.pages["127.0.0.1", "/list.crl"] = theirs.crl(
        since=6 * DAY, until=14 * DAY)
    clock.days(7.5)
    comes_to(THEIRS, (6, 14), "theirs is fetched again before its end")
    gw.stop()
    clock.days(24)
    gw.start()
    comes_to(OURS, (24, 54), "ours is made anew in its last week")
    tap.ok(gw.cli("ca", "crl") != first, "and is what is exported")
    tap.wait_until(lambda: any(
        "list of revoked certificates of CN=Theirs ended" in row["text"]
        for row in gw.status().get("alerts", [])),
        what="an alert of the list that nobody renewed")
    site.pages["127.0.0.1", "/list.crl"] = theirs.crl(
        since=24 * DAY, until=80 * DAY)
    gw.cli("key", "crl", "fetch", url)
    tap.wait_until(lambda: steps() == [], what="no alert of it")
    tap.ok(True, "fetched at last, it is over")

with tap.group("what ends is told"):
    # Their list ends after 80 days; of that the test above has told.
    for days, wanted in ((59, []), (61, [30, 30]), (77, [14, 14]),
                         (84, [7, 7])):
        clock.days(days)
        # Looked at each hour, and when anything of the kind changes.
        other = crls.Ca(f"Other {days}", days=1000)
        gw.cli("key", "anchor", "add", other.pem)
        tap.wait_until(
            lambda want=wanted: [x for x in steps() if x > 1] == want,
            what=f"alerts {wanted}")
        tap.ok(True, f"{90 - days} days before both CAs end: {wanted}")

tap.done()
