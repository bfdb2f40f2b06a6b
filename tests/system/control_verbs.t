#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Every verb that "postern help" lists, with the gateway running and, where
that makes sense, stopped."""

import json
import os
import smtplib
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import certs, gateway, tap  # noqa: E402

gw = gateway.Gateway(postmaster="anna@example.org", settings={
    "relay.allow_loopback": "on", "queue.min_free": "0",
    "dns.servers": "127.0.0.1:1", "relay.idle": "0s"})
used = set()


def verbs():
    """As help prints them: two spaces, then lower-case words."""
    found = set()
    for line in gw.cli("help").split("\n"):
        if line.startswith("  ") and not line.startswith("      "):
            words = []
            for word in line.split():
                if not word.replace("-", "").islower():
                    break
                words.append(word)
            # What follows two spaces or more is the explanation.
            head = line[2:].split("  ")[0].split(" [")[0].split()
            found.add(" ".join(w for w in head
                               if w.replace("-", "").islower()
                               and w in words))
    return {v for v in found if v}


ALL = verbs()


def note(words):
    for n in (3, 2, 1):
        name = " ".join(words[:n])
        if name in ALL:
            used.add(name)
            return


def answer(words, **kw):
    """Of postern; what was left alone, since it was being delivered just
    then, is asked again."""
    def ask():
        r = gw.run_cli(*words, **kw)
        return None if "being delivered just now" in r.stderr else r

    return tap.wait_until(ask, what="an attempt to be over")


def run(*words, code=0, **kw):
    note(words)
    r = answer(words, **kw)
    tap.equal(r.returncode, code, " ".join(words[:4]) + f": {code}")
    if r.returncode != code:
        tap.diag(r.stdout + r.stderr)
    return r.stdout


def rows(*words, code=0):
    return [line.split("\t") for line in
            run(*words, code=code).split("\n")[:-1]]


def send(sender, recipients):
    """One mail by submission; its id in the queue."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", gw.port("submission")) as s:
        s.starttls(context=context)
        s.login("anna@example.org", "secret one")
        s.mail(sender)
        for r in recipients:
            s.rcpt(r)
        code, text = s.data(f"From: {sender}\r\nTo: x\r\nSubject: hi\r\n\r\n"
                            "text\r\n")
        assert code == 250, (code, text)
        return text.decode().rsplit(" ", 1)[1]


def directory(is_running):
    state = "running" if is_running else "stopped"
    with tap.group(f"users, recipients, aliases: {state}"):
        run("user", "add", f"u-{state}@example.org", "--password-stdin",
            "--address", "sales@example.org", "@example.net",
            input="a password\n")
        run("user", "add", f"u-{state}@example.org", "--password-stdin",
            input="a password\n", code=6)
        run("user", "add", "none@example.org", code=2)
        made = json.loads(run("user", "add", f"g-{state}@example.org",
                              "--generate", "--json"))
        tap.ok(len(made["password"]) >= 16, "a generated password is shown")
        tap.ok(any(r[0] == f"u-{state}@example.org" and
                   "@example.net" in r[2] for r in rows("user", "list")),
               "it is in the list")
        tap.equal(len(gw.cli("user", "list", "--limit", "1").split("\n")), 2,
                  "--limit holds")
        tap.contains(run("user", "show", f"u-{state}@example.org"),
                     "sales@example.org", "with its identities")
        run("identity", "add", f"u-{state}@example.org", "info@example.org")
        run("identity", "remove", f"u-{state}@example.org",
            "info@example.org")
        run("identity", "remove", f"u-{state}@example.org",
            "info@example.org", code=3)
        run("user", "passwd", f"u-{state}@example.org", "--password-stdin",
            input="another\n")
        run("user", "passwd", f"u-{state}@example.org", "--password-stdin",
            input="", code=2)
        run("user", "disable", f"u-{state}@example.org")
        tap.contains(run("user", "show", f"u-{state}@example.org"),
                     "is_disabled: yes", "disabled")
        run("user", "enable", f"u-{state}@example.org")
        app = json.loads(run(
            "user", "app-password", "add", f"u-{state}@example.org",
            "--label", "printer", "--from", "sales@example.org",
            "--network", "10.0.0.0/8", "--expires", "30d", "--json"))
        tap.ok(app["password"], "an app password is shown once")
        [row] = rows("user", "app-password", "list", f"u-{state}@example.org")
        tap.equal(row[1], "printer", "and listed")
        run("user", "app-password", "remove", f"u-{state}@example.org",
            row[0])
        run("user", "import", "-", "--dry-run",
            input=f"i-{state}@example.org,pass word,i@example.org\n")
        run("user", "show", f"i-{state}@example.org", code=3)
        run("user", "import", "-",
            input=f"i-{state}@example.org,pass word,i@example.org\n")
        run("user", "remove", f"i-{state}@example.org")
        run("user", "remove", f"i-{state}@example.org", code=3)
        run("recipient", "add", f"r-{state}@example.org")
        run("recipient", "import", "-", input=f"q-{state}@example.org\n")
        run("recipient", "remove", f"q-{state}@example.org")
        tap.equal([r for r in rows("recipient", "list", "example.org")
                   if state in r[0]], [[f"r-{state}@example.org"]],
                  "recipients")
        run("alias", "add", f"a-{state}@example.org", "anna@example.org",
            f"r-{state}@example.org")
        run("alias", "import", "-",
            input=f"b-{state}@example.org a-{state}@example.org\n")
        run("alias", "remove", f"b-{state}@example.org")
        tap.equal([r for r in rows("alias", "list") if state in r[0]],
                  [[f"a-{state}@example.org",
                    f"anna@example.org r-{state}@example.org"]], "aliases")


