"""Questions to the index: which runs, in which order, and what is known of them."""

import math
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from vertiform.errors import ConfigError
from vertiform.evaluation.names import is_lower_better
from vertiform.tracking.index_conditions import (
    ATTRIBUTE,
    ATTRIBUTES,
    NUM_CHILDREN,
    NUMERIC,
    Field,
    Query,
    condition_of,
)
from vertiform.tracking.index_file import METRICS, PARAMS, TAGS
from vertiform.tracking.limits import in_batches

SECONDS_WITHOUT_A_SIGN = 90.0  # of a running run's owner, before it is taken for lost
LATEST = "started"
ROWS_PER_QUERY = 500
MAX_NAMES_LISTED = 30
RUNS_LOOKED_AT_FIRST = 2000  # the best, one by one; finding all that fulfil a condition costs more


@dataclass(frozen=True)
class Question:
    """Which runs. where: conditions that all must hold, such as "domain=software".

    sort: a metric (best first), or whatever runs have; those without it are left out.
    """

    sort: str = LATEST
    is_reversed: bool = False
    where: tuple[str, ...] = ()
    limit: int | None = 10
    only_top: bool = False  # leave out runs whose parent is there too


@dataclass(frozen=True)
class FoundRun:
    """One run as the index knows it. Times in milliseconds since 1970 and in seconds."""

    row: int
    id: str
    name: str
    kind: str
    experiment: str
    state: str  # MLflow's status in small letters, or LOST
    started_ms: int
    seconds: float  # until now for a run that goes on
    parent_id: str
    num_children: int
    values: Mapping[str, float | str] = field(default_factory=dict)  # of the fields asked for


