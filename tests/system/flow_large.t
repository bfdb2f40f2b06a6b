#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Large mails, several at once: the client is faster than the queue, waits
for it, and none is refused for that."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import bench, scene, tap  # noqa: E402

MAILS, AT_ONCE, OCTETS = 24, 8, 8 << 20

sink = bench.Sink()
s = scene.Scene(settings={"smtp.trusted_networks": "127.0.0.0/8",
                          "smtp.workers": 2}, route=False, user=False)
s.gw.cli("route", "add", "*", f"smtp://127.0.0.1:{sink.port}")
s.start()

with tap.group("mails of 8 MB, eight at once"):
    load = bench.Load(s.ports["smtp"], "--messages", MAILS, "--connections",
                      AT_ONCE, "--body", OCTETS, "--timeout", 120)
    summary = load.wait(240)
    tap.equal((summary.get("accepted"), summary.get("refused"),
               summary.get("failed")), (MAILS, 0, 0), "all are accepted")
    s.gw.wait_for_queue(0)
    sink.stop()
    found = bench.reconcile(load.record, sink.record)
    tap.equal((len(found["lost"]), len(found["torn"]), found["doubles"]),
              (0, 0, 0), "each arrives once, whole")

tap.done()
