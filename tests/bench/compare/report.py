# SPDX-License-Identifier: ISC
"""What was measured, as a table for the terminal and for README.md."""

from . import postern, postfix
from .figures import judge, losses, ratios, spread
from .postern import HOPS

ORDER = ("acceptor", "worker", "authd", "queued", "signer", "relayd", "hub",
         "others", "Postern", "Postfix", "generator", "sink")


def number(value, digits):
    return f"{value:,.{digits}f}"


def span(found, digits):
    """"3,150 (3,093-3,304)"; only the figure where there is but one."""
    if found is None:
        return "-"
    text = number(found.median, digits)
    if found.most > found.least:
        text += (f" ({number(found.least, digits)}–"
                 f"{number(found.most, digits)})")
    return text


def verdict(row, runs):
    if row.goal is None:
        return ""
    judged = judge(row, runs)
    if judged is None:
        return row.goal.text()
    return f"{row.goal.text()} {'met' if judged[1] else 'MISSED'}"


def table(results):
    """[(case, title or measure, Postern, Postfix, ratio, goal)]."""
    lines = []
    for letter, result in results["cases"].items():
        lines.append((f"({letter})", result["title"], "", "", "", ""))
        if "absent" in result:
            lines.append(("", "not measured: " + result["absent"],
                          "", "", "", ""))
            continue
        runs = result["runs"]
        for row in result["rows"]:
            lines.append(("", row.label,
                          span(spread(runs, "Postern", row.figure),
                               row.digits),
                          span(spread(runs, "Postfix", row.figure),
                               row.digits),
                          span(ratios(runs, row.figure), 2),
                          verdict(row, runs)))
        if result["ceiling"]:
            lines.append(("", "ceiling: mails/s, generator into sink",
                          span(spread(result["ceiling"], "ceiling",
                                      "accepted"), 0), "", "", ""))
    return lines


def hops(results):
    """{case: {hop: CPU s per 1,000 mails}}, medians."""
    found = {}
    for letter, result in results["cases"].items():
        runs = result.get("runs", [])
        if not runs or "hops" not in runs[0].get("Postern", {}):
            continue
        row = dict.fromkeys(ORDER, 0.0)
        names = {n for run in runs for n in run["Postern"]["hops"]}
        for name in names:
            hop = HOPS.get(name, "others")
            row[hop] += spread(
                [{"Postern": run["Postern"]["hops"]} for run in runs],
                "Postern", name).median
        row["Postern"] = spread(runs, "Postern", "cpu").median
        by_postfix = spread(runs, "Postfix", "cpu")
        row["Postfix"] = by_postfix.median if by_postfix else None
        row["generator"] = spread(runs, "Postern", "load_cpu").median
        row["sink"] = spread(runs, "Postern", "sink_cpu").median
        found[letter] = row
    return found


def limits(results):
    """{case: (what limits it now, what the physical limit is)}."""
    cores, found = results["machine"]["cores"], {}
    rows = hops(results)
    for letter, result in results["cases"].items():
        if letter not in rows:
            found[letter] = (result["limit"], "") \
                if "absent" not in result else ("", "")
            continue
        row = rows[letter]
        there = cores * 1000 / spread(
            result["runs"], "Postern", "end_to_end").median
        shares = {name: row[name] / there
                  for name in ("Postern", "generator", "sink")}
        idle = 1 - sum(shares.values())
        text = ", ".join(f"{name} {share:.0%}"
                         for name, share in shares.items())
        now = f"CPU: {text}" if idle < 0.15 else \
            f"waits: {idle:.0%} of the CPU is free ({text})"
        at_most = cores * 1000 / (row["generator"] + row["sink"])
        found[letter] = (now, f"{number(at_most, 0)} mails/s if the gateway "
                         "cost nothing")
    return found


def words(results):
    """Sentences that belong under the table."""
    m = results["machine"]
    total = {"lost": 0, "torn": 0, "doubles": 0}
    for result in results["cases"].values():
        for kind, count in losses(result.get("runs", [])).items():
            total[kind] += count
    return [
        f"{m['cores']} cores of {m['cpu']}, {m['memory_gb']} GB, "
        f"{m['system']}, {m['filesystem']}; generator, sink and product on "
        f"the same cores, over loopback. Postern {m['postern']}, Postfix "
        f"{m['postfix']}. Pairs in turn: {m['pairs']}; medians, least and "
        "most; ratios are those of the pairs"
        + (" (with five pairs, least and most hold the true median with 94 %)"
           if m["pairs"] >= 5 else "")
        + (". SMALL SIZES, for a smoke run: these figures say nothing"
           if m["quick"] else "") + ".",
        f"The disk: {number(m['syncs_per_s'], 0)} syncs of 4 KB a second, "
        f"{number(m['megabytes_per_s'], 0)} MB/s in synced files of 1 MB.",
        f"What is synced. Postern: {postern.SYNCS}. "
        f"Postfix: {postfix.SYNCS}.",
        f"Over all runs: {total['lost']} lost, {total['torn']} torn, "
        f"{total['doubles']} doubles.",
    ]


def columns(lines, gap="  "):
    """Text columns: the first two to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines if len(line) > i
                  and not (i == 1 and line[0].startswith("(")))
              for i in range(max(len(line) for line in lines))]
    out = []
    for line in lines:
        cells = [cell.ljust(w) if i < 2 else cell.rjust(w)
                 for i, (cell, w) in enumerate(zip(line, widths))]
        out.append(gap.join(cells).rstrip())
    return out


HEADINGS = ("", "", "Postern", "Postfix", "ratio", "goal")


def hop_lines(results):
    rows = hops(results)
    used = [hop for hop in ORDER
            if any(row[hop] and row[hop] >= 0.0005 for row in rows.values())]
    lines = [("", "") + tuple(used)]
    for letter, row in rows.items():
        lines.append((f"({letter})", "") + tuple(
            "-" if row[hop] is None else number(row[hop], 3)
            for hop in used))
    return lines if rows else []


def text(results):
    out = columns([HEADINGS] + table(results))
    lines = hop_lines(results)
    if lines:
        out += ["", "CPU s per 1,000 mails, each hop:"] + columns(lines)
    out += ["", "What limits it now, and the physical limit:"]
    out += [f"({letter})  {now}" + (f"; {most}" if most else "")
            for letter, (now, most) in limits(results).items() if now]
    return "\n".join(out + [""] + words(results)) + "\n"


def _markdown(lines):
    head = lines[0]
    out = ["| " + " | ".join(head) + " |",
           "|---|---|" + "--:|" * (len(head) - 2)]
    return out + ["| " + " | ".join(line) + " |" for line in lines[1:]]


def markdown(results):
    lines = [HEADINGS]
    for line in table(results):
        if line[0]:
            line = (line[0], f"**{line[1]}**") + line[2:]
        lines.append(line)
    out = _markdown(lines)
    rows = hop_lines(results)
    if rows:
        out += ["", "CPU seconds per 1,000 mails, each hop:", ""]
        out += _markdown(rows)
    out += ["", "| | what limits it now | physical limit |", "|---|---|---|"]
    out += [f"| ({letter}) | {now} | {most} |"
            for letter, (now, most) in limits(results).items() if now]
    for sentence in words(results):
        out += ["", sentence]
    return "\n".join(out) + "\n"
