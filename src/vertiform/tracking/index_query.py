"""Questions to the index: which runs, in which order, and what is known of them."""

import math
import re
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from vertiform.errors import ConfigError
from vertiform.evaluation.names import is_lower_better
from vertiform.tracking.index_file import METRICS, PARAMS, TAGS, number_in
from vertiform.tracking.limits import in_batches

SECONDS_WITHOUT_A_SIGN = 90.0  # of a running run's owner, before it is taken for lost
LOST = "lost?"
LATEST = "started"
CONDITION = re.compile(r"(?P<name>[^=!<>~]+?)\s*(?P<operator>!=|>=|<=|=|<|>|~)\s*(?P<value>.*)")
ROWS_PER_QUERY = 500
MAX_NAMES_LISTED = 30

# What is known of every run, in SQL over `runs AS r`, in the order of FoundRun. :now is in seconds.
ATTRIBUTES = {
    "id": "r.run_id",
    "name": "r.name",
    "kind": "r.kind",
    "experiment": "(SELECT name FROM experiments WHERE id = r.experiment)",
    "state": (
        "CASE WHEN r.status != 'RUNNING' THEN lower(r.status) "
        # A run of another tool gives no signs, so nothing can be said of its owner.
        "WHEN r.kind = '' OR coalesce(r.seen, r.started_ms / 1e3) >= :now - :patience "
        f"THEN 'running' ELSE '{LOST}' END"
    ),
    "started": "r.started_ms",
    "seconds": "(coalesce(r.ended_ms, :now * 1000) - r.started_ms) / 1e3",
    "parent": "r.parent_id",
}
NUMERIC = ("started", "seconds")
_NUM_CHILDREN = "(SELECT count(*) FROM runs AS c WHERE c.parent_id = r.run_id)"


@dataclass(frozen=True)
class Field:
    """Something that runs have: an attribute, or a metric, param or tag by its number."""

    kind: str  # "attribute", or METRICS, PARAMS, TAGS
    name: str
    number: int = 0


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
        query = _Query(self._always)
        order = self._order(query, question)
        for condition in question.where:
            query.keep(self._condition(query, condition))
        if question.only_top:
            query.keep("NOT EXISTS (SELECT 1 FROM runs AS p WHERE p.run_id = r.parent_id)")
        return self._runs(query, f"{order} LIMIT {query.name(_limit(question.limit))}")

    def count(self, where: Sequence[str] = ()) -> int:
        """Return how many runs fulfil every condition."""
        query = _Query(self._always)
        for condition in where:
            query.keep(self._condition(query, condition))
        (number,) = self._index.execute(
            f"SELECT count(*) FROM runs AS r {query.conditions}", query.values
        ).fetchone()
        return number

    def children(self, run_ids: Iterable[str]) -> dict[str, list[FoundRun]]:
        """Return the runs below each of these, first started first."""
        found = {}
        for run_id in run_ids:
            query = _Query(self._always)
            query.keep(f"r.parent_id = {query.name(run_id)}")
            found[run_id] = self._runs(query, "ORDER BY r.started_ms, r.run_id")
        return found

    def named(self, reference: str) -> list[FoundRun]:
        """Return the runs whose id begins so, or whose name is so; latest first."""
        query = _Query(self._always)
        word = query.name(reference)
        # GLOB would read [ and *; a range uses the index over ids.
        end = query.name(reference + "\U0010ffff")
        query.keep(f"(r.name = {word} OR (r.run_id >= {word} AND r.run_id < {end}))")
        return self._runs(query, "ORDER BY r.started_ms DESC, r.run_id")

    def field(self, name: str) -> Field:
        """Find what `name` means; metrics., params. or tags. before it chooses among namesakes."""
        if name in ATTRIBUTES:
            return Field("attribute", name)
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

    def _runs(self, query: "_Query", order: str) -> list[FoundRun]:
        rows = self._index.execute(
            f"SELECT r.row, {', '.join(ATTRIBUTES.values())}, {_NUM_CHILDREN} "
            f"FROM {query.tables} {query.conditions} {order}",
            query.values,
        )
        return [FoundRun(*row) for row in rows]

    def _order(self, query: "_Query", question: Question) -> str:
        one = self.field(question.sort)
        if one.kind == METRICS:
            # The metric's own index gives the order, and stops after the limit.
            query.tables = "metrics AS m CROSS JOIN runs AS r ON r.row = m.run"
            query.keep(f"m.field = {query.name(one.number)}")
            key, is_ascending = "m.value", is_lower_better(one.name)
        elif one.kind == "attribute":
            key, is_ascending = ATTRIBUTES[one.name], one.name not in NUMERIC
        else:
            query.tables = (
                "facts AS v CROSS JOIN words AS w ON w.id = v.word "
                "CROSS JOIN runs AS r ON r.row = v.run"
            )
            query.keep(f"v.field = {query.name(one.number)}")
            key, is_ascending = "w.number IS NULL, w.number, w.word", True
        direction = "ASC" if is_ascending != question.is_reversed else "DESC"
        keys = ", ".join(f"{part} {direction} NULLS LAST" for part in key.split(", "))
        return f"ORDER BY {keys}, r.started_ms DESC, r.run_id"

    def _condition(self, query: "_Query", text: str) -> str:
        parts = CONDITION.fullmatch(text.strip())
        if parts is None:
            raise ConfigError(
                f"`{text}` is not a condition.",
                fix="write a name, one of = != > >= < <= ~ (contains) and a value: "
                "--where 'domain=software' 'test/f1_macro>0.5'.",
            )
        one = self.field(parts["name"])
        operator, value = parts["operator"], parts["value"]
        if one.kind == "attribute":
            return _on_attribute(query, one.name, operator, value)
        return _on_field(query, one, operator, value)

    def _values_of(self, one: Field, rows: Sequence[int]) -> Iterable[tuple[int, Any]]:
        places = ", ".join("?" * len(rows))
        if one.kind == METRICS:
            found = self._index.execute(
                f"SELECT run, value FROM metrics WHERE field = ? AND run IN ({places})",
                [one.number, *rows],
            )
            return [(row, _number(value)) for row, value in found]
        if one.kind == "attribute":
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


