"""Labelled tasks on disk: checked, written whole, and read again.

tasks/<task>/{train,validation,test}.jsonl and task.json, which is written last. A row is
    {"id", "text", "label", "group"}   for classification, or
    {"id", "tokens", "tags", "group"}  for entities: tags are BIO, one for each token.
It may carry "slices", {name: value}: what kind of row it is, to be scored apart from the others.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertiform.corpus.manifest import SPLITS
from vertiform.errors import CorpusError
from vertiform.files import read_json, sha256_of, write_json

KINDS = ("classification", "entities")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LabelledTask:
    """A task with its rows by split. `split_rule` says in a sentence what keeps the splits apart.

    facts: what else the report of the stage tells of it; plain JSON values.
    """

    name: str
    kind: str
    language: str
    split_rule: str
    rows: Mapping[str, Sequence[Row]]
    facts: Mapping[str, Any] = field(default_factory=dict)


def check_task(task: LabelledTask, *, where: str) -> None:
    """Raise CorpusError for a task that nothing can be learned from or measured on.

    where: its place in params.yaml, for the fix.
    """
    for split in SPLITS:
        if not task.rows[split]:
            raise CorpusError(
                f"The task `{task.name}` has no {split} examples.",
                fix=f"give {where} more text, or another rule for its splits.",
            )
    trained = set(label_counts(task, "train"))
    for split in SPLITS[1:]:
        unknown = sorted(set(label_counts(task, split)) - trained)
        if unknown:
            raise CorpusError(
                f"The task `{task.name}` has the label `{unknown[0]}` in its {split} split but not "
                f"in train, so it cannot be learned ({len(unknown)} such labels).",
                fix=f"add train examples of `{unknown[0]}` to {where}, or take the label out.",
            )
    if task.kind == "classification" and len(trained) < 2:
        raise CorpusError(
            f"The task `{task.name}` has one class, `{next(iter(trained))}`; there is nothing to "
            "tell apart.",
            fix=f"give {where} examples of at least two classes.",
        )
    if not trained:
        raise CorpusError(
            f"The task `{task.name}` has no entity in its train split: every tag is O.",
            fix=f"check the tags that {where} names; they must be B-<type>, I-<type> or O.",
        )


def label_counts(task: LabelledTask, split: str) -> dict[str, int]:
    """How often each label occurs in a split: rows for classification, mentions for entities."""
    if task.kind == "classification":
        counts = Counter(row["label"] for row in task.rows[split])
    else:
        tags = (tag for row in task.rows[split] for tag in row["tags"])
        counts = Counter(tag[2:] for tag in tags if tag.startswith("B-"))
    return dict(sorted(counts.items()))


def write_task(folder: Path, task: LabelledTask) -> None:
    """Write a task's rows, then task.json with their hashes."""
    folder.mkdir(parents=True)
    for split in SPLITS:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in task.rows[split])
        (folder / f"{split}.jsonl").write_bytes("".join(lines).encode())
    write_json(
        folder / "task.json",
        {
            "task": task.name,
            "kind": task.kind,
            "labels": list(label_counts(task, "train")),
            "language": task.language,
            "split_rule": task.split_rule,
            "rows": {split: len(task.rows[split]) for split in SPLITS},
            "sha256": {split: sha256_of(folder / f"{split}.jsonl") for split in SPLITS},
        },
    )


def read_rows(folder: Path, split: str) -> Iterator[Row]:
    """The rows of one split of a task's folder, in order."""
    with (folder / f"{split}.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def held_out_texts(tasks: Path) -> Iterator[tuple[str, str]]:
    """(task/split/id, text) of every validation and test example of a domain's tasks."""
    for path in sorted(tasks.glob("*/task.json")):
        task = read_json(path)
        for split in SPLITS[1:]:
            for row in read_rows(path.parent, split):
                text = row["text"] if task["kind"] == "classification" else " ".join(row["tokens"])
                yield f"{task['task']}/{split}/{row['id']}", text
