# SPDX-License-Identifier: ISC
"""The cases (a) to (i): what is sent, what is measured, what is wanted."""

import os
import re
import subprocess
import sys
import threading
import time

from lib import bench, certs, dns, gateway, smtp

from . import process
from .figures import Goal, Row, flow_rows
from .postern import Absent, Postern
from .postfix import Postfix
from .work import (Work, accepted_rows, ceiling, losses, measure, send,
                   warm_up, wait_arrivals)

# Whole, and for a smoke run.
SIZES = {
    "a": (20000, 100), "b": (30000, 300), "c1": (6000, 60),
    "c2": (20000, 200), "d": (1000, 10), "e": ((1000, 5000), (5, 10)),
    "f": (20000, 100), "flow": (10000, 100), "g": (1, 1), "h": (10000, 60),
    "i": (1000000, 500), "accounts": (1000, 10), "warm": (500, 50)}


def size(name, is_quick):
    return SIZES[name][1 if is_quick else 0]


class Case:
    """One letter.  run() measures one product once, from start to stop."""

    letter = title = limit = ""
    rows = []
    once = False  # one run is all that the case asks for
    is_relative = True  # Postfix takes part

    def __init__(self, is_quick):
        self.is_quick = is_quick
        self.sink = None
        self.products = []

    def size(self, name=None):
        return size(name or self.letter, self.is_quick)

    def prepare(self):
        self.sink = bench.Sink()
        kinds = (Postern, Postfix) if self.is_relative else (Postern,)
        self.products = [kind(self.sink.port, **self.arguments())
                         for kind in kinds]

    def arguments(self):
        return {}

    def ceiling(self):
        return None

    def run(self, product):
        product.start()
        try:
            return self.measure(product)
        except Exception:
            print(product.log(), file=sys.stderr)
            raise
        finally:
            product.stop()

    def measure(self, product):
        raise NotImplementedError

    def close(self):
        if self.sink:
            self.sink.stop()


