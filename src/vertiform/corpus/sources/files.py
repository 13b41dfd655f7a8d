"""Text in files: txt, jsonl, csv and parquet, plain or compressed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vertiform.corpus.document import Document
from vertiform.corpus.sources.formats import rows_of
from vertiform.corpus.sources.rows import RowMapping, documents_of
from vertiform.corpus.sources.tally import Tally
from vertiform.errors import ConfigError, CorpusError
from vertiform.files import sha256_of
from vertiform.progress import progress


@dataclass(frozen=True)
class FilesSource:
    """Files that hold one kind of row.

    name:    of the source, in every document and report.
    glob:    of the files, relative to the domain's input: "*.jsonl.xz", "notes/**/*.txt".
    licence: of the texts, as it is to be reported; "unknown" if nobody can say.
    text, id, meta, max_characters: see RowMapping.
    one_document_per: of txt files alone: file, paragraph (between blank lines) or line.
    """

    name: str
    glob: str
    licence: str
    text: str = "{text}"
    id: str | None = None
    meta: tuple[str, ...] = ()
    max_characters: int | None = None
    one_document_per: str = "file"


def read_files(source: FilesSource, *, folder: Path, tallies: list[Tally]) -> Iterator[Document]:
    """Yield the documents of the files that match, in the order of their paths.

    Appends one tally per file. Raises CorpusError, with file and line, for what cannot be read.
    """
    mapping = RowMapping(source.name, source.text, source.id, source.meta, source.max_characters)
    for path, name in matching_files(source, folder=folder):
        tally = Tally(source=source.name, name=name, licence=source.licence)
        tallies.append(tally)
        rows = progress(
            rows_of(path, name, one_document_per=source.one_document_per),
            what=f"reading {name}",
            unit="rows",
        )
        for number, row in rows:
            where = f"{name}:{number}"
            yield from documents_of(row, where=where, number=number, mapping=mapping, tally=tally)
        if not tally.documents:
            raise CorpusError(
                f"{name} of the source `{source.name}` holds no text.",
                fix="put text into it, or change `glob` so that it is left out.",
            )
        tally.sha256 = sha256_of(path)


def matching_files(source: FilesSource, *, folder: Path) -> list[tuple[Path, str]]:
    """Return the files with their names relative to the input, sorted by name."""
    if not folder.exists():
        raise CorpusError(
            f"{folder}, the input of the source `{source.name}`, does not exist.",
            fix="put the text there, or correct `input` of the domain in params.yaml.",
        )
    if Path(source.glob).is_absolute():
        raise ConfigError(
            f"The source `{source.name}` has an absolute glob: {source.glob}.",
            fix="name its folder in `input`, which DVC watches, and make `glob` relative to it.",
        )
    if folder.is_file():
        found = [(folder, folder.name)] if folder.match(source.glob) else []
    else:
        paths = [path for path in folder.glob(source.glob) if path.is_file()]
        found = sorted(((p, p.relative_to(folder).as_posix()) for p in paths), key=lambda f: f[1])
    if not found:
        raise CorpusError(
            f"No file matches {source.glob} in {folder}, which the source `{source.name}` names.",
            fix=f"put the files there, or correct `glob` or `input` in params.yaml{_seen(folder)}.",
        )
    return found


def _seen(folder: Path) -> str:
    if folder.is_file():
        return f" (the input is the file {folder.name})"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))[:5]
    return f" (it holds {', '.join(names)})" if names else " (it is empty)"
