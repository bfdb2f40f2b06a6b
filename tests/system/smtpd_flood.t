#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: quick
"""The flood shield: limits for each address and network, the share kept for
who logged in lately, block and allow entries, and what the log says."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import scene, smtp, tap  # noqa: E402

s = scene.Scene(settings={"smtp.client_connections": 5,
                          "smtp.network_connections": 8,
                          "smtp.client_rate": 100,
                          "smtp.network_rate": 10000,
                          "smtp.max_connections": 40,
                          "smtp.reserved_share": 50}).start()


def come(source, kind="smtp"):
    """A connection and the code that it was greeted with."""
    c = smtp.Client(s.ports[kind], source=source)
    return c, c.greeting.code


def many(source, count):
    """Connections that were taken, and how many were not."""
    taken, refused = [], 0
    for _ in range(count):
        c, code = come(source)
        if code == 220:
            taken.append(c)
        else:
            refused += 1
            tap.ok(code == 421 and c.greeting.enhanced == "4.7.0"
                   and c.at_end(), f"{source} is told 421 and closed"
                   ) if refused == 1 else c.close()
    return taken, refused


def leave(clients):
    for c in clients:
        c.quit()


def connections():
    return s.gw.program("smtpd")["connections"]


def events(name):
    return s.gw.json("log", f"event={name}").get("events", [])


with tap.group("one address"):
    taken, refused = many("127.1.1.1", 7)
    tap.equal((len(taken), refused), (5, 2), "five at once")
    other, code = come("127.1.1.2")
    tap.equal(code, 220, "its neighbour is another")
    taken[0].quit()
    tap.wait_until(lambda: connections() == 5, what="one left")
    again, code = come("127.1.1.1")
    tap.equal(code, 220, "makes room for one")
    leave(taken[1:] + [other, again])

with tap.group("one network"):
    tap.wait_until(lambda: connections() == 0, what="all left")
    clients = [come(f"127.1.2.{n}") for n in range(1, 11)]
    tap.equal([code for _, code in clients], [220] * 8 + [421] * 2,
              "eight at once from a /24")
    c, code = come("127.1.3.1")
    tap.equal(code, 220, "the next /24 is another")
    leave([c] + [c for c, code in clients if code == 220])

with tap.group("too fast"):
    tap.wait_until(lambda: connections() == 0, what="all left")
    codes = []
    began = time.monotonic()
    while len(codes) < 1000 and 421 not in codes:
        c, code = come("127.1.4.1")
        codes.append(code)
        if code == 220:
            c.quit()
    # What the minute gives back while they come is not to be counted.
    more = (time.monotonic() - began) * 100 / 60
    tap.ok(100 <= len(codes) < 105 + more,
           f"a hundred a minute: {len(codes)}, {more:.0f} of them later")

with tap.group("trusted networks"):
    taken = [come(scene.TRUSTED) for _ in range(12)]
    tap.equal({code for _, code in taken}, {220},
              "are bound by neither address nor network")
    leave([c for c, _ in taken])

with tap.group("the reserved share"):
    tap.wait_until(lambda: connections() == 0, what="all left")
    staff = s.login(source="127.1.9.1")
    staff.quit()
    tap.wait_until(lambda: connections() == 0, what="a login ended")
    crowd = []
    for n in range(10, 16):
        taken, _ = many(f"127.1.{n}.1", 5)
        crowd += taken
    tap.equal(len(crowd), 20, "strangers get half of the slots")
    c, code = come("127.1.9.77")
    tap.equal(code, 220, "who logged in lately gets another")
    tap.equal(c.command("EHLO x").code, 250, "and is served")
    trusted, code = come(scene.TRUSTED)
    tap.equal(code, 220, "so does a trusted network")
    leave(crowd + [c, trusted])

with tap.group("block and allow entries"):
    s.gw.cli("block", "add", "127.1.20.0/24")
    s.gw.cli("allow", "add", "127.1.20.5")
    s.gw.cli("block", "add", "bad@elsewhere.test")
    s.gw.cli("allow", "add", "good@nosuch.test")
    c, code = come("127.1.20.1")
    tap.equal((code, c.at_end()), (554, True), "a blocked network gets 554")
    taken = [come("127.1.20.5") for _ in range(7)]
    tap.equal({code for _, code in taken}, {220},
              "an allowed address within it is not, nor limited")
    leave([c for c, _ in taken])
    with s.stranger() as c:
        tap.equal(c.command("MAIL FROM:<BAD@elsewhere.test>").enhanced,
                  "5.7.1", "a blocked sender")
        tap.equal(c.command("MAIL FROM:<good@nosuch.test>").code, 250,
                  "an allowed one needs no domain in the DNS")
    with s.login() as c:
        tap.equal(c.command("MAIL FROM:<anna@example.test>").code, 250,
                  "entries for senders do not bind who logged in")
    s.gw.cli("block", "remove", "127.1.20.0/24")
    c, code = come("127.1.20.1")
    tap.equal(code, 220, "an entry that is gone")
    c.quit()

with tap.group("the log"):
    def reasons():
        found = {e.get("reason") for e in events("connect.refused")}
        return (any("address" in r for r in found)
                and any("network" in r for r in found)
                and "block entry" in found)

    tap.ok(tap.wait_until(reasons, what="the events", step=0.1),
           "has each reason")
    tap.ok(len(events("connect.refused")) < 20, "but not each connection")

with tap.group("passwords"):
    with s.stranger() as c:
        tap.equal(c.command("AUTH LOGIN").code, 502, "AUTH is refused")
        tap.equal(c.command("c2VjcmV0IHdvcmQ=").code, 500,
                  "a client that sends a password all the same")
    tap.wait_until(lambda: events("command.refused"), what="the events")
    text = s.gw.cli("log", "event=command.refused")
    tap.contains(text, "AUTH", "the log has the refusal")
    tap.ok("c2VjcmV0" not in text, "but not what followed")

tap.done()
