# SPDX-License-Identifier: ISC
"""Postern as a product of the benchmark: an instance below a folder of its
own, as packaging/try makes it, with room for the load."""

import os
import time

from lib import dns, gateway

from . import process

SYNCS = ("a commit of the queue by SQLite (WAL, synchronous=FULL), shared by "
         "all mails that wait for it, before their 250, and one for the "
         "results of deliveries; a body above 64 KiB and its folder before "
         "that; the log before the queue forgets what is in it")

# Names that the table of hops gives to processes.
HOPS = {"postern-smtpd": "acceptor", "postern-smtpd worker": "worker",
        "postern-queued": "queued", "postern-relayd": "relayd",
        "postern-loghub": "hub", "postern-authd": "authd",
        "postern-authd worker": "authd", "postern-signerd": "signer",
        "postern-signerd worker": "signer"}

SETTINGS = {
    # The generator is one client; the flood shield would refuse it.
    "smtp.trusted_networks": "127.0.0.0/8",
    "smtp.max_connections": "20000",
    "smtp.client_connections": "20000", "smtp.network_connections": "20000",
    "smtp.client_rate": "1000000", "smtp.network_rate": "1000000",
    "relay.allow_loopback": "on", "queue.min_free": "0", "log.min_free": "0",
    # No question may leave this host; none is asked in any case.
    "dns.servers": "127.0.0.1:9", "dns.dnssec": "off",
}


class Absent(Exception):
    """What a case needs is not in this build."""


class Postern:
    name = "Postern"

    def __init__(self, sink_port, tls=None, accounts=None, dead_port=None,
                 sign_for=None):
        self.ports = {kind: dns.free_port() for kind in gateway.KINDS}
        self.gw = gateway.Gateway(settings={
            **SETTINGS, **{f"{kind}.listen": f"127.0.0.1:{port}"
                           for kind, port in self.ports.items()}})
        cli = self.gw.cli
        if dead_port:
            cli("route", "add", "dead.test", f"smtp://127.0.0.1:{dead_port}")
        cli("route", "add", "*", f"smtp://127.0.0.1:{sink_port}")
        if tls:
            cli("tls", "install", *tls)
        if accounts or sign_for:
            cli("domain", "add", "example.test")
        if accounts:
            path = os.path.join(self.gw.folder, "users.csv")
            with open(path, "w", encoding="utf-8") as f:
                for user, password in accounts:
                    f.write(f"{user},{password},{user}\n")
            cli("user", "import", path, timeout=600)
        if sign_for:
            if "key dkim new" not in cli("help"):
                raise Absent("this build has no verb \"key dkim new\"")
            cli("key", "dkim", "new", sign_for, "--algorithm", "rsa")

    def port(self, kind="smtp"):
        return self.ports[kind]

    def roots(self):
        return [self.gw.process.pid]

    def start(self):
        self.gw.start()

    def stop(self):
        self.gw.stop()

    def log(self):
        return self.gw.tail(20)

    def wait_idle(self, limit_s=300):
        """Queue empty, its log handed over, the index with all of it."""
        deadline = time.monotonic() + limit_s
        while True:
            queue, hub = self._counters("queued", "loghub")
            if not queue.get("messages", 1) \
                    and not queue.get("log_behind", 1) \
                    and not hub.get("index_behind", 1):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"not idle: {queue} {hub}")
            time.sleep(process.SPANS["step"])
        process.wait_quiet(self.roots())

    def _counters(self, *programs):
        """What each of them counts; {} of one that does not answer."""
        rows = {row["program"]: row.get("counters", {})
                for row in self.gw.status()["programs"]}
        return [rows[name] for name in programs]

    def queued(self):
        return self.gw.program("queued")["messages"]

    def wait_deferred(self, count, limit_s=600):
        """Until that many wait and nothing of it is being tried."""
        deadline = time.monotonic() + limit_s
        while self.queued() < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.queued()} of {count} are queued")
            time.sleep(process.SPANS["step"])
        process.wait_quiet(self.roots(), limit_s=limit_s)

    def retry_all(self):
        self.gw.cli("queue", "retry", "--match", "domain=dead.test", "--yes",
                    timeout=300)