with tap.group("before the first start"):
    used.add("init")
    run("domain", "add", "example.org", "--to", "127.0.0.1:1")
    run("user", "add", "anna@example.org", "--password-stdin",
        input="secret one\n")
directory(False)

with tap.group("the configuration, stopped"):
    run("config", "set", "smtp.max_errors=30")
    tap.equal(run("config", "get", "smtp.max_errors"), "30\n", "is set")
    tap.ok(["smtp.max_errors", "30"] in
           [r[:2] for r in rows("config", "list")], "and listed")
    run("config", "unset", "smtp.max_errors")
    run("config", "undo")
    tap.contains(run("config", "diff"), "+ smtp.max_errors = 30", "diff")
    run("config", "history")
    run("config", "apply", "-", input=run("config", "export"))
    run("queue", code=3)
    run("queue", "list", code=3)
    run("log")
    run("trace", "nobody@example.com", code=3)
    run("tls", "show")

gw.start()
directory(True)

with tap.group("domains, routes, entries, running"):
    run("domain", "add", "example.net", "--recipients", "list")
    run("domain", "recipients", "example.net", "any")
    run("domain", "remove", "example.net")
    tap.equal(rows("domain", "list"),
              [["example.org", "any", "smtp://127.0.0.1:1"]], "domains")
    run("route", "add", "example.com", "smtp://127.0.0.2:1", "--tls", "none")
    run("route", "add", "example.com", "smtp://127.0.0.2:1", code=6)
    run("route", "add", "example.com", "smtp://127.0.0.2:1", "--replace")
    tap.equal(len(rows("route", "list")), 1, "routes")
    tap.contains(run("route", "test", "x@example.com"), "127.0.0.2",
                 "the way of an address")
    run("route", "add", "*.example.com", "mx")
    run("route", "remove", "*.example.com")
    run("policy", "add", "*", "x@example.com", "sign", "required")
    tap.equal([r[:2] for r in rows("policy", "list")],
              [["*", "x@example.com"]], "rules of protection")
    tap.contains(run("explain", "--from", "a@example.org", "--to",
                     "x@example.com"), "sign\trequired", "explain")
    run("policy", "remove", "*", "x@example.com")
    for verb in ("block", "allow"):
        run(verb, "add", "192.0.2.1", "--until", "1h")
        tap.equal(len(rows(verb, "list")), 1, f"{verb} entries")
        run(verb, "remove", "192.0.2.1")

with tap.group("the certificate"):
    ca = certs.Authority()
    cert, key = ca.issue("gw.example.test", days=90)[:2]
    run("tls", "install", cert, key)
    tap.contains(run("tls", "show"), "is_self_signed: no", "is the new one")
    run("tls", "install", key, cert, code=1)
    run("tls", "install", gw.folder + "/none.pem", key, code=1)
    tap.contains(run("tls", "show"), "is_self_signed: no", "is still there")

