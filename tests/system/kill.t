#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""200 SIGKILLs of random programs, workers too, while mail flows: nothing
that was acknowledged is lost, doubles are counted, and each acknowledged mail
has its whole life in the log."""

import collections
import json
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import bench, dns, scene, tap  # noqa: E402

KILLS = int(os.environ.get("POSTERN_KILLS", "200"))
SEED = int(os.environ.get("POSTERN_SEED", "1"))
# Mails that the generator is done with between two kills, half a second of its
# rate.  A machine that cannot do as many takes longer for all of it.
MAILS = 165
RATE = 330
# The part of them that has to be taken: 200 mails a second of these.
LEAST_PART = 200 / RATE
CONNECTIONS = 40
# What a relay's death leaves open: mails sent but not yet settled.
OPEN = 400

random.seed(SEED)
sink = bench.Sink()
s = scene.Scene(settings={
    # A port of its own that it keeps, whoever is killed.
    "smtp.listen": f"127.0.0.1:{dns.free_port()}",
    "relay.mx_port": sink.port, "smtp.trusted_networks": "127.0.0.0/8",
    "smtp.workers": 2, "smtp.client_rate": 1000000,
    "smtp.network_rate": 1000000, "smtp.client_connections": 1000,
    "smtp.network_connections": 1000, "queue.retry": "1s",
    "queue.retry_max": "1s"}, route=False, user=False)
s.gw.cli("route", "add", "*", f"smtp://127.0.0.1:{sink.port}")
s.start()
# Whose spawner was killed; it starts anew.
s.gw.expect_alarm("fatal: the spawner is gone")

# The messages of one accepted mail's life, by events.
LIFE = {"accepted", "recipient", "delivered", "finished"}


def kill_one():
    """SIGKILL to one of all processes, each as likely."""
    pids = s.gw.pids()
    # Between its fork and its exec a child still looks like its parent.
    pid = random.choice(sorted(pids))
    name = os.path.basename(pids[pid].split(" ")[0])
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return name


with tap.group("kills"):
    began = time.monotonic()
    # Some more than the kills wait for: mail flows at each of them.
    load = bench.Load(s.ports["smtp"], "--messages",
                      KILLS * MAILS + 4 * RATE, "--rate", RATE,
                      "--connections", CONNECTIONS, "--per-connection", 20,
                      "--body", 4096, "--keep-going", "--timeout", 30,
                      "--from", "app%d@any.test", "--to", "r%d@dest.test")
    tap.wait_until(lambda: os.path.exists(load.record), what="the record")
    record = open(load.record, "rb")
    ended = 0

    def have_ended(count):
        """Whether that many mails are through, well or not."""
        global ended
        if load.process.poll() is not None:
            raise RuntimeError("the generator ended: " + load.errors())
        ended += record.read().count(b"\n")
        return ended >= count

    killed = collections.Counter()
    while sum(killed.values()) < KILLS:
        due = (sum(killed.values()) + 1) * MAILS
        tap.wait_until(lambda: have_ended(due), what="mail to flow")
        name = kill_one()
        if name:
            killed[name] += 1
    record.close()
    load.wait(tap.PATIENCE_S)
    seconds = time.monotonic() - began
    tap.diag("killed: " + ", ".join(
        f"{name} {n}" for name, n in sorted(killed.items())))
    tap.ok(sum(killed.values()) >= KILLS, f"{sum(killed.values())} kills")
    names = {n for n in killed}
    tap.ok(len(names) >= 8, f"of {len(names)} programs")

with tap.group("nothing is lost"):
    s.gw.wait_for_queue(0)
    result = bench.reconcile(load.record, sink.record)
    sink.stop()
    result = bench.reconcile(load.record, sink.record)
    tap.diag(f"sent {result['sent']}, accepted {result['accepted']}, refused "
             f"{result['refused']}, failed {result['failed']}, arrived "
             f"{result['received_deliveries']}, {seconds:.0f} s, "
             f"{result['accepted'] / seconds:.0f} mails a second")
    part = result["accepted"] / result["sent"]
    tap.ok(part >= LEAST_PART, f"{part:.2f} of them were taken")
    for item in result["lost"][:5]:
        tap.diag(f"lost: {item}")
        tap.diag(s.gw.run_cli("trace", item["queue_id"]).stdout)
    tap.equal(len(result["lost"]), 0, "no acknowledged mail is lost")
    tap.equal(len(result["torn"]), 0, "none is torn")
    tap.diag(f"doubles: {result['doubles']}; never acknowledged but "
             f"delivered: {len(result['never_acknowledged'])}")
    tap.ok(result["doubles"] <= KILLS + OPEN,
           f"{result['doubles']} came twice, at most {KILLS + OPEN} may")

with tap.group("the log is whole"):
    acknowledged = {row["queue_id"] for row in bench.rows(load.record)
                    if row["outcome"] == "accepted"}

    def lives():
        found = collections.defaultdict(set)
        twice = collections.Counter()
        for line in s.gw.cli("log", "export").splitlines():
            event = json.loads(line)
            if event["event"] in LIFE and "id" in event:
                if event["event"] in found[event["id"]]:
                    twice[event["event"]] += 1
                found[event["id"]].add(event["event"])
        return found, twice

    def look():
        """Whether all is there; the log comes a little behind."""
        look.found, look.twice = lives()
        look.short = [i for i in acknowledged if look.found[i] != LIFE]
        return not look.short

    try:
        tap.wait_until(look, what="whole lives", step=0.5)
    except TimeoutError:
        pass
    for i in look.short[:5]:
        tap.diag(f"{i}: {sorted(look.found[i])}")
    tap.equal(len(look.short), 0,
              f"each of {len(acknowledged)} has its whole life in the log")
    tap.equal(dict(look.twice), {}, "no event of a life is there twice")
    some = random.sample(sorted(acknowledged), 5)
    for i in some:
        events = {e["event"] for e in s.life(i)}
        tap.ok(LIFE <= events, f"trace tells the life of {i}")
    tap.equal(s.gw.run_cli("log", "verify").returncode, 0,
              "log verify finds nothing")

tap.done()
