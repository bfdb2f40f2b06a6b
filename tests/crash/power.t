#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""Power cuts.  What queued writes and syncs is recorded while mail flows; of
each recording many states are built that the disk may be in after a power cut
(the model stands in crashlib/power.py).  Each must open as it is, be sound by
SQLite's own check, and hold every mail whole that was acknowledged before and
whose delivery queued had not heard of.  At the end of each recording the model
is compared with the disk: nothing was written past the recorder."""

import collections
import os
import random
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import (LONG, SEED, bench, count,  # noqa: E402
                      die_with_parent, open_scene, power, shim, tap,
                      temporary_folder, tool)

STATES = 200 if LONG else 40   # of each recording
BIRTHS = 50 if LONG else 40    # of those of which there are many
SMALL, BLOB, FILE = 2000, 60000, 200000
ROOM = 512 << 20  # more than any state has
HANGS = ("--hang",)  # the sink: nothing is delivered

checker = subprocess.Popen(
    [tool("check_queue")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    text=True, preexec_fn=die_with_parent)


def find_states_folder():
    """In memory where there is room: no state is written for good."""
    if os.access("/dev/shm", os.W_OK):
        memory = os.statvfs("/dev/shm")
        if memory.f_bavail * memory.f_frsize >= ROOM:
            return "/dev/shm"
    return temporary_folder("postern-states-")


states_folder = find_states_folder()


class Recording:
    """A gateway whose queued is recorded from its first start on."""

    def __init__(self, name, sink_words=(), lives=0, returns=True):
        self.name = name
        self.hangs = sink_words == HANGS or not returns
        self.returns = returns
        self.states = BIRTHS if lives else STATES
        self.sink = bench.Sink(*sink_words)
        environment, control = shim("record")
        folder = temporary_folder("postern-record-")
        self.path = os.path.join(folder, "recording")
        with open(self.path, "wb"):
            os.chmod(self.path, 0o666)
        self.scene = open_scene(self.sink.port, start=False,
                                environment=environment)
        self.gw = self.scene.gw
        if not returns:
            # Where notifications would go.
            self.hole = bench.Sink(*HANGS)
            self.gw.cli("route", "add", "any.test",
                        f"smtp://127.0.0.1:{self.hole.port}")
        self.state = os.path.join(self.gw.root, "var/lib/postern/queued")
        environment["POSTERN_RECORD"] = self.path
        environment["POSTERN_RECORD_FOLDER"] = self.state
        self.control = open(control, "r+b", buffering=0)
        self.base = power.Disk()
        # What "postern init" left: it is to be there from the first start on.
        if os.path.isdir(self.state):
            for name in os.listdir(self.state):
                if not name.startswith("settings."):
                    path = os.path.join(self.state, name)
                    power.drop(path)
                    if os.path.isfile(path):
                        os.unlink(path)
        self.die_after(lives)
        self.scene.start()

    def die_after(self, records):
        """queued dies by itself after so many records; 0: it does not."""
        self.control.seek(0)
        self.control.write(struct.pack("<q", records))

    def freeze(self):
        """queued does nothing more, and all that it did is recorded."""
        self.control.seek(8)
        self.control.write(struct.pack("<q", 1))

        def is_in_step():
            self.control.seek(16)
            return struct.unpack("<q", self.control.read(8))[0] != 0
        tap.wait_until(lambda: not is_in_step(), what="the end of its step")

    def load(self, messages, body, *words):
        """All of them, to the end."""
        load = self.begin(messages, body, *words)
        load.wait(240)

    def begin(self, messages, body, *words):
        return bench.Load(self.scene.ports["smtp"], "--messages", messages,
                          "--connections", 20, "--per-connection", 5,
                          "--body", body, "--keep-going", "--timeout", 60,
                          "--from", "app%d@any.test", "--to",
                          "r%d@dest.test", *words)

    def accepted(self):
        """How often queued has said 250."""
        with open(self.path, "rb") as f:
            return f.read().count(b"Queued as ")

    def kill_under(self, messages, body):
        """queued alone dies while mail flows; it is recorded on when it is
        back.  By itself, so that no step is done and not recorded."""
        target = self.accepted() + 5
        before = self.gw.pids("queued")
        load = self.begin(messages, body, "--rate", 50)
        tap.wait_until(lambda: self.accepted() >= target, what="some mail")
        self.die_after(random.randrange(1, 50))
        tap.wait_until(lambda: set(self.gw.pids("queued")) - set(before),
                       what="another queued")
        load.wait(240)

    def end(self):
        if self.hangs:
            # Asked twice it ends at once, and waits for no destination: what
            # is under way then, such as removing files, is broken off.
            self.freeze()
            self.gw.process.terminate()
        self.gw.stop()
        self.sink.stop()
        return power.read(self.path)


def points(records, rng, count):
    """Where to cut: half of them right after a 250, a quarter while the
    database file itself is written, the others anywhere."""
    after_ok = [i + 1 for i, r in enumerate(records)
                if r.kind == power.SAID and b"Queued as " in r.data]
    inode, in_file, changes = None, [], []
    for i, r in enumerate(records):
        if r.kind == power.OPEN and r.data == b"queue.db":
            inode = r.inode
        if r.kind in (power.SAID, power.HEARD):
            continue
        changes.append(i + 1)
        if r.kind == power.WRITE and r.inode == inode:
            in_file.append(i + 1)
    chosen = []
    for pool, share in ((after_ok, 2), (in_file, 1), (changes, 1)):
        if pool:
            chosen += [rng.choice(pool) for _ in range(count * share // 4)]
    while len(chosen) < count:
        chosen.append(rng.choice(changes))
    return sorted(chosen)


def ask(path):
    """What check_queue says: ({queue id: verdict}, the queue ids of which
    there are notifications, what is wrong or None)."""
    checker.stdin.write(path + "\n")
    checker.stdin.flush()
    found, told = {}, set()
    while True:
        line = checker.stdout.readline()
        if not line:
            raise RuntimeError("check_queue is gone")
        words = line.rstrip("\n").split(" ")
        if words[0] == "ok":
            return found, told, None
        if words[0] == "bad":
            return found, told, line.rstrip("\n")
        found[words[0]] = words[2]
        if words[2] == "bounce":
            told.add(words[1])


def look(disk, duties, rng, position, returns):
    """One state.  What is wrong with it, or None.  Where no notification
    returns nothing has left: each mail that was ever acknowledged is there, or
    the notification that it failed is."""
    path = os.path.join(states_folder, f"postern-state-{os.getpid()}")
    power.drop(path)
    try:
        disk.crash(path, rng)
        found, told, wrong = ask(path)
        torn = [w for w, verdict in found.items() if verdict == "torn"]
        gone = [w for w in duties.owed if w not in found]
        if not returns:
            gone = sorted(duties.ever - set(found) - told)
        if wrong is None and torn:
            wrong = f"torn: {torn[:3]}"
        if wrong is None and gone:
            wrong = f"lost: {len(gone)} of {len(duties.owed)}: {gone[:3]}"
        if wrong is not None:
            keep = temporary_folder("postern-bad-state-")
            subprocess.run(["cp", "-r", path, keep], check=False)
            wrong = f"at record {position}: {wrong} ({keep})"
        return wrong
    finally:
        power.drop(path)


def kinds_of_writes(records):
    """How many writes went to the log, to spool files, and to the database
    after the first 250: a checkpoint."""
    found = collections.Counter()
    names, is_young = {}, True
    for r in records:
        if r.kind == power.OPEN:
            names[r.inode] = r.data.decode()
        elif r.kind == power.SAID and b"Queued as " in r.data:
            is_young = False
        elif r.kind == power.WRITE:
            name = names[r.inode]
            if name == "queue.db":
                found["checkpoint"] += not is_young
            elif name == "queue.db-wal":
                found["log"] += 1
            elif name.startswith("spool/"):
                found["spool"] += 1
    return found


def replay(recording, records):
    """Builds the states, and looks at each."""
    rng = random.Random(f"{SEED} {recording.name}")
    disk, duties = recording.base, power.Duties()
    cuts = points(records, rng, recording.states)
    wrong, open_changes, owed = [], 0, 0
    at = 0
    began = time.monotonic()
    for position in cuts:
        while at < position:
            disk.do(records[at])
            duties.do(records[at])
            at += 1
        open_changes += disk.pending()
        owed += len(duties.owed if recording.returns else duties.ever)
        problem = look(disk, duties, rng, position, recording.returns)
        if problem:
            wrong.append(problem)
    for record_ in records[at:]:
        disk.do(record_)
    writes = kinds_of_writes(records)
    tap.diag(f"{recording.name}: {len(records)} records, {len(cuts)} states "
             f"in {time.monotonic() - began:.0f} s; on average "
             f"{open_changes / len(cuts):.0f} changes not sure, "
             f"{owed / len(cuts):.1f} mails owed; writes "
             + ", ".join(f"{k} {n}" for k, n in sorted(writes.items())))
    for problem in wrong[:5]:
        tap.diag(problem)
    tap.equal(len(wrong), 0, f"{recording.name}: all is there in each of "
              f"{len(cuts)} states")
    tap.ok(power.SYNC_END in {r.kind for r in records} and owed > 0,
           f"{recording.name}: mails were acknowledged and synced")
    tap.equal(disk.differs_from(recording.state, PASSING), [],
              f"{recording.name}: the disk is as it was recorded")
    for kind in writes:
        of_kind[kind] += writes[kind] > 0
    return len(cuts)


# Each records one course of events; short runs take some of them.

def small_waiting(r):
    """Nothing goes out: all that was acknowledged is owed."""
    r.load(150, SMALL)


def small_flowing(r):
    r.load(300, SMALL)
    r.gw.wait_for_queue(0)


def files(r):
    """Bodies in the spool, with kills between."""
    for _ in range(3):
        r.kill_under(25, FILE)
    r.gw.wait_for_queue(0)


def files_waiting(r):
    r.load(40, FILE)


def checkpoints(r):
    """More than one log full: SQLite writes it back into the file."""
    r.load(450, BLOB)
    r.gw.wait_for_queue(0)
    r.load(20, SMALL)


def checkpoints_waiting(r):
    r.load(450, BLOB)


def restarts(r):
    """A clean stop empties the log; the next start makes a new one."""
    for _ in range(3):
        r.load(40, SMALL)
        r.gw.restart()
        r.scene.find_ports()


def is_taking(r):
    r.load(1, SMALL)
    return r.accepted() > 0


def killed_start(r):
    """queued died in its very first start: see births().  Until it is back,
    mail is put off."""
    tap.wait_until(lambda: is_taking(r), what="mail to be taken")
    r.load(20, SMALL)
    r.load(30, FILE)


def births(records):
    """Moments of the first start: right after a name was made, and where a
    sync begins and ends; of the spool's folders the first and the last."""
    found = []
    for i, r in enumerate(records):
        if r.kind == power.SAID and b"Queued as " in r.data:
            break
        if (r.kind == power.MKDIR or r.kind == power.OPEN and r.aux or
                r.kind in (power.SYNC_BEGIN, power.SYNC_END)):
            if (r.kind == power.MKDIR and r.data.startswith(b"spool/")
                    and len(found) > 1 and found[-1][1] == found[-2][1]
                    == power.MKDIR):
                found.pop()
            found.append((i + 1, r.kind))
    if not LONG:
        made = [f for f in found if f[1] in (power.MKDIR, power.OPEN)]
        # The log's file, the spool, the last of its folders.
        found = [made[0], made[-3], made[-1]]
    return [at for at, _ in found]


