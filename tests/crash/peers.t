#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""Destinations that hang, reset, greylist and lie, all at the same time: what
was acknowledged arrives whole and once as soon as they behave, nothing is
bounced or counted as delivered before, and mail for others is not held up, nor
by thousands that wait for a destination that is dead.

Of the cases T067 to T078 these are here; each single wrong reply, and what the
client sends then (T071, T074, T076), is in tests/unit/relay_scenes.h, DANE and
the levels of TLS (T075) in tests/system/flow_tls.t, replies in notifications
(T072) in flow_relay.t."""

import collections
import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import (LONG, bench, count, open_scene,  # noqa: E402
                      scene, sink, smtp, tap)

MAILS = 3           # for each destination
WRONG = 2           # so often it misbehaves
FINE = 40           # mails for the one that works
FLOOD = 64 << 20    # octets of an answer without an end
GROWTH = 16 << 20   # relayd may grow by so much
# More than the buffers of a connection hold: whoever does not read stops it.
LARGE = 6 << 20
BACKLOG = 10000 if LONG else 2000
swallowed = []      # floods that were read to their end


def flood(piece):
    """An answer that goes on until nobody reads it."""
    def act(session, _line):
        sent = 0
        while sent < FLOOD:
            session.send(piece)
            sent += len(piece)
        swallowed.append(piece[:20])
        return sink.CLOSE
    return act


def after(reply, octets, action):
    """That reply; then so much of what comes is read, and then that."""
    def act(session, _line):
        session.send(reply)
        while octets and len(session.buffer) < octets:
            session.buffer += session.socket.recv(4096) or b"x" * octets
        return action
    return act


def drip(session, _line):
    """An answer of one octet a second."""
    for _ in range(30):
        session.send(b"2")
        if session.sink.stopping.wait(1):
            break
    return sink.CLOSE


def early(*replies):
    """These at once, before they are asked for."""
    return lambda session, line: b"".join(r + b"\r\n" for r in replies)


STEPS = ("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DATA.")
COURSES = {}
for step in STEPS:
    word = step.lower().strip(".") + ("-dot" if step.endswith(".") else "")
    COURSES[f"close-{word}"] = (step, sink.CLOSE)
    COURSES[f"reset-{word}"] = (step, sink.RESET)
    COURSES[f"hang-{word}"] = (step, sink.HANG)
COURSES.update({
    # T067, T068
    "endless-line": ("GREETING", flood(b"x" * 65536)),
    "endless-lines": ("GREETING", flood(b"220-hello\r\n" * 6000)),
    "endless-ehlo": ("EHLO", flood(b"250-X-EXTENSION\r\n" * 4000)),
    "endless-rcpt": ("RCPT", flood(b"250-" + b"a" * 60000 + b"\r\n")),
    "one-octet-a-second": ("GREETING", drip),
    "nul": ("GREETING", b"220 a\0b\0c\r\n"),
    # T069
    "code-000": ("MAIL", b"000 zero\r\n"),
    "code-100": ("MAIL", b"100 what\r\n"),
    "code-999": ("MAIL", b"999 what\r\n"),
    "no-code": ("MAIL", b"fine, go on\r\n"),
    "empty": ("RCPT", b"\r\n"),
    "two-codes": ("RCPT", b"250-fine\r\n550 not\r\n"),
    "data-250": ("DATA", b"250 fine\r\n"),
    "mail-354": ("MAIL", b"354 go on\r\n"),
    "dot-354": ("DATA.", b"354 go on\r\n"),
    # T070
    "early": ("MAIL", early(b"250 1", b"250 2", b"354 3", b"250 4")),
    "early-greeting": ("GREETING", early(b"220 mx", b"250 a", b"250 b")),
    # T072: a reply's text is data.
    "text": ("RCPT", b"451 4.2.1 \x1b[2J`id`<script>\r\n"),
    "greylist": ("RCPT", "451 4.7.1 come again later"),
    "busy": ("GREETING", "421 4.3.2 too many"),
    "full": ("RCPT", "452 4.2.2 mailbox is full"),
    # T073, T074: these offer STARTTLS.
    "tls-not-now": ("STARTTLS", "454 4.7.0 not now"),
    "tls-close": ("STARTTLS", after(b"220 go\r\n", 0, sink.CLOSE)),
    "tls-silence": ("STARTTLS", after(b"220 go\r\n", 0, sink.HANG)),
    "tls-garbage": ("STARTTLS", after(b"220 go\r\n", 50, b"\0\r\n" * 999)),
    "tls-plaintext": ("STARTTLS", after(b"220 go\r\n", 50, b"250 ok\r\n")),
    "tls-injected": ("STARTTLS", b"220 go\r\n250 AUTH PLAIN\r\n"),
    # T077: in the midst of the content, of large mails.
    "content-close": ("DATA", after(b"354 go\r\n", 65536, sink.CLOSE)),
    "content-reset": ("DATA", after(b"354 go\r\n", 65536, sink.RESET)),
    "content-unread": ("DATA", after(b"354 go\r\n", 0, sink.HANG)),
    # What comes after the 250 is no matter.
    "reset-after": ("RSET", sink.RESET),
    "quit-hangs": ("QUIT", sink.HANG),
})

fine = sink.Sink(name="mx.fine.test")
# Who behaves has to answer in that time, too, on a machine that is busy with
# the floods of the others; at the dot a late answer would be a double.
s = open_scene(fine.port, start=False,
               **{"relay.connect_timeout": "2s",
                  "relay.command_timeout": "2s", "relay.dot_timeout": "5s",
                  "relay.deadline": "20s"})
sinks = {}
for name, (step, action) in COURSES.items():
    offered = [*sink.EXTENSIONS] + ["STARTTLS"] * name.startswith("tls-")
    sinks[name] = sink.Sink(name=f"mx.{name}.test", extensions=offered)
    sinks[name].on(step, action, times=WRONG)
    s.gw.cli("route", "add", f"{name}.test",
             f"smtp://127.0.0.1:{sinks[name].port}")
s.start()
# Of the large ones one each.
wanted = {name: 1 if name.startswith("content-") else MAILS for name in sinks}
sent = collections.defaultdict(dict)
delays, started = [], {}


def send(c, domain):
    number = f"{len(sent[domain])}"
    octets = LARGE if domain.startswith("content-") else 1200
    text = scene.mail(sender="app@any.test", subject=f"{domain} {number}",
                      body="line\r\n" * (octets // 6))
    sent[domain][f"{domain} {number}"] = text
    started[f"{domain} {number}"] = time.time()
    reply = c.submit("app@any.test", f"r@{domain}.test", text)
    if reply.code != 250:
        raise RuntimeError(repr(reply))


def relayd_octets():
    """Resident memory."""
    total = 0
    for pid in s.gw.pids("relayd"):
        with open(f"/proc/{pid}/statm", encoding="ascii") as f:
            total += int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


with tap.group("all at once"):
    c = smtp.Client(s.ports["smtp"])
    c.ehlo()
    before = relayd_octets()
    peak = before
    for name in sinks:
        for _ in range(wanted[name]):
            send(c, name)
    # While the others are at their worst.
    stop = threading.Event()
    for _ in range(FINE):
        send(c, "fine")
        peak = max(peak, relayd_octets())
        stop.wait(0.1)
    c.quit()
    fine.wait(FINE)
    delays = [m.time - started[m.field("Subject")] for m in fine.messages]
    tap.diag(f"mail for others: median {statistics.median(delays):.3f} s, "
             f"most {max(delays):.3f} s; relayd grew by "
             f"{(peak - before) >> 10} KiB")
    tap.ok(statistics.median(delays) < 2,
           "others' mail is not held up: median below 2 s")

with tap.group("in the end"):
    def all_came():
        return all(len(sinks[n].messages) >= wanted[n] for n in sinks)

    try:
        tap.wait_until(all_came, what="all mail")
    except TimeoutError:
        pass
    peak = max(peak, relayd_octets())
    missing = {n: len(sinks[n].messages) for n in sinks
               if len(sinks[n].messages) < wanted[n]}
    tap.equal(missing, {}, f"all mail for {len(sinks)} destinations came")
    s.gw.wait_for_queue(0)
    wrong, doubles, bounces = [], [], 0
    for name, box in {**sinks, "fine": fine}.items():
        came = collections.Counter()
        for message in box.messages:
            subject = message.field("Subject")
            bounces += message.sender == ""
            came[subject] += 1
            if not message.content.endswith(
                    sent[name].get(subject, "never sent".encode())):
                wrong.append((name, subject))
        doubles += [(n, k) for n, k in came.items() if k > 1]
    tap.equal(wrong, [], "each mail is whole, and where it belongs")
    # Whoever keeps a message without a word of it gets it again; the sinks
    # that close, reset or hang at the dot have kept nothing.
    tap.equal([d for d in doubles if not d[0].startswith("dot-354")], [],
              "none came twice")
    tap.equal(bounces, 0, "nothing was bounced")
    tap.equal(swallowed, [], f"no answer of {FLOOD >> 20} MB was read")
    count(len(sinks), "destinations that misbehaved, at once and each twice")
    tap.ok(peak - before <= GROWTH,
           f"relayd grew by {(peak - before) >> 10} KiB, at most "
           f"{GROWTH >> 10}")
    tap.equal([p for p in s.gw.log().split("\n")
               if "postern-relayd was" in p], [], "relayd never died")

tap.done()
