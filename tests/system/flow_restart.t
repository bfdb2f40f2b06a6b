#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Programs that are gone for a while, and changes while it runs: 4xx and
recovery, open connections that stay, stores that cannot be used."""

import os
import shutil
import select
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import dns, scene, smtp, tap  # noqa: E402
from lib.gateway import BUILD, Held  # noqa: E402

ANNA, OTTO, TO = "anna@example.test", "otto@elsewhere.test", "b@dest.test"
s = scene.Scene(settings={
    "smtp.listen": f"127.0.0.1:{dns.free_port()}",
    "submission.listen": f"127.0.0.1:{dns.free_port()}",
    "submissions.listen": f"127.0.0.1:{dns.free_port()}",
    "auth.tries_per_minute": 1000,
    "smtp.client_rate": 100000, "smtp.network_rate": 100000}).start()
gw = s.gw
gw.expect_alarm("fatal: the spawner is gone")


def sends(sender=ANNA):
    """A whole mail, again and again until it is taken.  What arrived, once
    the queue has noted that: whatever dies then has nothing to send twice."""
    def once():
        try:
            with s.login(timeout=20) as c:
                return c.submit(sender, TO, scene.mail(sender)).code == 250
        except (RuntimeError, OSError, smtp.Disconnected):
            return False
    tap.wait_until(once, what="mail to be taken again", step=0.1)
    s.world.wait()
    gw.wait_for_queue(0)
    return s.world.take()


def words_of_start(until):
    """Starts a supervisor that cannot run all; what it says until a word
    comes, or it ends."""
    with subprocess.Popen(
            [os.path.join(BUILD, "postern-run"), "--root", gw.root],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE) as run:
        said, deadline = b"", time.monotonic() + tap.PATIENCE_S
        while until.encode() not in said and time.monotonic() < deadline:
            if select.select([run.stderr], [], [], 1)[0]:
                got = os.read(run.stderr.fileno(), 65536)
                if not got:
                    break
                said += got
        run.terminate()
        rest = run.communicate(timeout=tap.PATIENCE_S)[1]
    return (said + rest).decode(errors="replace"), run.returncode


with tap.group("each program is killed, and mail flows again"):
    for program in ("authd", "checkd", "queued", "relayd", "loghub", "confd",
                    "smtpd", "bindd"):
        before = set(gw.pids(program))
        gw.kill(program)
        tap.equal(len(sends()), 1, f"without {program}: it recovers")

        # A busy kernel takes its time to bury the old one.
        def is_new():
            now = set(gw.pids(program))
            return now and not before & now

        tap.ok(tap.wait_until(is_new, what=f"another {program}"),
               f"{program} is a new one")

    def is_open(kind):
        try:
            smtp.Client(s.ports[kind]).close()
            return True
        except (OSError, smtp.Disconnected):
            return False

    tap.equal([kind for kind in ("smtp", "submission") * 25
               if not is_open(kind)], [], "the ports are open all the while")

with tap.group("answers while a program is away"):
    c = s.login()
    gw.kill("queued")
    codes = set()
    try:
        for _ in range(3):
            codes.add(c.submit(ANNA, TO, scene.mail(ANNA)).code)
            c.command("RSET")
    except smtp.Disconnected:
        codes.add(421)
    tap.ok(codes <= {250, 451, 421}, f"queued is dead: {codes}")
    sends()
    gw.wait_for_queue(0)
    s.world.messages.clear()
    c = s.tls()
    gw.kill("authd")
    tap.ok(c.auth_plain("anna", scene.PASSWORD).code in (235, 454, 504),
           "authd is dead: later")
    c = s.stranger()
    gw.kill("checkd")
    got = c.command("MAIL FROM:<x@www.elsewhere.test>").code
    tap.ok(got in (250, 451), f"checkd is dead: {got}")
    sends()
    s.world.messages.clear()

with tap.group("a program that hangs"):
    with Held(gw.pids("checkd")):
        gw_c = s.trusted()
        tap.equal(gw_c.submit("app@any.test", TO,
                              scene.mail("app@any.test")).code, 250,
                  "checkd hangs: trusted mail does not need it")
    s.world.take()
    with Held(gw.pids("loghub")):
        for _ in range(20):
            with s.trusted() as t:
                tap_code = t.submit("app@any.test", TO,
                                    scene.mail("app@any.test")).code
                if tap_code != 250:
                    tap.fail(f"loghub hangs: {tap_code}")
        tap.ok(True, "loghub hangs: mail flows")
        s.world.take(20)
    with Held(gw.pids("relayd")):
        with s.trusted() as t:
            reply = t.submit("app@any.test", TO, scene.mail("app@any.test"))
            tap.equal(reply.code, 250, "relayd hangs: mail is taken")
    s.world.take()
    gw.wait_for_queue(0)

with tap.group("the log of what happened while the hub was dead"):
    gw.kill("loghub")
    with s.trusted() as t:
        reply = t.submit("app@any.test", TO, scene.mail("app@any.test"))
    s.world.take()
    events = tap.wait_until(
        lambda: [e["event"] for e in s.events(smtp.message_id(reply))
                 if e["event"] == "finished"], what="the log", step=0.2)
    tap.equal(events, ["finished"], "is written when it is back")
    tap.equal(gw.run_cli("log", "verify").returncode, 0, "and verifies")

with tap.group("settings change under open connections"):
    held = s.login()
    held.envelope(ANNA, TO)
    old = s.ports["smtp"]
    new = dns.free_port()
    gw.set(**{"smtp.listen": f"127.0.0.1:{old} 127.0.0.1:{new}"})
    with smtp.Client(new) as c:
        tap.equal(c.ehlo().code, 250, "a new port is open")
    with smtp.Client(old) as c:
        tap.equal(c.ehlo().code, 250, "the old one is still")
        gw.set(**{"smtp.listen": f"127.0.0.1:{new}",
                  "smtp.hostname": "other.example.test",
                  "smtp.max_message_size": "2M"})
        tap.equal(c.command("NOOP").code, 250,
                  "a session of a closed port goes on")

    def is_closed():
        try:
            socket.create_connection(("127.0.0.1", old)).close()
        except ConnectionRefusedError:
            return True
        return False
    # bindd has taken the setting; smtpd hears of it from bindd.
    tap.ok(tap.wait_until(is_closed, what="the end of a port"),
           "the port is closed")
    with smtp.Client(new) as c:
        tap.contains(c.greeting.text, "other.example.test", "a new name")
        c.ehlo()
        tap.equal(c.extensions["SIZE"], str(2 << 20), "a new limit")
    tap.equal(held.data(scene.mail(ANNA)).code, 250,
              "a transaction from before ends well")
    s.world.take()
    gw.set(**{"smtp.listen": f"127.0.0.1:{new} 127.0.0.1:{s.world.port}"})
    tap.wait_until(lambda: [a for a in gw.status()["alerts"]
                            if str(s.world.port) in str(a)],
                   what="the alert", step=0.2)
    tap.ok(True, "a port that is taken is an alert")
    with smtp.Client(new) as c:
        tap.equal(c.ehlo().code, 250, "and the others are served")
    gw.set(**{"smtp.listen": f"127.0.0.1:{old}",
              "smtp.hostname": "gw.example.test"})

with tap.group("smtpd restarts: nobody is refused"):
    acceptor, *_ = gw.pids("smtpd")
    os.kill(acceptor, signal.SIGKILL)
    with smtp.Client(s.ports["smtp"], source=scene.TRUSTED) as c:
        tap.equal(c.ehlo().code, 250, "a connection waits for the new one")

with tap.group("stores that cannot be used"):
    gw.wait_for_queue(0)
    gw.stop()
    state = os.path.join(gw.root, "var/lib/postern")
    for program, file in (("queued", "queue.db"), ("authd", "accounts.db"),
                          ("confd", "config.db")):
        path = os.path.join(state, program, file)
        # What is in the write-ahead log has to be in the file.
        subprocess.run(["sqlite3", path, "PRAGMA wal_checkpoint(TRUNCATE)"],
                       check=True, stdout=subprocess.DEVNULL)
        shutil.copy2(path, path + ".good")
        for name in ("newer", "corrupt"):
            with open(path, "r+b") as f:
                if name == "newer":
                    f.seek(60)           # PRAGMA user_version
                    f.write(b"\x7f\0\0\0")
                else:
                    f.write(b"this is no database at all")
            for suffix in ("-wal", "-shm"):
                if os.path.exists(path + suffix):
                    os.unlink(path + suffix)
            with open(path, "rb") as f:
                damaged = f.read()
            words, code = words_of_start(file)
            if tap.contains(words, file,
                            f"{name} {file}: refused with its name"):
                tap.diag([w for w in words.split("\n") if file in w][0])
            with open(path, "rb") as f:
                now = f.read()
            parts = [i for i in range(0, max(len(now), len(damaged)), 16)
                     if now[i:i + 16] != damaged[i:i + 16]]
            tap.equal(parts[:8], [], f"{name} {file}: untouched")
            with open(path + ".good", "rb") as good, open(path, "wb") as f:
                f.write(good.read())
        os.unlink(path + ".good")
    s.start()
    tap.equal(len(sends()), 1, "whole again, it runs")

tap.done()
