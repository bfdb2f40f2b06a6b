#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""The supervisor: users, sockets, restarts, order of the stop, checks; and
changes in a running gateway."""

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import gateway, tap  # noqa: E402

RUN = os.path.join(gateway.BUILD, "postern-run")
SANITIZED = b"__asan_init" in open(RUN, "rb").read()
IS_ROOT = os.getuid() == 0
NAMES = ("bindd smtpd authd checkd queued relayd signerd fetchd loghub "
         "confd").split()
PROGRAMS = [n for n in NAMES if os.access(
    os.path.join(gateway.BUILD, "postern-" + n), os.X_OK)]

gw = gateway.Gateway(postmaster="post@example.org",
                     settings={"queue.min_free": "0",
                               "dns.servers": "127.0.0.1:1"})
gw.start()


def state_of(pid):
    """The fields of /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return {k: v.strip() for k, v in
                (line.split(":", 1) for line in f if ":" in line)}


def main_pid(program):
    """Its first process: the one that the supervisor started."""
    for pid in gw.pids(program):
        try:
            if state_of(pid)["PPid"] == str(gw.process.pid):
                return pid
        except (FileNotFoundError, ProcessLookupError):
            pass
    return None


def states():
    return {p["program"]: p["state"] for p in gw.status()["programs"]}


with tap.group("all that is here runs"):
    tap.equal({n: s for n, s in states().items() if n in PROGRAMS},
              {n: "running" for n in PROGRAMS}, "and says so")

with tap.group("users and rights"):
    users = set()
    for name in PROGRAMS:
        st = state_of(main_pid(name))
        users.add(st["Uid"])
        tap.equal(st["NoNewPrivs"], "1", f"{name} gains no rights")
        if not IS_ROOT:
            continue
        tap.equal(st["Groups"], "", f"{name} is in no other group")
        tap.ok(len(set(st["Uid"].split())) == 1 and st["Uid"][0] != "0",
               f"{name} is a user for good")
        tap.equal(int(st["CapPrm"], 16) | int(st["CapBnd"], 16),
                  1 << 10 if name == "bindd" else 0, f"{name}: capabilities")
    tap.equal(len(users), len(PROGRAMS) if IS_ROOT else 1, "one user each")
    if IS_ROOT:
        tap.equal(int(state_of(main_pid("bindd"))["CapEff"], 16), 1 << 10,
                  "bindd may bind low ports")

with tap.group("sockets and folders"):
    run = os.path.join(gw.root, "run/postern")
    for name in sorted(os.listdir(run)):
        st = os.lstat(os.path.join(run, name))
        if not stat.S_ISSOCK(st.st_mode) or name == "notify.sock":
            continue
        peer = name.removesuffix(".sock").split("-from-")[1]
        tap.equal(stat.S_IMODE(st.st_mode) & 0o117, 0, f"{name}: its mode")
        if IS_ROOT and peer in PROGRAMS:
            tap.equal(st.st_uid, os.stat(f"/proc/{main_pid(peer)}").st_uid,
                      f"{name} is for {peer}")
    for name in NAMES:
        st = os.lstat(os.path.join(gw.root, "var/lib/postern", name))
        tap.equal(stat.S_IMODE(st.st_mode), 0o700, f"the store of {name}")

with tap.group("what was inherited is gone"):
    fds = os.listdir(f"/proc/{main_pid('confd')}/fd")
    links = {}
    for fd in fds:
        try:
            links[fd] = os.readlink(f"/proc/{main_pid('confd')}/fd/{fd}")
        except FileNotFoundError:
            pass
    tap.equal(links["0"], "/dev/null", "standard input is nothing")
    tap.ok(len(links) < 60, f"{len(links)} descriptors")

with tap.group("a change takes effect while a connection goes on"):
    before = gw.port("smtp")
    c = socket.create_connection(("127.0.0.1", before), 30)
    f = c.makefile("rwb")
    tap.contains(f.readline(), b"220", "a greeting")
    old = gw.listeners("submission")
    gw.set(**{"submission.listen": "127.0.0.1:0 127.0.0.2:0"})
    tap.wait_until(lambda: len(gw.listeners("submission")) == 2,
                   what="a listener more")
    tap.ok(set(old) <= set(gw.listeners("submission")), "the old one stays")
    f.write(b"NOOP\r\n")
    f.flush()
    tap.contains(f.readline(), b"250", "the connection lives")
    tap.equal(gw.port("smtp"), before, "the other listeners stay")
    c.close()

