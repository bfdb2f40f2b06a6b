# SPDX-License-Identifier: ISC
"""Frames that no honest peer sends, made from the tables in common/."""

import os
import random
import re
import socket
import struct
import tempfile

from .gateway import SOURCE
from .peer import HEADER, NUMBERS


def _verbs():
    with open(os.path.join(SOURCE, "control/mgmt.c"), encoding="utf-8") as f:
        return re.findall(r'\{"([\w.]+)", RIGHT_', f.read())


# What a TEXT may not hold.
BAD_TEXT = [b"a\0b", b"a\rb", b"a\nb", b"\x7f", b"\x1b[2J", b"\xff",
            b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"]

# What a TEXT may hold and a program may stumble over.
ODD_TEXT = ["", " ", ".", "@", "*", "%s%n", "../../etc/passwd", "a" * 64,
            "-1", "0", "18446744073709551616", "'; DROP TABLE x; --",
            "\u202eevil", "\U0001f4a9", "a@example.test", "example.test",
            "A@[127.0.0.1]", "\"a b\"@example.test", "@example.test",
            "127.0.0.1", "::1", "127.0.0.1:25", "postmaster", "PLAIN",
            "SCRAM-SHA-256", "smtp://127.0.0.1:1", "lmtp:/x", "mx",
            "message/list", "status", "user.add", "queue.list", "log.query",
            "xn--a.test", "a..b", "." + "a" * 63, "a." * 100 + "test"]
ODD_OCTETS = [b"", b"\0", b"{}", b"[]", b"null", b"{\"a\":", b"[" * 5000,
              b"{\"limit\":-1,\"cursor\":\"\xff\"}", b"{\"name\":null}",
              b"\0a\0b", b"n,,n=a,r=b", b"\xff" * 100, b"A: b\r\n\r\nc\r\n",
              b"\r\n.\r\n", b"From: <a@b>\nbare\r", b"x" * 4000]
ODD_NUMBERS = [0, 1, 2, 3, 5, 7, 28, 255, 256, 65535, 65536, (1 << 31) - 1,
               1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63,
               (1 << 64) - 1]
WIDTHS = {"BOOL": 1, "U16": 16, "U32": 32, "U64": 64, "I64": 63}


class Forge:
    """Makes values, payloads and frames; the same ones for the same seed."""

    def __init__(self, tables, seed):
        self.tables = tables
        self.random = random.Random(seed)
        self.verbs = _verbs()

    def for_peers(self, sender, receiver):
        """The types that the table lets go that way, greetings apart."""
        return [name for name, row in self.tables.rows.items()
                if name not in ("HELLO", "BYE")
                and row.sender in (None, sender)
                and row.receiver in (None, receiver)]

    def values(self, fields, records=3):
        values = {name: self._value(what, kind, limit, records)
                  for what, kind, name, limit in fields}
        if "verb" in values and self.random.random() < 0.9:
            values["verb"] = self.random.choice(self.verbs)
        return values

    def _value(self, what, kind, limit, records):
        rng = self.random
        if what == "L":
            count = min(limit, rng.randrange(records + 1))
            return [self.values(self.tables.records[kind])
                    for _ in range(count)]
        if kind in NUMBERS:
            value = rng.choice(ODD_NUMBERS) & ((1 << WIDTHS[kind]) - 1)
            return -value if kind == "I64" and rng.random() < 0.3 else value
        if kind == "TEXT":
            text = rng.choice(ODD_TEXT).encode()
            if rng.random() < 0.05:
                text = b"a" * limit
            return text if len(text) <= limit else b""
        octets = rng.choice(ODD_OCTETS)
        if rng.random() < 0.3:
            octets = rng.randbytes(rng.randrange(100))
        return octets[:limit]

    def message(self, name):
        fields = self.tables.messages[name]
        return self.tables.encode(fields, self.values(fields))

    def frame(self, name, payload=None, number=None, answer=None, fds=None):
        rng = self.random
        if payload is None:
            payload = self.message(name)
        if number is None:
            number = rng.choice([0, 1, 2, 77, 1 << 32, (1 << 64) - 1])
        flags = self.tables.rows[name].fds if fds is None else fds
        if answer or answer is None and rng.random() < 0.1:
            flags |= 0x8000
        return struct.pack(HEADER, len(payload), self.tables.types[name],
                           flags, number) + payload

    def noise(self):
        """Any header and any octets."""
        rng = self.random
        size = rng.randrange(200)
        return struct.pack(
            HEADER, rng.choice([0, 1, size, size + 1, 1 << 16, 1 << 31,
                                (1 << 32) - 1]),
            rng.randrange(len(self.tables.names) + 3)
            if rng.random() < 0.9 else rng.randrange(65536),
            rng.choice([0, 0, 0, 0x8000, 1, 4, 5, 0x7fff]),
            rng.getrandbits(64)) + rng.randbytes(size)

    def mutated(self, data):
        rng = self.random
        data = bytearray(data)
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(data))
            kind = rng.randrange(5)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                data[at] = rng.randrange(256)
            elif kind == 2:
                del data[at:at + rng.randrange(1, 9)]
            elif kind == 3:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
            else:
                data[at:at + 4] = struct.pack(
                    "<I", rng.choice(ODD_NUMBERS) & 0xffffffff)
            if not data:
                break
        return bytes(data)

    def bad_texts(self, name):
        """(field, payload) with each TEXT of the message broken once."""
        for path, payload in self._bad_texts(self.tables.messages[name]):
            yield path, payload

    def _bad_texts(self, fields):
        for what, kind, name, limit in fields:
            if what == "L":
                for path, record in self._bad_texts(
                        self.tables.records[kind]):
                    yield f"{name}.{path}", self._with(
                        fields, name,
                        struct.pack("<II", 1, len(record)) + record)
            elif kind == "TEXT":
                text = self.random.choice(BAD_TEXT)
                if len(text) > limit:
                    text = b"\0"
                for octets in (text, b"a" * (limit + 1)):
                    yield name, self._with(
                        fields, name,
                        struct.pack("<I", len(octets)) + octets)

    def _with(self, fields, name, encoded):
        """All fields empty but one, which is already encoded."""
        return b"".join(
            encoded if field[2] == name
            else self.tables.encode([field], {}) for field in fields)

    def bad_lists(self, name):
        """(field, payload) with lists over their limits, and lists that
        lie about their sizes."""
        fields = self.tables.messages[name]
        for what, kind, field, limit in fields:
            if what != "L":
                continue
            record = self.tables.encode(self.tables.records[kind], {})
            lies = [(limit + 1, record * min(limit + 1, 4000)),
                    ((1 << 32) - 1, record), (2, record), (0, record),
                    (1, b""), (1, record[:-1])]
            for count, body in lies:
                yield field, self._with(
                    fields, field,
                    struct.pack("<II", count, len(body)) + body)
            yield field, self._with(
                fields, field, struct.pack("<II", 1, 1 << 31) + record)


