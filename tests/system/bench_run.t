#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release-only
"""tests/bench/run with small sizes: every case runs through both products,
every figure is there, nothing is lost, torn or doubled.  How fast it is says
nothing here."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import gateway, servers, tap  # noqa: E402

RUN = os.path.join(gateway.SOURCE, "tests/bench/run")
LETTERS = ["a", "b", "c1", "c2", "d", "e", "f", "g", "h", "i"]
FLOWS = ["a", "b", "c1", "c2", "d"]
ALONE = ["i"]
FLOW_FIGURES = {"accepted", "end_to_end", "cpu", "p50", "p99", "memory",
                "load_cpu", "sink_cpu", "hops"}
FIGURES = {"c1": FLOW_FIGURES | {"cold"},
           "e": {"each_few", "each_many", "memory"},
           "f": {"alone", "beside", "share", "delay", "memory", "drain"},
           "g": {"banner"},
           "i": {"first", "memory", "alone", "beside", "share"}}

if os.geteuid() != 0:
    tap.skip_all("Postfix is only started by root")
if not os.path.exists(os.path.join(servers.PEERS, "usr/sbin/opendkim")):
    tap.skip_all("no Postfix and OpenDKIM here; tests/deps peers unpacks them")
if not os.access(os.path.join(gateway.BUILD, "tests/bench/load"), os.X_OK):
    tap.skip_all("POSTERN_BUILD has no load; \"make bench\"")

out = gateway.temporary_folder("postern-bench-out-")
with tap.group("tests/bench/run --quick"):
    got = subprocess.run([RUN, "--quick", "--out", out],
                         capture_output=True, text=True, check=False)
    if got.returncode:
        tap.diag(got.stderr[-6000:])
    tap.equal(got.returncode, 0, "it runs through, and nothing was lost")
    for name in ("results.json", "table.txt", "table.md", "picture.svg"):
        tap.ok(os.path.getsize(os.path.join(out, name)) > 0, name)
    tap.contains(got.stdout, "0 lost, 0 torn, 0 doubles", "the table says so")

with open(os.path.join(out, "results.json"), encoding="utf-8") as f:
    cases = json.load(f)["cases"]

with tap.group("every figure is there"):
    tap.equal(list(cases), LETTERS, "all cases")
    for letter in LETTERS:
        if letter == "h" and "absent" in cases["h"]:
            tap.contains(got.stdout, "not measured: " + cases["h"]["absent"],
                         "(h): what is absent is said")
            continue
        [run] = cases[letter]["runs"]
        products = {"Postern"} if letter in ALONE else {"Postern", "Postfix"}
        tap.equal(set(run), products, f"({letter}): the products")
        wanted = FIGURES.get(letter, FLOW_FIGURES)
        for product, figures in run.items():
            tap.equal(wanted - set(figures), set(),
                      f"({letter}): figures of {product}")
            tap.ok(all(figures[name] for name in wanted - {"delay", "p50"}),
                   f"({letter}): none of {product}'s is nothing")
            loss = figures.get("loss")
            tap.ok(loss is None or not any(loss.values()),
                   f"({letter}): {product} lost nothing")
        if letter in FLOWS:
            tap.ok(cases[letter]["ceiling"], f"({letter}): the ceiling")

tap.done()