class Relay(Case):
    """Mail of a trusted client, relayed to the sink."""

    work = Work(0)

    def full(self):
        return self.work.but(self.size())

    def ceiling(self):
        return ceiling(self.full())

    def measure(self, product):
        warm = self.full().but(max(self.size("warm") // 5,
                                   self.size() // 20))
        warm_up(warm, product.port())
        product.wait_idle()
        return measure(self.full(), product, self.sink)


class RelayOne(Relay):
    letter = "a"
    title = "10 KB, one mail a connection, 50 at a time"
    rows = flow_rows(5, 0.2)


class RelayTen(Relay):
    letter = "b"
    title = "10 KB, 10 mails a connection, 50 at a time"
    work = Work(0, per_connection=10)
    rows = flow_rows(5, 0.2)


class RelayLarge(Relay):
    letter = "d"
    title = "1 MB, one mail a connection, 10 at a time"
    work = Work(0, connections=10, body=1 << 20)
    rows = flow_rows(1)


class Submission(Relay):
    """STARTTLS with full handshakes, AUTH PLAIN, accounts in turn."""

    words = ("--starttls", "--from", "%u")

    def prepare(self):
        self.tls = certs.Authority().issue("gw.example.test")
        self.accounts = [(f"user{i}@example.test", f"secret-{i}")
                         for i in range(self.size("accounts"))]
        path = os.path.join(gateway.temporary_folder("postern-accounts-"),
                            "accounts")
        with open(path, "w", encoding="ascii") as f:
            f.writelines(f"{user} {password}\n"
                         for user, password in self.accounts)
        self.login = ("--accounts", path, *self.words)
        super().prepare()

    def arguments(self):
        return {"tls": self.tls, "accounts": self.accounts}

    def full(self):
        return self.work.but(self.size(), self.login)

    def ceiling(self):
        """A sink knows no logins: handshakes and mails alone."""
        cert, key = self.tls
        return ceiling(self.work.but(self.size(), ("--starttls",)),
                       ("--cert", cert, "--key", key))

    def measure(self, product):
        warm_up(Work(self.size("warm") // 5), product.port())
        # Each account's first login since the start.
        first = Work(len(self.accounts), words=self.login)
        cold = send(first, product.port("submission"), self.sink,
                    product.roots())
        product.wait_idle()
        figures = measure(self.full(), _Submitting(product), self.sink)
        figures["cold"] = cold["end_to_end"]
        return figures


class _Submitting:
    """A product whose port is the submission port."""

    def __init__(self, product):
        self.roots = product.roots
        self.wait_idle = product.wait_idle
        self.port = lambda: product.port("submission")


class SubmissionOne(Submission):
    letter = "c1"
    title = "submission, STARTTLS, AUTH PLAIN, one mail a login"
    rows = flow_rows(2.5, extra=[
        Row("cold", "mails/s, each account's first login")])


class SubmissionTen(Submission):
    letter = "c2"
    title = "submission, STARTTLS, AUTH PLAIN, 10 mails a login"
    work = Work(0, per_connection=10)
    rows = flow_rows(4)


class Idle(Case):
    letter = "e"
    title = "idle TLS connections (after EHLO)"
    limit = "what OpenSSL keeps of a connection"
    rows = [Row("each_few", "KB each, 1,000 of them", 1,
                Goal("value", "<=", 18)),
            Row("each_many", "KB each, 5,000 of them", 1,
                Goal("value", "<=", 18)),
            Row("memory", "MB of memory (PSS) with 5,000", 1)]

    def prepare(self):
        self.has_held_many = False
        self.tls = certs.Authority().issue("gw.example.test")
        super().prepare()

    def arguments(self):
        return {"tls": self.tls}

    def hold(self, product, count):
        """KB each, and MB of all; on processes that have held none yet."""
        product.start()
        try:
            port = product.port("submissions")
            one = bench.Load(port, "--hold", "--connections", 1, "--tls")
            one.hold()
            one.stop()
            before = process.settled_pss_kb(product.roots())
            load = bench.Load(port, "--hold", "--connections", count,
                              "--tls", "--timeout", 600)
            held = load.hold(600)
            if held != count:
                raise RuntimeError(f"{held} of {count} connections held")
            after = process.settled_pss_kb(product.roots())
            load.stop()
            return (after - before) / count, after / 1024
        finally:
            product.stop()

    def run(self, product):
        few, many = self.size()
        figures = {"each_few": self.hold(product, few)[0]}
        # Thousands of processes take minutes, and each time the same.
        if product.name == "Postern" or not self.has_held_many:
            figures["each_many"], figures["memory"] = self.hold(product, many)
        self.has_held_many |= product.name == "Postfix"
        return figures


class Backlog(Case):
    letter = "f"
    title = "20,000 mails wait for a dead destination, others flow"
    limit = "as (a)"
    rows = [Row("alone", "mails/s accepted, empty queue"),
            Row("beside", "mails/s accepted, with the backlog"),
            Row("share", "of the rate with an empty queue", 2,
                Goal("value", ">=", 0.9)),
            Row("delay", "s from 250 to arrival, median", 3,
                Goal("value", "<=", 2)),
            Row("memory", "MB of memory (PSS), most", 1,
                Goal("value", "<=", 256)),
            Row("drain", "mails/s when it is back")]

    def prepare(self):
        self.dead_port = dns.free_port()
        super().prepare()

    def arguments(self):
        return {"dead_port": self.dead_port}

    def flow(self, product):
        return send(Work(self.size("flow")), product.port(), self.sink,
                    product.roots())

    def fill(self, product, work):
        load = work.start(product.port())
        summary = load.wait(3600)
        if summary.get("accepted") != work.messages:
            raise RuntimeError(f"not all were accepted: {summary}")
        product.wait_deferred(work.messages)
        return load, summary

    def measure(self, product):
        warm_up(Work(self.size("warm")), product.port())
        product.wait_idle()
        alone = self.flow(product)
        product.wait_idle()
        work = Work(self.size(), words=("--to", "r%d@dead.test"))
        load, summary = self.fill(product, work)
        waiting = process.pss_kb(product.roots()) / 1024
        beside = self.flow(product)
        drain = self.drain(product, load, summary)
        product.wait_idle()
        return {"alone": alone["accepted"], "beside": beside["accepted"],
                "share": beside["accepted"] / alone["accepted"],
                "delay": beside["delay"], **drain,
                "memory": max(waiting, beside["memory"], drain["memory"]),
                "loss": {kind: beside["loss"][kind] + drain["loss"][kind]
                         for kind in beside["loss"]}}

    def drain(self, product, load, summary):
        """The destination is there again, and the queue is told to try."""
        back = bench.Sink(port=self.dead_port)
        began = time.time()
        product.retry_all()
        arrived = wait_arrivals(back, summary["run"], self.size(), 1200)
        memory = process.pss_kb(product.roots()) / 1024
        rate = self.size() / (max(arrived.values()) - began)
        product.wait_idle()
        loss = losses(load, back)
        back.stop()
        return {"drain": rate, "memory": memory, "loss": loss}


class Start(Case):
    letter = "g"
    title = "start to first banner"
    limit = "ten programs that load libraries, one after another where they" \
            " need each other"
    rows = [Row("banner", "s", 3, Goal("value", "<=", 0.5))]

    def run(self, product):
        seen, is_over = [], threading.Event()

        def watch():
            while not seen and not is_over.is_set():
                try:
                    with smtp.Client(product.port(), timeout=5):
                        seen.append(time.monotonic())
                except (OSError, smtp.Disconnected):
                    time.sleep(0.001)

        watcher = threading.Thread(target=watch)
        began = time.monotonic()
        watcher.start()
        try:
            product.start()
            watcher.join(30)
        finally:
            is_over.set()
            watcher.join()
            product.stop()
        return {"banner": seen[0] - began}


class Signed(Relay):
    letter = "h"
    title = "10 KB, one mail a connection, DKIM by one RSA-2048 key"
    work = Work(0, words=("--from", "sender%d@example.test"))
    rows = flow_rows(3.5)

    def prepare(self):
        port = dns.free_port()
        postern = Postern(port, sign_for="example.test")
        canonicalization = signature(postern, port)
        key = os.path.join(gateway.temporary_folder("postern-dkim-"), "key")
        subprocess.run(["openssl", "genrsa", "-traditional", "-out", key,
                        "2048"], check=True, stderr=subprocess.DEVNULL)
        postfix = Postfix(port, sign_with={
            "DOMAIN": "example.test", "SELECTOR": "bench", "KEY": key,
            "CANONICALIZATION": canonicalization})
        if signature(postfix, port) != canonicalization:
            raise RuntimeError("OpenDKIM signs otherwise than Postern")
        self.sink = bench.Sink(port=port)
        self.products = [postern, postfix]


def signature(product, port):
    """The canonicalisation in the one signature of a mail that it passes
    on; both products are to do the same work."""
    folder = gateway.temporary_folder("postern-signed-")
    sink = bench.Sink("--save", folder, port=port)
    product.start()
    try:
        send(Signed.work.but(1), product.port(), sink, [])
    finally:
        product.stop()
        sink.stop()
    [name] = [n for n in os.listdir(folder) if n.endswith(".eml")]
    with open(os.path.join(folder, name), encoding="latin-1") as f:
        head = re.sub(r"\r?\n[ \t]+", " ", f.read().split("\r\n\r\n")[0])
    found = re.findall(r"(?im)^DKIM-Signature:(.*)$", head)
    if len(found) != 1 or "a=rsa-sha256" not in found[0]:
        raise Absent(f"{product.name} signs with {len(found)} signatures, "
                     "not with one of RSA")
    return re.search(r"\bc=([a-z/]+)", found[0]).group(1)


class Million(Backlog):
    letter = "i"
    title = "a million queued mails (1 KB), Postern alone"
    limit = "as (a)"
    once = True
    is_relative = False
    rows = [Row("first", "s from start to the first 250", 2,
                Goal("value", "<=", 10)),
            Row("memory", "MB of memory (PSS), most", 1,
                Goal("value", "<=", 256)),
            Row("alone", "mails/s end to end, empty queue"),
            Row("beside", "mails/s end to end, with a million queued"),
            Row("share", "of the rate with an empty queue", 2,
                Goal("value", ">=", 0.8))]

    def run(self, product):
        product.start()
        try:
            warm_up(Work(self.size("warm")), product.port())
            product.wait_idle()
            alone = self.flow(product)
            product.wait_idle()
            work = Work(self.size(), per_connection=100, body=1024,
                        words=("--to", "r%d@dead.test"))
            self.fill(product, work)
        finally:
            product.stop()
        return self.measure_after(product, alone)

    def first_accepted(self, product, limit_s=120):
        """When the first mail got its 250; before that it may be put off."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            one = Work(1).start(product.port())
            one.wait(limit_s)
            for row in accepted_rows(one):
                return float(row["end"])
        raise TimeoutError(f"no mail is taken within {limit_s} s")

    def measure_after(self, product, alone):
        """The same with all of that queued, from a new start."""
        began = time.time()
        product.start()
        try:
            first = self.first_accepted(product)
            memory = [process.pss_kb(product.roots()) / 1024]
            beside = self.flow(product)
            memory.append(beside["memory"])
        finally:
            product.stop()
        return {"first": first - began, "memory": max(memory),
                "alone": alone["end_to_end"], "beside": beside["end_to_end"],
                "share": beside["end_to_end"] / alone["end_to_end"],
                "loss": beside["loss"]}


CASES = {case.letter: case for case in (
    RelayOne, RelayTen, SubmissionOne, SubmissionTen, RelayLarge, Idle,
    Backlog, Start, Signed, Million)}
