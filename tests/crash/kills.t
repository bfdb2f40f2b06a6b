#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only timeout=300
"""SIGKILL of random single programs and of all at once while mail flows:
nothing that was acknowledged is lost or torn, doubles are no more than the
deliveries that a kill left open.  tests/system/kill.t looks at the log of such
kills; here it is the number of them, and all at once."""

import collections
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import LONG, bench, open_scene, tap  # noqa: E402

SINGLE = 1000 if LONG else 60
ALL = 40 if LONG else 6
PAUSE_S = 0.3
RATE = 250
# Deliveries that may be under way when relayd or queued dies.
OPEN = 100

sink = bench.Sink()
s = open_scene(sink.port, workers=2)
s.gw.expect_alarm("fatal: the spawner is gone")
loads, killed = [], collections.Counter()


def start_load(seconds):
    loads.append(bench.Load(
        s.ports["smtp"], "--messages", 0, "--duration", int(seconds) + 1,
        "--rate", RATE, "--connections", 30, "--per-connection", 10,
        "--body", 4096, "--keep-going", "--timeout", 30,
        "--from", "app%d@any.test", "--to", "r%d@dest.test"))
    return loads[-1]


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def look(label, open_kills):
    """After a load: everything is there."""
    with tap.group(label):
        s.gw.wait_for_queue(0, 120)
        time_left = time.monotonic() + 20
        while True:
            result = bench.reconcile(loads[-1].record, sink.record)
            if not result["lost"] or time.monotonic() > time_left:
                break
            time.sleep(0.2)
        tap.diag(f"{label}: sent {result['sent']}, accepted "
                 f"{result['accepted']}, arrived "
                 f"{result['received_deliveries']}, doubles "
                 f"{result['doubles']}, came without an answer "
                 f"{len(result['never_acknowledged'])}")
        for item in result["lost"][:5]:
            tap.diag(f"lost: {item}")
        tap.equal(len(result["lost"]), 0, f"{label}: none is lost")
        tap.equal(len(result["torn"]), 0, f"{label}: none is torn")
        tap.ok(result["accepted"] > 500, f"{label}: mail flowed")
        tap.ok(result["doubles"] <= open_kills,
               f"{label}: {result['doubles']} came twice, at most "
               f"{open_kills} may")


with tap.group("single kills"):
    load = start_load(SINGLE * PAUSE_S)
    due = time.monotonic() + PAUSE_S
    while sum(killed.values()) < SINGLE:
        time.sleep(max(0, due - time.monotonic()))
        due += PAUSE_S
        pids = s.gw.pids()
        pid = random.choice(sorted(pids))
        name = os.path.basename(pids[pid].split(" ")[0])
        kill([pid])
        killed[name] += 1
    load.wait(120)
    tap.diag("killed: " + ", ".join(f"{n} {k}" for n, k in
                                    sorted(killed.items())))
    tap.ok(len(killed) >= 6, f"{SINGLE} kills of {len(killed)} programs")
look("single kills", SINGLE)

with tap.group("all at once"):
    load = start_load(ALL * 4 * PAUSE_S)
    began = time.monotonic()
    for number in range(ALL):
        time.sleep(max(0, began + (number + 1) * 4 * PAUSE_S
                       - time.monotonic()))
        kill(s.gw.pids())
    load.wait(120)
    tap.ok(True, f"{ALL} kills of everything")
look("all at once", ALL * OPEN)

tap.done()
