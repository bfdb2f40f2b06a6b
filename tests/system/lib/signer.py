# SPDX-License-Identifier: ISC
"""Processes of the signer and of GnuPG, for tests that look at them, hold them
and end them."""

import os
import signal


def workers(gw):
    """{pid: class} of its workers as they are now."""
    return {pid: words.rpartition(" ")[2]
            for pid, words in gw.pids("signerd").items()
            if "--worker" in words}


def broker(gw):
    """Its first process, which started all others."""
    return next(iter(gw.pids("signerd")))


def named(gw, name):
    """All of that program: "gpg", "gpg-agent"."""
    return [pid for pid, words in gw.pids().items()
            if os.path.basename(words.split(" ")[0]) == name]


def hit(pids, sig=signal.SIGKILL):
    """How many of them were there."""
    count = 0
    for pid in pids:
        try:
            os.kill(pid, sig)
            count += 1
        except ProcessLookupError:
            pass
    return count


class Held:
    """They hang: they are there, and do nothing."""

    def __init__(self, pids):
        self.pids = list(pids)

    def __enter__(self):
        hit(self.pids, signal.SIGSTOP)
        return self

    def __exit__(self, *_):
        hit(self.pids, signal.SIGCONT)
