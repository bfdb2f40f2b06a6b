#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Logins through the whole gateway: mechanisms, clients of others, app
passwords, throttling, and how fast a login that was taken away is out."""

import base64
import collections
import os
import select
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import smtp, tap  # noqa: E402
from lib.gateway import Gateway  # noqa: E402

ALICE = "alice@example.org"
PASSWORD = "correct horse 4711"
LINE_S = 12  # LOGIN_LINE_WAIT_MS: for as long a login may stand in line

gw = Gateway(settings={"smtp.client_rate": 100000,
                       "smtp.network_rate": 100000,
                       "smtp.client_connections": 1000,
                       "smtp.network_connections": 1000})
gw.start()
gw.cli("domain", "add", "example.org", "--to", "127.0.0.1:1")


def add_user(name, password):
    gw.cli("user", "add", name, "--password-stdin", input=password + "\n")


add_user(ALICE, PASSWORD)
PORT = gw.port("submission")
# Each test that fails logins on purpose comes from a network of its own.
networks = iter(range(1, 250))


def fresh_source():
    return f"127.{next(networks)}.0.1"


def connect(source=None):
    client = smtp.Client(PORT, source=source)
    client.ehlo()
    client.starttls()
    client.ehlo()
    return client


def b64(data):
    return base64.b64encode(data).decode()


def login(user, password, source=None):
    with connect(source) as client:
        return client.auth_plain(user, password)


def gsasl(mechanism, password=PASSWORD, *more, user=ALICE):
    """Whether gsasl logs in."""
    result = subprocess.run(
        ["gsasl", "--client", "--smtp", "--connect", f"127.0.0.1:{PORT}",
         "--x509-ca-file=", "-m", mechanism, "-a", user, "-p", password,
         *more],
        input="", capture_output=True, text=True, check=False)
    return "Welcome" in result.stdout + result.stderr, result


def swaks(mechanism):
    return subprocess.run(
        ["swaks", "--server", "127.0.0.1", "--port", str(PORT), "--tls",
         "--auth", mechanism, "--auth-user", ALICE,
         "--auth-password", PASSWORD, "--quit-after", "AUTH"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False)


with tap.group("what is offered"):
    c = smtp.Client(PORT)
    c.ehlo()
    tap.ok("AUTH" not in c.extensions, "no AUTH before TLS")
    tap.equal(c.auth_plain(ALICE, PASSWORD).code, 538, "nor taken")
    c.close()
    c = connect()
    tap.equal(c.extensions.get("AUTH"),
              "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN", "under TLS there is")
    for name in ("NTLM", "GSSAPI", "EXTERNAL", "DIGEST-MD5", "CRAM-MD5",
                 "XOAUTH2", "ANONYMOUS", "LOGIN"):
        tap.equal(c.command(f"AUTH {name}").code, 504, f"no {name}")
    c.close()
    gw.set(**{"auth.allow_login": "on"})
    c = connect()
    tap.ok(c.extensions["AUTH"].endswith(" LOGIN"), "LOGIN by setting")
    c.close()

with tap.group("clients of others"):
    for mechanism in ("PLAIN", "LOGIN"):
        result = swaks(mechanism)
        tap.contains(result.stdout, "235 2.7.0", f"swaks, {mechanism}")
    held, result = gsasl("PLAIN")
    if not tap.ok(held, "gsasl, PLAIN"):
        tap.diag(result.stdout + result.stderr)
    held, result = gsasl("SCRAM-SHA-256", PASSWORD, "--no-cb")
    if not tap.ok(held, "gsasl, SCRAM-SHA-256"):
        tap.diag(result.stdout + result.stderr)
    for what, priority in (("tls-exporter", "NORMAL:-VERS-ALL:+VERS-TLS1.3"),
                           ("tls-unique", "NORMAL:-VERS-ALL:+VERS-TLS1.2")):
        held, result = gsasl("SCRAM-SHA-256-PLUS", PASSWORD,
                             f"--priority={priority}")
        if not tap.ok(held, f"gsasl, SCRAM-SHA-256-PLUS by {what}"):
            tap.diag(result.stdout + result.stderr)
    held, _ = gsasl("SCRAM-SHA-256-PLUS", "wrong password")
    tap.ok(not held, "gsasl with a wrong password is refused")

with tap.group("what is no login"):
    source = fresh_source()
    rows = [
        ("no NUL", b64(b"alice")), ("one NUL", b64(b"\0alice")),
        ("three NULs", b64(b"\0a\0b\0c")), ("empty", "="),
        ("empty parts", b64(b"\0\0")),
        ("another authorization identity",
         b64(b"bob\0" + ALICE.encode() + b"\0" + PASSWORD.encode())),
        ("no base64", "!!!!"), ("half of base64", "abc"),
        ("a name with a line end", b64(b"\0alice\r\n\0secret")),
        ("a name of 8,000 octets", b64(b"\0" + b"a" * 8000 + b"\0secret")),
        ("SQL", b64(b"\0' OR 1=1 --\0secret")),
        ("invalid UTF-8", b64(b"\0\xff\xfe\0secret"))]
    for label, text in rows:
        with connect(fresh_source()) as c:
            r = c.command(f"AUTH PLAIN {text}")
            tap.ok(r.code in (501, 535), f"{label}: {r.code}")
            tap.equal(c.command("NOOP").code, 250, "one answer")
    with connect(source) as c:
        tap.equal(c.command("AUTH PLAIN").code, 334, "a challenge")
        tap.equal(c.command("*").code, 501, "is cancelled")
        tap.equal(c.auth_plain(ALICE, PASSWORD).code, 235, "then one may")
        tap.equal(c.auth_plain(ALICE, PASSWORD).code, 503, "only once")
    names = [("Alice@EXAMPLE.org", 235), (" " + ALICE, 535),
             (ALICE + " ", 535), ("alice", 535),
             ("\u0430lice@example.org", 535)]
    for name, code in names:
        tap.equal(login(name, PASSWORD, fresh_source()).code, code,
                  f"the name {name!r}")

with tap.group("an unknown user looks and takes the same"):
    # The work behind it is measured by tests/unit/test_auth_session.
    replies = set()

    def median_times(number):
        took = {"known": [], "unknown": []}
        add_user(f"timed{number}@example.org", PASSWORD)
        for i in range(3):
            for kind, user in (("known", f"timed{number}@example.org"),
                               ("unknown", f"nobody{number}@x.org")):
                with connect(fresh_source()) as c:
                    begun = time.monotonic()
                    replies.add(c.auth_plain(user, f"wrong {i}").raw)
                    took[kind].append(time.monotonic() - begun)
        return {kind: statistics.median(v) for kind, v in took.items()}

    # What else the machine does may disturb one series; a difference that
    # tells the two apart would be there in each.
    for number in range(12):
        medians = median_times(number)
        apart = abs(medians["known"] - medians["unknown"]) / medians["known"]
        if apart < 0.05:
            break
    tap.equal(len(replies), 1, "one reply")
    tap.ok(apart < 0.05, f"5 %: {medians}")

with tap.group("guessing"):
    add_user("frank@example.org", "frank's secret")
    home, evil, other = fresh_source(), fresh_source(), fresh_source()
    tap.equal(login("frank@example.org", "frank's secret", home).code, 235,
              "frank is known at home")
    # Clients in parallel, since each refusal is held back.
    clients = [connect(evil) for _ in range(14)]
    for i, c in enumerate(clients):
        text = b64(b"\0frank@example.org\0guess %d" % i)
        c.send(f"AUTH PLAIN {text}\r\n")
    codes = [c.reply().code for c in clients]
    for c in clients:
        c.close()
    tap.equal((codes.count(535), codes.count(454)), (10, 4),
              "ten guesses are looked at")
    tap.equal(login("frank@example.org", "frank's secret", other).code, 454,
              "none from elsewhere then")
    begun = time.monotonic()
    tap.equal(login("frank@example.org", "frank's secret", home).code, 235,
              "but frank at home gets in")
    # Ten wrong guesses cost 8 s.
    tap.ok(time.monotonic() - begun < 8, "at once")
    status = gw.program("authd")
    tap.ok(status["logins_throttled"] >= 5, "status counts them")

with tap.group("an office that starts work at nine"):
    staff = [(f"staff{i}@example.org", f"secret of {i}") for i in range(200)]
    path = os.path.join(gw.folder, "staff.csv")
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(f"{name},{password}\n" for name, password in staff)
    gw.cli("user", "import", path)
    os.remove(path)
    office, evil = fresh_source(), fresh_source()

    def codes_of(source, logins):
        """Of logins at once, none of which waits for another's reply."""
        held = [connect(source) for _ in logins]
        begun = time.monotonic()
        for c, (name, password) in zip(held, logins):
            c.send("AUTH PLAIN "
                   + b64(f"\0{name}\0{password}".encode()) + "\r\n")

        def replies():
            found = collections.Counter()
            waiting = {c.socket: c for c in held}
            while waiting:
                for ready in select.select(waiting, [], [],
                                           tap.PATIENCE_S)[0]:
                    c = waiting.pop(ready)
                    code = c.reply().code
                    has_waited = time.monotonic() - begun >= LINE_S
                    found["late" if code == 454 and has_waited
                          else code] += 1
                    c.close()
            return found
        return replies

    def all_got_in(found, count, what):
        """A slow machine may not manage all of them while they stand in line:
        many more than the ten tries they have to be then, too."""
        tap.equal([found[535], found[454]], [0, 0], what)
        tap.ok(found[235] >= (count if not found["late"] else 15),
               f"they get in: {dict(found)}")

    def had_ten_tries(found, what):
        tap.equal([found[235], found[535], found[454] + found["late"]],
                  [0, 10, 4], what)

    guesses = codes_of(evil, [(name, "a guess") for name, _ in staff[:14]])
    everybody = codes_of(office, staff)
    all_got_in(everybody(), 200,
               "200 accounts log in at once from one new address")
    had_ten_tries(guesses(), "one who guesses beside them has ten tries")
    guesses = codes_of(office, [(staff[0][0], "a guess")] * 14)
    others = codes_of(office, staff[1:31])
    all_got_in(others(), 30, "they come back at once")
    had_ten_tries(guesses(), "one who guesses among them has ten tries")

