#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The central log: the whole life of a mail by every name it has, filters,
following, tampering, a hub that is killed, a disk that is full."""

import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import scene, tap  # noqa: E402
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

with tap.group("the whole life, by every name of the mail"):
    mail = submit(1)
    s.world.take()
    tap.wait_until(lambda: "finished" in names(mail), 10,
                   "the mail is finished in the log")
    events = s.events(mail)
    tap.equal([e["event"] for e in events if e["event"] in LIFE], LIFE,
              "accepted, recipient, delivered, finished")
    tap.ok("login" in [e["event"] for e in events], "and who logged in")
    tap.wait_until(lambda: "session" in names(mail), 10,
                   "and the session, when it ended")
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

with tap.group("a hub that is killed stops no mail"):
    ids = []
    for i in range(2, 12):
        if i % 3 == 0:
            s.gw.kill("loghub")
        ids.append(submit(i))
    s.world.take(len(ids))
    for mail in ids:
        tap.wait_until(lambda: "finished" in names(mail), 30,
                       "a mail of that time is finished in the log")
        life = [e["event"] for e in s.events(mail) if e["event"] in LIFE]
        tap.equal(life, LIFE, "and each step stands there once")
    tap.equal(s.gw.json("log", "verify")["ok"], True, "the chain is whole")


def hub_fact():
    return s.gw.program("loghub").get("log", "")


with tap.group("no space"):
    s.gw.set(**{"log.min_free": "1024G"})
    tap.wait_until(lambda: "stopped" in hub_fact(), 10, "the log stops")
    mail = submit(12)
    s.world.take()
    s.gw.set(**{"log.min_free": "1M"})
    tap.wait_until(lambda: "finished" in names(mail), 30,
                   "the life of a mail of that time is told afterwards")
    tap.equal([n for n in names(mail) if n in LIFE], LIFE,
              "a mail of that time has its whole life in the log")
    tap.wait_until(lambda: "log.lost" in log("event=log.lost"), 10,
                   "a loss that is said")
    tap.ok("log.lost" in log("event=log.lost"),
           "and what else was lost is said")

with tap.group("somebody changes one octet"):
    s.gw.stop()
    path = sorted(glob.glob(os.path.join(hub, "segments/*.segment")))[0]
    with open(path, "r+b") as f:
        f.seek(200)
        octet = f.read(1)
        f.seek(200)
        f.write(bytes([octet[0] ^ 1]))
    result = s.gw.run_cli("log", "verify")
    tap.equal(result.returncode, 7, "verify finds it: exit code 7")
    tap.ok("segment 1, record" in result.stdout + result.stderr,
           "and names the place")

tap.done()
