#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: quick
"""The command line with the gateway stopped: an instance, settings with
revisions, the text form, domains, routes, entries; and what is refused."""

import json
import os
import signal
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import gateway, tap  # noqa: E402

gw = gateway.Gateway(init=False)


def refused(words, code, *parts, **kw):
    """The exit code, and what the sentence must hold."""
    r = gw.run_cli(*words, **kw)
    name = " ".join(words[:3])
    tap.equal(r.returncode, code, f"{name}: exit code {code}")
    for part in parts:
        tap.contains(r.stderr, part, f"{name}: says {part!r}")
    return r


with tap.group("before there is an instance"):
    refused(["config", "list"], 5, "there is no instance",
            f"postern --root {gw.root} init --hostname")
    refused(["init"], 2, "--hostname")
    refused(["init", "--hostname", "not a name"], 2, "smtp.hostname")
    refused(["domain", "list"], 0)
    tap.equal(gw.json("config", "history")["revisions"], [],
              "a refused init leaves no revision")

with tap.group("init"):
    tap.equal(gw.cli("init", "--hostname", "GW.example.test",
                     "--postmaster", "post@example.org"), "", "is made")
    tap.equal(gw.cli("config", "get", "smtp.hostname"),
              "gw.example.test\n", "with its name")
    refused(["init", "--hostname", "other.example.test"], 6,
            "is here already")
    tap.equal(gw.cli("config", "get", "smtp.hostname"),
              "gw.example.test\n", "which a second init leaves alone")
    for folder, _, files in os.walk(os.path.join(gw.root, "var")):
        for name in files:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            tap.equal(stat.S_IMODE(mode) & 0o077, 0, f"{name} is private")
    store = os.path.join(gw.root, "var/lib/postern/confd")
    tap.equal(stat.S_IMODE(os.lstat(store).st_mode), 0o700,
              "so is the store's folder")

with tap.group("settings"):
    gw.cli("config", "set", "smtp.workers=2", "smtp.max_message_size= 20M",
           "--note", "smaller")
    tap.equal(gw.json("config", "get", "smtp.workers")["settings"][0]["value"],
              "2", "is set")
    refused(["config", "set", "smtp.workers=2"], 0, "nothing to change")
    refused(["config", "set", "smtp.workers=many"], 2,
            "smtp.workers wants", '"many"')
    refused(["config", "set", "smtp.workers=3", "smtp.wrong=1"], 2,
            'no setting "smtp.wrong"')
    tap.equal(gw.cli("config", "get", "smtp.workers"), "2\n",
              "a set with one bad value changes nothing")
    refused(["config", "get", "smtp.wrong"], 3)
    refused(["config", "set"], 2, "KEY=VALUE")
    refused(["config", "set", "smtp.workers=3", "--if-revision", "1"], 6,
            "revision 2, not 1")
    gw.cli("config", "set", "smtp.workers=3", "--if-revision", "2")
    tap.equal(gw.cli("config", "set", "smtp.workers=4", "--dry-run"),
              "- smtp.workers = 3\n+ smtp.workers = 4\n", "a dry run tells")
    tap.equal(gw.cli("config", "get", "smtp.workers"), "3\n", "and does not")
    tap.equal(gw.cli("config", "diff", "1", "3"),
              "+ smtp.max_message_size = 20M\n+ smtp.workers = 3\n",
              "what two revisions changed")
    rows = gw.json("config", "history")["revisions"]
    tap.equal([r["revision"] for r in rows], [3, 2, 1], "newest first")
    tap.equal([r["note"] for r in rows], ["", "smaller", "init"], "why")
    tap.ok(all(r["actor"] and abs(r["time"] - time.time()) < 300
               for r in rows), "who and when")
    tap.equal(len(gw.cli("config", "history", "--limit", "1").split("\n")), 2,
              "as many as asked for")
    gw.cli("config", "undo")
    tap.equal(gw.cli("config", "get", "smtp.workers"), "2\n", "undo")
    refused(["config", "undo", "3"], 6, "smtp.workers was changed again")
    refused(["config", "undo", "99"], 3, "no revision 99")
    gw.cli("config", "unset", "smtp.workers")
    tap.equal(gw.cli("config", "get", "smtp.workers"), "0\n", "its default")
    gw.cli("config", "set", "smtp.workers=0")
    tap.ok("smtp.workers" not in gw.cli("config", "list"),
           "what equals the default is not stored")

