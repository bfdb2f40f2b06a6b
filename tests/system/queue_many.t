#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What an administrator does to many messages at once is done to each, while
others of them move."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import bench, dns, scene, tap  # noqa: E402

# Enough that some stand beside each other in the table of marks.
MAILS = 4000

port = dns.free_port()  # nobody listens there yet
s = scene.Scene(settings={"smtp.trusted_networks": "127.0.0.0/8",
                          "queue.retry": "1h", "queue.retry_max": "1h"},
                route=False, user=False)
s.gw.cli("route", "add", "*", f"smtp://127.0.0.1:{port}")
s.start()


def act(verb):
    """How many messages the verb says it has changed."""
    told = s.gw.cli("queue", verb, "--match", "domain=dead.test", "--yes",
                    timeout=120)
    return len(set(told.split()))


with tap.group("a queue for a dead destination"):
    load = bench.Load(s.ports["smtp"], "--messages", MAILS, "--body", 500,
                      "--per-connection", 100, "--timeout", 120,
                      "--to", "r%d@dead.test")
    tap.equal(load.wait(200).get("accepted"), MAILS, "all are accepted")
    s.gw.wait_for_queue(MAILS)

with tap.group("it is back, and the queue is told to try"):
    sink = bench.Sink(port=port)
    # The first are delivered while the last are still looked for.
    tap.equal(act("retry"), MAILS, "all are tried")
    s.gw.wait_for_queue(0, seconds=120)
    sink.stop()
    found = bench.reconcile(load.record, sink.record)
    tap.equal((len(found["lost"]), len(found["torn"]), found["doubles"]),
              (0, 0, 0), "each arrives once")

tap.done()
