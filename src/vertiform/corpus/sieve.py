"""Writes what a stage keeps and what it drops, in one pass and without holding either in memory."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from vertiform.corpus.document import Document, write_documents


@dataclass(frozen=True, slots=True)
class Sifted:
    """A document with the stage's decision: kept if `reason` is None, else dropped for it."""

    document: Document
    reason: str | None = None


class NothingKeptError(Exception):
    """Every document was dropped; `dropped` is written, `out` is not."""


def write_sifted(sifted: Iterable[Sifted], *, out: Path, dropped: Path) -> tuple[int, int]:
    """Write kept documents to `out` and the others, with meta.reason, to `dropped`.

    Returns how many were kept and dropped. Raises NothingKeptError if none was kept: then `dropped`
    holds them all, for a look, and `out` does not exist.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8", dir=out.parent) as aside:

        def kept() -> Iterator[Document]:
            num_kept = 0
            for item in sifted:
                if item.reason is None:
                    num_kept += 1
                    yield item.document
                else:
                    aside.write(json.dumps(asdict(item.document) | {"reason": item.reason}) + "\n")
            if not num_kept:
                raise NothingKeptError

        def others() -> Iterator[Document]:
            aside.seek(0)
            for line in aside:
                row = json.loads(line)
                row["meta"]["reason"] = row.pop("reason")
                yield Document(**row)

        try:
            num_kept = write_documents(out, kept())
        except NothingKeptError:
            write_documents(dropped, others())
            raise
        return num_kept, write_documents(dropped, others())