with tap.group("a login that is taken away"):
    for what, words, stdin in (
            ("disabled", ("user", "disable"), None),
            ("given a new password", ("user", "passwd"), "another one\n"),
            ("removed", ("user", "remove"), None)):
        name = f"{what[0]}@example.org"
        add_user(name, "secret secret")
        c = connect()
        tap.equal(c.auth_plain(name, "secret secret").code, 235, what)
        tap.equal(c.command(f"MAIL FROM:<{name}>").code, 250, "may send")
        c.command("RSET")
        more = ("--password-stdin",) if stdin else ()
        gw.cli(*words, name, *more, input=stdin)
        begun = taken = time.monotonic()

        def is_out():
            global taken
            sent = time.monotonic()
            r = c.command(f"MAIL FROM:<{name}>")
            if r.code == 250:
                taken = sent
                c.command("RSET")
            return r.code == 535
        tap.ok(tap.wait_until(is_out, what="535", step=0.5), "is out")
        # Judged by when the last MAIL that was taken had been sent.
        tap.ok(taken - begun < 6, "within 5 s")
        c.close()

with tap.group("app passwords"):
    gw.cli("identity", "add", ALICE, "scans@example.org")
    app = gw.json("user", "app-password", "add", ALICE, "--label", "Printer",
                  "--from", "scans@example.org", "--network", "127.0.0.0/24")
    tap.equal(app["login"], "alice+printer@example.org", "has its own name")
    for name in (ALICE, app["login"]):
        with connect() as c:
            tap.equal(c.auth_plain(name, app["password"]).code, 235, name)
            tap.equal(c.command(f"MAIL FROM:<{ALICE}>").code // 100, 5,
                      "is not for the own address")
            tap.equal(c.command("MAIL FROM:<scans@example.org>").code, 250,
                      "but for the one it was made for")
    tap.equal(login(ALICE, app["password"], fresh_source()).code, 535,
              "not from another network")
    tap.equal(login(app["login"], PASSWORD).code, 535,
              "nor with the account's password")
    tap.ok(gsasl("SCRAM-SHA-256-PLUS", app["password"],
                 user=app["login"])[0], "SCRAM knows it by its name")
    # On a busy machine two seconds may be over before there is a login.
    for life_s in (2, 8, 32):
        old = gw.json("user", "app-password", "add", ALICE, "--expires",
                      f"{life_s}s")
        code = login(ALICE, old["password"]).code
        if code == 235:
            break
    tap.equal(code, 235, "until it expires")
    tap.ok(tap.wait_until(lambda: login(ALICE, old["password"]).code == 535,
                          what="expiry", step=0.5), "and not after")
    c = connect()
    tap.equal(c.auth_plain(ALICE, app["password"]).code, 235, "a session")
    gw.cli("user", "app-password", "remove", ALICE, "printer")
    tap.ok(tap.wait_until(
        lambda: c.command("MAIL FROM:<scans@example.org>").code == 535
        or c.command("RSET").code != 250, what="535", step=0.5),
        "ends with its app password")
    tap.equal(login(ALICE, app["password"]).code, 535, "which is gone")

