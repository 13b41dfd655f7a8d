"""Makes a version again from its record alone; rebuild_verdict.py says what it came to."""

import importlib.metadata
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vertiform.errors import TrackingError
from vertiform.files import read_json
from vertiform.tracking.recorded import LINEAGE, PRETRAIN, Recorded, dvc_digest, sha256_of_files
from vertiform.tracking.run_facts import flatten
from vertiform.tracking.scratch import Scratch, make_scratch
from vertiform.tracking.store import ARTIFACTS

IN_MLFLOW = ("models:/", "runs:/")


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
