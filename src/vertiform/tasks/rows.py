"""Labelled rows of a task, read from what the stage `label` wrote and checked against task.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertiform.errors import CorpusError, did_you_mean
from vertiform.evaluation.predictions import check_kind, classes_in
from vertiform.files import read_json, sha256_of

SPLITS = ("train", "validation", "test")

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """A task's rows.

    labels: sorted; of entities the types, without B- and I-.
    splits: "train", "validation" and "test". A row of a classification is {id, text, label,
            group}, of entities {id, tokens, tags, group}, tags in BIO. It may have `slices`.
    sha256: of each split's file.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    language: str
    split_rule: str
    splits: Mapping[str, tuple[Row, ...]]
    sha256: Mapping[str, str]


def read_task(folder: Path) -> TaskData:
    """Read tasks/<task>/, checked: hashes as written, and labels that can be learned.

    Raises CorpusError that says which stage makes the folder, or how its labels must change.
    """
    described = _described(folder)
    kind = described["kind"]
    check_kind(kind)
    for split, expected in described["sha256"].items():
        if sha256_of(_file_of(folder, split)) != expected:
            raise CorpusError(
                f"{_file_of(folder, split)} is not what task.json says was written.",
                fix="run `dvc checkout` to bring it back, or `dvc repro` to label again.",
            )
    task = TaskData(
        name=described["task"],
        kind=kind,
        labels=tuple(described["labels"]),
        language=described["language"],
        split_rule=described["split_rule"],
        splits={split: _read_rows(_file_of(folder, split)) for split in SPLITS},
        sha256=described["sha256"],
    )
    _check_can_be_learned(task)
    return task


def _described(folder: Path) -> dict[str, Any]:
    if (folder / "task.json").is_file():
        return read_json(folder / "task.json")
    siblings = sorted(p.parent.name for p in folder.parent.glob("*/task.json"))
    if siblings:
        raise CorpusError(
            f"There is no task `{folder.name}` in {folder.parent}.",
            fix=did_you_mean(folder.name, siblings),
        )
    raise CorpusError(
        f"{folder} has no task.json, so its labels are unknown.",
        fix="run `dvc repro` up to the stage `label`, or `dvc pull` if a colleague already has.",
    )


def _file_of(folder: Path, split: str) -> Path:
    path = folder / f"{split}.jsonl"
    if not path.is_file():
        raise CorpusError(
            f"{path} is missing.", fix="run `dvc checkout`, or `dvc repro` to label again."
        )
    return path


def _read_rows(path: Path) -> tuple[Row, ...]:
    with path.open(encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def _check_can_be_learned(task: TaskData) -> None:
    seen = {split: _classes(task.kind, rows) for split, rows in task.splits.items()}
    for split, rows in task.splits.items():
        if not rows:
            raise CorpusError(
                f"Task {task.name} has no {split} rows.",
                fix="give it more rows, or change the split in params.yaml, section label.",
            )
    if not seen["train"] or (task.kind == "classification" and len(seen["train"]) < 2):
        raise CorpusError(
            f"Task {task.name} has {_one_class(seen['train'])} to train on; there is nothing to "
            "tell apart.",
            fix="give it rows of at least two classes, or of one entity type.",
        )
    for split in ("validation", "test"):
        unknown = sorted(seen[split] - seen["train"])
        if unknown:
            raise CorpusError(
                f"Task {task.name}: only {split} has the label `{unknown[0]}`; a model cannot "
                "learn what it is never shown.",
                fix="give the training split rows of it, or drop it (params.yaml, section label).",
            )


def _classes(kind: str, rows: Sequence[Row]) -> set[str]:
    return {label for row in rows for label in classes_in(kind, row)}


def _one_class(labels: set[str]) -> str:
    return f"one class, `{next(iter(labels))}`," if labels else "no labels"
