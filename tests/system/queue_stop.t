#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""A queue that is stopped while a result is on its way to the disk: the test
is smtpd, relayd, signerd and authd, who has to say where the sender's address
leads before he is told."""

import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import peer, tap  # noqa: E402

ID_SLOT_SHIFT = 12
ID_TIME_SHIFT = 20
DELIVERED, FAILED = 0, 2
SETTINGS = {"queue.min_free": 0, "smtp.trusted_networks": "127.0.0.0/8"}

queued = peer.Program("queued", settings=SETTINGS, peers=("authd",))


def wait_for(channel, name):
    while True:
        frame = channel.read()
        if frame.name == name:
            return frame


def own_a_domain():
    """The settings that it has, and a domain with aliases."""
    rows = []
    for name, value in SETTINGS.items():
        is_text = isinstance(value, str)
        rows.append({"index": queued.tables.settings[name][0],
                     "text": value if is_text else "",
                     "number": 0 if is_text else value})
    queued.confd.take(queued.confd.post(
        "CONF_SNAPSHOT", revision=100, settings=rows,
        domains=[{"name": "ours.test", "has_aliases": True}]))


def next_job(relayd):
    job = wait_for(relayd, "RELAY_JOB").values
    return job, [row["address"] for row in job["recipients"]]


def connect_relayd():
    channel = queued.connect("relayd")
    channel.send("RELAY_READY", jobs=10)
    return channel


def submit(smtpd, **values):
    """Mail of a trusted client; the answer to it."""
    return smtpd.ask(
        "QUEUE_SUBMIT", message_id=time.time_ns() // 1000000 << ID_TIME_SHIFT
        | slot << ID_SLOT_SHIFT, is_trusted=True, client="127.0.0.1",
        reverse_path="anna@ours.test",
        content=b"From: anna@ours.test\r\n\r\nHello\r\n", **values)


def show_client(smtpd):
    """A connection from the trusted network, which has to stay."""
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    smtpd.send_raw(smtpd.frame("QUEUE_CLIENT"), [accepted.fileno()])
    return server, client, accepted


def is_stopping(smtpd):
    """Takes no mail any more, or is gone; what it is given is no mail."""
    try:
        return submit(smtpd)["text"] == "The queue is being restarted"
    except (peer.Ended, BrokenPipeError, ConnectionResetError):
        return True


def start_again():
    for name in os.listdir(queued.run):
        if name.endswith("-from-queued.sock"):
            continue
        os.unlink(os.path.join(queued.run, name))
    queued._start(())
    queued.reconnect_confd()


with tap.group("what relayd has said is not forgotten"):
    own_a_domain()
    authd = queued.accept("authd")
    smtpd = queued.connect("smtpd")
    relayd = connect_relayd()
    # There is nothing to sign; known before the mail comes.
    signerd = queued.connect("signerd")
    signerd.send("SIGN_READY")
    queued.status()
    slot = wait_for(smtpd, "QUEUE_SLOT").values["slot"]
    shown = show_client(smtpd)
    tap.equal(submit(smtpd, recipients=[
        {"address": "good@there.test"}, {"address": "bad@there.test"}])[
            "code"], 250, "mail for two")
    job, addresses = next_job(relayd)
    tap.equal(addresses, ["good@there.test", "bad@there.test"],
              "goes out to both")
    relayd.send("RELAY_RESULT", job_id=job["job_id"],
                message_id=job["message_id"],
                results=[{"id": 0, "outcome": DELIVERED, "code": 250,
                          "enhanced": "2.0.0", "reply": "250 ok"},
                         {"id": 1, "outcome": FAILED, "code": 550,
                          "enhanced": "5.1.1", "reply": "550 no"}])
    question = wait_for(authd, "ALIAS_EXPAND")
    queued.process.send_signal(signal.SIGTERM)
    tap.wait_until(lambda: is_stopping(smtpd), what="it stops")
    try:
        authd.answer(question, "ALIAS_EXPANDED", is_complete=True,
                     targets=[{"index": 0, "address": "anna@there.test"}])
    except BrokenPipeError:
        pass
    tap.equal(queued.process.wait(tap.PATIENCE_S), 0, "the queue is stopped")
    for end in shown:
        end.close()
    start_again()
    tap.equal(next_job(connect_relayd())[1], ["anna@there.test"],
              "what goes out then is the notification alone")

tap.done()
