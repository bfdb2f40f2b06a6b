# SPDX-License-Identifier: ISC
"""One program of Postern alone: the test plays its supervisor, confd and its
peers, and speaks their channels from the tables in common/.

    p = Program("checkd", settings={"dns.servers": "127.0.0.1:5353"})
    relayd = p.connect("relayd")
    answer = relayd.ask("DNS_QUERY", name="example.test", type=15)
    answer["status"], answer["records"][0]["name"]

With peers=("queued",) the test is that server, too, and takes the program's
own connection: p.accept("queued").
"""

import array
import os
import re
import select
import socket
import struct
import subprocess
import time

from . import tap
from .gateway import (ALARMS, BUILD, SOURCE,
                      die_with_parent, temporary_folder)

ANSWER = 0x8000
HEADER = "<IHHQ"
NUMBERS = {"BOOL": "<B", "U16": "<H", "U32": "<I", "U64": "<Q", "I64": "<q"}


def source(name):
    """A file of common/, its lines joined."""
    with open(os.path.join(SOURCE, "common", name), encoding="utf-8") as f:
        return f.read().replace("\\\n", " ")


def _build_path(name):
    with open(os.path.join(BUILD, "config.h"), encoding="utf-8") as f:
        return re.search(rf'#define {name} "(.*)"', f.read())[1]


def channel_rows():
    """[(server, peer)] of CHANNELS."""
    return [(server.lower(), peer.lower()) for server, peer in re.findall(
        r"CHANNEL\(([A-Z]+), ([A-Z]+)\)", source("roles.h"))]


def daemons():
    """The programs that run by themselves."""
    return [name for name, _ in re.findall(
        r'ROLE\(\w+, "(\w+)", (true), ', source("roles.h"))]


class Message:
    """A row of IPC_MESSAGES; sender and receiver are None for any."""

    def __init__(self, sender, receiver, fds, fields):
        self.sender = None if sender == "ANY" else sender.lower()
        self.receiver = None if receiver == "ANY" else receiver.lower()
        self.fds = int(fds)
        self.fields = fields


class Tables:
    """common/ipc_messages.h and common/settings.h, as the compiler has
    them.  A field is (F or L, kind or record, name, limit)."""

    def __init__(self):
        text = re.sub(r"/\*.*?\*/", " ", source("ipc_messages.h"),
                      flags=re.DOTALL)
        self._numbers = dict(re.findall(r"#define (IPC_\w+) (\d+)", text))
        self._macros = dict(re.findall(
            r"#define (IPC_\w+)\(F, L\)(.*)", text))
        self.records = {
            name: self._fields(macro) for name, macro in
            re.findall(r"\bR\((\w+),\s*(IPC_RECORD_\w+)\)", text)}
        rows = re.findall(r"\bM\((\w+),\s*\w+,\s*(\w+),\s*(\w+),\s*(\d+),"
                          r"\s*(IPC_\w+)\)", text)
        self.names = [row[0] for row in rows]
        self.types = {name: number for number, name in enumerate(self.names)}
        self.rows = {name: Message(sender, receiver, fds, self._fields(macro))
                     for name, sender, receiver, fds, macro in rows}
        self.messages = {name: row.fields for name, row in self.rows.items()}
        table = source("settings.h").split("#define SETTINGS(S)")[1]
        self.settings = {
            name: (index, kind) for index, (name, kind) in enumerate(
                re.findall(r'\bS\(\w+,\s*"([\w.]+)",\s*(\w+)',
                           table.split("enum setting_kind")[0]))}
        self.vocabulary = re.sub(r"/\*.*?\*/", " ", source("vocabulary.h"),
                                 flags=re.DOTALL)

    def _fields(self, macro):
        fields = []
        for match in re.finditer(
                r"\b([FL])\((\w+),\s*(\w+),\s*([\w +]+)\)"
                r"|\b(IPC_\w+)\(F, L\)",
                self._macros[macro]):
            if match[5]:
                fields += self._fields(match[5])
            else:
                limit = sum(int(self._numbers.get(term, term))
                            for term in match[4].split(" + "))
                fields.append((match[1], match[2], match[3], limit))
        return fields

    def words(self, enum):
        """The names of an enum of common/vocabulary.h, by their numbers."""
        body = re.search(rf"enum {enum} {{(.*?)}}", self.vocabulary,
                         re.DOTALL)[1]
        return re.findall(r"\w+", body)[:-1]

    def encode(self, fields, values):
        out = b""
        for what, kind, name, _ in fields:
            value = values.get(name)
            if what == "L":
                rows = [self.encode(self.records[kind], row)
                        for row in value or []]
                body = b"".join(rows)
                out += struct.pack("<II", len(rows), len(body)) + body
            elif kind in NUMBERS:
                out += struct.pack(NUMBERS[kind], value or 0)
            else:
                value = value or b""
                if isinstance(value, str):
                    value = value.encode()
                out += struct.pack("<I", len(value)) + value
        return out

    def decode(self, fields, data):
        values, rest = self._decode(fields, data)
        if rest:
            raise ValueError(f"{len(rest)} octets after the last field")
        return values

    def _decode(self, fields, data):
        values = {}
        for what, kind, name, _ in fields:
            if kind in NUMBERS and what == "F":
                size = struct.calcsize(NUMBERS[kind])
                [values[name]] = struct.unpack(NUMBERS[kind], data[:size])
                data = data[size:]
                continue
            count = 0
            if what == "L":
                [count], data = struct.unpack("<I", data[:4]), data[4:]
            [size], data = struct.unpack("<I", data[:4]), data[4:]
            body, data = data[:size], data[size:]
            if len(body) != size:
                raise ValueError(f"{name} is cut short")
            if what == "L":
                values[name] = []
                for _ in range(count):
                    row, body = self._decode(self.records[kind], body)
                    values[name].append(row)
            else:
                values[name] = body.decode() if kind == "TEXT" else body
        return values, data


