"""The task `entities` of a domain of docstrings: which words are names of code, and of what type?

The types are what the markup said; the markup itself is gone. Whole packages are held out, so that
what is tested is the reading of a sentence, not the memory of a name.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vertiform.corpus.document import read_documents
from vertiform.corpus.examples import LabelledTask, Row
from vertiform.corpus.manifest import SPLITS
from vertiform.corpus.mentions import OUTSIDE, Sentence, sentences_of
from vertiform.corpus.selection import (
    NGRAM_WORDS,
    RowsBySplit,
    alternate_by_key,
    near_copies,
    order_of,
)
from vertiform.errors import ConfigError, CorpusError, did_you_mean
from vertiform.progress import progress

MARKUP_KINDS = ("class", "function", "method", "module", "parameter", "attribute", "exception")
NAMELESS = "(no name)"


@dataclass(frozen=True)
class EntitiesParams:
    """domains.<domain>.label.tasks.<task>.python_entities of params.yaml."""

    types: dict[str, tuple[str, ...]]  # type -> kinds of markup that count as it
    validation_packages: tuple[str, ...]  # the others are for train
    test_packages: tuple[str, ...]
    min_tokens: int  # of a sentence
    max_tokens: int
    max_rows: RowsBySplit
    max_rows_per_package: RowsBySplit
    nameless_fraction: float  # of the rows: sentences without any name


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may become a row. `types` are those of its names."""

    id: str
    package: str
    sentence: Sentence
    types: frozenset[str]


def label_entities(
    params: EntitiesParams, *, name: str, language: str, collected: Path, documents: Path
) -> LabelledTask:
    """Make the task from the collected docstrings, markup and all, that outlived deduplication."""
    candidates = _read_candidates(params, collected, documents, where=name)
    rows, num_copies = _choose_rows(params, candidates)
    facts = {
        "sentences": {split: len(candidates[split]) for split in SPLITS},
        "rows_by_package": {
            split: dict(sorted(Counter(row["group"] for row in rows[split]).items()))
            for split in SPLITS
        },
        "near_copies_of_another_split_dropped": num_copies,
    }
    return LabelledTask(
        name=name,
        kind="entities",
        language=language,
        split_rule=(
            f"by package: validation has {', '.join(params.validation_packages)}, test has "
            f"{', '.join(params.test_packages)}, train the others; a sentence that shares "
            f"{NGRAM_WORDS} words with an earlier split is left out"
        ),
        rows=rows,
        facts=facts,
    )


def _read_candidates(
    params: EntitiesParams, collected: Path, documents: Path, *, where: str
) -> dict[str, list[Candidate]]:
    type_of_kind = _type_of_kind(params, where)
    split_of = dict.fromkeys(params.validation_packages, "validation")
    split_of |= dict.fromkeys(params.test_packages, "test")
    kept = {document.id for document in read_documents(documents)}
    candidates: dict[str, list[Candidate]] = {split: [] for split in SPLITS}
    packages, seen = set(), set()
    for document in progress(read_documents(collected), what="finding names", unit="docs"):
        if document.id not in kept:
            continue
        package = document.meta.get("package", "")
        packages.add(package)
        sentences = sentences_of(document.text, type_of_kind=type_of_kind)
        for number, sentence in enumerate(sentences):
            fits = params.min_tokens <= len(sentence.tokens) <= params.max_tokens
            if fits and sentence.tokens not in seen:
                seen.add(sentence.tokens)
                types = frozenset(tag[2:] for tag in sentence.tags if tag != OUTSIDE)
                candidate = Candidate(f"{document.id}/{number}", package, sentence, types)
                candidates[split_of.get(package, "train")].append(candidate)
    for package in split_of:
        if package not in packages:
            raise CorpusError(
                f"The task `{where}` holds out the package `{package}`, which has no documents.",
                fix=f"collect it, or name another; {did_you_mean(package, packages)}",
            )
    return candidates


def _type_of_kind(params: EntitiesParams, where: str) -> dict[str, str]:
    type_of_kind = {kind: name for name, kinds in params.types.items() for kind in kinds}
    for kind in type_of_kind:
        if kind not in MARKUP_KINDS:
            raise ConfigError(
                f"The task `{where}` names the kind of markup `{kind}`, which is unknown.",
                fix=did_you_mean(kind, MARKUP_KINDS),
            )
    return type_of_kind


def _choose_rows(
    params: EntitiesParams, candidates: Mapping[str, Sequence[Candidate]]
) -> tuple[dict[str, list[Row]], int]:
    rows: dict[str, list[Row]] = {}
    num_copies = 0
    for split in SPLITS:
        earlier = ((row["id"], " ".join(row["tokens"])) for kept in rows.values() for row in kept)
        texts = (" ".join(candidate.sentence.tokens) for candidate in candidates[split])
        copies = near_copies(texts, of=earlier)
        num_copies += len(copies)
        fresh = [c for number, c in enumerate(candidates[split]) if number not in copies]
        chosen = _choose(params, fresh, split)
        rows[split] = [
            {
                "id": c.id,
                "tokens": list(c.sentence.tokens),
                "tags": list(c.sentence.tags),
                "group": c.package,
                "slices": {"package": c.package},
            }
            # Not the order they were chosen in, which begins with one type and ends with another.
            for c in sorted(chosen, key=lambda c: order_of(f"{split}/{c.id}"))
        ]
    return rows, num_copies


def _choose(
    params: EntitiesParams, candidates: Sequence[Candidate], split: str
) -> Iterator[Candidate]:
    most = params.max_rows.of(split)
    num_nameless = round(most * params.nameless_fraction)
    by_package: dict[str, list[Candidate]] = defaultdict(list)
    nameless: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda c: order_of(c.id)):
        (by_package if candidate.types else nameless)[candidate.package].append(candidate)
    cap = params.max_rows_per_package.of(split)
    queues = {package: _types_in_turn(found)[:cap] for package, found in by_package.items()}
    yield from alternate_by_key(queues)[: most - num_nameless]
    yield from alternate_by_key({package: nameless[package] for package in queues})[:num_nameless]


def _types_in_turn(candidates: Sequence[Candidate]) -> list[Candidate]:
    """By the rarest type in a sentence: parameters are twenty times as frequent as exceptions."""
    counts = Counter(name for candidate in candidates for name in candidate.types)
    by_rarest: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_rarest[min(candidate.types, key=lambda name: (counts[name], name))].append(candidate)
    return alternate_by_key(by_rarest)