with tap.group("a message in the queue"):
    id_ = send("anna@example.org", ["x@example.com", "y@example.com"])
    tap.wait_until(lambda: "status: deferred" in
                   gw.cli("queue", "show", id_), what="the first attempt")
    tap.equal([r[0] for r in rows("queue")], [id_], "is listed")
    tap.equal([r[0] for r in rows("queue", "list", "--match",
                                  "to=y@example.com")], [id_], "and found")
    run("queue", "list", "--match", "to=z@example.com", code=3)
    run("queue", "list", "--match", "colour=red", code=2)
    tap.equal(rows("queue", "summary")[0][0], "example.com", "summary")
    tap.contains(run("queue", "show", id_), "x@example.com", "show")
    run("queue", "show", "zzzzzzzzzzzzz", code=2)
    run("queue", "hold", id_)
    tap.equal(len(rows("queue", "list", "--match", "status=held")), 1, "held")
    run("queue", "release", "--match", "status=held")
    # What a sender or a server said stands in these lines, too.
    line = "0000000000001\t".ljust(255, "x") + id_ + "\n"
    run("queue", "hold", "-", input=line, code=3)
    tap.equal(run("queue", "hold", "-", "--dry-run",
                  input=id_ + "\t" + "x" * 1000 + "\n"), id_ + "\n",
              "of a long line the first word is the id, and nothing else")
    run("queue", "retry", id_, "--dry-run")
    run("queue", "retry", id_)
    run("queue", "retry", code=2)
    run("queue", "delete", id_, code=1)
    tap.equal(len(rows("queue")), 1, "nothing is deleted without --yes")

with tap.group("its life"):
    def life():
        return gw.run_cli("trace", id_).stdout
    tap.wait_until(lambda: "deferred" in life() and "accepted" in life(),
                   what="the log")
    tap.contains(run("trace", id_), "x@example.com", "trace")
    tap.equal(json.loads(run("trace", id_, "--json"))["traces"][0]["id"], id_,
              "as JSON")
    tap.ok(any(id_ in r for r in rows("trace", "y@example.com")) or
           "y@example.com" in run("trace", "y@example.com"), "by address")
    tap.contains(run("log", "event=deferred"), id_, "log")
    tap.contains(run("log", "event=change", "--limit", "500"),
                 "user.add", "changes are noted, those before too")
    tap.ok("a password" not in run("log", "--limit", "1000"),
           "without passwords")
    tap.contains(run("log", "verify"), "ok: yes", "verify")
    out = run("log", "export", "--since", "1h").split("\n")[:-1]
    tap.ok(all(json.loads(line)["event"] for line in out) and
           any(id_ in line for line in out), "export")
    follow = subprocess.Popen(
        [os.path.join(gateway.BUILD, "postern"), "--root", gw.root, "log",
         "-f", "--limit", "1"], stdout=subprocess.PIPE, text=True,
        preexec_fn=gateway.die_with_parent)
    follow.stdout.readline()
    run("queue", "bounce", id_, "--yes", "--reason", "no such place")
    while True:
        line = follow.stdout.readline()
        if not line or (id_ in line and "finished" in line):
            break
    tap.ok(line, "log -f shows it end")
    follow.terminate()
    follow.wait()
    follow.stdout.close()

with tap.group("an alias leads on"):
    def queued_for(address):
        return [m["id"] for m in gw.json("queue", "list")["messages"]
                if address in [r["address"] for r in m["recipients"]]]
    gw.set(**{"queue.delay_warning": "0s"})
    run("alias", "add", "team@example.org", "r1@example.org",
        "r2@example.org")
    send("anna@example.org", ["team@example.org"])
    tap.ok(queued_for("r1@example.org") and queued_for("r2@example.org"),
           "as soon as it is there")
    run("alias", "remove", "team@example.org")
    send("anna@example.org", ["team@example.org"])
    tap.ok(queued_for("team@example.org"), "and no more when it is gone")
    ids = "\n".join(r[0] for r in rows("queue")) + "\n"
    run("queue", "delete", "-", "--yes", input=ids)
    run("queue", code=3)

