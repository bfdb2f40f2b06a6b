#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""authd alone, between peers that keep the rules and peers that do not."""

import base64
import hashlib
import hmac
import json
import os
import struct
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import peer, tap  # noqa: E402

PASSWORD = "correct horse 4711"
CHALLENGE, OK, FAILED, TEMPORARY, BAD = range(5)
BINDINGS = {"tls_exporter": b"e" * 32, "tls_server_end_point": b"s" * 32}

p = peer.Program("authd", settings={"auth.allow_login": 0})


def manage(verb, **arguments):
    answer = p.confd.ask("MGMT_REQUEST", verb=verb, actor="test",
                         arguments=json.dumps(arguments))
    return answer["code"], json.loads(answer["body"])


def attempt(session, message, mechanism="PLAIN", client="127.0.0.1", **more):
    """The values of its AUTH_START."""
    return {"session_id": session, "mechanism": mechanism,
            "has_initial": message is not None, "initial": message or b"",
            "client": client, "is_tls": True, **BINDINGS, **more}


def start(worker, *words, **more):
    return worker.post("AUTH_START", **attempt(*words, **more))


def plain(user, password):
    return f"\0{user}\0{password}".encode()


def login(worker, session, user="alice@example.org", password=PASSWORD,
          **more):
    return worker.take(start(worker, session, plain(user, password), **more))


def step(worker, session, message):
    return worker.ask("AUTH_STEP", session_id=session, response=message)


worker = p.connect("smtpd")
queued = p.connect("queued")
manage("user.add", name="alice@example.org", password=PASSWORD)

with tap.group("what peers are told first"):
    frame = worker.read()
    tap.equal((frame.name, frame.values["mechanisms"]),
              ("AUTH_MECHANISMS", "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN"),
              "smtpd: the mechanisms")
    p.configure(auth__allow_login=1)
    frame = worker.read()
    tap.equal(frame.values["mechanisms"].split()[-1], "LOGIN",
              "and again when they change")
    keys = queued.read()
    tap.equal((keys.name, len(keys.values["current"]),
               keys.values["previous"]), ("TOKEN_KEYS", 32, b""),
              "queued: the key of tokens")
    keys = keys.values

with tap.group("a token"):
    answer = login(worker, 77)
    tap.equal((answer["verdict"], answer["account"], answer["session_id"]),
              (OK, "alice@example.org", 77), "comes with a login")
    token = answer["token"]
    tap.equal(hmac.new(keys["current"], token[:-32],
                       hashlib.sha256).digest(), token[-32:],
              "is made with queued's key")
    version, _, count, session, logged, issued, expires = struct.unpack_from(
        "<BBHQQQQ", token)
    tap.equal((version, count, session), (1, 1, 77), "is for that session")
    tap.ok(logged == issued < expires, "expires")
    tap.ok(PASSWORD.encode() not in token, "and holds no password")


def renew(token, session=77, channel=worker):
    return channel.ask("AUTH_RENEW", session_id=session, token=token)


with tap.group("renewals"):
    again = renew(token)
    tap.equal(again["verdict"], OK, "a token is renewed")
    tap.equal(renew(again["token"])["verdict"], OK, "so is the new one")
    tap.equal(renew(token, session=78)["verdict"], FAILED,
              "not for another session")
    forged = bytes(32 * [7])
    for label, octets in (
            ("no token", b""), ("junk", b"x" * 200),
            ("cut", token[:-1]), ("longer", token + b"x"),
            ("made with another key", token[:-32] + hmac.new(
                forged, token[:-32], hashlib.sha256).digest()),
            ("of another account", token.replace(b"alice", b"malic")),
            ("for later", token[:28] + b"\xff" * 7 + b"\0" + token[36:])):
        tap.equal(renew(octets)["verdict"], FAILED, f"{label}: not renewed")
    other = p.connect("smtpd")
    tap.equal(renew(token, channel=other)["verdict"], OK,
              "a worker's successor may")
    other.close()
    manage("user.passwd", name="alice@example.org", password=PASSWORD)
    tap.equal(renew(token)["verdict"], FAILED,
              "after a change of password nobody may")
    token = login(worker, 79)["token"]
    manage("user.disable", name="alice@example.org")
    tap.equal(renew(token, 79)["verdict"], FAILED, "nor when disabled")
    manage("user.enable", name="alice@example.org")
    tap.equal(renew(token, 79)["verdict"], FAILED,
              "nor after that, without a login")

