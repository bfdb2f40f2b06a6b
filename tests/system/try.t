#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only timeout=1500
"""README's first command: packaging/try, and the line that it prints."""

import os
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import gateway, tap  # noqa: E402

# All of it, with nothing of a compiler cache, beside other tests.
BUILD_S = 1200
folder = gateway.temporary_folder()


def read_until(process, pattern, seconds):
    """What the process printed, up to a line that matches."""
    deadline = time.monotonic() + seconds
    text = ""
    while not re.search(pattern, text, re.M):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            break
        got = os.read(process.stdout.fileno(), 65536).decode()
        if not got:
            break
        text += got
    return text


root = os.path.join(folder, "instance")
os.mkdir(root, 0o755)
run = subprocess.Popen(
    [os.path.join(gateway.SOURCE, "packaging", "try"), root],
    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT, start_new_session=True,
    preexec_fn=gateway.die_with_parent)
text = read_until(run, r"^printf .* trace \S+\n", BUILD_S)
line = re.search(r"^printf .*$", text, re.M)
if not tap.ok(line, "it prints a line to paste"):
    tap.diag(text)
else:
    told = subprocess.run(["bash", "-c", line.group(0)],
                          timeout=tap.PATIENCE_S, capture_output=True,
                          text=True, check=False)
    tap.equal(told.returncode, 0, "the line works as pasted")
    tap.contains(told.stdout, "alice@example.test", "who sent it is told")
    tap.contains(told.stdout, "delivered", "and that it was delivered")
    tap.diag(told.stdout + told.stderr)
    inbox = os.path.join(root, "inbox")
    mails = [n for n in os.listdir(inbox) if n.endswith(".eml")]
    tap.equal(len(mails), 1, "one mail is in the inbox")
    with open(os.path.join(inbox, mails[0]), encoding="utf-8") as f:
        tap.contains(f.read(), "Through the little gate.", "it is that mail")
run.send_signal(signal.SIGTERM)
tap.equal(run.wait(tap.PATIENCE_S), 143, "it ends when it is told to")
left = subprocess.run(["pgrep", "-f", "--", f"--root {root}"],
                      capture_output=True, text=True, check=False)
tap.equal(left.stdout, "", "and leaves no program behind")
tap.done()
