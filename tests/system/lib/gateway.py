# SPDX-License-Identifier: ISC
"""An instance of Postern below a folder of its own, run by postern-run.

    gw = Gateway(settings={"smtp.listen": "127.0.0.1:0"})
    gw.start()
    gw.cli("user", "add", "anna", "--password-stdin", input="secret")
    client = smtp.Client(gw.port("submission"))
    gw.stop()          # or by itself at tap.done()

The programs are those of the build folder POSTERN_BUILD.
"""

import ctypes
import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

from . import tap

BUILD = os.environ.get("POSTERN_BUILD", "")
SOURCE = os.environ.get("POSTERN_SOURCE") or os.path.realpath(
    os.path.join(os.path.dirname(__file__), "..", "..", ".."))

# Lines of a log that no test may cause.
ALARMS = re.compile(
    r"(ERROR: AddressSanitizer|ERROR: LeakSanitizer|runtime error:"
    r"|: bug: |: fatal: |SUMMARY: \w*Sanitizer)")

KINDS = ("smtp", "submission", "submissions")

# What is stored, and a program on a busy machine takes later than confd waits
# for it.
IS_LATE = re.compile(r"is stored, but (?!.* refuses it).* has not taken it yet",
                     re.DOTALL)


class CommandFailed(Exception):
    """postern ended with another exit code than the test wants."""


def temporary_folder(prefix="postern-test-"):
    """A new folder that every program's user may pass through."""
    path = tempfile.mkdtemp(prefix=prefix)
    os.chmod(path, 0o755)
    tap.at_done(lambda failed: _drop_folder(path, failed))
    return path


def _drop_folder(path, failed):
    log = os.environ.get("POSTERN_TEST_LOG")
    if os.environ.get("POSTERN_KEEP"):
        tap.diag(f"kept: {path}")
        return
    if failed and log:
        keep = f"{log}.{os.path.basename(path)}"
        shutil.copytree(path, keep, symlinks=True, dirs_exist_ok=True,
                        ignore=_sockets)
        tap.diag(f"kept: {keep}")
    shutil.rmtree(path, ignore_errors=True)


def _sockets(folder, names):
    return [n for n in names if not (
        os.path.isfile(os.path.join(folder, n))
        or os.path.isdir(os.path.join(folder, n)))]


