# SPDX-License-Identifier: ISC
"""The load generator and the sink of tests/bench, as children of a test."""

import json
import os
import select
import signal
import subprocess

from . import tap
from .gateway import BUILD, SOURCE, die_with_parent, temporary_folder

FOLDER = os.path.join(BUILD, "tests", "bench")
FIELDS = ("id", "outcome", "code", "stage", "start", "end", "dot", "whole",
          "queue_id", "recipients")


class _Program:
    def __init__(self, name, *words):
        path = os.path.join(FOLDER, name)
        if not os.access(path, os.X_OK):
            tap.skip_all(f"POSTERN_BUILD has no {name}; \"make bench\"")
        self.folder = temporary_folder(f"postern-{name}-")
        self.record = os.path.join(self.folder, "record")
        with open(os.path.join(self.folder, "errors"), "wb") as errors:
            self.process = subprocess.Popen(
                [path, *map(str, words)], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=errors,
                preexec_fn=die_with_parent)
        tap.at_done(lambda failed: self.stop())

    def _first_line(self, seconds=tap.PATIENCE_S):
        fd = self.process.stdout.fileno()
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([fd], [], [], seconds)[0]:
                raise TimeoutError(f"no word in {seconds} s")
            got = os.read(fd, 1)
            if not got:
                raise RuntimeError("it ended: " + self.errors())
            line += got
        return line.decode()

    def errors(self):
        with open(os.path.join(self.folder, "errors"), encoding="utf-8",
                  errors="replace") as f:
            return f.read()

    def stop(self, seconds=tap.PATIENCE_S):
        """SIGTERM; the summary that it prints, or {}."""
        if self.process is None:
            return {}
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            text = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return {}
        return _json(text)


def _json(text):
    at = text.find(b"{")
    return json.loads(text[at:]) if at >= 0 else {}


class Sink(_Program):
    def __init__(self, *words, port=0):
        folder = temporary_folder("postern-sink-")
        record = os.path.join(folder, "sink")
        super().__init__("sink", "--record", record, *words,
                         f"127.0.0.1:{port}")
        self.record = record
        self.port = int(self._first_line().split()[1])


class Load(_Program):
    def __init__(self, port, *words):
        folder = temporary_folder("postern-load-")
        record = os.path.join(folder, "load")
        super().__init__("load", "--record", record, *words,
                         f"127.0.0.1:{port}")
        self.record = record

    def wait(self, seconds):
        process, self.process = self.process, None
        text = process.communicate(timeout=seconds)[0]
        return _json(text)

    def hold(self, seconds=tap.PATIENCE_S):
        """With --hold: how many connections it holds."""
        return int(self._first_line(seconds).split()[1])


def rows(path):
    """The rows of a load's record, as dicts."""
    with open(path, encoding="utf-8") as f:
        for line in f:
            row = line.rstrip("\n").split("\t")
            if len(row) == len(FIELDS):
                yield dict(zip(FIELDS, row))


def reconcile(load, sink, *words):
    """What reconcile says of two records."""
    got = subprocess.run(
        [os.path.join(SOURCE, "tests/bench/reconcile"), "--load", load,
         "--sink", sink, "--json", *words], capture_output=True, text=True,
        check=False)
    if got.returncode not in (0, 1):
        raise RuntimeError(got.stderr)
    return json.loads(got.stdout)
