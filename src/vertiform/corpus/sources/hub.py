"""A Hugging Face dataset: a local folder of one, or one on the hub by name."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertiform.corpus.document import Document
from vertiform.corpus.sources.rows import RowMapping, documents_of
from vertiform.corpus.sources.tally import Tally
from vertiform.errors import CorpusError
from vertiform.progress import progress


@dataclass(frozen=True)
class HubSource:
    """One split of a Hugging Face dataset.

    dataset:  a folder relative to the domain's input, or `owner/name` on the hub.
    config:   of the dataset, where it has several. `revision`: a commit or tag of it.
    online:   may the network be used? Without it, a dataset on the hub is read from the cache that
              an earlier download left.
    licence, text, id, meta, max_characters: as for `files`.
    """

    name: str
    dataset: str
    split: str
    licence: str
    config: str | None = None
    revision: str | None = None
    online: bool = False
    text: str = "{text}"
    id: str | None = None
    meta: tuple[str, ...] = ()
    max_characters: int | None = None


def read_hub(source: HubSource, *, folder: Path, tallies: list[Tally]) -> Iterator[Document]:
    """Yield the documents of the dataset in its own order. Appends one tally.

    The hash is of the rows, so that it is the same wherever the dataset came from.
    """
    mapping = RowMapping(source.name, source.text, source.id, source.meta, source.max_characters)
    tally = Tally(
        source=source.name, name=source.dataset, licence=source.licence, version=source.revision
    )
    tallies.append(tally)
    read = hashlib.sha256()
    rows = progress(_rows(source, folder), what=f"reading {source.dataset}", unit="rows")
    for number, row in enumerate(rows, 1):
        fields = {name: row[name] for name in mapping.fields if name in row}
        read.update(json.dumps(fields, sort_keys=True, default=str).encode() + b"\n")
        where = f"{source.dataset} ({source.split}):{number}"
        yield from documents_of(row, where=where, number=number, mapping=mapping, tally=tally)
    if not tally.documents:
        raise CorpusError(
            f"The split `{source.split}` of {source.dataset} holds no text.",
            fix="name another `split` or another `text` in params.yaml.",
        )
    tally.sha256 = read.hexdigest()


def _rows(source: HubSource, folder: Path) -> Iterator[dict[str, Any]]:
    import datasets  # here: two seconds that other sources need not wait for

    datasets.disable_progress_bars()
    try:
        yield from _loaded(source, folder)
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        raise CorpusError(
            f"The dataset {source.dataset} of the source `{source.name}` cannot be read: "
            f"{_first_line(error)}",
            fix=_fix(source, folder),
        ) from None


def _loaded(source: HubSource, folder: Path) -> Any:
    import datasets

    local = (folder if folder.is_dir() else folder.parent) / source.dataset
    if (local / "state.json").exists() or (local / "dataset_dict.json").exists():
        saved = datasets.load_from_disk(str(local))
        return saved[source.split] if isinstance(saved, datasets.DatasetDict) else saved
    if local.is_dir():
        # Streamed: a folder of files needs no second copy in the user's cache.
        return datasets.load_dataset(str(local), source.config, split=source.split, streaming=True)
    return datasets.load_dataset(
        source.dataset,
        source.config,
        split=source.split,
        revision=source.revision,
        download_config=datasets.DownloadConfig(local_files_only=not source.online),
    )


def _fix(source: HubSource, folder: Path) -> str:
    local = (folder if folder.is_dir() else folder.parent) / source.dataset
    if local.is_dir():
        return "correct `split` or `config` in params.yaml, or the files of that folder."
    if source.online:
        return "check the name, `split`, `config` and `revision` in params.yaml, and the network."
    return (
        "set `online: true` for it in params.yaml to download it once, or put a folder of that "
        "name into the domain's input."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