class Ended(Exception):
    """The program closed the channel."""


class Frame:
    def __init__(self, name, request_id, is_answer, values):
        self.name = name
        self.request_id = request_id
        self.is_answer = is_answer
        self.values = values


class Channel:
    """One end of a channel; `role` is who the test plays, None for one that
    does not greet."""

    def __init__(self, tables, sock, role):
        self.tables = tables
        self.sock = sock
        self._in = b""
        self._next_id = 1
        self._answers = {}
        # Both greet first; the other end's hash of the table is ours.
        hello = self._read()
        if hello.name != "HELLO":
            raise ValueError(f"{hello.name} before HELLO")
        self.peer = hello.values
        if role is not None:
            self.greet(role)

    def greet(self, role, **changes):
        self.send("HELLO", **{**self.peer, "role": role, **changes})

    def send_raw(self, data, fds=()):
        """The descriptors go with the first octets."""
        if fds:
            sent = self.sock.sendmsg(
                [data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                          array.array("i", fds))])
            data = data[sent:]
        self.sock.sendall(data)

    def frame(self, name, /, _id=0, _flags=0, **values):
        payload = self.tables.encode(self.tables.messages[name], values)
        return struct.pack(HEADER, len(payload), self.tables.types[name],
                           _flags | self.tables.rows[name].fds,
                           _id) + payload

    def send(self, name, /, **values):
        self.send_raw(self.frame(name, **values))

    def answer(self, request, name, /, **values):
        self.send_raw(self.frame(name, _id=request.request_id, _flags=ANSWER,
                                 **values))

    def post(self, name, /, **values):
        """Asks; the number by which take() finds the answer."""
        [number] = self.post_all((name, values))
        return number

    def post_all(self, *questions):
        """The same of several (name, values), which come in one piece: none
        is answered before the last is there."""
        first, self._next_id = self._next_id, self._next_id + len(questions)
        self.send_raw(b"".join(
            self.frame(name, _id=first + i, **values)
            for i, (name, values) in enumerate(questions)))
        return range(first, self._next_id)

    def take(self, number, timeout=tap.PATIENCE_S):
        """The values of the answer with that number."""
        deadline = time.monotonic() + timeout
        while number not in self._answers:
            frame = self._read(deadline - time.monotonic())
            if frame.is_answer:
                self._answers[frame.request_id] = frame.values
        return self._answers.pop(number)

    def ask(self, name, /, **values):
        return self.take(self.post(name, **values))

    def read(self, timeout=tap.PATIENCE_S):
        """The next frame; Ended when there will be none."""
        return self._read(timeout)

    def _read(self, timeout=tap.PATIENCE_S):
        deadline = time.monotonic() + timeout
        while True:
            if len(self._in) >= 16:
                size, kind, flags, number = struct.unpack(
                    HEADER, self._in[:16])
                if len(self._in) >= 16 + size:
                    payload = self._in[16:16 + size]
                    self._in = self._in[16 + size:]
                    name = self.tables.names[kind]
                    return Frame(name, number, bool(flags & ANSWER),
                                 self.tables.decode(
                                     self.tables.messages[name], payload))
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise TimeoutError(f"no frame in {timeout} s")
            try:
                got = self._receive()
            except (ConnectionResetError, BrokenPipeError):
                got = b""
            if not got:
                raise Ended()
            self._in += got

    def _receive(self):
        data, ancillary, _, _ = self.sock.recvmsg(
            1 << 20, socket.CMSG_SPACE(4 * 4))
        for level, kind, octets in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                for fd in array.array("i", octets[:len(octets) // 4 * 4]):
                    os.close(fd)
        return data

    def close(self):
        self.sock.close()


class Program:
    """postern-<name> with its sockets, until tap.done()."""

    def __init__(self, name, settings=None, peers=(), wrapper=()):
        self.name = name
        self.path = os.path.join(BUILD, f"postern-{name}")
        if not os.access(self.path, os.X_OK):
            tap.skip_all(f"POSTERN_BUILD has no postern-{name}")
        self.tables = Tables()
        self.folder = temporary_folder()
        self.root = os.path.join(self.folder, "root")
        self.run = self.root + _build_path("RUNSTATEDIR") + "/postern"
        state = f"{self.root}{_build_path('LOCALSTATEDIR')}/lib/postern/{name}"
        os.makedirs(self.run)
        os.makedirs(state)
        self.log_path = os.path.join(self.folder, "program.log")
        self.values = dict(settings or {})
        self.revision = 0
        self.alerts = {}
        self.confd = None
        tap.at_done(lambda failed: self._at_done(failed))
        # confd has its settings from its own store.
        if name != "confd":
            peers = (*peers, "confd")
        self._servers = {peer: self._listen(f"{peer}-from-{name}")
                         for peer in peers}
        self._start(wrapper)
        if "confd" in peers:
            self.reconnect_confd()

    def reconnect_confd(self):
        """Takes confd's channel anew and sends the settings."""
        if self.confd is not None:
            self.confd.close()
        self.confd = self.accept("confd")
        self.configure()

    def _listen(self, name, kind=socket.SOCK_STREAM):
        s = socket.socket(socket.AF_UNIX, kind)
        s.bind(os.path.join(self.run, name + ".sock"))
        if kind == socket.SOCK_STREAM:
            s.listen(64)
        return s

    def accept(self, server, greets=True):
        """The program's next channel to a server that the test plays."""
        sock = self._accept(self._servers[server])
        return Channel(self.tables, sock, server if greets else None)

    def _accept(self, listener):
        listener.settimeout(tap.PATIENCE_S)
        while not select.select([listener], [], [], 0.2)[0]:
            if self.process.poll() is not None:
                raise RuntimeError("it does not start: " + self.log())
        return listener.accept()[0]

    def _start(self, wrapper):
        names = [f"{server}-from-{peer}" for server, peer in channel_rows()
                 if server == self.name]
        sockets = [self._listen(name) for name in names]
        if self.name == "loghub":
            events = [f"events-from-{role}" for role in daemons()]
            sockets += [self._listen(name, socket.SOCK_DGRAM)
                        for name in events]
            names += events
        # The descriptors from 3 on are the sockets, in this order.
        spare = [os.dup2(s.fileno(), 100 + i, inheritable=True)
                 for i, s in enumerate(sockets)]

        def become():
            die_with_parent()
            for i, fd in enumerate(spare):
                os.dup2(fd, 3 + i, inheritable=True)
                os.close(fd)

        env = dict(os.environ, LISTEN_FDS=str(len(sockets)),
                   LISTEN_FDNAMES=":".join(names))
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, self.path, "--root", self.root],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                pass_fds=[3 + i for i in range(len(sockets))] + spare,
                preexec_fn=become)
        for fd in spare:
            os.close(fd)
        for s in sockets:
            s.close()

    def configure(self, **changes):
        """Sends a snapshot with these changes; what CONF_APPLIED said."""
        self.values.update(
            {name.replace("__", "."): value
             for name, value in changes.items()})
        self.revision += 1
        rows = []
        for name, value in self.values.items():
            index, kind = self.tables.settings[name]
            is_text = isinstance(value, str)
            rows.append({"index": index, "text": value if is_text else "",
                         "number": 0 if is_text else int(value)})
        return self._confd_ask("CONF_SNAPSHOT", revision=self.revision,
                               settings=rows)["error"]

    def status(self):
        """Facts and counters in one dict."""
        got = self._confd_ask("STATUS_ASK")
        return {row["name"]: row["value"]
                for row in got["facts"] + got["counters"]}

    def _confd_ask(self, name, /, **values):
        number = self.confd.post(name, **values)
        while True:
            frame = self.confd.read()
            if frame.is_answer and frame.request_id == number:
                return frame.values
            self._note(frame)

    def _note(self, frame):
        if frame.name == "ALERT_RAISE":
            key = frame.values["alert"], frame.values["subject"]
            self.alerts[key] = frame.values["text"]
        elif frame.name == "ALERT_CLEAR":
            self.alerts.pop(
                (frame.values["alert"], frame.values["subject"]), None)

    def socket_path(self, role):
        return os.path.join(self.run, f"{self.name}-from-{role}.sock")

    def connect(self, role, greets=True):
        """A channel to it, as that role."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(tap.PATIENCE_S)
        s.connect(self.socket_path(role))
        return Channel(self.tables, s, role if greets else None)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def _at_done(self, failed):
        code = self.process.poll()
        if code is not None:
            tap.fail(f"{self.name} ran until the end of the test: {code}")
        else:
            self.process.terminate()
            try:
                code = self.process.wait(tap.PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                code = self.process.wait()
            tap.equal(code, 0, f"{self.name} stops cleanly")
        alarms = [line for line in self.log().split("\n")
                  if ALARMS.search(line)]
        tap.equal(alarms, [], f"{self.name} raised no alarm")
        if failed or alarms or code != 0:
            tap.diag(self.log()[-4000:])