with tap.group("domains, routes, entries"):
    gw.cli("domain", "add", "example.org", "--to", "10.0.0.5:25")
    gw.cli("domain", "add", "Example.NET", "--recipients", "list")
    refused(["domain", "add", "example.org"], 6, "is there already")
    gw.cli("domain", "recipients", "example.org", "callout")
    tap.equal(gw.cli("domain", "list"),
              "example.net\tlist\t\n"
              "example.org\tcallout\tsmtp://10.0.0.5:25\n", "domains")
    refused(["domain", "remove", "example.com"], 3, "there is no domain")
    refused(["domain", "recipients", "example.org", "some"], 2, "any, list")
    gw.cli("route", "add", "*", "smtp://relay.example:587", "--user", "u",
           "--password-stdin", "--tls", "verified", input="sec ret\n")
    gw.cli("route", "add", "example.com", "lmtp:/run/lmtp")
    gw.cli("route", "add", "boss@example.com", "mx")
    tap.equal([r["pattern"] for r in gw.json("route", "list")["routes"]],
              ["boss@example.com", "example.com", "*"],
              "routes stand in the order in which they match")
    refused(["route", "add", "*", "mx"], 6, "is there already")
    refused(["route", "add", "example.net", "smtp://x", "--user", "u"], 2,
            "--password-stdin")
    refused(["route", "add", "example.net", "ftp://x"], 2, "where to")
    gw.cli("policy", "add", "@Example.org", "*", "encrypt", "on-trigger",
           "sign", "required", "trigger", "subject", "top secret", "encrypt")
    gw.cli("policy", "add", "*", "a@example.com", "sign", "never")
    refused(["policy", "add", "*", "a@example.com", "sign", "never"], 6,
            "is there already", "policy list")
    gw.cli("policy", "add", "*", "a@example.com", "encrypt", "required",
           "--replace")
    refused(["policy", "add", "*", "*", "sign", "always"], 2,
            "never, if-possible or required")
    refused(["policy", "add", "example.org", "*", "sign", "never"], 2,
            "@DOMAIN")
    tap.equal(gw.cli("policy", "list"),
              "*\ta@example.com\tencrypt required\n"
              "@example.org\t*\tsign required encrypt on-trigger trigger "
              "subject \"top secret\" encrypt\n", "rules of protection")
    refused(["policy", "remove", "*", "b@example.com"], 3,
            "there is no policy")
    gw.cli("policy", "remove", "*", "A@example.com")
    tap.contains(gw.cli("config", "diff"),
                 "- * a@example.com encrypt required",
                 "the difference has what is gone")
    gw.cli("config", "undo")
    tap.contains(gw.cli("policy", "list"), "a@example.com", "and back")
    gw.cli("block", "add", "192.0.2.0/24", "bad@example.com", "--until",
           "2040-01-31")
    gw.cli("allow", "add", "198.51.100.7")
    tap.equal(gw.cli("block", "list"),
              "client\t192.0.2.0/24\t2040-01-31T00:00:00Z\tno\n"
              "sender\tbad@example.com\t2040-01-31T00:00:00Z\tno\n",
              "block entries")
    refused(["allow", "remove", "192.0.2.0/24"], 3, "no allow entry")
    refused(["block", "add", "10.0.0.1/8"], 2, "10.0.0.1/8")

with tap.group("the text form"):
    text = gw.cli("config", "export")
    tap.equal(text,
              "set smtp.hostname = gw.example.test\n"
              "set smtp.max_message_size = 20M\n"
              "set system.postmaster = post@example.org\n"
              "domain example.net list\n"
              "domain example.org callout to smtp://10.0.0.5:25\n"
              "route * smtp://relay.example:587 tls verified user u\n"
              "route boss@example.com mx\n"
              "route example.com lmtp:/run/lmtp\n"
              "block client 192.0.2.0/24 until 2040-01-31T00:00:00Z\n"
              "allow client 198.51.100.7\n"
              "block sender bad@example.com until 2040-01-31T00:00:00Z\n"
              "policy * a@example.com encrypt required\n"
              "policy @example.org * sign required encrypt on-trigger trigger "
              "subject \"top secret\" encrypt\n",
              "is complete, and has no password")
    refused(["config", "apply", "-"], 0, "nothing to change", input=text)
    whole = gw.cli("config", "export", "--secrets")
    tap.contains(whole, "password c2VjIHJldA==", "--secrets has it")
    refused(["config", "apply", "-"], 2, "-:2: ", "smtp.workers",
            input="# new\nset smtp.workers = 99\n")
    tap.equal(gw.cli("config", "export"), text, "a bad text changes nothing")
    refused(["config", "apply", "-"], 2, "octets", input="#" * 4000000)
    other = gateway.Gateway(init=False)
    other.cli("init", "--hostname", "other.example.test")
    tap.equal(other.run_cli("config", "apply", "-", input=text).returncode, 1,
              "another instance wants the password")
    other.cli("config", "apply", "-", input=whole)
    tap.equal(other.cli("config", "export", "--secrets"), whole,
              "and with it becomes the same")
    other.cli("config", "undo")
    tap.equal(other.cli("config", "export"),
              "set smtp.hostname = other.example.test\n",
              "apply is one revision")
    tap.equal(gw.cli("config", "export"), text,
              "two instances know nothing of each other")

with tap.group("what a terminal would obey"):
    r = gw.run_cli("config", "get", "smtp.\x1b[2Jx")
    tap.ok("\x1b" not in r.stderr + r.stdout, "is escaped")

with tap.group("owners that are not there"):
    refused(["status"], 5, "stopped")
    r = gw.run_cli("status", "--json")
    tap.equal(json.loads(r.stdout)["is_running"], False, "status knows")
    tap.equal(os.listdir(os.path.join(gw.root, "run/postern")), ["run.lock"],
              "no socket is left when a command has ended")

