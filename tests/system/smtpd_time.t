#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Clients that are slow, silent or gone: each wait has an end, and a slow one
costs nobody else anything."""

import os
import select
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import scene, smtp, tap  # noqa: E402

COMMAND_S = 10
# What a busy machine may add to a wait.  A wait that has no end, or another
# one's, takes 55 s at least.
LATE_S = 30
s = scene.Scene(settings={"smtp.command_timeout": f"{COMMAND_S}s",
                          "smtp.data_timeout": "10s",
                          "smtp.stressed_timeout": "5s",
                          "smtp.client_connections": 1000,
                          "smtp.network_connections": 1000,
                          "smtp.client_rate": 100000,
                          "smtp.network_rate": 100000}).start()
s.gw.expect_alarm("fatal: the spawner is gone")


def timed(function):
    start = time.monotonic()
    return function(), time.monotonic() - start


def last_words(c):
    """The reply before the end."""
    try:
        return c.reply()
    except smtp.Disconnected:
        return None


def dribble(c, text, stop):
    """An octet a second, until the other side closes."""
    try:
        for octet in text:
            if stop.wait(1):
                return
            c.send(bytes([octet]))
    except (OSError, ValueError):
        pass


results = {}


def run(name, function):
    """Timed from before it connects: what comes between two waits here, on a
    busy machine, makes none of the gateway's shorter."""
    def body():
        try:
            results[name] = timed(function)
        except Exception as e:  # shown by the check that wants the result
            results[name] = e
    thread = threading.Thread(target=body)
    thread.start()
    return thread


def silent():
    return last_words(smtp.Client(s.ports["smtp"]))


def silent_in_mail():
    c = s.stranger()
    c.command("MAIL FROM:<x@elsewhere.test>")
    return last_words(c)


def slow_command():
    c = smtp.Client(s.ports["smtp"])
    stop = threading.Event()
    thread = threading.Thread(target=dribble,
                              args=(c, b"NOOP " + b"x" * 200, stop))
    thread.start()
    found = last_words(c)
    stop.set()
    thread.join()
    return found


def silent_in_data():
    c = s.stranger()
    c.envelope("x@elsewhere.test", "b@example.test")
    c.command("DATA")
    c.send(b"Subject: x\r\n\r\nhalf a line")
    return last_words(c)


def silent_in_tls():
    c = smtp.Client(s.ports["submissions"], greeting=False)
    c.send(b"\x16\x03\x01")
    return c.at_end()


def slow_in_data():
    """Just fast enough for each wait, too slow for the rate."""
    c = s.stranger()
    c.envelope("x@elsewhere.test", "b@example.test")
    c.command("DATA")
    stop = threading.Event()
    thread = threading.Thread(target=dribble, args=(c, b"x" * 200, stop))
    thread.start()
    found = last_words(c)
    stop.set()
    thread.join()
    return found


threads = [run(f.__name__, f) for f in (
    silent, silent_in_mail, slow_command, silent_in_data, silent_in_tls,
    slow_in_data)]

with tap.group("while they wait"):
    slowest = 0
    for n in range(20):
        reply, seconds = timed(lambda: s.login().submit(
            "anna@example.test", "b@dest.test", scene.mail()))
        tap.equal(reply.code, 250, "another's mail is taken") if n == 0 \
            else None
        slowest = max(slowest, seconds)
    # Whoever waited for one of them would wait as long as they do.
    tap.ok(slowest < COMMAND_S, f"at once: {slowest:.1f} s")

for thread in threads:
    thread.join(150)

with tap.group("each wait ends"):
    for name, least, most in (
            ("silent", COMMAND_S, COMMAND_S + LATE_S),
            ("silent_in_mail", COMMAND_S, COMMAND_S + LATE_S),
            ("slow_command", COMMAND_S, COMMAND_S + LATE_S),
            ("silent_in_data", 10, 10 + LATE_S),
            ("slow_in_data", 55, 60 + LATE_S)):
        reply, seconds = results[name]
        tap.ok(reply is not None and reply.code == 421,
               f"{name}: 421")
        tap.ok(least - 1 <= seconds <= most, f"{name}: in time")
    closed, seconds = results["silent_in_tls"]
    tap.ok(closed and seconds < 60 + LATE_S, "a handshake that stops ends")

with tap.group("clients that leave"):
    for how in ("close", "reset"):
        for said in (b"", b"EHLO x\r\n", b"EHLO x\r\nMAIL FROM:<",
                     b"EHLO x\r\nMAIL FROM:<x@elsewhere.test>\r\n"
                     b"RCPT TO:<b@example.test>\r\n"):
            c = smtp.Client(s.ports["smtp"])
            c.send(said)
            getattr(c, how)()
        c = s.stranger()
        c.envelope("x@elsewhere.test", "b@example.test")
        c.command("DATA")
        c.send(b"Subject: lost\r\n\r\n" + b"x" * 300000)
        getattr(c, how)()
    tap.wait_until(
        lambda: s.gw.program("smtpd")["connections"] == 0,
        what="all slots are free again")
    tap.equal(s.gw.json("queue", "summary").get("messages"), 0,
              "nothing of them is queued")

with tap.group("peers that hang"):
    with s.stranger() as c:
        s.gw.set(**{"smtp.check_sender_domain": "off"})
        pids = list(s.gw.pids("checkd"))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        tap.equal(c.command("MAIL FROM:<y@elsewhere.test>").code, 250,
                  "a checkd that is not asked may hang")
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    c = s.tls()
    pids = list(s.gw.pids("authd"))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    reply, seconds = timed(
        lambda: c.auth_plain("anna", scene.PASSWORD))
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    tap.equal((reply.code, reply.enhanced), (454, "4.7.0"),
              "a hanging authd gives 454, not a login")
    tap.ok(seconds < 20 + LATE_S, "after its deadline")
    tap.wait_until(
        lambda: c.auth_plain("anna", scene.PASSWORD).code == 235,
        what="and works again")
    c.quit()

with tap.group("a queue that is not there when smtpd starts"):
    def hang(program):
        pids = list(s.gw.pids(program))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        return pids

    def go_on(pids):
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def restart_smtpd():
        """Returns when there are workers, and a connection is on its way."""
        before = set(s.gw.pids("smtpd"))
        s.gw.kill("smtpd")
        client = smtp.Client(s.ports["smtp"], source=scene.TRUSTED,
                             greeting=False)
        tap.wait_until(
            lambda: any(words.endswith("--worker smtp") for pid, words in
                        s.gw.pids("smtpd").items() if pid not in before),
            what="a worker")
        return client

    pids = hang("queued")
    c = restart_smtpd()
    silent = not select.select([c.socket], [], [], 0)[0]
    go_on(pids)
    tap.ok(silent, "nobody is greeted before it is there")
    tap.equal(c.reply().code, 220, "then one is")
    c.ehlo()
    tap.equal(c.command("MAIL FROM:<app@any.test>").code, 250,
              "and is not told to come later")
    c.close()
    pids = hang("queued")
    c, begun = restart_smtpd(), time.monotonic()
    tap.equal(c.reply().code, 220, "where it stays away there is a banner")
    seconds = time.monotonic() - begun
    tap.ok(seconds < 10 + LATE_S, f"after 10 s: {seconds:.1f}")
    c.ehlo()
    tap.equal(c.command("MAIL FROM:<app@any.test>").code, 451,
              "and mail is for later")
    go_on(pids)
    tap.wait_until(
        lambda: c.command("MAIL FROM:<app@any.test>").code == 250,
        what="until it is back", step=0.2)
    c.quit()

tap.done()