with tap.group("keys"):
    def key_id(kind, match):
        return str(gw.json("key", kind, "list", "--match",
                           match)["keys"][0]["id"])

    tap.contains(run("key", "dkim", "new", "example.org", "--selector", "a"),
                 "a._domainkey.example.org", "the record to publish")
    run("key", "dkim", "rotate", "example.org", "--selector", "b")
    run("key", "dkim", "activate", "example.org")
    tap.equal({r["selector"]: r["phase"] for r in gw.json(
        "key", "dkim", "list", "example.org")["keys"]}["b"], "signs",
        "the next key signs")
    old = str([r["id"] for r in gw.json("key", "dkim", "list")["keys"]
               if r["selector"] == "a"][0])
    run("key", "dkim", "list")
    run("key", "dkim", "show", old)
    run("key", "dkim", "export", old)
    run("key", "dkim", "retire", old)

    run("ca", "show", code=3)
    run("ca", "new", "Example Ltd")
    run("ca", "show")
    tap.contains(run("ca", "crl"), "BEGIN X509 CRL", "its list")
    run("ca", "crl", "--renew")
    run("ca", "crl", "--der", os.path.join(gw.folder, "own.crl"))
    run("ca", "revoke", "00ff", code=3)
    run("ca", "issue", "nobody", code=2)
    run("key", "smime", "new", "anna@example.org")
    anna = key_id("smime", "anna@example.org")
    run("key", "smime", "list")
    run("key", "smime", "show", anna)
    tap.contains(run("key", "smime", "export", anna), "BEGIN CERTIFICATE",
                 "a certificate")
    run("key", "smime", "aead", anna, "yes")
    run("key", "smime", "retire", anna)
    run("key", "smime", "remove", anna, code=2)
    run("key", "smime", "import", cert, code=2)
    tap.contains(run("key", "smime", "csr", "bea@example.org"),
                 "CERTIFICATE REQUEST", "a request")
    run("key", "smime", "install", cert, code=3)

    run("key", "pgp", "new", "anna@example.org")
    anna = key_id("pgp", "anna@example.org")
    run("key", "pgp", "list")
    run("key", "pgp", "show", anna)
    tap.contains(run("key", "pgp", "export", anna), "BEGIN PGP PUBLIC",
                 "a public key")
    run("key", "pgp", "import", cert, code=2)
    run("key", "pgp", "retire", anna)
    run("key", "pgp", "remove", anna, code=2)

    run("key", "pending")
    run("key", "approve", "4711", code=3)
    run("key", "reject", "4711", code=3)
    run("key", "anchor", "add", cert, code=2)
    tap.contains(run("key", "anchor", "list"), "Example Ltd", "our CA")
    run("key", "anchor", "remove", "ab" * 32, code=3)
    tap.contains(run("key", "crl", "list"), "built-in", "its list")
    run("key", "crl", "import", cert, code=2)
    run("key", "crl", "fetch", "gopher://example.org/", code=2)
    run("key", "crl", "remove", "http://example.org/", code=3)
    run("key", "crl", "places")

    run("policy", "add", "*", "*", "sign", "required")
    tap.contains(run("explain", "--from", "anna@example.org", "--to",
                     "x@example.com"), "required", "what a rule demands")
    run("policy", "remove", "*", "*")

with tap.group("how things are"):
    tap.equal({r[1] for r in rows("status") if r[0] != "alert"}, {"running"},
              "status")
    tap.contains(run("status", "--detailed"), "queued.messages", "in detail")
    out = gw.run_cli("health")
    note(["health"])
    tap.ok(out.returncode in (0, 7), "health")
    tap.ok("BAD" not in [w for line in out.stdout.split("\n")
                         for w in line.split()[:1]] or out.returncode == 7,
           "its exit code fits")
    metrics = run("metrics")
    tap.contains(metrics, 'postern_up{program="queued"} 1', "metrics")
    tap.ok(all(line.startswith("#") or len(line.rsplit(" ", 1)) == 2
               for line in metrics.strip().split("\n")), "in Prometheus' form")
    tap.ok(len(rows("events")) > 20, "events")
    run("completion")
    run("help")

with tap.group("nothing is left out"):
    tap.equal(sorted(ALL - used), [], f"{len(ALL)} verbs were used")

tap.done()
