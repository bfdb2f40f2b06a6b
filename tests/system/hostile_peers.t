#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: timeout=1500
"""Each end of each channel against a peer that means harm.  After everything
the program lives, its other peers are served, and nothing was leaked.

POSTERN_HOSTILE_FRAMES says how many frames each end gets (5000); words like
"authd from smtpd" choose some ends alone."""

import contextlib
import os
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import hostile, peer, tap  # noqa: E402
from lib.gateway import temporary_folder  # noqa: E402

FRAMES = int(os.environ.get("POSTERN_HOSTILE_FRAMES", "5000"))
# Seconds that one end's random frames may take; links are made anew slowly.
SECONDS = 3 * max(1, FRAMES // 5000)
CUT_S = 5
# A busy machine may look later; the next limit of a channel is 60 s.
CUT_LATE_S = 30
# Memory that a program may keep after an attack; sanitizers keep what was
# freed for a while.
GROWTH_KB = 48 * 1024
FOREIGN_UID = 65534
CONNECTS = 10000

os.environ["ASAN_OPTIONS"] = ":".join(filter(None, [
    os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=8"]))

tables = peer.Tables()
forge = hostile.Forge(tables, 20)
rows = peer.channel_rows()
folder = temporary_folder()
frames_sent = 0



def no_such_names():
    """A name server that knows none, at once; its address."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def run():
        while True:
            question, client = sock.recvfrom(4096)
            if len(question) >= 12:
                sock.sendto(question[:2] + b"\x81\x83" + question[4:],
                            client)

    threading.Thread(target=run, daemon=True).start()
    return "127.0.0.1:%d" % sock.getsockname()[1]


SETTINGS = {
    "checkd": {"dns.servers": no_such_names(), "dns.dnssec": False,
               "dns.timeout": 1},
    "queued": {"queue.min_free": 1 << 20},
    "loghub": {"log.min_free": 1 << 20},
    "bindd": {"smtp.listen": "127.0.0.1:0", "submission.listen": "",
              "submissions.listen": ""},
}


def ask_authd(channel):
    return channel.ask("RCPT_CHECK", session_id=1, address="a@b.test")


def ask_checkd(channel):
    return channel.ask("DNS_QUERY", name="a..b", type=1)


def ask_loghub(channel):
    return channel.ask("LIFE_EVENTS", events=[])["count"] == 0


def ask_confd(channel):
    return channel.ask("MGMT_REQUEST", verb="config.get", actor="test",
                       arguments=b'{"key":"smtp.hostname"}')["body"]


# How another peer than confd finds that it is served: who, and by what.
ASKERS = {"authd": ("smtpd", ask_authd), "checkd": ("relayd", ask_checkd),
          "loghub": ("queued", ask_loghub), "confd": ("admin", ask_confd)}
# What such a peer says when it connects, and what comes then.
GREETINGS = {"bindd": ("smtpd", "LISTENERS_KEPT", "LISTENERS_END"),
             "queued": ("smtpd", None, "QUEUE_SLOT")}


class Target:
    """A program with what the test knows of it."""

    def __init__(self, name):
        self.name = name
        self.program = peer.Program(
            name, settings=SETTINGS.get(name),
            peers=[server for server, client in rows
                   if client == name and server != "confd"])
        self.pid = self.program.process.pid
        self.witness = None
        if name in ASKERS:
            role, _ = ASKERS[name]
            self.witness = self.program.connect(role)

    def served(self, attacked):
        """Asks as somebody whose channel is not the attacked one."""
        if attacked != "confd" and self.name != "confd":
            self.program.status()
        if self.witness is not None:
            ASKERS[self.name][1](self.witness)
        elif self.name in GREETINGS:
            role, said, wanted = GREETINGS[self.name]
            with contextlib.closing(self.program.connect(role)) as channel:
                if said:
                    channel.send(said, count=0)
                while channel.read().name != wanted:
                    pass

    def lives(self):
        return self.program.process.poll() is None

    def descriptors(self):
        """What it has open, its own store apart; [] where only root may
        look."""
        found = []
        with contextlib.suppress(PermissionError):
            for fd in os.listdir(f"/proc/{self.pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    found.append(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
        return sorted(what for what in found
                      if not what.startswith(self.program.root))

    def memory_kb(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            [line] = [row for row in f if row.startswith("VmRSS")]
        return int(line.split()[1])


class End:
    """One end of a channel under attack: the program, the role played."""

    def __init__(self, target, role, is_client):
        self.target = target
        self.role = role
        self.is_client = is_client  # the program connects to us
        self.types = forge.for_peers(role, target.name)
        self.current = None
        self.name = f"{target.name} {'to' if is_client else 'from'} {role}"

    def open(self, greets=True):
        """A new channel; the one before is closed first when the program
        keeps only one."""
        program = self.target.program
        if not self.is_client:
            return program.connect(self.role, greets)
        if self.role == "confd" and program.confd is not None:
            program.confd.close()
            program.confd = None
        if self.current is not None:
            self.current.close()
        while True:
            # A link that waited too long for us is in the queue as well.
            with contextlib.suppress(peer.Ended, BrokenPipeError):
                self.current = program.accept(self.role, greets)
                if not ended_already(self.current):
                    return self.current
                self.current.close()

    def restore(self):
        """What the attack took from the program."""
        if self.current is not None:
            self.current.close()
            self.current = None
        if self.is_client and self.role == "confd":
            while True:
                with contextlib.suppress(peer.Ended, BrokenPipeError):
                    self.target.program.reconnect_confd()
                    return


def ended_already(channel):
    time.sleep(0.002)
    if not select.select([channel.sock], [], [], 0)[0]:
        return False
    try:
        return channel.sock.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def send(channel, data, fds=()):
    """False when the program has closed."""
    global frames_sent
    frames_sent += 1
    try:
        channel.send_raw(data, fds)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def is_cut(channel, timeout=CUT_LATE_S):
    deadline = time.monotonic() + timeout
    try:
        while True:
            channel.read(max(0.001, deadline - time.monotonic()))
    except peer.Ended:
        return True
    except TimeoutError:
        return False


def cut_by(end, data, fds=(), greets=True):
    """Whether the program ends a new channel over these octets."""
    channel = end.open(greets)
    send(channel, data, fds)
    held = is_cut(channel)
    channel.close()
    return held


def header(size, kind, flags=0, number=0):
    return struct.pack(peer.HEADER, size, kind, flags, number)


# ---- the attacks: each returns what went wrong ----

def greetings(end):
    wrong = []
    for what, changes, role in (
            ("of another build", {"table_hash": 1}, end.role),
            ("as another role", {}, "spawner"),
            ("with a bad name", {}, b"\xff\0")):
        channel = end.open(greets=False)
        channel.greet(role, **changes)
        if not is_cut(channel):
            wrong.append(f"a greeting {what} is taken")
        channel.close()
    if not cut_by(end, forge.frame(end.types[0], fds=0), greets=False):
        wrong.append("no greeting is needed")
    channel = end.open()
    channel.greet(end.role)
    if not is_cut(channel):
        wrong.append("two greetings are taken")
    channel = end.open(greets=False)
    whole = channel.frame("HELLO", **{**channel.peer, "role": end.role})
    for at in range(len(whole)):
        channel.send_raw(whole[at:at + 1])
    # Slow, but in order.
    if is_cut(channel, 0.1):
        wrong.append("a greeting in single octets is refused")
    channel.close()
    return wrong


def lengths(end):
    wrong = []
    hello = tables.types["HELLO"]
    for greets, kind in ((False, hello), (True, tables.types[end.types[0]])):
        for size in (0, (1 << 32) - 1, 1 << 31):
            fds = tables.rows[tables.names[kind]].fds
            with open("/dev/null", "rb") as null:
                if not cut_by(end, header(size, kind, fds) + b"x" * 64,
                              [null.fileno()] * fds, greets):
                    wrong.append(f"type {kind} of length {size} is taken")
    return wrong


def kinds(end):
    wrong = []
    count = len(tables.names)
    others = [name for name in tables.names
              if name not in end.types and name not in ("HELLO", "BYE")]
    if end.is_client:
        others = forge.random.sample(others, 8)
    for name in others:
        if not cut_by(end, forge.frame(name, answer=False),
                      [0] * tables.rows[name].fds):
            wrong.append(f"{name} of another direction is taken")
    for kind in (count, count + 1, 32768, 65535):
        if not cut_by(end, header(0, kind)):
            wrong.append(f"type {kind} is taken")
    return wrong


def text_and_lists(end):
    wrong = []
    cases = [(name, *case) for name in end.types
             for make in (forge.bad_texts, forge.bad_lists)
             for case in make(name)]
    if end.is_client:
        cases = forge.random.sample(cases, min(12, len(cases)))
    for name, field, payload in cases:
        fds = tables.rows[name].fds
        if not cut_by(end, forge.frame(name, payload, number=5, answer=False),
                      [0] * fds):
            wrong.append(f"{name}.{field}: {payload[:60]!r} is taken")
    return wrong


def request_ids(end):
    """Answers that nobody waits for, and one number for many questions."""
    channel = end.open()
    for name in end.types:
        if tables.rows[name].fds:
            continue
        for number in (0, 1, 5, 1 << 32, 1 << 32 | 1, (1 << 64) - 1):
            for answer in (True, False, False):
                if not send(channel, forge.frame(name, number=number,
                                                 answer=answer)):
                    channel = end.open()
    is_cut(channel, 0.05)
    channel.close()
    return []


def descriptors(end):
    """Too many, too few, and none of them what they should be."""
    wrong = []
    plain = [name for name in end.types if not tables.rows[name].fds]
    frame = forge.frame(plain[0], answer=False)
    for count in (1, 4, 5, 253):
        if not cut_by(end, frame, [0] * count):
            wrong.append(f"{count} descriptors more are taken")
    with_fds = [name for name in end.types if tables.rows[name].fds]
    for name in with_fds:
        want = tables.rows[name].fds
        payload = forge.message(name)
        if not cut_by(end, forge.frame(name, payload, answer=False)):
            wrong.append(f"{name} without descriptors is taken")
        odd = hostile.odd_descriptors(folder)
        for what, fd in odd:
            for _ in range(2):
                channel = end.open()
                send(channel, forge.frame(name, answer=False, number=9),
                     [fd] * want)
                is_cut(channel, 0.02)
                channel.close()
                if not end.target.lives():
                    return [f"{name} with {what}: it died"]
            os.close(fd)
    return wrong


def random_frames(end):
    """Rows of well-formed frames, each with a damaged one at its end."""
    rng = forge.random
    deadline = time.monotonic() + SECONDS
    sent = 0
    null = os.open("/dev/null", os.O_RDONLY)
    while sent < FRAMES and time.monotonic() < deadline:
        channel = end.open(greets=rng.random() < 0.97)
        row = [rng.choice(end.types) for _ in range(rng.randrange(1, 9))]
        for name in row:
            fds = [null] * tables.rows[name].fds
            if not send(channel, forge.frame(name), fds):
                break
            sent += 1
        else:
            frame = forge.mutated(forge.frame(rng.choice(end.types)))
            send(channel, frame if rng.random() < 0.9 else forge.noise())
            sent += 1
        # A channel closed at once would take what was not read with it.
        is_cut(channel, 0.005)
        channel.close()
    os.close(null)
    return []


ATTACKS = (greetings, lengths, kinds, text_and_lists, request_ids,
           descriptors, random_frames)

targets = {name: Target(name) for name in peer.daemons()}
ends = [End(targets[server], client, False) for server, client in rows]
ends += [End(targets[client], server, True) for server, client in rows
         if client in targets]
ends = [end for end in ends if len(sys.argv) < 2 or end.name in sys.argv]


def settled(target, before):
    """A few belong to what goes on; questions to the DNS take a while."""
    try:
        tap.wait_until(lambda: len(target.descriptors()) <= before + 3,
                       what="what it has open")
    except TimeoutError:
        return False
    return True


for end in ends:
    with tap.group(end.name):
        target = end.target
        began = time.monotonic()
        target.served(end.role)
        fds, memory = len(target.descriptors()), target.memory_kb()
        for attack in ATTACKS:
            wrong = attack(end)
            tap.equal(wrong, [], f"{end.name}: {attack.__name__}")
            tap.ok(target.lives(), "it lives")
            target.served(end.role)
        end.restore()
        target.served(None)
        held = settled(target, fds)
        if not tap.ok(held, "its descriptors are back: "
                            f"{fds}, then {len(target.descriptors())}"):
            tap.diag(" ".join(target.descriptors()))
        grown = target.memory_kb() - memory
        tap.ok(grown < GROWTH_KB, f"its memory is back: {grown} KB more")
        tap.diag(f"{end.name}: {time.monotonic() - began:.1f} s")

tap.diag(f"{frames_sent} frames")

with tap.group("what is never finished"):
    started = []
    for number, end in enumerate(ends):
        # One that connects by itself has only one channel to us.
        for kind in [number % 4] if end.is_client else range(4):
            channel = end.open(greets=kind == 3)
            part = [b"", b"\x20", header(40, tables.types["HELLO"]) + b"x",
                    forge.frame(end.types[0], number=1)[:17]][kind]
            fds = [0] * tables.rows[end.types[0]].fds if kind == 3 else ()
            send(channel, part, fds)
            started.append((end, kind, channel, time.monotonic()))
    late = []
    for end, kind, channel, began in started:
        if not is_cut(channel, CUT_LATE_S - (time.monotonic() - began)):
            late.append((end.name, kind))
        channel.close()
    tap.equal(late, [], f"is cut after {CUT_S} s")
    for end in ends:
        end.restore()
    for target in targets.values():
        target.served(None)
    tap.ok(True, "and all are served")

with tap.group("one that asks and never reads"):
    for end in ends:
        name = {"checkd": "DNS_QUERY", "authd": "RCPT_CHECK",
                "loghub": "LIFE_EVENTS"}.get(end.target.name)
        if end.is_client or name not in end.types:
            continue
        target = end.target
        before = target.memory_kb()
        channel = end.open()
        channel.sock.setblocking(False)
        frame = channel.frame(name, _id=3, type=1)
        deadline = time.monotonic() + 2
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() < deadline:
                if select.select([], [channel.sock], [], 0.1)[1]:
                    with contextlib.suppress(BlockingIOError):
                        channel.sock.send(frame * 100)
        target.served(end.role)
        grown = target.memory_kb() - before
        tap.ok(grown < 100 * 1024,
               f"{end.name}: costs {grown} KB while it stays")
        channel.close()

WORKER_LINKS = ("queued", "authd", "checkd", "loghub")


def start_worker():
    """A worker of smtpd alone; the test is its acceptor."""
    ours, theirs = socket.socketpair()
    spare = os.dup2(theirs.fileno(), 100, inheritable=True)
    theirs.close()
    process = subprocess.Popen(
        [targets["smtpd"].program.path, "--worker", "smtp"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[3],
        preexec_fn=lambda: os.dup2(spare, 3, inheritable=True))
    os.close(spare)
    channel = peer.Channel(tables, ours, "smtpd")
    channel.send("CONF_SNAPSHOT", revision=1)
    return process, channel


def give(channel, name, fd, **values):
    send(channel, channel.frame(name, **values), [fd])


def greeted(channel):
    """Whether a client that the worker is given gets its answer."""
    with socket.create_server(("127.0.0.1", 0)) as server, \
            socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        give(channel, "CLIENT", accepted.fileno(), session_id=1,
             address="127.0.0.1", local_address="127.0.0.1", port=9)
        accepted.close()
        client.settimeout(tap.PATIENCE_S)
        return client.recv(4) == b"220 "


with tap.group("a worker that is given odd descriptors"):
    process, channel = start_worker()
    roles = re.findall(r'ROLE\(\w+, "(\w+)"', peer.source("roles.h"))
    tap.ok(greeted(channel), "it greets a client")
    for what, fd in hostile.odd_descriptors(folder):
        for kind in range(3):
            give(channel, "CLIENT", fd, session_id=2, listener_kind=kind,
                 address="192.0.2.1", local_address="192.0.2.2")
        for role in WORKER_LINKS:
            give(channel, "WORKER_LINK", fd, role=roles.index(role))
        os.close(fd)
        is_cut(channel, 0.05)
        if not tap.ok(process.poll() is None, f"{what}: it lives"):
            process, channel = start_worker()
    tap.ok(greeted(channel), "it still greets a client")
    send(channel, forge.noise())
    channel.close()
    tap.equal(process.wait(tap.PATIENCE_S), 0,
              "a breach of its acceptor's ends it")

FOREIGNER = """
import os, socket, sys
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
refused = greeted = 0
for i in range(int(sys.argv[1])):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(120)
    try:
        s.connect(sys.argv[2 + i % (len(sys.argv) - 2)])
        greeted += s.recv(1) != b""
    except ConnectionResetError:
        pass
    except BlockingIOError:
        pass
    refused += 1
    s.close()
print(refused, greeted)
"""

with tap.group("a foreign user"):
    if os.geteuid() != 0:
        tap.skip("is refused", "only root can become another user")
    else:
        # The modes of a real instance keep him out before; here they do not.
        paths = [end.target.program.socket_path(end.role) for end in ends
                 if not end.is_client and end.role != "admin"]
        for path in paths:
            os.chmod(path, 0o777)
        with subprocess.Popen(
                [sys.executable, "-c", FOREIGNER, str(CONNECTS), *paths],
                stdout=subprocess.PIPE, text=True) as process:
            rounds = 0
            slowest = 0
            while process.poll() is None:
                for target in targets.values():
                    began = time.monotonic()
                    target.served(None)
                    slowest = max(slowest, time.monotonic() - began)
                rounds += 1
                time.sleep(0.05)
            tap.equal(process.stdout.read().split(), [str(CONNECTS), "0"],
                      "is refused before an octet is said")
        tap.ok(rounds > 0 and slowest < CUT_LATE_S,
               f"while peers are served: {slowest:.2f} s at most")

with tap.group("datagrams to every events socket"):
    hub = targets["loghub"]
    before = hub.program.status()
    count = 0
    for role in peer.daemons():
        path = os.path.join(hub.program.run, f"events-from-{role}.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.connect(path)
            good = struct.pack("<QQHI", 1, 1, 1, 2) + b"\xff\xff"
            odd = [b"", b"x", good, good[:-1], struct.pack(
                       "<QQH", 1, 2, 65535), b"\0" * 60000,
                   struct.pack("<QQHI", 1, 3, 1, (1 << 32) - 1)]
            for data in odd:
                s.send(data)
            for _ in range(FRAMES // 10):
                data = forge.mutated(good) if forge.random.random() < 0.5 \
                    else forge.random.randbytes(forge.random.randrange(200))
                s.send(data)
                count += 1
            # With descriptors, which nobody here takes.
            socket.send_fds(s, [good], [0, 1, 2])
    hub.served(None)
    after = hub.program.status()
    refused = int(after["events_refused"]) - int(before["events_refused"])
    tap.ok(refused >= count * 0.9, f"{refused} of {count} are counted")
    tap.ok(hub.lives(), "and the hub lives")

tap.done()
