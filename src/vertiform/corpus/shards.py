"""Any document of a folder by its number, without holding the texts in memory."""

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from vertiform.corpus.document import Document
from vertiform.errors import CorpusError


class DocumentIndex:
    """Where each document of a folder begins: 8 bytes a document.

    Fill it by reading lines() once; then index[number] reads one document from the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.glob("*.jsonl"))
        if not self._paths:
            raise CorpusError(
                f"{folder} holds no documents.",
                fix="run `dvc repro`, which makes what this stage reads.",
            )
        self._files: list[IO[bytes]] = [path.open("rb") for path in self._paths]
        self._begins = array("q")  # offset in its shard
        self._shard_begins = array("q")  # number of each shard's first document

    def lines(self) -> Iterator[bytes]:
        """Yield every document as its line, in order, and note where it begins."""
        for path in self._paths:
            self._shard_begins.append(len(self._begins))
            offset = 0
            with path.open("rb") as shard:
                for line in shard:
                    self._begins.append(offset)
                    offset += len(line)
                    yield line

    def __len__(self) -> int:
        return len(self._begins)

    def __getitem__(self, number: int) -> Document:
        shard = len(self._shard_begins) - 1
        while self._shard_begins[shard] > number:
            shard -= 1
        file = self._files[shard]
        file.seek(self._begins[number])
        return document_from(file.readline())

    def __iter__(self) -> Iterator[Document]:
        for path in self._paths:
            with path.open("rb") as shard:
                yield from map(document_from, shard)

    def close(self) -> None:
        for file in self._files:
            file.close()


def document_from(line: bytes) -> Document:
    """Read a document from its line in a shard."""
    return Document(**json.loads(line))
