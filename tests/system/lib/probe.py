# SPDX-License-Identifier: ISC
"""What somebody who owns a program could do: lib/probe.c in each program and
worker of an instance, which tries one thing at each signal.

    probe = Probe()
    index = probe.start(gw, paths)
    probe.attempt(pid, READ, index[path])
"""

import ctypes
import os
import re
import signal
import subprocess
import time

from . import tap
from .gateway import SOURCE, temporary_folder

# In the order of tries[] in lib/probe.c.
(READ, WRITE, UNLINK, CONNECT_UNIX, CONNECT, RECONNECT, BIND, LISTEN, SOCKET,
 RAW_SOCKET, KILL, TGKILL, OWN_SIGNAL, LIMITS, PIDFD, FORK, ROOT, TIPC, EXEC,
 PTRACE, MEMORY) = range(21)
NAMES = ("read", "write", "unlink", "connect to a Unix socket", "connect",
         "connect by a socket from outside", "bind", "listen",
         "make a socket of family", "make a raw socket of family", "signal",
         "signal a thread of", "have signals sent to", "set the limits of",
         "get a handle of", "fork", "become root", "make a TIPC pair", "exec",
         "ptrace", "read the memory of")
DEADLY = (EXEC, PTRACE, MEMORY)
SIGNAL = signal.SIGRTMAX - 1
EPERM, EACCES = 1, 13


class Probe:
    def __init__(self):
        self.folder = temporary_folder()
        self.library = os.path.join(self.folder, "probe.so")
        self.paths = os.path.join(self.folder, "paths")
        self.gw = None
        built = subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o",
             self.library, os.path.join(SOURCE, "tests/system/lib/probe.c"),
             "-ldl"], capture_output=True, text=True, check=False)
        if built.returncode != 0:
            tap.skip_all("no compiler: " + built.stderr[-200:])

    def start(self, gw, paths):
        """The numbers by which these paths are named, {path: number}."""
        self.gw = gw
        with open(self.paths, "w", encoding="utf-8") as f:
            f.write("\n".join(paths))
        os.environ.update(LD_PRELOAD=self.library, POSTERN_PROBE=self.paths)
        try:
            gw.start()
        finally:
            del os.environ["LD_PRELOAD"], os.environ["POSTERN_PROBE"]
        return {path: number for number, path in enumerate(paths)}

    def attempt(self, pid, kind, number=0, name="worker"):
        """What came of it: "refused", "killed", "DONE", an error's words."""
        value = kind << 22 | number
        at = os.path.getsize(self.gw.log_path)
        union = ctypes.c_void_p(value)
        if ctypes.CDLL(None, use_errno=True).sigqueue(
                pid, SIGNAL, union) != 0:
            return "it is gone"
        deadline = time.monotonic() + tap.PATIENCE_S
        while time.monotonic() < deadline:
            with open(self.gw.log_path, "rb") as f:
                f.seek(at)
                text = f.read().decode(errors="replace")
            said = re.search(rf"probe {pid} {value} (\w+) (\d+)\n", text)
            if said:
                number = int(said[2])
                if said[1] == "refused" and number in (EPERM, EACCES):
                    return "refused"
                return said[1] if said[1] == "DONE" else os.strerror(number)
            if re.search(rf"(worker {pid} was ended by signal 31|"
                         rf"postern-{name}\b.*was killed by signal 31)",
                         text):
                return "killed"
            time.sleep(0.005)
        return "nothing was said"
