"""The stage label: the labelled tasks of a domain, from its docstrings or from files."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertiform.corpus.examples import KINDS, LabelledTask, check_task, label_counts, write_task
from vertiform.corpus.label_area import AreaParams, label_areas
from vertiform.corpus.label_entities import EntitiesParams, label_entities
from vertiform.corpus.manifest import SPLITS
from vertiform.corpus.task_files import TaskFiles, label_files
from vertiform.errors import ConfigError, did_you_mean
from vertiform.files import folder_written_whole

KIND_OF_SOURCE = {"python_area": "classification", "python_entities": "entities", "files": None}


@dataclass(frozen=True)
class TaskParams:
    """One task: its kind, its language (ISO 639-1), and one of three places it comes from."""

    kind: str
    language: str
    python_area: AreaParams | None = None
    python_entities: EntitiesParams | None = None
    files: TaskFiles | None = None


@dataclass(frozen=True)
class LabelParams:
    """domains.<domain>.label of params.yaml. A domain without tasks has `tasks: {}`."""

    tasks: dict[str, TaskParams]


def label_corpus(
    params: LabelParams,
    *,
    domain: str,
    input: Path,  # noqa: A002 - the key of params.yaml and the option of the stage
    collected: Path,
    documents: Path,
    out: Path,
) -> dict[str, Any]:
    """Write one folder per task below `out`; return the report.

    input:     the file or folder that tasks from files lie in.
    collected: documents with their markup; documents: those that outlived cleaning and dedup.
    """
    for name, task in params.tasks.items():
        _check_source(task, _place(domain, name))
    folder = input if input.is_dir() else input.parent
    reports: dict[str, Any] = {}
    with folder_written_whole(out) as aside:
        for name, task in sorted(params.tasks.items()):
            where = _place(domain, name)
            labelled = _make(name, task, where, folder, collected, documents)
            check_task(labelled, where=where)
            write_task(aside / name, labelled)
            reports[name] = _report(labelled)
    rows = Counter({name: sum(report["rows"].values()) for name, report in reports.items()})
    told = ", ".join(f"{name} {number:,}" for name, number in rows.items())
    return {
        "summary": f"{len(reports)} tasks, {rows.total():,} examples ({told or 'none'})",
        "tasks": reports,
    }


def _place(domain: str, task: str) -> str:
    return f"domains.{domain}.label.tasks.{task}"


def _check_source(task: TaskParams, where: str) -> None:
    if task.kind not in KINDS:
        raise ConfigError(
            f"{where}.kind `{task.kind}` is not a kind of task.", fix=did_you_mean(task.kind, KINDS)
        )
    given = [source for source in KIND_OF_SOURCE if getattr(task, source) is not None]
    if len(given) != 1:
        raise ConfigError(
            f"{where} names {' and '.join(given) or 'no place'} to take its examples from.",
            fix=f"write one of these below it: {', '.join(KIND_OF_SOURCE)}.",
        )
    makes = KIND_OF_SOURCE[given[0]]
    if makes not in (None, task.kind):
        raise ConfigError(
            f"{where}.kind is `{task.kind}`, but {given[0]} makes `{makes}`.",
            fix=f"write `kind: {makes}` there.",
        )


def _make(
    name: str, task: TaskParams, where: str, folder: Path, collected: Path, documents: Path
) -> LabelledTask:
    if task.python_area is not None:
        return label_areas(task.python_area, name=name, language=task.language, documents=documents)
    if task.python_entities is not None:
        return label_entities(
            task.python_entities,
            name=name,
            language=task.language,
            collected=collected,
            documents=documents,
        )
    assert task.files is not None
    return label_files(
        task.files,
        name=name,
        kind=task.kind,
        language=task.language,
        folder=folder,
        where=f"{where}.files",
    )


def _report(task: LabelledTask) -> dict[str, Any]:
    return {
        "kind": task.kind,
        "split_rule": task.split_rule,
        "rows": {split: len(task.rows[split]) for split in SPLITS},
        "labels": {split: label_counts(task, split) for split in SPLITS},
        **task.facts,
    }
