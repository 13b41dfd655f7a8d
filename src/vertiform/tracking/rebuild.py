"""Makes a version again from its record alone, and says whether it came out the same."""

import importlib.metadata
import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from vertiform.errors import TrackingError
from vertiform.evaluation.tables import markdown_table
from vertiform.files import read_json
from vertiform.tracking.recorded import (
    LINEAGE,
    PRETRAIN,
    Recorded,
    RecordedRun,
    dvc_digest,
    facts_of,
    sha256_of_files,
)
from vertiform.tracking.run_facts import flatten
from vertiform.tracking.runs import who
from vertiform.tracking.scratch import Scratch, make_scratch
from vertiform.tracking.store import ARTIFACTS, Store, errors_named

TAG = "rebuild.verdict"  # of a version: the latest verdict, as JSON
FOLDER = "rebuilds"  # among the artifacts of the version's run: every verdict, whole
TAG_ROWS = 20  # of the differences; the artifact holds all
SCORE_DIGITS = 6  # evaluation.json keeps no more
# Never part of the result: DESIGN.md, "Parameters".
PLACE_AND_SPEED = ("trainer.", "tracking.")
IN_MLFLOW = ("models:/", "runs:/")

Outcome = Literal["identical", "within tolerance", "differs"]
logger = logging.getLogger(__name__)


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
class Rebuilt:
    """What the rebuild left: the same facts as the record's."""

    finetuned: Mapping[str, Any]  # lineage.json of the run of the start that was best
    pretrained: Mapping[str, Any] | None
    config: Mapping[str, Any]
    files: Mapping[str, str]
    scores: Mapping[str, float]  # empty if the files came out the same: nothing to score
    lock: Mapping[str, str]  # pins of requirements.lock that are not what ran: name, "pin / here"
    seconds: float


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


def rebuild(
    recorded: Recorded, *, project: Path, into: Path, from_raw: bool, fresh_environment: bool
) -> Rebuilt:
    """Make the version again in the empty folder `into`; progress goes to the log.

    from_raw: are the data stages run again, instead of taking their outputs from DVC's cache?
    fresh_environment: is one built from the recorded lock, instead of using this one?
    """
    started = time.monotonic()
    scratch = make_scratch(project, recorded.finetuned, into=into)
    if fresh_environment:
        scratch = scratch.build_environment()
    _bring_data(scratch, recorded, from_raw=from_raw)
    scratch.compose()
    _check_starts(scratch.folder / "release", recorded.task)
    reads_weights = any(data["stage"] == PRETRAIN for data in recorded.finetuned.lineage["data"])
    if reads_weights:
        scratch.run_stage(PRETRAIN)
    scratch.run_stage(f"finetune@{recorded.task}")
    receipt = read_json(scratch.folder / recorded.receipt)
    files = sha256_of_files(scratch.folder / receipt["facts"]["model"])
    return Rebuilt(
        finetuned=_read(scratch, receipt["run_id"], LINEAGE),
        pretrained=_pretrained(scratch, recorded) if reads_weights else None,
        config=_read(scratch, receipt["run_id"], "config.yaml"),
        files=files,
        scores={} if files == recorded.files else _scores(scratch, recorded, receipt),
        lock=unlike_lock(scratch.folder / "requirements.lock") if not fresh_environment else {},
        seconds=time.monotonic() - started,
    )


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


KINDS = ("weights", "score", "configuration", "code", "data", "environment", "hardware", "record")
HEADER = ("kind", "what", "recorded", "rebuilt", "same")


def as_markdown(verdict: RebuildVerdict) -> str:
    """Write a verdict as the page that stays with the run."""
    return (
        f"# {verdict.version} rebuilt: {verdict.outcome}\n\n{verdict.when} by {verdict.who}, "
        f"{verdict.seconds:.0f} s, tolerance {verdict.tolerance}\n\n"
        f"{markdown_table(HEADER, table_rows(verdict))}\n"
    )


def unlike_lock(lock: Path) -> dict[str, str]:
    """Return what of this environment is not what `lock` pins: {"numpy": "2.4.6 / 2.5.0"}."""
    unlike = {}
    for line in lock.read_text(encoding="utf-8").splitlines() if lock.is_file() else ():
        name, is_pin, pin = line.split("#")[0].strip().partition("==")
        if not is_pin:
            continue
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            here = "not installed"
        if here.partition("+")[0] != pin.partition("+")[0]:  # a build's own suffix does not count
            unlike[name] = f"{pin} / {here}"
    return unlike


def _bring_data(scratch: Scratch, recorded: Recorded, *, from_raw: bool) -> None:
    entries = [data for run in recorded.runs for data in run.lineage["data"]]
    scratch.check_plain_files([data for data in entries if not data["stage"]])
    made = {data["path"]: data for data in entries if data["stage"] and data["stage"] != PRETRAIN}
    if not from_raw:
        scratch.take_data(made)
        return
    stages = {data["stage"] for data in made.values()}
    if recorded.pretrained is None:
        stages.add(f"tokenize@{recorded.finetuned.config['domain']}")
    scratch.make_data(sorted(stages))


def _check_starts(release: Path, task: str) -> None:
    """Refuse a start that lies in MLflow: the scratch folder has a store of its own."""
    named = {}
    for file in (release / f"{PRETRAIN}.yaml", release / f"finetune-{task}.yaml"):
        values = flatten(OmegaConf.to_container(OmegaConf.load(file)))  # pyrefly: ignore
        named |= {f"{file.stem} {key}": value for key, value in values.items()}
    for key, value in named.items():
        if key.endswith("weights") and value.startswith(IN_MLFLOW):
            raise TrackingError(
                f"The version starts from {value} ({key}), which a rebuild cannot bring along yet.",
                fix="verify the version that it starts from, and give its folder as `weights`.",
            )


def _reports(scratch: Scratch, recorded: Recorded) -> Path:
    """The domain's folder of receipts; other domains have theirs beside it."""
    return scratch.folder / recorded.receipt.parents[1]


def _pretrained(scratch: Scratch, recorded: Recorded) -> Mapping[str, Any]:
    receipt = read_json(_reports(scratch, recorded) / f"{PRETRAIN}.json")
    lineage = _read(scratch, receipt["run_id"], LINEAGE)
    weights = dvc_digest(scratch.folder / receipt["facts"]["model"])
    return {**lineage, "weights": {receipt["facts"]["model"]: weights}}


def _read(scratch: Scratch, run_id: str, file: str) -> Mapping[str, Any]:
    """Read a record of the rebuild's own run, without the MLflow that wrote it."""
    path = next((scratch.folder / ARTIFACTS).glob(f"*/{run_id}/artifacts/{file}"), None)
    if path is None:
        raise TrackingError(
            f"The rebuild's own run {run_id} left no {file}, so nothing can be compared.",
            fix="see what its lines above say of the store; with --keep the folder stays.",
        )
    values: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return values


def _scores(scratch: Scratch, recorded: Recorded, receipt: Mapping[str, Any]) -> dict[str, float]:
    """Score what was made on the test split; needed only where the weights differ."""
    scratch.run_stage(f"evaluate@{recorded.task}")
    folder = _reports(scratch, recorded) / "evaluate" / recorded.task
    tested = read_json(folder / "evaluation.json")["scores"]
    return {**receipt["scores"], **{name: score["value"] for name, score in tested.items()}}


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
