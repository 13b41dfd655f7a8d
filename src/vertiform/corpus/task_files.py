"""Labelled tasks from files of one's own: a text with its label, or tokens with their tags."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertiform.corpus.decontaminate import words_of
from vertiform.corpus.examples import LabelledTask, Row
from vertiform.corpus.manifest import SPLITS
from vertiform.corpus.sources.formats import rows_of
from vertiform.errors import ConfigError, CorpusError, did_you_mean


@dataclass(frozen=True)
class TaskFiles:
    """domains.<domain>.label.tasks.<task>.files of params.yaml: jsonl, csv or parquet.

    train, validation, test: file names relative to the domain's input; plain, .gz, .xz or .zst.
    validation_fraction, test_fraction: of the groups of train, 0-1, where that file is not named.
    text, label, tokens, tags: the fields of a row.
    group: the field that keeps rows together (a patient, a report); by default the row's words.
    slices: the fields by whose values a model is also scored apart (a hospital, a source).
    """

    train: str
    validation: str | None = None
    test: str | None = None
    validation_fraction: float | None = None
    test_fraction: float | None = None
    text: str = "text"
    label: str = "label"
    tokens: str = "tokens"
    tags: str = "tags"
    group: str | None = None
    slices: tuple[str, ...] = ()


def label_files(
    files: TaskFiles, *, name: str, kind: str, language: str, folder: Path, where: str
) -> LabelledTask:
    """Read a task of `kind` from files in `folder`.

    where: its place in params.yaml. Raises CorpusError with file and line for a broken row.
    """
    _check_splits(files, where)
    read_row = {"classification": _classified, "entities": _tagged}[kind]
    named = {"train": files.train, "validation": files.validation, "test": files.test}
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    repaired = 0
    for split, file in named.items():
        if file is not None:
            rows[split], repairs = _read_file(folder / file, file, files, read_row, where)
            repaired += repairs
    fractions = {
        split: fraction or 0.0
        for split, fraction in (
            ("validation", files.validation_fraction),
            ("test", files.test_fraction),
        )
    }
    rows |= _divided(rows["train"], fractions, rows)
    trained = {_text_key(row) for row in rows["train"]}
    return LabelledTask(
        name=name,
        kind=kind,
        language=language,
        split_rule=_split_rule(files),
        rows=rows,
        facts={
            "texts_also_in_train": {
                split: sum(_text_key(row) in trained for row in rows[split]) for split in SPLITS[1:]
            },
            "tags_repaired": repaired,
        },
    )


def _check_splits(files: TaskFiles, where: str) -> None:
    for split in SPLITS[1:]:
        file, fraction = getattr(files, split), getattr(files, f"{split}_fraction")
        if (file is None) == (fraction is None):
            given = "both a file and a fraction" if file else "neither a file nor a fraction"
            raise ConfigError(
                f"{where} has {given} for its {split} split.",
                fix=f"write either `{split}: <file>` or `{split}_fraction: 0.1` there.",
            )
    if (files.validation_fraction or 0) + (files.test_fraction or 0) >= 1:
        raise ConfigError(
            f"The fractions of {where} leave nothing to train on.",
            fix="make validation_fraction and test_fraction add up to less than 1.",
        )


def _read_file(
    path: Path,
    name: str,
    files: TaskFiles,
    read_row: Callable[[dict[str, Any], TaskFiles, str], tuple[Row, int]],
    where: str,
) -> tuple[list[Row], int]:
    """The rows of one file, and how many tags were repaired in it."""
    if not path.is_file():
        raise CorpusError(
            f"{path}, which {where} names, does not exist.",
            fix=_nearest_file(path, where),
        )
    rows, repaired = [], 0
    for number, fields in rows_of(path, name, one_document_per="line"):
        place = f"{name}:{number}"
        row, repairs = read_row(fields, files, place)
        group = _field(fields, files.group, place) if files.group else _text_key(row)
        rows.append({"id": place, **row, "group": str(group), **_slices(fields, files, place)})
        repaired += repairs
    if not rows:
        raise CorpusError(f"{path} holds no rows.", fix="put labelled rows into it.")
    return rows, repaired


def _nearest_file(path: Path, where: str) -> str:
    beside = [p.name for p in path.parent.glob("*") if p.is_file()] if path.parent.is_dir() else []
    hint = f": {did_you_mean(path.name, beside)}" if beside else "."
    return f"put it there, or correct its name in {where}{hint}"


def _classified(fields: dict[str, Any], files: TaskFiles, place: str) -> tuple[Row, int]:
    text, label = _field(fields, files.text, place), _field(fields, files.label, place)
    if not isinstance(text, str) or not text.strip():
        raise CorpusError(f"{place} has no text in `{files.text}`.", fix="correct or delete it.")
    is_named = isinstance(label, str) and label.strip()
    if not is_named and (isinstance(label, bool) or not isinstance(label, int)):
        raise CorpusError(
            f"{place} has {label!r} in `{files.label}`, which is no label.",
            fix="write a word or a whole number there, or delete the row.",
        )
    return {"text": text, "label": str(label)}, 0


def _tagged(fields: dict[str, Any], files: TaskFiles, place: str) -> tuple[Row, int]:
    tokens, tags = _field(fields, files.tokens, place), _field(fields, files.tags, place)
    for field, value in ((files.tokens, tokens), (files.tags, tags)):
        if not (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
            raise CorpusError(
                f"{place} has no list of words in `{field}`.", fix="correct or delete the row."
            )
    if len(tokens) != len(tags):
        raise CorpusError(
            f"{place} has {len(tokens)} tokens but {len(tags)} tags.",
            fix="give every token one tag.",
        )
    for tag in tags:
        if tag != "O" and not (tag[:2] in ("B-", "I-") and tag[2:]):
            raise CorpusError(
                f"{place} has the tag {tag!r}.", fix="write B-<type>, I-<type> or O for each token."
            )
    begun = _begun(tags)
    repairs = sum(old != new for old, new in zip(tags, begun, strict=True))
    return {"tokens": tokens, "tags": begun}, repairs


def _begun(tags: list[str]) -> list[str]:
    """An I- that continues nothing becomes B-: some sets write the first word of an entity so."""
    before = "O"
    begun = []
    for tag in tags:
        is_lone = tag.startswith("I-") and before[2:] != tag[2:]
        begun.append(f"B-{tag[2:]}" if is_lone else tag)
        before = tag
    return begun


def _slices(fields: dict[str, Any], files: TaskFiles, place: str) -> Row:
    values = {name: str(_field(fields, name, place)) for name in files.slices}
    return {"slices": values} if values else {}


def _field(fields: dict[str, Any], name: str, place: str) -> Any:
    if name not in fields:
        raise CorpusError(
            f"{place} has no field `{name}`.",
            fix=f"correct the row, or the field in params.yaml: {did_you_mean(name, fields)}",
        )
    return fields[name]


def _divided(
    train: list[Row], fractions: dict[str, float], rows: dict[str, list[Row]]
) -> dict[str, list[Row]]:
    """Take fractions out of train by hash of the group: rows that belong together stay so."""
    divided = {"train": [], "validation": rows["validation"], "test": rows["test"]}
    for row in train:
        share = _share(row["group"])
        if share < fractions["validation"]:
            divided["validation"].append(row)
        elif share < fractions["validation"] + fractions["test"]:
            divided["test"].append(row)
        else:
            divided["train"].append(row)
    return divided


def _share(group: str) -> float:
    """A number in [0, 1) that depends on the group alone."""
    digest = hashlib.blake2b(group.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _text_key(row: Row) -> str:
    words = words_of(row["text"] if "text" in row else " ".join(row["tokens"]))
    return hashlib.blake2b(" ".join(words).encode(), digest_size=8).hexdigest()


def _split_rule(files: TaskFiles) -> str:
    by = f"the field `{files.group}`" if files.group else "a row's words"
    given = [split for split in SPLITS if getattr(files, split) is not None]
    rule = f"{', '.join(given)} as the files have them"
    taken = [
        f"{split} is {fraction:g} of train by hash of {by}"
        for split in SPLITS[1:]
        if (fraction := getattr(files, f"{split}_fraction")) is not None
    ]
    return "; ".join([rule, *taken])
