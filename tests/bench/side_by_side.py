# SPDX-License-Identifier: ISC
"""Postern and Debian's Postfix side by side, on the same work.

    tests/bench/run                 all cases, (a) to (i)
    tests/bench/run a c1            these alone
    tests/bench/run --list          what the cases are

Needs root, as Postfix does; installs what is missing (tests/deps), builds,
and uses loopback, free ports and temporary folders only.  README.md beside
it tells the method and how to read the table."""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(SOURCE, "tests/system")]
sys.dont_write_bytecode = True

CEILINGS = 3  # at most so many runs for a ceiling


def options():
    parser = argparse.ArgumentParser(
        prog="tests/bench/run", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--pairs", type=int, metavar="N",
                        help="runs of each product, in turn (5)")
    parser.add_argument("--quick", action="store_true",
                        help="small sizes, one pair: does it run at all?")
    parser.add_argument("--alone", action="store_true",
                        help="Postern only: for before and after a change")
    parser.add_argument("--out", metavar="DIR",
                        help="results.json, table.txt, table.md, picture.svg "
                        "(BUILDS/results)")
    parser.add_argument("--markdown", metavar="FILE",
                        help="the table as README.md has it")
    parser.add_argument("--svg", metavar="FILE", help="the picture")
    parser.add_argument("--from-json", metavar="FILE",
                        help="measure nothing; tables from such results")
    parser.add_argument("--builds", metavar="DIR",
                        default=os.path.join(SOURCE, "build-bench"),
                        help="where the build and the peers go (build-bench)")
    parser.add_argument("--no-install", action="store_true")
    return parser.parse_args()


def say(text):
    print(text, file=sys.stderr, flush=True)


def install_and_build(args):
    """Sets POSTERN_BUILD and POSTERN_PEERS, unless they are given."""
    builds = os.path.abspath(args.builds)
    deps = os.path.join(SOURCE, "tests/deps")
    if "POSTERN_PEERS" not in os.environ:
        os.environ["POSTERN_PEERS"] = os.path.join(builds, "peers")
        if not args.no_install:
            subprocess.run([deps, "install", "build", "bench"], check=True)
            subprocess.run([deps, "peers", os.environ["POSTERN_PEERS"]],
                           check=True)
    if "POSTERN_BUILD" in os.environ:
        return
    build = os.environ["POSTERN_BUILD"] = os.path.join(builds, "release")
    os.makedirs(build, exist_ok=True)
    say(f"building in {build}")
    with open(os.path.join(build, "log"), "w", encoding="utf-8") as log:
        for words in ([os.path.join(SOURCE, "configure")],
                      ["make", f"-j{os.cpu_count()}", "all", "bench"]):
            if subprocess.run(words, cwd=build, stdout=log, stderr=log,
                              check=False).returncode:
                sys.exit(f"the build failed; all of it is in {log.name}")


def choose_folder():
    """Where queues are: not in memory, or fsync would cost nothing."""
    for folder in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp"):
        if folder and subprocess.run(
                ["stat", "-f", "-c", "%T", folder], capture_output=True,
                text=True, check=False).stdout.strip() not in ("tmpfs", ""):
            tempfile.tempdir = folder
            return
    say("warning: queues are on tmpfs, so a sync costs nothing here")


def raise_descriptors():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def brief(figures):
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items()
                     if isinstance(value, (int, float)))


def run_case(case, pairs, is_alone):
    """{"ceiling": [...], "runs": [{product: figures}, ...]}"""
    case.prepare()
    pairs = 1 if case.once else pairs
    ceilings = []
    for _ in range(min(pairs, CEILINGS)):
        figures = case.ceiling()
        if figures:
            say(f"  ceiling: {brief(figures)}")
            ceilings.append({"ceiling": figures})
    runs = []
    for i in range(pairs):
        run = {}
        products = case.products[:1] if is_alone else case.products
        for product in products if i % 2 == 0 else reversed(products):
            run[product.name] = case.run(product)
            say(f"  {product.name} {i + 1}: {brief(run[product.name])}")
        runs.append(run)
    case.close()
    return {"ceiling": ceilings, "runs": runs}


def run_cases(args, letters):
    from compare import cases, machine, process
    from compare.postern import Absent

    if args.quick:
        process.SPANS.update(process.SMOKE_SPANS)
    pairs = args.pairs or (1 if args.quick else 5)
    results = {"machine": machine.describe(pairs, args.quick), "cases": {}}
    for letter in letters:
        case = cases.CASES[letter](args.quick)
        say(f"({letter}) {case.title}")
        try:
            results["cases"][letter] = run_case(case, pairs, args.alone)
        except Absent as e:
            say(f"  not measured: {e}")
            results["cases"][letter] = {"absent": str(e)}
    return results


def complete(results):
    """What results.json does not hold: titles, rows, limits."""
    from compare import cases

    for letter, result in results["cases"].items():
        case = cases.CASES[letter]
        result.update(title=case.title, rows=case.rows, limit=case.limit)
    return results


def write(path, text):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def show(args, results):
    from compare import picture, report

    out = args.out or os.path.join(os.path.abspath(args.builds), "results")
    if not args.from_json:
        write(os.path.join(out, "results.json"),
              json.dumps(results, indent=1) + "\n")
    complete(results)
    table, svg = report.text(results), picture.svg(results)
    marked = report.markdown(results)
    for path, text in ((args.markdown, marked), (args.svg, svg)):
        if path:
            write(path, text)
    if not args.from_json:
        write(os.path.join(out, "table.txt"), table)
        write(os.path.join(out, "table.md"), marked)
        write(os.path.join(out, "picture.svg"), svg)
        say(f"all of it is in {out}")
    print(table, end="")


def clean_up():
    """Ends what the harness of the system tests has started; its words count
    only when something about a product was wrong."""
    from lib import tap

    words = io.StringIO()
    with contextlib.redirect_stdout(words), \
            contextlib.suppress(SystemExit):
        tap.done()
    has_failed = "not ok" in words.getvalue()
    if has_failed:
        say(words.getvalue())
    return has_failed


def main():
    args = options()
    os.environ.setdefault("POSTERN_SOURCE", SOURCE)
    if args.from_json:
        os.environ.setdefault("POSTERN_PEERS", "")
        with open(args.from_json, encoding="utf-8") as f:
            show(args, json.load(f))
        clean_up()
        return 0
    if not args.list:
        if os.geteuid() != 0:
            sys.exit("tests/bench/run: Postfix is only started by root")
        install_and_build(args)
        choose_folder()
        raise_descriptors()
    os.environ.setdefault("POSTERN_PEERS", "")
    from compare import cases, figures

    letters = args.cases or list(cases.CASES)
    unknown = [letter for letter in letters if letter not in cases.CASES]
    if unknown:
        sys.exit(f"tests/bench/run: no case {' '.join(unknown)}")
    if args.list:
        for letter in letters:
            print(f"{letter:3} {cases.CASES[letter].title}")
        clean_up()
        return 0
    results = run_cases(args, letters)
    show(args, results)
    lost = any(any(figures.losses(result.get("runs", [])).values())
               for result in results["cases"].values())
    return 1 if clean_up() or lost else 0


if __name__ == "__main__":
    sys.exit(main())
