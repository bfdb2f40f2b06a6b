#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""The signer alone, with the test as its queued: DKIM that other programs
verify, what fails and how, and workers that die."""

import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import gateway, peer, servers, tap  # noqa: E402
from lib.dkims import DOMAIN, FROM, MAILS, TO, mail  # noqa: E402

try:
    import dkim
except ImportError:
    tap.skip_all("dkimpy is not installed")

OUT = 0
NEVER, IF_POSSIBLE, REQUIRED = 0, 1, 2

p = peer.Program("signerd", peers=("queued",))
queued = p.accept("queued")
OUTCOMES = p.tables.words("sign_outcome")
folder = gateway.temporary_folder()


def manage(verb, **arguments):
    number = p.confd.post("MGMT_REQUEST", verb=verb, actor="test",
                          arguments=json.dumps(arguments))
    reply = p.confd.take(number)
    if reply["code"] != 0:
        raise RuntimeError(reply["body"])
    return json.loads(reply["body"])


def read(*names):
    """The next frame of queued's channel of one of these names."""
    while True:
        frame = queued.read()
        if frame.name in names:
            return frame


class Result:
    def __init__(self, frame, outputs):
        self.outcome = OUTCOMES[frame.values["outcome"]]
        self.enhanced = frame.values["enhanced"]
        self.reason = frame.values["reason"]
        self.recipients = frame.values["recipients"]
        self.outputs = outputs


last_id = 0
sent = {}  # content by message id


def send(content, recipients=None, **fields):
    """Gives a message; its id."""
    global last_id
    last_id += 1
    demands = [{"number": i, "address": TO, **demand}
               for i, demand in enumerate(recipients or [{}])]
    queued.send("SIGN_JOB", **{
        "message_id": last_id, "attempt": 1, "direction": OUT,
        "dkim": IF_POSSIBLE, "reverse_path": FROM, "header_from": FROM,
        "size_octets": len(content), "recipients": demands,
        "content": content, **fields})
    sent[fields.get("message_id", last_id)] = content
    return last_id


def whole(frame):
    """An output; None: in a file.  Behind it the message may follow."""
    if frame.name == "SIGN_OUTPUT_FILE":
        return None
    content = sent[frame.values["message_id"]]
    follows = frame.values["follows_octets"]
    if follows not in (0, len(content)):
        tap.fail(f"{follows} octets of {len(content)} follow")
    return frame.values["content"] + content[:follows]


def take(message_id):
    """The result of that message, with its outputs by number."""
    outputs = {}
    while True:
        frame = read("SIGN_OUTPUT", "SIGN_OUTPUT_FILE", "SIGN_RESULT")
        if frame.values["message_id"] != message_id:
            continue
        if frame.name == "SIGN_RESULT":
            return Result(frame, outputs)
        outputs[frame.values["number"]] = whole(frame)


def sign(content, recipients=None, **fields):
    return take(send(content, recipients, **fields))


