"""Turns a row of a file or of a Hugging Face dataset into documents."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vertiform.corpus.document import Document
from vertiform.corpus.sources.tally import Tally
from vertiform.errors import ConfigError, CorpusError, did_you_mean

_FIELD = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class RowMapping:
    """Which fields of a row make a document.

    text:           a template with fields in braces: "{text}", or "{question}\\n\\n{answer}".
    id:             the field that is unique in the source; None numbers the rows instead.
    meta:           fields kept in the document's meta.
    max_characters: longer texts are cut at a line's or a sentence's end into several documents.
    """

    source: str
    text: str
    id: str | None
    meta: tuple[str, ...]
    max_characters: int | None

    def __post_init__(self) -> None:
        if not _FIELD.search(self.text):
            raise ConfigError(
                f"The source `{self.source}` has text: {self.text!r}, which names no field.",
                fix='put fields in braces, such as text: "{' + (self.text or "text") + '}".',
            )
        if self.max_characters is not None and self.max_characters < 1:
            raise ConfigError(
                f"The source `{self.source}` has max_characters: {self.max_characters}.",
                fix="write a whole number over 0, or leave it out.",
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that is read, each once."""
        named = [*_FIELD.findall(self.text), *([self.id] if self.id else []), *self.meta]
        return tuple(dict.fromkeys(named))


def documents_of(
    row: Mapping[str, Any], *, where: str, number: int, mapping: RowMapping, tally: Tally
) -> Iterator[Document]:
    """Yield the documents of one row: none if its text is empty, several if it is long.

    where:  names the row in an error, such as `notes.jsonl:12`.
    number: of the row, its id where no field is one.
    """
    tally.rows += 1
    values = {name: _value(row, name, where=where) for name in mapping.fields}
    text = _FIELD.sub(lambda match: _as_text(values[match[1]], match[1], where), mapping.text)
    if not text.strip():
        tally.skipped["empty text"] += 1
        return
    if mapping.id is None:
        document_id = f"{mapping.source}/{tally.name}:{number}"
    else:
        document_id = f"{mapping.source}/{_as_id(values[mapping.id], mapping.id, where)}"
    meta = {name: _as_plain(values[name]) for name in mapping.meta} | {"licence": tally.licence}
    parts = cut(text, max_characters=mapping.max_characters) if mapping.max_characters else [text]
    for part, piece in enumerate(parts, start=1):
        tally.documents += 1
        if len(parts) == 1:
            yield Document(document_id, piece, mapping.source, meta)
        else:
            yield Document(f"{document_id}#{part}", piece, mapping.source, meta | {"part": part})


def cut(text: str, *, max_characters: int) -> list[str]:
    """Cut a text into pieces of at most `max_characters`.

    At the last end of a paragraph, a line, a sentence or a word in the second half of the piece, in
    that order of preference; within a word if there is none.
    """
    pieces = []
    start = 0
    while len(text) - start > max_characters:
        end = _last_end(text, start + max_characters // 2, start + max_characters)
        pieces.append(text[start:end])
        start = end
    pieces.append(text[start:])
    return [piece.strip() for piece in pieces if piece.strip()]


def _last_end(text: str, low: int, high: int) -> int:
    for mark in ("\n\n", "\n", "\u3002", ". ", " "):  # U+3002 ends a Chinese sentence
        found = text.rfind(mark, low, high)
        if found >= 0:
            return found + len(mark)
    return high


def _value(row: Mapping[str, Any], name: str, *, where: str) -> Any:
    try:
        return row[name]
    except KeyError:
        raise CorpusError(
            f"{where} has no field `{name}`.",
            fix=f"correct the row, or the field in params.yaml: {did_you_mean(name, row)}",
        ) from None


def _as_text(value: Any, name: str, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        # JSON can name half of a surrogate pair, which no UTF-8 file can hold.
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, (int, float)):
        return str(value)
    raise CorpusError(
        f"{where} has a {type(value).__name__} in the field `{name}`, which must be text.",
        fix="correct the row, or name another field in `text` in params.yaml.",
    )


def _as_plain(value: Any) -> Any:
    # Parquet holds dates and decimals, and NaN for what is missing; JSON has neither.
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return json.loads(json.dumps(value, default=str))


def _as_id(value: Any, name: str, where: str) -> str:
    if value is None or value == "":
        raise CorpusError(
            f"{where} has nothing in the field `{name}`, which is the row's id.",
            fix="correct the row, or leave `id` out in params.yaml to number the rows.",
        )
    return str(value)