def deferred(r):
    """Half of the mails are put off first."""
    r.load(150, SMALL)
    r.gw.wait_for_queue(0)
    r.load(10, FILE)


def given_up(r):
    """Recipients refused for good: rows go, notifications come."""
    r.load(100, SMALL)


def told(r):
    """The same, and no notification can leave: each is owed."""
    r.load(100, SMALL)
    r.load(10, FILE)
    tap.wait_until(lambda: r.gw.program("queued")["failed_total"] >= 110,
                   what="all to fail")


def by_hand(r):
    """An administrator holds, releases and deletes."""
    r.load(80, SMALL)
    r.gw.run_cli("queue", "hold", "--match", "domain=dest.test")
    r.load(20, SMALL)
    r.gw.run_cli("queue", "release", "--match", "domain=dest.test")
    r.load(20, SMALL)


def mixed(r):
    for body in (SMALL, FILE, BLOB):
        r.kill_under(60, body)


REFUSES = ("--reject-rcpt", "r*@dest.test")
COURSES = [
    (mixed, ("--delay-dot", "300"), True),
    (checkpoints, (), True),
    (told, REFUSES, True),
    (small_waiting, HANGS, False),
    (small_flowing, (), False),
    (files, (), False),
    (files_waiting, HANGS, False),
    (checkpoints_waiting, HANGS, False),
    (restarts, HANGS, False),
    (deferred, ("--tempfail", "50"), False),
    (given_up, REFUSES, False),
    (by_hand, HANGS, False),
]

# No part of what has to survive: the recorder leaves it out.
PASSING = ("-shm", ".lock", "settings.snapshot")
made = states = 0
of_kind = collections.Counter()
first_records = []


def record(course, words, name, lives=0):
    """One recording, and its states."""
    global made, states  # pylint: disable=global-statement
    with tap.group(name):
        recording = Recording(name, words, lives, returns=course is not told)
        course(recording)
        records = recording.end()
        if not first_records:
            first_records.extend(records)
        states += replay(recording, records)
        made += 1


for course, words, is_short in COURSES:
    if LONG or is_short:
        record(course, words, course.__name__)
for lives in births(first_records):
    record(killed_start, HANGS, f"killed_start {lives}", lives)

with tap.group("all of them"):
    for kind in ("spool", "log", "checkpoint"):
        tap.ok(of_kind[kind] > 0,
               f"{of_kind[kind]} recordings have writes: {kind}")
    count(made, "recordings: spool in " + ", ".join(
        f"{of_kind[kind]}, {word}" for kind, word in (
            ("spool", "log in"), ("log", "checkpoints in")))
        + f" {of_kind['checkpoint']}", 10)
    count(states, "states after a power cut, each with all its mail", 2000)
tap.done()