with tap.group("out of order"):
    tap.equal(step(worker, 1, b"x")["verdict"], TEMPORARY,
              "a step of no attempt")
    first = start(worker, 2, None, "LOGIN")
    tap.equal(worker.take(first)["challenge"], b"Username:", "an attempt")
    again = start(worker, 2, plain("alice@example.org", PASSWORD))
    tap.equal(worker.take(again)["verdict"], OK, "another takes its place")
    # The hash of the first takes longer than reading the second.
    one, two = worker.post_all(
        ("AUTH_START", attempt(3, plain("alice@example.org", "guess one"),
                               client="10.1.1.1")),
        ("AUTH_STEP", {"session_id": 3, "response": b"x"}))
    tap.equal(worker.take(two)["verdict"], BAD,
              "a step while the last is in work")
    tap.equal(worker.take(one)["verdict"], FAILED, "which has its own answer")
    start(worker, 4, plain("alice@example.org", "guess two"),
          client="10.1.2.1")
    worker.send("AUTH_ABORT", session_id=4)
    tap.equal(step(worker, 4, b"x")["verdict"], TEMPORARY,
              "an attempt given up is gone")
    tap.equal(worker.take(start(worker, 5, plain(
        "alice@example.org", PASSWORD), is_tls=False))["verdict"], FAILED,
        "no password in plain text, even the right one")
    tap.equal(worker.take(start(worker, 6, b"x", "GSSAPI"))["verdict"], BAD,
              "no other mechanism")
    # Nobody who begins logins and leaves them keeps others from theirs.
    idle = p.connect("smtpd")
    for first in range(100, 2500, 100):
        for frame in idle.post_all(*(("AUTH_START", attempt(n, None, "LOGIN"))
                                     for n in range(first, first + 100))):
            last = idle.take(frame)
    tap.equal((login(worker, 9)["verdict"], last["challenge"]),
              (OK, b"Username:"), "2,400 begun logins leave room for more")
    tap.equal(step(idle, 100, b"bob")["verdict"], TEMPORARY,
              "the one that waited for longest is given up")
    tap.equal(step(idle, 2499, b"bob")["challenge"], b"Password:",
              "the latest goes on")
    idle.close()
    left = p.connect("smtpd")
    start(left, 7, plain("alice@example.org", "guess three"),
          client="10.1.3.1")
    left.close()
    tap.equal(login(worker, 8)["verdict"], OK,
              "who leaves in the middle takes nothing along")
    tap.equal(login(worker, 77, client="127.0.0.1")["session_id"], 77,
              "answers name their session")

