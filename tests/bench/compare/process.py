# SPDX-License-Identifier: ISC
"""CPU and memory of whole process trees, from /proc.

CPU is exact to the nanosecond for what runs, and to a tick for what has
ended: an ended process is in the sums of the one that waited for it.
"""

import os
import time

TICK = os.sysconf("SC_CLK_TCK")
# So long has to be quiet what is called idle, with at most that share of a
# processor; so long to stand still what is called settled; and so often it is
# looked at.
SPANS = {"quiet": 1.5, "share": 0.01, "still": 7.0, "step": 0.25}
# A smoke run asks whether all of it works, and not how fast it is.
SMOKE_SPANS = {"quiet": 0.05, "share": 0.5, "still": 0.1, "step": 0.05}


def own_seconds(pid):
    """User and system time of one process and its threads, ended ones too."""
    # CPUCLOCK_SCHED of another process; see clock_getcpuclockid(3).
    return time.clock_gettime((~pid << 3) | 2)


def ended_seconds(pid):
    """Time of the processes below it that have ended."""
    with open(f"/proc/{pid}/stat", "rb") as f:
        fields = f.read().rpartition(b") ")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICK


def name_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        words = f.read().split(b"\0")
    name = os.path.basename(words[0]).decode(errors="replace")
    for role in (b"--worker", b"--spawner"):
        if role in words:
            name += " " + role[2:].decode()
    return name or None


def tree(roots):
    """All processes that stem from these, themselves included."""
    found, todo = [], list(roots)
    while todo:
        at = todo.pop()
        try:
            for task in os.listdir(f"/proc/{at}/task"):
                with open(f"/proc/{at}/task/{task}/children",
                          encoding="ascii") as f:
                    todo += [int(child) for child in f.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(at)
    return found


class Cpu:
    """What a tree has used since this was made."""

    def __init__(self, roots):
        self.roots = list(roots)
        self.before = self._read()

    def _read(self):
        found = {}
        for pid in tree(self.roots):
            try:
                found[pid] = (name_of(pid), own_seconds(pid),
                              ended_seconds(pid))
            except (OSError, ValueError):
                pass
        return found

    def by_name(self):
        """{program: seconds}; what has ended is under "(ended)"."""
        sums, now = {}, self._read()
        for pid, (name, own, ended) in now.items():
            _, own_before, ended_before = self.before.get(
                pid, (None, 0.0, 0.0))
            sums[name] = sums.get(name, 0.0) + own - own_before
            sums["(ended)"] = sums.get("(ended)", 0.0) + ended - ended_before
        # One that ran before and has ended since brought all of its time
        # into the sums above, that from before too.
        for pid, (_, own, ended) in self.before.items():
            if pid not in now:
                sums["(ended)"] -= own + ended
        return sums

    def seconds(self):
        return sum(self.by_name().values())


def wait_quiet(roots, limit_s=120):
    """Until the tree has used next to no CPU for a while."""
    deadline = time.monotonic() + limit_s
    since, step, last = 0.0, SPANS["step"], Cpu(roots)
    while time.monotonic() < deadline:
        time.sleep(step)
        if last.seconds() > SPANS["share"] * step:
            since = 0.0
        else:
            since += step
        if since >= SPANS["quiet"]:
            return
        last = Cpu(roots)
    raise TimeoutError(f"not idle in {limit_s} s")


def pss_kb(roots):
    """Memory of a tree: a page that n processes share counts as 1/n in each,
    so that the sum has each page once."""
    total = 0
    for pid in tree(roots):
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as f:
                for line in f:
                    if line.startswith(b"Pss:"):
                        total += int(line.split()[1])
                        break
        except OSError:
            pass
    return total


def settled_pss_kb(roots, limit_s=60, slack_kb=64):
    """The same, once it stands still: longer than a program waits before it
    gives memory back to the system."""
    step, last, still_s = 2 * SPANS["step"], [], SPANS["still"]
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        last = last[-int(still_s / step):] + [pss_kb(roots)]
        if len(last) > still_s / step and max(last) - min(last) <= slack_kb:
            break
        time.sleep(step)
    return last[-1]
