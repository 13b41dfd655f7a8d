"""The stage collect: raw text of every source in, documents out."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertiform.corpus.document import Document, write_documents
from vertiform.corpus.sources.files import FilesSource, read_files
from vertiform.corpus.sources.hub import HubSource, read_hub
from vertiform.corpus.sources.python_docs import SOURCE, PythonDocs, read_python_docs
from vertiform.corpus.sources.tally import Tally
from vertiform.errors import ConfigError, CorpusError


@dataclass(frozen=True)
class CollectParams:
    """The sources of a domain, read in this order. A domain names those that it has."""

    python_docs: PythonDocs | None = None
    files: tuple[FilesSource, ...] = ()
    hub: tuple[HubSource, ...] = ()


def collect_corpus(
    params: CollectParams,
    *,
    domain: str,
    input: Path,  # noqa: A002 - the key of params.yaml and the option of the stage
    out: Path,
) -> dict[str, Any]:
    """Write the documents of all sources to `out`; return the report.

    input: the file or folder that DVC watches; globs and dataset folders are relative to it.
    """
    _check_names(params, domain=domain)
    tallies: list[Tally] = []
    size = _Size()
    num_documents = write_documents(
        out, size.counted(_each_id_once(_documents(params, folder=input, tallies=tallies)))
    )
    licences = Counter()
    for tally in tallies:
        licences[tally.licence] += tally.documents
    return {
        "summary": f"{num_documents:,} documents, {size.bytes / 1e6:.1f} MB of text, from "
        f"{len(tallies)} sources under {len(licences)} licences",
        "documents": num_documents,
        "text_bytes": size.bytes,
        "documents_by_licence": dict(sorted(licences.items())),
        "sources": [tally.as_report() for tally in tallies],
    }


def _documents(params: CollectParams, *, folder: Path, tallies: list[Tally]) -> Iterator[Document]:
    if params.python_docs is not None:
        yield from read_python_docs(params.python_docs, tallies=tallies)
    for files in params.files:
        yield from read_files(files, folder=folder, tallies=tallies)
    for hub in params.hub:
        yield from read_hub(hub, folder=folder, tallies=tallies)


def _check_names(params: CollectParams, *, domain: str) -> None:
    names = Counter(source.name for source in (*params.files, *params.hub))
    if params.python_docs is not None:
        names[SOURCE] += 1
    if not names:
        raise ConfigError(
            f"domains.{domain}.collect in params.yaml names no source.",
            fix="add `python_docs:`, `files:` or `hub:` to it.",
        )
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ConfigError(
            f"domains.{domain}.collect in params.yaml has two sources named `{twice[0]}`.",
            fix="give each source a name of its own.",
        )


def _each_id_once(documents: Iterator[Document]) -> Iterator[Document]:
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise CorpusError(
                f"The id {document.id} occurs twice in the source `{document.source}`.",
                fix="name another field as `id` in params.yaml, or leave `id` out to number rows.",
            )
        seen.add(document.id)
        yield document


class _Size:
    """Adds up the UTF-8 bytes of the texts that pass."""

    def __init__(self) -> None:
        self.bytes = 0

    def counted(self, documents: Iterator[Document]) -> Iterator[Document]:
        for document in documents:
            self.bytes += len(document.text.encode())
            yield document
        if not self.bytes:
            raise CorpusError(
                "The sources hold no text.", fix="name sources that do in params.yaml: collect."
            )
