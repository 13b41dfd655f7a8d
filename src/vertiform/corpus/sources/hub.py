"""A Hugging Face dataset: a local folder of one, or one on the hub by name."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
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

    local = (folder if folder.is_dir() else folder.parent) / source.dataset
    datasets.disable_progress_bars()
    try:
        with _network(source.online):
            yield from _loaded(source, local)
    # What it raises is not of one kind: DatasetsError, ConnectionError, FileNotFoundError, and
    # RuntimeError for a dataset that brings its own code, which is never run.
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise CorpusError(
            f"The dataset {source.dataset} of the source `{source.name}` cannot be read: "
            f"{_first_line(error)}",
            fix=_fix(source, is_local=local.is_dir()),
        ) from None


def _loaded(source: HubSource, local: Path) -> Any:
    import datasets

    if (local / "state.json").exists() or (local / "dataset_dict.json").exists():
        saved = datasets.load_from_disk(str(local))
        splits: dict[str, Any] = (
            {str(name): rows for name, rows in saved.items()}
            if isinstance(saved, datasets.DatasetDict)
            else {str(saved.split or source.split): saved}
        )
        if source.split not in splits:
            raise ValueError(f"it has no split `{source.split}`, but {', '.join(splits)}.")
        return splits[source.split]
    if local.is_dir():
        # Streamed: a folder of files needs no second copy in the user's cache.
        return datasets.load_dataset(str(local), source.config, split=source.split, streaming=True)
    return datasets.load_dataset(
        source.dataset, source.config, split=source.split, revision=source.revision
    )


@contextmanager
def _network(is_allowed: bool) -> Iterator[None]:
    """Keep both libraries off the network. Their own switch is read once, when they are imported.

    DownloadConfig(local_files_only=True) is not enough: it asks the hub, and retries for 23 s.
    """
    import datasets
    from huggingface_hub import constants

    if is_allowed:
        yield
        return
    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def _fix(source: HubSource, *, is_local: bool) -> str:
    if is_local:
        return "correct `split` or `config` in params.yaml, or the files of that folder."
    if source.online:
        return "check the name, `split`, `config` and `revision` in params.yaml, and the network."
    return (
        "set `online: true` for it in params.yaml to download it once, or put a folder of that "
        "name into the domain's input."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
