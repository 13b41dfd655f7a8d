"""What `--where 'domain=software' 'test/f1_macro>0.5'` means, as SQL over the index's tables."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vertiform.errors import ConfigError
from vertiform.tracking.index_file import METRICS, number_in

LOST = "lost?"
CONDITION = re.compile(r"(?P<name>[^=!<>~]+?)\s*(?P<operator>!=|>=|<=|=|<|>|~)\s*(?P<value>.*)")

# What is known of every run, in SQL over `runs AS r`, in the order of FoundRun. :now is in seconds.
ATTRIBUTE = "attribute"
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
NUM_CHILDREN = "(SELECT count(*) FROM runs AS c WHERE c.parent_id = r.run_id)"


@dataclass(frozen=True)
class Field:
    """Something that runs have: an attribute, or a metric, param or tag by its number."""

    kind: str  # "attribute", or METRICS, PARAMS, TAGS
    name: str
    number: int = 0


class Query:
    """Collects the conditions of one SQL query, and the values that they name."""

    def __init__(self, always: Mapping[str, Any]) -> None:
        self.tables = "runs AS r"
        self.row = "r.row"  # or what is known before the run itself is looked up
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


def condition_of(query: Query, text: str, *, field: Callable[[str], Field], as_set: bool) -> str:
    """Turn one condition into SQL over `runs AS r`, and give `query` the values it names.

    as_set: find all runs that fulfil it first, rather than ask each run that comes by.
    """
    parts = CONDITION.fullmatch(text.strip())
    if parts is None:
        raise ConfigError(
            f"`{text}` is not a condition.",
            fix="write a name, one of = != > >= < <= ~ (contains) and a value: "
            "--where 'domain=software' 'test/f1_macro>0.5'.",
        )
    one = field(parts["name"])
    operator, value = parts["operator"], parts["value"]
    if one.kind == ATTRIBUTE:
        return _on_attribute(query, one.name, operator, value)
    entries = _entries(query, one, operator, value)
    if as_set:
        return f"{query.row} IN (SELECT v.run {entries})"
    return f"EXISTS (SELECT 1 {entries} AND v.run = {query.row})"


def _on_attribute(query: Query, name: str, operator: str, value: str) -> str:
    key = ATTRIBUTES[name]
    if name not in NUMERIC:
        return _on_text(query, key, operator, value)
    if operator == "~":
        raise _not_text(name)
    number = _milliseconds(value) if name == "started" else _asked_number(name, value)
    return f"{key} {operator} {query.name(number)}"


def _entries(query: Query, one: Field, operator: str, value: str) -> str:
    """Return `FROM ... WHERE ...`: the entries v that have the field, with such a value."""
    number = query.name(one.number)
    if one.kind == METRICS:
        if operator == "~":
            raise _not_text(one.name)
        limit = query.name(_asked_number(one.name, value))
        return f"FROM metrics AS v WHERE v.field = {number} AND v.value {operator} {limit}"
    if operator in ("=", "!="):
        # 1e-3 and 0.001 are one value: configurations write it either way.
        words = (
            f"SELECT id FROM words WHERE word = {query.name(value)} "
            f"OR number = {query.name(number_in(value))}"
        )
        within = "IN" if operator == "=" else "NOT IN"
        return f"FROM facts AS v WHERE v.field = {number} AND v.word {within} ({words})"
    kept = (
        _on_text(query, "w.word", operator, value)
        if operator == "~"
        else f"w.number {operator} {query.name(_asked_number(one.name, value))}"
    )
    return f"FROM facts AS v JOIN words AS w ON w.id = v.word WHERE v.field = {number} AND {kept}"


def _on_text(query: Query, key: str, operator: str, value: str) -> str:
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