def odd_descriptors(folder):
    """[(what, fd)] of each kind that nobody expects; to be closed."""
    found = []

    def add(what, fd):
        found.append((what, fd))

    left, right = socket.socketpair()
    add("a socket", left.detach())
    right.close()
    with socket.socket() as tcp:
        add("an unbound TCP socket", os.dup(tcp.fileno()))
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        add("a UDP socket", os.dup(udp.fileno()))
    with socket.socket(socket.AF_UNIX) as unix:
        # The file is not needed, and stands in the way of the next call.
        unix.bind(os.path.join(folder, "odd.sock"))
        unix.listen()
        os.unlink(os.path.join(folder, "odd.sock"))
        add("a listening Unix socket", os.dup(unix.fileno()))
    with tempfile.TemporaryDirectory(dir=folder) as own:
        fifo = os.path.join(own, "fifo")
        os.mkfifo(fifo)
        add("a FIFO", os.open(fifo, os.O_RDWR | os.O_NONBLOCK))
    reading, writing = os.pipe()
    add("a pipe", reading)
    add("the pipe's other end", writing)
    add("a folder", os.open(folder, os.O_RDONLY))
    add("/dev/zero", os.open("/dev/zero", os.O_RDONLY))
    add("/dev/null", os.open("/dev/null", os.O_RDWR))
    add("an O_PATH", os.open("/etc/passwd", os.O_PATH))
    add("an empty memfd", os.memfd_create("empty"))
    large = os.memfd_create("large")
    os.truncate(large, 1 << 40)
    add("a memfd of 1 TiB", large)
    add("/proc/self/mem", os.open("/proc/self/mem", os.O_RDONLY))
    plain = os.path.join(folder, "write-only")
    add("a file open for writing alone",
        os.open(plain, os.O_WRONLY | os.O_CREAT, 0o600))
    return found