with tap.group("a program that does not take a change is named"):
    pid = main_pid("checkd")
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    r = gw.run_cli("config", "set", "dns.timeout=7s")
    took = time.monotonic() - began
    os.kill(pid, signal.SIGCONT)
    tap.equal(r.returncode, 1, "the command has failed in part")
    tap.contains(r.stderr, "is stored, but postern-checkd has not taken it "
                 "yet", "and says what is stored, and who has not taken it")
    # And not after any other of the limits around it.
    tap.ok(4 < took < 25, f"after 5 seconds: {took:.1f}")
    tap.equal(gw.cli("config", "get", "dns.timeout"), "7s\n", "it is stored")
    tap.wait_until(lambda: states()["checkd"] == "running" and
                   [p["revision"] for p in gw.status()["programs"]
                    if p["program"] == "checkd"] == [gw.status()["revision"]],
                   what="and taken later")

with tap.group("what is stored is in the log, taken or not"):
    def changes():
        return [(e["verb"], e["revision"]) for e in gw.json(
            "log", "event=change", "--limit", "1000")["events"]]

    revision = gw.status()["revision"]
    gw.cli("config", "set", "dns.timeout=7s")
    gw.cli("config", "set", "dns.timeout=8s", "--dry-run")
    gw.cli("config", "set", "dns.timeout=9s")
    tap.wait_until(lambda: ("config.set", revision + 1) in changes(),
                   what="the change in the log")
    tap.equal([v for v in changes() if v[1] >= revision],
              [("config.set", revision), ("config.set", revision + 1)],
              "also the one that waited; nothing that changed nothing")
    gw.cli("domain", "add", "example.org", "--to", "127.0.0.1:9")
    with gateway.Held([main_pid("queued")]):
        r = gw.run_cli("alias", "add", "a@example.org", "b@example.org",
                       "--json")
    tap.equal(r.returncode, 1, "so with an alias that a program has not taken")
    tap.contains(r.stderr, "stored, but postern-queued has not", "it says")
    tap.equal([(p["program"], p["is_pending"])
               for p in json.loads(r.stdout)["not_applied"]],
              [("queued", True)], "also to programs")
    tap.wait_until(lambda: ("alias.add", revision + 2) in changes(),
                   what="that change in the log")

with tap.group("whatever is killed is back"):
    def look():
        """What runs by the status, which a confd that is away does not tell."""
        r = gw.run_cli("status", "--json")
        return {} if r.returncode else {
            p["program"]: p["state"] for p in json.loads(r.stdout)["programs"]}

    def time_to_look():
        began = time.monotonic()
        look()
        return time.monotonic() - began

    def limit():
        """A second, but where it takes long now to start any program as long
        as so many starts of the command."""
        return max(5 if SANITIZED else 1,
                   40 * min(time_to_look() for _ in range(3)))

    # A machine that is busy for a moment is no program that comes back late:
    # that one is late each time.
    tries = 12

    def time_back(name):
        old = main_pid(name)
        os.kill(old, signal.SIGKILL)
        began = time.monotonic()
        tap.wait_until(lambda: main_pid(name) not in (None, old) and
                       look().get(name) == "running",
                       what=f"{name} runs again", step=0.02)
        return time.monotonic() - began

    for name in PROGRAMS:
        for _ in range(tries):
            took, most = time_back(name), limit()
            if took <= most:
                break
        tap.ok(took <= most,
               f"{name}: back after {took:.2f} s, at most {most:.1f}")

with tap.group("changes while confd is killed"):
    # Distinct values; each that was acknowledged must be in the history.
    said, stop = [], threading.Event()

    def change():
        n = 100
        while not stop.is_set():
            n += 1
            r = gw.run_cli("config", "set", f"smtp.max_errors={n}")
            if r.returncode == 0:
                said.append(n)

    thread = threading.Thread(target=change)
    thread.start()
    kills = 0
    deadline = time.monotonic() + 20
    while kills < 10 and time.monotonic() < deadline:
        before = len(said)
        tap.wait_until(lambda: len(said) > before, what="a change")
        pid = main_pid("confd")
        if pid:
            os.kill(pid, signal.SIGKILL)
            kills += 1
    stop.set()
    thread.join()
    tap.wait_until(lambda: gw.run_cli("status").returncode == 0, what="confd")
    kept = set()
    last = gw.json("config", "history")["revisions"][0]["revision"]
    for n in range(1, last + 1):
        for row in gw.json("config", "diff", str(n))["changes"]:
            if row["key"] == "smtp.max_errors":
                kept.add(int(row["new"]))
    tap.equal([n for n in said if n not in kept], [],
              f"{len(said)} acknowledged changes after {kills} kills")

