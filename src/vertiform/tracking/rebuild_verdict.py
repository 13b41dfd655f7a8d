"""Holds what a rebuild made against what was recorded, and keeps the verdict on the version."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from vertiform.evaluation.tables import markdown_table
from vertiform.tracking.rebuild import Rebuilt
from vertiform.tracking.recorded import PRETRAIN, Recorded, RecordedRun, facts_of
from vertiform.tracking.run_facts import flatten
from vertiform.tracking.runs import who
from vertiform.tracking.store import Store, errors_named

TAG = "rebuild.verdict"  # of a version: the latest verdict, as JSON
FOLDER = "rebuilds"  # among the artifacts of the version's run: every verdict, whole
TAG_ROWS = 20  # of the differences; the artifact holds all
SCORE_DIGITS = 6  # evaluation.json keeps no more
# Never part of the result: DESIGN.md, "Parameters".
PLACE_AND_SPEED = ("trainer.", "tracking.")
KINDS = ("weights", "score", "configuration", "code", "data", "environment", "hardware", "record")
HEADER = ("kind", "what", "recorded", "rebuilt", "same")

Outcome = Literal["identical", "within tolerance", "differs"]


@dataclass(frozen=True)
class Row:
    """One thing that was compared. kind: weights, score, code, data, ... as docs/keeping.md."""

    kind: str
    what: str
    recorded: str
    rebuilt: str

    @property
    def is_same(self) -> bool:
        """Did it come out as it was recorded?"""
        return self.recorded == self.rebuilt


@dataclass(frozen=True)
class RebuildVerdict:
    """What a rebuild came to, as it is kept on the version."""

    id: str
    when: str  # UTC, ISO 8601
    who: str
    where: Mapping[str, str]  # the hardware and the packages it ran on
    version: str
    outcome: Outcome
    tolerance: float
    largest_score_difference: float | None  # None: bit for bit the same, so not scored
    seconds: float
    rows: tuple[Row, ...]

    @property
    def differences(self) -> list[Row]:
        """The rows that did not come out the same."""
        return [row for row in self.rows if not row.is_same]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def compare(recorded: Recorded, rebuilt: Rebuilt, *, tolerance: float) -> RebuildVerdict:
    """Hold what was made against what was recorded.

    Other packages or another machine do not make equal weights a failure; other data, other code
    or a record that contradicts itself do: then it is not the recorded model that was made again.
    """
    rows = (
        *_weights(recorded, rebuilt),
        *_scored(recorded, rebuilt, tolerance=tolerance),
        *_surroundings(recorded, rebuilt),
        *_contradictions(recorded),
    )
    return RebuildVerdict(
        id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        who=who(),
        where={**rebuilt.finetuned["hardware"], **rebuilt.finetuned["packages"]},
        version=recorded.version.uri,
        outcome=_outcome(rows, recorded, rebuilt, tolerance=tolerance),
        tolerance=tolerance,
        largest_score_difference=_largest_difference(recorded, rebuilt),
        seconds=round(rebuilt.seconds, 1),
        rows=rows,
    )


def keep_verdict(store: Store, recorded: Recorded, verdict: RebuildVerdict) -> None:
    """Record a verdict: whole with the version's run, and in short on the version itself."""
    version = recorded.version
    whole = json.dumps(verdict.to_json(), indent=2)
    short = verdict.to_json() | {
        "rows": [asdict(row) for row in verdict.differences[:TAG_ROWS]],
        "differences": len(verdict.differences),
    }
    with errors_named(store.uri):
        for suffix, text in (("json", whole), ("md", as_markdown(verdict))):
            store.client.log_text(version.run_id, text, f"{FOLDER}/{verdict.id}.{suffix}")
        # Last, so that a verdict on the version is one whose figures can be looked up.
        store.client.set_model_version_tag(
            version.name, str(version.number), TAG, json.dumps(short)
        )


def table_rows(verdict: RebuildVerdict) -> list[list[str]]:
    """Return the cells of the table: every difference, and what came out the same in short."""
    rows = [[row.kind, row.what, row.recorded, row.rebuilt, "no"] for row in verdict.differences]
    same: dict[str, int] = {}
    for row in verdict.rows:
        if row.is_same:
            same[row.kind] = same.get(row.kind, 0) + 1
    told = [[kind, f"{count} as recorded", "", "", "yes"] for kind, count in same.items()]
    return sorted(rows + told, key=lambda cells: KINDS.index(cells[0]))


def as_markdown(verdict: RebuildVerdict) -> str:
    """Write a verdict as the page that stays with the run."""
    return (
        f"# {verdict.version} rebuilt: {verdict.outcome}\n\n{verdict.when} by {verdict.who}, "
        f"{verdict.seconds:.0f} s, tolerance {verdict.tolerance}\n\n"
        f"{markdown_table(HEADER, table_rows(verdict))}\n"
    )