class _Query:
    """Collects the conditions of one SQL query, and the values that they name."""

    def __init__(self, always: Mapping[str, Any]) -> None:
        self.tables = "runs AS r"
        self.values = dict(always)
        self._kept: list[str] = []

    def keep(self, condition: str) -> None:
        self._kept.append(condition)

    def name(self, value: Any) -> str:
        """Give `value` to the query, and return the name by which SQL calls it."""
        key = f"v{len(self.values)}"
        self.values[key] = value
        return f":{key}"

    @property
    def conditions(self) -> str:
        return f"WHERE {' AND '.join(self._kept)}" if self._kept else ""


def _on_attribute(query: _Query, name: str, operator: str, value: str) -> str:
    key = ATTRIBUTES[name]
    if name not in NUMERIC:
        return _on_text(query, key, operator, value)
    if operator == "~":
        raise _not_text(name)
    number = _milliseconds(value) if name == "started" else _asked_number(name, value)
    return f"{key} {operator} {query.name(number)}"


def _on_field(query: _Query, one: Field, operator: str, value: str) -> str:
    """Keep runs that have the field, with such a value."""
    number = query.name(one.number)
    if one.kind == METRICS:
        if operator == "~":
            raise _not_text(one.name)
        limit = query.name(_asked_number(one.name, value))
        inner = f"SELECT run FROM metrics WHERE field = {number} AND value {operator} {limit}"
    elif operator in ("=", "!="):
        # 1e-3 and 0.001 are one value: configurations write it either way.
        words = (
            f"SELECT id FROM words WHERE word = {query.name(value)} "
            f"OR number = {query.name(number_in(value))}"
        )
        within = "IN" if operator == "=" else "NOT IN"
        inner = f"SELECT run FROM facts WHERE field = {number} AND word {within} ({words})"
    else:
        kept = (
            _on_text(query, "w.word", operator, value)
            if operator == "~"
            else f"w.number {operator} {query.name(_asked_number(one.name, value))}"
        )
        inner = (
            "SELECT v.run FROM facts AS v JOIN words AS w ON w.id = v.word "
            f"WHERE v.field = {number} AND {kept}"
        )
    return f"r.row IN ({inner})"


def _on_text(query: _Query, key: str, operator: str, value: str) -> str:
    if operator == "~":
        return f"instr(lower({key}), lower({query.name(value)})) > 0"
    return f"{key} {operator} {query.name(value)}"


def _asked_number(name: str, value: str) -> float:
    number = number_in(value)
    if number is None:
        raise ConfigError(
            f"`{name}` is compared with numbers, and `{value}` is none.",
            fix=f"write a number, such as '{name}>0.5'; for texts there are = != and ~.",
        )
    return number


def _milliseconds(value: str) -> float:
    try:
        return datetime.fromisoformat(value).astimezone().timestamp() * 1000
    except ValueError:
        raise ConfigError(
            f"`{value}` is not a time.", fix="write it as 2026-11-28 or '2026-11-28 14:30'."
        ) from None


def _not_text(name: str) -> ConfigError:
    return ConfigError(f"`{name}` is not a text, so ~ cannot look into it.", fix="use = < or >.")


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit  # SQLite's word for all


def _number(value: float | None) -> float:
    return math.nan if value is None else value
