#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The log without space: the test is queued, which starts anew meanwhile."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import peer, tap  # noqa: E402

hub = peer.Program("loghub", settings={"log.min_free": 1 << 40})


def is_closed(channel):
    """Within our patience, whatever comes before."""
    try:
        while True:
            channel.read()
    except peer.Ended:
        return True
    except TimeoutError:
        return False


with tap.group("queued's channel is not read, and closed in time"):
    first = hub.connect("queued")
    first.post("LIFE_EVENTS", events=[])
    hub.status()  # answered in a turn that has seen it
    second = hub.connect("queued")
    second.post("LIFE_EVENTS", events=[])
    tap.ok(is_closed(first), "when there is a new one")
    hub.configure(log__min_free=0)
    tap.ok(is_closed(second), "when there is space again")
    third = hub.connect("queued")
    tap.equal(third.ask("LIFE_EVENTS", events=[])["count"], 0,
              "then the next one is answered")

tap.done()
