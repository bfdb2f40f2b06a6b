# SPDX-License-Identifier: ISC
"""What a case shows: rows of figures, their goals, and sums over pairs."""

import dataclasses
import statistics
import typing


@dataclasses.dataclass
class Goal:
    """of is "ratio" (Postern by Postfix, median of the pairs) or "value"
    (Postern's median)."""
    of: str
    sign: str
    limit: float

    def holds(self, value):
        return value >= self.limit if self.sign == ">=" \
            else value <= self.limit

    def text(self):
        sign = {">=": "≥", "<=": "≤"}[self.sign]
        return f"{sign} {self.limit:g}" + (" ×" if self.of == "ratio" else "")


@dataclasses.dataclass
class Row:
    figure: str
    label: str
    digits: int = 0
    goal: typing.Optional[Goal] = None


@dataclasses.dataclass
class Spread:
    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values):
        values = [v for v in values if v is not None]
        if not values:
            return None
        return cls(min(values), statistics.median(values), max(values))


# Mail that flows through: what every such case shows.
def flow_rows(ratio, cpu=None, extra=()):
    return [
        Row("end_to_end", "mails/s end to end", 0, Goal("ratio", ">=", ratio)),
        Row("accepted", "mails/s accepted"),
        *extra,
        Row("cpu", "CPU s per 1,000 mails", 3,
            cpu and Goal("ratio", "<=", cpu)),
        Row("p50", "ms to the 250, p50", 1),
        Row("p99", "ms to the 250, p99", 1),
        Row("memory", "MB of memory (PSS)", 1),
    ]


def spread(runs, product, figure):
    """runs: [{product: figures}], one for each pair."""
    return Spread.of([run.get(product, {}).get(figure) for run in runs])


def ratios(runs, figure):
    return Spread.of([
        run["Postern"][figure] / run["Postfix"][figure] for run in runs
        if run.get("Postfix", {}).get(figure)
        and run.get("Postern", {}).get(figure) is not None])


def judge(row, runs):
    """(value that the goal is about, whether it is met) or None."""
    if row.goal is None:
        return None
    found = ratios(runs, row.figure) if row.goal.of == "ratio" \
        else spread(runs, "Postern", row.figure)
    if found is None:
        return None
    return found.median, row.goal.holds(found.median)


def losses(runs):
    """What was lost, torn or doubled in all runs of a case."""
    total = {"lost": 0, "torn": 0, "doubles": 0}
    for run in runs:
        for figures in run.values():
            for kind, count in figures.get("loss", {}).items():
                total[kind] += count
    return total
