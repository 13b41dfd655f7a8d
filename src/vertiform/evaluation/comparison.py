"""What differs between runs: configuration, data, code, machine and scores. Pure functions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vertiform.evaluation.bootstrap import Interval
from vertiform.evaluation.names import is_lower_better
from vertiform.evaluation.tables import with_interval
from vertiform.evaluation.thinning import Curve

GROUPS = ("configuration", "data", "code", "packages", "hardware")
# Of metrics, what people compare first; the rest follow by name.
FIRST = ("test/", "best/", "val/", "train/")
LAST = ("system/", "energy/", "speed/", "memory/")


@dataclass(frozen=True)
class ComparedRun:
    """One run with all that may differ. intervals are of test scores, on rows of one hash."""

    id: str
    name: str
    kind: str
    state: str
    started_ms: int
    seconds: float
    facts: Mapping[str, Mapping[str, str]]  # by group, then by name
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    rows_sha256: str = ""  # of the test rows that the intervals are of
    curves: Mapping[str, Curve] = field(default_factory=dict)


@dataclass(frozen=True)
class FactRow:
    """Something that is not alike everywhere: a value for each run, None where it has none."""

    group: str
    name: str
    values: tuple[str | None, ...]


def differing_facts(runs: Sequence[ComparedRun]) -> list[FactRow]:
    """Return the facts in which the runs differ, group by group; what is alike is left out."""
    found = []
    for group in GROUPS:
        names = sorted({name for run in runs for name in run.facts.get(group, {})})
        for name in names:
            values = tuple(run.facts.get(group, {}).get(name) for run in runs)
            if len(set(values)) > 1:
                found.append(FactRow(group, name, values))
    return found


def num_alike(runs: Sequence[ComparedRun]) -> int:
    """Count the facts that every run has, and that are the same in all."""
    pairs = [
        {(group, *item) for group, facts in run.facts.items() for item in facts.items()}
        for run in runs
    ]
    return len(set.intersection(*pairs)) if pairs else 0


def metric_rows(runs: Sequence[ComparedRun]) -> list[FactRow]:
    """Return the metrics in which the runs differ, with intervals where they are known."""
    names = sorted({name for run in runs for name in run.metrics}, key=metric_order)
    rows = [FactRow("metrics", name, tuple(_shown(run, name) for run in runs)) for name in names]
    return [row for row in rows if len(set(row.values)) > 1]


def metric_order(name: str) -> tuple[int, str]:
    """Sort key: test scores first, the machine's own figures last."""
    first = next((i for i, start in enumerate(FIRST) if name.startswith(start)), len(FIRST))
    return (first + 10 * name.startswith(LAST), name)


def has_best(name: str) -> bool:
    """Say whether more or less of a metric is better at all, as of a score, not of a step size."""
    is_measured = name.startswith(("test/", "best/", "val/", "speed/"))
    return is_measured or (is_lower_better(name) and not name.startswith("system/"))


def said_of_intervals(runs: Sequence[ComparedRun]) -> Iterator[str]:
    """Say of each test score which runs its intervals tell apart from the best, and which not.

    Overlapping intervals are a coarse test: a paired one on the same rows, as the gates do it,
    may tell apart what these do not. Runs tested on other rows are not compared.
    """
    names = sorted({name for run in runs for name in run.intervals}, key=metric_order)
    for name in names:
        with_it = [run for run in runs if name in run.intervals]
        for rows in dict.fromkeys(run.rows_sha256 for run in with_it):
            same_rows = [run for run in with_it if run.rows_sha256 == rows]
            if len(same_rows) > 1:
                yield _said_of(name, same_rows)
        if len({run.rows_sha256 for run in with_it}) > 1:
            yield f"{name}: only runs tested on the same rows are compared, and not all were."


def labels(runs: Sequence[ComparedRun]) -> list[str]:
    """Return a name for each run that no other has: its own, with its id where it must be."""
    names = [run.name for run in runs]
    return [
        run.name if names.count(run.name) == 1 else f"{run.name} ({run.id[:8]})" for run in runs
    ]


def _said_of(name: str, runs: Sequence[ComparedRun]) -> str:
    sign = -1 if is_lower_better(name) else 1
    best, *others = sorted(runs, key=lambda run: -sign * run.intervals[name].value)
    within = [run for run in others if _overlap(best.intervals[name], run.intervals[name])]
    lead = f"{name}: {best.name} {_interval(best, name)} is best; "
    if len(within) == len(others):
        return f"{lead}{_listed(others, name)} within its interval: not told apart."
    apart = [run for run in others if run not in within]
    if not within:
        return f"{lead}{_listed(apart, name)} below it, outside the intervals."
    return f"{lead}{_listed(within, name)} within its interval, {_listed(apart, name)} outside."


def _listed(runs: Sequence[ComparedRun], name: str, most: int = 3) -> str:
    if len(runs) > most:
        return f"{len(runs)} runs are"
    named = " and ".join(f"{run.name} {_interval(run, name)}" for run in runs)
    return f"{named} {'is' if len(runs) == 1 else 'are'}"


def _interval(run: ComparedRun, name: str) -> str:
    found = run.intervals[name]
    return with_interval(found.value, found.low, found.high)


def _overlap(one: Interval, other: Interval) -> bool:
    return one.low <= other.high and other.low <= one.high


def _shown(run: ComparedRun, name: str) -> str | None:
    if name in run.intervals:
        return _interval(run, name)
    value = run.metrics.get(name)
    return None if value is None else number_shown(value)


def number_shown(value: float) -> str:
    """Write a metric: three digits after the point, or three significant ones far from 1."""
    if value and value == value and (abs(value) < 0.001 or abs(value) >= 100_000):
        return f"{value:.3g}"
    return f"{value:,.3f}"
