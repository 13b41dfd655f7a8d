"""The task `area` of a domain of docstrings: which field of software is a passage about?

The label is the package's, so every package's name is masked in the text, and a module is on one
side of the split only: what is tested is the subject, in modules that were never trained on.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vertiform.corpus.document import read_documents
from vertiform.corpus.examples import LabelledTask, Row
from vertiform.corpus.manifest import SPLITS
from vertiform.corpus.selection import (
    NGRAM_WORDS,
    RowsBySplit,
    alternate,
    alternate_by_key,
    near_copies,
    order_of,
)
from vertiform.errors import CorpusError

MASK = "library"  # reads as English, and is the same for every package
MIN_LETTERS_WITHIN = 6  # `NumPyPrinter` names numpy; three letters such as `git` are in `digits`
MIN_PARTS = 6  # a package with fewer top-level parts is split by file

_ENTRY = re.compile(r"^[\w*]+(?:, [\w*]+)*: ", re.MULTILINE)
_ALPHANUMERIC = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True)
class AreaParams:
    """domains.<domain>.label.tasks.<task>.python_area of params.yaml."""

    areas: dict[str, tuple[str, ...]]  # area -> packages or modules; the longest name wins
    masked_words: tuple[str, ...]  # masked besides the names in `areas`: aliases, brands
    passage_words: int  # words from the start of a docstring, at most
    min_passage_words: int  # words; a shorter description is left out
    validation_fraction: float  # of a package's passages, by whole modules
    test_fraction: float
    max_rows_per_area: RowsBySplit


@dataclass(frozen=True, slots=True)
class Passage:
    """The start of a description. `package` is its entry in `areas`, `part` its module."""

    id: str
    text: str
    area: str
    package: str
    part: str


def label_areas(params: AreaParams, *, name: str, language: str, documents: Path) -> LabelledTask:
    """Make the task from deduplicated documents; one passage a document at most."""
    passages = _read_passages(params, documents)
    split_of = _split_of_parts(params, passages)
    by_split: dict[str, list[Passage]] = {split: [] for split in SPLITS}
    for passage in passages:
        by_split[split_of[passage.part]].append(passage)
    rows, num_copies = _choose_rows(params, by_split)
    facts = {
        "passages": dict(sorted(Counter(p.area for p in passages).items())),
        "modules": {s: len({p.part for p in by_split[s]}) for s in SPLITS},
        "near_copies_of_another_split_dropped": num_copies,
    }
    return LabelledTask(
        name=name,
        kind="classification",
        language=language,
        split_rule=(
            "by module: all that lies below one part of a package (its sub-packages and modules; "
            f"its files, if it has under {MIN_PARTS} parts) is in one split; a passage that shares "
            f"{NGRAM_WORDS} words with an earlier split is left out"
        ),
        rows=rows,
        facts=facts,
    )


def _read_passages(params: AreaParams, documents: Path) -> list[Passage]:
    area_of = {entry: area for area, entries in params.areas.items() for entry in entries}
    mask = _Mask(params)
    found = []
    for document in read_documents(documents):
        module = document.meta.get("module", "")
        entry = _longest_prefix(module, area_of)
        words = _description(document.text).split()[: params.passage_words]
        if entry is None or len(words) < params.min_passage_words:
            continue
        text = mask(" ".join(words))
        # Decontamination looks for this many words of it in the text that is trained on.
        if max(len(piece.split()) for piece in text.split(MASK)) >= NGRAM_WORDS:
            found.append((document.id, text, area_of[entry], entry, module))
    for area in params.areas:
        if not any(passage[2] == area for passage in found):
            raise CorpusError(
                f"No document belongs to the area `{area}` ({', '.join(params.areas[area])}).",
                fix="collect those packages, or take the area out of params.yaml.",
            )
    parts = _parts({(entry, module) for *_, entry, module in found})
    return [Passage(i, t, area, entry, parts[module]) for i, t, area, entry, module in found]


def _description(text: str) -> str:
    """The paragraphs before the first entry ("axis: ..."): names of parameters betray a package,
    and say little of a subject.
    """
    first_entry = _ENTRY.search(text)
    return text[: first_entry.start()] if first_entry else text


class _Mask:
    """Replaces packages' names: whole words, also in `a_b` and `a.b`; long ones in words too."""

    def __init__(self, params: AreaParams) -> None:
        packages = {entry.partition(".")[0] for area in params.areas.values() for entry in area}
        names = {name.lower() for name in packages | set(params.masked_words)}
        self._words = {name for name in names if name.isalnum()}
        self._within = tuple(sorted(n for n in self._words if len(n) >= MIN_LETTERS_WITHIN))
        joined = sorted(names - self._words, key=lambda name: (-len(name), name))
        self._joined = re.compile("|".join(map(re.escape, joined)) or r"(?!)", re.IGNORECASE)
        self._is_name: dict[str, bool] = {}

    def __call__(self, text: str) -> str:
        return _ALPHANUMERIC.sub(self._masked, self._joined.sub(MASK, text))

    def _masked(self, match: re.Match[str]) -> str:
        word = match[0].lower()
        if word not in self._is_name:
            is_name = word in self._words or any(name in word for name in self._within)
            self._is_name[word] = is_name
        return MASK if self._is_name[word] else match[0]


