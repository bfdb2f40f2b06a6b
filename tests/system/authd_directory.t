#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Users, recipients and aliases from the command line, and what they do to
mail on its way in."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import smtp, sink, tap  # noqa: E402
from lib.gateway import Gateway  # noqa: E402

# What a busy machine may add to a wait; no other limit is that close.
LATE_S = 25

inner = sink.Sink()
gw = Gateway(postmaster="boss@list.test",
             settings={"smtp.check_sender_domain": "off",
                       "relay.allow_loopback": "on"})
gw.start()
for domain in ("any.test", "list.test", "ask.test"):
    gw.cli("domain", "add", domain, "--to", f"127.0.0.1:{inner.port}")
gw.cli("domain", "recipients", "list.test", "list")
gw.cli("domain", "recipients", "ask.test", "callout")
PORT = gw.port("smtp")


def write(name, text):
    path = os.path.join(gw.folder, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def rcpt(*addresses):
    """The code of RCPT for each address, from a stranger."""
    with smtp.Client(PORT) as c:
        c.ehlo()
        c.command("MAIL FROM:<x@elsewhere.test>")
        return [c.command(f"RCPT TO:<{a}>").code for a in addresses]


def deliver(*recipients):
    """Sends one message; whom the inner server gets it for."""
    with smtp.Client(PORT) as c:
        c.ehlo()
        r = c.submit("x@elsewhere.test", list(recipients),
                     b"From: x@elsewhere.test\r\nSubject: s\r\n\r\ntext")
    if r.code != 250:
        return r.text
    gw.wait_for_queue(0)
    return sorted(to for m in inner.take() for to in m.recipients)


with tap.group("users"):
    gw.cli("user", "add", "Anna@list.test", "--password-stdin",
           input="a password\n")
    tap.ok("already" in gw.run_cli(
        "user", "add", "anna@LIST.test", "--password-stdin",
        input="a password\n").stderr, "one account has one name")
    tap.equal(gw.run_cli("user", "add", "anna@list.test", "--password-stdin",
                         input="a password\n").returncode, 6, "conflict: 6")
    for name in ("x+y", "x y", "j\u00fcrgen", ".x", "x@"):
        tap.equal(gw.run_cli("user", "add", name, "--password-stdin",
                             input="a password\n").returncode, 2,
                  f"no name: {name}")
    tap.equal(gw.run_cli("user", "add", "y", "--password-stdin",
                         input="short\n").returncode, 2, "no password: short")
    gw.cli("user", "add", "device", "--no-password")
    gw.cli("identity", "add", "device", "scan@list.test", "@any.test")
    shown = gw.json("user", "show", "device")
    tap.equal((shown["has_password"], shown["addresses"]),
              (False, ["@any.test", "scan@list.test"]), "user show")
    tap.equal(gw.run_cli("identity", "add", "device",
                         "scan@list.test").returncode, 6, "once")
    tap.equal(gw.run_cli("identity", "remove", "device",
                         "none@list.test").returncode, 3, "nothing: 3")
    tap.equal(gw.run_cli("user", "show", "nobody").returncode, 3, "nobody: 3")
    tap.equal([u["name"] for u in gw.json("user", "list")["users"]],
              ["anna@list.test", "device"], "user list")
    tap.equal(gw.run_cli("user", "app-password", "add", "device", "--from",
                         "boss@list.test").returncode, 2,
              "an app password for an address that is not the user's")

with tap.group("a CSV file of users"):
    path = write("users.csv", "name,password,address\r\n"
                 "ben@list.test,\"pass,word\",ben2@list.test\n"
                 "carl,,\n"
                 "x y,password,\n"
                 "anna@list.test,changed password,also@list.test\n"
                 "dora,tiny,\n")
    trial = gw.json("user", "import", path, "--dry-run", code=1)
    tap.equal((trial["added"], trial["changed"],
               [f["line"] for f in trial["failed"]]), (2, 1, [4, 6]),
              "a trial says what would be")
    tap.equal(len(gw.json("user", "list")["users"]), 2, "and does nothing")
    done = gw.json("user", "import", path, code=1)
    tap.equal((done["added"], done["changed"]), (2, 1), "then it is done")
    tap.equal(gw.json("user", "show", "ben@list.test")["addresses"],
              ["ben@list.test", "ben2@list.test"], "with addresses")
    many = write("many.csv", "".join(
        f"u{i}@list.test,password {i}\n" for i in range(300)))
    tap.equal(gw.json("user", "import", many)["added"], 300, "300 at once")
    with smtp.Client(gw.port("submission")) as c:
        tap.equal(c.login("u299@list.test", "password 299").code, 235,
                  "who can log in")
    tap.equal(len(gw.json("user", "list", "--limit", "100")["users"]), 100,
              "a list has its limit")

with tap.group("recipients"):
    tap.equal(rcpt("who@list.test", "anna@list.test", "anna+x@list.test",
                   "who@any.test", "who@elsewhere.test"),
              [550, 250, 250, 250, 550], "before any is listed")
    gw.cli("recipient", "add", "who@list.test")
    tap.equal(rcpt("who@list.test", "WHO@List.Test", "who+tag@list.test",
                   "whom@list.test"), [250, 250, 250, 550], "one listed")
    tap.equal(gw.run_cli("recipient", "add", "x@foreign.test").returncode, 2,
              "not in a domain of others")
    path = write("recipients", "# ours\nr1@list.test\n\nr2@list.test\n"
                 "r3@foreign.test\nwho@list.test\n")
    done = gw.json("recipient", "import", path, code=1)
    tap.equal((done["added"], done["unchanged"],
               [f["line"] for f in done["failed"]]), (2, 1, [5]), "a file")
    tap.equal([r["address"] for r in
               gw.json("recipient", "list", "list.test")["recipients"]],
              ["r1@list.test", "r2@list.test", "who@list.test"], "list")
    gw.cli("recipient", "remove", "who@list.test")
    tap.equal(rcpt("who@list.test"), [550], "removed")
    tap.equal(gw.run_cli("recipient", "remove", "who@list.test").returncode,
              3, "once")
    tap.equal(rcpt("postmaster@list.test", "abuse@list.test", "postmaster"),
              [250, 250, 250], "postmaster and abuse are always there")

with tap.group("aliases"):
    gw.cli("alias", "add", "team@list.test", "r1@list.test", "r2@list.test")
    tap.equal(rcpt("team@list.test"), [250], "an alias exists")
    tap.equal(deliver("team@list.test"), ["r1@list.test", "r2@list.test"],
              "and goes to its targets")
    tap.equal(deliver("team@list.test", "r1@list.test"),
              ["r1@list.test", "r2@list.test"], "each once")
    gw.cli("alias", "add", "all@list.test", "team@list.test", "u1@list.test")
    tap.equal(deliver("all@list.test"),
              ["r1@list.test", "r2@list.test", "u1@list.test"], "nested")
    gw.cli("alias", "add", "a@list.test", "b@list.test")
    tap.equal(gw.run_cli("alias", "add", "b@list.test",
                         "a@list.test").returncode, 2, "no circle")
    tap.equal(gw.run_cli("alias", "add", "x@foreign.test",
                         "r1@list.test").returncode, 2,
              "none in a domain of others")
    tap.equal(deliver("postmaster@any.test"), ["boss@list.test"],
              "postmaster goes to the postmaster")
    gw.cli("alias", "add", "postmaster@any.test", "r1@list.test")
    tap.equal(deliver("postmaster@any.test"), ["r1@list.test"],
              "unless there is an alias")
    gw.cli("alias", "add", "@any.test", "r2@list.test")
    tap.equal(deliver("whoever@any.test"), ["r2@list.test"],
              "all of a domain")
    path = write("aliases", "f1@list.test r1@list.test r2@list.test\n"
                 "f2@list.test: r1@list.test, r2@list.test # no comment\n"
                 "f3@list.test\n# nothing\nf4@list.test: r1@list.test\n")
    done = gw.json("alias", "import", path, code=1)
    tap.equal((done["added"], [f["line"] for f in done["failed"]]),
              (2, [2, 3]), "a file")
    r = gw.run_cli("alias", "import", path)
    tap.equal(r.returncode, 1, "lines that were refused are a failure")
    tap.contains(r.stderr, f"2 lines of {path} are refused", "and counted")
    gw.cli("alias", "remove", "team@list.test", "r1@list.test")
    tap.equal(deliver("team@list.test"), ["r2@list.test"], "a target less")
    gw.cli("alias", "remove", "team@list.test")
    tap.equal(rcpt("team@list.test"), [550], "removed")
    aliases = {a["address"]: a["targets"]
               for a in gw.json("alias", "list")["aliases"]}
    tap.equal(aliases["f1@list.test"], ["r1@list.test", "r2@list.test"],
              "list")

with tap.group("asking the inner server"):
    # In-session answers of the inner server decide, and are remembered.
    tap.equal(rcpt("known@ask.test"), [250], "who is known there")
    inner.on("RCPT", "550 5.1.1 no such user", times=1)
    tap.equal(rcpt("unknown@ask.test"), [550], "who is not")
    tap.equal(rcpt("unknown@ask.test"), [550], "is remembered")
    inner.on("RCPT", "451 4.3.0 later", times=1)
    tap.equal(rcpt("later@ask.test"), [451], "who cannot be said")
    tap.equal(rcpt("later@ask.test"), [250], "is asked about again")
    tap.equal(rcpt("postmaster@ask.test"), [250], "postmaster needs no asking")

with tap.group("authd away"):
    gw.kill("authd", signal.SIGSTOP)
    with smtp.Client(PORT) as c:
        c.ehlo()
        c.command("MAIL FROM:<x@elsewhere.test>")
        begun = time.monotonic()
        tap.equal(c.command("RCPT TO:<who@list.test>").code, 451,
                  "recipients are asked for later")
        took = time.monotonic() - begun
        # authd may ask the inner server for 20 s; smtpd waits for 30 s.
        tap.ok(29 < took < 30 + LATE_S, f"after 30 s: {took:.1f}")
        tap.equal(c.command("NOOP").code, 250, "and the session goes on")
    gw.kill("authd", signal.SIGCONT)
    gw.kill("authd")
    tap.wait_until(lambda: rcpt("who@list.test") == [550],
                   what="authd is there again")
    tap.ok(True, "until it is there again")

tap.done()
