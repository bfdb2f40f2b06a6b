#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Which domains have aliases: the test is authd, queued and who adds one."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import peer, tap  # noqa: E402

confd = peer.Program("confd")
admin = confd.connect("admin")


def wait_for(channel, name):
    while True:
        frame = channel.read()
        if frame.name == name:
            return frame


def snapshot(channel):
    """The next one, which is taken: domain -> may have aliases."""
    frame = wait_for(channel, "CONF_SNAPSHOT")
    channel.answer(frame, "CONF_APPLIED", revision=frame.values["revision"],
                   error="")
    return {row["name"]: bool(row["has_aliases"])
            for row in frame.values["domains"]}


def ask(verb, **arguments):
    return admin.post("MGMT_REQUEST", verb=verb, actor="test",
                      arguments=json.dumps(arguments).encode())


def answer(channel, request, **body):
    channel.answer(request, "MGMT_REPLY", code=0,
                   body=json.dumps(body).encode())


with tap.group("authd adds an alias and then cannot say where there are some"):
    admin.take(ask("domain.add", name="ours.test"))
    queued = confd.connect("queued")
    tap.equal(snapshot(queued), {"ours.test": True},
              "as long as nobody knows, any domain may have some")
    authd = confd.connect("authd")
    snapshot(authd)
    answer(authd, wait_for(authd, "MGMT_REQUEST"), domains=[])
    snapshot(authd)
    tap.equal(snapshot(queued), {"ours.test": False}, "then none has")
    number = ask("alias.add", address="info@ours.test",
                 targets=["anna@ours.test"])
    answer(authd, wait_for(authd, "MGMT_REQUEST"), count=1)
    question = wait_for(authd, "MGMT_REQUEST")
    tap.equal(question.values["verb"], "directory.alias_domains",
              "it is asked, and does not answer")
    tap.equal(snapshot(queued), {"ours.test": True}, "so it may have one")
    snapshot(authd)
    tap.equal(admin.take(number)["code"], 0, "and the alias is there")

tap.done()