def _weights(recorded: Recorded, rebuilt: Rebuilt) -> Iterator[Row]:
    for name in sorted({*recorded.files, *rebuilt.files}):
        pair = (files.get(name, "no such file")[:16] for files in (recorded.files, rebuilt.files))
        yield Row("weights", name, *pair)
    made = (rebuilt.pretrained or {}).get("weights", {})
    for data in recorded.finetuned.lineage["data"]:
        if data["path"] in made:
            yield Row("weights", data["path"], data["digest"][:16], made[data["path"]][:16])


def _scored(recorded: Recorded, rebuilt: Rebuilt, *, tolerance: float) -> Iterator[Row]:
    for name, (before, after) in _score_pairs(recorded, rebuilt).items():
        is_near = abs(before - after) <= tolerance
        shown = f"{before:.6f}"
        yield Row("score", name, shown, shown if is_near else f"{after:.6f}")


def _score_pairs(recorded: Recorded, rebuilt: Rebuilt) -> dict[str, tuple[float, float]]:
    return {
        name: (round(value, SCORE_DIGITS), round(rebuilt.scores[name], SCORE_DIGITS))
        for name, value in recorded.scores.items()
        if name in rebuilt.scores
    }


def _largest_difference(recorded: Recorded, rebuilt: Rebuilt) -> float | None:
    pairs = _score_pairs(recorded, rebuilt).values()
    return max((abs(before - after) for before, after in pairs), default=None)


def _surroundings(recorded: Recorded, rebuilt: Rebuilt) -> Iterator[Row]:
    runs = [(recorded.finetuned, rebuilt.finetuned)]
    if recorded.pretrained is not None and rebuilt.pretrained is not None:
        # Made again at the commit of the fine-tuning, as `dvc repro` there would.
        data = {key: recorded.pretrained.lineage[key] for key in ("data",)}
        runs.append((_only(recorded.pretrained, data), rebuilt.pretrained))
    seen = set()
    for before, after in runs:
        for row in _facts(before, after):
            if row.what not in seen:
                seen.add(row.what)
                yield row
    yield from _configuration(recorded.finetuned.config, rebuilt.config)
    for name, versions in rebuilt.lock.items():
        if f"package.{name}" not in seen:
            pinned, _, here = versions.partition(" / ")
            yield Row("environment", f"requirements.lock {name}", pinned, here)


def _facts(recorded: RecordedRun, rebuilt: Mapping[str, Any]) -> Iterator[Row]:
    after = facts_of(rebuilt)
    trained = {f"data.{data['path']}" for data in rebuilt["data"] if data["stage"] == PRETRAIN}
    for name, before in facts_of(recorded.lineage).items():
        if name not in trained:  # those are among the weights
            yield Row(_kind(name), name, before, after.get(name, "nothing"))


def _only(run: RecordedRun, part: Mapping[str, Any]) -> RecordedRun:
    nothing = {
        "code": {"commit": "", "diff_sha256": ""},
        "is_dirty": False,
        "lock_sha256": "",
        "packages": {},
        "hardware": {},
    }
    return RecordedRun(run.run_id, {**nothing, **part}, run.config, run.tags, run.diff)


def _kind(name: str) -> str:
    if name.startswith(("git.", "mlflow.")):
        return "code"
    kinds = {"data": "data", "package": "environment", "lock": "environment"}
    return kinds.get(name.partition(".")[0], "hardware")


def _configuration(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Row]:
    flat, flat_after = flatten(before), flatten(after)
    for key in sorted({*flat, *flat_after}):
        if not key.startswith(PLACE_AND_SPEED):
            pair = (values.get(key, "nothing") for values in (flat, flat_after))
            yield Row("configuration", key, *pair)
    threads = (values.get("trainer.threads", "nothing") for values in (flat, flat_after))
    yield Row("hardware", "trainer.threads", *threads)


def _contradictions(recorded: Recorded) -> Iterator[Row]:
    for run in recorded.runs:
        for name, told, tagged in run.contradictions():
            yield Row("record", f"{name} of run {run.run_id[:8]}", told, f"its tag says {tagged}")


def _outcome(
    rows: tuple[Row, ...], recorded: Recorded, rebuilt: Rebuilt, *, tolerance: float
) -> Outcome:
    if any(row.kind in ("code", "data", "record") and not row.is_same for row in rows):
        return "differs"
    if rebuilt.files == recorded.files:
        return "identical"
    largest = _largest_difference(recorded, rebuilt)
    if largest is None or largest > tolerance or set(recorded.scores) - set(rebuilt.scores):
        return "differs"
    return "within tolerance"