class Answers:
    """Answers questions from one open index."""

    def __init__(self, index: sqlite3.Connection, *, now: float | None = None) -> None:
        """now: seconds since 1970, for states and durations; the clock's if not given."""
        self._index = index
        self._always = {
            "now": time.time() if now is None else now,
            "patience": SECONDS_WITHOUT_A_SIGN,
        }

    def find(self, question: Question) -> list[FoundRun]:
        """Return the runs in question, best or latest first; ties by start, latest first."""
        best = self._found(question, among_best=True) if question.where else []
        if best and len(best) == question.limit:
            return best
        return self._found(question)

    def count(self, where: Sequence[str] = ()) -> int:
        """Return how many runs fulfil every condition."""
        query = Query(self._always)
        self._keep_all(query, where, as_sets=True)
        (number,) = self._index.execute(
            f"SELECT count(*) FROM runs AS r {query.conditions}", query.values
        ).fetchone()
        return number

    def children(self, run_ids: Iterable[str]) -> dict[str, list[FoundRun]]:
        """Return the runs below each of these, first started first."""
        found = {}
        for run_id in run_ids:
            query = Query(self._always)
            query.keep(f"r.parent_id = {query.name(run_id)}")
            found[run_id] = self._runs(query, "ORDER BY r.started_ms, r.run_id")
        return found

    def named(self, reference: str) -> list[FoundRun]:
        """Return the runs whose id begins so, or whose name is so; latest first."""
        query = Query(self._always)
        word = query.name(reference)
        # GLOB would read [ and *; a range uses the index over ids.
        end = query.name(reference + "\U0010ffff")
        query.keep(f"(r.name = {word} OR (r.run_id >= {word} AND r.run_id < {end}))")
        return self._runs(query, "ORDER BY r.started_ms DESC, r.run_id")

    def names(self) -> list[str]:
        """Return every name that a run has."""
        return [name for (name,) in self._index.execute("SELECT DISTINCT name FROM runs")]

    def field(self, name: str) -> Field:
        """Find what `name` means; metrics., params. or tags. before it chooses among namesakes."""
        if name in ATTRIBUTES:
            return Field(ATTRIBUTE, name)
        kind, _, rest = name.partition(".")
        asked = [(kind, rest)] if kind in (METRICS, PARAMS, TAGS) else []
        for kind, bare in [*asked, *((kind, name) for kind in (METRICS, PARAMS, TAGS))]:
            found = self._index.execute(
                "SELECT id FROM fields WHERE kind = ? AND name = ?", (kind, bare)
            ).fetchone()
            if found:
                return Field(kind, bare, found[0])
        raise ConfigError(f"No run has `{name}`.", fix=self._near(name))

    def values(self, runs: Sequence[FoundRun], fields: Sequence[Field]) -> list[FoundRun]:
        """Return the runs with what they hold of each field; what one lacks stays out."""
        found: dict[int, dict[str, float | str]] = {run.row: {} for run in runs}
        for one in fields:
            for rows in in_batches(list(found), ROWS_PER_QUERY):
                for row, value in self._values_of(one, rows):
                    found[row][one.name] = value
        return [replace(run, values=found[run.row]) for run in runs]

    def everything(self, run: FoundRun) -> dict[str, dict[str, Any]]:
        """Return every metric, param and tag of one run."""
        metrics = self._index.execute(
            "SELECT f.name, m.value FROM metrics AS m "
            "JOIN fields AS f ON f.id = m.field WHERE m.run = ? ORDER BY f.name",
            [run.row],
        )
        known: dict[str, dict[str, Any]] = {PARAMS: {}, TAGS: {}}
        known[METRICS] = {name: _number(value) for name, value in metrics}
        facts = self._index.execute(
            "SELECT f.kind, f.name, w.word FROM facts AS v JOIN fields AS f ON f.id = v.field "
            "JOIN words AS w ON w.id = v.word WHERE v.run = ? ORDER BY f.name",
            [run.row],
        )
        for kind, name, word in facts:
            known[kind][name] = word
        return known

    def metrics_of(self, runs: Sequence[FoundRun]) -> dict[str, int]:
        """Return how many of these runs have each metric."""
        counts: dict[str, int] = {}
        for batch in in_batches([run.row for run in runs], ROWS_PER_QUERY):
            found = self._index.execute(
                "SELECT f.name, count(*) FROM metrics AS m JOIN fields AS f ON f.id = m.field "
                f"WHERE m.run IN ({', '.join('?' * len(batch))}) GROUP BY f.name",
                list(batch),
            )
            for name, number in found:
                counts[name] = counts.get(name, 0) + number
        return counts

    def _runs(self, query: Query, order: str) -> list[FoundRun]:
        rows = self._index.execute(
            f"SELECT r.row, {', '.join(ATTRIBUTES.values())}, {NUM_CHILDREN} "
            f"FROM {query.tables} {query.conditions} {order}",
            query.values,
        )
        return [FoundRun(*row) for row in rows]

    def _found(self, question: Question, *, among_best: bool = False) -> list[FoundRun]:
        """among_best: only look at the first by the metric; none if that is not what sorts."""
        one = self.field(question.sort)
        bound = self._bound(one, question) if among_best else None
        if among_best and bound is None:
            return []
        query = Query(self._always)
        order = _order(query, one, question)
        self._keep_all(query, question.where, as_sets=not among_best)
        if bound is not None:
            query.keep(
                f"m.value {'<=' if _is_ascending(one, question) else '>='} {query.name(bound)}"
            )
        if question.only_top:
            query.keep("NOT EXISTS (SELECT 1 FROM runs AS p WHERE p.run_id = r.parent_id)")
        limit = -1 if question.limit is None else question.limit  # -1 is SQLite's word for all
        return self._runs(query, f"{order} LIMIT {query.name(limit)}")

    def _bound(self, one: Field, question: Question) -> float | None:
        """Return the value that RUNS_LOOKED_AT_FIRST runs reach; every tie of it reaches it too."""
        if one.kind != METRICS:
            return None
        direction = "ASC" if _is_ascending(one, question) else "DESC"
        found = self._index.execute(
            f"SELECT value FROM metrics WHERE field = ? ORDER BY value {direction} NULLS LAST "
            "LIMIT 1 OFFSET ?",
            (one.number, RUNS_LOOKED_AT_FIRST - 1),
        ).fetchone()
        return found[0] if found else None

    def _keep_all(self, query: Query, where: Sequence[str], *, as_sets: bool) -> None:
        for text in where:
            query.keep(condition_of(query, text, field=self.field, as_set=as_sets))

    def _values_of(self, one: Field, rows: Sequence[int]) -> Iterable[tuple[int, Any]]:
        places = ", ".join("?" * len(rows))
        if one.kind == METRICS:
            found = self._index.execute(
                f"SELECT run, value FROM metrics WHERE field = ? AND run IN ({places})",
                [one.number, *rows],
            )
            return [(row, _number(value)) for row, value in found]
        if one.kind == ATTRIBUTE:
            return []
        return self._index.execute(
            "SELECT v.run, w.word FROM facts AS v JOIN words AS w ON w.id = v.word "
            f"WHERE v.field = ? AND v.run IN ({places})",
            [one.number, *rows],
        )

    def _near(self, name: str) -> str:
        known = [*ATTRIBUTES, *(n for (n,) in self._index.execute("SELECT name FROM fields"))]
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        if near:
            return f"did you mean `{near[0]}`?"
        ends = [other for other in known if other.rpartition("/")[2] == name]
        listed = ", ".join((ends or sorted(known))[:MAX_NAMES_LISTED])
        return f"choose one of: {listed}{' ...' if len(known) > MAX_NAMES_LISTED else '.'}"


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _is_ascending(one: Field, question: Question) -> bool:
    """Best first for a metric, latest or longest first for a time, else as in a dictionary."""
    if one.kind == METRICS:
        return is_lower_better(one.name) != question.is_reversed
    return (one.name not in NUMERIC or one.kind != ATTRIBUTE) != question.is_reversed


def _order(query: Query, one: Field, question: Question) -> str:
    """Say what to order by; `query` gets the tables in which that is found in order."""
    keys = ["m.value"]
    if one.kind == METRICS:
        # The metric's own index gives the order, and stops after the limit.
        query.tables, query.row = "metrics AS m CROSS JOIN runs AS r ON r.row = m.run", "m.run"
        query.keep(f"m.field = {query.name(one.number)}")
    elif one.kind == ATTRIBUTE:
        keys = [ATTRIBUTES[one.name]]
    else:
        query.tables = (
            "facts AS m CROSS JOIN words AS o ON o.id = m.word "
            "CROSS JOIN runs AS r ON r.row = m.run"
        )
        query.row = "m.run"
        query.keep(f"m.field = {query.name(one.number)}")
        keys = ["o.number", "o.word"]
    direction = "ASC" if _is_ascending(one, question) else "DESC"
    ordered = ", ".join(f"{key} {direction} NULLS LAST" for key in keys)
    return f"ORDER BY {ordered}, r.started_ms DESC, r.run_id"