with tap.group("a stopped gateway of somebody else"):
    words = [os.path.join(gateway.BUILD, "postern"), "--root", gw.root,
             "config", "get", "smtp.hostname"]
    try:
        r = subprocess.run(words, capture_output=True, text=True, check=False,
                           user=65534, group=65534, extra_groups=[])
        tap.equal(r.returncode, 4, "is not for others")
        tap.contains(r.stderr, "by root or the user that made the instance",
                     "which is said")
        tap.ok("chown" not in r.stderr, "and no way to take it from him")
    except PermissionError:
        tap.skip("not for others", "another user cannot be tried here")

with tap.group("usage"):
    refused([], 2, "a verb is missing", " help")
    refused(["config", "frobnicate"], 2, "there is no verb")
    refused(["config", "list", "--tree"], 2, "takes no option",
            f"postern --root {gw.root} help config list")
    tap.contains(gw.cli("help"), "config set", "help lists the verbs")
    tap.contains(gw.cli("config", "set", "--help"), "--if-revision",
                 "and a verb's options")
    refused(["help", "frobnicate"], 3)
    tap.contains(gw.cli("events"), "delivered\tinfo\t", "events")
    bash = gw.cli("completion")
    done = subprocess.run(
        ["bash", "-c", bash + "\nCOMP_WORDS=(postern config '') "
         "COMP_CWORD=2; _postern; printf '%s\\n' \"${COMPREPLY[@]}\""],
        capture_output=True, text=True, check=False)
    tap.equal(done.stderr, "", "completion is a sound script")
    tap.equal(done.stdout.split(),
              "apply diff export get history list set undo unset".split(),
              "and completes verbs")
    done = subprocess.run(
        ["bash", "-c", bash + "\nCOMP_WORDS=(postern config undo --) "
         "COMP_CWORD=3; _postern; printf '%s\\n' \"${COMPREPLY[@]}\""],
        capture_output=True, text=True, check=False)
    tap.contains(done.stdout, "--if-revision", "and their options")

with tap.group("odd surroundings"):
    env = {"LANG": "xx_YY.broken", "TZ": "Nowhere/At_All"}
    r = subprocess.run([os.path.join(gateway.BUILD, "postern"), "--root",
                        gw.root, "config", "get", "smtp.hostname"],
                       capture_output=True, env=env, text=True, check=False)
    tap.equal(r.stdout, "gw.example.test\n", "no HOME, odd LANG and TZ")
    r = subprocess.run(
        ["bash", "-c", 'umask 000; exec "$@" <&- 2>&-', "x",
         os.path.join(gateway.BUILD, "postern"), "--root", gw.root,
         "config", "set", "smtp.workers=7"], stdout=subprocess.DEVNULL,
        check=False)
    tap.equal(r.returncode, 0, "descriptors 0 and 2 closed, umask 000")
    tap.equal(gw.cli("config", "get", "smtp.workers"), "7\n", "it was done")
    for name in os.listdir(store):
        mode = os.lstat(os.path.join(store, name)).st_mode
        tap.equal(stat.S_IMODE(mode) & 0o077, 0, f"{name} is still private")

with tap.group("two commands at once take turns"):
    both = [subprocess.Popen(
        [os.path.join(gateway.BUILD, "postern"), "--root", gw.root,
         "config", "set", f"{key}=5"], stderr=subprocess.DEVNULL)
        for key in ("smtp.workers", "smtp.max_errors", "dns.timeout")]
    tap.equal([p.wait() for p in both], [0, 0, 0], "all are done")
    tap.equal(gw.cli("config", "get", "smtp.workers"), "5\n", "the first")
    tap.equal(gw.cli("config", "get", "dns.timeout"), "5s\n", "and the last")

with tap.group("a command that is killed"):
    p = subprocess.Popen(
        [os.path.join(gateway.BUILD, "postern"), "--root", gw.root,
         "config", "apply", "-"], stdin=subprocess.PIPE)
    p.send_signal(signal.SIGKILL)
    p.wait()
    tap.equal(gw.cli("config", "get", "smtp.workers"), "5\n",
              "the next one works")

with tap.group("a newer and a damaged store are refused and left alone"):
    path = os.path.join(store, "config.db")
    for name in os.listdir(store):
        if name.startswith("config.db-"):
            os.unlink(os.path.join(store, name))
    with open(path, "r+b") as f:
        f.seek(60)
        f.write((99).to_bytes(4, "big"))
    with open(path, "rb") as f:
        before = f.read()
    refused(["config", "list"], 1, "config.db")
    with open(path, "rb") as f:
        tap.equal(f.read() == before, True, "the newer one is as it was")
    with open(path, "r+b") as f:
        f.write(b"not a database at all" * 40)
    refused(["config", "list"], 1, "config.db")
    with open(path, "rb") as f:
        tap.ok(f.read().startswith(b"not a database"), "so is the other")

tap.done()