with tap.group("who may send as whom"):
    c = connect()
    c.auth_plain(ALICE, PASSWORD)
    for sender, is_own in ((ALICE, True), ("ALICE@example.org", True),
                           ("alice+list@example.org", True),
                           ("scans@example.org", True),
                           ("bob@example.org", False),
                           ("alice@example.com", False)):
        r = c.command(f"MAIL FROM:<{sender}>")
        tap.equal(r.code == 250, is_own, f"{sender}: {r.code}")
        c.command("RSET")
    gw.cli("identity", "add", ALICE, "@example.com")
    c.close()
    c = connect()
    c.auth_plain(ALICE, PASSWORD)
    tap.equal(c.command("MAIL FROM:<any@example.com>").code, 250,
              "a whole domain")
    c.close()

with tap.group("nothing secret is written down"):
    gw.stop()
    planted = [PASSWORD, "frank's secret", "secret secret", "wrong 7",
               "secret of 7", app["password"]]
    found = []
    for folder, _, names in os.walk(gw.root):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as f:
                content = f.read()
            found += [(path, p) for p in planted
                      if p.encode() in content
                      or base64.b64encode(p.encode())[:-4] in content]
    tap.equal(found, [], "in no file")
    tap.ok(not any(p in gw.log() for p in planted), "nor on standard error")

tap.done()