def die_with_parent():
    """For preexec_fn: SIGTERM when the test is gone, however it went."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def hit(pids, sig=signal.SIGKILL):
    """Sends a signal to each; how many of them were there.  None is one that
    was not."""
    count = 0
    for pid in filter(None, pids):
        try:
            os.kill(pid, sig)
            count += 1
        except ProcessLookupError:
            pass
    return count


class Held:
    """With it these processes hang: they are there, and do nothing."""

    def __init__(self, pids):
        self.pids = list(pids)

    def __enter__(self):
        hit(self.pids, signal.SIGSTOP)
        return self

    def __exit__(self, *_):
        hit(self.pids, signal.SIGCONT)


class Gateway:
    """One instance.  settings go in before the first start."""

    def __init__(self, hostname="gw.example.test", settings=None,
                 postmaster=None, init=True):
        if not os.access(os.path.join(BUILD, "postern-run"), os.X_OK):
            tap.skip_all("POSTERN_BUILD has no postern-run")
        self.folder = temporary_folder()
        self.root = os.path.join(self.folder, "root")
        self.log_path = os.path.join(self.folder, "run.log")
        self.process = None
        self.expected_alarms = []
        self.environment = {}  # beside our own, for postern-run
        # Stopped first, so that the folder is still there.
        tap.at_done(self._at_done)
        if init:
            words = ["init", "--hostname", hostname]
            if postmaster:
                words += ["--postmaster", postmaster]
            self.cli(*words)
            chosen = {"smtp.listen": "127.0.0.1:0",
                      "submission.listen": "127.0.0.1:0",
                      "submissions.listen": "127.0.0.1:0"}
            chosen.update(settings or {})
            self.set(**chosen)

    # --- the command line ---

    def run_cli(self, *words, input=None, timeout=tap.PATIENCE_S):
        """postern with these words; its CompletedProcess, in text."""
        return subprocess.run(
            [os.path.join(BUILD, "postern"), "--root", self.root, *words],
            input="" if input is None else input, capture_output=True,
            text=True, timeout=timeout, check=False)

    def cli(self, *words, input=None, code=0, timeout=tap.PATIENCE_S):
        """What postern prints; raises when its exit code is not `code`.  A
        change that a program takes late is waited for."""
        result = self.run_cli(*words, input=input, timeout=timeout)
        if (code, result.returncode) == (0, 1) and \
                IS_LATE.search(result.stderr):
            tap.wait_until(self._is_taken, step=0.1,
                           what="what is stored to be taken")
        elif result.returncode != code:
            raise CommandFailed(
                f"postern {' '.join(words)}: exit code {result.returncode}, "
                f"not {code}\n{result.stdout}{result.stderr}")
        return result.stdout

    def json(self, *words, code=0):
        """The same with --json, as Python's values."""
        return json.loads(self.cli(*words, "--json", code=code))

    def set(self, **settings):
        """config set; names with dots come as set(**{"smtp.x": 1})."""
        self.cli("config", "set",
                 *[f"{name}={value}" for name, value in settings.items()])

    def _is_taken(self):
        """Whether all that run work with the newest settings."""
        status = self._status_now()
        rows = status["programs"]
        return bool(rows) and all(
            row["state"] == "running"
            and row.get("revision") in (None, status["revision"])
            for row in rows)

    def _status_now(self):
        """status(), of no program while confd is away."""
        result = self.run_cli("status", "--detailed", "--json")
        return json.loads(result.stdout) if result.returncode == 0 \
            else {"programs": []}

    # --- start and stop ---

    def start(self, timeout=tap.PATIENCE_S):
        """Returns when postern-run has said "ready"."""
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "postern-run"), "--root", self.root],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            env={**os.environ, **self.environment},
            preexec_fn=die_with_parent)
        log.close()
        self._await_ready(timeout)
        return self

    def _await_ready(self, timeout):
        deadline = time.monotonic() + timeout
        seen = b""
        fd = self.process.stdout.fileno()
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise TimeoutError(f"not ready in {timeout} s\n" + self.tail())
            got = os.read(fd, 4096)
            if not got:
                code = self.process.wait()
                raise RuntimeError(
                    f"postern-run ended with {code} before it was ready\n"
                    + self.tail())
            seen += got
            if any(line.strip() == b"ready" or line.startswith(b"ready ")
                   for line in seen.split(b"\n")[:-1]):
                return

    def stop(self, timeout=tap.PATIENCE_S):
        """SIGTERM, and waits.  The exit code."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.terminate()
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            tap.fail(f"postern-run stops within {timeout} s")
            code = -signal.SIGKILL
        process.stdout.close()
        return code

    def restart(self):
        self.stop()
        return self.start()

    def _at_done(self, failed):
        if self.process is not None:
            if self.process.poll() is not None:
                tap.fail("postern-run ran until the end of the test: "
                         f"exit code {self.process.returncode}")
            else:
                tap.equal(self.stop(), 0, "postern-run stops cleanly")
        alarms = self.alarms()
        tap.equal(alarms, [], "no program raised an alarm")
        if failed or alarms:
            tap.diag("the end of postern-run's words:")
            tap.diag(self.tail())

    # --- looking at it ---

    def log(self):
        """All that the programs wrote to standard error."""
        try:
            with open(self.log_path, encoding="utf-8",
                      errors="backslashreplace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def tail(self, lines=60):
        return "\n".join(self.log().split("\n")[-lines:])

    def expect_alarm(self, pattern):
        """Lines that match are wanted by this test."""
        self.expected_alarms.append(re.compile(pattern))

    def alarms(self):
        return [line for line in self.log().split("\n")
                if ALARMS.search(line)
                and not any(p.search(line) for p in self.expected_alarms)]

    def status(self):
        return self.json("status", "--detailed")

    def program(self, name):
        """What status says about one program: its state, and its facts and
        counters in one dict.  One that is away, or busy for longer than
        confd waits for it, is asked again; so is confd itself."""
        def look():
            status = self._status_now()
            rows = [p for p in status["programs"]
                    if p["program"] == name and p["state"] == "running"]
            return rows[0] if rows else None

        row = tap.wait_until(look, what=f"{name} to answer", step=0.1)
        return {"state": row["state"], "revision": row.get("revision"),
                **row.get("facts", {}), **row.get("counters", {})}

    def listeners(self, kind):
        """(address, port) of each listener of a kind, as bindd says."""
        found = []
        for text in self.program("bindd").get(f"listener {kind}", "").split():
            host, _, port = text.rpartition(":")
            found.append((host.strip("[]"), int(port)))
        return found

    def port(self, kind="smtp"):
        """The port of the first listener of a kind; bindd may still have to
        try again."""
        assert kind in KINDS, kind
        return tap.wait_until(lambda: self.listeners(kind), step=0.1,
                              what=f"a listener of kind {kind}")[0][1]

    def pids(self, program=None):
        """{pid: command line} of what postern-run has started, workers too;
        of one program ("queued") when it is named.  Whoever started another
        stands before it."""
        parents, words = {}, {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/stat", "rb") as f:
                    stat = f.read()
                with open(f"/proc/{entry}/cmdline", "rb") as f:
                    line = f.read().decode(errors="replace")
            except OSError:
                continue
            # The name in brackets may hold anything, brackets too.
            parents[int(entry)] = int(stat.rpartition(b") ")[2].split()[1])
            words[int(entry)] = line.split("\0")
        ours = [self.process.pid] if self.process else []
        for pid in ours:
            ours += [child for child, up in parents.items() if up == pid]
        wanted = None if program is None else f"postern-{program}"
        return {pid: " ".join(words[pid]).strip() for pid in ours
                if pid in words and pid != self.process.pid
                and wanted in (None, os.path.basename(words[pid][0]))}

    def kill(self, program, sig=signal.SIGKILL):
        """Sends a signal to each process of that program; how many.  The
        first one first, so that none is left to tell of another's death."""
        return hit(self.pids(program), sig)

    def trace(self, what):
        """The events of a message, by any of the names it has."""
        return self.json("trace", what)

    def wait_for_queue(self, count=0, seconds=tap.PATIENCE_S):
        """Until that many messages are queued.  A queue that is away, or
        busy for longer than confd waits for it, is asked again."""
        def look():
            result = self.run_cli("queue", "summary", "--json")
            return result.returncode == 0 and \
                json.loads(result.stdout).get("messages") == count

        return tap.wait_until(look, seconds, f"{count} queued messages",
                              step=0.1)
