"""The docstrings of the standard library and of installed packages, read and never imported."""

import ast
import gc
import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vertiform.corpus.document import Document
from vertiform.corpus.parallel import in_chunks, in_order
from vertiform.corpus.sources.installed import ModuleFile, package_files, standard_library
from vertiform.corpus.sources.tally import Tally
from vertiform.errors import ConfigError
from vertiform.progress import progress

SOURCE = "python_docs"
CHUNK_BYTES = 2_000_000  # of source code handed to a process at once: about half a second

# Where a docstring can stand: in these, and in what is defined under an `if` or a `try`.
_DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS = (ast.If, ast.Try, ast.With, ast.ExceptHandler)


@dataclass(frozen=True)
class PythonDocs:
    """Which docstrings to read.

    packages:       import names of installed packages, `sklearn` rather than `scikit-learn`.
    min_characters: a docstring below this is left out.
    """

    standard_library: bool
    packages: tuple[str, ...]
    min_characters: int


@dataclass(frozen=True, slots=True)
class FileDocs:
    """What one file held: (qualified name, docstring) in the file's order; None if not parsed."""

    sha256: str
    docstrings: list[tuple[str, str]] | None


def read_python_docs(
    source: PythonDocs, *, tallies: list[Tally], processes: int | None = None
) -> Iterator[Document]:
    """Yield one document per docstring, by package in the order named, then module, then place.

    Appends one tally per distribution. Raises CorpusError if a package is not installed.
    """
    repeated = [name for name, count in Counter(source.packages).items() if count > 1]
    if repeated:
        raise ConfigError(
            f"python_docs.packages names `{repeated[0]}` twice.", fix="take one of them out."
        )
    files = standard_library() if source.standard_library else []
    for package in source.packages:
        files += package_files(package)
    by_distribution = {file.origin.distribution: _tally(file) for file in files}
    tallies += by_distribution.values()
    hashes = {name: hashlib.sha256() for name in by_distribution}

    for file, docs in _read_all(files, processes=processes):
        tally = by_distribution[file.origin.distribution]
        hashes[file.origin.distribution].update(f"{file.module}\0{docs.sha256}\n".encode())
        if docs.docstrings is None:
            tally.unreadable.append(file.module)
            tally.skipped["module does not parse"] += 1
            continue
        tally.rows += len(docs.docstrings)
        for document in _documents(file, docs.docstrings, min_characters=source.min_characters):
            tally.documents += 1
            yield document
        tally.skipped["shorter than min_characters"] = tally.rows - tally.documents
    for name, tally in by_distribution.items():
        tally.sha256 = hashes[name].hexdigest()


def docstrings_of(code: bytes) -> Iterator[tuple[str, str]]:
    """Yield (qualified name, docstring) of a module, "" naming the module itself.

    Raises SyntaxError or ValueError if the code does not parse, which ends the same way for us.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of their invalid escapes
        warnings.simplefilter("ignore", DeprecationWarning)
        tree = ast.parse(code)
    text = ast.get_docstring(tree)
    if text:
        yield "", text
    yield from _within(tree, prefix="")


def _within(node: ast.AST, *, prefix: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _DOCUMENTED):
            name = f"{prefix}{child.name}"
            text = ast.get_docstring(child)
            if text:
                yield name, text
            yield from _within(child, prefix=f"{name}.")
        elif isinstance(child, _BLOCKS):
            yield from _within(child, prefix=prefix)


def _read_all(
    files: list[ModuleFile], *, processes: int | None
) -> Iterator[tuple[ModuleFile, FileDocs]]:
    chunks = list(in_chunks(files, size_of=_bytes_of, max_size=CHUNK_BYTES))
    read = in_order(_read_chunk, chunks, processes=processes)
    for chunk, docs in progress(
        zip(chunks, read, strict=True), what="reading docstrings", unit="chunks", total=len(chunks)
    ):
        yield from zip(chunk, docs, strict=True)


def _read_chunk(files: list[ModuleFile]) -> list[FileDocs]:
    with _no_cycle_search():
        return [_read_file(file) for file in files]


def _read_file(file: ModuleFile) -> FileDocs:
    code = file.path.read_bytes()
    try:
        docstrings = list(docstrings_of(code))
    except (SyntaxError, ValueError, RecursionError):
        docstrings = None
    return FileDocs(hashlib.sha256(code).hexdigest(), docstrings)


def _documents(
    file: ModuleFile, docstrings: list[tuple[str, str]], *, min_characters: int
) -> Iterator[Document]:
    seen: Counter[str] = Counter()
    for qualified_name, text in docstrings:
        seen[qualified_name] += 1
        if len(text) < min_characters:
            continue
        # A property's setter and an `else:` branch define a name again.
        again = f"#{seen[qualified_name]}" if seen[qualified_name] > 1 else ""
        yield Document(
            id=f"{SOURCE}/{file.module}:{qualified_name}{again}",
            text=text.encode("utf-8", "replace").decode(),  # a lone surrogate is legal in Python
            source=SOURCE,
            meta={
                "package": file.package,
                "distribution": file.origin.distribution,
                "version": file.origin.version,
                "module": file.module,
                "qualified_name": qualified_name,
                "licence": file.origin.licence,
            },
        )


def _tally(file: ModuleFile) -> Tally:
    origin = file.origin
    return Tally(
        source=SOURCE, name=origin.distribution, licence=origin.licence, version=origin.version
    )


def _bytes_of(file: ModuleFile) -> int:
    return file.path.stat().st_size


@contextmanager
def _no_cycle_search() -> Iterator[None]:
    # A syntax tree is many small objects and no cycle: searching it for cycles took most of the
    # time (90 s for 44 MB of text; without, 24 s for 46 MB, on one core).
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
