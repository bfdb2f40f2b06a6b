#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""SIGKILL of random single programs and of all at once while mail flows:
nothing that was acknowledged is lost or torn, no more comes twice than
processes were killed, and what must be signed or encrypted comes so.
tests/system/kill.t looks at the log of such kills, sign_kill.t at each state
of the signer; here it is the number of them, and all at once."""

import collections
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import LONG, bench, count, open_scene, tap  # noqa: E402
from crashlib.protected import Stream  # noqa: E402

SINGLE = 1000 if LONG else 50
ALL = 40 if LONG else 5
# Between two kills; all need longer than one to be back.
SINGLE_S, ALL_S = 0.3, 1.2
RATE = 250
# Mails of a load that were acknowledged, and of those that must be protected
# of each kind, at least: it goes on until there are so many.
LEAST, LEAST_OF_KIND = 500, 3

sink = bench.Sink()
s = open_scene(sink.port, workers=2)
stream = Stream(s)
total = collections.Counter()


def kill(pids):
    """How many died of it."""
    hits = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            hits += 1
        except ProcessLookupError:
            pass
    return hits


def start_load():
    """Until it is told to end."""
    return bench.Load(
        s.ports["smtp"], "--messages", 0, "--duration", 86400,
        "--rate", RATE, "--connections", 30, "--per-connection", 10,
        "--body", 4096, "--keep-going", "--timeout", 30,
        "--from", "app%d@any.test", "--to", "r%d@dest.test")


def end_load(load):
    """Where each start takes long, most mail is taken after the kills."""
    tap.wait_until(
        lambda: sum(row["outcome"] == "accepted"
                    for row in bench.rows(load.record)) > LEAST
        and stream.least_of_kind() >= LEAST_OF_KIND,
        what="enough mail to be taken", step=0.2)
    load.stop(tap.PATIENCE_S)


def is_empty():
    """What waits for the signer is tried again at once."""
    s.gw.run_cli("queue", "retry", "--match", "to=.test", "--yes")
    got = s.gw.run_cli("queue", "summary", "--json")
    return got.returncode == 0 and '"messages":0' in \
        got.stdout.replace(" ", "")


def reconciled(load):
    """Once all has come; the sink writes its record a little later."""
    def look():
        look.result = bench.reconcile(load.record, sink.record)
        return not look.result["lost"]

    try:
        tap.wait_until(look, what="all mail", step=0.2)
    except TimeoutError:
        pass
    return look.result


def look_at(label, load):
    """After a load and its kills: everything is there."""
    with tap.group(f"{label}: what came"):
        stream.end()
        tap.wait_until(is_empty, what="an empty queue", step=0.2)
        result = reconciled(load)
        tap.diag(f"{label}: sent {result['sent']}, accepted "
                 f"{result['accepted']}, arrived "
                 f"{result['received_deliveries']}, doubles "
                 f"{result['doubles']}, came without an answer "
                 f"{len(result['never_acknowledged'])}")
        for item in result["lost"][:5]:
            tap.diag(f"lost: {item}")
        tap.equal(len(result["lost"]), 0, f"{label}: none is lost")
        tap.equal(len(result["torn"]), 0, f"{label}: none is torn")
        tap.ok(result["accepted"] > LEAST,
               f"{label}: mail flowed, {result['accepted']} accepted")
        for key in ("accepted", "doubles"):
            total[key] += result[key]
        for key in ("lost", "torn"):
            total[key] += len(result[key])


def single_kills():
    killed = collections.Counter()
    due = time.monotonic()
    for number in range(1, SINGLE + 1):
        # The test's own clock, not a wait for an event.
        due += SINGLE_S
        time.sleep(max(0, due - time.monotonic()))
        hits = 0
        while not hits:
            pids = s.gw.pids()
            pid = random.choice(sorted(pids))
            hits = kill([pid])
        killed[os.path.basename(pids[pid].split(" ")[0])] += hits
        if number % 100 == 0:
            tap.diag(f"{number} single kills")
    tap.diag("killed: " + ", ".join(f"{n} {k}" for n, k in
                                    sorted(killed.items())))
    tap.ok(len(killed) >= 6, f"{SINGLE} kills of {len(killed)} programs")
    return sum(killed.values())


def kills_of_all():
    killed = 0
    due = time.monotonic()
    for _ in range(ALL):
        due += ALL_S
        time.sleep(max(0, due - time.monotonic()))
        killed += kill(s.gw.pids())
    tap.diag(f"killed: everything, {ALL} times; {killed} processes")
    tap.ok(killed >= 3 * ALL, f"{ALL} kills of everything")
    return killed


for label, kills in (("single kills", single_kills),
                     ("all at once", kills_of_all)):
    with tap.group(label):
        the_load = start_load()
        stream.begin()
        total["killed"] += kills()
        end_load(the_load)
    look_at(label, the_load)

with tap.group("protected mail"):
    stream.look("under kills")
    for key in ("doubles", "lost", "torn"):
        total[key] += getattr(stream, key)
    tap.ok(total["doubles"] <= total["killed"],
           f"{total['doubles']} came twice, at most {total['killed']} may")
    count(SINGLE + ALL, f"kills: {SINGLE} of single programs, {ALL} of all",
          1000)
    count(total["killed"], "processes killed by them")
    count(total["accepted"] + len(stream.accepted), "mails acknowledged",
          10000)
    count(total["lost"], "of them lost")
    count(total["torn"], "of them torn, or not protected as they must be")
    count(total["doubles"], "of them came twice")
    count(len(stream.accepted), "of them had to be protected", 200)

tap.done()
