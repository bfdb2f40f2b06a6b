#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only serial
"""What the gateway weighs: idle, and with a thousand idle TLS connections.

PSS counts a page that n processes share as 1/n of it, so a sum over processes
counts each page once."""

import contextlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import bench, scene, tap  # noqa: E402

CONNECTIONS = 1000
CONNECTION_KB = 18
IDLE_MB = 80

s = scene.Scene(settings={
    "smtp.workers": 2, "smtp.max_connections": 5000,
    "smtp.client_connections": 5000, "smtp.network_connections": 5000,
    "smtp.client_rate": 100000, "smtp.network_rate": 100000}).start()


def memory(pid, field):
    """KB of one process."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise LookupError(field)


def table(field="Pss"):
    """{(program, pid): KB} of all that runs, postern-run too.  One that ends
    meanwhile, such as a gpg that a worker asks for its version, is none."""
    found = {("postern-run", s.gw.process.pid):
             memory(s.gw.process.pid, field)}
    for pid, words in s.gw.pids().items():
        name = os.path.basename(words.split(" ")[0])
        with contextlib.suppress(OSError, LookupError):
            found[(name, pid)] = memory(pid, field)
    return found


def settled(field="Pss"):
    """The sum, once it stands still; a start is over a little after it."""
    last = []

    def same():
        last.append(sum(table(field).values()))
        return len(last) > 3 and max(last[-3:]) - min(last[-3:]) < 64

    tap.wait_until(same, what="memory to settle", step=0.3)
    return last[-1]


def show(found):
    for (name, pid), kb in sorted(found.items(), key=lambda kv: -kv[1]):
        tap.diag(f"{kb:8} KB  {name} {pid}")


with tap.group("the idle gateway"):
    # It has done its first work; all that is loaded later is loaded.
    c = s.login()
    c.submit("anna@example.test", "b@dest.test", scene.mail())
    s.world.take()
    c.quit()
    s.gw.wait_for_queue(0)
    total = settled()
    show(table())
    workers = [k for k in table() if k[0] == "postern-smtpd"]
    tap.ok(len(workers) >= 4, "acceptor, spawner and two workers")
    tap.ok(total <= IDLE_MB * 1024,
           f"all programs: {total / 1024:.1f} MB, at most {IDLE_MB}")

for kind, words in (("TLS on port 465", ("--tls",)),
                    ("STARTTLS on port 587", ("--starttls",))):
    with tap.group(kind):
        # Workers that have held none before.
        s.gw.restart()
        s.find_ports()
        s.login().quit()
        settled()
        before = table()
        port = s.ports["submissions" if words == ("--tls",)
                       else "submission"]
        load = bench.Load(port, "--hold", "--connections", CONNECTIONS,
                          *words)
        tap.equal(load.hold(), CONNECTIONS, f"{kind}: connections held")

        def each():
            return (sum(table().values()) - sum(before.values())) \
                / CONNECTIONS

        # What handshakes left free is given back a few seconds later.
        try:
            tap.wait_until(lambda: each() <= CONNECTION_KB, what="idleness",
                           step=0.3)
        except TimeoutError:
            pass
        settled()
        after, cost = table(), each()
        show({k: v - before.get(k, 0) for k, v in after.items()
              if abs(v - before.get(k, 0)) > 256})
        tap.ok(cost <= CONNECTION_KB,
               f"{kind}: {cost:.1f} KB each, at most {CONNECTION_KB}")
        with s.stranger() as other:
            tap.equal(other.command("NOOP").code, 250, "others are served")
        load.stop()
        tap.wait_until(lambda: int(s.gw.program("smtpd")["connections"]) == 0,
                       what="all to be closed")
        tap.ok(True, "and all slots are free again")

tap.done()
