# SPDX-License-Identifier: ISC
"""What crash tests share.  Each begins with

    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from crashlib import LONG, bench, scene, tap

and is short, unless POSTERN_CRASH_LONG is set: see tests/crash/run.
"""

import os
import random
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "system"))
# pylint: disable=wrong-import-position
from lib import (bench, dns, people, scene, sink, smtp,  # noqa: E402,F401
                 tap)
from lib.gateway import BUILD, die_with_parent, temporary_folder  # noqa: E402

LONG = bool(os.environ.get("POSTERN_CRASH_LONG"))
# Given again, a failed run is the same run.  The short form always is: it says
# whether something broke, the long one looks for what nobody has met.
SEED = int(os.environ.get("POSTERN_SEED")
           or (random.randrange(1 << 31) if LONG else 1))
FOLDER = os.path.join(BUILD, "tests", "crash")

tap.diag(f"POSTERN_SEED={SEED}" + (" POSTERN_CRASH_LONG=1" if LONG else ""))
random.seed(SEED)


def count(figure, what, least=0):
    """A figure that tests/crash/run shows at its end; the long form has to
    reach `least`."""
    tap.diag(f"count: {figure:,} {what}"
             + (f", at least {least:,}" if LONG and least else ""))
    if LONG and least:
        tap.ok(figure >= least, f"{figure:,} {what}, at least {least:,}")


def each_until_it_passes(one, calls, some):
    """one(N) makes the Nth call fail, and says whether it came so far; there
    are about so many calls.  N = 1 until it passes three times, or, in the
    short form, `some` of them.  How many failed."""
    failed = passed = number = 0
    if not LONG:
        numbers = range(1, calls + 3)
        if calls + 2 > some:
            numbers = sorted(random.sample(numbers, some))
        return sum(bool(one(number)) for number in numbers)
    while passed < 3 or number < calls:
        number += 1
        is_hit = bool(one(number))
        failed += is_hit
        passed = 0 if is_hit else passed + 1
    return failed


def tool(name):
    """A program or a shim of tests/crash; "make crash" makes them."""
    path = os.path.join(FOLDER, name)
    if not os.path.exists(path):
        tap.skip_all(f"POSTERN_BUILD has no {name}; \"make crash\"")
    return path


def shim(name, control_size=4096):
    """(environment, control file): postern-run with that environment has the
    shim in all its programs.  Copied to where every user can read it."""
    folder = temporary_folder("postern-shim-")
    path = shutil.copy(tool(f"shim_{name}.so"), folder)
    os.chmod(path, 0o755)
    control = os.path.join(folder, "control")
    with open(control, "wb") as f:
        f.write(bytes(control_size))
    os.chmod(control, 0o666)
    return {"LD_PRELOAD": path, "POSTERN_SHIM_CONTROL": control}, control


def open_settings(sink_port=None, workers=1, **more):
    """Settings of a gateway that takes all from 127.0.0.1, as fast as it
    comes, at one port that it keeps."""
    values = {
        "smtp.listen": f"127.0.0.1:{dns.free_port()}",
        "smtp.trusted_networks": "127.0.0.0/8",
        "smtp.workers": workers, "smtp.client_rate": 1000000,
        "smtp.network_rate": 1000000, "smtp.client_connections": 1000,
        "smtp.network_connections": 1000, "queue.retry": "1s",
        "queue.retry_max": "1s"}
    if sink_port:
        values["relay.mx_port"] = sink_port
    values.update(more)
    return values


def open_scene(sink_port, start=True, environment=None, **more):
    """A gateway that relays everything to that port."""
    s = scene.Scene(settings=open_settings(sink_port, **more), route=False,
                    user=False)
    s.gw.cli("route", "add", "*", f"smtp://127.0.0.1:{sink_port}")
    s.gw.environment = environment or {}
    if start:
        s.start()
    return s
