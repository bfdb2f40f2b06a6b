#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""queue.db from a newer version, no database, cut, empty, gone, full of wrong
octets, or locked: a refusal that names the file and what to do, or mail that
arrives whole; never a crash, never a wrong mail, never a bounce.  What can be
read is rescued by postern-queued --salvage, also when that is killed."""

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from crashlib import (BUILD, LONG, count, die_with_parent,  # noqa: E402
                      open_scene, scene, sink, smtp, striker, tap)

SMALL, FILES = 500, 6
DAMAGES = 100 if LONG else 6
SALVAGES = 20 if LONG else 3  # that are killed
PAGE = 8192
BITS = 40 if LONG else 20  # octets that are altered
FATAL = re.compile(r"fatal: .*(queue\.db|--salvage)")

world = sink.Sink(name="mx.dest.test")
s = open_scene(world.port, **{"queue.retry": "1s"})
gw = s.gw
state = os.path.join(gw.root, "var/lib/postern/queued")
path = os.path.join(state, "queue.db")
good = state + ".good"
sent = {}
# What a start says of a store that cannot be used, and a writer that meets
# damage; each names the file.
gw.expect_alarm(r"fatal: .*queue\.db")


def fill():
    """Mails that wait, one program version ago so to say."""
    world.on("RCPT", "451 4.2.1 later")
    c = smtp.Client(s.ports["smtp"])
    c.ehlo()
    for i in range(SMALL + FILES):
        size = 300 if i < SMALL else 1500
        text = scene.mail(sender="app@any.test", subject=f"{i}",
                          body="\r\n".join(
                              [f"{i} " + "0123456789" * 6] * size
                              if i >= SMALL else [f"{i} " * 20] * 40))
        sent[f"{i}"] = text
        reply = c.submit("app@any.test", "r@dest.test", text)
        if reply.code != 250:
            raise RuntimeError(repr(reply))
    c.quit()


def restore():
    """Owners stay as they are."""
    shutil.rmtree(state)
    subprocess.run(["cp", "-a", good, state], check=True)


def mail_of(messages):
    """({subject}, what is wrong) of what came."""
    names, wrong = set(), []
    for message in messages:
        name = message.field("Subject")
        if message.sender == "":
            wrong.append(f"a bounce: {message.content[:300]!r}")
        elif name not in sent or not message.content.endswith(sent[name]):
            wrong.append(f"altered: {name}")
        names.add(name)
    return names, wrong


class Start:
    """A try to start: until it runs, or a program says why it cannot.
    words: what the programs said; runs: it did."""

    def __init__(self):
        self.before = len(gw.log())
        self.runs = False
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,))
        watch.start()
        try:
            gw.start()
            self.runs = True
        except (TimeoutError, RuntimeError):
            gw.process.terminate()
        finally:
            over.set()
            watch.join()

    def _watch(self, over):
        while not over.wait(0.05):
            if FATAL.search(self.words):
                gw.process.terminate()  # asked twice, it ends at once

    def settle(self):
        """Until all is delivered that can be, or it died of the damage."""
        seen = []

        def look():
            if FATAL.search(self.words):
                return True
            [row] = [p for p in gw.status()["programs"]
                     if p["program"] == "queued"]
            counters = row.get("counters", {})
            seen.append((len(world.messages), counters.get("waiting"),
                         counters.get("active")))
            # Longer than queued takes to look for more.
            return counters.get("messages") == 0 or (
                seen[-1][1:] == (0, 0) and len(seen) > 5
                and len(set(seen[-6:])) == 1)

        tap.wait_until(look, what="an end of deliveries", step=0.3)

    @property
    def words(self):
        return gw.log()[self.before:]

    def died(self):
        """Signals that ended a program."""
        return re.findall(  # but SIGKILL, by an end that was asked twice
            r"postern-queued was killed by signal (?!9\b)\d+", self.words)


def refused(label, *parts):
    """A start is refused, in words that name the file and these."""
    before = snapshot()
    start = Start()
    gw.stop()
    said = [line for line in start.words.split("\n") if "fatal: " in line]
    tap.ok(not start.runs, f"{label}: refused")
    for part in (path, *parts):
        tap.ok(said and part in said[0], f"{label}: says {part}")
    if said:
        tap.diag(said[0][-300:])
    tap.equal(start.died(), [], f"{label}: no crash")
    tap.equal(snapshot(), before, f"{label}: nothing is touched")


def snapshot():
    """The store's files and their octets, but for shared memory."""
    found = {}
    for folder, _, names in os.walk(state):
        for name in names:
            if name.startswith("queue.db") and not name.endswith("-shm") \
                    or "spool" in folder:
                file = os.path.join(folder, name)
                with open(file, "rb") as f:
                    content = f.read()
                # A log of no octets says nothing.
                if content or not name.endswith("-wal"):
                    found[os.path.relpath(file, state)] = hash(content)
    return found


