# SPDX-License-Identifier: ISC
"""TAP for system tests, and waiting for events.

A test is a script of checks, usually grouped:

    from lib import tap

    with tap.group("a stranger is not relayed"):
        tap.equal(reply.code, 550, "RCPT is refused")

    tap.done()

A group that ends by an exception is one failed check with its traceback, and
the next group runs.  A script that ends without done() has failed.
"""

import atexit
import contextlib
import os
import signal
import sys
import time
import traceback

# How long a test waits for what has to come.  No promise is measured by it: it
# ends a test that has failed.  So it is more than a busy machine needs for
# anything, more than any program waits for another (smtpd for checkd: 65 s),
# and less than the runner gives a test.
PATIENCE_S = 120

_state = {"run": 0, "failed": 0, "done": False}
# Called with True when a check has failed, before the plan is printed.
_at_done = []


def _line(held, name):
    _state["run"] += 1
    name = name.replace("#", "\\#").replace("\n", " ")
    print(f"{'ok' if held else 'not ok'} {_state['run']} - {name}", flush=True)
    if not held:
        _state["failed"] += 1
        for frame in reversed(traceback.extract_stack()):
            if not frame.filename.endswith("/tap.py"):
                diag(f"  failed at {frame.filename}:{frame.lineno}")
                break
    return held


def diag(text):
    """Comment lines for whoever reads a failure."""
    for line in str(text).split("\n"):
        shown = "".join(c if c.isprintable() or c == "\t" else
                        repr(c)[1:-1] for c in line)
        print("# " + shown, flush=True)


def ok(condition, name):
    return _line(bool(condition), name)


def equal(got, want, name):
    held = _line(got == want, name)
    if not held:
        diag(f"   got: {_short(got)}")
        diag(f"  want: {_short(want)}")
        if isinstance(got, bytes) and isinstance(want, bytes):
            diag("  " + first_difference(got, want))
    return held


def contains(text, part, name):
    """part is in text; both str or both bytes."""
    held = _line(part in text, name)
    if not held:
        diag(f"  no {part!r} in {_short(text)}")
    return held


def fail(name):
    return _line(False, name)


def skip(name, reason):
    _state["run"] += 1
    print(f"ok {_state['run']} - {name} # SKIP {reason}", flush=True)


def skip_all(reason):
    """Ends the script: nothing of it can run here."""
    _state["done"] = True
    print(f"1..0 # SKIP {reason}", flush=True)
    sys.exit(0)


def first_difference(a, b):
    """Says where two byte strings part."""
    n = min(len(a), len(b))
    at = next((i for i in range(n) if a[i] != b[i]), n)
    return (f"they part at byte {at} of {len(a)} and {len(b)}: "
            f"{a[at:at + 40]!r} and {b[at:at + 40]!r}")


def _short(value):
    text = repr(value)
    return text if len(text) <= 600 else text[:600] + "..."


@contextlib.contextmanager
def group(name):
    """Checks that belong together; says so when they break off."""
    before = _state["run"]
    try:
        yield
    except Exception:
        _line(False, f"{name}: broke off")
        diag(traceback.format_exc())
    else:
        if _state["run"] == before:
            _line(False, f"{name}: held no check")


def at_done(function):
    """function(failed) is called before the plan, the latest first."""
    _at_done.append(function)


def _run_at_done():
    while _at_done:
        try:
            _at_done.pop()(_state["failed"] > 0)
        except Exception:
            _line(False, "cleaning up")
            diag(traceback.format_exc())


def done():
    """Stops what was started, prints the plan, ends the process."""
    _run_at_done()
    _state["done"] = True
    print(f"1..{_state['run']}", flush=True)
    sys.exit(0 if _state["failed"] == 0 and _state["run"] > 0 else 1)


def _unfinished():
    if _state["done"]:
        return
    _state["failed"] += 1
    print("# the script ended without tap.done()", flush=True)
    _run_at_done()
    sys.stdout.flush()
    os._exit(1)


def wait_until(predicate, seconds=PATIENCE_S, what="the event", step=0.02):
    """predicate's first true value.  Looks again and again, for what gives no
    sign by itself; raises when the time is up.  Leave out seconds, but where
    they are a promise."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(step)


atexit.register(_unfinished)
# The runner's time limit comes as SIGTERM; what was started is to be stopped.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
