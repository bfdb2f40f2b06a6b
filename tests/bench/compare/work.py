# SPDX-License-Identifier: ISC
"""One load into one product, or straight into the sink, and its figures.

End to end is from the first mail's start to the last mail's arrival at the
sink, by the records of both; acceptance is to the last 250.
"""

import statistics
import time

from lib import bench

from . import process

SINK_FIELDS = 8
LOAD_WAIT_S = 1200
FLOW_WAIT_S = 600


class Work:
    """What a load sends: count mails over so many connections at once."""

    def __init__(self, messages, connections=50, per_connection=1,
                 body=10240, words=()):
        self.messages = messages
        self.connections = connections
        self.per_connection = per_connection
        self.body = body
        self.words = list(words)

    def but(self, messages=None, words=()):
        """The same with another count, and further options."""
        return Work(messages or self.messages, self.connections,
                    self.per_connection, self.body, self.words + list(words))

    def start(self, port):
        return bench.Load(
            port, "--messages", self.messages, "--connections",
            self.connections, "--per-connection", self.per_connection,
            "--body", self.body, "--timeout", 300, *self.words)


class Arrivals:
    """{id: when it first came} of one load's whole mails.  Reads on where it
    stopped, so that watching costs next to nothing."""

    def __init__(self, sink, run):
        self.path = sink.record
        self.run = run.encode()
        self.at = 0
        self.found = {}

    def read(self):
        with open(self.path, "rb") as f:
            f.seek(self.at)
            text = f.read()
        whole = text.rfind(b"\n") + 1
        self.at += whole
        for line in text[:whole].split(b"\n"):
            row = line.split(b"\t")
            if len(row) == SINK_FIELDS and row[1] == b"ok" \
                    and row[0].rpartition(b"-")[0] == self.run:
                self.found.setdefault(row[0].decode(), float(row[3]))
        return self.found


def wait_arrivals(sink, run, count, limit_s=FLOW_WAIT_S, idle_s=60):
    """Until that many came; gives up when nothing moves any more."""
    deadline = time.monotonic() + limit_s
    before, moved = -1, time.monotonic()
    arrivals = Arrivals(sink, run)
    while len(arrivals.read()) < count:
        now = time.monotonic()
        if len(arrivals.found) != before:
            before, moved = len(arrivals.found), now
        if now > deadline or now - moved > idle_s:
            raise TimeoutError(
                f"{len(arrivals.found)} of {count} mails arrived")
        time.sleep(process.SPANS["step"] / 2)
    return arrivals.found


def accepted_rows(load):
    return [row for row in bench.rows(load.record)
            if row["outcome"] == "accepted"]


def median_delay_s(rows, arrived):
    """From the 250 to the arrival."""
    return statistics.median(
        max(0.0, arrived[row["id"]] - float(row["end"])) for row in rows)


def losses(load, sink):
    """Sums over all of what was sent so far; nothing of it may be there."""
    said = bench.reconcile(load.record, sink.record)
    return {"lost": len(said["lost"]), "torn": len(said["torn"]),
            "doubles": said["doubles"]}


def warm_up(work, port, limit_s=60):
    """Until a whole load of it is taken: what has just been started may say
    4xx for a moment more."""
    deadline = time.monotonic() + limit_s
    while True:
        load = work.start(port)
        summary = load.wait(LOAD_WAIT_S)
        if summary.get("accepted") == work.messages:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"does not get warm: {summary} "
                               + load.errors()[-500:])
        time.sleep(process.SPANS["step"])


def send(work, port, sink, roots):
    """One load through a product whose processes stem from `roots`.
    The figures, with CPU still to be read by the caller's Cpu."""
    sink_before = process.own_seconds(sink.process.pid)
    load = work.start(port)
    summary = load.wait(LOAD_WAIT_S)
    memory_kb = process.pss_kb(roots)
    if summary.get("accepted") != work.messages:
        raise RuntimeError(f"not all mails were accepted: {summary} "
                           + load.errors()[-500:])
    arrived = wait_arrivals(sink, summary["run"], work.messages)
    rows = accepted_rows(load)
    begin = min(float(row["start"]) for row in rows)
    last = max(arrived.values())
    return {
        "messages": work.messages,
        "accepted": work.messages
        / (max(float(row["end"]) for row in rows) - begin),
        "end_to_end": work.messages / (last - begin),
        "seconds": last - begin,
        "p50": summary["dot_ms"]["p50"],
        "p99": summary["dot_ms"]["p99"],
        "delay": median_delay_s(rows, arrived),
        "memory": memory_kb / 1024,
        "load_cpu": summary["cpu_s"] * 1000 / work.messages,
        "sink_cpu": (process.own_seconds(sink.process.pid) - sink_before)
        * 1000 / work.messages,
        "loss": losses(load, sink),
    }


def measure(work, product, sink):
    """send(), and the product's CPU until it is idle again."""
    cpu = process.Cpu(product.roots())
    figures = send(work, product.port(), sink, product.roots())
    product.wait_idle()
    names = cpu.by_name()
    per = 1000 / work.messages
    figures["cpu"] = sum(names.values()) * per
    figures["hops"] = {name: seconds * per for name, seconds in names.items()}
    return figures


def ceiling(work, words=()):
    """The generator straight into a sink: what there would be if the product
    in between cost nothing."""
    sink = bench.Sink(*words)
    work.but(max(10, work.messages // 10)).start(sink.port).wait(LOAD_WAIT_S)
    figures = send(work, sink.port, sink, [])
    sink.stop()
    return {name: figures[name] for name in (
        "accepted", "p50", "p99", "load_cpu", "sink_cpu")}
