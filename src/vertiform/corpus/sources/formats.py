"""Reads rows out of txt, jsonl, csv and parquet files, plain or compressed.

Every error names the file and, where there is one, the line.
"""

import csv
import gzip
import io
import json
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from vertiform.errors import ConfigError, CorpusError, did_you_mean

Row = tuple[int, dict[str, Any]]  # the number of its line (in parquet, of the row) and its fields


def rows_of(path: Path, name: str, *, one_document_per: str) -> Iterator[Row]:
    """Yield (number, row) of one file. `name` stands for it in errors."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in _OPENERS else ""
    kind = suffixes[-1] if suffixes else ""
    if kind == ".parquet" and not packed:
        yield from _parquet_rows(path, name)
        return
    if kind not in _READERS:
        raise CorpusError(
            f"{name} is of no kind that can be read.",
            fix="name it .txt, .jsonl or .csv (plain, or with .gz, .xz or .zst), or .parquet; "
            "or change `glob` in params.yaml.",
        )
    with _unpacked(path, name, packed) as file:
        yield from _READERS[kind](_decoded_lines(file, name), name, one_document_per)


def _text_rows(lines: Iterator[str], name: str, unit: str) -> Iterator[Row]:
    if unit not in ("file", "paragraph", "line"):
        raise ConfigError(
            f"one_document_per is `{unit}`.",
            fix=did_you_mean(unit, ("file", "paragraph", "line")),
        )
    if unit == "line":
        yield from ((number, {"text": line.rstrip("\r\n")}) for number, line in enumerate(lines, 1))
        return
    began, block = 1, []
    for number, line in enumerate(lines, 1):
        if unit == "paragraph" and not line.strip():
            if block:
                yield began, {"text": "".join(block).strip()}
            began, block = number + 1, []
        else:
            block.append(line)
    if block:
        yield began, {"text": "".join(block).strip()}


def _jsonl_rows(lines: Iterator[str], name: str, unit: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise _broken_line(name, number, f"{error.msg} at column {error.colno}") from None
        except (ValueError, RecursionError) as error:  # a number or a nesting beyond all bounds
            raise _broken_line(name, number, str(error)) from None
        if not isinstance(row, dict):
            raise CorpusError(
                f"{name}:{number} is a JSON {type(row).__name__}, not an object with fields.",
                fix='write each line like {"text": "..."}.',
            )
        yield number, row


def _broken_line(name: str, number: int, problem: str) -> CorpusError:
    return CorpusError(
        f"{name}:{number} is not JSON: {problem}.", fix="correct that line, or delete it."
    )


def _csv_rows(lines: Iterator[str], name: str, unit: str) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # a text may be longer than the 128 KiB that csv expects
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, [])
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise CorpusError(
                    f"{name}:{reader.line_num} has {len(cells)} fields; the header has "
                    f"{len(header)}.",
                    fix="correct that row; a comma or a line end within a field needs quotes.",
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise CorpusError(
            f"{name}:{reader.line_num} is not CSV: {error}.", fix="correct the quotes of that row."
        ) from None


def _parquet_rows(path: Path, name: str) -> Iterator[Row]:
    from pyarrow import ArrowException  # here: half a second that other files need not wait for
    from pyarrow.parquet import ParquetFile

    try:
        number = 0
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except ArrowException as error:
        raise CorpusError(
            f"{name} cannot be read as parquet: {str(error).splitlines()[0]}",
            fix="write the file again; it may be cut off.",
        ) from None


def _decoded_lines(file: IO[bytes], name: str) -> Iterator[str]:
    """Yield lines with their ends; raises CorpusError with the line that is not UTF-8."""
    number = 0
    while line := _next_line(file, name):
        number += 1
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"{name}:{number} is not UTF-8: byte 0x{line[error.start]:02x} at column "
                f"{error.start + 1}.",
                fix=f"convert it first, such as `iconv -f {_likely_encoding(line)} -t UTF-8`.",
            ) from None
        yield text.removeprefix("\ufeff") if number == 1 else text


def _next_line(file: IO[bytes], name: str) -> bytes:
    try:
        return file.readline()
    except _broken_archive() as error:
        raise CorpusError(
            f"{name} cannot be unpacked: {str(error) or type(error).__name__}.",
            fix="copy or download it again; it may be cut off.",
        ) from None


def _likely_encoding(line: bytes) -> str:
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    try:
        line.rstrip(b"\r\n").decode("gb18030")
    except UnicodeDecodeError:
        return "WINDOWS-1252"
    # In one byte per letter, high bytes stand alone; in GB18030 they come in pairs.
    high = sum(byte >= 0x80 for byte in line)
    return "GB18030" if high > 2 and high * 3 > len(line) else "WINDOWS-1252"


def _unpacked(path: Path, name: str, packed: str) -> IO[bytes]:
    if path.stat().st_size == 0:
        raise CorpusError(
            f"{name} is empty: 0 bytes.",
            fix="put text into it, or change `glob` in params.yaml so that it is left out.",
        )
    return _OPENERS[packed](path)


def _open_gz(path: Path) -> IO[bytes]:
    return io.BufferedReader(gzip.GzipFile(path))


def _open_xz(path: Path) -> IO[bytes]:
    return io.BufferedReader(lzma.LZMAFile(path))


def _open_zst(path: Path) -> IO[bytes]:
    return io.BufferedReader(_ZstdFile(path))


class _ZstdFile(io.RawIOBase):
    """Unpacks .zst, and raises EOFError if the file is cut off; zstandard's own reader does not."""

    def __init__(self, path: Path) -> None:
        import zstandard

        self._packed = path.open("rb")
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._frame = self._new_frame()
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            packed = self._frame.unused_data or self._packed.read(io.DEFAULT_BUFFER_SIZE)
            if not packed:
                if not self._frame.eof:
                    raise EOFError("compressed file ended before the end of its last frame")
                return 0
            if self._frame.eof:
                self._frame = self._new_frame()
            self._waiting = self._frame.decompress(packed)
        size = min(len(buffer), len(self._waiting))
        buffer[:size], self._waiting = self._waiting[:size], self._waiting[size:]
        return size

    def close(self) -> None:
        self._packed.close()
        super().close()


def _broken_archive() -> tuple[type[BaseException], ...]:
    broken: tuple[type[BaseException], ...] = (
        EOFError,
        zlib.error,
        lzma.LZMAError,
        gzip.BadGzipFile,
    )
    zstandard = sys.modules.get("zstandard")  # raised only by what _open_zst loaded
    return (*broken, zstandard.ZstdError) if zstandard else broken


_OPENERS: dict[str, Callable[[Path], IO[bytes]]] = {
    "": lambda path: path.open("rb"),
    ".gz": _open_gz,
    ".xz": _open_xz,
    ".zst": _open_zst,
}
_READERS: dict[str, Callable[[Iterator[str], str, str], Iterator[Row]]] = {
    ".txt": _text_rows,
    ".jsonl": _jsonl_rows,
    ".csv": _csv_rows,
}