def salvage(code=None):
    """postern-queued --salvage; what it prints."""
    got = subprocess.run(
        [os.path.join(BUILD, "postern-queued"), "--root", gw.root,
         "--salvage"], capture_output=True, text=True, check=False)
    if code is None:
        code = 0 if " 0 are lost, 0 files" in got.stdout else 7
    tap.equal(got.returncode, code, f"the exit code is {code}")
    for line in (got.stdout + got.stderr).strip().split("\n")[-4:]:
        tap.diag(line)
    return got.stdout + got.stderr


class Salvage:
    """One that strike can hold from its first call on: the shell waits for
    a line, and becomes it."""

    def __init__(self):
        program = os.path.join(BUILD, "postern-queued")
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r line; exec "$0" "$@"', program,
             "--root", gw.root, "--salvage"], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def strike(self, number=0):
        """Killed before its Nth call; the striker."""
        with striker.Striker(self.process.pid, number) as strike:
            strike.go()
            self.process.stdin.write(b"go\n")
            self.process.stdin.close()
            strike.await_end()
        self.process.wait()
        return strike


def deliver():
    """Lets all that is queued arrive: its subjects, what is wrong."""
    world.as_usual()
    world.messages.clear()
    gw.start()
    s.find_ports()
    gw.wait_for_queue(0)
    return mail_of(world.messages)


def write_at(offset, octets):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(octets)