def _longest_prefix(module: str, entries: Mapping[str, str]) -> str | None:
    while module and module not in entries:
        module = module.rpartition(".")[0]
    return module or None


def _parts(modules: set[tuple[str, str]]) -> dict[str, str]:
    """Module -> the part of its package that is kept on one side."""
    by_entry: dict[str, set[str]] = defaultdict(set)
    for entry, module in modules:
        by_entry[entry].add(module)
    parts = {}
    for entry, found in by_entry.items():
        depth = entry.count(".") + 2
        tops = {module: ".".join(module.split(".")[:depth]) for module in found}
        is_flat = len(set(tops.values())) < MIN_PARTS
        parts |= {module: module if is_flat else top for module, top in tops.items()}
    return parts


def _split_of_parts(params: AreaParams, passages: list[Passage]) -> dict[str, str]:
    """Largest part first, each to the split that lacks most: so that no split lacks a package."""
    wanted = {
        "train": 1 - params.validation_fraction - params.test_fraction,
        "validation": params.validation_fraction,
        "test": params.test_fraction,
    }
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    for passage in passages:
        sizes[passage.package][passage.part] += 1
    split_of = {}
    for parts in sizes.values():
        lacking = {split: fraction * parts.total() for split, fraction in wanted.items()}
        for part, size in sorted(parts.items(), key=lambda item: (-item[1], item[0])):
            split_of[part] = max(SPLITS, key=lambda split: lacking[split])
            lacking[split_of[part]] -= size
    return split_of


def _choose_rows(
    params: AreaParams, by_split: Mapping[str, Sequence[Passage]]
) -> tuple[dict[str, list[Row]], int]:
    rows: dict[str, list[Row]] = {}
    num_copies = 0
    for split in SPLITS:
        earlier = ((row["id"], row["text"]) for kept in rows.values() for row in kept)
        copies = near_copies((p.text for p in by_split[split]), of=earlier)
        num_copies += len(copies)
        by_area: dict[str, list[Passage]] = defaultdict(list)
        for number, passage in enumerate(by_split[split]):
            if number not in copies:
                by_area[passage.area].append(passage)
        most = params.max_rows_per_area.of(split)
        chosen = [passage for found in by_area.values() for passage in in_turn(found)[:most]]
        rows[split] = [
            {
                "id": p.id,
                "text": p.text,
                "label": p.area,
                "group": p.part,
                "slices": {"package": p.package},
            }
            # Not the order they were chosen in, which is by area.
            for p in sorted(chosen, key=lambda p: order_of(f"{split}/{p.id}"))
        ]
    return rows, num_copies


def in_turn(passages: Iterable[Passage]) -> list[Passage]:
    """Each package in turn, and in it each part: no package and no module dominates."""
    by_package: dict[str, dict[str, list[Passage]]] = defaultdict(lambda: defaultdict(list))
    for passage in sorted(passages, key=lambda p: order_of(p.id)):
        by_package[passage.package][passage.part].append(passage)
    return alternate_by_key(
        {package: alternate(parts.values()) for package, parts in by_package.items()}
    )
