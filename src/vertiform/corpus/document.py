"""The one type that flows through the data stages, and the shards it is kept in."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertiform.errors import CorpusError
from vertiform.files import folder_written_whole

SHARD_BYTES = 64_000_000  # few and large: DVC is slow over many small files


@dataclass(frozen=True, slots=True)
class Document:
    """One text. `id` is unique within a corpus; `source` names the entry it was collected from."""

    id: str
    text: str
    source: str
    meta: dict[str, Any] = field(default_factory=dict)


def write_documents(folder: Path, documents: Iterable[Document]) -> int:
    """Write `documents` to `folder` as JSON Lines shards, whole or not at all; return how many."""
    count = 0
    with folder_written_whole(folder) as aside:
        shard = None
        number = 0
        try:
            for document in documents:
                if shard is None or shard.tell() >= SHARD_BYTES:
                    if shard is not None:
                        shard.close()
                    shard = (aside / f"{number:05d}.jsonl").open("wb")
                    number += 1
                shard.write(_to_line(document))
                count += 1
        finally:
            if shard is not None:
                shard.close()
    return count


def read_documents(folder: Path) -> Iterator[Document]:
    """Read the documents of `folder` in the order they were written."""
    shards = sorted(folder.glob("*.jsonl"))
    if not shards:
        raise CorpusError(
            f"{folder} holds no documents.",
            fix="run `dvc repro`, which makes what this stage reads.",
        )
    for shard in shards:
        with shard.open(encoding="utf-8") as lines:
            for line in lines:
                yield Document(**json.loads(line))


def _to_line(document: Document) -> bytes:
    row = {
        "id": document.id,
        "text": document.text,
        "source": document.source,
        "meta": document.meta,
    }
    return (json.dumps(row, ensure_ascii=False) + "\n").encode()
