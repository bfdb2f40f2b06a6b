#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The central log: the whole life of a mail by every name it has, filters,
following, tampering, a hub that is killed, a disk that is full."""

import glob
import os
import random
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import gateway, scene, tap  # noqa: E402
from lib.smtp import message_id  # noqa: E402

s = scene.Scene().start()
hub = os.path.join(s.gw.root, "var/lib/postern/loghub")


def submit(number, to="b@dest.test"):
    c = s.login()
    reply = c.submit("anna@example.test", to,
                     scene.mail(Message_ID=f"<log-{number}@example.test>"))
    c.quit()
    return message_id(reply)


def names(query):
    """Empty also while the hub starts again."""
    result = s.gw.run_cli("trace", query, "--json")
    if result.returncode != 0:
        return []
    return [e["event"] for e in scene.trace_events(result.stdout)]


LIFE = ["accepted", "recipient", "delivered", "finished"]


def wait_for_end(mail):
    """Until the log has its last event; else what there is to be said."""
    try:
        tap.wait_until(lambda: "finished" in names(mail),
                       what="the mail is finished in the log")
    except TimeoutError:
        for words in (("trace", mail), ("queue", "show", mail),
                      ("status", "--detailed")):
            said = s.gw.run_cli(*words)
            tap.diag(f"{words}: {said.returncode}\n{said.stdout}"
                     + said.stderr)
        raise


with tap.group("the whole life, by every name of the mail"):
    mail = submit(1)
    s.world.take()
    wait_for_end(mail)
    events = s.events(mail)
    tap.equal([e["event"] for e in events if e["event"] in LIFE], LIFE,
              "accepted, recipient, delivered, finished")
    tap.ok("login" in [e["event"] for e in events], "and who logged in")
    tap.wait_until(lambda: "session" in names(mail),
                   what="and the session, when it ended")
    [session] = [e for e in s.events(mail) if e["event"] == "session"]
    tap.ok(session["client_port"] > 0
           and int(session["local_address"].rsplit(":", 1)[1])
           in s.ports.values(),
           "which tells both ends of the connection")
    for key in ("<log-1@example.test>", "LOG-1@example.test",
                events[0]["session"]):
        tap.ok("accepted" in names(key), f"found by {key}")
    [trace] = s.gw.json("trace", mail)["traces"]
    tap.equal(trace["status"], "delivered", "its status")
    tap.equal(trace["account"], "anna", "its account")
    tap.equal([r["to"] for r in trace["recipients"]], ["b@dest.test"],
              "its recipient")

with tap.group("what nobody sent"):
    tap.equal(s.gw.run_cli("trace", "no-such@example.test").returncode, 3,
              "is exit code 3")

with tap.group("filters"):
    def log(*words):
        return [e["event"] for e in s.gw.json("log", *words)["events"]]
    tap.equal(log("from=anna@example.test", "event=delivered"), ["delivered"],
              "a delivery is found by its sender")
    tap.equal(log("to=@dest.test", "status=delivered"), ["delivered"],
              "and by its recipient's domain")
    tap.ok("login" in log("account=anna"), "a login by its account")
    tap.equal(s.gw.run_cli("log", "colour=red").returncode, 2,
              "an unknown filter is exit code 2")
    tap.equal(log("account=anna", "event=login", "--since", "1h", "--until",
                  "2100-01-01"), ["login"], "times are options, too")
    tap.equal(log("account=anna", "--since", "2001-01-01", "--until",
                  "2001-01-02"), [], "a time when nothing was")

with tap.group("who reads ends, and following with it"):
    for words in (("log", "-f", "account=anna"),
                  ("log", "-f", "account=anna", "--json")):
        follow = subprocess.Popen(
            [os.path.join(gateway.BUILD, "postern"), "--root", s.gw.root,
             *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            preexec_fn=gateway.die_with_parent)
        tap.ok(follow.stdout.readline(), f"{words}: there is something")
        follow.stdout.close()
        tap.equal(follow.wait(tap.PATIENCE_S), 1, "no event has to come")

with tap.group("what programs say of themselves"):
    tap.ok(tap.wait_until(lambda: log("event=settings.applied"),
                          what="the events"), "which settings they work with")
    with gateway.Held(s.gw.pids("confd")):
        s.gw.kill("checkd")
        tap.wait_until(lambda: "confd is silent" in s.gw.log(),
                       what="a start without confd")

    def told():
        found = s.gw.json("log", "event=program.notice")["events"]
        return [e for e in found if e["program"] == "checkd"
                and "confd is silent" in e["text"]]

    tap.ok(tap.wait_until(told, what="the notice"),
           "and that one started without confd")
    for words, count in ((("text=confd is silent",), True),
                         (("confd is silent",), True),
                         (("confd", "silent"), True),
                         (("silent confd",), False),
                         (("text=silent confd",), False),
                         (("text=confd is silent silent=",), False)):
        tap.equal(bool(log(*words, "event=program.notice")), count,
                  f"{words}: a text has its blanks, of words each must fit")
    tap.equal(s.gw.run_cli("log", "x" * 9000).returncode, 2,
              "and a filter that is too long is not cut")

with tap.group("a hub that is killed stops no mail"):
    ids = []
    for i in range(2, 12):
        if i % 3 == 0:
            s.gw.kill("loghub")
        ids.append(submit(i))
    s.world.take(len(ids))
    for mail in ids:
        wait_for_end(mail)
        life = [e["event"] for e in s.events(mail) if e["event"] in LIFE]
        tap.equal(life, LIFE, "and each step stands there once")
    tap.equal(s.gw.json("log", "verify")["ok"], True, "the chain is whole")


def hub_fact():
    return s.gw.program("loghub").get("log", "")


# Event types by their place in the table.
DELIVERED, NOTICE = 2, 20


def text(value):
    return struct.pack("<I", len(value)) + value


def datagram(sequence, events, boot=7):
    return struct.pack("<QQH", boot, sequence, len(events)) + b"".join(
        struct.pack("<I", len(e)) + e for e in events)


def notice(words, kind=NOTICE):
    head = struct.pack("<HQQQ", kind, int(time.time() * 1e6), 0, 0)
    return head + text(b"smtpd") + text(words)


def writer(program):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(tap.PATIENCE_S)
    sock.connect(os.path.join(
        s.gw.root, f"run/postern/events-from-{program}.sock"))
    return sock


def lost(program, reason):
    """How many events the log says it does not have."""
    return sum(e["count"]
               for e in s.gw.json("log", "event=log.lost")["events"]
               if e["writer"] == program and e["reason"].startswith(reason))


with tap.group("a writer that floods, another that does not"):
    flood, quiet = writer("smtpd"), writer("bindd")
    sent = calm = 0
    began = time.monotonic()
    while time.monotonic() < began + 3:
        flood.send(datagram(sent + 1, [notice(b"flood" * 8)] * 100))
        sent += 100
        if time.monotonic() > began + calm * 0.05:
            calm += 1
            quiet.send(datagram(calm, [notice(b"calm and seen")]))
    tap.diag(f"{sent} events in 3 s")

    def seen():
        return len(log("text=calm and seen", "--limit", "1000")) == calm

    # They may still be in their socket, or not yet in the index.
    tap.ok(tap.wait_until(seen, what="the quiet one", step=0.2),
           "all of the quiet one are there")
    kept = s.gw.json("log", "text=floodflood", "--limit", "1")["events"]
    tap.ok(kept, "the flood has its budget")
    # The hub gives 1,000 at the most in one answer, or what it has time for.
    shown = []

    def show():
        found = s.gw.json("log", "text=floodflood", "--limit", "1500")
        shown[:] = [e["number"] for e in found["events"]]
        return len(shown) >= 1500

    tap.wait_until(show, what="all that are asked for", step=0.2)
    tap.equal(len(shown), 1500, "so many events are shown as were asked for")
    tap.equal(shown, sorted(set(shown)), "each once, the newest last")
    said = []

    def hundred():
        said[:] = [s.gw.run_cli("log", "text=floodflood")]
        return said[0].stdout.count("\n") == 100

    tap.ok(tap.wait_until(hundred, what="the newest", step=0.2),
           "a hundred where no limit is said")
    tap.contains(said[0].stderr, "newest 100; --limit N shows more",
                 "and that there are more")
    tap.wait_until(lambda: lost("smtpd", "too many at once") ==
                   s.gw.program("loghub")["events_lost_rate"] > 0,
                   what="the rest is counted")
    tap.ok(lost("smtpd", "too many at once") > 0, "the rest is counted")

with tap.group("hostile datagrams"):
    before = s.gw.program("loghub")["events_refused"]
    w = writer("relayd")
    good = datagram(1, [notice(b"good")], boot=9)
    bad = [b"", b"x", good[:-1], good + b"x",
           datagram(2, [notice(b"line\nbreak")], boot=9),
           datagram(3, [notice(b"\xff not UTF-8")], boot=9),
           datagram(4, [notice(b"x", kind=9999)], boot=9),
           datagram(5, [notice(b"forged", kind=DELIVERED)], boot=9),
           datagram(6, [notice(b"x" * 600)], boot=9),
           struct.pack("<QQH", 9, 7, 65535), b"\0" * 60000]
    for octets in bad:
        w.send(octets)
    rng = random.Random(1)
    for _ in range(300):
        w.send(bytes(rng.randrange(256) for _ in range(rng.randrange(90))))
    w.send(datagram(7, [notice(b"still alive")], boot=9))
    tap.wait_until(lambda: log("text=still alive"), what="the good one comes")
    after = s.gw.program("loghub")["events_refused"]
    tap.ok(after - before >= len(bad) + 290, "the bad ones are counted")
    tap.equal(log("text=forged"), [], "none of them is in the log")
    tap.wait_until(lambda: lost("relayd", "malformed") == after - before,
                   what="the log says so")

with tap.group("no space"):
    s.gw.set(**{"log.min_free": "1024G"})
    tap.wait_until(lambda: "stopped" in hub_fact(), what="the log stops")
    mail = submit(12)
    s.world.take()
    s.gw.set(**{"log.min_free": "1M"})
    wait_for_end(mail)
    tap.equal([n for n in names(mail) if n in LIFE], LIFE,
              "a mail of that time has its whole life in the log")
    tap.wait_until(lambda: "log.lost" in log("event=log.lost"),
                   what="a loss that is said")
    tap.ok("log.lost" in log("event=log.lost"),
           "and what else was lost is said")

def segments():
    return sorted(glob.glob(os.path.join(hub, "segments/*.segment")))


def dated(path, day):
    """The segment, as if begun on that day; the index is made anew."""
    number = os.path.basename(path).split(".")[0]
    to = os.path.join(hub, f"segments/{number}.{day}.segment")
    os.rename(path, to)
    return to


with tap.group("what is too old goes, also where there is no space"):
    s.gw.set(**{"log.min_free": "1024G", "log.retention_days": "1"})
    s.gw.stop()
    # Each start of the hub began a segment; the third day may go on.
    old, ended, _ = [dated(path, f"2020-01-0{i}")
                     for i, path in enumerate(segments()[:3], 1)]
    s.gw.start()
    tap.wait_until(lambda: not os.path.exists(old), what="it is deleted")
    tap.ok(os.path.exists(ended), "the day that followed is kept")
    tap.equal(s.gw.json("log", "verify")["ok"], True, "which the log says")
    s.gw.set(**{"log.min_free": "1M"})
    tap.ok(tap.wait_until(lambda: log("event=log.expired"),
                          what="the event"), "in an event")

with tap.group("somebody changes one octet"):
    s.gw.stop()
    path = segments()[0]
    with open(path, "r+b") as f:
        f.seek(200)
        octet = f.read(1)
        f.seek(200)
        f.write(bytes([octet[0] ^ 1]))
    result = s.gw.run_cli("log", "verify")
    tap.equal(result.returncode, 7, "verify finds it: exit code 7")
    tap.ok("segment 2, record" in result.stdout + result.stderr,
           "and names the place")

tap.done()
