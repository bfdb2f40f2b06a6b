# SPDX-License-Identifier: ISC
"""The driver tests/crash/strike: a process dies before its Nth system call."""

import os
import select
import subprocess

from . import die_with_parent, tap, tool


class Striker:
    """with Striker(pid, n) as s: ... s.go() ... ; then s.count, s.killed_at
    (the name of the call, or None when it did not come that far)."""

    def __init__(self, pid, number=0):
        words = [tool("strike"), str(pid)] + ([str(number)] if number else [])
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        self.count, self.killed_at, self.is_gone = 0, None, False
        self.last = None

    def __enter__(self):
        line = self._line()
        if line != "ready":
            raise RuntimeError("strike: " + (self.process.stderr.read()
                                             or line))
        return self

    def _line(self):
        if not select.select([self.process.stdout], [], [],
                             tap.PATIENCE_S)[0]:
            raise TimeoutError("strike said nothing")
        return self.process.stdout.readline().strip()

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def await_end(self):
        """Until the process is gone, one way or the other."""
        self.last = self._line()

    def __exit__(self, *_):
        try:
            self.process.stdin.write("stop\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        words = (self.last or self._line()).split()
        self.process.wait(tap.PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout,
                     self.process.stderr):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        self.count = int(words[1])
        self.is_gone = words[0] == "gone"
        if words[0] == "killed":
            self.killed_at = words[2]


def needs_root():
    if os.geteuid() != 0:
        tap.skip_all("tracing confined programs needs root")