def workers(kind="sign"):
    found = []
    todo = [p.process.pid]
    while todo:
        pid = todo.pop()
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
            with open(f"/proc/{pid}/task/{pid}/children",
                      encoding="ascii") as f:
                todo += [int(n) for n in f.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"--worker" in words and kind.encode() in words:
            found.append(pid)
    return found


with tap.group("before there is a key"):
    result = sign(MAILS["a plain one"])
    tap.equal((result.outcome, result.outputs,
               [r["output"] for r in result.recipients]),
              ("SIGNED_DONE", {}, [0]), "a mail goes as it came")
    result = sign(MAILS["a plain one"], dkim=REQUIRED)
    tap.equal((result.outcome, result.enhanced),
              ("SIGNED_TEMPORARY", "4.7.5"),
              "where DKIM is required, it waits")
    result = sign(MAILS["a plain one"], [{"sign": REQUIRED}])
    tap.equal((result.outcome, result.enhanced),
              ("SIGNED_PERMANENT", "5.7.5"),
              "where a signature is required, it fails")

with tap.group("keys"):
    manage("key.dkim.new", domain=DOMAIN)
    while True:
        ready = read("SIGN_READY").values["dkim_domains"]
        if ready:
            break
    tap.equal([row["value"] for row in ready], [DOMAIN],
              "queued hears of the domain")
    records = {}
    for row in manage("key.dkim.list", domain=DOMAIN)["keys"]:
        shown = manage("key.dkim.show", key=str(row["id"]))
        name = shown["record_name"].rstrip(".")
        records[name + "."] = shown["record_value"]
    tap.equal(len(records), 2, "two records, of RSA and Ed25519")


def look_up(name, timeout=5):
    return records.get(name.decode() if isinstance(name, bytes)
                       else name, "").encode()


def verdicts(message):
    """dkimpy's of each signature."""
    d = dkim.DKIM(message)
    count = message.lower().count(b"\r\ndkim-signature:") + \
        message.lower().startswith(b"dkim-signature:")
    found = []
    for i in range(count):
        try:
            found.append(dkim.DKIM(message).verify(idx=i, dnsfunc=look_up))
        except dkim.DKIMException as problem:
            found.append(str(problem))
    del d
    return found


signed = {}
with tap.group("dkimpy verifies"):
    for what, content in MAILS.items():
        result = sign(content)
        message = result.outputs.get(1, b"")
        signed[what] = message
        tap.ok(message.endswith(content), f"{what}: nothing else is changed")
        tap.equal(verdicts(message), [True, True], what)
    applied = result.recipients[0]["applied"]
    tap.equal(applied, 4, "DKIM is what was applied")
    send(MAILS["a plain one"])
    frame = read("SIGN_OUTPUT")
    tap.equal(frame.values["follows_octets"], len(MAILS["a plain one"]),
              "the message itself does not travel back")
    tap.contains(result.recipients[0]["method"], f"dkim {DOMAIN}/",
                 "and the log will have the selectors")

with tap.group("dkimpy refuses what was changed"):
    message = signed["a plain one"]
    for what, changed in (
            ("the body", message.replace(b"Hello.", b"Hallo.")),
            ("a field", message.replace(b"a  folded", b"b  folded")),
            ("a From added", message.replace(
                b"\r\nTo:", b"\r\nFrom: eve@example.org\r\nTo:")),
            ("a Reply-To added", message.replace(
                b"\r\nTo:", b"\r\nReply-To: eve@example.org\r\nTo:")),
            ("a Content-Type added", message.replace(
                b"\r\nTo:", b"\r\nContent-Type: text/html\r\nTo:"))):
        tap.ok(True not in verdicts(changed), what)

opendkim = os.path.join(servers.PEERS, "usr/sbin/opendkim")
with tap.group("OpenDKIM verifies"):
    if not servers.PEERS or not os.access(opendkim, os.X_OK):
        tap.skip("OpenDKIM verifies", "it is not there")
    else:
        data = os.path.join(folder, "records")
        with open(data, "w", encoding="ascii") as f:
            for name, value in records.items():
                f.write(f"{name.rstrip('.')} {value}\n")
        conf = os.path.join(folder, "opendkim.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(f"Mode v\nTestDNSData file:{data}\nSyslog no\n")
        for what, message in signed.items():
            if not message.endswith(b"\r\n"):
                continue  # SMTP has none, and its -t reads it otherwise
            path = os.path.join(folder, "message")
            with open(path, "wb") as f:
                f.write(message)
            run = subprocess.run([opendkim, "-x", conf, "-vv", "-t", path],
                                 capture_output=True, text=True, check=False)
            tap.ok(run.returncode == 0 and
                   "verification (s=" in run.stdout and
                   "succeeded" in run.stdout, what)

with tap.group("what is not signed"):
    for what, content in (
            ("two From", mail(b"x\r\n", "From: eve@example.org\r\n")),
            ("a header with a line that is no field",
             mail(b"x\r\n", "this is no field\r\n"))):
        result = sign(content)
        tap.equal(([r["applied"] for r in result.recipients],
                   result.outputs.get(1)), ([0], content), what)
        result = sign(content, dkim=REQUIRED)
        tap.equal((result.outcome, result.enhanced),
                  ("SIGNED_TEMPORARY", "4.7.5"), f"{what}, and required")
    result = sign(MAILS["a plain one"], header_from="x@other.test")
    tap.equal(result.outputs, {}, "a From of a domain without keys")
    result = sign(MAILS["a plain one"], dkim=NEVER)
    tap.equal(result.outputs, {}, "where policy says never")

with tap.group("many at once"):
    content = mail(b"The quick brown fox jumps.\r\n" * 380)
    ids = [send(content) for _ in range(500)]
    results = {}
    while len(results) < len(ids):
        frame = read("SIGN_OUTPUT", "SIGN_RESULT")
        if frame.name == "SIGN_RESULT":
            results[frame.values["message_id"]] = frame.values["outcome"]
    tap.equal({OUTCOMES[o] for o in results.values()}, {"SIGNED_DONE"},
              "500 messages")
    tap.equal(sorted(results), ids, "each is answered once")

with tap.group("workers that die"):
    before = set(workers())
    tap.ok(before, "there are some")
    ids = [send(content) for _ in range(200)]
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    results = {}
    outputs = {}
    while len(results) < len(ids):
        frame = read("SIGN_OUTPUT", "SIGN_RESULT")
        number = frame.values["message_id"]
        if frame.name == "SIGN_RESULT":
            results[number] = OUTCOMES[frame.values["outcome"]]
        else:
            outputs[number] = whole(frame)
    waiting = [n for n, outcome in results.items()
               if outcome == "SIGNED_TEMPORARY"]
    done = [n for n, outcome in results.items() if outcome == "SIGNED_DONE"]
    tap.equal(len(waiting) + len(done), len(ids),
              "each message is answered: done, or not now")
    tap.ok(len(waiting) <= len(before),
           f"no more wait than workers died ({len(waiting)})")
    tap.ok(all(outputs[n].count(b"DKIM-Signature:") == 2 for n in done),
           "what is done is signed")
    tap.equal(sign(content).outcome, "SIGNED_DONE", "and it goes on")

with tap.group("a worker that hangs"):
    stuck = workers()
    for pid in stuck:
        os.kill(pid, signal.SIGSTOP)
    waiting = send(content)
    queued.send("SIGN_FORGET", message_id=waiting, attempt=1)
    again = send(content, message_id=waiting, attempt=2)
    for pid in stuck:
        os.kill(pid, signal.SIGCONT)
    frame = read("SIGN_RESULT")
    tap.equal((frame.values["message_id"], frame.values["attempt"]),
              (waiting, 2), "an attempt that was forgotten has no answer")
    del again

with tap.group("queued goes and comes"):
    for _ in range(20):
        send(content)
    queued.close()
    queued = p.accept("queued")
    frame = queued.read()
    tap.equal(frame.name, "SIGN_READY", "it hears of the domains again")
    result = sign(content)
    tap.equal(result.outcome, "SIGNED_DONE", "and is served")
    tap.equal(p.status()["jobs_running"], 0, "old jobs are gone")

with tap.group("breaches end the channel, nothing else"):
    for what, fields in (
            ("a direction that is none", {"direction": 9}),
            ("a demand that is none", {"recipients": [{"sign": 9}]}),
            ("options that are none", {"recipients": [{"options": 64}]}),
            ("no recipient", {"recipients": []})):
        rows = fields.pop("recipients", [{}])
        queued.send("SIGN_JOB", **{
            "message_id": 1, "attempt": 1, "header_from": FROM,
            "recipients": [{"address": TO, **row} for row in rows],
            "content": content, **fields})
        try:
            while True:
                queued.read()
        except peer.Ended:
            tap.ok(True, what)
        queued.close()
        queued = p.accept("queued")
    tap.equal(sign(content).outcome, "SIGNED_DONE", "it goes on")

status = p.status()
tap.ok(int(status["jobs_done_total"]) > 700, "the counters count")
tap.ok(re.match(r"\d", status["OpenSSL"]), "it says which OpenSSL it has")
tap.done()
