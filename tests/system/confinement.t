#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""What each running program may still do: its user, rights, descriptors and
files, and a probe that tries from inside what somebody who owns the program
would try.  Run as root, so that each program has a user of its own."""

import base64
import contextlib
import ctypes
import glob
import os
import re
import resource
import socket
import stat
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import peer, scene, tap  # noqa: E402
from lib.gateway import BUILD  # noqa: E402
from lib.probe import (  # noqa: E402
    BIND, CONNECT, CONNECT_UNIX, DEADLY, FORK, KILL, LIMITS, LISTEN, NAMES,
    OWN_SIGNAL, PIDFD, RAW_SOCKET, READ, RECONNECT, ROOT, SOCKET, TGKILL, TIPC,
    UNLINK, WRITE, Probe)

if os.geteuid() != 0:
    tap.skip_all("only root can give each program a user of its own")
with open(os.path.join(BUILD, "config.h"), encoding="utf-8") as f:
    if re.search(r"#define WITHOUT_CONFINEMENT", f.read()):
        tap.skip_all("this build is without confinement")

probe = Probe()

# Secrets that may be in the stores of their programs and nowhere else.
CANARY = "canary-%d-" % os.getpid() + "%s-Zq7"
USER_SECRET, RELAY_SECRET, WRONG_SECRET = (
    CANARY % what for what in ("user", "relay", "wrong"))

s = scene.Scene(settings={"smtp.workers": 2}, user=False)
gw = s.gw
gw.cli("user", "add", "anna", "--address", "anna@example.test",
       "--password-stdin", input=USER_SECRET + "\n")
gw.cli("route", "add", "secret.test", f"smtp://127.0.0.1:{s.world.port}",
       "--user", "gateway", "--password-stdin", input=RELAY_SECRET + "\n")

state = os.path.join(gw.root, "var/lib/postern")
run = os.path.join(gw.root, "run/postern")
# Readable for everybody, by its mode; only Landlock keeps it from anyone.
public = os.path.join(gw.root, "public")
with open(public, "w", encoding="ascii") as f:
    f.write("x")
os.chmod(public, 0o644)
os.chmod(gw.root, 0o755)
open_folder = os.path.join(gw.root, "open")
os.mkdir(open_folder)
os.chmod(open_folder, 0o777)

PUBLIC = [public, "/etc/passwd", "/etc/shadow", "/etc/hostname",
          "/proc/1/environ", "/proc/1/mem", "/proc/1/cmdline", "/dev/null"]
PATHS = [*PUBLIC, os.path.join(open_folder, "new")]
SETTINGS = "settings.snapshot"
STORES = {"confd": "config.db", "authd": "accounts.db", "queued": "queue.db",
          "loghub": "segments/writers", "smtpd": "tls/key.pem",
          "checkd": SETTINGS, "relayd": SETTINGS, "bindd": SETTINGS}
for program, name in STORES.items():
    PATHS.append(os.path.join(state, program, name))
SOCKETS = sorted(
    os.path.join(run, f"{server}-from-{client}.sock")
    for server, client in peer.channel_rows())
PATHS += SOCKETS
# What starts it may allow cores; the programs may not.
resource.setrlimit(resource.RLIMIT_CORE,
                   (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
INDEX = probe.start(gw, PATHS)
s.find_ports()


class Process:
    """A running program, or a worker or the spawner of one."""

    def __init__(self, pid, words):
        self.pid = pid
        self.program = re.match(r"\S*?postern-(\w+)", words)[1]
        self.kind = self.program
        with open(f"/proc/{pid}/comm", encoding="ascii") as f:
            if f.read().strip() == "postern-spawner":
                self.kind = "spawner"
        if "--worker" in words:
            self.kind = "worker"

    @property
    def name(self):
        return self.program + ("" if self.kind == self.program
                               else " " + self.kind)

    def status(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            return dict(line.rstrip("\n").split(":\t", 1) for line in f
                        if ":\t" in line)

    def files(self):
        found = {}
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found[int(fd)] = os.readlink(f"/proc/{self.pid}/fd/{fd}")
            except FileNotFoundError:
                pass
        return found


def processes():
    """All that run; one may end while we look."""
    found = []
    for pid, words in gw.pids().items():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if "postern-" in words:
                found.append(Process(pid, words))
    return found


def find(name):
    """The first of that name, when it is there and has confined itself."""
    def look():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for p in processes():
                if p.name == name and p.status()["Seccomp"] == "2":
                    return p
        return None

    return tap.wait_until(look, what=name)


KINDS = [*peer.daemons(), "smtpd worker"]
UIDS = {}


def all_confined():
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        found = processes()
        return {p.name for p in found} >= {*KINDS, "smtpd spawner"} and all(
            p.status()["Seccomp"] == "2" for p in found)
    return False


with tap.group("who runs as whom, and with which rights"):
    tap.wait_until(all_confined, what="all programs, confined")
    for p in processes():
        got = p.status()
        uids = set(got["Uid"].split())
        UIDS.setdefault(p.program, set()).update(uids)
        tap.ok(len(uids) == 1 and "0" not in uids, f"{p.name}: not root")
        tap.ok(len(set(got["Gid"].split())) == 1 and
               "0" not in got["Gid"].split(), f"{p.name}: nor its group")
        tap.equal(got["Groups"].strip(), "", f"{p.name}: no other groups")
        tap.equal(got["NoNewPrivs"], "1", f"{p.name}: NoNewPrivs")
        tap.equal(got["Seccomp"], "2", f"{p.name}: Seccomp")
        bind = 1 << 10 if p.program == "bindd" else 0
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            tap.ok(int(got[kind], 16) & ~bind == 0,
                   f"{p.name}: {kind} {got[kind]}")
        with open(f"/proc/{p.pid}/limits", encoding="ascii") as f:
            core = re.search(r"Max core file size +(\d+)", f.read())
        tap.ok(core and core[1] == "0", f"{p.name}: no core files")
    tap.ok({p.name for p in processes()} >= {*KINDS, "smtpd spawner"},
           "all of them were seen")
    tap.ok(all(len(uids) == 1 for uids in UIDS.values()) and
           len({tuple(u) for u in UIDS.values()}) == len(UIDS),
           "each program has a user that no other has")

with tap.group("descriptors"):
    for p in processes():
        odd = []
        own = os.path.join(state, p.program)
        for fd, what in p.files().items():
            if fd <= 2 and (what == "/dev/null" or
                            what == os.path.realpath(gw.log_path)):
                continue
            if re.match(r"(socket|pipe):|anon_inode:\[event(poll|fd)\]",
                        what):
                continue
            if (what + "/").startswith(os.path.realpath(own) + "/") and \
                    p.kind == p.program:
                continue
            odd.append((fd, what))
        tap.equal(odd, [], f"{p.name} holds nothing of others")
        if p.kind == "spawner":
            tap.ok(len(p.files()) <= 8, "the spawner holds next to nothing")


def attempt(p, kind, number=0):
    """Probe.attempt() of a Process."""
    return probe.attempt(p.pid, kind, number, p.kind)


# What each may do of what the others may not.
MAY_READ = {"confd": {"/etc/passwd"}}
MAY_CONNECT = {"checkd", "relayd", "fetchd"}
FAMILIES = {"AF_NETLINK": socket.AF_NETLINK, "AF_PACKET": socket.AF_PACKET,
            "AF_VSOCK": socket.AF_VSOCK, "AF_ALG": socket.AF_ALG,
            "AF_BLUETOOTH": 31, "AF_TIPC": socket.AF_TIPC}

listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
# Any port that nobody has; above 1023, where no capability is asked for.
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    free_port = free.getsockname()[1]

for name in KINDS:
    with tap.group(f"{name}, owned by an attacker"):
        p = find(name)
        role = p.program
        wrong = []

        def refuse(kind, number=0, what="", wanted=("refused",)):
            got = attempt(p, kind, number)
            if got not in wanted:
                wrong.append(f"{NAMES[kind]} {what}: {got}")

        for path in PUBLIC:
            if path not in MAY_READ.get(name, ()):
                refuse(READ, INDEX[path], path)
        for other, store in STORES.items():
            path = os.path.join(state, other, store)
            if other != role or name.endswith("worker"):
                refuse(READ, INDEX[path], path)
                refuse(WRITE, INDEX[path], path)
                refuse(UNLINK, INDEX[path], path)
        for path in (public, os.path.join(open_folder, "new")):
            refuse(WRITE, INDEX[path], path)
        refuse(UNLINK, INDEX[public], public)
        for path in SOCKETS:
            if name.endswith("worker") or not path.endswith(
                    f"-from-{role}.sock"):
                refuse(CONNECT_UNIX, INDEX[path], os.path.basename(path))
        for number, text in ((BIND, "a port"), (LISTEN, "any port")):
            if name != "bindd":
                refuse(number, free_port, text)
        if name not in MAY_CONNECT:
            refuse(CONNECT, port, "to the internet")
        for text, family in FAMILIES.items():
            inet = name in MAY_CONNECT or name == "bindd"
            if text != "AF_NETLINK" or not inet:
                refuse(SOCKET, family, text)
        refuse(RAW_SOCKET, socket.AF_INET, "AF_INET")
        refuse(RAW_SOCKET, socket.AF_INET6, "AF_INET6")
        refuse(SOCKET, socket.AF_UNIX, "AF_UNIX",
               ("refused",) if name.endswith("worker") else ("DONE",))
        # Its supervisor, another program, and one of its own user.
        victims = [gw.process.pid, find("confd" if role != "confd"
                                        else "queued").pid]
        victims += [q.pid for q in processes()
                    if q.program == role and q.pid != p.pid]
        for victim in victims:
            for kind in (KILL, TGKILL, OWN_SIGNAL, LIMITS, PIDFD):
                refuse(kind, victim, str(victim))
        refuse(FORK)
        refuse(ROOT)
        refuse(TIPC)
        tap.equal(wrong, [], f"{name}: all is refused")
        wrong.clear()
        for kind in DEADLY:
            p = find(name)
            got = attempt(p, kind, gw.process.pid)
            if got != "killed":
                wrong.append(f"{NAMES[kind]}: {got}")
            tap.wait_until(lambda: p.pid not in gw.pids(), what="its end")
            find(name)
        tap.equal(wrong, [], f"{name}: the worst ends it")

with tap.group("the acceptor's listening socket"):
    p = find("smtpd")
    got = attempt(p, RECONNECT, port)
    abi = ctypes.CDLL(None).syscall(444, None, 0, 1)
    if abi < 4:
        tap.skip("is no way out", f"Landlock's ABI is {abi}")
    else:
        tap.equal(got, "refused", "is no way out")


# It lost its listener.
gw.restart()
s.find_ports()


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


with tap.group("modes and owners below the instance's root"):
    s.world.take(0)
    owners = {name: next(iter(uids)) for name, uids in UIDS.items()}
    wrong = []
    seen = set()
    for top, dirs, files in os.walk(gw.root):
        for name in [".", *dirs, *files]:
            path = os.path.normpath(os.path.join(top, name))
            if path in seen or path == public or path == open_folder:
                continue
            seen.add(path)
            info = os.lstat(path)
            mode = stat.S_IMODE(info.st_mode)
            short = os.path.relpath(path, gw.root)
            want = {"dir": 0o755, "uid": "0"}
            store = re.match(r"var/lib/postern/(\w+)(/|$)", short)
            if store:
                want = {"dir": 0o700, "file": 0o600,
                        "uid": owners[store[1]]}
                if mode == 0o400 and stat.S_ISREG(info.st_mode):
                    want["file"] = 0o400
            elif short.startswith("run/postern/"):
                peer_name = re.search(r"-from-(\w+)\.sock$", short)
                want = {"file": 0o600, "dir": 0o755, "uid": "0"}
                if peer_name and peer_name[1] in owners:
                    want["uid"] = owners[peer_name[1]]
                if short.endswith("-from-admin.sock") and mode == 0o660:
                    want["file"] = 0o660
                # All programs write to it; the kernel says who wrote.
                if short.endswith("/notify.sock"):
                    want["file"] = 0o666
            elif stat.S_ISREG(info.st_mode):
                want["file"] = 0o644
            kind = "dir" if stat.S_ISDIR(info.st_mode) else "file"
            if mode != want.get(kind) or str(info.st_uid) != want["uid"]:
                wrong.append(f"{short}: {mode:o} of {info.st_uid}, not "
                             f"{want.get(kind, 0):o} of {want['uid']}")
    tap.equal(wrong, [], f"all {len(seen)} are as they should be")

with tap.group("programs"):
    bad = [path for path in glob.glob(os.path.join(BUILD, "postern*"))
           if mode_of(path) & 0o6000 or "security.capability" in
           os.listxattr(path)]
    tap.equal(bad, [], "none has a user, group or capability of its file")


def inodes_of_inet_sockets():
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as f:
                found |= {row.split()[9] for row in f.readlines()[1:]}
        except FileNotFoundError:
            pass
    return found


with tap.group("sockets of the internet"):
    inet = inodes_of_inet_sockets()
    holders = set()
    for p in [*processes(), Process(gw.process.pid, "postern-run")]:
        for what in p.files().values():
            if what.startswith("socket:") and what[8:-1] in inet:
                holders.add(p.name)
    tap.equal(holders - {"bindd", "smtpd", "smtpd worker", "checkd",
                         "relayd"}, set(), "are held by few, not by root")


def plain(secret):
    """It, and the forms that it travels in."""
    b64 = base64.b64encode(b"\0anna\0" + secret.encode()).decode()
    own = base64.b64encode(secret.encode()).decode()
    return [secret, b64, own[:-4], secret.encode().hex()]


with tap.group("planted secrets"):
    c = s.tls()
    for secret in (WRONG_SECRET, USER_SECRET):
        code = c.auth_plain("anna", secret).code
        tap.equal(code, 235 if secret == USER_SECRET else 535, "a login")
    body = CANARY % "body"
    c.submit("anna@example.test", "a@dest.test",
             scene.mail(body=body))
    c.submit("anna@example.test", "b@secret.test", scene.mail(body=body))
    c.quit()
    with s.tls() as c:
        # Where none belongs: a command that is none, and a name.
        c.command("AUTH LOGIN")
        c.command(base64.b64encode(b"anna").decode())
        c.command(base64.b64encode(WRONG_SECRET.encode()).decode())
        c.command("AUTH PLAIN ====" + plain(WRONG_SECRET)[1])
        c.command("AUTH XPLAIN " + plain(WRONG_SECRET)[1])
    gw.run_cli("user", "passwd", "nobody", "--password-stdin",
               input=WRONG_SECRET + "\n")
    gw.run_cli("log", "event=login")
    s.world.wait(1)
    gw.cli("status")
    key = open(os.path.join(state, "smtpd/tls/key.pem"),
               encoding="ascii").read().split("\n")[1]
    planted = {word: what for what, secret in (
        ("a user's password", USER_SECRET), ("a wrong one", WRONG_SECRET),
        ("the relay's password", RELAY_SECRET)) for word in plain(secret)}
    planted[key] = "the TLS key"
    planted[body] = "a message's text"
    found = []

    def look(data, where):
        for word, what in planted.items():
            if word.encode() in data:
                found.append(f"{what} in {where}")

    for p in [*processes(), Process(gw.process.pid, "postern-run")]:
        for name in ("environ", "cmdline", "comm"):
            with open(f"/proc/{p.pid}/{name}", "rb") as f:
                look(f.read(), f"{p.name}'s {name}")
    # All of the log is on disk when its program has ended.
    gw.stop()
    # Where they are at home.
    homes = ("var/lib/postern/confd/config.db",
             "var/lib/postern/relayd/settings.snapshot",
             "var/lib/postern/smtpd/tls/key.pem",
             "var/lib/postern/queued/queue.db")
    count = 0
    for top, _, files in os.walk(gw.folder):
        for name in files:
            path = os.path.join(top, name)
            short = os.path.relpath(path, gw.root)
            if short.startswith(homes) or not os.path.isfile(path):
                continue
            with open(path, "rb") as f:
                look(f.read(), short)
            count += 1
    home = b""
    for path in glob.glob(os.path.join(gw.root, homes[0] + "*")):
        with open(path, "rb") as f:
            home += f.read()
    tap.ok(plain(RELAY_SECRET)[2].encode() in home, "one is found at home")
    tap.ok(count > 10, f"{count} files were searched, run.log among them")
    tap.equal(found, [], "none is found outside its place")

tap.done()
