# SPDX-License-Identifier: ISC
"""The machine that it runs on, and what its disk can do."""

import os
import platform
import re
import subprocess
import time

from lib import gateway

PROBE_S = 1.0
FILE_COUNT = 48


def _first(path, pattern):
    with open(path, encoding="utf-8", errors="replace") as f:
        found = re.search(pattern, f.read(), re.MULTILINE)
    return found.group(1).strip() if found else "unknown"


def _said(words, **arguments):
    try:
        return subprocess.run(words, capture_output=True, text=True,
                              check=True, **arguments).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def filesystem(folder):
    return _said(["stat", "-f", "-c", "%T", folder])


def syncs_per_s(folder):
    """4 KB appended and synced, one after another."""
    fd = os.open(os.path.join(folder, "probe"), os.O_CREAT | os.O_WRONLY)
    count, end = 0, time.monotonic() + PROBE_S
    while time.monotonic() < end:
        os.write(fd, b"x" * 4096)
        os.fdatasync(fd)
        count += 1
    os.close(fd)
    return count / PROBE_S


def megabytes_per_s(folder):
    """Files of 1 MB, each synced."""
    block, begin = b"x" * (1 << 20), time.monotonic()
    for i in range(FILE_COUNT):
        fd = os.open(os.path.join(folder, f"probe{i}"),
                     os.O_CREAT | os.O_WRONLY)
        os.write(fd, block)
        os.fsync(fd)
        os.close(fd)
    return FILE_COUNT / (time.monotonic() - begin)


def describe(pairs, is_quick):
    folder = gateway.temporary_folder("postern-probe-")
    peers = os.environ["POSTERN_PEERS"]
    postfix = _said(
        [os.path.join(peers, "usr/sbin/postconf"), "-d", "-h", "-c",
         os.path.join(gateway.SOURCE, "tests/bench/postfix"), "mail_version"],
        env={"LD_LIBRARY_PATH": os.path.join(peers, "usr/lib/postfix")})
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _first("/proc/cpuinfo", r"^model name\s*:\s*(.*)$"),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        >> 30,
        "system": f"{_first('/etc/os-release', r'PRETTY_NAME=.(.*?).$')}, "
                  f"Linux {platform.release()}",
        "filesystem": filesystem(folder),
        "postern": _said(["git", "-C", gateway.SOURCE, "describe", "--always",
                          "--dirty"]),
        "postfix": postfix, "pairs": pairs, "quick": is_quick,
        "syncs_per_s": syncs_per_s(folder),
        "megabytes_per_s": megabytes_per_s(folder),
    }