with tap.group("workers that lie"):
    breaches = [
        ("a client that is no address", lambda c: start(
            c, 1, b"", client="not an address")),
        ("a role's question of another", lambda c: c.send(
            "ALIAS_EXPAND", recipients=[])),
        ("an answer that nobody asked for", lambda c: c.send(
            "AUTH_RESULT", session_id=1)),
        ("a management request", lambda c: c.post(
            "MGMT_REQUEST", verb="user.list", actor="x", arguments="{}")),
        ("a frame that is too long", lambda c: c.send_raw(struct.pack(
            "<IHHQ", 1 << 30, c.tables.types["AUTH_START"], 0, 1))),
        ("a type that does not exist", lambda c: c.send_raw(struct.pack(
            "<IHHQ", 0, 60000, 0, 1))),
        ("a text with control characters", lambda c: start(
            c, 1, b"", mechanism="PLAIN\r\n"))]
    stop = threading.Event()
    outcomes = []

    def keep_logging_in():
        session = 1000
        with_ = p.connect("smtpd")
        while not stop.is_set():
            session += 1
            outcomes.append(login(with_, session)["verdict"])

    busy = threading.Thread(target=keep_logging_in)
    busy.start()
    for label, breach in breaches:
        liar = p.connect("smtpd")
        liar.read()
        breach(liar)
        try:
            while True:
                frame = liar.read()
                tap.ok(frame.name == "BYE", f"{label}: {frame.name}")
        except peer.Ended:
            tap.ok(True, f"{label} ends the channel")
    tap.wait_until(lambda: len(outcomes) > 10, what="logins")
    stop.set()
    busy.join()
    tap.ok(set(outcomes) == {OK},
           f"{len(outcomes)} logins meanwhile were not disturbed")

with tap.group("many at once"):
    # Ten of each account are looked at at once; all together are more than
    # authd takes on.
    users = [f"u{i}" for i in range(220)]
    rows = "\n".join(f"{u},password of {u}" for u in users)
    code, result = manage("user.import", csv=rows)
    tap.equal((code, result["added"]), (0, 220), "an import")
    numbers = [start(worker, 5000 + i, plain(u, f"password of {u}"),
                     client=f"10.{2 + i // 200}.{i % 200}.1")
               for i, u in enumerate(users * 10)]
    # SCRAM's first answer does not wait for 500 hashes.
    scram = start(worker, 9999, b"n,,n=alice@example.org,r=abc",
                  "SCRAM-SHA-256")
    tap.equal(worker.take(scram)["verdict"], CHALLENGE, "SCRAM answers")
    waiting = int(p.status()["hashes_waiting"])
    tap.ok(waiting > 50, f"while {waiting} hashes wait")
    verdicts = [worker.take(n)["verdict"] for n in numbers]
    tap.equal(set(verdicts) - {OK, TEMPORARY}, set(),
              "each is let in or told to come later")
    tap.ok(verdicts.count(OK) >= 100, f"{verdicts.count(OK)} were let in")
    tap.ok(verdicts.count(TEMPORARY) > 0, "the queue is bounded")

with tap.group("management"):
    for label, answer in (
            ("no such verb", p.confd.ask("MGMT_REQUEST", verb="user.steal",
                                         arguments="{}")),
            ("no JSON", p.confd.ask("MGMT_REQUEST", verb="user.list",
                                    arguments="{")),
            ("no object", p.confd.ask("MGMT_REQUEST", verb="user.list",
                                      arguments="[]")),
            ("no name", p.confd.ask("MGMT_REQUEST", verb="user.add",
                                    arguments="{}")),
            ("a number as name", p.confd.ask(
                "MGMT_REQUEST", verb="user.add", arguments='{"name": 1}'))):
        tap.equal(answer["code"], 2, label)
        tap.ok("error" in json.loads(answer["body"]), "is said")
    code, made = manage("user.add", name="generated")
    tap.equal(len(made["password"]), 23,
              "a password is made where none is given")
    tap.equal(login(worker, 6001, "generated", made["password"])["verdict"],
              OK, "and lets in")
    code, shown = manage("user.show", name="generated")
    tap.ok("verifier" not in json.dumps(shown), "no verifier is ever told")
    code, domains = manage("directory.alias_domains")
    tap.equal((code, domains), (0, {"domains": []}), "domains with aliases")

with tap.group("its files"):
    state = [os.path.join(folder, name)
             for folder, _, names in os.walk(p.root) for name in names
             if "/lib/" in folder]
    tap.ok(any(f.endswith("/accounts.db") for f in state), "are there")
    tap.ok(all(os.stat(f).st_mode & 0o077 == 0 for f in state),
           "nobody else may read its files")

tap.done()
