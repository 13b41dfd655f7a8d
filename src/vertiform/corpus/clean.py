"""The stage clean: repair documents, and drop those that are not text to learn from."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from vertiform.corpus.document import Document, read_documents
from vertiform.corpus.language import check_languages
from vertiform.corpus.parallel import in_chunks, in_order
from vertiform.corpus.rules import CleanParams, Filter, Repair, rules_for
from vertiform.corpus.sieve import NothingKeptError, Sifted, write_sifted
from vertiform.errors import CorpusError
from vertiform.progress import progress

CHUNK_CHARACTERS = 500_000  # handed to a process at once: about half a second


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What the rules made of one document.

    repaired_by: names of the rules that changed it.
    dropped_by:  name of the rule that dropped it, the first to object; `why` is what it measured.
    """

    document: Document
    repaired_by: tuple[str, ...]
    dropped_by: str | None = None
    why: str | None = None


@dataclass
class _Counts:
    seen: int = 0
    words: int = 0
    repaired: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


def clean_corpus(
    params: CleanParams, *, domain: str, documents: Path, out: Path, dropped: Path
) -> dict[str, Any]:
    """Write the documents that pass every rule to `out`, repaired, and the others to `dropped`.

    Returns the report. Raises CorpusError if no document passes.
    """
    check_languages(params.languages)
    counts = _Counts()
    cleaned = progress(
        clean_documents(read_documents(documents), params=params),
        what=f"cleaning {domain}",
        unit="documents",
    )
    try:
        num_kept, num_dropped = write_sifted(_counted(cleaned, counts), out=out, dropped=dropped)
    except NothingKeptError:
        raise _nothing_kept(params, domain, counts, dropped) from None
    return {
        "summary": f"kept {num_kept:,} of {counts.seen:,} documents, {_worst(counts)}",
        "documents_in": counts.seen,
        "documents_kept": num_kept,
        "documents_dropped": num_dropped,
        "rules": _by_rule(params, counts),
    }


def clean_documents(
    documents: Iterable[Document], *, params: CleanParams, processes: int | None = None
) -> Iterator[Cleaned]:
    """Apply the rules to each document, in order, over several processes."""
    chunks = in_chunks(documents, size_of=lambda d: len(d.text), max_size=CHUNK_CHARACTERS)
    for chunk in in_order(partial(_clean_chunk, params=params), chunks, processes=processes):
        yield from chunk


def clean_document(document: Document, *, params: CleanParams) -> Cleaned:
    """Apply the rules for its source to one document, in order, up to the first that drops it."""
    text = document.text
    repaired_by = []
    for rule in _rules(params, document.source):
        if isinstance(rule, Filter):
            why = rule.why_dropped(text)
            if why is not None:
                # As it came, so that a rule too eager to repair can be found out.
                return Cleaned(document, tuple(repaired_by), rule.name, why)
            continue
        repaired = rule.repaired(text)
        if repaired != text:
            repaired_by.append(rule.name)
            text = repaired
    return Cleaned(replace(document, text=text), tuple(repaired_by))


def _clean_chunk(documents: list[Document], *, params: CleanParams) -> list[Cleaned]:
    return [clean_document(document, params=params) for document in documents]


@cache
def _rules(params: CleanParams, source: str | None) -> list[Repair | Filter]:
    return rules_for(params, source=source)


def _counted(cleaned: Iterable[Cleaned], counts: _Counts) -> Iterator[Sifted]:
    for item in cleaned:
        counts.seen += 1
        counts.repaired.update(item.repaired_by)
        if item.dropped_by is not None:
            counts.dropped[item.dropped_by] += 1
            yield Sifted(item.document, f"{item.dropped_by}: {item.why}")
        else:
            yield Sifted(item.document)


def _by_rule(params: CleanParams, counts: _Counts) -> list[dict[str, Any]]:
    return [
        {"rule": rule.name, "repaired": counts.repaired[rule.name]}
        if isinstance(rule, Repair)
        else {"rule": rule.name, "dropped": counts.dropped[rule.name]}
        for rule in _rules(params, None)
    ]


def _worst(counts: _Counts) -> str:
    if not counts.dropped:
        return "dropped none"
    rule, number = counts.dropped.most_common(1)[0]
    return f"dropped most by {rule} ({number:,})"


def _nothing_kept(params: CleanParams, domain: str, counts: _Counts, dropped: Path) -> CorpusError:
    rule, number = counts.dropped.most_common(1)[0]
    value = getattr(params, rule, None)
    limit = f" ({value})" if isinstance(value, (int, float)) else ""
    section = f"domains.{domain}.clean"
    key = f"{section}.{rule}" if hasattr(params, rule) else f"{section}.repetition"
    return CorpusError(
        f"clean@{domain} kept 0 of {counts.seen:,} documents; {number:,} were dropped by "
        f"{rule}{limit}.",
        fix=f"loosen {key} in params.yaml; the dropped texts are in {dropped}.",
    )
