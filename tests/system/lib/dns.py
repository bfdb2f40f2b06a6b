# SPDX-License-Identifier: ISC
"""A real name server (nsd) on a free loopback port.

    dns = NameServer({"example.test": '''
        @     MX 10 mx
        mx    A  127.0.0.1
    '''})
    gw.set(**{"dns.servers": dns.address, "dns.dnssec": "off"})

Each zone gets SOA and NS by itself, unless its text has a SOA.  There is a
root zone, so a name in no zone does not exist.
"""

import os
import random
import shutil
import socket
import struct
import subprocess

from . import tap
from .gateway import die_with_parent, temporary_folder

SOA = "@ 60 IN SOA ns.invalid. admin.invalid. 1 3600 600 86400 60\n" \
      "@ 60 IN NS ns.invalid.\n"


def nsd_program():
    """Where tests/deps has unpacked it, else the system's."""
    unpacked = os.path.join(os.environ.get("POSTERN_PEERS", ""),
                            "usr/sbin/nsd")
    if os.environ.get("POSTERN_PEERS") and os.access(unpacked, os.X_OK):
        return unpacked
    return shutil.which("nsd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


def free_port(host="127.0.0.1"):
    """A port that is free for UDP and TCP, and stays so: it is none of those
    that the kernel gives to clients, of which tests beside this one have
    thousands.  Where clients have nearly all ports, it is any."""
    with open("/proc/sys/net/ipv4/ip_local_port_range",
              encoding="ascii") as f:
        first_of_clients = int(f.read().split()[0])
    if first_of_clients < 10000:
        first_of_clients = 65536
    chance = random.SystemRandom()
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, \
                socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
            port = chance.randrange(1024, first_of_clients)
            try:
                udp.bind((host, port))
                tcp.bind((host, port))
            except OSError:
                continue
            return port


def query(host, port, name, rrtype=6, timeout=2):
    """The response code to one question over UDP; None without an answer."""
    labels = [label for label in name.split(".") if label]
    packet = struct.pack(">HHHHHH", 0x5053, 0, 1, 0, 0, 0) + b"".join(
        bytes([len(label)]) + label.encode() for label in labels)
    packet += b"\0" + struct.pack(">HH", rrtype, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.connect((host, port))
        try:
            s.send(packet)
            answer = s.recv(4096)
        except OSError:
            return None
    return answer[3] & 15 if answer[:2] == packet[:2] else None


class NameServer:
    """nsd with these zones, until tap.done()."""

    def __init__(self, zones=None, host="127.0.0.1"):
        program = nsd_program()
        if program is None:
            tap.skip_all("no nsd here; tests/deps unpacks it")
        self.program = program
        self.host = host
        self.folder = temporary_folder("postern-nsd-")
        self.process = None
        self.zones = {".": ""}
        self.zones.update(zones or {})
        self.port = 0
        tap.at_done(lambda failed: self.stop())
        self.start()

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def _write(self):
        lines = ["server:", f"  ip-address: {self.host}@{self.port}",
                 "  server-count: 1", '  username: ""', '  chroot: ""',
                 '  pidfile: ""', '  database: ""', f'  zonesdir: "{self.folder}"',
                 f'  zonelistfile: "{self.folder}/zone.list"',
                 f'  xfrdfile: "{self.folder}/xfrd.state"',
                 f'  xfrdir: "{self.folder}"', "  rrl-ratelimit: 0",
                 "remote-control:", "  control-enable: no"]
        for number, (name, text) in enumerate(self.zones.items()):
            path = os.path.join(self.folder, f"{number}.zone")
            # A line's blanks at its start would mean "the name before".
            rows = "\n".join(row.strip() for row in text.split("\n"))
            with open(path, "w", encoding="utf-8") as f:
                origin = name if name.endswith(".") else name + "."
                f.write(f"$ORIGIN {origin}\n$TTL 60\n")
                if " SOA " not in rows:
                    f.write(SOA)
                f.write(rows + "\n")
            lines += ["zone:", f'  name: "{name}"', f'  zonefile: "{path}"']
        config = os.path.join(self.folder, "nsd.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        return config

    def start(self):
        """On the same port as before, once it has one."""
        for _ in range(5):
            self.port = self.port or free_port(self.host)
            log = os.path.join(self.folder, "nsd.log")
            with open(log, "ab") as out:
                self.process = subprocess.Popen(
                    [self.program, "-d", "-c", self._write()],
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                    preexec_fn=die_with_parent)
            # It answers, or has ended because another took the port.
            tap.wait_until(
                lambda: self.process.poll() is not None
                or query(self.host, self.port, "") is not None,
                what="nsd to answer")
            if self.process.poll() is None:
                self._check(log)
                return self
            self.port = 0
        raise RuntimeError("nsd does not start: " + self._words(log))

    @staticmethod
    def _words(log):
        with open(log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def _check(self, log):
        """A zone with a mistake in it is the test's mistake."""
        for name in self.zones:
            code = query(self.host, self.port, name, timeout=tap.PATIENCE_S)
            if code != 0:
                raise ValueError(f"zone {name} is not served (code {code}): "
                                 + self._words(log)[-2000:])

    def update(self, zones):
        """Replaces or adds zones; None removes one."""
        for name, text in zones.items():
            if text is None:
                del self.zones[name]
            else:
                self.zones[name] = text
        self.stop()
        return self.start()

    def stop(self):
        """No answers from now on, as a name server that is down."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None