with tap.group("before"):
    fill()
    gw.process.terminate()
    gw.stop()
    # Into the file, as a clean end without anything under way leaves it.
    subprocess.run(["sqlite3", path, "PRAGMA wal_checkpoint(TRUNCATE)"],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cp", "-a", state, good], check=True)
    pages = os.path.getsize(path) // PAGE
    tap.ok(pages > 30, f"queue.db has {pages} pages")

with tap.group("refusals"):
    write_at(60, b"\x7f\0\0\0")
    refused("newer", "newer version")
    restore()
    write_at(0, b"this is no database at all")
    refused("no database", "SALVAGE")
    restore()
    write_at(PAGE // 2, b"\xff" * (PAGE // 2))
    write_at(100, b"\xff" * 60)
    refused("a broken first page", "SALVAGE")
    restore()
    with open(path, "r+b") as f:
        f.truncate(0)
    refused("empty", "--salvage", "backup")
    restore()
    os.unlink(path)
    refused("gone", "--salvage", "backup")
    restore()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        start = Start()
        gw.stop()
        tap.ok(not start.runs, "locked: refused")
        tap.ok(re.search(r"fatal: .*queue\.db: another program has locked it",
                         start.words), "locked: says so")
        other.rollback()
    other.close()

with tap.group("locked while it runs"):
    restore()
    world.on("RCPT", "451 4.2.1 later")
    gw.start()
    s.find_ports()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    c = smtp.Client(s.ports["smtp"])
    c.ehlo()
    began = time.monotonic()
    text = scene.mail(sender="app@any.test", subject="locked")
    sent["locked"] = text
    reply = c.submit("app@any.test", "r@dest.test", text)
    tap.ok(400 <= reply.code < 500,
           f"a client gets {reply.code} after {time.monotonic() - began:.0f} s")
    c.close()
    other.execute("ROLLBACK")
    other.close()
    tap.wait_until(lambda: gw.run_cli("queue", "summary").returncode == 0,
                   what="queued")
    gw.stop()
    names, wrong = deliver()
    gw.stop()
    tap.ok(set(sent) - {"locked"} <= names, "all arrives afterwards")
    tap.equal(wrong, [], "whole")

with tap.group("damage anywhere"):
    outcomes = {"refused": 0, "ran": 0}
    crashes, bad, unsaid = [], [], []
    arrived = 0
    for number in range(DAMAGES):
        restore()
        world.as_usual()
        world.messages.clear()
        way = ("bits", "page", "cut", "swap")[number % 4]
        # The first page is looked at above.
        at = random.randrange(1, pages) * PAGE
        if way == "bits":
            for _ in range(BITS):
                write_at(random.randrange(PAGE, pages * PAGE),
                         bytes([random.randrange(256)]))
        elif way == "page":
            write_at(at, bytes(PAGE))
        elif way == "cut":
            with open(path, "r+b") as f:
                f.truncate(at)
        else:
            with open(path, "rb") as f:
                f.seek(random.randrange(1, pages) * PAGE)
                page = f.read(PAGE)
            write_at(at, page)
        start = Start()
        if start.runs:
            start.settle()
        gw.process.terminate()
        gw.stop()
        names, wrong = mail_of(world.messages)
        arrived += len(names)
        outcomes["ran" if start.runs else "refused"] += 1
        # Octets within a mail or its addresses are not ours to judge: there
        # is nothing to compare them with.
        if way != "bits" or len(set(wrong)) > BITS:
            bad += [f"{way} at {at}: {w}" for w in wrong]
        crashes += start.died()
        if not start.runs and "queue.db" not in start.words:
            unsaid.append(start.words)
    tap.diag(f"{DAMAGES} damages: {outcomes}, {arrived} mails arrived")
    count(sum(outcomes.values()), f"damages of queue.db: {outcomes['refused']} "
          f"refused, {outcomes['ran']} met while it ran", 100)
    tap.equal(crashes, [], "no crash")
    tap.equal(bad[:3], [], "no wrong mail, no bounce")
    tap.equal(unsaid, [], "each refusal names the file")

with tap.group("salvage"):
    with sqlite3.connect(path) as db:
        roots = {row[0] for row in db.execute(
            "SELECT rootpage FROM sqlite_schema")}
    db.close()
    for label, hurt in (("no page", 0), ("a page", 1), ("ten pages", 10)):
        restore()
        # Without the root of a table nothing of it is found.
        for at in random.sample(sorted(set(range(2, pages)) - roots), hurt):
            write_at((at - 1) * PAGE, bytes(PAGE))
        said = salvage()
        rescued, lost = map(int, re.search(
            r"(\d+) messages are rescued, (\d+) are lost", said).groups())
        names, wrong = deliver()
        gw.stop()
        tap.equal(wrong, [], f"{label}: all that arrives is whole")
        tap.equal(len(names), rescued, f"{label}: {rescued} were rescued")
        tap.ok(rescued >= (SMALL + FILES) * (10 - hurt) // 10 * 4 // 5
               if hurt else rescued == SMALL + FILES,
               f"{label}: {rescued} of {SMALL + FILES}, {lost} are named as "
               "lost")

def killed_salvage(number, calls):
    """Killed before that call; whether it was in the midst of its work."""
    label = f"killed at call {number} of {calls}"
    restore()
    Salvage().strike(number)
    is_unfinished = os.path.exists(os.path.join(state, "salvage-unfinished"))
    if is_unfinished:
        start = Start()
        gw.stop()
        tap.ok(not start.runs and "--salvage" in start.words,
               f"{label}: refused, and said what to do")
    salvage()
    names, wrong = deliver()
    gw.stop()
    tap.equal((len(names), wrong), (SMALL + FILES, []),
              f"{label}: another one rescues all")
    return is_unfinished


with tap.group("a salvage that is killed"):
    if os.geteuid() != 0:
        tap.skip("a salvage that is killed", "tracing needs root")
    else:
        restore()
        calls = Salvage().strike().count
        killed = unfinished = 0
        # Some more where chance has them all at its start or its end.
        while killed < SALVAGES or not unfinished and killed < 5 * SALVAGES:
            killed += 1
            unfinished += killed_salvage(random.randrange(1, calls), calls)
        tap.ok(unfinished > 0, f"{unfinished} were in the midst of it")
        count(killed, "salvages killed, and begun anew", 20)

with tap.group("salvage of nothing"):
    restore()
    os.unlink(path)
    said = salvage(7)
    tap.contains(said, f"{FILES} files", "without queue.db files are kept")
    kept = [n for _, _, names in os.walk(os.path.join(state, "spool"))
            for n in names]
    tap.equal(len([n for n in kept if n.endswith(".lost")]), FILES,
              "under another name")
    names, wrong = deliver()
    tap.equal(names, set(), "and nothing is sent")
    got = subprocess.run(
        [os.path.join(BUILD, "postern-queued"), "--root", gw.root,
         "--salvage"], capture_output=True, text=True, check=False)
    tap.equal(got.returncode, 1, "beside a running queued: refused")
    tap.contains(got.stderr, "in use", "it says why")

tap.done()
