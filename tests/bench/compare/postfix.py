# SPDX-License-Identifier: ISC
"""Postfix as a product of the benchmark, from the packages that tests/deps
has unpacked and the files in tests/bench/postfix/; OpenDKIM beside it."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import time

from lib import dns, gateway, smtp, tap

from . import process

SYNCS = ("each mail's own queue file (fsync in cleanup) before its 250; "
         "deferred mails' reasons; no folder; the log never")

HOPS = {}
FOLDERS = ("active", "bounce", "corrupt", "defer", "deferred", "flush",
           "hold", "incoming", "maildrop", "pid", "private", "public",
           "saved", "trace")
SOURCES = os.path.join(gateway.SOURCE, "tests/bench/postfix")


def peers():
    return os.environ["POSTERN_PEERS"]


def fill(name, values, case=None):
    """A file of tests/bench/postfix with its @NAME@s filled in.  Lines that
    begin with "case|" are there in that case alone."""
    lines = []
    with open(os.path.join(SOURCES, name), encoding="utf-8") as f:
        for line in f:
            only = re.match(r"(\w+)\| ", line)
            if only and only.group(1) != case:
                continue
            line = line[only.end():] if only else line
            if not line.startswith("#"):
                line = re.sub(r"@([A-Z_]+)@",
                              lambda m: str(values[m.group(1)]), line)
            lines.append(line)
    return "".join(lines)


class Postfix:
    name = "Postfix"

    def __init__(self, sink_port, tls=None, accounts=None, dead_port=None,
                 sign_with=None):
        """sign_with: what opendkim.conf wants, and DOMAIN and so on."""
        self.folder = gateway.temporary_folder("postern-bench-postfix-")
        self.spool = os.path.join(self.folder, "spool")
        self.ports = {kind: dns.free_port() for kind in gateway.KINDS}
        self.process = self.milter = None
        self.sign_with = sign_with
        case = "backlog" if dead_port else "dkim" if sign_with else None
        cert, key = self._copy(tls) if tls else ("", "")
        values = {"FOLDER": self.folder, "PEERS": peers(),
                  "SINK_PORT": sink_port, "DEAD_PORT": dead_port,
                  "CERT": cert, "KEY": key,
                  **{f"{kind.upper()}_PORT": port
                     for kind, port in self.ports.items()}}
        self._make_folders()
        for name in ("main.cf", "master.cf"):
            text = fill(name, values, case)
            if not tls:
                text = re.sub(r"(?m)^smtpd_tls_chain_files.*\n", "", text)
            self._write("etc/" + name, text)
        self._write("etc/sasl/smtpd.conf", fill("sasl.conf", values))
        self._write("etc/sasl/sasldb2", "")
        os.remove(os.path.join(self.folder, "etc/sasl/sasldb2"))
        if accounts:
            self._add_accounts(accounts)
        if sign_with:
            self._write("dkim/opendkim.conf",
                        fill("opendkim.conf", {**values, **sign_with}))
        self.environment = dict(
            os.environ, MAIL_CONFIG=os.path.join(self.folder, "etc"),
            LD_LIBRARY_PATH=os.path.join(peers(), "usr/lib/postfix"))
        self.environment.pop("LD_PRELOAD", None)
        tap.at_done(lambda failed: self.stop())

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o644)
        # Postfix waits until a file that it reads is two seconds old.
        an_hour_ago = time.time() - 3600
        os.utime(path, (an_hour_ago, an_hour_ago))
        return path

    def _copy(self, files):
        return [shutil.copy(path, self.folder) for path in files]

    def _make_folders(self):
        owner = pwd.getpwnam("daemon").pw_uid
        for name in FOLDERS:
            os.makedirs(os.path.join(self.spool, name))
            if name != "pid":
                os.chown(os.path.join(self.spool, name), owner, 0)
        os.makedirs(os.path.join(self.folder, "data"))
        os.chown(os.path.join(self.folder, "data"), owner, 0)

    def _add_accounts(self, accounts):
        path = os.path.join(self.folder, "etc/sasl/sasldb2")
        for user, password in accounts:
            name, _, realm = user.partition("@")
            subprocess.run(
                [os.path.join(peers(), "usr/sbin/saslpasswd2"), "-p", "-c",
                 "-f", path, "-u", realm, name], input=password.encode(),
                check=True, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE)
        os.chmod(path, 0o644)

    def port(self, kind="smtp"):
        return self.ports[kind]

    def roots(self):
        return [p.pid for p in (self.process, self.milter) if p]

    def _spawn(self, words):
        def begin():
            # master sends its signals to its group.
            os.setpgid(0, 0)
            gateway.die_with_parent()

        with open(os.path.join(self.folder, "output"), "ab") as out:
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env=self.environment, preexec_fn=begin)

    def _answers(self):
        for child in (self.process, self.milter):
            if child and child.poll() is not None:
                raise RuntimeError("Postfix does not start: " + self.log())
        try:
            with smtp.Client(self.port(), timeout=30) as c:
                return c.greeting.code == 220
        except (OSError, smtp.Disconnected):
            return False

    def start(self):
        if self.sign_with:
            self.milter = self._spawn(
                [os.path.join(peers(), "usr/sbin/opendkim"), "-f", "-x",
                 os.path.join(self.folder, "dkim/opendkim.conf")])
            tap.wait_until(lambda: os.path.exists(os.path.join(
                self.folder, "dkim/opendkim.sock")), 30, "OpenDKIM")
        self.process = self._spawn(
            [os.path.join(peers(), "usr/lib/postfix/sbin/master"), "-c",
             os.path.join(self.folder, "etc"), "-d"])
        tap.wait_until(self._answers, 30, "Postfix to answer", step=0.002)

    def stop(self):
        # OpenDKIM looks every five seconds whether it is to end, and has
        # nothing to put in order.
        for child, how in ((self.process, signal.SIGTERM),
                           (self.milter, signal.SIGKILL)):
            if child is None:
                continue
            # Its whole group, which is ours alone.
            os.killpg(child.pid, how)
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        self.process = self.milter = None

    def log(self):
        text = ""
        for name in ("output", "maillog"):
            try:
                with open(os.path.join(self.folder, name), encoding="utf-8",
                          errors="replace") as f:
                    text += "".join(f.readlines()[-20:])
            except FileNotFoundError:
                pass
        return text

    def queued(self, folders=("maildrop", "incoming", "active", "deferred")):
        return sum(len(names) for folder in folders for _, _, names in
                   os.walk(os.path.join(self.spool, folder)))

    def wait_idle(self, limit_s=600):
        deadline = time.monotonic() + limit_s
        while self.queued():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.queued()} mails are queued\n"
                                   + self.log())
            time.sleep(process.SPANS["step"])
        process.wait_quiet(self.roots())

    def wait_deferred(self, count, limit_s=1200):
        deadline = time.monotonic() + limit_s
        while self.queued(("deferred",)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.queued()} of {count} are deferred")
            time.sleep(2 * process.SPANS["step"])
        process.wait_quiet(self.roots())

    def retry_all(self):
        subprocess.run([os.path.join(peers(), "usr/sbin/postqueue"), "-f"],
                       env=self.environment, check=True)