with tap.group("what ends again and again is an alert, and mailed"):
    if "queued" in PROGRAMS and "checkd" in PROGRAMS:
        def alerts():
            r = gw.run_cli("status", "--json")
            return [] if r.returncode else [
                a for a in gw.status()["alerts"] if a["alert"] == "program"
                and a["subject"] == "postern-checkd"]
        deadline = time.monotonic() + tap.PATIENCE_S
        while not alerts() and time.monotonic() < deadline:
            pid = main_pid("checkd")
            if pid:
                os.kill(pid, signal.SIGKILL)
        tap.ok(alerts(), "status shows it")
        tap.equal(gw.run_cli("health").returncode, 7, "so does health")
        tap.wait_until(lambda: not alerts(), what="it is cleared later")

        def mails():
            return [m for m in gw.json("queue", "list")["messages"]
                    if "post@example.org" in [x["address"]
                                              for x in m["recipients"]]]

        tap.wait_until(lambda: len(mails()) >= 2,
                       what="one mail when raised, one when over")
    else:
        tap.skip("an alert", "queued or checkd is not built")

with tap.group("the stop"):
    run_pid = gw.process.pid
    pids = list(gw.pids())
    began = time.monotonic()
    tap.equal(gw.stop(), 0, "is clean")
    tap.ok(time.monotonic() - began < 30, "takes less than 30 s")
    tap.equal([p for p in pids if os.path.exists(f"/proc/{p}")], [],
              "leaves no process")
    tap.equal(os.listdir(run), ["run.lock"], "leaves no socket")

with tap.group("one supervisor for one instance"):
    gw.start()
    r = subprocess.run([RUN, "--root", gw.root], capture_output=True,
                       text=True, check=False)
    tap.equal(r.returncode, 6, "a second one is refused")
    tap.contains(r.stderr, "runs already", "and says why")
    tap.equal(states()["confd"], "running", "the first goes on")

with tap.group("a supervisor that is killed"):
    pids = list(gw.pids())
    gw.process.kill()
    gw.process.wait()
    gw.process.stdout.close()
    gw.process = None
    tap.wait_until(lambda: not [p for p in pids if os.path.exists(
        f"/proc/{p}")], what="takes its programs with it")
    gw.start()
    tap.equal(states()["confd"], "running", "and can be started again")
    gw.stop()

with tap.group("--check"):
    r = subprocess.run([RUN, "--root", gw.root, "--check"],
                       capture_output=True, text=True, check=False)
    tap.equal((r.returncode, r.stdout), (
        (0, "") if PROGRAMS == NAMES else (7, r.stdout)), "a sound instance")
    store = os.path.join(gw.root, "var/lib/postern/queued")
    os.chmod(store, 0o755)
    r = subprocess.run([RUN, "--root", gw.root, "--check"],
                       capture_output=True, text=True, check=False)
    os.chmod(store, 0o700)
    tap.equal(r.returncode, 7, "an open store")
    tap.contains(r.stdout, "open to others", "is said")
    r = subprocess.run([RUN, "--root", gw.folder + "/none", "--check"],
                       capture_output=True, text=True, check=False)
    tap.equal(r.returncode, 7, "no instance")
    tap.contains(r.stdout, "init --hostname", "says what makes one")
    r = subprocess.run([RUN, "--rot"], capture_output=True, text=True,
                       check=False)
    tap.equal(r.returncode, 2, "an unknown option")
    r = subprocess.run([RUN, "--root", gw.folder + "/" + "x" * 120],
                       capture_output=True, text=True, check=False)
    tap.equal(r.returncode, 1, "a path too long for sockets")
    tap.contains(r.stderr, "too long for a socket", "is said")

with tap.group("odd surroundings"):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE,
                       (min(4096, hard) if hard > 0 else 4096, hard))
    more = [os.dup(2) for _ in range(1000)]
    for fd in more:
        os.set_inheritable(fd, True)
    p = subprocess.Popen(
        ["bash", "-c", 'umask 000; unset HOME; LANG=xx exec "$@"', "x", RUN,
         "--root", gw.root], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
        stderr=open(gw.log_path, "ab"), close_fds=False,
        preexec_fn=gateway.die_with_parent)
    for fd in more:
        os.close(fd)
    gw.process = p
    gw._await_ready(tap.PATIENCE_S)
    tap.ok(len(os.listdir(f"/proc/{main_pid('confd')}/fd")) < 60,
           "1,000 descriptors are not handed on")
    st = os.lstat(os.path.join(run, "confd-from-bindd.sock"))
    tap.equal(stat.S_IMODE(st.st_mode), 0o600, "umask 000 opens nothing")
    gw.stop()

tap.done()
