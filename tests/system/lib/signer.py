# SPDX-License-Identifier: ISC
"""Processes of the signer and of GnuPG, for tests that look at them, hold them
and end them."""

import os


def processes(gw):
    """(broker, spawner, {pid: class of that worker}) as they are now; None for
    one that is not there."""
    workers, others = {}, []
    for pid, words in gw.pids("signerd").items():
        if "--worker" in words:
            workers[pid] = words.rpartition(" ")[2]
        else:
            others.append(pid)
    return (others + [None])[0], (others + [None, None])[1], workers


def broker(gw):
    """Its first process, which started all others."""
    return processes(gw)[0]


def spawner(gw):
    """The process that starts its workers."""
    return processes(gw)[1]


def workers(gw, kind=None):
    """{pid: class} of its workers as they are now, or of one class."""
    return {pid: name for pid, name in processes(gw)[2].items()
            if kind in (None, name)}


def named(gw, name):
    """All of that program: "gpg", "gpg-agent"."""
    return [pid for pid, words in gw.pids().items()
            if os.path.basename(words.split(" ")[0]) == name]


def gpgs(gw):
    """Those that have work: a worker that starts asks another for its version,
    which needs no agent and is gone at once."""
    return [pid for pid, words in gw.pids().items()
            if os.path.basename(words.split(" ")[0]) == "gpg"
            and "--version" not in words]
