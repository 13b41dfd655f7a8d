"""Files that are written whole or not at all, and their hashes."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from vertiform.errors import StorageError


@contextmanager
def written_whole(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file beside `path`; a block without an error syncs it and renames it to `path`.

    mode is "w" (UTF-8, newline kept as written) or "wb".
    Raises StorageError when the disk is full or the folder cannot be written.
    """
    with _disk_errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
            with os.fdopen(descriptor, mode, encoding=encoding, newline=newline) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(aside).chmod(0o666 & ~_umask())
            Path(aside).replace(path)
            _sync_folder(path.parent)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path`; when the block ends without an error, it becomes `path`.

    What stood at `path` before is removed only once the new folder is complete.
    Raises StorageError when the disk is full or the folder cannot be written.
    """
    with _disk_errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield aside
            for file in sorted(aside.rglob("*")):
                if file.is_file():
                    with file.open("rb") as written:
                        os.fsync(written.fileno())
            aside.chmod(0o777 & ~_umask())
            if path.exists():
                shutil.rmtree(path)
            Path(aside).replace(path)
            _sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. NaN is refused: it is not JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with written_whole(path) as file:
        file.write(text)


def read_json(path: Path) -> Any:
    """Read a JSON file that Vertiform wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256_of(path: Path) -> str:
    """Hash a file's bytes, or a folder's relative names and bytes in sorted order. Hexadecimal."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    folder = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        folder.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n".encode())
    return folder.hexdigest()


def climbs(name: str) -> bool:
    """Say whether `..` is a part of a path or address, however it is written.

    Backslashes count as slashes, and percent signs are undone, as MLflow does to its addresses.
    """
    return ".." in unquote(unquote(name)).replace("\\", "/").split("/")


def leads_outside(name: str) -> bool:
    """Say whether a name that others wrote, joined to a folder, could mean a file outside of it."""
    plain = unquote(unquote(name))
    return climbs(name) or plain.startswith(("/", "\\")) or re.match(r"\w:", plain) is not None


@contextmanager
def _disk_errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"No space is left on the disk while writing {path}; nothing was half-written.",
                fix="free some space (`dvc gc --workspace` removes old data), then run the "
                "same command again.",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise StorageError(
                f"{path} cannot be written: {error.strerror}.",
                fix=f"give yourself the right to write in {path.parent}, or choose another place.",
            ) from error
        raise


def sync_data(file: int) -> None:
    """Have on the disk what was written to a file descriptor, and its length."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(file)
    else:  # macOS
        os.fsync(file)


def _sync_folder(folder: Path) -> None:
    # A rename is durable only once the folder that holds the name is synced too.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
